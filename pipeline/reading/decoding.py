"""Decodes image files of every format, to values of sRGB in the depth of the file."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import imageio.v3 as iio
import numpy as np
from imagecodecs import jpeg2k_decode, jpegxl_decode, png_decode
from numpy.typing import NDArray
from pi_heif import open_heif
from PIL import Image as PillowImage
from tifffile import PHOTOMETRIC, TiffFile, TiffPage

from pipeline.base.errors import UserError, printable
from pipeline.camera_files.raw import develop, is_raw_tiff, raw_size
from pipeline.reading.colour import (  # fmt: skip
    ColourError,
    Colours,
    HighDynamicRangeError,
    coded_profile,
    to_srgb,
)
from pipeline.reading.embedded import embedded_profile, without_profile
from pipeline.reading.formats import (  # fmt: skip
    ORIENTATION,
    SIDEWAYS,
    Format,
    foreign_format,
    format_at,
    format_of,
    open_header,
)
from pipeline.reading.jpegxl import read_header

LARGEST = 2**29
"""Most pixels of an image; phones have 2^28, the largest cameras a little less than this."""
MODEST = 2**26
"""Up to this many pixels an image may be compressed to any degree, as a black one is."""
PIXELS_PER_BYTE = 200
"""Most pixels per byte of a larger image; photographs have 1 to 30, decompression bombs 300 and
more."""
MANY = 1000
"""Most pages of a TIFF that are counted; the list of pages of a bad file may have no end."""
ICC_TAG = 34675
OLD_TYPE_TAG = 255
OLD_THUMBNAIL = 2
"""Value of the tag SubfileType, which old programs write, for a smaller copy."""
CMYK_TIFF = 5
CODESTREAM_2000 = b"\xff\x4f\xff\x51"

PillowImage.MAX_IMAGE_PIXELS = LARGEST  # Pillow itself gives up at twice that; see _require_size
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Raw:
    """An image as its decoder gives it, upright."""

    pixels: NDArray[Any]
    """(H, W) or (H, W, C)."""
    profile: bytes | None = None
    """ICC profile of the values; None: sRGB."""
    fault: ColourError | None = None
    """Why the profile is not known."""
    cmyk: bool = False


def decoded(path: Path, data: bytes) -> NDArray[Any]:
    """Decode an image file; its colours become sRGB, its orientation is applied.

    Args:
        path: The file.
        data: Its content.

    Returns:
        (H, W, C), uint8 or uint16, of 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 channels (RGB and
        alpha).

    Raises:
        UserError: The file is of another format, animated, multi-page or too large, or its values
            are not unsigned 8 or 16 bit.
        Exception: Whatever the decoders raise on damaged files.

    """
    kind = format_of(data)
    if kind == "raw" or (kind == "TIFF" and is_raw_tiff(path)):
        _require_size(path, *raw_size(path))
        return _channels(path, develop(path))
    if kind is None:
        if known := foreign_format(data):
            raise UserError(f"{path}: is {known}; such files are not read")
        raise UserError(f"{path}: is of no known format, or damaged")
    if kind == "HEIF":
        raw = _heif(path, data)
    elif kind == "JPEG XL":
        raw = _jpeg_xl(path, data)
    elif kind == "JPEG 2000":
        raw = _jpeg_2000(path, data)
    elif kind == "TIFF":
        raw = _tiff(path, data)
    else:
        raw = _pillow(path, data, kind)
    return _in_srgb(path, raw)


def size_of(path: Path) -> tuple[int, int]:
    """(H, W) of an image file, as its orientation says, from its header.

    Raises:
        Exception: Whatever the decoders raise on files that are no images.

    """
    kind = format_at(path)
    if kind == "raw":
        return raw_size(path)
    if kind == "HEIF":
        width, height = open_heif(path).size
        return height, width
    if kind == "JPEG XL":
        header = read_header(path.read_bytes())
        return header.height, header.width
    if kind == "JPEG 2000":
        size = _jpeg_2000_header(path.read_bytes())
        return size.height, size.width
    with open_header(path) as opened:
        if kind == "TIFF":  # Pillow has turned it
            return opened.height, opened.width
        exif = PillowImage.Image.getexif(opened)  # that of a PNG decodes it to look for more
        return _upright(opened.height, opened.width, exif.get(ORIENTATION, 1))


def _upright(height: int, width: int, orientation: int) -> tuple[int, int]:
    return (width, height) if orientation in SIDEWAYS else (height, width)


def _in_srgb(path: Path, raw: _Raw) -> NDArray[Any]:
    pixels, fault = _channels(path, raw.pixels), raw.fault
    colours: Colours = "CMYK" if raw.cmyk else "GRAY" if pixels.shape[-1] < 3 else "RGB"
    if fault is None:
        try:
            return to_srgb(pixels, colours, raw.profile) if raw.profile else pixels
        except ColourError as error:
            fault = error
    if isinstance(fault, HighDynamicRangeError):
        raise UserError(
            f"{path}: holds values of a high dynamic range ({fault}); save it as sRGB first"
        )
    log.warning("%s: its colours are taken for sRGB: %s", printable(str(path)), fault)
    return _channels(path, _plain_rgb(pixels)) if raw.cmyk else pixels


def _plain_rgb(cmyk: NDArray[Any]) -> NDArray[Any]:
    """CMYK as RGB without a profile."""
    if cmyk.dtype != np.uint8:
        raise ValueError("16-bit CMYK without a profile that can be used")
    height, width = cmyk.shape[:2]
    image = PillowImage.frombytes("CMYK", (width, height), np.ascontiguousarray(cmyk).tobytes())
    return np.asarray(image.convert("RGB"))


def _channels(path: Path, pixels: NDArray[Any]) -> NDArray[Any]:
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


def _require_size(path: Path, height: int, width: int) -> None:
    """Check before decoding that the header claims no more pixels than the file can hold."""
    size = path.stat().st_size
    trap = height * width > max(MODEST, PIXELS_PER_BYTE * size)
    if trap or height * width > LARGEST:
        why = f"in {size} bytes" if trap else f"more than {LARGEST}"
        raise UserError(f"{path}: claims {height}x{width} pixels, {why}; it was not decoded")


def _require_one(path: Path, count: int) -> None:
    if count > 1:
        raise UserError(f"{path}: holds {count} pages or frames, one image is expected")


def _pillow(path: Path, data: bytes, kind: Format, page: int = 0) -> _Raw:
    profile, fault = None, None
    with open_header(path) as header:
        _require_size(path, header.height, header.width)
        if page:
            header.seek(page)
        try:
            profile = embedded_profile(header, data, kind)
        except ColourError as error:
            fault = error
    with iio.imopen(path, "r", plugin="pillow") as file:
        if kind not in ("JPEG", "TIFF"):
            _require_one(path, file.properties(index=...).n_images or 1)
        tags: Mapping[str, Any] = file.metadata(index=page, exclude_applied=False)
        if kind == "PNG":  # Pillow cuts 16-bit RGB to 8, and reads on over wrong checksums
            pixels = _orient(np.asarray(png_decode(data)), int(tags.get("Orientation", 1)))
            return _Raw(pixels, profile, fault)
        mode = str(tags.get("mode", ""))
        cmyk = mode == "CMYK" and profile is not None
        plain = cmyk or mode in ("L", "LA", "RGB", "RGBA", "1") or mode.startswith("I;16")
        read = file.read(index=page, rotate=True, mode=None if plain else "RGB")
    return _Raw(np.asarray(read), profile, fault, cmyk)


class _Page(NamedTuple):
    """A page of a TIFF."""

    number: int
    page: TiffPage


def _tiff(path: Path, data: bytes) -> _Raw:
    with TiffFile(path) as file:
        number, page = _only_page(path, file)
        _require_size(path, page.imagelength, page.imagewidth * max(1, page.samplesperpixel // 4))
        if page.dtype in (np.uint8, np.bool_):
            return _pillow(path, data, "TIFF", number)
        if page.dtype == np.uint16 and (bits := np.max(page.bitspersample)) != 16:
            raise UserError(f"{path}: holds {bits}-bit values, not unsigned 8 or 16 bit")
        pixels, colours = page.asarray(), page.photometric
        profile = page.tags.valueof(ICC_TAG)
        if colours > 2 and not (colours == CMYK_TIFF and profile):
            raise UserError(
                f"{path}: holds 16-bit {PHOTOMETRIC(colours).name} colours, not grey or RGB"
            )
        orientation = int(page.tags.valueof(ORIENTATION, 1))
        planar = page.planarconfig == 2
    if colours == 0 and pixels.dtype == np.uint16:  # white is zero
        pixels = np.iinfo(np.uint16).max - pixels
    if pixels.ndim == 3 and planar:  # one plane per channel
        pixels = np.moveaxis(pixels, 0, -1)
    return _Raw(_orient(pixels, orientation), profile, cmyk=colours == CMYK_TIFF)


def _only_page(path: Path, file: TiffFile) -> _Page:
    """The page of a TIFF that is neither a thumbnail nor a mask."""
    pages = [
        _Page(number, page)
        for number, page in enumerate(islice(file.pages, MANY))
        if isinstance(page, TiffPage)
    ]
    if len(pages) < 2:
        return _Page(0, file.pages.first)
    full = [one for one in pages if not _is_aside(one.page)]
    _require_one(path, len(full) or len(pages))
    return full[0]


def _is_aside(page: TiffPage) -> bool:
    """Whether a page is a thumbnail or a mask."""
    old = page.tags.valueof(OLD_TYPE_TAG) == OLD_THUMBNAIL
    return page.is_reduced or page.is_mask or old


def _heif(path: Path, data: bytes) -> _Raw:
    """HEIC photographs.  Of several pictures the primary one is read, as of a JPEG the first."""
    file = open_heif(BytesIO(data), convert_hdr_to_8bit=False)
    image = file[file.primary_index]
    width, height = image.size
    _require_size(path, height, width)
    profile, fault = image.info.get("icc_profile"), None
    coded = image.info.get("nclx_profile")
    if not profile and coded:
        try:
            profile = coded_profile(coded["color_primaries"], coded["transfer_characteristics"])
        except ColourError as error:
            fault = error
    pixels = np.array(image)  # a copy: the memory of the image ends with the file
    if pixels.dtype == np.uint16:  # the values lie in the upper bits
        bits = int(image.info["bit_depth"])
        pixels = _widened(pixels >> (16 - bits), bits)
    return _Raw(pixels, profile, fault)


def _jpeg_xl(path: Path, data: bytes) -> _Raw:
    header = read_header(data)
    if header.animated:
        raise UserError(f"{path}: is an animation, one image is expected")
    _require_size(path, header.height, header.width)
    pixels = np.asarray(jpegxl_decode(data))
    return _Raw(_widened(pixels, header.bits), header.profile, header.fault)


@dataclass(frozen=True)
class _Header2000:
    """What the header of a JPEG 2000 codestream says."""

    height: int
    width: int
    bits: int
    """Bits of a value."""


def _jpeg_2000_header(data: bytes) -> _Header2000:
    start = data.index(CODESTREAM_2000)

    def number(place: int, length: int = 4) -> int:
        return int.from_bytes(data[start + place : start + place + length], "big")

    return _Header2000(
        height=number(12) - number(20), width=number(8) - number(16), bits=1 + number(42, 1)
    )


def _jpeg_2000(path: Path, data: bytes) -> _Raw:
    header = _jpeg_2000_header(data)
    _require_size(path, header.height, header.width)
    profile, fault = None, None
    try:
        data, profile = without_profile(data)
    except ColourError as error:
        fault = error
    return _Raw(_widened(np.asarray(jpeg2k_decode(data)), header.bits), profile, fault)


def _widened(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """Values of ``bits`` bits as values of all bits of their type."""
    if values.dtype not in (np.uint8, np.uint16) or bits >= 8 * values.dtype.itemsize:
        return values
    most, top = 2**bits - 1, int(np.iinfo(values.dtype).max)
    widened = (values.astype(np.uint64) * top + most // 2) // most
    return np.asarray(widened.astype(values.dtype))


def _orient(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo one of the eight EXIF orientations."""
    if orientation in SIDEWAYS:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
