"""The number format of a training's networks, and how ``precision: auto`` chooses it."""

import copy
import time
from collections.abc import Mapping, Sequence
from types import MethodType
from typing import Literal, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import convert_outputs_to_fp32
from torch import Tensor, nn

Format = Literal["no", "bf16"]
"""Number format of convolutions and matrix products: float32, or mixed precision with bf16."""
FORMATS: tuple[Format, ...] = ("no", "bf16")
MARGIN = 1.15
"""How many times as fast as float32 bf16 must be, at least, to be taken."""
BUDGET = 1.0
"""Seconds of the timed trial steps of both formats; they end with the round that exceeds it, from
``FEWEST`` on."""
FEWEST, ROUNDS = 3, 5
"""Timed trial steps of each format, at least and at most.  One alone may decide wrongly: another
process runs meanwhile, or the memory of a GPU is not reserved yet."""
TRIAL = 0.1
"""Seconds of a trial step in float32 on a CPU, which is made of fewer crops than a step."""


def run_in_bf16(network: nn.Module, device: torch.device) -> None:
    """Make a network run in mixed precision from now on; its outputs stay float32.

    Its weights stay float32 too, and are rounded in every run.
    """
    mixed = torch.autocast(device.type, torch.bfloat16)(type(network).forward)
    network.forward = MethodType(convert_outputs_to_fp32(mixed), network)


class Passes(NamedTuple):
    """How a network runs in a training step."""

    network: nn.Module
    """On the device."""
    side: int
    """H and W of the images (N, 3, H, W) that it gets."""
    times: int = 1
    """Runs in a step."""
    backward: bool = True
    """Whether gradients go back through it."""
    options: Mapping[str, bool] = {}
    """Keyword arguments of its forward."""


class Trial:
    """Steps that are timed: copies of the networks run on noise, forward and backward.

    Args:
        passes: The networks.
        device: Where they are.
        crops: Images of a trial step.

    """

    def __init__(self, passes: Sequence[Passes], device: torch.device, crops: int) -> None:
        self.device, self.crops = device, crops
        copies = copy.deepcopy([one.network for one in passes])  # a network twice: one copy
        self._passes = [one._replace(network=own) for one, own in zip(passes, copies, strict=True)]
        self._source = torch.Generator().manual_seed(0)

    def step(self, taken: Format) -> None:
        """Run all networks once, as a step does."""
        for one in self._passes:
            shape = (self.crops, 3, one.side, one.side)
            images = torch.rand(shape, generator=self._source).to(self.device)
            for _ in range(one.times):
                self._run(one, images, taken)

    def _run(self, one: Passes, images: Tensor, taken: Format) -> None:
        mixed = torch.autocast(self.device.type, torch.bfloat16, enabled=taken == "bf16")
        with mixed, torch.set_grad_enabled(one.backward):
            made = one.network(images.requires_grad_(one.backward), **one.options)
        if one.backward:
            outputs = (
                [made] if isinstance(made, Tensor) else [part for part in made if part is not None]
            )
            torch.autograd.backward([part.float().mean() for part in outputs if part.requires_grad])
            for parameter in one.network.parameters():
                parameter.grad = None


def seconds(trial: Trial, taken: Format) -> float:
    """Time of a trial step; on a device, until it has ended there."""
    _wait(trial.device)
    begin = time.perf_counter()
    trial.step(taken)
    _wait(trial.device)
    return time.perf_counter() - begin


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def speedup(passes: Sequence[Passes], device: torch.device, crops: int) -> float:
    """How many times as fast as in float32 the networks of a training are in bf16, here.

    The formats take turns and the fastest of each counts, so that what else the machine does meets
    both alike.  The networks themselves and torch's global generators stay as they are.  On a CPU
    it takes about two seconds, or four trial steps of one crop in each format if these take
    longer.  Networks are not compiled for it, which takes minutes for each format on a GPU.

    Args:
        passes: The networks.
        device: Where they are.
        crops: Images of a step.

    """
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):  # some networks drop a part of theirs at random
        trial = Trial(passes, device, crops if device.type != "cpu" else 1)
        seconds(trial, "no")
        if device.type == "cpu":
            trial.crops = max(1, min(crops, int(TRIAL / max(seconds(trial, "no"), 1e-6))))
        for taken in FORMATS:
            seconds(trial, taken)  # the first time, kernels are made
        rounds: list[dict[Format, float]] = []
        while len(rounds) < FEWEST or (
            len(rounds) < ROUNDS and sum(sum(one.values()) for one in rounds) < BUDGET
        ):
            rounds.append({taken: seconds(trial, taken) for taken in FORMATS})
    best = {taken: min(one[taken] for one in rounds) for taken in FORMATS}
    return best["no"] / best["bf16"]


class Precision:
    """The number format of the networks of a training; under ``auto`` it is settled once.

    Args:
        setting: ``precision`` of the settings.
        passes: The networks, which run in float32 until bf16 is taken, or as the settings ask.
        accelerator: Device and processes.
        crops: Crops in a share of a step.

    Attributes:
        taken: The format; None under ``auto`` until it is settled.

    """

    def __init__(
        self,
        setting: Literal["no", "bf16", "auto"],
        passes: Sequence[Passes],
        accelerator: Accelerator,
        crops: int,
    ) -> None:
        self.auto, self._passes = setting == "auto", passes
        self._accelerator, self._crops = accelerator, crops
        self.taken: Format | None = None if setting == "auto" else setting

    def settle(self, known: Format | None) -> str | None:
        """Take a format under ``auto``, in all processes the same.

        Args:
            known: That of the checkpoint from which the training goes on, which is taken again.

        Returns:
            A sentence that says what was taken, and why; None if the settings say it.

        """
        if not self.auto:
            return None
        device, why = self._accelerator.device, "as in the checkpoint"
        if known is None:
            own = torch.tensor([speedup(self._passes, device, self._crops)], device=device)
            times = self._accelerator.gather(own).min().item()  # of the slowest process
            known = "bf16" if times >= MARGIN else "no"
            why = f"{times:.2g} times as fast as float32 here"
            if known == "no":
                why = f"bf16 is {why}, and {MARGIN} times is the least to take it"
        if known == "bf16":
            for network in dict.fromkeys(one.network for one in self._passes):
                run_in_bf16(network, device)
        self.taken = known
        return f"precision: {known}, {why}"

    @property
    def described(self) -> dict[str, Format]:
        """What was taken under ``auto``, by the name of the setting; else nothing."""
        return {"precision": self.taken} if self.auto and self.taken else {}
