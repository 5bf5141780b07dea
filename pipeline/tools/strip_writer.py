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
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffWriter

from pipeline.base.files import whole
from pipeline.images.io import Image
from pipeline.reading.formats import PNG

SUFFIXES = (".png", ".tif", ".tiff")
"""Endings of the files that can be written."""

ROWS = 64
"""Rows of a PNG that are filtered together."""
PAETH = 4
"""Number of the Paeth filter in a PNG file."""
LEVEL = 4
"""Level of deflate: half the time of level 6, for files at most 4 percent larger."""

TIFF_TILE = 256
"""Side of a TIFF's tiles in pixels."""
CLASSIC_BYTES = 2**32 - 2**25
"""Images with more bytes are written as BigTIFF."""


def write_strips(path: Path, height: int, width: int, strips: Iterable[Image]) -> None:
    """Write an image from its strips; the file appears only when it is complete.

    The file is an RGB PNG, or a tiled TIFF with deflate, which is BigTIFF if it is large.

    Args:
        path: The file; its ending says the format.
        height: Rows of the image.
        width: Columns of the image.
        strips: (3, h, W), 0..255, from top to bottom, of any heights.  None is taken before the
            ones above are written, and none after the last row.

    Raises:
        ValueError: The ending is another, or the strips are not an image of that size.

    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: expected a name ending in {', '.join(SUFFIXES)}")
    write = _write_png if path.suffix.lower() == ".png" else _write_tiff
    with whole(path) as partial:
        write(partial, height, width, strips)


def blocks(
    strips: Iterable[Image], height: int, width: int, rows: int
) -> Iterator[NDArray[np.uint8]]:
    """Cut strips (3, h, W) into blocks (rows, W, 3); the last block may have fewer rows.

    Raises:
        ValueError: A strip has another width, or their heights do not sum to the height.

    """
    held, left = np.empty((0, width, 3), np.uint8), height
    source = iter(strips)
    while left:
        strip = next(source, None)
        if strip is None or strip.shape[::2] != (3, width) or strip.shape[1] > left:
            found = "no more" if strip is None else f"a strip {strip.shape}"
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
        rows: (h, W, 3).
        above: (1, W, 3), the row before them; zeros before the first.

    """
    up = np.concatenate([above, rows[:-1]])
    left, corner = (np.pad(values, ((0, 0), (1, 0), (0, 0)))[:, :-1] for values in (rows, up))
    a, b, c = (values.astype(np.int16) for values in (left, up, corner))
    from_left, from_up, from_corner = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    nearest_up = np.where(from_up <= from_corner, up, corner)
    first = (from_left <= from_up) & (from_left <= from_corner)
    return np.asarray(rows - np.where(first, left, nearest_up))


def _write_png(path: Path, height: int, width: int, strips: Iterable[Image]) -> None:
    deflate = zlib.compressobj(LEVEL, strategy=zlib.Z_FILTERED, memLevel=9)
    above = np.zeros((1, width, 3), np.uint8)
    with path.open("wb") as file:
        file.write(PNG)
        _write_chunk(file, b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
        for rows in blocks(strips, height, width, ROWS):
            filtered = paeth(rows, above).reshape(len(rows), 3 * width)
            named = np.pad(filtered, ((0, 0), (1, 0)), constant_values=PAETH)
            if packed := deflate.compress(named.tobytes()):
                _write_chunk(file, b"IDAT", packed)
            above = rows[-1:].copy()
        _write_chunk(file, b"IDAT", deflate.flush())
        _write_chunk(file, b"IEND", b"")


def _write_chunk(file: IO[bytes], kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind + data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def _write_tiff(path: Path, height: int, width: int, strips: Iterable[Image]) -> None:
    tiles = (
        rows[:, left : left + TIFF_TILE]
        for rows in blocks(strips, height, width, TIFF_TILE)
        for left in range(0, width, TIFF_TILE)
    )
    with TiffWriter(path, bigtiff=3 * height * width > CLASSIC_BYTES) as writer:
        writer.write(
            tiles,
            shape=(height, width, 3),
            dtype=np.uint8,
            tile=(TIFF_TILE, TIFF_TILE),
            photometric="rgb",
            compression="zlib",
            predictor=True,
            metadata=None,
            maxworkers=1,
        )
