"""How long a step of an SR training takes on this machine, and what fits into its memory."""

import time
from typing import NamedTuple

import torch

from pipeline.base.errors import UserError
from pipeline.base.seeding import generator
from pipeline.crops.schedule import BatchShape, Schedule
from pipeline.train_srn.settings import Architecture, TrainSrnSettings
from pipeline.train_srn.streams import Pair
from pipeline.train_srn.train import SrnTrainer
from pipeline.training.learner import make_accelerator

ENOUGH = 3.0
"""Seconds that are measured, after a first step."""
MOST = 10
"""Steps that are measured at most."""


class Measured(NamedTuple):
    """What was found."""

    settings: TrainSrnSettings
    """With the batch that fits: as many crops in a step, in more shares."""
    seconds: float
    """Of a step, in single precision and without compilation."""
    steps: int
    """Steps that were measured."""


class RandomPairs:
    """Crops without a picture on them, as quick to get as none; see ``streams.Stream``."""

    waited = 0.0

    def __init__(self, settings: TrainSrnSettings, scale: int, device: torch.device) -> None:
        self.scale = scale
        shape = BatchShape(settings.batch_size, settings.accumulate)
        self.schedule = Schedule(1, settings.crops_per_image, shape, 0, "project/step_time")
        side, drawn = settings.lr_patch, generator(0, "project/step_time")
        count = settings.batch_size
        self._pair = Pair(
            torch.rand((count, 3, side, side), generator=drawn).to(device),
            torch.rand((count, 3, scale * side, scale * side), generator=drawn).to(device),
        )

    def batch(self, step: int, share: int = 0) -> Pair:
        """The same crops at any step."""
        del step, share
        return self._pair

    def close(self) -> None:
        """There is nothing to end."""


def measure(architecture: Architecture, settings: TrainSrnSettings, scale: int) -> Measured:
    """Make a few steps of a training; halve the shares of a step until they fit into memory.

    VGG19 has random weights, which are as fast as others.

    Raises:
        UserError: The network cannot be built, its start does not fit, or not even one crop fits.

    """
    changes: dict[str, object] = {"compile": False, "precision": "no"}
    if settings.perceptual_weight:
        changes["perceptual_weights"] = "random"
    tried = settings
    while True:
        try:
            seconds, steps = _seconds(architecture, tried.model_copy(update=changes), scale)
            return Measured(tried, seconds, steps)
        except torch.OutOfMemoryError as error:
            if tried.batch_size == 1:
                raise UserError("not even one crop of the training fits into memory") from error
            half = -(-tried.batch_size // 2)
            shares = -(-settings.batch_size * settings.accumulate // half)
            tried = tried.model_copy(update={"batch_size": half, "accumulate": shares})
            torch.cuda.empty_cache()


def _seconds(
    architecture: Architecture, settings: TrainSrnSettings, scale: int
) -> tuple[float, int]:
    """Median seconds of a step, and how many were made."""
    accelerator = make_accelerator()
    stream = RandomPairs(settings, scale, accelerator.device)
    trainer = SrnTrainer(stream, architecture, settings, accelerator)
    found: list[float] = []
    trainer.step(0)
    while not found or (sum(found) < ENOUGH and len(found) < MOST):
        begin = time.perf_counter()
        terms = trainer.step(len(found) + 1)
        float(terms["total"])  # waits for the device
        found.append(time.perf_counter() - begin)
    return sorted(found)[len(found) // 2], len(found)
