"""Bad input that the tests make themselves: images, weights, names."""

import io
import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

from PIL import Image

GRADIENT = Image.linear_gradient("L").resize((24, 16)).convert("RGB")


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png_bomb(height: int, width: int, rows: int) -> bytes:
    """A PNG that claims a size, with so many black rows in it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    deflate = zlib.compressobj(9)
    data = b"".join(deflate.compress(bytes(width + 1)) for _ in range(rows)) + deflate.flush()
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def jpeg_bomb(height: int, width: int) -> bytes:
    """A small JPEG whose header claims another size."""
    data = encoded(GRADIENT, "JPEG")
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def tiff(fields: list[tuple[int, int, int]], body: bytes = bytes(64)) -> bytes:
    """A TIFF of one directory of (tag, type, value); the body lies at 8."""
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in fields)
    directory = struct.pack("<H", len(fields)) + entries + bytes(4)
    return b"II*\x00" + struct.pack("<I", 8 + len(body)) + body + directory


def tiff_bomb(height: int, width: int, bits: int, samples: int = 1) -> bytes:
    long = [(256, width), (257, height), (258, bits), (259, 1), (262, 1), (273, 8)]
    long += [(277, samples), (278, height), (279, 64)]
    return tiff([(tag, 4, value) for tag, value in long])


def tiff_loop() -> bytes:
    """A TIFF whose directory names itself as the next one."""
    data = bytearray(tiff_bomb(4, 4, 8))
    data[-4:] = data[4:8]
    return bytes(data)


def webp_bomb(height: int, width: int) -> bytes:
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    chunk += encoded(GRADIENT, "WEBP", lossless=True)[12:]
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def bmp_bomb(height: int, width: int) -> bytes:
    data = bytearray(encoded(GRADIENT, "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


class Order:
    """Pickled, this is an order to make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def pickle_with_code(trace: Path) -> bytes:
    return pickle.dumps({"params": Order(trace)}, protocol=2)


def zip_bomb(size: int) -> bytes:
    """A PyTorch file, in form, whose one tensor was compressed to a thousandth."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("archive/version", "3\n")
        with archive.open("archive/data/0", "w", force_zip64=True) as file:
            for _ in range(size >> 20):
                file.write(bytes(1 << 20))
    return buffer.getvalue()
