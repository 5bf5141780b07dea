"""Images written strip by strip, read back by Pillow, imageio, libpng and libtiff."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from imagecodecs import png_decode
from numpy.typing import NDArray
from PIL import Image as PillowImage
from skimage import data

from pipeline.images.io import write_png
from pipeline.reading.files import read_image
from pipeline.tools import strip_writer as module
from pipeline.tools.strip_writer import TIFF_TILE, blocks, paeth, write_strips

SIZES = [(1, 1), (1, 300), (300, 1), (5, 7), (64, 64), (65, 63), (128, 40), (257, 513), (700, 90)]
HEIGHTS = [1, 64, 100, 1000]


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """(3, H, W): steep and flat areas, and noise, so that all predictions of Paeth's occur."""
    rng = np.random.default_rng(seed)
    blocky = rng.integers(0, 256, (3, height // 9 + 1, width // 7 + 1)).repeat(9, 1).repeat(7, 2)
    noise = rng.integers(-40, 41, (3, height, width))
    found = np.clip(blocky[:, :height, :width] + noise, 0, 255)
    return np.asarray(found, dtype=np.uint8)


def cut(image: NDArray[np.uint8], height: int) -> Iterator[NDArray[np.uint8]]:
    for top in range(0, image.shape[1], height):
        yield image[:, top : top + height]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("strip", HEIGHTS)
@pytest.mark.parametrize("name", ["x.png", "x.PNG", "x.tif", "x.tiff"])
def test_every_reader_finds_the_pixels(
    name: str, size: tuple[int, int], strip: int, tmp_path: Path
) -> None:
    image, path = picture(*size), tmp_path / name
    write_strips(path, *size, cut(image, strip))
    expected = np.moveaxis(image, 0, -1)
    np.testing.assert_array_equal(iio.imread(path, plugin="pillow"), expected)
    with PillowImage.open(path) as file:
        assert (file.size, file.mode) == (size[::-1], "RGB")
        np.testing.assert_array_equal(np.asarray(file), expected)
    if name.lower().endswith("png"):
        np.testing.assert_array_equal(png_decode(path.read_bytes()), expected)  # checks all CRCs
    else:
        np.testing.assert_array_equal(tifffile.imread(path), expected)
    np.testing.assert_array_equal(read_image(path), image)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Of a PNG, after its signature."""
    found, place = [], 8
    while place < len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        found.append((kind, content[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def test_the_chunks_of_a_png(tmp_path: Path) -> None:
    image = picture(200, 300)
    write_strips(tmp_path / "x.png", 200, 300, cut(image, 128))
    found = chunks((tmp_path / "x.png").read_bytes())
    assert found[0] == (b"IHDR", struct.pack(">IIBBBBB", 300, 200, 8, 2, 0, 0, 0))
    assert {kind for kind, _ in found[1:-1]} == {b"IDAT"} and found[-1] == (b"IEND", b"")
    rows = zlib.decompress(b"".join(part for _, part in found[1:-1]))
    assert len(rows) == 200 * (1 + 3 * 300)
    assert set(rows[:: 1 + 3 * 300]) == {4}


def predicted(left: int, up: int, corner: int) -> int:
    """The pseudo-code of the specification, 9.4."""
    estimate = left + up - corner
    distances = [abs(estimate - left), abs(estimate - up), abs(estimate - corner)]
    if distances[0] <= distances[1] and distances[0] <= distances[2]:
        return left
    return up if distances[1] <= distances[2] else corner


def test_paeth_pixel_by_pixel() -> None:
    image = np.moveaxis(picture(20, 23), 0, -1)
    above, rows = image[:1], image[1:]
    found = paeth(rows, above)
    assert found.dtype == np.uint8
    for y in range(19):
        for x in range(23):
            for channel in range(3):
                left = int(rows[y, x - 1, channel]) if x else 0
                corner = int(image[y, x - 1, channel]) if x else 0
                expected = int(rows[y, x, channel]) - predicted(
                    left, int(image[y, x, channel]), corner
                )
                assert found[y, x, channel] == expected % 256


def test_a_png_is_as_small_as_pillows(tmp_path: Path) -> None:
    small = PillowImage.fromarray(data.astronaut()[:150, 100:300])
    photograph = np.asarray(small.resize((800, 600), PillowImage.Resampling.BICUBIC))
    noise = np.random.default_rng(0).normal(0, 3, photograph.shape)
    noisy = np.clip(photograph + noise, 0, 255).round().astype(np.uint8)
    for pixels in (photograph, noisy):
        image = np.moveaxis(pixels, -1, 0)
        write_png(tmp_path / "pillow.png", image)
        write_strips(tmp_path / "strips.png", 600, 800, cut(image, 256))
        sizes = [(tmp_path / name).stat().st_size for name in ("strips.png", "pillow.png")]
        assert sizes[0] <= 1.06 * sizes[1]


def test_a_tiff_is_compressed_in_tiles(tmp_path: Path) -> None:
    flat = np.full((3, 300, 600), 7, np.uint8)
    write_strips(tmp_path / "x.tif", 300, 600, cut(flat, 100))
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        assert not file.is_bigtiff
        assert file.pages.first.tile == (TIFF_TILE, TIFF_TILE)
        assert file.pages.first.predictor == 2
    assert (tmp_path / "x.tif").stat().st_size < flat.size / 50


def test_a_large_tiff_is_a_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(100, 90)
    for limit, big in ((3 * 100 * 90 - 1, True), (3 * 100 * 90, False)):
        monkeypatch.setattr(module, "CLASSIC_BYTES", limit)
        write_strips(tmp_path / "x.tif", 100, 90, cut(image, 30))
        with tifffile.TiffFile(tmp_path / "x.tif") as file:
            assert file.is_bigtiff == big
        np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), image)


# --- blocks


@pytest.mark.parametrize("strip", HEIGHTS)
@pytest.mark.parametrize("rows", [1, 3, 64, 1000])
@pytest.mark.parametrize("height", [1, 63, 64, 200])
def test_blocks_are_the_image_cut_anew(strip: int, rows: int, height: int) -> None:
    image = picture(height, 5)
    found = list(blocks(cut(image, strip), height, 5, rows))
    assert [len(block) for block in found[:-1]] == [rows] * (len(found) - 1)
    assert 0 < len(found[-1]) <= rows
    np.testing.assert_array_equal(np.concatenate(found), np.moveaxis(image, 0, -1))


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_no_strip_is_taken_early_or_after_the_last_row(name: str, tmp_path: Path) -> None:
    """So the first strip of the next image may be waited for only when this file is whole."""

    def forever() -> Iterator[NDArray[np.uint8]]:
        yield from cut(picture(300, 20), 100)
        raise AssertionError

    write_strips(tmp_path / name, 300, 20, forever())
    np.testing.assert_array_equal(read_image(tmp_path / name), picture(300, 20))


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_strips_that_are_not_the_image_leave_the_older_file(name: str, tmp_path: Path) -> None:
    write_strips(tmp_path / name, 10, 20, [picture(10, 20)])
    before = (tmp_path / name).read_bytes()
    for strips, words in (
        ([picture(9, 20)], "expected 1 more rows of 20 pixels, got no more"),
        (
            [picture(5, 20), picture(6, 20)],
            r"expected 5 more rows of 20 pixels, got a strip \(3, 6",
        ),
        ([picture(10, 19)], r"expected 10 more rows of 20 pixels, got a strip \(3, 10, 19\)"),
        ([], "expected 10 more rows"),
    ):
        with pytest.raises(ValueError, match=words):
            write_strips(tmp_path / name, 10, 20, strips)
        assert (tmp_path / name).read_bytes() == before
        assert len(list(tmp_path.iterdir())) == 1


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.jpg: expected a name ending in \.png"):
        write_strips(tmp_path / "x.jpg", 1, 1, [picture(1, 1)])
    assert list(tmp_path.iterdir()) == []
