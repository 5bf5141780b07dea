"""The grid of blocks that an earlier JPEG compression leaves in an image.

In its 8x8 blocks many coefficients of the cosine transform were rounded to zero.  In blocks that
start elsewhere they are not zero.  So the share of zeros stands out at one start among the 64.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.images.io import Image

BLOCK = 8
SIDE = 256
"""Side of the part in the middle of an image that is looked at, in pixels."""
FEWEST = 6
"""Fewest blocks along a side."""
ZERO = 0.6
"""Coefficients below this, in gray levels, count as zero: 8-bit values leave up to 0.3 of it."""
CERTAIN = 8.0
"""Least height of the best share over the median, in robust standard deviations.  Photographs
without a grid had at most 5, with a grid of the qualities 50 to 98 at least 11."""
APART = 0.5
"""Least lead over the second share, in the height of the second over the median."""
LEAST = 0.02
"""Least lead over the second share."""
SYNTHETIC = 0.98
"""Images with a higher share of zeros are enlarged or drawn."""


class Grid(NamedTuple):
    """Where the blocks of an image start."""

    row: int
    """0 to 7."""
    column: int
    """0 to 7."""


def find_grid(image: Image) -> Grid | None:
    """The grid of an earlier JPEG compression of an image (3, H, W); None if there is none.

    A quality above 98 leaves none, and neither does a compression before an image was resized.
    """
    height, width = (min(length, SIDE) // BLOCK - 1 for length in image.shape[1:])
    if min(height, width) < FEWEST:
        return None
    shares = zero_shares(_middle(image), height, width)
    *_, second, best = np.sort(shares, axis=None)
    median = np.median(shares)
    spread = 1.4826 * np.median(np.abs(shares - median))
    lead = best - second
    if best > SYNTHETIC or lead < max(LEAST, APART * (second - median)):
        return None
    if best - median < CERTAIN * spread:
        return None
    row, column = np.unravel_index(shares.argmax(), shares.shape)
    return Grid(int(row), int(column))


def zero_shares(luma: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """The share of zeros among the coefficients, without the mean, of blocks of every start.

    Args:
        luma: (H, W) in gray levels.
        height: Blocks down.
        width: Blocks across.

    Returns:
        (8, 8), by row and column of the start.

    """
    place = np.arange(BLOCK)
    cosines = np.cos((2 * place + 1) * place[:, None] * np.pi / (2 * BLOCK)) / 2
    cosines[0] /= np.sqrt(2)
    cosines = cosines.astype(np.float32)
    rows, columns = BLOCK * height, BLOCK * width
    shares = np.empty((BLOCK, BLOCK))
    for column in range(BLOCK):  # the transform across is that of every start down
        part = luma[: rows + BLOCK - 1, column : column + columns].astype(np.float32)
        across = (part.reshape(-1, BLOCK) @ cosines.T).reshape(len(part), columns)
        for row in range(BLOCK):
            blocks = across[row : row + rows].reshape(height, BLOCK, columns)
            zero = np.abs(cosines @ blocks) < np.float32(ZERO)
            means = np.count_nonzero(zero[:, 0, ::BLOCK])
            shares[row, column] = (np.count_nonzero(zero) - means) / (zero.size * 63 / 64)
    return shares


def _middle(image: Image) -> NDArray[np.float64]:
    """The brightness of the middle of an image, which starts at multiples of a block."""
    top, left = (max(length - SIDE, 0) // 2 // BLOCK * BLOCK for length in image.shape[1:])
    part = image[:, top : top + SIDE, left : left + SIDE].astype(np.float64)
    return np.asarray(np.einsum("c,chw->hw", [0.299, 0.587, 0.114], part))
