"""Image files: written by Pillow or by hand, byte for byte, and read by the code under test."""

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import imageio.v3 as iio
import numpy as np
import pillow_heif
import pytest
import tifffile
import torch
from conftest import Write, encoded
from numpy.typing import NDArray
from PIL import Image, ImageOps, JpegImagePlugin

from pipeline.base.errors import UserError
from pipeline.images.io import (
    Subsampling,
    crop_to_multiple,
    jpeg_round_trip,
    size_text,
    to_float,
    to_uint8,
    write_jpeg,
    write_png,
)
from pipeline.reading.files import find_images, holds_images, image_size, read_image
from pipeline.reading.formats import EXTENSIONS

Array = NDArray[Any]
RNG = np.random.default_rng(1)
RGB = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)
GREY = RGB[..., 1]
ALPHA = RGB[..., 2]
DEEP = RNG.integers(0, 65536, (13, 17, 4), dtype=np.uint16)
DEEP8 = np.rint(DEEP / 257).astype(np.uint8)
"""What 16 bit become in 8 bit; v / 257 is never halfway between two integers."""


def planes(pixels: Array) -> Array:
    """(H, W) or (H, W, 3) as the (3, H, W) that is expected."""
    return np.stack([pixels] * 3) if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


def pillow(path: Path) -> Array:
    """The pixels another way: decoded, turned and converted by Pillow alone."""
    with Image.open(path) as file:
        file.load()
        return planes(np.asarray(ImageOps.exif_transpose(file).convert("RGB")))


def png_chunk(name: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)


def png(pixels: Array, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG by hand from (H, W) or (H, W, C), with further chunks before the pixels."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    depth = 8 * pixels.dtype.itemsize
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(height, -1)
    filtered = b"".join(b"\x00" + row.tobytes() for row in rows)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)),
            *(png_chunk(*one) for one in extra),
            png_chunk(b"IDAT", zlib.compress(filtered)),
            png_chunk(b"IEND", b""),
        ]
    )


def exif(orientation: int) -> bytes:
    content = Image.Exif()
    content[0x112] = orientation
    return content.tobytes().removeprefix(b"Exif\x00\x00")


def tiff(
    pixels: Array,
    photometric: int,
    planar: bool = False,
    deflate: bool = False,
    orientation: int = 1,
    order: str = "<",
    bits: int = 16,
) -> bytes:
    """A TIFF of one page by hand from (H, W) or (H, W, C), uint16."""
    height, width, channels = (*pixels.shape, 1)[:3]
    parts = [pixels[..., c] for c in range(channels)] if planar else [pixels]
    strips = [part.astype(f"{order}u2").tobytes() for part in parts]
    if deflate:
        strips = [zlib.compress(strip) for strip in strips]
    offsets = [8 + sum(map(len, strips[:number])) for number in range(len(strips))]
    short, long = (3, "H"), (4, "I")
    fields: list[tuple[int, tuple[int, str], Sequence[int]]] = [
        (256, long, [width]),
        (257, long, [height]),
        (258, short, [bits] * channels),
        (259, short, [8 if deflate else 1]),
        (262, short, [photometric]),
        (273, long, offsets),
        (274, short, [orientation]),
        (277, short, [channels]),
        (278, long, [height]),
        (279, long, [len(strip) for strip in strips]),
        (284, short, [2 if planar else 1]),
    ]
    body = b"".join(strips)
    entries = b""
    for tag, (kind, code), values in fields:
        packed = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(packed) > 4:
            body += b"\x00" * (len(body) % 2)
            packed, body = struct.pack(f"{order}I", 8 + len(body)), body + packed
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + packed.ljust(4, b"\x00")
    body += b"\x00" * (len(body) % 2)
    magic = {"<": b"II", ">": b"MM"}[order]
    header = magic + struct.pack(f"{order}HI", 42, 8 + len(body))
    directory = struct.pack(f"{order}H", len(fields)) + entries + bytes(4)
    return header + body + directory


def same(path: Path, expected: Array) -> None:
    result = read_image(path)
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, expected)


