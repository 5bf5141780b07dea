"""SR networks applied to images of any size, in tiles."""

from collections.abc import Callable, Iterator
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from pipeline.base.boxes import Box, Tile, batches, tiles
from pipeline.images.io import Image, to_float, to_uint8
from pipeline.srn.network import SrModel

Enlarge = Callable[[Tensor], Tensor]
"""From (N, 3, H, W) in [0, 1] to (N, 3, scale H, scale W)."""


def on_device(network: SrModel) -> torch.device:
    """Move a network to the best device there is, and give back that.

    On CPUs in channels_last, which is 1.1 to 1.4 times as fast there.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    if device.type == "cpu":
        network.model.to(memory_format=torch.channels_last)
    return device


def enlarge_tiles(
    network: Enlarge,
    lr: Image,
    scale: int,
    tile: int,
    halo: int,
    device: torch.device,
    batch: int = 1,
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
        batch: Tiles of one shape that go through the network together; memory grows with it.

    Yields:
        Boxes on the SR grid, row by row, and their pixels.

    """
    height, width = lr.shape[1:]
    planned = (Tile(area, area.grown(halo, height, width)) for area in tiles(height, width, tile))
    for together in batches(planned, batch):
        seen = torch.stack([to_float(lr[outer.slices]) for _, outer in together])
        with torch.inference_mode():
            results = network(seen.to(device))
        for (area, outer), result in zip(together, results, strict=True):
            yield area.times(scale), to_uint8(result[area.within(outer).times(scale).slices])


def enlarge_strips(
    network: Enlarge,
    lr: Image,
    scale: int,
    tile: int,
    halo: int,
    device: torch.device,
    batch: int = 1,
) -> Iterator[Image]:
    """Super-resolve an image from top to bottom, a row of tiles at a time; see ``enlarge_tiles``.

    Yields:
        (3, h, scale W): what of the result lies in one row of tiles.

    """
    computed = enlarge_tiles(network, lr, scale, tile, halo, device, batch)
    for (top, bottom), row in groupby(computed, key=lambda one: (one[0].top, one[0].bottom)):
        strip = np.empty((3, bottom - top, lr.shape[2] * scale), np.uint8)
        for box, pixels in row:
            strip[:, :, box.left : box.right] = pixels
        yield strip


def enlarge(
    network: Enlarge, lr: Image, scale: int, tile: int, halo: int, device: torch.device
) -> Image:
    """Super-resolve an image (3, H, W), 0..255, to (3, scale H, scale W); see ``enlarge_tiles``."""
    sr = np.empty((3, lr.shape[1] * scale, lr.shape[2] * scale), np.uint8)
    for box, pixels in enlarge_tiles(network, lr, scale, tile, halo, device):
        sr[box.slices] = pixels
    return sr


def in_bf16(network: Enlarge, device: torch.device) -> Enlarge:
    """The network under autocast: convolutions and matrix products in bfloat16."""

    def enlarge_in_bf16(lr: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return network(lr)

    return enlarge_in_bf16


def largest_difference(one: Enlarge, other: Enlarge, lr: Tensor) -> float:
    """How far two networks are apart on a batch (N, 3, H, W) in [0, 1], in gray levels.

    Before rounding, values outside [0, 1] clamped as in a file; NaN where one of them has one.
    """
    with torch.inference_mode():
        first, second = (network(lr).float().clamp(0, 1) for network in (one, other))
        return float((first - second).abs().max()) * 255
