"""Batches of random crops on the training device.

The images are held on the training device if they fit there, else in host memory, else in a rolling
window of host memory.  The batches are bitwise the same in all three cases.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from pipeline.crops.memory import MachineSettings, Memory, allowed
from pipeline.crops.places import Place, cut, draw_places, gather
from pipeline.crops.schedule import BatchShape, DrawnSchedule, Schedule
from pipeline.crops.window import MIB, CropSource, Window

Generators = Callable[[int], tuple[torch.Generator, torch.Generator | None]]
"""A function from a step to two CPU generators: of the corners and of the turns of its crops; None
in place of the second: crops are not turned."""

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Demand:
    """The crops that a training needs: how many, in which order, on which device.

    Raises:
        ValueError: A number is not positive, or a share is not one of the batch.

    """

    batch_size: int = 16
    """Crops in a share of a batch."""
    crops_per_image: int = 1
    """Crops of every image in one epoch."""
    window: int = 256
    """Number of images that are shuffled together, see ``Schedule``."""
    seed: int = 0
    """Seed of the run."""
    device: torch.device = CPU
    """Device of the batches."""
    memory: Memory | None = None
    """Memory that the images may take; None: half of what is free when the stream is opened."""
    shares: int = 1
    """Parts of a step's batch, one per process and accumulation of gradients."""
    own: Sequence[int] = (0,)
    """The shares of this process, in the order in which it asks for them."""
    replacement: bool = False
    """Draw the image of every crop at random, with replacement, see ``DrawnSchedule``."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "crops_per_image", "window", "shares"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not all(0 <= share < self.shares for share in self.own):
            raise ValueError(f"own must be among {self.shares} shares, got {list(self.own)}")
        object.__setattr__(self, "device", torch.device(self.device))

    @property
    def room(self) -> Memory:
        """Memory that the images may take: ``memory``, or half of what is free now."""
        return self.memory or allowed(MachineSettings(), self.device)

    def schedule(self, images: int, purpose: str) -> Schedule:
        """The schedule of a number of images."""
        batch = BatchShape(self.batch_size, self.shares)
        kind = DrawnSchedule if self.replacement else Schedule
        return kind(images, self.crops_per_image, batch, self.seed, purpose, self.window)

    def places(
        self,
        schedule: Schedule,
        step: int,
        share: int,
        sizes: Sequence[tuple[int, int]],
        patch: int,
        generators: Generators,
    ) -> tuple[list[int], list[Place]]:
        """Images and places of one share; places are drawn for the whole batch of the step."""
        chosen = schedule.batch(step)
        places = draw_places([sizes[image] for image in chosen], patch, *generators(step))
        own = slice(share * self.batch_size, (share + 1) * self.batch_size)
        return chosen[own], places[own]


class ClosedOnExit:
    """A context manager that is closed when its block is left, also by an error."""

    def close(self) -> None:
        """End all threads; by default there are none."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Batches(ClosedOnExit):
    """Random crops of the images of a source, batch by batch; a context manager.

    A batch waits only for the images that it needs.  Threads read further images meanwhile.

    Args:
        source: The images.
        purpose: Names the use of the schedule, see ``seeding.generator``.
        patch: Side of a crop of the first array.
        generators: Generators of the corners and turns.
        demand: How many crops, in which order, on which device.

    Raises:
        UserError: The memory is smaller than what a group of the schedule may take.

    """

    def __init__(
        self, source: CropSource, purpose: str, patch: int, generators: Generators, demand: Demand
    ) -> None:
        self.source, self.patch, self.generators, self.demand = source, patch, generators, demand
        self.schedule = demand.schedule(len(source.sizes), purpose)
        self.bytes = sum(source.bytes(image) for image in range(len(source.sizes)))
        """Size of all images in memory."""
        self.waited = 0.0
        """Seconds that ``batch`` had to wait for data so far."""
        memory, device = demand.room, demand.device
        on_device, on_host = self.bytes <= memory.device, self.bytes <= memory.host
        budget = None if on_device or on_host else memory.host
        self.window = Window(source, self.schedule, demand.own, budget)
        self.resident = _Resident(self.window, device) if on_device else None
        self.held = f"on {device}" if on_device else "in host memory"
        if budget is not None:
            self.held = f"in a rolling window of at most {budget / MIB:.0f} MiB of host memory"
        self._cutter = ThreadPoolExecutor(1, "cutter")
        self._next: tuple[tuple[int, int], Future[list[Tensor]]] | None = None

    def __str__(self) -> str:
        return (
            f"{self.source.name}: {self.schedule.images} images, {self.bytes / MIB:.0f} MiB, "
            f"held {self.held}"
        )

    def batch(self, step: int, share: int = 0) -> list[Tensor]:
        """One crop, cut and turned, of every image of a share of a step's batch.

        Returns:
            For every array of the source a tensor (N, 3, S, S) of its type, on the device; S is the
            patch times ``CropSource.finer`` of the array.

        Raises:
            UserError: An image cannot be read.

        """
        begin = time.perf_counter()
        if self.resident is not None:
            crops = self.resident.crops(step, share, *self._places(step, share), self.patch)
        else:
            crops = self._cut_before(step, share)
        self.waited += time.perf_counter() - begin
        return [part.to(self.demand.device, non_blocking=True) for part in crops]

    def close(self) -> None:
        """End all threads; what they have begun is completed and dropped."""
        self._cutter.shutdown(wait=False, cancel_futures=True)
        self.window.close()
        self._cutter.shutdown()

    def _cut_before(self, step: int, share: int) -> list[Tensor]:
        """The crops of a share, cut ahead if possible; starts to cut those of the next share."""
        wanted = (step, share)
        if self._next is not None and self._next[0] == wanted:
            crops = self._next[1].result()
        else:
            crops = self._cutter.submit(self._cut, *wanted).result()
        own = self.demand.own
        place = own.index(share) + 1
        following = (step, own[place]) if place < len(own) else (step + 1, own[0])
        self._next = following, self._cutter.submit(self._cut, *following)
        return crops

    def _cut(self, step: int, share: int) -> list[Tensor]:
        images = self.window.images(step, share)
        chosen, places = self._places(step, share)
        pinned = self.demand.device.type == "cuda"
        return [
            cut([images[i][array] for i in chosen], places, self.patch, finer, pinned)
            for array, finer in enumerate(self.source.finer)
        ]

    def _places(self, step: int, share: int) -> tuple[list[int], list[Place]]:
        return self.demand.places(
            self.schedule, step, share, self.source.sizes, self.patch, self.generators
        )


class _Resident:
    """All images on the training device, end to end; each is copied there when first used."""

    def __init__(self, window: Window, device: torch.device) -> None:
        self.window, self.source = window, window.source
        self.flat: list[Tensor] = []
        self.starts: list[list[int]] = []
        for array, dtype in enumerate(self.source.dtypes):
            starts, end = [], 0
            for image in range(window.schedule.images):
                starts.append(end)
                end += self.source.values(image, array)
            self.starts.append(starts)
            self.flat.append(torch.empty(end, dtype=dtype, device=device))

    def crops(
        self, step: int, share: int, chosen: Sequence[int], places: Sequence[Place], patch: int
    ) -> list[Tensor]:
        """Cut crops on the device, see ``gather``."""
        for image, arrays in self.window.images(step, share).items():
            for array, values in enumerate(arrays):
                start = self.starts[array][image]
                self.flat[array][start : start + values.numel()] = values.flatten()
            if arrays:
                self.window.forget(image)
        sizes = [self.source.sizes[image] for image in chosen]
        return [
            gather(flat, [starts[image] for image in chosen], sizes, places, patch, finer)
            for flat, starts, finer in zip(self.flat, self.starts, self.source.finer, strict=True)
        ]
