"""What the header of an image file says of its camera and its compression."""

from pathlib import Path
from typing import Literal, NamedTuple

from PIL.ExifTags import Base
from PIL.JpegImagePlugin import JpegImageFile

from pipeline.base.errors import printable
from pipeline.camera_files.raw import raw_exif
from pipeline.reading.formats import ORIENTATION, SIDEWAYS, format_at, open_header

PLANES = {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (1, 2): "4:4:0"}
"""Names of the sizes of the colour planes, by the pixels of a sample, across and down."""
RGB_IDS = tuple(b"RGB")
"""Numbers of the components of a JPEG whose colours are not transformed."""
LOSSY = ("WEBP", "AVIF", "HEIF", "JPEG2000")
"""Formats that lose more than rounding, mostly; their loss is another."""


class Tables(NamedTuple):
    """Quantisation steps of a JPEG file, row by row, and the size of its colour planes."""

    luma: tuple[int, ...]
    chroma: tuple[int, ...]
    subsampling: str

    @property
    def content(self) -> dict[str, object]:
        """As in ``sampling.jpeg.JpegTables``."""
        steps = {"luma": list(self.luma), "chroma": list(self.chroma)}
        return {**steps, "subsampling": self.subsampling}

    def turned(self) -> "Tables":
        """The tables that do the same to the image with rows and columns exchanged."""
        planes = {"4:2:2": "4:4:0", "4:4:0": "4:2:2"}.get(self.subsampling, self.subsampling)
        return Tables(_transposed(self.luma), _transposed(self.chroma), planes)


def _transposed(steps: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(steps[8 * column + row] for row in range(8) for column in range(8))


Compression = Tables | Literal["lossless", "raw", "other", "unreadable"]
"""``raw``: a raw photograph, which was never compressed as an image."""


def compression_of(path: Path) -> Compression:
    """The tables of a file for its upright image, or why there are none."""
    try:
        if format_at(path) == "raw":
            return "raw"
        with open_header(path) as file:
            if not isinstance(file, JpegImageFile):
                return "other" if file.format in LOSSY else "lossless"
            found = _of_file(file)
            sideways = file.getexif().get(ORIENTATION) in SIDEWAYS
    except Exception:  # the decoders raise dozens of types; read_image reports the fault
        return "unreadable"
    if found is None:
        return "other"
    return found.turned() if sideways else found


def _of_file(file: JpegImageFile) -> Tables | None:
    """The tables as they stand in the file, of brightness and two colour planes alike."""
    if len(file.layer) != 3 or file.info.get("adobe_transform") == 0:
        return None
    (first, across, down, luma), *colours = file.layer
    if first == RGB_IDS[0] or colours[0][1:] != colours[1][1:]:
        return None
    _, narrow, low, chroma = colours[0]
    planes = PLANES.get((across // narrow, down // low))
    whole = across % narrow == 0 and down % low == 0
    steps = file.quantization
    return Tables(tuple(steps[luma]), tuple(steps[chroma]), planes) if planes and whole else None


class Header(NamedTuple):
    """What the header of a file says."""

    camera: str | None
    """See ``camera_of``."""
    compression: Compression
    """See ``compression_of``."""


def header_of(path: Path) -> Header:
    """What the header of an image file says."""
    return Header(camera_of(path), compression_of(path))


def camera_of(path: Path) -> str | None:
    """Make and model of the camera as EXIF data of a file have them; None if they do not."""
    try:
        if format_at(path) == "raw":
            exif = raw_exif(path)
        else:
            with open_header(path) as file:
                exif = file.getexif()
    except Exception:  # the decoders raise dozens of types; read_image reports the fault
        return None
    make, model = (str(exif.get(tag) or "").strip(" \0") for tag in (Base.Make, Base.Model))
    brand = make.split(" ")[0]
    named = model if model.casefold().startswith(brand.casefold()) else f"{make} {model}"
    return printable(named.strip()) or None
