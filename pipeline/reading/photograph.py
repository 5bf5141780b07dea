"""Photographs as they are in a file: colour or grey, alpha, 8 or 16 bit, and what is said of them.

What is said is the EXIF data, such as date and camera, and the resolution.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from numpy import array_equal, ascontiguousarray, moveaxis
from numpy.typing import NDArray
from PIL.ExifTags import IFD, Base
from PIL.Image import Exif

from pipeline.base.errors import one_line, printable
from pipeline.camera_files.raw import raw_exif
from pipeline.reading.embedded import BOXED, boxed_exif
from pipeline.reading.exif import DIRECTORIES
from pipeline.reading.files import decode
from pipeline.reading.formats import ORIENTATION, SIDEWAYS, format_at, open_header

SAID: Sequence[int] = (
    Base.ImageDescription, Base.Make, Base.Model, Base.XResolution, Base.YResolution,
    Base.ResolutionUnit, Base.Software, Base.DateTime, Base.Artist, Base.HostComputer, Base.Rating,
    Base.Copyright, Base.XPTitle, Base.XPComment, Base.XPAuthor, Base.XPKeywords, Base.XPSubject,
)  # fmt: skip
"""Tags that describe a photograph.  The others, of which a TIFF has many, describe the file."""
SRGB = 1
"""Colour space sRGB in EXIF data."""

log = logging.getLogger(__name__)


class Resolution(NamedTuple):
    """Pixels per inch."""

    across: float
    down: float


@dataclass(frozen=True)
class Notes:
    """What a file says of its photograph."""

    exif: Mapping[int, Any] = field(default_factory=dict)
    """Values by tag, without the orientation; those of a directory are a mapping."""
    resolution: Resolution | None = None
    """None if the file does not say it."""

    def of_size(self, height: int, width: int) -> Mapping[int, Any]:
        """The EXIF data of the photograph in another size, height x width."""
        inner = dict(self.exif.get(IFD.Exif, {}))
        own = {Base.ExifImageWidth: width, Base.ExifImageHeight: height, Base.ColorSpace: SRGB}
        inner |= {tag: value for tag, value in own.items() if tag in inner}
        return {**self.exif, IFD.Exif: inner} if inner else self.exif


@dataclass(frozen=True, eq=False)
class Photograph:
    """An image with the channels and the depth of its file."""

    pixels: NDArray[Any]
    """(C, H, W), uint8 or uint16, with 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 channels (RGB and
    alpha)."""
    notes: Notes
    """What the file says of it."""

    @property
    def grey(self) -> bool:
        """Whether it has no colour; the channels of the file may still be three."""
        first, *others = self.pixels if len(self.pixels) < 3 else self.pixels[:3]
        return len(self.pixels) < 3 or all(array_equal(first, other) for other in others)


def read_photograph(path: Path) -> Photograph:
    """Decode an image file, turned as its orientation says, and read what it says.

    Raises:
        UserError: See ``files.decode``.

    """
    pixels = ascontiguousarray(moveaxis(decode(path), -1, 0))
    return Photograph(pixels, read_notes(path))


def read_notes(path: Path) -> Notes:
    """Read EXIF data and resolution; there are none if they are damaged, with a warning."""
    try:
        return _read(path)
    except Exception as error:  # the decoders raise dozens of types on damaged data
        name = printable(str(path))
        log.warning("%s: EXIF data and resolution cannot be read: %s", name, one_line(error))
        return Notes()


def _read(path: Path) -> Notes:
    kind = format_at(path)
    if kind == "raw":
        exif = raw_exif(path)
        return _notes(exif, None, exif.get(ORIENTATION) in SIDEWAYS)
    if kind is not None and kind in BOXED:
        exif = Exif()
        exif.load(boxed_exif(path.read_bytes(), kind))
        return _notes(exif, None, sideways=False)  # the decoder turns what the boxes say
    with open_header(path) as file:
        exif = file.getexif()
        return _notes(exif, file.info.get("dpi"), exif.get(ORIENTATION) in SIDEWAYS)


def _notes(exif: Exif, dpi: tuple[float, float] | None, sideways: bool) -> Notes:
    """What EXIF data say, while the file they may be read from is open."""
    found: dict[int, Any] = {tag: _bytes(exif[tag]) for tag in SAID if tag in exif}
    found |= {tag: inner for tag in DIRECTORIES if (inner := _directory(exif, tag))}
    resolution = Resolution(*map(float, dpi)) if dpi else _resolution(exif)
    return _turned(found, resolution) if sideways else Notes(found, resolution)


def _bytes(value: object) -> object:
    """A text that is not ASCII as the bytes it was, which Pillow takes for Latin-1."""
    return value.encode("latin-1") if isinstance(value, str) and not value.isascii() else value


def _directory(exif: Exif, tag: int) -> dict[int, Any]:
    inner = {key: _bytes(value) for key, value in exif.get_ifd(tag).items()}
    if IFD.Interop in inner:
        inner[IFD.Interop] = dict(exif.get_ifd(IFD.Interop))
    return inner


def _resolution(exif: Exif) -> Resolution | None:
    """The resolution that EXIF data state, if they state its unit, an inch or a centimetre."""
    across, down = exif.get(Base.XResolution), exif.get(Base.YResolution)
    unit = {2: 1.0, 3: 2.54}.get(exif.get(Base.ResolutionUnit, 0))
    return Resolution(across * unit, down * unit) if across and down and unit else None


def _turned(exif: dict[int, Any], resolution: Resolution | None) -> Notes:
    """Notes of an image whose rows were exchanged with its columns."""
    across, down = exif.get(Base.XResolution), exif.get(Base.YResolution)
    if across and down:
        exif = {**exif, Base.XResolution: down, Base.YResolution: across}
    return Notes(exif, resolution and Resolution(resolution.down, resolution.across))
