"""Image files: found, decoded to 8-bit RGB, written."""

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

import imageio.v3 as iio
import numpy as np
import torch
from imagecodecs import png_decode
from imageio.core.request import InitializationError
from numpy.typing import NDArray
from PIL import UnidentifiedImageError
from torch import Tensor

from pipeline.base.errors import UserError, one_line, printable
from pipeline.base.files import whole
from pipeline.images.decoding import LARGEST, decoded, size_of
from pipeline.images.formats import EXTENSIONS, is_image, passed_over

Image = NDArray[np.uint8]
"""An RGB image (3, H, W), 0..255."""
Levels = TypeVar("Levels", np.uint8, np.uint16)
"""Type of the values of an image, 0..255 or 0..65535."""
Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]
"""Colour planes of a JPEG: whole, half along the rows, or half along both sides."""

LARGEST_FILE = 8 * LARGEST
"""Most bytes of an image file: four 16-bit values per pixel."""
log = logging.getLogger(__name__)


def find_images(folder: Path) -> list[Path]:
    """List the image files directly in a folder, by name, without hidden files.

    Raises:
        UserError: The folder does not exist or holds no image.

    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    files = [path for path in sorted(folder.iterdir()) if is_image(path)]
    if not files:
        others = passed_over(folder)
        also = f"; {others}" if others else ""
        raise UserError(f"{folder}: holds no image ({', '.join(EXTENSIONS)}){also}")
    return files


def holds_images(folder: Path) -> bool:
    """Whether ``find_images`` would find any in a folder that exists."""
    return any(is_image(path) for path in folder.iterdir())


def warn_of_others(images: Iterable[Path]) -> None:
    """Say in the log what lies beside images and is not read; see ``formats.passed_over``."""
    for folder in sorted({path.parent for path in images}):
        if others := passed_over(folder):
            log.warning("%s: %s", printable(str(folder)), printable(others))


def image_size(path: Path) -> tuple[int, int] | None:
    """(H, W) from the header of an image file; None if ``read_image`` would fail."""
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
    grey, palette, RGB, RGBA or, as JPEG and TIFF, CMYK.  The orientation is applied.  Colours are
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
        raise UserError(f"{path}: cannot be read as an image: {_reason(error)}") from error


def read_grey_png(path: Path) -> NDArray[np.float64]:
    """Decode an 8- or 16-bit grey PNG to its values (H, W), not scaled.

    Raises:
        UserError: It cannot be read, is no PNG, or is not grey.

    """
    try:
        pixels = np.asarray(png_decode(path.read_bytes()))
    except Exception as error:  # the decoder's own types on damaged files
        raise UserError(f"{path}: cannot be read as a PNG: {_reason(error)}") from error
    if pixels.ndim != 2 or pixels.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{path}: is not a grey PNG of 8 or 16 bit")
    return pixels.astype(np.float64)


def crop_to_multiple(path: Path, image: Image, scale: int) -> Image:
    """Cut rows at the bottom and columns at the right so that the scale divides both lengths.

    Raises:
        UserError: Nothing would be left.

    """
    height, width = (length // scale * scale for length in image.shape[1:])
    if not height or not width:
        raise UserError(f"{path}: is {size_text(image)}, smaller than the scale {scale}")
    return image[:, :height, :width]


def size_text(image: Image) -> str:
    """The size of an image for messages, as rows x columns."""
    return f"{image.shape[1]}x{image.shape[2]}"


def write_png(path: Path, image: Image) -> None:
    """Write (3, H, W) uint8 as an RGB PNG; the file appears only when it is whole."""
    with whole(path) as partial:
        iio.imwrite(partial, np.moveaxis(image, 0, -1), extension=".png", plugin="pillow")


def write_jpeg(path: Path, image: Image, quality: int, subsampling: Subsampling = "4:4:4") -> None:
    """Write (3, H, W) uint8 as a JPEG; the file appears only when it is whole.

    Args:
        path: The file.
        image: The pixels.
        quality: 1 to 100.
        subsampling: Size of the colour planes.

    """
    with whole(path) as partial:
        partial.write_bytes(_jpeg(image, quality, subsampling))


def jpeg_round_trip(image: Image, quality: int, subsampling: Subsampling) -> Image:
    """An image (3, H, W), uint8, after JPEG compression; see ``write_jpeg``."""
    pixels = iio.imread(_jpeg(image, quality, subsampling), plugin="pillow")
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


def _jpeg(image: Image, quality: int, subsampling: Subsampling) -> bytes:
    pixels = np.moveaxis(image, 0, -1)
    encoded = iio.imwrite(
        "<bytes>", pixels, extension=".jpg", plugin="pillow", quality=quality,
        subsampling=subsampling,
    )  # fmt: skip
    return bytes(encoded)


def to_float(image: NDArray[Levels]) -> Tensor:
    """Return (3, H, W) uint8 or uint16 as a float32 tensor in [0, 1]."""
    return torch.from_numpy(image).float() / float(np.iinfo(image.dtype).max)


def to_uint8(image: Tensor) -> Image:
    """Round (3, H, W) in [0, 1] to 8 bit; values outside are clamped."""
    levels = (image.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return np.asarray(levels.cpu().numpy())


def to_uint16(image: Tensor) -> NDArray[np.uint16]:
    """Round (C, H, W) in [0, 1] to 16 bit; values outside are clamped."""
    levels = (image.detach().float().clamp(0, 1) * 65535).round().to(torch.int32)
    return np.asarray(levels.cpu().numpy().astype(np.uint16))


def _reason(error: BaseException) -> str:
    plugin = any(name in str(error) for name in ("`pillow`", "`tifffile`"))
    if plugin and error.__cause__:  # imageio hides what the decoder said
        return _reason(error.__cause__)
    if isinstance(error, InitializationError | UnidentifiedImageError):  # of plugins, of the path
        return "it is of no known format, or damaged"
    if isinstance(error, OSError) and error.strerror:  # its text repeats the path
        return error.strerror
    return one_line(error)
