"""Pictures of the same crops at several steps of a training, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.images import drawing
from pipeline.images.filters import bicubic_upsample
from pipeline.images.io import Image, to_uint8

COLUMNS = 6
"""Steps that are pictured, at most; they are evenly spread over the training."""
SIDE = 96
"""Largest side of a pictured crop in HR pixels."""
GAP = 2
"""White pixels between two crops."""


class Progress:
    """The SR images of a few crops at several steps; part of a training's state.

    Args:
        lr: LR images (3, H, W) in [0, 1]; the centre of each is pictured.
        hr: Their HR images, if there are any.
        scale: HR pixels per LR pixel.
        steps: Length of the training.

    """

    def __init__(self, lr: Sequence[Tensor], hr: Sequence[Tensor], scale: int, steps: int) -> None:
        side = min(max(SIDE // scale, 1), *(length for one in lr for length in one.shape[1:]))
        self.lr = torch.stack([_centre(one, side) for one in lr]).cpu()
        self.hr = torch.stack([_centre(one, side * scale) for one in hr]).cpu() if hr else None
        self.scale = scale
        self._due = {round(steps * part / COLUMNS) for part in range(1, COLUMNS + 1)}
        self.made: list[int] = []
        """Steps that had been made at each picture."""
        self.sr: list[Tensor] = []
        """The SR crops then, (N, 3, scale S, scale S) uint8."""

    def due(self, made: int) -> bool:
        """Whether to add a picture after so many steps."""
        return made in self._due

    def add(self, made: int, sr: Tensor) -> None:
        """Add the SR images of ``lr``, in [0, 1]; a run that began as another one has more."""
        self.made = [*self.made, made][-COLUMNS:]
        self.sr = [*self.sr, torch.from_numpy(to_uint8(sr))][-COLUMNS:]

    def draw(self, path: Path) -> None:
        """Write the pictures as PNG: a row per crop, a column per step, the HR crops at the end."""
        columns = {"LR, bicubic": bicubic_upsample(self.lr, self.scale)}
        columns |= {f"step {step}": sr for step, sr in zip(self.made, self.sr, strict=True)}
        columns |= {} if self.hr is None else {"HR": self.hr}
        stacked = {title: _stacked(images) for title, images in columns.items()}
        drawing.save(drawing.strip(stacked, 2 * GAP), path, dpi=100)

    def state_dict(self) -> dict[str, Any]:
        """The whole state, for a checkpoint."""
        return {"made": self.made, "sr": self.sr}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.made, self.sr = list(state_dict["made"]), list(state_dict["sr"])


def _centre(image: Tensor, side: int) -> Tensor:
    top, left = ((length - side) // 2 for length in image.shape[1:])
    return image[:, top : top + side, left : left + side]


def _stacked(images: Tensor) -> Image:
    """Images (N, 3, S, S), in [0, 1] or uint8, as one, from top to bottom."""
    levels = images.cpu().numpy() if images.dtype == torch.uint8 else to_uint8(images)
    framed = np.pad(levels, ((0, 0), (0, 0), (0, GAP), (0, 0)), constant_values=255)
    return np.concatenate(list(framed), axis=1)[:, :-GAP]
