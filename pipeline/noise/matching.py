"""Like with like: parts of two sets of images, weighted until both show the same content.

Two sets show different scenes.  So their windows are sorted into cells of like content, and in
every cell both sets get the same weight, the smaller of their shares (Imai, King and Stuart 2008
call it exact matching on strata).  What differs then is what the camera did.  Content is measured
where noise and a little blur do not reach: the mean, the slope, and the contrast at low
frequencies or above the noise.

The intervals are of the bootstrap over images (Efron 1979), because parts of one image are alike.
It costs little: images are not measured again, only their weights change.  Row 0 of every array of
weights is that of the images as they are, each other row that of images drawn with replacement.

All intensities are in gray levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from pipeline.noise.signature import (
    FREQUENCIES,
    WINDOW,
    periodogram,
    rings,
    white_noise,
    window_plane,
)
from pipeline.sampling.jpeg import TO_YCBCR

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

RINGS = FREQUENCIES[:8]
"""Frequencies of the rings of power of a window, in cycles per pixel."""
LOW = 2
"""The contrast of a window is its power in this many rings, from the lowest on: up to 0.16 cycles
per pixel, where a blur of 0.3 pixels takes 6 % of the power."""
WINDOWS = 12_000
"""Windows of a set, about, whose content is measured: 48 bytes each."""
REPLICATES = 100
"""Draws of images with replacement."""
FEWEST_IMAGES = 4
"""Sets with fewer images have no interval."""
REACH = 1.96
"""Standard errors from the middle of a 95 % interval to its ends."""
LEVEL_STRATA, CONTRAST_STRATA, GRADIENT_STRATA = 3, 3, 2
"""Parts of equal number into which the classifier's windows are cut by intensity, contrast and
gradient."""


@dataclass(frozen=True, eq=False)
class Content:
    """What windows of some images show, image by image; that of parts of a set adds up."""

    power: NDArray[np.float32]
    """(n, 8): power of luma in the ``RINGS``, in gray levels squared; white noise of variance v
    has the power v in every ring."""
    windows: NDArray[np.int64]
    """(I,): number of windows of every image, which are in the order of the images."""
    blocks: NDArray[np.int64]
    """(I,): number of blocks of every image among those for the noise."""

    def __add__(self, other: "Content") -> "Content":
        return Content(
            np.concatenate([self.power, other.power]),
            np.concatenate([self.windows, other.windows]),
            np.concatenate([self.blocks, other.blocks]),
        )

    def of_one_image(self) -> "Content":
        """The same, as that of one image."""
        return Content(self.power, self.windows.sum(keepdims=True), self.blocks.sum(keepdims=True))

    def of(self, kept: NDArray[np.bool_]) -> "Content":
        """The content of some of the images (I,)."""
        return Content(self.power[kept[self.images()]], self.windows[kept], self.blocks[kept])

    def images(self) -> Indices:
        """(n,): the image of every window."""
        return np.repeat(np.arange(len(self.windows)), self.windows)

    def images_of_blocks(self) -> Indices:
        """The image of every block."""
        return np.repeat(np.arange(len(self.blocks)), self.blocks)


def content(image: NDArray[np.number], limit: int, blocks: int) -> Content:
    """The content of one image.

    Args:
        image: (3, H, W) in gray levels.
        limit: Largest number of windows; they are spread evenly over those that lie side by side
            from the upper left corner.
        blocks: Number of blocks of the image among those for the noise.

    """
    rows, columns = image.shape[1] // WINDOW, image.shape[2] // WINDOW
    inner = image[:, : rows * WINDOW, : columns * WINDOW]
    cut = inner.reshape(3, rows, WINDOW, columns, WINDOW).transpose(1, 3, 0, 2, 4)
    every = cut.reshape(-1, 3, WINDOW, WINDOW)
    kept = np.unique(np.linspace(0, max(len(every) - 1, 0), min(limit, len(every))).astype(int))
    luma = luma_of(every[kept])
    return Content(ring_power(luma), np.array([len(kept)]), np.array([blocks]))


def luma_of(pixels: NDArray[np.number]) -> NDArray[np.float32]:
    """Luma (n, H, W) of parts (n, 3, H, W) of images."""
    weights = np.array(TO_YCBCR[0], dtype=np.float32)
    return np.tensordot(pixels.astype(np.float32), weights, ((1,), (0,)))


def ring_power(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Power (n, 8) in the ``RINGS`` of windows (n, 16, 16) less their plane, Hann windowed."""
    power = rings(periodogram(windows)) / white_noise()
    return power[:, : len(RINGS)].astype(np.float32)


class Weights(NamedTuple):
    """Weights of the parts of two sets, under which both have the same content."""

    real: Array
    """(replicates + 1, n): each row adds up to one."""
    other: Array
    """Likewise of the other set."""