# 8 bit


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("a.png", "PNG", {}),
        ("a.tif", "TIFF", {}),
        ("lzw.tif", "TIFF", {"compression": "tiff_lzw"}),
        ("deflate.tiff", "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("a.webp", "WEBP", {"lossless": True}),
        ("a.bmp", "BMP", {}),
    ],
)
@pytest.mark.parametrize("pixels", [RGB, GREY, RGB[:1, :1], RGB[:1], RGB[:, :1]])
def test_lossless(
    write: Write, name: str, kind: str, options: dict[str, Any], pixels: Array
) -> None:
    same(write(name, encoded(Image.fromarray(pixels), kind, **options)), planes(pixels))


@pytest.mark.parametrize("pixels", [RGB, GREY])
def test_jpeg(write: Write, pixels: Array) -> None:
    smooth = pixels[:4, :4].repeat(8, axis=0).repeat(8, axis=1)
    path = write("a.jpg", encoded(Image.fromarray(smooth), "JPEG", quality=90, subsampling=0))
    same(path, pillow(path))
    assert np.abs(read_image(path).astype(int) - planes(smooth)).mean() < 6


def test_lossy_webp(write: Write) -> None:
    path = write("a.webp", encoded(Image.fromarray(RGB), "WEBP", quality=80))
    same(path, pillow(path))


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.tif", "TIFF"), ("a.bmp", "BMP")])
def test_one_bit(write: Write, name: str, kind: str) -> None:
    levels = np.where(GREY > 128, 255, 0).astype(np.uint8)
    same(write(name, encoded(Image.fromarray(levels).convert("1"), kind)), planes(levels))


@pytest.mark.parametrize("colours", [2, 16, 256])
@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.tif", "TIFF"), ("a.bmp", "BMP")])
def test_palette(write: Write, name: str, kind: str, colours: int) -> None:
    rng = np.random.default_rng(3)
    palette = rng.integers(0, 256, (colours, 3), dtype=np.uint8)
    index = rng.integers(0, colours, (13, 17), dtype=np.uint8)
    image = Image.new("P", (17, 13))
    image.putdata(index.ravel().tolist())
    image.putpalette(palette.tobytes())
    same(write(name, encoded(image, kind)), planes(palette[index]))


def test_cmyk_jpeg(write: Write) -> None:
    smooth = RGB[:4, :4].repeat(8, axis=0).repeat(8, axis=1)
    path = write("a.jpg", encoded(Image.fromarray(smooth).convert("CMYK"), "JPEG", quality=95))
    with Image.open(path) as file:
        assert file.mode == "CMYK"
    same(path, pillow(path))
    assert np.abs(read_image(path).astype(int) - planes(smooth)).mean() < 6


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [("a.png", "PNG", {}), ("a.tif", "TIFF", {}), ("a.webp", "WEBP", {"lossless": True})],
)
def test_rgba(
    write: Write,
    caplog: pytest.LogCaptureFixture,
    name: str,
    kind: str,
    options: dict[str, Any],
) -> None:
    image = Image.fromarray(np.dstack([RGB, ALPHA]))
    if kind == "WEBP":
        options = {**options, "exact": True}  # keep colours where alpha is 0
    path = write(name, encoded(image, kind, **options))
    same(path, planes(RGB))
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: the alpha channel is dropped"
    ]


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.tif", "TIFF")])
def test_grey_and_alpha(
    write: Write, caplog: pytest.LogCaptureFixture, name: str, kind: str
) -> None:
    image = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)])
    path = write(name, encoded(image, kind))
    same(path, planes(GREY))
    assert caplog.messages == [f"{path}: the alpha channel is dropped"]


def test_no_warning_without_alpha(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    read_image(write("a.png", encoded(Image.fromarray(RGB), "PNG")))
    assert not caplog.messages


def test_white_is_zero_tiff(write: Write) -> None:
    content = bytearray(tiff(DEEP[..., 0], photometric=0))
    same(write("deep.tif", bytes(content)), planes(255 - DEEP8[..., 0]))
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, GREY, photometric="miniswhite")
    same(write("a.tif", buffer.getvalue()), planes(255 - GREY))


