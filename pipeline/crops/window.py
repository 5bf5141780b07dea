"""Whole images in host memory, read ahead of the steps of a schedule that need them.

Threads read images in the order in which the schedule first needs them, while others are in use.
Without a budget every image stays in memory once it was read.  With a budget the images form a
rolling window: each is dropped after its last visit in its group.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.crops.schedule import Schedule

READERS = 4
"""Number of reading threads; decoding releases Python's global lock."""
AHEAD = 16
"""Least number of images that are being read ahead of those needed now."""
MIB = 2**20


@dataclass(frozen=True)
class CropSource:
    """Images that crops are cut from; each is read as one or more arrays of the same scene."""

    name: str
    """Name for messages."""
    sizes: Sequence[tuple[int, int]]
    """(H, W) of the first array of every image."""
    finer: Sequence[int]
    """For each array, its pixels per pixel of the first array, along each side."""
    dtypes: Sequence[torch.dtype]
    """Type of each array."""
    read: Callable[[int], Sequence[NDArray[Any]]]
    """The arrays (3, finer H, finer W) of an image; called from several threads."""

    def values(self, image: int, array: int) -> int:
        """Number of values of one array of an image."""
        height, width = self.sizes[image]
        return 3 * height * width * self.finer[array] ** 2

    def bytes(self, image: int) -> int:
        """Size of an image in memory."""
        sizes = enumerate(dtype.itemsize for dtype in self.dtypes)
        return sum(self.values(image, array) * size for array, size in sizes)


Arrays = list[Tensor]
"""The arrays of an image, (3, finer H, finer W) each."""


class _Need(NamedTuple):
    """An image of a group.  It is read before its first visit there and dropped after its last."""

    image: int
    last: int
    """Position of the last visit."""


Key = tuple[int, int]
"""Group and image; 0 and image if every image stays in memory."""


class _Held(NamedTuple):
    """An image that is in memory or being read."""

    need: _Need
    arrays: "Future[Arrays]"


class Window:
    """Images of a source in host memory, for the batches of a schedule.

    Steps must be asked for in order; any other step restarts the window.  One thread at a time may
    use it.

    Args:
        source: The images.
        schedule: Which images make the batch of a step.
        shares: Shares of the batches that will be asked for.
        budget: Bytes that the images may take; None: every image stays in memory.

    Raises:
        UserError: The budget is smaller than what a group of the schedule may take.

    """

    def __init__(
        self, source: CropSource, schedule: Schedule, shares: Sequence[int], budget: int | None
    ) -> None:
        self.source, self.schedule, self.shares, self.budget = source, schedule, shares, budget
        if budget is not None:
            _require_room(source, schedule, budget)
        self.bytes = 0
        """Size of the images that are in memory or being read."""
        self._ahead = max(AHEAD, 2 * schedule.share_size)
        self._readers = ThreadPoolExecutor(READERS, "reader")
        self._held: dict[Key, _Held] = {}
        self._reading: list[Future[Arrays]] = []
        self._restart(0)
        self._step = -1  # so that step 0 is the next one

    def images(self, step: int, share: int) -> dict[int, Arrays]:
        """The images of a share of a step's batch, by index; waits until they are read.

        Raises:
            UserError: An image cannot be read.
            ValueError: The window was not made for this share.

        """
        if share not in self.shares:
            raise ValueError(f"expected a share of {tuple(self.shares)}, got {share}")
        if step not in (self._step, self._step + 1):
            self._restart(step)
        self._step = step
        schedule = self.schedule
        start = step * schedule.batch_size
        self._release(start)
        first = start + share * schedule.share_size
        positions = range(first, first + schedule.share_size)
        needed = dict.fromkeys(self._key(schedule.group(p), schedule.image(p)) for p in positions)
        while not needed.keys() <= self._held.keys():
            while not self._queue:  # a group may have no image for these shares
                self._enqueue()
            self._read(*self._queue.popleft())
        self._read_ahead(schedule.group(start))
        return {image: self._held[_, image].arrays.result() for _, image in needed}

    def forget(self, image: int) -> None:
        """Drop the arrays of an image; from now on ``images`` returns an empty list for it."""
        nothing: Future[Arrays] = Future()
        nothing.set_result([])
        self._held[0, image] = _Held(self._held[0, image].need, nothing)
        self.bytes -= self.source.bytes(image)

    def close(self) -> None:
        """Stop reading; waits for the images that are being read."""
        self._readers.shutdown(cancel_futures=True)

    def _restart(self, step: int) -> None:
        self._step = step
        if self.budget is not None:
            self._held.clear()
            self.bytes = 0
        self._queue: deque[tuple[Key, _Need]] = deque()
        self._begin = step * self.schedule.batch_size
        self._next_group = self.schedule.group(self._begin)

    def _key(self, group: int, image: int) -> Key:
        return (0, image) if self.budget is None else (group, image)

    def _enqueue(self) -> None:
        """Append the images of the next group that are not in memory, in order of first need."""
        group, self._next_group = self._next_group, self._next_group + 1
        visits = [
            (position, image)
            for position, image in self.schedule.visits(group)
            if position >= self._begin and self.schedule.share(position) in self.shares
        ]
        last = {image: position for position, image in visits}
        for image in dict.fromkeys(image for _, image in visits):
            if (key := self._key(group, image)) not in self._held:
                self._queue.append((key, _Need(image, last[image])))

    def _read_ahead(self, group: int) -> None:
        """Start to read more images, up to the end of the next group, within the budget."""
        self._reading = [arrays for arrays in self._reading if not arrays.done()]
        while len(self._reading) < self._ahead:
            if self._queue:
                more = self.source.bytes(self._queue[0][1].image)
                if self.budget is not None and self.bytes + more > self.budget:
                    return
                self._read(*self._queue.popleft())
            elif self._next_group <= group + 1:
                self._enqueue()
            else:
                return

    def _read(self, key: Key, need: _Need) -> None:
        if key in self._held:
            return
        arrays = self._readers.submit(self._tensors, need.image)
        self._held[key] = _Held(need, arrays)
        self._reading.append(arrays)
        self.bytes += self.source.bytes(need.image)

    def _tensors(self, image: int) -> Arrays:
        return [torch.from_numpy(array) for array in self.source.read(image)]

    def _release(self, start: int) -> None:
        """Drop the images whose last visit is over."""
        if self.budget is None:
            return
        for key in [key for key, held in self._held.items() if held.need.last < start]:
            self.bytes -= self.source.bytes(self._held.pop(key).need.image)


def _require_room(source: CropSource, schedule: Schedule, budget: int) -> None:
    """Check that a group, and a batch that spans the next groups, fit into the budget."""
    sizes = sorted((source.bytes(image) for image in range(schedule.images)), reverse=True)
    needed = sum(sizes[: schedule.largest_group]) + schedule.batch_size * sizes[0]
    if needed > budget:
        raise UserError(
            f"{source.name}: {schedule.largest_group} images that are in use at a time take up to "
            f"{needed / MIB:.0f} MiB, but machine.memory allows {budget / MIB:.0f} MiB; "
            "lower the setting window or raise machine.memory"
        )
