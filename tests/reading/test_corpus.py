"""Photographs of many formats, read alike by us and by other decoders within one level.

Each is decoded by another library, or it is lossless and its values are known.  Turning and colours
are NumPy and the definitions of the spaces.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
from colour_oracle import ADOBE, OLD_MAC, P3, PROPHOTO, REC2020, SRGB, Known
from conftest import encoded
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from pipeline.reading.files import read_image

Array = NDArray[Any]
SIZE = (44, 58)
"""No multiple of a block, of a macroblock, or of eight."""


@dataclass(frozen=True)
class Photograph:
    """A file, and its values by another decoder in the colours of the file, before it is turned."""

    name: str
    content: bytes
    values: Array
    """(H, W) or (H, W, 3), in [0, 1]."""
    space: Known = SRGB
    orientation: int = 1

    def expected(self) -> Array:
        """Gray levels (H, W, 3) of sRGB, not rounded."""
        values = self.values
        if values.ndim == 2:
            values = np.repeat(values[..., None], 3, axis=-1)
        return turned(self.space.srgb(values), self.orientation)


def turned(pixels: Array, orientation: int) -> Array:
    """What a viewer shows of a file with an EXIF orientation."""
    across, down = pixels[:, ::-1], pixels[::-1]
    shown = {
        1: pixels, 2: across, 3: across[::-1], 4: down, 5: pixels.swapaxes(0, 1),
        6: np.rot90(pixels, -1), 7: across[::-1].swapaxes(0, 1), 8: np.rot90(pixels),
    }  # fmt: skip
    return shown[orientation]


@cache
def scene(number: int) -> Array:
    """A piece of a photograph, 16 bit."""
    known: tuple[Callable[[], Array], ...] = (
        data.astronaut, data.chelsea, data.coffee, data.rocket,
    )  # fmt: skip
    photograph = known[number % 4]()
    top, left = 40 + 13 * number % 150, 60 + 29 * number % 200
    height, width = (3 * length for length in SIZE)
    piece = photograph[top : top + height, left : left + width].astype(float)
    small = piece.reshape(SIZE[0], 3, SIZE[1], 3, 3).mean(axis=(1, 3))
    deep: Array = np.rint(small * 257).astype(np.uint16)
    return deep


def eight(pixels: Array) -> Array:
    return np.rint(pixels / 257).astype(np.uint8)


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x112] = orientation
    return found


def profile(space: Known, grey: bool = False) -> dict[str, Any]:
    return {} if space == SRGB else {"icc_profile": space.icc(grey)}


def jpegs() -> Iterator[Photograph]:
    """Three samplings and orientations, under three spaces; grey; RGB itself."""
    for number, space in enumerate((SRGB, P3, ADOBE)):
        for sampling in ("4:4:4", "4:2:2", "4:2:0"):
            for orientation in (1, 3, 6, 8, 5):
                content = encoded(
                    Image.fromarray(eight(scene(number + orientation))), "JPEG", quality=88,
                    subsampling=sampling, exif=exif(orientation), progressive=orientation == 3,
                    **profile(space),
                )  # fmt: skip
                values = imagecodecs.jpeg8_decode(content) / 255
                name = f"jpeg {sampling} {space.name} {orientation}"
                yield Photograph(name, content, values, space, orientation)
    for space in (SRGB, OLD_MAC):
        grey = Image.fromarray(eight(scene(4)[..., 1]))
        content = encoded(grey, "JPEG", quality=90, **profile(space, grey=True))
        values = imagecodecs.jpeg8_decode(content) / 255
        yield Photograph(f"jpeg grey {space.name}", content, values, space)
    for space in (SRGB, P3):
        image = Image.fromarray(eight(scene(5)))
        content = encoded(image, "JPEG", quality=92, keep_rgb=True, **profile(space))
        values = imagecodecs.jpeg8_decode(content) / 255
        yield Photograph(f"jpeg RGB {space.name}", content, values, space)


def pngs() -> Iterator[Photograph]:
    """8 and 16 bit, grey, colour, palette and alpha; 8 bit by Pillow, 16 bit known."""
    for number, space in enumerate((SRGB, P3, ADOBE, PROPHOTO, REC2020)):
        deep = scene(number)
        shallow = Image.fromarray(eight(deep))
        alpha = Image.fromarray(np.dstack([eight(deep), eight(deep[..., 0])]))
        for kind, image in (("RGB", shallow), ("RGBA", alpha), ("P", shallow.quantize(40))):
            content = encoded(image, "PNG", **profile(space))
            with Image.open(io.BytesIO(content)) as file:
                values = np.asarray(file.convert("RGB")) / 255
            yield Photograph(f"png {kind} {space.name}", content, values, space)
        content = with_profile(bytes(imagecodecs.png_encode(deep)), space)
        yield Photograph(f"png 16 {space.name}", content, deep / 65535, space)
    for orientation in range(1, 9):
        image = Image.fromarray(eight(scene(orientation)))
        content = encoded(image, "PNG", exif=exif(orientation))
        values = np.asarray(image) / 255
        yield Photograph(f"png {orientation}", content, values, SRGB, orientation)
    for space in (SRGB, OLD_MAC):
        grey = Image.fromarray(eight(scene(6)[..., 1]))
        content = encoded(grey, "PNG", **profile(space, grey=True))
        yield Photograph(f"png grey {space.name}", content, np.asarray(grey) / 255, space)


def with_profile(png: bytes, space: Known) -> bytes:
    """A PNG of imagecodecs with the profile chunk of a small PNG of Pillow."""
    if space == SRGB:
        return png
    donor = encoded(Image.new("RGB", (1, 1)), "PNG", **profile(space))
    at = donor.index(b"iCCP") - 4
    length = 12 + int.from_bytes(donor[at : at + 4], "big")
    return png[:33] + donor[at : at + length] + png[33:]


def tiffs() -> Iterator[Photograph]:
    """8 and 16 bit, packed in four ways, with a profile or turned."""
    for number, space in enumerate((SRGB, P3, ADOBE, PROPHOTO)):
        for compression in (None, "lzw", "zlib", "packbits"):
            for deep in (False, True):
                pixels = scene(number) if deep else eight(scene(number))
                buffer = io.BytesIO()
                icc = None if space == SRGB else space.icc()
                tifffile.imwrite(
                    buffer, pixels, photometric="rgb", compression=compression,
                    predictor=compression in ("lzw", "zlib"), iccprofile=icc,
                )  # fmt: skip
                content = buffer.getvalue()
                values = imagecodecs.tiff_decode(content) / (65535 if deep else 255)
                name = f"tiff {compression} {8 + 8 * deep} {space.name}"
                yield Photograph(name, content, values, space)
    for orientation in range(1, 9):
        image = Image.fromarray(eight(scene(orientation)))
        content = encoded(image, "TIFF", exif=exif(orientation))
        values = np.asarray(image) / 255
        yield Photograph(f"tiff {orientation}", content, values, SRGB, orientation)


def webs() -> Iterator[Photograph]:
    """WebP and AVIF, by other builds of their decoders."""
    for number, space in enumerate((SRGB, P3, ADOBE)):
        image = Image.fromarray(eight(scene(number)))
        for quality in (60, 95):
            content = encoded(image, "WEBP", quality=quality, **profile(space))
            values = imagecodecs.webp_decode(content)[..., :3] / 255
            yield Photograph(f"webp {quality} {space.name}", content, values, space)
            for sampling in ("4:4:4", "4:2:2", "4:2:0"):
                content = encoded(
                    image, "AVIF", quality=quality, subsampling=sampling, speed=10,
                    **profile(space),
                )  # fmt: skip
                values = imagecodecs.avif_decode(content) / 255
                yield Photograph(f"avif {sampling} {quality} {space.name}", content, values, space)
    for orientation in range(2, 9):
        image = Image.fromarray(eight(scene(orientation)))
        content = encoded(image, "WEBP", lossless=True, exif=exif(orientation))
        values = np.asarray(image) / 255
        yield Photograph(f"webp {orientation}", content, values, SRGB, orientation)


def heics() -> Iterator[Photograph]:
    """8 and 10 bit, three samplings, by another build of the decoder; turned ones."""
    for number, space in enumerate((SRGB, P3)):
        for chroma in (420, 422, 444):
            for bits in (8, 10):
                content = heic(scene(number), bits, space, quality=80, chroma=chroma)
                file = pillow_heif.open_heif(io.BytesIO(content), convert_hdr_to_8bit=False)
                values = np.array(file)
                share = values / 255 if bits == 8 else (values >> 6) / 1023
                yield Photograph(f"heic {chroma} {bits} {space.name}", content, share, space)
    for orientation in range(2, 9):
        pixels = scene(orientation)
        content = heic(
            pixels, 8, SRGB, quality=-1, chroma=444, matrix_coefficients=0,
            exif=exif(orientation).tobytes(),
        )  # fmt: skip
        values = eight(pixels) / 255
        yield Photograph(f"heic {orientation}", content, values, SRGB, orientation)


def heic(pixels: Array, bits: int, space: Known, **options: Any) -> bytes:
    mode, stored = ("RGB", eight(pixels)) if bits == 8 else ("RGB;16", pixels)
    file = pillow_heif.from_bytes(mode, SIZE[::-1], stored.tobytes())
    file.info.update(profile(space))
    buffer = io.BytesIO()
    file.save(buffer, **options)
    return buffer.getvalue()


def others() -> Iterator[Photograph]:
    """JPEG 2000 by Pillow, or known; JPEG XL and BMP, which are lossless here."""
    for number in range(4):
        shallow = eight(scene(number))
        for kind in ("jp2", "j2k"):
            content = bytes(
                imagecodecs.jpeg2k_encode(
                    shallow, level=40, codecformat=kind, reversible=number > 1
                )
            )
            with Image.open(io.BytesIO(content)) as file:
                values = np.asarray(file) / 255
            yield Photograph(f"{kind} {number}", content, values)
        for bits in (12, 16):
            stored = scene(number) >> (16 - bits)
            content = bytes(
                imagecodecs.jpeg2k_encode(stored, level=0, reversible=True, bitspersample=bits)
            )
            yield Photograph(f"jp2 {bits} {number}", content, stored / (2**bits - 1))
        content = bytes(imagecodecs.jpegxl_encode(shallow, lossless=True))
        yield Photograph(f"jxl {number}", content, shallow / 255)
        linear = Known("linear", gamma=1.0)  # what imagecodecs writes of 16 bit
        content = bytes(imagecodecs.jpegxl_encode(scene(number), lossless=True))
        yield Photograph(f"jxl 16 {number}", content, scene(number) / 65535, linear)
        yield Photograph(f"bmp {number}", encoded(Image.fromarray(shallow), "BMP"), shallow / 255)


def corpus() -> list[Photograph]:
    return [one for make in (jpegs, pngs, tiffs, webs, heics, others) for one in make()]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_photograph_is_read_as_others_read_it(tmp_path: Path) -> None:
    photographs = corpus()
    assert len(photographs) >= 150
    assert len({one.name for one in photographs}) == len(photographs)
    wrong = {}
    for number, one in enumerate(photographs):
        path = tmp_path / f"{number}.png"  # the name says nothing
        path.write_bytes(one.content)
        image = np.moveaxis(read_image(path), 0, -1)
        expected = np.rint(one.expected())
        assert image.shape == expected.shape, one.name
        if (most := np.abs(image - expected).max()) > 1:
            wrong[one.name] = float(most)
    assert wrong == {}


@pytest.mark.slow
def test_the_corpus_would_find_a_profile_that_is_not_applied() -> None:
    """The spaces differ from sRGB by more than the level that is allowed."""
    for one in pngs():
        if one.space != SRGB and one.values.ndim == 3:
            assert np.abs(one.expected() - 255 * one.values).max() > 5, one.name