def test_phone_jpeg_with_several_pictures(write: Write) -> None:
    """A preview or a gain map behind the photograph is no second page."""
    photograph, preview = Image.fromarray(RGB), Image.fromarray(GREY[:5, :6])
    content = encoded(photograph, "MPO", save_all=True, append_images=[preview])
    path = write("a.jpg", content)
    with Image.open(path) as file:
        assert getattr(file, "n_frames", 1) == 2
    same(path, pillow(path))


# 16 bit


def every_value() -> Array:
    """(256, 256, 3) with all 65536 values in every channel, in different orders."""
    values = np.arange(65536, dtype=np.uint16)
    orders = [values, values[::-1], np.random.default_rng(2).permutation(values)]
    return np.stack(orders, axis=-1).reshape(256, 256, 3)


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_16_bit_value_is_rounded(write: Write, kind: str, channels: int) -> None:
    deep = every_value()
    deep = deep[..., 0] if channels == 1 else deep
    content = png(deep) if kind == "png" else tiff(deep, photometric=1 if channels == 1 else 2)
    same(write(f"a.{kind}", content), planes(np.rint(deep / 257).astype(np.uint8)))


@pytest.mark.parametrize("channels", [2, 4])
def test_16_bit_png_with_alpha(
    write: Write, caplog: pytest.LogCaptureFixture, channels: int
) -> None:
    path = write("a.png", png(DEEP[..., :channels]))
    same(path, planes(DEEP8[..., 0] if channels == 2 else DEEP8[..., :3]))
    assert caplog.messages == [f"{path}: the alpha channel is dropped"]


def test_transparent_colour(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    first = struct.pack(">HHH", *RGB[0, 0].tolist())
    path = write("a.png", png(RGB, (b"tRNS", first)))
    same(path, planes(RGB))
    assert caplog.messages == [f"{path}: the alpha channel is dropped"]


def test_16_bit_png_values_are_not_touched_by_gamma(write: Write) -> None:
    path = write("a.png", png(DEEP[..., :3], (b"gAMA", struct.pack(">I", 45455))))
    same(path, planes(DEEP8[..., :3]))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("width", [17, 4, 3, 1])
def test_16_bit_tiff(write: Write, order: str, deflate: bool, planar: bool, width: int) -> None:
    deep = DEEP[:, :width, :3]
    content = tiff(deep, photometric=2, planar=planar, deflate=deflate, order=order)
    same(write("a.tif", content), planes(DEEP8[:, :width, :3]))


@pytest.mark.parametrize(
    ("compression", "predictor"),
    [("lzw", False), ("lzw", True), ("zlib", False), ("zlib", True), ("packbits", False)],
)
def test_16_bit_tiff_compressed(write: Write, compression: str, predictor: bool) -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, DEEP[..., :3], photometric="rgb", compression=compression, predictor=predictor
    )
    same(write("a.tif", buffer.getvalue()), planes(DEEP8[..., :3]))


@pytest.mark.parametrize("planar", [False, True])
def test_16_bit_tiff_with_alpha(
    write: Write, caplog: pytest.LogCaptureFixture, planar: bool
) -> None:
    path = write("a.tif", tiff(DEEP, photometric=2, planar=planar))
    same(path, planes(DEEP8[..., :3]))
    assert f"{path}: the alpha channel is dropped" in caplog.messages


# Pages of TIFF


