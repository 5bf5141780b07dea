"""Tiles of an image: pure arithmetic on rows and columns."""

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import NamedTuple


class Box(NamedTuple):
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right``; the ends are excluded."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, ...]:
        """Index of the box in a (C, H, W) array."""
        return slice(None), slice(self.top, self.bottom), slice(self.left, self.right)

    def times(self, scale: int) -> "Box":
        """The same area on a grid ``scale`` times finer."""
        return Box(*(edge * scale for edge in self))

    def over(self, scale: int) -> "Box":
        """The same area on a grid ``scale`` times coarser; every edge must be a multiple."""
        if any(edge % scale for edge in self):
            raise ValueError(f"{self} does not lie on multiples of {scale}")
        return Box(*(edge // scale for edge in self))

    def grown(self, halo: int, height: int, width: int) -> "Box":
        """The box with ``halo`` more pixels on every side, cut at the borders of the image."""
        return Box(
            max(self.top - halo, 0),
            min(self.bottom + halo, height),
            max(self.left - halo, 0),
            min(self.right + halo, width),
        )

    def within(self, outer: "Box") -> "Box":
        """The box in coordinates whose origin is the top left of ``outer``."""
        return Box(
            self.top - outer.top,
            self.bottom - outer.top,
            self.left - outer.left,
            self.right - outer.left,
        )


def tiles(height: int, width: int, size: int) -> Iterator[Box]:
    """Cut an image into boxes of ``size`` by ``size``, row by row; the last ones are smaller.

    Raises:
        ValueError: A length is not positive.

    """
    if min(height, width, size) < 1:
        raise ValueError(f"cannot cut {height}x{width} into tiles of {size}")
    for top in range(0, height, size):
        for left in range(0, width, size):
            yield Box(top, min(top + size, height), left, min(left + size, width))


class Tile(NamedTuple):
    """An area of an image, and the larger area that is read to compute it."""

    area: Box
    outer: Box
    """The area with its halo, cut at the borders of the image."""


def batches(tiles: Iterable[Tile], size: int) -> Iterator[list[Tile]]:
    """Group up to ``size`` consecutive tiles whose outer areas have one shape.

    Raises:
        ValueError: The size is not positive.

    """
    if size < 1:
        raise ValueError(f"cannot make batches of {size}")
    for _, alike in groupby(tiles, key=lambda tile: tile.outer.shape):
        while batch := list(islice(alike, size)):
            yield batch
