"""How sharp and how noisy an image is: sharp where it is sharpest, noisy where it is calmest."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.images.io import Image

Luma = NDArray[np.int16]
"""(..., H, W), gray levels, rounded."""
TILE = 64
"""Side of a tile in pixels."""
MOST_TILES = 24
"""Most tiles of either kind."""
STEP = 4
"""Every so many rows are looked at to choose the tiles."""
REACH = (1, 2, 4)
"""Steps that add up to a window of 8 pixels."""
EDGE = 32
"""Least contrast of an edge in gray levels."""
TIMES_NOISE = 8
"""Least contrast of an edge, in noise levels."""
SHARPEST = 95
"""Percentile of the slopes that stands for an image."""
FEWEST_EDGES = 200
"""Fewest pixels at edges that say how sharp an image is."""
CELL = 16
"""Side of the squares whose noise is measured, in pixels."""
CALMEST = 10
"""Percentile of the squares that stands for an image."""
CLIPPED = (20, 235)
"""Squares whose mean is beyond are left out: noise at the ends of the range is cut off."""
FEWEST_CELLS = 8
"""Fewest squares that tell a noise level."""


class Tiles(NamedTuple):
    """Tiles of an image, (N, 64, 64) each; fewer than 2 N tiles of an image may be in both."""

    detailed: Luma
    """Those with the largest differences between neighbours."""
    calm: Luma
    """Those with the smallest."""


def luma_of(image: Image) -> Luma:
    """The luma (H, W) of an image (3, H, W), with the weights of BT.601 as multiples of 1/256."""
    red, green, blue = image
    total = red.astype(np.uint16)
    total *= 77
    total += green * np.uint16(150)
    total += blue * np.uint16(29)
    total += np.uint16(128)
    total >>= 8
    luma: Luma = total.view(np.int16)
    return luma


def tiles_of(luma: Luma) -> Tiles | None:
    """The tiles of an image; None if it holds none."""
    down, across = (length // TILE for length in luma.shape)
    if not down or not across:
        return None
    rows = luma[: down * TILE : STEP, : across * TILE]
    steps = np.abs(np.diff(rows, axis=1, append=rows[:, -1:]))
    sums = steps.reshape(down, TILE // STEP, across, TILE).sum((1, 3), dtype=np.int64)
    order = np.argsort(sums, axis=None, kind="stable")
    places = [(int(n) // across * TILE, int(n) % across * TILE) for n in order]
    every = {(y, x): luma[y : y + TILE, x : x + TILE] for y, x in places}
    return Tiles(
        np.stack([every[place] for place in places[-MOST_TILES:]]),
        np.stack([every[place] for place in places[:MOST_TILES]]),
    )


def noise_of(calm: Luma) -> float | None:
    """The noise level of the calmest squares of tiles, in gray levels of luma.

    It is the root mean square diagonal Haar coefficient of a square, of which the tenth percentile
    over the squares is taken.  White noise of standard deviation s in each of R, G and B has 0.67 s
    in luma, of which some 0.9 is found; noise that neighbours share has less.

    Args:
        calm: (N, H, W), multiples of 16.

    Returns:
        None if nearly all squares are black or white.

    """
    height, width = calm.shape[1:]
    diagonal = calm[:, ::2, ::2] - calm[:, 1::2, ::2] - calm[:, ::2, 1::2] + calm[:, 1::2, 1::2]
    power = np.square(diagonal, dtype=np.float32) / 4
    means = _cells(calm, height // CELL, width // CELL)
    middle = (means > CLIPPED[0]) & (means < CLIPPED[1])
    if np.count_nonzero(middle) < FEWEST_CELLS:
        return None
    levels = _cells(power, height // CELL, width // CELL)[middle]
    return float(np.sqrt(np.percentile(levels, CALMEST)))


def _cells(values: NDArray[np.generic], down: int, across: int) -> NDArray[np.float32]:
    """Means over the squares of (N, H, W)."""
    count, height, width = values.shape
    squares = values.reshape(count, down, height // down, across, width // across)
    return np.asarray(squares.mean((2, 4), dtype=np.float32))


def slopes_of(detailed: Luma, noise: float | None) -> NDArray[np.float32]:
    """The slopes at the edges of tiles, along every second row and column.

    A slope is the difference of two neighbours over the contrast in the 8 pixels around them.  Of
    a step that a Gaussian of sigma pixels blurred it is erf(1 / (2 sqrt(2) sigma)): 0.68 for sigma
    0.5, 0.38 for 1, 0.20 for 2; of a line it is a third more.

    Args:
        detailed: (N, H, W).
        noise: See ``noise_of``; edges stand out of it.

    Returns:
        (M,), one for every pixel with the contrast of an edge.

    """
    least = max(EDGE, TIMES_NOISE * (noise or 0))
    found = []
    for lines in (detailed, detailed.swapaxes(1, 2)):
        values = np.ascontiguousarray(lines[:, ::2])
        high = low = values
        for step in REACH:
            high = np.maximum(high[..., :-step], high[..., step:])
            low = np.minimum(low[..., :-step], low[..., step:])
        contrast = high - low
        steps = np.abs(values[..., 4:-3] - values[..., 3:-4])
        edges = contrast >= least
        found.append(steps[edges] / contrast[edges].astype(np.float32))
    return np.concatenate(found)


def sharpness_of(slopes: NDArray[np.float32]) -> float | None:
    """The slope of the sharpest edges, see ``slopes_of``; None if there are too few edges.

    A background out of focus lowers it little.
    """
    if slopes.size < FEWEST_EDGES:
        return None
    return float(np.percentile(slopes, SHARPEST))