def paged(*kinds: dict[str, Any]) -> bytes:
    """A TIFF of several pages; the one without a kind has the pixels of RGB."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for kind in kinds:
            options = {key: value for key, value in kind.items() if key != "pixels"}
            file.write(kind["pixels"], metadata=None, **options)
    return buffer.getvalue()


SMALL: dict[str, Any] = {"pixels": RGB[::2, ::2], "photometric": "rgb"}
MASK: dict[str, Any] = {"pixels": GREY > 99, "photometric": 4, "subfiletype": 4}
OLD: dict[str, Any] = {**SMALL, "extratags": [(255, 3, 1, 2, True)]}


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    "order", [("page", "small"), ("small", "page"), ("page", "mask"), ("small", "page", "mask"),
              ("page", "old")],
)  # fmt: skip
def test_thumbnails_and_masks_are_no_images(
    write: Write, order: tuple[str, ...], deep: bool
) -> None:
    pixels = RGB.astype(np.uint16) * 257 if deep else RGB
    kinds: dict[str, dict[str, Any]] = {
        "page": {"pixels": pixels, "photometric": "rgb"}, "mask": MASK, "old": OLD,
    }  # fmt: skip
    kinds["small"] = {**SMALL, "subfiletype": 1}
    same(write("a.tif", paged(*(kinds[name] for name in order))), planes(RGB))


def test_two_pages_and_a_thumbnail_are_two(write: Write) -> None:
    page = {"pixels": RGB, "photometric": "rgb"}
    refused(
        write("a.tif", paged(page, {**SMALL, "subfiletype": 1}, page)), "holds 2 pages or frames"
    )


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("name", "kind"), [("a.jpg", "JPEG"), ("a.tif", "TIFF"), ("a.png", "PNG"), ("a.webp", "WEBP")]
)
def test_orientation(write: Write, name: str, kind: str, orientation: int) -> None:
    content = Image.Exif()
    content[0x112] = orientation
    path = write(name, encoded(Image.fromarray(RGB), kind, exif=content))
    same(path, pillow(path))
    assert size_text(read_image(path)) == ("13x17" if orientation < 5 else "17x13")
    assert image_size(path) == read_image(path).shape[1:]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_16_bit(write: Write, orientation: int) -> None:
    """Against Pillow's turning of the same picture in 8 bit."""
    shallow = Image.Exif()
    shallow[0x112] = orientation
    twin = pillow(write("twin.png", encoded(Image.fromarray(RGB), "PNG", exif=shallow)))
    deep = RGB.astype(np.uint16) * 257
    same(write("a.tif", tiff(deep, photometric=2, orientation=orientation)), twin)
    same(write("b.tif", tiff(deep, photometric=2, orientation=orientation, planar=True)), twin)
    same(write("a.png", png(deep, (b"eXIf", exif(orientation)))), twin)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_orientation_that_does_not_exist(write: Write, orientation: int) -> None:
    deep = RGB.astype(np.uint16) * 257
    same(write("a.tif", tiff(deep, photometric=2, orientation=orientation)), planes(RGB))


# Files that are refused


def refused(path: Path, fault: str) -> None:
    with pytest.raises(UserError) as caught:
        read_image(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert fault in message.removeprefix(f"{path}: ")
    assert message.count(str(path)) == 1
    assert "\n" not in message


def frames(kind: str, count: int = 3) -> bytes:
    pictures = [Image.fromarray(RGB), Image.fromarray(255 - RGB), Image.fromarray(RGB[::-1])]
    return encoded(pictures[0], kind, save_all=True, append_images=pictures[1:count])


def typed_tiff(kind: str) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, RGB.astype(kind), photometric="rgb")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("empty.png", b"", "is empty (0 bytes)"),
        ("text.png", b"this is a shopping list\n", "is of no known format"),
        ("text.tif", b"this is a shopping list\n", "is of no known format"),
        ("header.tif", b"II*\x00", "cannot be read as an image"),
        ("header.png", b"\x89PNG\r\n\x1a\n", "cannot be read as an image"),
        ("gif.png", frames("GIF"), "holds 3 pages or frames"),
        ("animated.webp", frames("WEBP"), "holds 3 pages or frames"),
        ("animated.png", frames("PNG"), "holds 3 pages or frames"),
        ("pages.tif", frames("TIFF"), "holds 3 pages or frames"),
        ("two.tif", frames("TIFF", 2), "holds 2 pages or frames"),
        ("float16.tif", typed_tiff("float16"), "holds float16 values"),
        ("float32.tif", typed_tiff("float32"), "holds float32 values"),
        ("float64.tif", typed_tiff("float64"), "holds float64 values"),
        ("int8.tif", typed_tiff("int8"), "holds int8 values"),
        ("int16.tif", typed_tiff("int16"), "holds int16 values"),
        ("uint32.tif", typed_tiff("uint32"), "holds uint32 values"),
        ("cmyk16.tif", tiff(DEEP, photometric=5), "holds 16-bit SEPARATED colours"),
        ("five.tif", tiff(np.dstack([DEEP, DEEP[..., :1]]), photometric=2), "has the shape"),
    ],
)  # fmt: skip
def test_refused(write: Write, name: str, content: bytes, fault: str) -> None:
    refused(write(name, content), fault)


