"""Colour profiles: files of every format against the definitions of their colour spaces."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import tifffile
from colour_oracle import (
    ADOBE,
    LINEAR,
    OLD_MAC,
    P3,
    PROPHOTO,
    REC2020,
    SRGB,
    Known,
    cmyk_icc,
    cmyk_levels,
    icc,
)
from conftest import Write, encoded
from imagecodecs import avif_encode, jpeg2k_encode, jpegxl_encode, png_encode
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.ExifTags import IFD, Interop

from pipeline.base.errors import UserError
from pipeline.reading.colour import ColourError, to_srgb
from pipeline.reading.files import decode, read_image

Array = NDArray[Any]
SPACES = [P3, ADOBE, PROPHOTO, REC2020, OLD_MAC, LINEAR]
COLOURS = np.random.default_rng(5).integers(0, 256, (16, 24, 3), dtype=np.uint8)
FLAT = np.kron(COLOURS[:2, :3], np.ones((16, 16, 1), np.uint8))
"""Patches of 16 pixels, which a JPEG keeps."""

CORNERS = np.moveaxis(np.indices((2, 2, 2, 2)), 0, -1).reshape(4, 4, 4)
"""Each of four inks, or none of it."""


def close(path: Path, expected: Array, most: float = 1.0) -> None:
    """Compare with gray levels (H, W, 3) or (H, W) that are not rounded."""
    image = np.moveaxis(read_image(path), 0, -1)
    if expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, axis=-1)
    assert image.shape == expected.shape
    assert np.abs(image - expected).max() <= most


# The numbers that were wrong


@pytest.mark.parametrize(
    ("space", "value", "right"),
    [(P3, (250, 60, 40), (255, 20, 3)), (ADOBE, (120, 180, 90), (81, 182, 83))],
)
def test_what_phones_and_cameras_write(
    write: Write, space: Known, value: tuple[int, ...], right: tuple[int, ...]
) -> None:
    """The green of the second is 181.5."""
    pixels = np.full((8, 8, 3), value, np.uint8)
    path = write("a.png", encoded(Image.fromarray(pixels), "PNG", icc_profile=space.icc()))
    close(path, np.full((8, 8, 3), space.srgb(np.array(value) / 255)))
    close(path, np.full((8, 8, 3), right))


# Formats


def lossless(kind: str, pixels: Array, profile: bytes) -> bytes:
    """A file of the pixels with a profile."""
    image = Image.fromarray(pixels)
    if kind == "webp":
        return encoded(image, "WEBP", lossless=True, icc_profile=profile)
    if kind == "tif":
        return encoded(image, "TIFF", icc_profile=profile, compression="tiff_lzw")
    if kind == "avif":
        return encoded(
            image, "AVIF", quality=100, subsampling="4:4:4", icc_profile=profile,
            advanced={"aom:lossless": "1"},
        )  # fmt: skip
    if kind == "bmp":
        return with_profile(encoded(image, "BMP"), profile)
    if kind == "jp2":
        return with_colour_box(bytes(jpeg2k_encode(pixels, level=0, reversible=True)), profile)
    return encoded(image, "PNG", icc_profile=profile)


def with_profile(bmp: bytes, profile: bytes) -> bytes:
    """A BMP of Pillow with the header of version 5, which has a place for a profile."""
    old, pixels = bmp[14:54], bmp[54:]
    place = 124 + len(pixels)
    rest = b"DEBM" + bytes(36 + 12) + struct.pack("<IIII", 4, place, len(profile), 0)
    info = struct.pack("<I", 124) + old[4:] + bytes(16) + rest
    assert len(info) == 124
    size = 14 + 124 + len(pixels) + len(profile)
    return b"BM" + struct.pack("<IIII", size, 0, 14 + 124, 0)[:12] + info + pixels + profile


def with_colour_box(jp2: bytes, profile: bytes) -> bytes:
    """A JPEG 2000 file whose box of colours holds a profile instead of a number."""
    at = jp2.index(b"colr") - 4
    length = int.from_bytes(jp2[at : at + 4], "big")
    box = struct.pack(">I", 8 + 3 + len(profile)) + b"colr\x02\x00\x00" + profile
    outer = jp2.index(b"jp2h") - 4
    size = int.from_bytes(jp2[outer : outer + 4], "big") + len(box) - length
    return jp2[:outer] + struct.pack(">I", size) + jp2[outer + 4 : at] + box + jp2[at + length :]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
@pytest.mark.parametrize("kind", ["png", "tif", "webp", "bmp", "jp2"])
def test_lossless_formats(write: Write, kind: str, space: Known) -> None:
    path = write(f"a.{kind}", lossless(kind, COLOURS, space.icc()))
    close(path, space.srgb(COLOURS / 255))


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
@pytest.mark.parametrize("kind", ["png", "tif", "jp2"])
def test_16_bit(write: Write, kind: str, space: Known) -> None:
    """To a few of 65535 levels: 16 bit do not go the way of 8 bit."""
    deep = np.random.default_rng(6).integers(0, 65536, (16, 24, 3), dtype=np.uint16)
    if kind == "png":
        content = with_chunk(bytes(png_encode(deep)), b"iCCP", packed(space.icc()))
    elif kind == "jp2":
        plain = bytes(jpeg2k_encode(deep, level=0, reversible=True))
        content = with_colour_box(plain, space.icc())
    else:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, deep, photometric="rgb", iccprofile=space.icc())
        content = buffer.getvalue()
    path = write(f"a.{kind}", content)
    expected = space.srgb(deep / 65535)
    values = decode(path)
    assert values.dtype == np.uint16
    assert np.abs(values / 257 - expected).max() < 0.25
    close(path, expected, 0.75)


@pytest.mark.parametrize("space", [P3, ADOBE], ids=lambda space: space.name)
@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 2}, {"keep_rgb": True}])
def test_jpeg(write: Write, options: dict[str, Any], space: Known) -> None:
    """Also one that holds RGB itself, as its Adobe APP14 marker says."""
    content = encoded(Image.fromarray(FLAT), "JPEG", quality=100, **options)
    plain = np.moveaxis(read_image(write("plain.jpg", content)), 0, -1)
    assert np.abs(plain.astype(int) - FLAT).max() <= 2 or options == {"subsampling": 2}
    with Image.open(io.BytesIO(content)) as file:
        assert ("adobe_transform" in file.info) == ("keep_rgb" in options)
    content = encoded(
        Image.fromarray(FLAT), "JPEG", quality=100, icc_profile=space.icc(), **options
    )
    close(write("a.jpg", content), space.srgb(plain / 255))


@pytest.mark.parametrize("space", [OLD_MAC, LINEAR, SRGB], ids=lambda space: space.name)
@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("depth", [8, 16])
def test_grey(write: Write, kind: str, depth: int, space: Known) -> None:
    """Grey stays grey, at both depths."""
    deep = np.random.default_rng(7).integers(0, 2**depth, (16, 24)).astype(f"u{depth // 8}")
    profile = space.icc(grey=True)
    if kind == "png":
        content = with_chunk(bytes(png_encode(deep)), b"iCCP", packed(profile))
    else:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, deep, iccprofile=profile)
        content = buffer.getvalue()
    path = write(f"a.{kind}", content)
    assert decode(path).shape == (16, 24, 1)
    grey = deep / (2**depth - 1)
    close(path, space.srgb(np.repeat(grey[..., None], 3, axis=-1)))


def test_grey_jpeg_with_a_profile_of_rgb(write: Write) -> None:
    """Programs leave it in the file when they take the colour away."""
    grey = FLAT[..., 0]
    content = encoded(Image.fromarray(grey), "JPEG", quality=100, icc_profile=OLD_MAC.icc())
    path = write("a.jpg", content)
    with Image.open(path) as file:
        plain = np.asarray(file)
    close(path, OLD_MAC.srgb(np.repeat(plain[..., None] / 255, 3, axis=-1)))
    assert decode(path).shape[-1] == 1


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(write: Write, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """The 16 corners: each ink or none of it."""
    ink = CORNERS.astype(np.uint8) * 255
    flat = np.kron(ink, np.ones((16, 16, 1), np.uint8))
    image = Image.frombytes("CMYK", (64, 64), flat.tobytes())
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    path = write(f"a.{kind}", encoded(image, kind, icc_profile=cmyk_icc(), **options))
    close(path, cmyk_levels(flat), 2.0 if kind == "JPEG" else 1.0)
    assert not caplog.messages


def test_16_bit_cmyk(write: Write) -> None:
    ink = CORNERS.astype(np.uint16) * 65535
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, ink, photometric="separated", iccprofile=cmyk_icc())
    path = write("a.tif", buffer.getvalue())
    close(path, cmyk_levels(ink // 257))
    assert decode(path).dtype == np.uint16


def test_alpha_is_no_colour(write: Write) -> None:
    pixels = np.dstack([COLOURS, COLOURS[..., 0]])
    path = write("a.png", encoded(Image.fromarray(pixels), "PNG", icc_profile=P3.icc()))
    close(path, P3.srgb(COLOURS / 255))
    np.testing.assert_array_equal(decode(path)[..., 3], COLOURS[..., 0])


def test_palette(write: Write) -> None:
    image = Image.fromarray(COLOURS).quantize(64)
    path = write("a.png", encoded(image, "PNG", icc_profile=P3.icc()))
    close(path, P3.srgb(np.asarray(image.convert("RGB")) / 255))


# Colours that are said without a profile


def packed(profile: bytes) -> bytes:
    return b"name\0\0" + zlib.compress(profile)


def with_chunk(png: bytes, name: bytes, content: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(name + content))
    return png[:33] + struct.pack(">I", len(content)) + name + content + crc + png[33:]


PNG = encoded(Image.fromarray(COLOURS), "PNG")


def test_cicp_goes_before_iccp(write: Write) -> None:
    both = with_chunk(with_chunk(PNG, b"iCCP", packed(ADOBE.icc())), b"cICP", bytes([12, 13, 0, 1]))
    close(write("a.png", both), P3.srgb(COLOURS / 255))
    srgb = with_chunk(with_chunk(PNG, b"iCCP", packed(ADOBE.icc())), b"cICP", bytes([1, 13, 0, 1]))
    close(write("b.png", srgb), COLOURS, 0)


@pytest.mark.parametrize(("number", "name"), [(16, "PQ"), (18, "HLG")])
def test_high_dynamic_range_is_refused(write: Write, number: int, name: str) -> None:
    path = write("a.png", with_chunk(PNG, b"cICP", bytes([9, number, 0, 1])))
    with pytest.raises(UserError, match=rf"a.png: holds values of a high dynamic range \({name}\)"):
        read_image(path)


def test_unknown_code_points(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    path = write("a.png", with_chunk(PNG, b"cICP", bytes([77, 13, 0, 1])))
    close(path, COLOURS, 0)
    said = "its colours are taken for sRGB: it names primaries 77 and transfer 13"
    assert caplog.messages == [f"{path}: {said}"]


@pytest.mark.parametrize(
    ("chunks", "warned"),
    [
        ([(b"gAMA", struct.pack(">I", 45455))], False),
        ([(b"gAMA", struct.pack(">I", 100000))], True),
        ([(b"gAMA", struct.pack(">I", 100000)), (b"sRGB", b"\0")], False),
        ([(b"gAMA", struct.pack(">I", 100000)), (b"iCCP", packed(SRGB.icc()))], False),
    ],
)
def test_gamma_chunks_are_not_applied(
    write: Write, caplog: pytest.LogCaptureFixture, chunks: list[tuple[bytes, bytes]], warned: bool
) -> None:
    content = PNG
    for one in chunks:
        content = with_chunk(content, *one)
    path = write("a.png", content)
    close(path, COLOURS, 0)
    said = (
        f"{path}: its colours are taken for sRGB: the exponent 1 of its gAMA chunk is not applied"
    )
    assert caplog.messages == ([said] if warned else [])


def test_adobe_rgb_in_the_exif_data_of_a_camera(write: Write) -> None:
    """Cameras write no profile but ``R03``."""
    exif = Image.Exif()
    exif[IFD.Exif] = {0xA001: 0xFFFF, 0xA005: {Interop.InteropIndex.value: "R03"}}
    content = encoded(Image.fromarray(FLAT), "JPEG", quality=100, subsampling=0)
    plain = np.moveaxis(read_image(write("plain.jpg", content)), 0, -1)
    options: dict[str, Any] = {"quality": 100, "subsampling": 0, "exif": exif}
    close(
        write("a.jpg", encoded(Image.fromarray(FLAT), "JPEG", **options)), ADOBE.srgb(plain / 255)
    )
    options["icc_profile"] = P3.icc()
    close(write("b.jpg", encoded(Image.fromarray(FLAT), "JPEG", **options)), P3.srgb(plain / 255))


def test_code_points_of_avif(write: Write) -> None:
    plain = bytes(avif_encode(FLAT, level=100, pixelformat="444", primaries=1, transfer=13))
    p3 = bytes(avif_encode(FLAT, level=100, pixelformat="444", primaries=12, transfer=13))
    values = np.moveaxis(read_image(write("plain.avif", plain)), 0, -1)
    assert np.abs(values.astype(int) - FLAT).max() <= 2
    close(write("a.avif", p3), P3.srgb(values / 255))


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("how", ["profile", "numbers"])
def test_heic(write: Write, depth: int, how: str) -> None:
    deep = FLAT.astype(np.uint16) * 257
    mode, data = ("RGB", FLAT) if depth == 8 else ("RGB;16", deep)
    file = pillow_heif.from_bytes(mode, (FLAT.shape[1], FLAT.shape[0]), data.tobytes())
    buffer = io.BytesIO()
    options: dict[str, Any] = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}
    if how == "numbers":
        options |= {"color_primaries": 12, "transfer_characteristics": 13}
    else:
        file.info["icc_profile"] = P3.icc()
        options |= {"save_nclx_profile": False}
        if depth == 8:
            options |= {"matrix_coefficients": 6}
    file.save(buffer, **options)
    path = write("a.heic", buffer.getvalue())
    assert decode(path).dtype == (np.uint8 if depth == 8 else np.uint16)
    close(path, P3.srgb(FLAT / 255), 1.0 if options["matrix_coefficients"] == 0 else 4.0)


def test_the_profile_of_sony_and_apple_in_a_wide_jpeg_of_several_segments(write: Write) -> None:
    """A profile longer than 64 KiB lies in several APP2 segments."""
    long = icc_with_text(P3, 150_000)
    content = encoded(Image.fromarray(FLAT), "JPEG", quality=100, subsampling=0, icc_profile=long)
    assert content.count(b"ICC_PROFILE\0") == 3
    plain = encoded(Image.fromarray(FLAT), "JPEG", quality=100, subsampling=0)
    values = np.moveaxis(read_image(write("plain.jpg", plain)), 0, -1)
    close(write("a.jpg", content), P3.srgb(values / 255))


def icc_with_text(space: Known, length: int) -> bytes:
    """A profile with a long text at its end."""
    made = space.icc() + bytes(length)
    return struct.pack(">I", len(made)) + made[4:]


# sRGB stays as it is


def srgb_profiles() -> dict[str, bytes]:
    built_in = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return {"of LittleCMS": built_in, "by hand": SRGB.icc()}


@pytest.mark.parametrize("name", srgb_profiles())
def test_srgb_keeps_every_byte(write: Write, name: str) -> None:
    levels = np.indices((64, 64, 4)).sum(0).astype(np.uint8)[..., :3] * 3
    path = write(
        "a.png", encoded(Image.fromarray(levels), "PNG", icc_profile=srgb_profiles()[name])
    )
    np.testing.assert_array_equal(np.moveaxis(read_image(path), 0, -1), levels)


def test_a_profile_near_srgb_is_converted() -> None:
    """Gamma 2.2 differs in the shadows by several levels."""
    dark = np.arange(0, 30, dtype=np.uint8).reshape(5, 6, 1).repeat(3, axis=-1)
    gamma = Known("gamma 2.2", gamma=2.2)
    result = to_srgb(dark, "RGB", gamma.icc())
    assert np.abs(result - gamma.srgb(dark / 255)).max() <= 1
    assert np.abs(result.astype(int) - dark).max() > 3


# Profiles that cannot be used


@pytest.mark.parametrize(
    ("profile", "fault"),
    [
        (b"no profile", "the profile is damaged, or not one of an image"),
        (P3.icc()[:200], "the profile is damaged"),
        (P3.icc()[:128] + bytes(400), "the profile is damaged"),
        (OLD_MAC.icc(grey=True), "the profile is of GRAY colours, the image of RGB"),
        (cmyk_icc(), "the profile is of CMYK colours, the image of RGB"),
        (icc(b"Lab ", {}), "the profile is damaged, or not one of an image"),
        (P3.icc().replace(b"mntr", b"link"), "the profile is damaged, or not one of an image"),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_profile_that_cannot_be_used_is_a_warning(
    write: Write, caplog: pytest.LogCaptureFixture, kind: str, profile: bytes, fault: str
) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    path = write("a", encoded(Image.fromarray(COLOURS), kind, icc_profile=profile, **options))
    close(path, COLOURS, 0)
    ours = [message for message in caplog.messages if not message.startswith("PNG warning")]
    assert ours == [f"{path}: its colours are taken for sRGB: {fault}"]


def test_a_jpeg_that_lacks_a_part_of_its_profile(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    content = encoded(
        Image.fromarray(FLAT), "JPEG", quality=100, icc_profile=icc_with_text(P3, 70_000)
    )
    assert content.count(b"ICC_PROFILE\0\x02\x02") == 1
    path = write("a.jpg", content.replace(b"ICC_PROFILE\0\x02\x02", b"NO__PROFILE\0\x02\x02"))
    plain = encoded(Image.fromarray(FLAT), "JPEG", quality=100)
    np.testing.assert_array_equal(read_image(path), read_image(write("b.jpg", plain)))
    assert caplog.messages == [f"{path}: its colours are taken for sRGB: the profile is damaged"]


def test_a_damaged_profile_of_cmyk(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    """The file is read as one without a profile."""
    image = Image.fromarray(FLAT).convert("CMYK")
    plain = write("a.jpg", encoded(image, "JPEG"))
    path = write("b.jpg", encoded(image, "JPEG", icc_profile=cmyk_icc()[:300]))
    np.testing.assert_array_equal(read_image(path), read_image(plain))
    assert caplog.messages == [f"{path}: its colours are taken for sRGB: the profile is damaged"]


def test_arguments_are_named() -> None:
    with pytest.raises(ColourError, match="the profile is of RGB colours, the image of CMYK"):
        to_srgb(np.zeros((2, 2, 4), np.uint8), "CMYK", P3.icc())


# JPEG XL


class Written:
    """Bits, the lowest of a byte first."""

    def __init__(self) -> None:
        self.value = self.count = 0

    def put(self, value: int, count: int) -> None:
        self.value |= value << self.count
        self.count += count

    def number(self, value: int) -> None:
        """An Enum of the standard."""
        if value < 2:
            self.put(value, 2)
        elif value < 18:
            self.put(2, 2)
            self.put(value - 2, 4)
        else:
            self.put(3, 2)
            self.put(value - 18, 6)

    def bytes(self) -> bytes:
        return self.value.to_bytes(-(-self.count // 8), "little")


def jpegxl(pixels: Array, primaries: int, transfer: int, bits: int = 8) -> bytes:
    """A lossless JPEG XL file of imagecodecs under a new header with other colours."""
    content = bytes(jpegxl_encode(pixels, lossless=True))
    content = content[content.index(b"jxlc") + 4 :] if content[0] == 0 else content
    assert content[:2] == b"\xff\x0a"
    height, width = pixels.shape[:2]
    assert height % 8 == width % 8 == 0 and max(height, width) <= 256
    sizes, deep = 1 + 5 + 3 + 5, bits != 8
    colours = 17 if deep else 1  # imagecodecs writes 16 bit as linear light
    old_bits = sizes + 1 + 1 + 1 + 2 + (6 if deep else 0) + 1 + 2 + 1 + colours + 2 + 1
    old = 2 + -(-old_bits // 8)
    made = Written()
    made.put(1, 1)
    made.put(height // 8 - 1, 5)
    made.put(0, 3)
    made.put(width // 8 - 1, 5)
    made.put(0, 3)  # not all default, no extra fields, whole numbers
    made.put(3 if deep else 0, 2)
    if deep:
        made.put(bits - 1, 6)
    made.put(0 if deep else 1, 1)  # room for the values in 16 bit
    made.put(0, 2 + 1)  # no further channels, no XYB
    made.put(0, 1 + 1)  # colours that are not the usual ones, and no profile
    for number in (0, 1, primaries):
        made.number(number)
    made.put(0, 1)
    made.number(transfer)
    made.number(1)  # relative colorimetric
    made.put(0, 2)  # no extensions
    made.put(1, 1)  # default transforms
    return content[:2] + made.bytes() + content[old:]


@pytest.mark.parametrize(
    ("primaries", "transfer", "space"),
    [
        (11, 13, P3),
        (9, 13, REC2020),
        (1, 8, LINEAR),
        (1, 13, SRGB),
    ],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_jpegxl(write: Write, bits: int, primaries: int, transfer: int, space: Known) -> None:
    pixels = COLOURS[:8] if bits == 8 else COLOURS[:8].astype(np.uint16) * 257
    path = write("a.jxl", jpegxl(pixels, primaries, transfer, bits))
    close(path, space.srgb(COLOURS[:8] / 255))


def test_jpegxl_of_a_high_dynamic_range(write: Write) -> None:
    path = write("a.jxl", jpegxl(COLOURS[:8], 9, 16))
    with pytest.raises(UserError, match=r"a.jxl: holds values of a high dynamic range \(PQ\)"):
        read_image(path)