def strata(values: Sequence[Array], parts: int) -> tuple[Indices, Indices]:
    """Which of ``parts`` parts of equal number of both sets together every value belongs to."""
    edges = np.quantile(np.concatenate(values), np.linspace(0, 1, parts + 1)[1:-1])
    first, other = (np.searchsorted(edges, each, side="right") for each in values)
    return first, other


def match(cells: Sequence[Indices], images: Sequence[Indices], counts: Sequence[int]) -> Weights:
    """Weights under which every cell has one share in both sets.

    A cell that one set lacks has no weight.

    Args:
        cells: Cell of every part, of the real set and of the other.
        images: Image of every part, of both.
        counts: Number of images of both.

    Raises:
        ValueError: No cell is in both sets.

    """
    number = 1 + max(int(each.max(initial=0)) for each in cells)
    share = np.minimum(*(np.bincount(each, minlength=number) / len(each) for each in cells))
    if not share.sum():
        raise ValueError("the images show nothing alike")
    real, other = (
        _weights(cell, share / share.sum(), image, count, seed)
        for seed, (cell, image, count) in enumerate(zip(cells, images, counts, strict=True))
    )
    return Weights(real, other)


def draws(images: int, seed: int) -> Array:
    """How often each image counts: (replicates + 1, images); once in row 0."""
    random = np.random.default_rng((seed, images))
    drawn = random.multinomial(images, np.full(images, 1 / images), REPLICATES)
    return np.concatenate([np.ones((1, images)), drawn])


def standard_error(values: Array, images: int) -> float | None:
    """Standard error of a value of which there is one (replicates + 1,) for every draw.

    It is widened by what few images make a standard error too small: so ``REACH`` of it is the 95 %
    interval of Student's law.  None if there are too few images.

    Args:
        values: The value of every draw, the first that of the images as they are.
        images: Number of images of the smaller set.

    """
    if images < FEWEST_IMAGES:
        return None
    widened = stdtrit(images - 1, 0.975) / REACH * np.sqrt(images / (images - 1))
    return float(values[1:].std(ddof=1) * widened)


def like_windows(
    real: Sequence[NDArray[np.uint8]], other: Sequence[NDArray[np.uint8]]
) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """Windows of both sets, left out until both have the same number in every cell.

    The cells are of intensity, of contrast and of gradient.

    Args:
        real: Windows (n, 3, 16, 16) of every real image.
        other: The same of the other set.

    """
    both = [list(real), list(other)]
    if not all(sum(len(each) for each in part) for part in both):
        return both[0], both[1]
    shown = [_shown(np.concatenate(part)) for part in both]
    cells: list[Indices] = [np.zeros(len(each), dtype=np.intp) for each in shown]
    for place, parts in enumerate((LEVEL_STRATA, CONTRAST_STRATA, GRADIENT_STRATA)):
        found = strata([each[:, place] for each in shown], parts)
        cells = [cell * parts + more for cell, more in zip(cells, found, strict=True)]
    number = LEVEL_STRATA * CONTRAST_STRATA * GRADIENT_STRATA
    most = np.minimum(*(np.bincount(each, minlength=number) for each in cells))
    first, second = (_fewer(windows, cell, most) for windows, cell in zip(both, cells, strict=True))
    return first, second


def _fewer(
    windows: Sequence[NDArray[np.uint8]], cells: Indices, most: NDArray[np.int64]
) -> list[NDArray[np.uint8]]:
    """Of every image, the windows that stay if a cell may have so many; spread over the images."""
    order = np.random.default_rng(0).permutation(len(cells))
    order = order[np.argsort(cells[order], kind="stable")]
    counts = np.bincount(cells, minlength=len(most))
    rank = np.empty(len(cells), dtype=np.intp)
    rank[order] = np.arange(len(cells)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = np.split(rank < most[cells], np.cumsum([len(each) for each in windows])[:-1])
    return [each[stay] for each, stay in zip(windows, kept, strict=True)]


def _shown(windows: NDArray[np.uint8]) -> Array:
    """Intensity, contrast at low frequencies, and slope (n, 3) of windows."""
    luma = luma_of(windows)
    level, *slope = (luma.reshape(len(luma), -1) @ window_plane().T.astype(np.float32)).T
    contrast = ring_power(luma)[:, :LOW].mean(axis=1)
    return np.stack([level, contrast, np.hypot(*slope)], axis=1).astype(np.float64)


def _weights(cells: Indices, share: Array, images: Indices, count: int, seed: int) -> Array:
    """Weights (replicates + 1, n) that give every cell its share, whichever images are drawn."""
    drawn = draws(count, seed)[:, images]
    inside = np.eye(len(share))[cells]
    total = drawn @ inside
    found = drawn * (share / np.maximum(total, 1e-9))[:, cells]
    return np.asarray(found / np.maximum(found.sum(axis=1, keepdims=True), 1e-9))
