"""Image files: found in folders, and read as 8-bit RGB or as they are."""

import logging
import warnings
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import UserError, printable
from pipeline.images.io import Image, decoder_fault
from pipeline.reading.decoding import LARGEST, decoded, size_of
from pipeline.reading.formats import EXTENSIONS, images_in, is_image, passed_over

LARGEST_FILE = 8 * LARGEST
"""Most bytes of an image file: four 16-bit values per pixel."""
log = logging.getLogger(__name__)


def find_images(folder: Path) -> list[Path]:
    """List the image files directly in a folder; see ``formats.images_in``.

    Raises:
        UserError: The folder does not exist or holds no image.

    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    files = images_in(folder)
    if not files:
        others = passed_over(folder)
        also = f"; {others}" if others else ""
        raise UserError(f"{folder}: holds no image ({', '.join(EXTENSIONS)}){also}")
    return files


def holds_images(folder: Path) -> bool:
    """Whether ``find_images`` would find any in a folder that exists."""
    return any(is_image(path) for path in folder.iterdir())


def warn_of_others(images: Iterable[Path], other: Collection[Path] = ()) -> None:
    """Say in the log what lies beside images and is not read; see ``formats.passed_over``."""
    for folder in sorted({path.parent for path in images}):
        if others := passed_over(folder, other):
            log.warning("%s: %s", printable(str(folder)), printable(others))


def image_size(path: Path) -> tuple[int, int] | None:
    """(H, W) of an image file, as its orientation says, from its header alone.

    None if ``read_image`` would fail.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on large files
            return size_of(path)
    except Exception:  # the decoders raise dozens of types on damaged files
        return None


def read_image(path: Path) -> Image:
    """Decode an image file to RGB; see ``decode``.

    16-bit values are divided by 257 and rounded.  An alpha channel is dropped, with a warning in
    the log.

    Returns:
        (3, H, W), uint8.

    Raises:
        UserError: See ``decode``.

    """
    pixels = decode(path)
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.shape[-1] in (2, 4):
        log.warning("%s: the alpha channel is dropped", printable(str(path)))
        pixels = pixels[..., :-1]
    if pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, 3, axis=-1)
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0).astype(np.uint8, copy=False))


def decode(path: Path) -> NDArray[Any]:
    """Decode an image file to sRGB of the channels and the depth of the file.

    It may be PNG, JPEG, TIFF, WebP, BMP, HEIC, AVIF, JPEG XL or JPEG 2000, have 8 or 16 bit, and be
    grey, palette, RGB, RGBA or, as JPEG and TIFF, CMYK; or a raw photograph, which is developed to
    16 bit (see ``camera_files.raw``).  The orientation is applied.  Colours are
    converted to sRGB as the profile of the file says; a profile that cannot be used is a warning in
    the log.  A JPEG or HEIC file may hold several pictures, as phones write them; the photograph is
    read.

    Returns:
        (H, W, C), uint8 or uint16, with 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 channels (RGB
        and alpha).

    Raises:
        UserError: The file is empty, truncated, not an image, animated, multi-page or too large,
            its header claims more pixels than the file can hold, or its values are not unsigned 8
            or 16 bit.

    """
    try:
        size = path.stat().st_size
        if size == 0:
            raise UserError(f"{path}: is empty (0 bytes)")
        if size > LARGEST_FILE:
            raise UserError(f"{path}: has {size} bytes, more than {LARGEST_FILE}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on large or odd but readable files
            return decoded(path, path.read_bytes())
    except UserError:
        raise
    except Exception as error:  # the decoders raise dozens of types on damaged files
        raise UserError(f"{path}: cannot be read as an image: {decoder_fault(error)}") from error
