"""EXIF data on their way into a file: packed for a PNG, as tags and directories of a TIFF."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL.ExifTags import IFD, Base
from PIL.Image import Exif
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from tifffile import TiffFile

DIRECTORIES: Mapping[int, str] = {IFD.Exif: "ExifTag", IFD.GPSInfo: "GPSTag"}
"""Directories inside of EXIF data, and how tifffile calls them."""
RESOLUTION = (Base.XResolution, Base.YResolution, Base.ResolutionUnit)
TEXTS = (
    Base.ImageDescription, Base.Make, Base.Model, Base.Software, Base.DateTime, Base.Artist,
    Base.HostComputer, Base.Copyright,
)  # fmt: skip
START = b"II*\0\x08\0\0\0"
BIG_START = b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0"
"""The first bytes of a little-endian TIFF and BigTIFF."""
BYTE, TEXT, SHORT, LONG, LONG8 = 1, 2, 3, 4, 16
"""Types of the values of TIFF tags."""


def packed_exif(exif: Mapping[int, Any]) -> bytes:
    """EXIF data as they stand in the chunk eXIf of a PNG: a small TIFF.

    Args:
        exif: Values by tag; those of a directory are a mapping.

    """
    made = Exif()
    made.update(exif)
    return made.tobytes().removeprefix(b"Exif\0\0")


def tiff_tags(exif: Mapping[int, Any], bigtiff: bool) -> Sequence[tuple[Any, ...]]:
    """EXIF data as extra tags for tifffile.

    Until ``add_directories``, directories point to that of the image, as they must point to one.

    Args:
        exif: See ``packed_exif``.  The resolution is left out, which tifffile has its own way for.
        bigtiff: Whether places in the file have 64 bit.

    """
    tags: list[tuple[Any, ...]] = []
    for tag, value in exif.items():
        match value:
            case _ if tag in RESOLUTION:
                continue
            case Mapping():
                kind, first = (LONG8, 16) if bigtiff else (LONG, 8)
                tags.append((DIRECTORIES[tag], kind, 1, (first,), True))  # a number is filtered
            case str() | bytes() if tag in TEXTS:
                data = (value.encode() if isinstance(value, str) else value) + b"\0"
                tags.append((int(tag), TEXT, len(data), data, True))
            case bytes():
                tags.append((int(tag), BYTE, len(value), value, True))
            case int():
                tags.append((int(tag), SHORT, 1, (value,), True))
    return tags


def add_directories(path: Path, exif: Mapping[int, Any]) -> None:
    """Append the directories of EXIF data to a little-endian TIFF that has ``tiff_tags``."""
    inner = {tag: exif[tag] for tag in DIRECTORIES if tag in exif}
    if not inner:
        return
    with TiffFile(path, mode="r+") as file:
        start = BIG_START if file.is_bigtiff else START
        for tag, values in inner.items():
            directory = ImageFileDirectory_v2(ifh=start, group=tag)
            for key, value in values.items():
                directory[key] = value
            place = file.filehandle.seek(0, 2)
            place += file.filehandle.write(b"\0" * (place % 2))
            file.filehandle.write(directory.tobytes(place))
            file.pages.first.tags[tag].overwrite(place)
