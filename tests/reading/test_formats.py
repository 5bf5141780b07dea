"""Files by their content, formats that phones write, and what is passed over."""

import io
import logging
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import pytest
from conftest import encoded
from numpy.typing import NDArray
from PIL import Image

from pipeline.base.errors import UserError
from pipeline.reading.files import decode, find_images, image_size, read_image, warn_of_others
from pipeline.reading.formats import format_of, passed_over

Array = NDArray[Any]
YY, XX = np.mgrid[:40, :56]
DEEP = np.rint(np.stack([XX / 55, YY / 39, (XX + YY) / 94], -1) * 65535).astype(np.uint16)
RGB = np.rint(DEEP / 257).astype(np.uint8)


def heic(pixels: Array, **options: Any) -> bytes:
    """A lossless HEIC photograph."""
    height, width = pixels.shape[:2]
    mode = {(3, 1): "RGB", (4, 1): "RGBA", (3, 2): "RGB;16"}[pixels.shape[2], pixels.itemsize]
    file = pillow_heif.from_bytes(mode, (width, height), pixels.tobytes())
    buffer = io.BytesIO()
    file.save(buffer, quality=-1, chroma=444, matrix_coefficients=0, **options)
    return buffer.getvalue()


def same(path: Path, expected: Array, most: float = 0) -> None:
    image = np.moveaxis(read_image(path), 0, -1)
    assert image.shape == expected.shape
    assert np.abs(image.astype(float) - expected).max() <= most


# What phones write