def test_16_bit_pages_are_refused(write: Write) -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(DEEP[..., :3], photometric="rgb")
        file.write(DEEP[:5, :6, :3], photometric="rgb")
    refused(write("a.tif", buffer.getvalue()), "holds 2 pages or frames")


def test_animated_16_bit_png_is_refused(write: Write) -> None:
    pictures = [Image.fromarray(DEEP[..., c]) for c in range(2)]
    content = encoded(pictures[0], "PNG", save_all=True, append_images=pictures[1:])
    assert content[24] == 16
    refused(write("a.png", content), "holds 2 pages or frames")


def test_12_bit_tiff_is_refused(write: Write) -> None:
    """Its values reach 4095 only; read as 16 bit it would be nearly black."""
    values = np.random.default_rng(4).integers(0, 4096, (4, 6), dtype=np.uint16)
    packed = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(4, 6, 2), axis=-1)
    rows = np.packbits(packed[..., 4:].reshape(4, -1), axis=-1)
    content = bytearray(tiff(values, photometric=1, bits=12, order=">"))
    content[8 : 8 + rows.size] = rows.tobytes()
    refused(write("a.tif", bytes(content)), "holds 12-bit values")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.png", encoded(Image.fromarray(np.tile(RGB, (4, 4, 1))), "PNG")),
        ("a.jpg", encoded(Image.fromarray(np.tile(RGB, (4, 4, 1))), "JPEG", quality=95)),
        ("a.bmp", encoded(Image.fromarray(np.tile(RGB, (4, 4, 1))), "BMP")),
        ("a.webp", encoded(Image.fromarray(np.tile(RGB, (4, 4, 1))), "WEBP", lossless=True)),
        ("a.tif", encoded(Image.fromarray(np.tile(RGB, (4, 4, 1))), "TIFF")),
        ("deep.png", png(np.tile(DEEP[..., :3], (4, 4, 1)))),
        ("deep.tif", tiff(np.tile(DEEP[..., :3], (4, 4, 1)), photometric=2)),
        ("deflate.tif", tiff(np.tile(DEEP[..., :3], (4, 4, 1)), photometric=2, deflate=True)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_truncated(write: Write, name: str, content: bytes, share: float) -> None:
    refused(write(name, content[: int(len(content) * share)]), "cannot be read as an image")


@pytest.mark.parametrize("pixels", [RGB[:3, :3], DEEP[:3, :3, :3]])
def test_no_flipped_byte_of_a_png_changes_a_pixel(write: Write, pixels: Array) -> None:
    """Most are errors; the last bytes of the file matter to no pixel."""
    content = png(pixels)
    expected = read_image(write("a.png", content))
    found = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        try:
            same(write("a.png", bytes(damaged)), expected)
        except UserError:
            found += 1
    assert found >= len(content) - len(png_chunk(b"IEND", b""))


def test_truncation_is_named(write: Write) -> None:
    content = encoded(Image.fromarray(RGB), "JPEG")
    refused(write("a.jpg", content[:-40]), "truncated")
    refused(write("a.png", encoded(Image.fromarray(RGB), "PNG")[:-60]), "truncated")


def test_folder_with_the_name_of_an_image(tmp_path: Path) -> None:
    (tmp_path / "x.png").mkdir()
    refused(tmp_path / "x.png", "Is a directory")


def test_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "x.png", "No such file or directory")
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere.png")
    refused(tmp_path / "link.png", "No such file or directory")


