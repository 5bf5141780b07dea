"""Super-resolution of image files with a trained model."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor
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
from pipeline.images.filters import bicubic_upsample
from pipeline.images.io import to_float
from pipeline.parallel.background import read_ahead, write_behind
from pipeline.reading.files import find_images, warn_of_others
from pipeline.reading.formats import EXTENSIONS
from pipeline.reading.photograph import Photograph, read_photograph
from pipeline.sampling.jpeg import TO_YCBCR
from pipeline.srn.file import open_model
from pipeline.tools.strip_writer import SUFFIXES, Form, Size, write_strips

BF16_BOUND_GRAY = 2.0
"""Largest difference in gray levels of bfloat16 from float32 on the first tile.

The rounding of the result alone gives 0.5 (8 significant bits).  On the demo's photographs its two
networks differed by 0.2 and 0.6."""

Precision = Literal["float32", "bf16"]
"""With ``bf16``, float32 is used all the same if ``BF16_BOUND_GRAY`` is exceeded."""

IMAGE_ENDINGS = (*EXTENSIONS, ".gif", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".jpe", ".jfif")
"""Endings of names that nobody gives to a folder."""
LUMA = TO_YCBCR[0]
"""Shares of red, green and blue in the brightness."""
log = logging.getLogger(__name__)


class Strip(NamedTuple):
    """Some rows of an SR image."""

    target: Path
    """File of the image."""
    size: Size
    """Of the image."""
    form: Form
    """Its channels and depth, and what it says of the photograph."""
    pixels: NDArray[Any]
    """(C, h, W)."""


@dataclass(frozen=True)
class AnyChannels:
    """An SR network for images of one to four channels.

    Grey goes through the network as three equal channels, and comes back as their luma (ITU-R
    BT.601), so that no colour appears.  Alpha is enlarged bicubically.
    """

    network: Enlarge
    """For RGB."""
    scale: int
    grey: bool
    """Whether the image has no colour."""

    def __call__(self, lr: Tensor) -> Tensor:
        """From (N, C, H, W) in [0, 1] to (N, C, scale H, scale W)."""
        channels = lr.shape[1]
        colours = 1 if channels < 3 else 3
        sr = self.network(lr[:, :colours].expand(-1, 3, -1, -1))
        if self.grey:
            weights = torch.tensor(LUMA, device=sr.device)
            luma = torch.einsum("c,nchw->nhw", weights, sr.float().clamp(0, 1))[:, None]
            sr = luma.expand(-1, colours, -1, -1)
        if channels == colours:
            return sr
        alpha = bicubic_upsample(lr[:, colours:], self.scale)
        return torch.cat([sr.to(alpha.dtype), alpha], dim=1)


def plan(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Pair every input file with its output file, by default a PNG file.

    Args:
        source: An image, or a folder of images.
        target: A file ending in ``.png``, ``.tif`` or ``.tiff``, or a folder; a folder for a
            folder.

    Raises:
        UserError: The source is missing or empty, the target is named like an image of a kind that
            is not written, or like one image for a folder of them, two outputs would have the same
            name, or an output would overwrite its input.

    """
    ending = target.suffix.lower()
    if ending in IMAGE_ENDINGS and not target.is_dir():
        if ending not in SUFFIXES:
            written = " or ".join(", ".join(SUFFIXES).rsplit(", ", 1))
            raise UserError(f"{target}: {ending} is not written; name a folder, or {written}")
        if source.is_dir():
            raise UserError(f"{source}: is a folder, so the output must be one, not {target}")
    if source.is_dir():
        files = find_images(source)
        warn_of_others(files)
        pairs = [(path, target / f"{path.stem}.png") for path in files]
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

    A result has the channels and the depth of its input, grey stays without colour, and EXIF data
    and resolution are copied; the orientation is applied instead.

    While a strip is computed, threads read the next image and write the strip before.  Memory holds
    two inputs and two strips, never a whole SR image.  Every file that is complete is logged.  An
    image that cannot be read is logged, and the others are written all the same.

    Args:
        pairs: Inputs and outputs, see ``plan``.
        model: Any SR model file that spandrel opens.
        tiling: How images are cut.
        precision: Number format of the convolutions.

    Raises:
        UserError: The model cannot be read, or a file cannot be written; or, after the others were
            written, some images could not be read.

    """
    network = open_model(model)
    device = on_device(network)
    enlarge: Enlarge | None = None
    failed: list[Path] = []

    with write_behind(_write) as put, read_ahead(map(_read, pairs)) as inputs:
        for source, target, found in tqdm(inputs, "upscale", len(pairs), unit="image"):
            if isinstance(found, UserError):
                if len(pairs) == 1:
                    raise found
                log.warning("%s", found)
                failed.append(source)
                continue
            lr, layout = found.pixels, AnyChannels(network, network.scale, found.grey)
            if enlarge is None:
                fast = precision == "bf16" and _bf16_is_close(layout, lr, tiling, device)
                enlarge = in_bf16(network, device) if fast else network
            size = Size(lr.shape[1] * network.scale, lr.shape[2] * network.scale)
            form = Form(len(lr), lr.dtype, found.notes)
            layout = replace(layout, network=enlarge)
            strips = enlarge_strips(layout, lr, network.scale, tiling, device)
            count = -(-lr.shape[1] // tiling.tile)
            for pixels in tqdm(strips, target.name, count, leave=False, unit="strip"):
                put(Strip(target, size, form, pixels))
    if failed:
        names = ", ".join(path.name for path in failed)
        raise UserError(f"{len(failed)} of {len(pairs)} images could not be read: {names}")


def _read(pair: tuple[Path, Path]) -> "_Input":
    try:
        return _Input(*pair, read_photograph(pair[0]))
    except UserError as error:
        return _Input(*pair, error)


class _Input(NamedTuple):
    """One image to enlarge."""

    source: Path
    target: Path
    found: Photograph | UserError
    """The error says why it cannot be read."""


def _bf16_is_close(
    network: AnyChannels, lr: NDArray[Any], tiling: Tiling, device: torch.device
) -> bool:
    """Whether bfloat16 and float32 agree on the first tile; a warning is logged if not."""
    side = tiling.tile + tiling.halo
    first = to_float(lr[:, :side, :side])[None].to(device)
    fast = replace(network, network=in_bf16(network.network, device))
    difference = largest_difference(network, fast, first)
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
    for target, of_image in groupby(strips, key=lambda strip: strip.target):
        first = next(of_image)
        pixels = (strip.pixels for strip in chain([first], of_image))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_strips(target, *first.size, pixels, first.form)
        except OSError as error:
            raise UserError(f"{target}: cannot be written: {error.strerror}") from error
        log.info("wrote %s (%dx%d)", target, *first.size)
