"""Writes image files strip by strip, so that the whole image is never in memory.

No library writes a PNG file in this way: pyvips needs all pixels in a raw file first, and pypng
does not filter them, which doubles the size.  The format is simple (ISO/IEC 15948): a header, one
deflate stream, and the number of a filter before every row.  Here all rows have the Paeth filter.
Pillow chooses a filter for every row; on enlarged photographs the files here are 1.00 to 1.04
times as large.  TIFF is written by tifffile.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray
from tifffile import TiffWriter

from pipeline.base.files import whole
from pipeline.reading.exif import add_directories, packed_exif, tiff_tags
from pipeline.reading.formats import PNG
from pipeline.reading.photograph import Notes

SUFFIXES = (".png", ".tif", ".tiff")
"""Endings of the files that can be written."""

ROWS = 64
"""Rows of a PNG that are filtered together."""
PAETH = 4
"""Number of the Paeth filter in a PNG file."""
GREY, COLOUR, ALPHA = 0, 2, 4
"""Kinds of pixels in a PNG file; those with alpha are the sum."""
LEVEL = 4
"""Level of deflate: half the time of level 6, for files at most 4 percent larger."""

METRES_PER_INCH = 0.0254
TIFF_TILE = 256
"""Side of a TIFF's tiles in pixels."""
CLASSIC_BYTES = 2**32 - 2**25
"""Images with more bytes are written as BigTIFF."""


@dataclass(frozen=True)
class Form:
    """What a file of an image is like."""

    channels: int = 3
    """1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGB and alpha)."""
    dtype: DTypeLike = np.uint8
    """``uint8`` or ``uint16``."""
    notes: Notes = field(default_factory=Notes)
    """What the file says of the photograph."""

    @property
    def bytes_per_pixel(self) -> int:
        """Bytes of all channels."""
        return self.channels * np.dtype(self.dtype).itemsize


RGB = Form()


class Size(NamedTuple):
    """Of an image, in pixels."""

    height: int
    width: int


def write_strips(
    path: Path, height: int, width: int, strips: Iterable[NDArray[Any]], form: Form = RGB
) -> None:
    """Write an image from its strips; the file appears only when it is complete.

    The file is a PNG, or a tiled TIFF with deflate, which is BigTIFF if it is large.

    Args:
        path: The file; its ending says the format.
        height: Rows of the image.
        width: Columns of the image.
        strips: (C, h, W), from top to bottom, of any heights.  None is taken before the ones above
            are written, and none after the last row.
        form: Channels and depth of the strips, and what the file says.

    Raises:
        ValueError: The ending is another, or the strips are not an image of that size and form.

    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: expected a name ending in {', '.join(SUFFIXES)}")
    write = _write_png if path.suffix.lower() == ".png" else _write_tiff
    with whole(path) as partial:
        write(partial, Size(height, width), strips, form)


def blocks(
    strips: Iterable[NDArray[Any]], height: int, width: int, rows: int, form: Form = RGB
) -> Iterator[NDArray[Any]]:
    """Cut strips (C, h, W) into blocks (rows, W, C); the last block may have fewer rows.

    Raises:
        ValueError: A strip has another width, other channels or another depth, or their heights do
            not sum to the height.

    """
    held, left = np.empty((0, width, form.channels), form.dtype), height
    source = iter(strips)
    while left:
        strip = next(source, None)
        fits = strip is not None and strip.shape[::2] == (form.channels, width)
        if strip is None or not fits or strip.dtype != form.dtype or strip.shape[1] > left:
            found = "no more" if strip is None else f"a strip {strip.shape} of {strip.dtype}"
            raise ValueError(f"expected {left} more rows of {width} pixels, got {found}")
        left -= strip.shape[1]
        pixels = np.moveaxis(strip, 0, -1)
        held = np.concatenate([held, pixels]) if len(held) else pixels
        while len(held) >= rows or (held.size and not left):
            yield held[:rows]
            held = held[rows:]


def paeth(rows: NDArray[np.uint8], above: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rows of a PNG under the Paeth filter: each pixel less its prediction, modulo 256.

    The prediction is the one of left, up and up-left that is nearest to left + up - up-left; the
    first one of equals (ISO/IEC 15948, 9.4).

    Args:
        rows: (h, W, bytes of a pixel).
        above: (1, W, bytes of a pixel), the row before them; zeros before the first.

    """
    up = np.concatenate([above, rows[:-1]])
    left, corner = (np.pad(values, ((0, 0), (1, 0), (0, 0)))[:, :-1] for values in (rows, up))
    a, b, c = (values.astype(np.int16) for values in (left, up, corner))
    from_left, from_up, from_corner = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    nearest_up = np.where(from_up <= from_corner, up, corner)
    first = (from_left <= from_up) & (from_left <= from_corner)
    return np.asarray(rows - np.where(first, left, nearest_up))


