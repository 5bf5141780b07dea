"""The memory that the images of a training may take."""

from typing import Literal, NamedTuple

import psutil
import torch

from pipeline.base.settings import Count, Positive, Settings

GIB = 2**30
PART = 0.5
"""Share of the free memory that is used if the settings name no number."""


LoggerKind = Literal["none", "tensorboard", "dvclive"]
"""Programs that show a training while it runs."""


class MachineSettings(Settings):
    """The section ``machine``: settings that change no result, so no stage runs again for them."""

    memory: Positive | Literal["auto"] = "auto"
    """GiB that the images of a training may take, on the training device or else in host memory;
    ``auto``: half of what is free."""
    checkpoint_every: Count = 500
    """Steps between checkpoints and contact sheets of a training."""
    logger: LoggerKind = "none"
    """What the trainings log into, beside curves and pictures: ``none``, ``tensorboard`` or
    ``dvclive``, each an extra of this package."""


class Memory(NamedTuple):
    """Bytes that images may take."""

    device: int
    """On the training device; 0 where that is the CPU."""
    host: int


def allowed(settings: MachineSettings, device: torch.device, processes: int = 1) -> Memory:
    """The memory that the settings allow one of several processes of this machine."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    host = psutil.virtual_memory().available
    if settings.memory == "auto":
        return Memory(int(PART * free), int(PART * host / processes))
    asked = int(settings.memory * GIB)
    return Memory(min(asked, int(PART * free)), asked // processes)
