"""Formats of image files: known by their first bytes, whatever their names say."""

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from PIL import Image as PillowImage

from pipeline.camera_files.raw import EXTENSIONS as RAW_EXTENSIONS
from pipeline.camera_files.raw import is_raw, is_raw_tiff

EXTENSIONS = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".webp", ".bmp", ".heic", ".heif",
    ".hif", ".avif", ".jxl", ".jp2", ".jpx", ".jpf", ".j2k", ".j2c", *RAW_EXTENSIONS,
)  # fmt: skip

Format = Literal[
    "PNG", "JPEG", "TIFF", "WebP", "BMP", "GIF", "HEIF", "AVIF", "JPEG XL", "JPEG 2000", "raw"
]

PNG = b"\x89PNG\r\n\x1a\n"
READ: tuple[tuple[bytes, Format], ...] = (
    (PNG, "PNG"),
    (b"\xff\xd8", "JPEG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
)
"""How files of formats that are read begin."""
BRANDS: Mapping[bytes, Format] = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"mif1"), "HEIF"),
    b"avif": "AVIF",
}
"""Brands of still images in ISO base media files: four bytes after ``ftyp``."""
FOREIGN = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "PostScript"),
    (b"8BPS", "a Photoshop document (PSD)"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"\x00\x00\x01\x00", "an icon (ICO)"),
    (b"DDS ", "a texture (DDS)"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"FOVb", "a Sigma raw image (X3F)"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1a\x45\xdf\xa3", "a Matroska video"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; run git lfs pull"),
    (b"<svg", "an SVG drawing"),
    (b"<!doctype html", "a web page (HTML)"),
    (b"<html", "a web page (HTML)"),
    (b"<?xml", "an XML document"),
    (b"P5", "a portable graymap (PGM)"),
    (b"P6", "a portable pixmap (PPM)"),
)
"""How files of other formats begin, in lower case where it is text, and what they are called."""
FOREIGN_BRANDS = {
    b"hevc": "an image sequence (HEVC)",
    b"avis": "an image sequence (AVIF)",
    b"msf1": "an image sequence (HEIF)",
    b"qt  ": "a QuickTime video",
}

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "AVIF")
"""Formats that Pillow may decode; some of its other decoders run programs."""
START = 4096
"""Bytes of a file that its format is told from."""
ORIENTATION = 0x0112
"""Tag of the EXIF orientation."""
SIDEWAYS = (5, 6, 7, 8)
"""Orientations that exchange rows and columns."""


def is_image(path: Path) -> bool:
    """Whether a file has the name of an image that is read; hidden files have not."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


def open_header(path: Path) -> PillowImage.Image:
    """Open an image file of one of ``FORMATS`` with Pillow, without decoding it.

    Raises:
        Exception: Whatever Pillow's many decoders raise.

    """
    return PillowImage.open(path, formats=FORMATS)


def format_of(data: bytes) -> Format | None:
    """The format of a file that is read, by its first bytes; None if it is another one.

    A raw photograph may begin as a TIFF does; see ``format_at``.
    """
    if is_raw(data):
        return "raw"
    if data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        brands = data[16 : int.from_bytes(data[:4], "big")]
        return "AVIF" if b"avif" in brands else BRANDS.get(data[8:12])
    return next((name for start, name in READ if data.startswith(start)), None)


def format_at(path: Path) -> Format | None:
    """The format of a file that is read, by its content; None if it is another one."""
    with path.open("rb") as file:
        kind = format_of(file.read(START))
    return "raw" if kind == "TIFF" and is_raw_tiff(path) else kind


def foreign_format(data: bytes) -> str | None:
    """What a file is that ``format_of`` does not know, in words; None if nobody knows."""
    if data[4:8] == b"ftyp":
        return FOREIGN_BRANDS.get(data[8:12], "an MPEG-4 video")
    if data[:4] == b"RIFF":
        return "an AVI video" if data[8:11] == b"AVI" else "a RIFF file"
    start = data[:512].lstrip()
    for known, words in FOREIGN:
        if data.startswith(known) or start[: len(known)].lower() == known.lower():
            return words
    return None


def images_in(folder: Path) -> list[Path]:
    """The files of a folder that are read, by name.

    A raw photograph beside an image of the same name is left out: it is the same photograph, and
    the image is what the camera made of it.
    """
    images = [path for path in sorted(folder.iterdir()) if is_image(path)]
    raw = {path for path in images if path.suffix.lower() in RAW_EXTENSIONS}
    others = {path.stem for path in images if path not in raw}
    return [path for path in images if path not in raw or path.stem not in others]


def passed_over(folder: Path, other: Collection[Path] = ()) -> str | None:
    """What a folder holds besides images that are read, counted and named; hidden files are not.

    Args:
        folder: The folder.
        other: Further files in it that are read.

    Returns:
        For instance "17 files and one folder passed over (.cr2, .xmp)"; None if there is nothing.

    """
    read = {*images_in(folder), *other}
    others = [p for p in folder.iterdir() if p not in read and not p.name.startswith(".")]
    folders = sum(path.is_dir() for path in others)
    endings = Counter(p.suffix.lower() or "no extension" for p in others if not p.is_dir())
    counted = [
        f"one {word}" if count == 1 else f"{count} {word}s"
        for word, count in (("file", endings.total()), ("folder", folders))
        if count
    ]
    if not counted:
        return None
    common = sorted(endings, key=lambda ending: (-endings[ending], ending))
    named = [*common[:5], *(["..."] if len(common) > 5 else [])]
    return f"{' and '.join(counted)} passed over" + (f" ({', '.join(named)})" if named else "")
