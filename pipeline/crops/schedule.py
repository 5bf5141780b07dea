"""Which images make the batch of each step: a function of (seed, purpose, step) alone.

It does not depend on where the images are held, so a training from memory and one from a rolling
window see the same batches.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

import torch

from pipeline.base.seeding import generator


class BatchShape(NamedTuple):
    """Size of the batch of a step."""

    share_size: int
    """Crops in a share of the batch."""
    shares: int = 1
    """Parts of the batch, all of one size: one per process and accumulation of gradients."""


class Schedule:
    """Epochs of crops, shuffled within groups of images, cut into batches.

    Every epoch shuffles the images, cuts them into groups of nearly equal size, and shuffles the
    visits within each group.  If one group holds all images, all visits are shuffled.  A batch may
    span the end of a group or an epoch.  Every image is visited exactly ``crops_per_image`` times
    per epoch.

    Args:
        images: Number of images.
        crops_per_image: Visits of each image in one epoch.
        batch: Size of the batch of a step.
        seed: Seed of the run.
        purpose: Names the use, see ``seeding.generator``.
        window: Largest number of images in a group; at most two groups are in use at a time.
            None: one group holds all images.

    """

    def __init__(
        self,
        images: int,
        crops_per_image: int,
        batch: BatchShape,
        seed: int,
        purpose: str,
        window: int | None = None,
    ) -> None:
        self.images, self.crops_per_image = images, crops_per_image
        self.share_size, self.batch_size = batch.share_size, batch.share_size * batch.shares
        self.seed, self.purpose = seed, purpose
        self.crops_per_epoch = images * crops_per_image
        count = -(-images // (window or images))
        self.starts = [images * k // count for k in range(count + 1)]
        """Positions in the order of an epoch where its groups begin, and the end of the epoch."""
        self.largest_group = max(b - a for a, b in zip(self.starts, self.starts[1:], strict=False))
        """Images in the largest group."""
        self._orders: dict[int, list[int]] = {}
        self._visits: dict[int, list[int]] = {}

    def steps(self, epochs: int) -> int:
        """Number of steps that cover ``epochs`` epochs."""
        return -(-epochs * self.crops_per_epoch // self.batch_size)

    def epoch(self, step: int) -> int:
        """Epoch, from 0, of the first crop of a step."""
        return step * self.batch_size // self.crops_per_epoch

    def batch(self, step: int) -> list[int]:
        """Indices of the images of a step, one share after the other."""
        first = step * self.batch_size
        return [self.image(position) for position in range(first, first + self.batch_size)]

    def group(self, position: int) -> int:
        """The group of a crop, counted from the start of the run."""
        epoch, place = divmod(position, self.crops_per_epoch)
        within = bisect_right(self.starts, place // self.crops_per_image) - 1
        return epoch * (len(self.starts) - 1) + within

    def visits(self, group: int) -> Iterator[tuple[int, int]]:
        """Positions in the run and indices of the images of the crops of a group."""
        return enumerate(self._group_visits(group), self._first(group))

    def share(self, position: int) -> int:
        """The share of its batch that a crop belongs to."""
        return position % self.batch_size // self.share_size

    def image(self, position: int) -> int:
        """Index of the image of a crop."""
        group = self.group(position)
        return self._group_visits(group)[position - self._first(group)]

    def _first(self, group: int) -> int:
        """Position of the first crop of a group."""
        epoch, within = divmod(group, len(self.starts) - 1)
        return epoch * self.crops_per_epoch + self.starts[within] * self.crops_per_image

    def _group_visits(self, group: int) -> list[int]:
        if group not in self._visits:
            epoch, within = divmod(group, len(self.starts) - 1)
            members = self._order(epoch)[self.starts[within] : self.starts[within + 1]]
            source = generator(self.seed, self.purpose, group)
            visits = [members[place] for place in self._places(len(members), source)]
            self._visits = {**_latest(self._visits), group: visits}
        return self._visits[group]

    def _places(self, members: int, source: torch.Generator) -> list[int]:
        """Which of the members of a group its crops visit, in order."""
        shuffled = torch.randperm(members * self.crops_per_image, generator=source)
        return list((shuffled % members).tolist())

    def _order(self, epoch: int) -> list[int]:
        if len(self.starts) == 2:
            return list(range(self.images))
        if epoch not in self._orders:
            source = generator(self.seed, f"{self.purpose}/order", epoch)
            order = torch.randperm(self.images, generator=source).tolist()
            self._orders = {**_latest(self._orders), epoch: order}
        return self._orders[epoch]


class DrawnSchedule(Schedule):
    """A schedule that draws the image of every crop from its group, with replacement.

    Groups are made as in ``Schedule``, so every crop is equally likely to be of any image; with one
    group the crops are independent.  An epoch has as many crops, but may leave an image out.
    """

    def _places(self, members: int, source: torch.Generator) -> list[int]:
        count = members * self.crops_per_image
        return list(torch.randint(members, (count,), generator=source).tolist())


def _latest(cached: dict[int, list[int]], count: int = 3) -> dict[int, list[int]]:
    """The last entries of a cache."""
    return dict(list(cached.items())[-count:])