def test_heic(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(heic(RGB))
    same(tmp_path / "a.heic", RGB)


def test_heic_of_10_bit(tmp_path: Path) -> None:
    """Its 1024 levels reach from black to white."""
    (tmp_path / "a.heic").write_bytes(heic(DEEP))
    values = decode(tmp_path / "a.heic")
    assert values.dtype == np.uint16 and values.min() == 0 and values.max() == 65535
    tens = DEEP >> 6
    np.testing.assert_array_equal(values, np.rint(tens / 1023 * 65535))
    same(tmp_path / "a.heic", tens / 1023 * 255, 0.51)


def test_heic_with_alpha(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = np.dstack([RGB, 255 - RGB[..., 0]])
    (tmp_path / "a.heic").write_bytes(heic(pixels))
    same(tmp_path / "a.heic", RGB)
    assert caplog.messages == [f"{tmp_path / 'a.heic'}: the alpha channel is dropped"]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_orientation(tmp_path: Path, kind: str, orientation: int) -> None:
    """Both turn by boxes of their own, not by EXIF data."""
    exif = Image.Exif()
    exif[0x112] = orientation
    if kind == "HEIF":
        content = heic(RGB, exif=exif.tobytes())
    else:
        content = encoded(Image.fromarray(RGB), kind, quality=100, subsampling="4:4:4", exif=exif)
    (tmp_path / "a").write_bytes(content)
    turned = [
        RGB, RGB[:, ::-1], RGB[::-1, ::-1], RGB[::-1], RGB.swapaxes(0, 1), np.rot90(RGB, -1),
        np.rot90(RGB, 2).swapaxes(0, 1), np.rot90(RGB),
    ]  # fmt: skip
    same(tmp_path / "a", turned[orientation - 1], 4)
    assert image_size(tmp_path / "a") == turned[orientation - 1].shape[:2]


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("kind", ["jp2", "j2k", "jxl"])
def test_jpeg_2000_and_jpeg_xl(tmp_path: Path, kind: str, bits: int) -> None:
    """Values of 10 and 12 bit reach from black to white too."""
    pixels = RGB if bits == 8 else DEEP >> (16 - bits)
    if kind == "jxl":
        options: dict[str, Any] = {} if bits in (8, 16) else {"bitspersample": bits}
        content = imagecodecs.jpegxl_encode(pixels, lossless=True, **options)
    else:
        content = imagecodecs.jpeg2k_encode(
            pixels, level=0, reversible=True, codecformat=kind, bitspersample=bits
        )
    (tmp_path / "a").write_bytes(bytes(content))
    shares = pixels / (2**bits - 1)
    if kind == "jxl" and bits > 8:  # imagecodecs writes that these are linear light
        shares = np.where(shares <= 0.0031308, 12.92 * shares, 1.055 * shares ** (1 / 2.4) - 0.055)
    same(tmp_path / "a", shares * 255, 0.75)


@pytest.mark.parametrize("kind", ["jp2", "jxl", "avif", "heic"])
def test_a_file_that_breaks_off(tmp_path: Path, kind: str) -> None:
    content = {
        "jp2": bytes(imagecodecs.jpeg2k_encode(RGB, level=0)),
        "jxl": bytes(imagecodecs.jpegxl_encode(RGB, lossless=True)),
        "avif": encoded(Image.fromarray(RGB), "AVIF"),
        "heic": heic(RGB),
    }[kind]
    for share in (0.02, 0.3, 0.8):
        (tmp_path / "a").write_bytes(content[: int(len(content) * share)])
        with pytest.raises(UserError) as caught:
            read_image(tmp_path / "a")
        assert str(caught.value).startswith(f"{tmp_path / 'a'}: ")


def test_animations_are_refused(tmp_path: Path) -> None:
    pictures = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    (tmp_path / "a").write_bytes(
        encoded(pictures[0], "AVIF", save_all=True, append_images=pictures[1:])
    )
    with pytest.raises(UserError):
        read_image(tmp_path / "a")
    (tmp_path / "b").write_bytes(bytes(imagecodecs.jpegxl_encode(np.stack([RGB, 255 - RGB]))))
    with pytest.raises(UserError, match="is an animation, one image is expected"):
        read_image(tmp_path / "b")


# Content under another name


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png"])
def test_what_is_read_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(heic(RGB))
    same(tmp_path / name, RGB)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"FOVb\x00\x00\x03\x00", "a Sigma raw image (X3F)"),
        (b"\x00\x00\x00\x14ftypqt  \x00\x00", "a QuickTime video"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00", "an MPEG-4 video"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"8BPS\x00\x01", "a Photoshop document (PSD)"),
        (b"\x76\x2f\x31\x01\x02", "OpenEXR"),
        (b"PK\x03\x04\x14", "a ZIP archive"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "an AVI video"),
        (b"\n<!DOCTYPE html>\n<html>", "a web page (HTML)"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content + bytes(64))
    with pytest.raises(UserError) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: is {what}")
    assert format_of(content) is None


# What is passed over


def test_passed_over(tmp_path: Path) -> None:
    names = ["a.png", "b.HEIC", ".hidden.psd", *(f"{n}.PSD" for n in range(16)), "a.xmp"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "more").mkdir()
    assert passed_over(tmp_path) == "17 files and one folder passed over (.psd, .xmp)"
    assert passed_over(tmp_path / "more") is None


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.psd"], "one file passed over (.psd)"),
        (["a.jpg", "a.CR2", "b.NEF"], "one file passed over (.cr2)"),
        (["README"], "one file passed over (no extension)"),
        (["a.1", "a.2", "a.3", "a.4", "a.5", "a.6"],
         "6 files passed over (.1, .2, .3, .4, .5, ...)"),
        (["x/"], "one folder passed over"),
        (["x/", "y/", "a.psd"], "one file and 2 folders passed over (.psd)"),
    ],
)  # fmt: skip
def test_words(tmp_path: Path, names: list[str], said: str) -> None:
    for name in names:
        path = tmp_path / name
        path.mkdir() if name.endswith("/") else path.touch()
    assert passed_over(tmp_path) == said


def test_a_folder_of_documents_alone(tmp_path: Path) -> None:
    (tmp_path / "a.psd").touch()
    with pytest.raises(UserError, match=r"holds no image \(.*\); one file passed over \(.psd\)$"):
        find_images(tmp_path)


def test_each_folder_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder in ("hr", "lr"):
        (tmp_path / folder).mkdir()
    (tmp_path / "hr" / "a.nef").touch()
    (tmp_path / "hr" / "a.png").touch()
    paths = [tmp_path / "hr" / "a.png", tmp_path / "hr" / "b.png", tmp_path / "lr" / "a.png"]
    with caplog.at_level(logging.WARNING):
        warn_of_others(paths)
    assert caplog.messages == [f"{tmp_path / 'hr'}: one file passed over (.nef)"]