def _write_png(path: Path, size: Size, strips: Iterable[NDArray[Any]], form: Form) -> None:
    deflate = zlib.compressobj(LEVEL, strategy=zlib.Z_FILTERED, memLevel=9)
    depth = np.dtype(form.dtype).newbyteorder(">")
    pixel = (COLOUR if form.channels > 2 else GREY) + (0 if form.channels % 2 else ALPHA)
    above = np.zeros((1, size.width, form.bytes_per_pixel), np.uint8)
    with path.open("wb") as file:
        file.write(PNG)
        header = struct.pack(">2I5B", *reversed(size), 8 * depth.itemsize, pixel, 0, 0, 0)
        _write_chunk(file, b"IHDR", header)
        _write_notes(file, form.notes, size)
        for block in blocks(strips, *size, ROWS, form):
            rows = np.ascontiguousarray(block.astype(depth)).view(np.uint8)
            filtered = paeth(rows, above).reshape(len(rows), -1)
            named = np.pad(filtered, ((0, 0), (1, 0)), constant_values=PAETH)
            if packed := deflate.compress(named.tobytes()):
                _write_chunk(file, b"IDAT", packed)
            above = rows[-1:].copy()
        _write_chunk(file, b"IDAT", deflate.flush())
        _write_chunk(file, b"IEND", b"")


def _write_notes(file: IO[bytes], notes: Notes, size: Size) -> None:
    if notes.resolution is not None:
        per_metre = (round(value / METRES_PER_INCH) for value in notes.resolution)
        _write_chunk(file, b"pHYs", struct.pack(">2IB", *per_metre, 1))
    if exif := notes.of_size(*size):
        _write_chunk(file, b"eXIf", packed_exif(exif))


def _write_chunk(file: IO[bytes], kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind + data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def _write_tiff(path: Path, size: Size, strips: Iterable[NDArray[Any]], form: Form) -> None:
    tiles = (
        np.ascontiguousarray(rows[:, left : left + TIFF_TILE])
        for rows in blocks(strips, *size, TIFF_TILE, form)
        for left in range(0, size.width, TIFF_TILE)
    )
    large = form.bytes_per_pixel * size.height * size.width > CLASSIC_BYTES
    exif = form.notes.of_size(*size)
    with TiffWriter(path, bigtiff=large, byteorder="<") as writer:
        writer.write(
            tiles,
            shape=(*size, form.channels) if form.channels > 1 else size,
            dtype=form.dtype,
            tile=(TIFF_TILE, TIFF_TILE),
            photometric="rgb" if form.channels > 2 else "minisblack",
            planarconfig="contig" if form.channels > 1 else None,
            extrasamples=() if form.channels % 2 else ("unassalpha",),
            compression="zlib",
            predictor=True,
            resolution=form.notes.resolution,
            resolutionunit="inch" if form.notes.resolution else None,
            software=False,
            extratags=tiff_tags(exif, large),
            metadata=None,
            maxworkers=1,
        )
    add_directories(path, exif)
