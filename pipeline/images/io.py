"""Image files: found, decoded to 8-bit RGB, written."""

import logging
import warnings
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import imageio.v3 as iio
import numpy as np
import torch
from imagecodecs import png_decode
from imageio.core.request import InitializationError
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError
from tifffile import TiffFile
from torch import Tensor

from pipeline.base.errors import UserError, one_line, printable
from pipeline.base.files import whole

EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"
GIF = b"GIF8"
BMP = b"BM"
WEBP = b"WEBP"
"""From the ninth byte on."""
TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")

Image = NDArray[np.uint8]
"""An RGB image (3, H, W), 0..255."""
Levels = TypeVar("Levels", np.uint8, np.uint16)
"""Type of the values of an image, 0..255 or 0..65535."""
Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]
"""Colour planes of a JPEG: whole, half along the rows, or half along both sides."""

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF")
"""Formats that Pillow may decode; some of its other decoders run programs."""
LARGEST = 2**29
"""Most pixels of an image; phones have 2^28, the largest cameras a little less than this."""
LARGEST_FILE = 8 * LARGEST
"""Most bytes of an image file: four 16-bit values per pixel."""
MODEST = 2**26
"""Up to this many pixels an image may be compressed to any degree, as a black one is."""
PIXELS_PER_BYTE = 200
"""Most pixels per byte of a larger image; photographs have 1 to 30, decompression bombs 300 and
more."""

ORIENTATION = 0x0112
"""Tag of the EXIF orientation."""
SIDEWAYS = (5, 6, 7, 8)
"""Orientations that exchange rows and columns."""
MANY = 1000
"""Most pages of a TIFF that are counted; the list of pages of a bad file may have no end."""

PillowImage.MAX_IMAGE_PIXELS = LARGEST  # Pillow itself gives up at twice that; see _require_size
log = logging.getLogger(__name__)


def find_images(folder: Path) -> list[Path]:
    """List the image files directly in a folder, by name, without hidden files.

    Raises:
        UserError: The folder does not exist or holds no image.

    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    files = [path for path in sorted(folder.iterdir()) if _is_image(path)]
    if not files:
        raise UserError(f"{folder}: holds no image ({', '.join(EXTENSIONS)})")
    return files


def holds_images(folder: Path) -> bool:
    """Whether ``find_images`` would find any in a folder that exists."""
    return any(_is_image(path) for path in folder.iterdir())


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


def image_size(path: Path) -> tuple[int, int] | None:
    """(H, W) of an image file, as its orientation says, from its header alone.

    None if ``read_image`` would fail.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on large files
            with open_header(path) as file:
                exif = PillowImage.Image.getexif(file)  # that of a PNG decodes it to look for more
                sideways = exif.get(ORIENTATION) in SIDEWAYS
                return (file.width, file.height) if sideways else (file.height, file.width)
    except Exception:  # the decoders raise dozens of types on damaged files
        return None


def open_header(path: Path) -> PillowImage.Image:
    """Open an image file of one of ``FORMATS`` with Pillow, without decoding it.

    Raises:
        Exception: Whatever Pillow's many decoders raise.

    """
    return PillowImage.open(path, formats=FORMATS)


def read_image(path: Path) -> Image:
    """Decode PNG, JPEG, TIFF, WebP or BMP to RGB; see ``decode``.

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
    """Decode PNG, JPEG, TIFF, WebP or BMP to the channels and the depth of the file.

    Files may have 8 or 16 bit, and be grey, palette, RGB or RGBA.  The EXIF orientation is applied.
    A JPEG may hold several pictures, as phones write them; the first is read.

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
            pixels = _decode(path)
    except UserError:
        raise
    except Exception as error:  # the decoders raise dozens of types on damaged files
        raise UserError(f"{path}: cannot be read as an image: {_reason(error)}") from error
    return _channels(path, pixels)


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


def _decode(path: Path) -> NDArray[np.generic]:
    data = path.read_bytes()
    if data.startswith(TIFF):
        return _decode_tiff(path)
    if not (data.startswith((PNG, JPEG, GIF, BMP)) or data[8:12] == WEBP):
        raise UserError(f"{path}: is of no known format, or damaged")
    with open_header(path) as file:
        _require_size(path, file.height, file.width)
    return _decode_pillow(path, data)


