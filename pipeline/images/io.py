"""Images in memory, their depth, and how they are written; ``pipeline.reading`` reads them."""

from pathlib import Path
from typing import Literal, TypeVar

import imageio.v3 as iio
import numpy as np
import torch
from imagecodecs import png_decode
from imageio.core.request import InitializationError
from numpy.typing import NDArray
from PIL import UnidentifiedImageError
from torch import Tensor

from pipeline.base.errors import UserError, one_line
from pipeline.base.files import whole

Image = NDArray[np.uint8]
"""An RGB image (3, H, W), 0..255."""
Levels = TypeVar("Levels", np.uint8, np.uint16)
"""Type of the values of an image, 0..255 or 0..65535."""
Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]
"""Colour planes of a JPEG: whole, half along the rows, or half along both sides."""


def read_written_png(path: Path) -> Image:
    """Decode an RGB PNG that this project wrote, without its opacity, to (3, H, W) uint8."""
    pixels = np.asarray(png_decode(path.read_bytes()))
    return np.ascontiguousarray(np.moveaxis(pixels[..., :3], -1, 0))


def read_grey_png(path: Path) -> NDArray[np.float64]:
    """Decode an 8- or 16-bit grey PNG to its values (H, W), not scaled.

    Raises:
        UserError: It cannot be read, is no PNG, or is not grey.

    """
    try:
        pixels = np.asarray(png_decode(path.read_bytes()))
    except Exception as error:  # the decoder's own types on damaged files
        raise UserError(f"{path}: cannot be read as a PNG: {decoder_fault(error)}") from error
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


def webp(image: Image, quality: int | None = None) -> bytes:
    """(3, H, W) uint8 as the bytes of a WebP file.

    Args:
        image: The pixels; at most 16383 along a side.
        quality: 1 to 100; None: lossless.

    """
    how = {"lossless": True} if quality is None else {"quality": quality}
    pixels = np.moveaxis(image, 0, -1)
    return bytes(iio.imwrite("<bytes>", pixels, extension=".webp", plugin="pillow", **how))


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


def decoder_fault(error: BaseException) -> str:
    """What a decoder says of a damaged file, for the message of a ``UserError``."""
    plugin = any(name in str(error) for name in ("`pillow`", "`tifffile`"))
    if plugin and error.__cause__:  # imageio hides what the decoder said
        return decoder_fault(error.__cause__)
    if isinstance(error, InitializationError | UnidentifiedImageError):  # of plugins, of the path
        return "it is of no known format, or damaged"
    if isinstance(error, OSError) and error.strerror:  # its text repeats the path
        return error.strerror
    return one_line(error)
