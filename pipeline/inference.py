"""SR networks applied to images of any size, in tiles."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from pipeline.images import Image, to_float, to_uint8
from pipeline.tiling import Box, tiles

Enlarge = Callable[[Tensor], Tensor]
"""From (1, 3, H, W) in [0, 1] to (1, 3, scale H, scale W)."""


def enlarge_tiles(
    network: Enlarge, lr: Image, scale: int, tile: int, halo: int, device: torch.device
) -> Iterator[tuple[Box, Image]]:
    """Super-resolve an image tile by tile.

    Every tile is computed with ``halo`` LR pixels of its surroundings, which are then cut away.
    Where the halo covers the network's receptive field the result is that of the whole image;
    deeper networks see less than they could, with differences far below one gray level.

    Args:
        network: The SR network.
        lr: (3, H, W), 0..255.
        scale: Its factor.
        tile: Side of a tile in LR pixels.
        halo: LR pixels around a tile.
        device: Where the network is.

    Yields:
        Boxes on the SR grid and their pixels.

    """
    height, width = lr.shape[1:]
    for area in tiles(height, width, tile):
        outer = area.grown(halo, height, width)
        with torch.inference_mode():
            result = network(to_float(lr[outer.slices])[None].to(device))[0]
        yield area.times(scale), to_uint8(result[area.within(outer).times(scale).slices])


def enlarge(
    network: Enlarge, lr: Image, scale: int, tile: int, halo: int, device: torch.device
) -> Image:
    """Super-resolve an image (3, H, W), 0..255, to (3, scale H, scale W); see ``enlarge_tiles``."""
    sr = np.empty((3, lr.shape[1] * scale, lr.shape[2] * scale), np.uint8)
    for box, pixels in enlarge_tiles(network, lr, scale, tile, halo, device):
        sr[box.slices] = pixels
    return sr
