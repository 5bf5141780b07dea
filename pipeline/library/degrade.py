"""Mean and theta of an image that is in memory."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.export.degrader import Degrader

TILE = 128
"""LR pixels along a side of a tile."""


def degrade(
    image: NDArray[np.generic], dsn: Degrader | Path | str, tile: int = TILE
) -> dict[str, NDArray[np.float32]]:
    """Compute mean and theta of an HR image with a DSN.

    Args:
        image: HR image (3, H, W), H and W multiples of the scale; uint8, 0..255, or of a floating
            type in [0, 1].
        dsn: Weights of the train_dsn stage, or a ``Degrader`` that was made of them.
        tile: Side in LR pixels of the tiles in which a uint8 image is degraded.  The result is that
            of the whole image; memory grows with the square of the side.  An image of a floating
            type is degraded in one piece.

    Returns:
        ``mean`` and ``theta``, (3, H / scale, W / scale) each, float32 in the unit of the image,
        [0, 1]; ``sampler.sample`` draws from them.

    Raises:
        UserError: The file is missing, damaged or not a DSN.
        ValueError: The image has another shape, type or range, or the tile is not positive.

    """
    degrader = dsn if isinstance(dsn, Degrader) else Degrader.load(Path(dsn))
    _require_image(image, degrader.scale)
    if tile < 1:
        raise ValueError(f"tile must be at least 1 LR pixel, got {tile}")
    if image.dtype == np.uint8:
        return degrader.tiled(np.ascontiguousarray(image, np.uint8), tile)
    maps = degrader.whole(torch.from_numpy(np.ascontiguousarray(image, np.float32)))
    return {name: values.numpy() for name, values in maps.items()}


def _require_image(image: NDArray[np.generic], scale: int) -> None:
    shape, dtype = image.shape, image.dtype
    sides = shape[1:]
    if len(shape) != 3 or shape[0] != 3 or min(sides) < scale or any(n % scale for n in sides):
        raise ValueError(f"expected an image (3, H, W), H and W multiples of {scale}, got {shape}")
    if dtype == np.uint8:
        return
    if not np.issubdtype(dtype, np.floating):
        raise ValueError(f"expected an image of uint8 or of a floating type, got {dtype}")
    low, high = float(np.min(image)), float(np.max(image))
    if not (low >= 0 and high <= 1):
        raise ValueError(f"expected values in [0, 1], got {low:g} to {high:g}")