def _require_size(path: Path, height: int, width: int) -> None:
    """Check before decoding that the header claims no more pixels than the file can hold."""
    size = path.stat().st_size
    trap = height * width > max(MODEST, PIXELS_PER_BYTE * size)
    if trap or height * width > LARGEST:
        why = f"in {size} bytes" if trap else f"more than {LARGEST}"
        raise UserError(f"{path}: claims {height}x{width} pixels, {why}; it was not decoded")


def _decode_pillow(path: Path, data: bytes) -> NDArray[np.generic]:
    with iio.imopen(path, "r", plugin="pillow") as file:
        count = file.properties(index=...).n_images or 1
        if count > 1 and not data.startswith(JPEG):
            raise _many(path, count)
        tags: Mapping[str, Any] = file.metadata(index=0, exclude_applied=False)
        if data.startswith(PNG):  # Pillow cuts 16-bit RGB to 8, and reads on over wrong checksums
            return _orient(np.asarray(png_decode(data)), int(tags.get("Orientation", 1)))
        mode = str(tags.get("mode", ""))
        plain = mode in ("L", "LA", "RGB", "RGBA", "1") or mode.startswith("I;16")
        return np.asarray(file.read(index=0, rotate=True, mode=None if plain else "RGB"))


def _decode_tiff(path: Path) -> NDArray[np.generic]:
    _require_one_page(path)
    with iio.imopen(path, "r", plugin="tifffile") as file:
        dtype = file.properties(index=0, page=0).dtype
        if dtype in (np.uint8, np.bool_):
            return _decode_pillow(path, path.read_bytes())
        tags: Mapping[str, Any] = file.metadata(index=0, page=0)
        if dtype == np.uint16 and (bits := np.max(tags["BitsPerSample"])) != 16:
            raise UserError(f"{path}: holds {bits}-bit values, not unsigned 8 or 16 bit")
        pixels = np.asarray(file.read(index=0, page=0))
    colours = tags["PhotometricInterpretation"]
    if colours > 2:
        raise UserError(f"{path}: holds 16-bit {colours.name} colours, not grey or RGB")
    if colours == 0:  # white is zero
        pixels = np.iinfo(np.uint16).max - pixels
    if pixels.ndim == 3 and tags.get("PlanarConfiguration", 1) == 2:  # one plane per channel
        pixels = np.moveaxis(pixels, 0, -1)
    return _orient(pixels, int(tags.get("Orientation", 1)))


def _require_one_page(path: Path) -> None:
    """Check the pages of a TIFF before imageio opens it, as imageio decodes to count them."""
    with TiffFile(path) as file:
        if (count := sum(1 for _ in islice(file.pages, MANY))) > 1:
            raise _many(path, count)
        page = file.pages.first
        _require_size(path, page.imagelength, page.imagewidth * max(1, page.samplesperpixel // 4))


def _many(path: Path, count: int) -> UserError:
    return UserError(f"{path}: holds {count} pages or frames, one image is expected")


def _reason(error: BaseException) -> str:
    plugin = any(name in str(error) for name in ("`pillow`", "`tifffile`"))
    if plugin and error.__cause__:  # imageio hides what the decoder said
        return _reason(error.__cause__)
    if isinstance(error, InitializationError | UnidentifiedImageError):  # of plugins, of the path
        return "it is of no known format, or damaged"
    if isinstance(error, OSError) and error.strerror:  # its text repeats the path
        return error.strerror
    return one_line(error)


def _orient(pixels: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Undo one of the eight EXIF orientations."""
    if orientation in SIDEWAYS:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _channels(path: Path, pixels: NDArray[np.generic]) -> NDArray[Any]:
    """Decoded values as (H, W, C) of unsigned 8 or 16 bit, if they are an image."""
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{path}: holds {pixels.dtype} values, not unsigned 8 or 16 bit")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 2, 3, 4):
        raise UserError(f"{path}: has the shape {pixels.shape}, not that of a grey or RGB image")
    return pixels
