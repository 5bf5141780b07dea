"""Copies of one picture in a pile or in two, also in other sizes, as far as they are not cropped.

A picture has a hash of 64 bits: whether its brightness rises or falls between neighbours on a grid
of 8x9 (a difference hash).  Pictures whose hashes differ in few bits are compared as thumbnails.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.piles.detail import Luma

ROWS, COLUMNS = 32, 36
"""Size of a thumbnail in pixels; multiples of the grid of the hash."""
SAMPLES = 256
"""Samples along the shorter side, at least, of which a thumbnail is made."""
MOST_BITS = 12
"""Most bits in which the hashes of copies differ."""
ALIKE = 0.985
"""Least correlation of the thumbnails of copies."""
FLAT = 2.0
"""Thumbnails whose standard deviation is less, in gray levels, are like too many others."""
NEAREST = 4
"""Pictures to which one is compared as a thumbnail, those of the nearest hashes."""
BLOCK = 256
"""Pictures whose hashes are compared with all others at once."""


class Thumbnail(NamedTuple):
    """A small copy of a picture, and its hash."""

    pixels: NDArray[np.float16]
    """(32, 36), mean 0, sum of squares 1; zero where the picture is flat."""
    bits: int
    """The hash."""


def thumbnail_of(luma: Luma) -> Thumbnail:
    """The thumbnail of an image (H, W), whose pixels are means over samples of it."""
    step = max(min(luma.shape) // SAMPLES, 1)
    small: NDArray[np.float64] = luma[::step, ::step].astype(np.float64)
    for axis, count in ((0, ROWS), (1, COLUMNS)):
        length = small.shape[axis]
        starts = np.arange(count) * length // count
        widths = np.diff(np.append(starts, length))
        sums = np.add.reduceat(small, starts, axis=axis)
        small = sums / np.expand_dims(np.maximum(widths, 1), 1 - axis)
    grid = small.reshape(8, ROWS // 8, 9, COLUMNS // 9).mean((1, 3))
    bits = int.from_bytes(np.packbits(grid[:, 1:] > grid[:, :-1]).tobytes(), "big")
    centred = small - small.mean()
    if centred.std() < FLAT:
        return Thumbnail(np.zeros((ROWS, COLUMNS), np.float16), bits)
    return Thumbnail((centred / np.linalg.norm(centred)).astype(np.float16), bits)


def find_copies(thumbnails: Sequence[Thumbnail]) -> list[list[int]]:
    """Groups of places in a sequence whose pictures are copies of each other.

    Two pictures are in a group if a chain of copies joins them.

    Returns:
        Groups of two and more, in order, each in order.

    """
    leaders = list(range(len(thumbnails)))

    def leader(place: int) -> int:
        while leaders[place] != place:
            leaders[place] = leaders[leaders[place]]
            place = leaders[place]
        return place

    for one, other in _near(np.array([each.bits for each in thumbnails], np.uint64)):
        first, second = (thumbnails[place].pixels.astype(np.float32) for place in (one, other))
        if float((first * second).sum()) >= ALIKE:
            low, high = sorted((leader(one), leader(other)))
            leaders[high] = low
    groups: dict[int, list[int]] = {}
    for place in range(len(thumbnails)):
        groups.setdefault(leader(place), []).append(place)
    return [group for group in groups.values() if len(group) > 1]


def _near(hashes: NDArray[np.uint64]) -> list[tuple[int, int]]:
    """Pairs of places, later and earlier, whose hashes differ in few bits; few of each place."""
    found: list[tuple[int, int]] = []
    for start in range(0, len(hashes), BLOCK):
        rows = hashes[start : start + BLOCK, None]
        differ = np.bitwise_count(rows ^ hashes[None, : start + BLOCK])
        later, earlier = np.nonzero(differ <= MOST_BITS)
        keep = earlier < later + start
        later, earlier = later[keep], earlier[keep]
        order = np.lexsort((earlier, differ[later, earlier], later))
        later, earlier = later[order], earlier[order]
        rank = np.arange(len(later)) - np.searchsorted(later, later)
        near = rank < NEAREST
        found += zip((later[near] + start).tolist(), earlier[near].tolist(), strict=True)
    return found