def test_more_pixels_than_pillow_allows(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    refused(write("a.png", encoded(Image.fromarray(RGB), "PNG")), "exceeds limit of 200 pixels")


# Folders


def test_holds_images(tmp_path: Path) -> None:
    for name in (".hidden.png", "notes.txt", "png"):
        (tmp_path / name).touch()
    assert not holds_images(tmp_path)
    (tmp_path / "a.JPEG").touch()
    assert holds_images(tmp_path)


@pytest.mark.parametrize("suffix", EXTENSIONS)
def test_image_size(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(photograph(suffix))
    assert image_size(path) == (13, 17)
    assert read_image(path).shape == (3, 13, 17)


def photograph(suffix: str) -> bytes:
    """A file of the format that an ending stands for."""
    buffer = io.BytesIO()
    if suffix == ".jxl":
        return bytes(imagecodecs.jpegxl_encode(RGB, lossless=True))
    if suffix in (".heic", ".heif", ".hif"):
        pillow_heif.from_bytes("RGB", (17, 13), RGB.tobytes()).save(buffer)
        return buffer.getvalue()
    if suffix == ".avif":
        return encoded(Image.fromarray(RGB), "AVIF")
    if suffix in (".jp2", ".jpx", ".jpf", ".j2k", ".j2c"):
        kind = "j2k" if suffix in (".j2k", ".j2c") else "jp2"
        return bytes(imagecodecs.jpeg2k_encode(RGB, level=0, codecformat=kind))
    kinds = {".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}
    return encoded(Image.fromarray(RGB), kinds.get(suffix, "JPEG"))


def test_image_size_of_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    huge = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)  # more than Pillow opens
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", huge))
    for name in ("a.png", "b.png", "nowhere.png"):
        assert image_size(tmp_path / name) is None


def test_find_images(tmp_path: Path) -> None:
    wanted = ["A.PNG", "B.Tiff", "a.png", "b.jpg", "c.JPEG", "d e.tif", "z.bmp", "ä.webp"]
    for name in [*wanted, ".hidden.png", "notes.txt", "png", "a.png.partial", "Thumbs.db"]:
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner.png").touch()
    assert find_images(tmp_path) == [tmp_path / name for name in sorted(wanted)]


@pytest.mark.parametrize("name", [f"a{extension}" for extension in EXTENSIONS])
def test_every_extension_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert find_images(tmp_path) == [tmp_path / name]


def test_empty_and_missing_folder(tmp_path: Path) -> None:
    (tmp_path / ".hidden.png").touch()
    with pytest.raises(UserError, match=f"^{tmp_path}: holds no image"):
        find_images(tmp_path)
    for name in ("nowhere", ".hidden.png"):
        with pytest.raises(UserError, match=f"^{tmp_path / name}: there is no such folder$"):
            find_images(tmp_path / name)


# Sizes


def test_crop_to_multiple() -> None:
    image = np.asarray(planes(RGB))
    np.testing.assert_array_equal(crop_to_multiple(Path("a"), image, 4), image[:, :12, :16])
    np.testing.assert_array_equal(crop_to_multiple(Path("a"), image, 13), image[:, :13, :13])
    np.testing.assert_array_equal(crop_to_multiple(Path("a"), image, 1), image)
    with pytest.raises(UserError, match="^a.png: is 13x17, smaller than the scale 14$"):
        crop_to_multiple(Path("a.png"), image, 14)
    with pytest.raises(UserError, match="^a.png: is 2x17, smaller than the scale 3$"):
        crop_to_multiple(Path("a.png"), image[:, :2], 3)


# Writing


def test_write_png(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_png(path, np.asarray(planes(RGB)))
    np.testing.assert_array_equal(pillow(path), planes(RGB))
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    write_png(path, np.asarray(planes(GREY)))
    same(path, planes(GREY))
    assert list(tmp_path.iterdir()) == [path]


def test_write_png_appears_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    write_png(path, np.asarray(planes(RGB)))
    before = path.read_bytes()

    def full_disk(target: Path, *_: object, **__: object) -> None:
        assert path.read_bytes() == before
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(iio, "imwrite", full_disk)
    with pytest.raises(UserError, match="a.png: cannot be written: No space left"):
        write_png(path, np.asarray(planes(GREY)))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_write_png_over_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(UserError, match="a.png: cannot be written: Is a directory"):
        write_png(tmp_path / "a.png", np.asarray(planes(RGB)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("quality", [50, 95])
def test_write_jpeg(tmp_path: Path, quality: int) -> None:
    path = tmp_path / "a.jpg"
    write_jpeg(path, np.asarray(planes(RGB)), quality)
    expected = encoded(Image.fromarray(RGB), "JPEG", quality=quality, subsampling=0)
    np.testing.assert_array_equal(iio.imread(path), iio.imread(io.BytesIO(expected)))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("subsampling", "code"), [("4:4:4", 0), ("4:2:2", 1), ("4:2:0", 2)])
def test_jpeg_subsampling(tmp_path: Path, subsampling: Subsampling, code: int) -> None:
    """The size of the colour planes as the file's own header has it."""
    path = tmp_path / "a.jpg"
    write_jpeg(path, np.asarray(planes(RGB)), 90, subsampling)
    with Image.open(path) as file:
        assert isinstance(file, JpegImagePlugin.JpegImageFile)
        assert JpegImagePlugin.get_sampling(file) == code
    expected = encoded(Image.fromarray(RGB), "JPEG", quality=90, subsampling=code)
    assert path.read_bytes() == expected


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [10, 75, 100])
@pytest.mark.parametrize("shape", [(13, 17), (16, 32), (1, 1)])
def test_jpeg_round_trip(
    tmp_path: Path, quality: int, subsampling: Subsampling, shape: tuple[int, int]
) -> None:
    """What a file of the same quality holds, for sizes that are no multiples of a block too."""
    image = np.random.default_rng(6).integers(0, 256, (3, *shape), dtype=np.uint8)
    before = image.copy()
    result = jpeg_round_trip(image, quality, subsampling)
    assert result.dtype == np.uint8 and result.shape == image.shape
    assert result.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(image, before)
    write_jpeg(tmp_path / "a.jpg", image, quality, subsampling)
    np.testing.assert_array_equal(result, pillow(tmp_path / "a.jpg"))


def test_half_colour_planes_blur_colours_only() -> None:
    """A checkerboard of two colours of one luma: grey survives 4:2:0, colour does not."""
    odd = np.indices((16, 16)).sum(axis=0) % 2 == 1
    coloured = np.where(odd, np.array([200, 88, 119])[:, None, None], 120).astype(np.uint8)
    grey = np.where(odd, 100, 160).astype(np.uint8)[None].repeat(3, axis=0)
    for image, kept in ((grey, True), (coloured, False)):
        spread = [
            jpeg_round_trip(image, 95, kind)[0].std() / image[0].std()
            for kind in ("4:4:4", "4:2:0")
        ]
        assert spread[0] > 0.9
        assert (spread[1] > 0.9) == kept


def test_write_jpeg_appears_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    write_jpeg(path, np.asarray(planes(RGB)), 90)
    before = path.read_bytes()
    write = Path.write_bytes

    def full_disk(target: Path, data: bytes) -> None:
        write(target, data[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(UserError, match="a.jpg: cannot be written: No space left"):
        write_jpeg(path, np.asarray(planes(GREY)), 90)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# Tensors


def test_to_float() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    result = to_float(levels)
    assert result.dtype == torch.float32
    np.testing.assert_array_equal(result.numpy(), levels / np.float32(255))
    assert result.min() == 0 and result.max() == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_to_uint8_rounds(dtype: torch.dtype) -> None:
    levels = torch.arange(256, dtype=dtype).reshape(1, 16, 16)
    for shift in (-0.49, 0.0, 0.49):
        result = to_uint8(((levels + shift) / 255).requires_grad_())
        assert result.dtype == np.uint8
        np.testing.assert_array_equal(result, levels.numpy())


def test_to_uint8_clamps() -> None:
    values = torch.tensor([-1e9, -0.1, -0.0, 1.0, 1.1, 1e9]).reshape(1, 1, 6)
    assert to_uint8(values).ravel().tolist() == [0, 0, 0, 255, 255, 255]


def test_to_uint8_of_half_precision() -> None:
    levels = torch.arange(256).reshape(1, 16, 16)
    half = to_uint8((levels / 255).half())
    np.testing.assert_array_equal(half, levels.numpy())
    np.testing.assert_array_equal(to_uint8((levels / 255).bfloat16()), levels.numpy())


def test_round_trip_of_every_level() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    np.testing.assert_array_equal(to_uint8(to_float(levels)), levels)
