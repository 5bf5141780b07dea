"""Super-resolution of image files with a trained model."""

import logging
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from tqdm import tqdm

from pipeline.base.errors import UserError
from pipeline.evaluate.tiled import (
    Enlarge,
    Tiling,
    enlarge_strips,
    in_bf16,
    largest_difference,
    on_device,
)
from pipeline.images.io import Image, to_float
from pipeline.parallel.background import read_ahead, write_behind
from pipeline.reading.files import find_images, read_image
from pipeline.srn.file import open_model
from pipeline.tools.strip_writer import SUFFIXES, write_strips

BF16_BOUND_GRAY = 2.0
"""Largest difference in gray levels of bfloat16 from float32 on the first tile.

The rounding of the result alone gives 0.5 (8 significant bits).  On the demo's photographs its two
networks differed by 0.2 and 0.6."""

Precision = Literal["float32", "bf16"]
"""With ``bf16``, float32 is used all the same if ``BF16_BOUND_GRAY`` is exceeded."""

log = logging.getLogger(__name__)


class Strip(NamedTuple):
    """Some rows of an SR image."""

    target: Path
    """File of the image."""
    size: tuple[int, int]
    """(H, W) of the image."""
    pixels: Image
    """(3, h, W)."""


def plan(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Pair every input file with its output file, by default a PNG file.

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


def upscale(
    pairs: list[tuple[Path, Path]], model: Path, tiling: Tiling, precision: Precision = "float32"
) -> None:
    """Super-resolve files one after the other, strip by strip.

    While a strip is computed, threads read the next image and write the strip before.  Memory holds
    two inputs and two strips, never a whole SR image.  Every file that is complete is logged.

    Args:
        pairs: Inputs and outputs, see ``plan``.
        model: Any SR model file that spandrel opens.
        tiling: How images are cut.
        precision: Number format of the convolutions.

    Raises:
        UserError: The model or an image cannot be read, or a file cannot be written.

    """
    network = open_model(model)
    device = on_device(network)
    enlarge: Enlarge | None = None
    inputs = ((target, read_image(source)) for source, target in pairs)

    with write_behind(_write) as put, read_ahead(inputs) as images:
        for target, lr in tqdm(images, "upscale", len(pairs), unit="image"):
            if enlarge is None:
                fast = precision == "bf16" and _bf16_is_close(network, lr, tiling, device)
                enlarge = in_bf16(network, device) if fast else network
            size = lr.shape[1] * network.scale, lr.shape[2] * network.scale
            strips = enlarge_strips(enlarge, lr, network.scale, tiling, device)
            count = -(-lr.shape[1] // tiling.tile)
            for pixels in tqdm(strips, target.name, count, leave=False, unit="strip"):
                put(Strip(target, size, pixels))


def _bf16_is_close(network: Enlarge, lr: Image, tiling: Tiling, device: torch.device) -> bool:
    """Whether bfloat16 and float32 agree on the first tile; a warning is logged if not."""
    side = tiling.tile + tiling.halo
    first = to_float(lr[:, :side, :side])[None].to(device)
    difference = largest_difference(network, in_bf16(network, device), first)
    if difference <= BF16_BOUND_GRAY:
        return True
    log.warning(
        "in bf16 the first tile is up to %.1f gray levels from float32, more than %.1f; "
        "going on in float32",
        difference,
        BF16_BOUND_GRAY,
    )
    return False


def _write(strips: Iterator[Strip]) -> None:
    for (target, size), of_image in groupby(strips, key=lambda strip: strip[:2]):
        height, width = size
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_strips(target, height, width, (strip.pixels for strip in of_image))
        except OSError as error:
            raise UserError(f"{target}: cannot be written: {error.strerror}") from error
        log.info("wrote %s (%dx%d)", target, height, width)
