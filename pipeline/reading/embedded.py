"""What image files hold beside pixels, in whichever way their format has for it: profiles, EXIF."""

import struct
from collections.abc import Collection, Iterator
from io import BytesIO
from typing import NamedTuple

from imagecodecs import brotli_decode
from pi_heif import open_heif
from PIL import Image as PillowImage
from PIL.ExifTags import IFD, Interop

from pipeline.reading.boxes import boxes, inside
from pipeline.reading.colour import ADOBE_RGB, ColourError, coded_profile, made_profile
from pipeline.reading.formats import PNG, Format

USUAL_GAMMA = 45455
"""The exponent 1/2.2 in a gAMA chunk, which PNG files of sRGB colours have."""
ADOBE_RGB_FILE = "R03"
"""What EXIF data of cameras say of Adobe RGB, instead of a profile (DCF 2.0)."""
BMP_WITH_PROFILE = b"DEBM"
ICC, ENUMERATED = (2, 3), 1
"""Methods of the colour boxes of JPEG 2000."""
BOXED: Collection[Format] = ("HEIF", "JPEG XL", "JPEG 2000")
"""Formats of files of boxes that Pillow does not open."""
LARGEST_EXIF = 2**24
"""Most bytes of EXIF data; a JPEG has at most 64 KiB of them."""
JP2_EXIF = b"JpgTiffExif->JP2"
"""Name of the box of EXIF data in JPEG 2000 files."""
JP2_SRGB, JP2_GREY, JP2_YCC = 16, 17, 18


def embedded_profile(file: PillowImage.Image, data: bytes, kind: Format) -> bytes | None:
    """The ICC profile of a file that Pillow has opened; None: sRGB.

    Args:
        file: The file, of one of ``formats.FORMATS``.
        data: Its content.
        kind: Its format.

    Raises:
        ColourError: The profile is damaged, or the file says its colours in another way that is
            not known here.

    """
    if kind == "PNG" and (found := _chunk(data, b"cICP")):
        return coded_profile(found[0], found[1])
    if "icc_profile" in file.info:
        if profile := file.info["icc_profile"]:
            return bytes(profile)
        raise ColourError("the profile is damaged")
    if kind == "PNG":
        _require_usual_gamma(data)
    if kind == "JPEG" and _says_adobe_rgb(file):
        return made_profile(ADOBE_RGB)
    if kind == "AVIF":
        return _nclx_profile(data)
    return _bmp_profile(data) if kind == "BMP" else None


def boxed_exif(data: bytes, kind: Format) -> bytes:
    """The EXIF data of a file of ``BOXED``; empty if it has none.

    Their orientation counts for nothing: the file says it elsewhere.

    Args:
        data: The content of the file.
        kind: Its format.

    Raises:
        Exception: Whatever the decoders raise.

    """
    if kind == "HEIF":
        return bytes(open_heif(BytesIO(data)).info.get("exif") or b"")
    for box in boxes(data):
        content = box.content
        if box.kind == b"brob" and content.startswith(b"Exif"):
            content = bytes(brotli_decode(content[4:], out=LARGEST_EXIF))
        elif kind == "JPEG 2000" and box.kind == b"uuid" and content.startswith(JP2_EXIF):
            return content[len(JP2_EXIF) :]
        elif box.kind != b"Exif":
            continue
        return content[4 + int.from_bytes(content[:4], "big") :]
    return b""


class PlainFile(NamedTuple):
    """A file without its colour profile, and the profile; None: sRGB."""

    data: bytes
    profile: bytes | None


def without_profile(jp2: bytes) -> PlainFile:
    """Take the ICC profile out of a JPEG 2000 file, as OpenJPEG would apply it by itself.

    Raises:
        ColourError: The colours are none that are known here.

    """
    for box in inside(jp2, (b"jp2h", b"colr")):
        if box and box[0] in ICC:
            profile = box[3:]
            number = JP2_GREY if profile[16:20] == b"GRAY" else JP2_SRGB
            plain = bytes([ENUMERATED]) + box[1:3] + number.to_bytes(4, "big") + box[7:]
            return PlainFile(jp2.replace(box, plain, 1), profile)
        if box and box[0] == ENUMERATED:
            number = int.from_bytes(box[3:7], "big")
            if number in (JP2_SRGB, JP2_GREY, JP2_YCC):
                break
            raise ColourError(f"it names the colour space {number}")
    return PlainFile(jp2, None)


class _Chunk(NamedTuple):
    kind: bytes
    content: bytes


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """The chunks of a PNG before its pixels."""
    place = len(PNG)
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"IDAT":
            return
        yield _Chunk(kind, data[place + 8 : place + 8 + length])
        place += 12 + length


def _chunk(data: bytes, kind: bytes) -> bytes | None:
    """The content of four bytes or more of a chunk of a PNG."""
    found = (chunk.content for chunk in _chunks(data) if chunk.kind == kind)
    return next((content for content in found if len(content) >= 4), None)


def _require_usual_gamma(data: bytes) -> None:
    """Check that a PNG without a profile does not say that its curve is none of sRGB."""
    if any(chunk.kind == b"sRGB" for chunk in _chunks(data)):
        return
    if content := _chunk(data, b"gAMA"):
        gamma = int.from_bytes(content[:4], "big")
        if abs(gamma / USUAL_GAMMA - 1) > 0.05:
            raise ColourError(f"the exponent {gamma / 1e5:g} of its gAMA chunk is not applied")


def _says_adobe_rgb(file: PillowImage.Image) -> bool:
    try:
        said = file.getexif().get_ifd(IFD.Interop).get(Interop.InteropIndex)
    except Exception:  # damaged EXIF data say nothing
        return False
    return said == ADOBE_RGB_FILE


def _nclx_profile(data: bytes) -> bytes | None:
    """The profile of the first code points in the boxes of an AVIF file."""
    for box in inside(data, (b"meta", b"iprp", b"ipco", b"colr")):
        if box.startswith(b"nclx") and len(box) >= 8:
            return coded_profile(*struct.unpack_from(">HH", box, 4))
    return None


def _bmp_profile(data: bytes) -> bytes | None:
    """The profile of a BMP with the header of version 5."""
    if len(data) < 138 or data[70:74] != BMP_WITH_PROFILE or data[14] < 124:
        return None
    place, length = struct.unpack_from("<II", data, 14 + 112)
    return data[14 + place : 14 + place + length]
