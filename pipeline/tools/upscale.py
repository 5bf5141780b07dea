"""Super-resolution of image files with a trained model."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from tqdm import tqdm

from pipeline.base.errors import UserError
from pipeline.evaluate.tiled import Enlarge, enlarge_strips, in_bf16, largest_difference, on_device
from pipeline.images.io import Image, find_images, read_image, to_float
from pipeline.parallel.background import read_ahead, write_behind
from pipeline.srn.network import open_model
from pipeline.tools.strip_writer import SUFFIXES, write_strips

BF16_BOUND_GRAY = 2.0
"""Gray levels that bfloat16 may differ from float32 on the first tile.

Rounding of the result alone makes 0.5 (8 significant bits); on the demo's photographs its two
networks differed by 0.2 and 0.6."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tiling:
    """How images are cut, and what tiles are computed in."""

    tile: int
    """Side of a tile in LR pixels; memory grows with its square."""
    halo: int
    """LR pixels around a tile that the network also sees."""
    batch: int = 1
    """Tiles that go through the network together; memory grows with it."""
    precision: Literal["float32", "bf16"] = "float32"
    """With bf16 float32 all the same where ``BF16_BOUND_GRAY`` is exceeded."""


class Strip(NamedTuple):
    """A part of an SR image, as wide as that."""

    target: Path
    """The image's file."""
    size: tuple[int, int]
    """(H, W) of the image."""
    pixels: Image
    """(3, h, W)."""


Written = Callable[[Path, tuple[int, int]], object]
"""Called with a file and its (H, W)."""


def plan(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Pair every input file with its output file, a PNG if nothing else is said.

    Args:
        source: An image, or a folder of images.
        target: A file ending in ``.png``, ``.tif`` or ``.tiff``, or a folder; a folder for a
            folder.

    Raises:
        UserError: The source is missing or empty, or two outputs would have the same name, or the
            output would overwrite its input.

    """
    if source.is_dir():
        pairs = [(path, target / f"{path.stem}.png") for path in find_images(source)]
    elif source.is_file():
        named = target.suffix.lower() in SUFFIXES
        pairs = [(source, target if named else target / f"{source.stem}.png")]
    else:
        raise UserError(f"{source}: there is no such file or folder")
    taken: dict[Path, Path] = {}
    for path, result in pairs:
        if taken.setdefault(result, path) != path:
            raise UserError(f"{taken[result]} and {path} would both become {result}")
        if result.resolve() == path.resolve():
            raise UserError(f"{result} would overwrite its input; name another output")
    return pairs


def upscale(pairs: list[tuple[Path, Path]], model: Path, tiling: Tiling, written: Written) -> None:
    """Super-resolve files one after the other, strip by strip.

    The next image is read, and the strip before is compressed and written, while a strip is
    computed.  In memory are two inputs and two strips, never an SR image.

    Args:
        pairs: Inputs and outputs, see ``plan``.
        model: Any SR model file that spandrel opens.
        tiling: How images are cut.
        written: Called in a thread of its own when a file is whole.

    Raises:
        UserError: The model or an image cannot be read, or a file cannot be written.

    """
    network = open_model(model)
    device = on_device(network)
    enlarge: Enlarge | None = None
    inputs = ((target, read_image(source)) for source, target in pairs)

    def write(strips: Iterator[Strip]) -> None:
        _write(strips, written)

    with write_behind(write) as put, read_ahead(inputs) as images:
        for target, lr in images:
            enlarge = enlarge or _within_bound(network, lr, tiling, device)
            size = lr.shape[1] * network.scale, lr.shape[2] * network.scale
            strips = enlarge_strips(
                enlarge, lr, network.scale, tiling.tile, tiling.halo, device, tiling.batch
            )
            count = -(-lr.shape[1] // tiling.tile)
            for pixels in tqdm(strips, target.name, count, leave=False, unit="strip"):
                put(Strip(target, size, pixels))


def _within_bound(network: Enlarge, lr: Image, tiling: Tiling, device: torch.device) -> Enlarge:
    """The network in the precision that is asked for, if the first tile allows it."""
    if tiling.precision == "float32":
        return network
    fast, side = in_bf16(network, device), tiling.tile + tiling.halo
    first = to_float(lr[:, :side, :side])[None].to(device)
    difference = largest_difference(network, fast, first)
    if difference <= BF16_BOUND_GRAY:
        return fast
    log.warning(
        "in bf16 the first tile is up to %.1f gray levels from float32, more than %.1f; "
        "going on in float32",
        difference,
        BF16_BOUND_GRAY,
    )
    return network


def _write(strips: Iterator[Strip], written: Written) -> None:
    for (target, size), of_image in groupby(strips, key=lambda strip: strip[:2]):
        height, width = size
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_strips(target, height, width, (strip.pixels for strip in of_image))
        except OSError as error:
            raise UserError(f"{target}: cannot be written: {error.strerror}") from error
        written(target, size)
