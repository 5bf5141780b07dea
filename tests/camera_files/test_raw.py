"""Raw photographs against their light, developed in float64 from the DNG standard's definition."""

import random
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile
from dng import CAMERA_OF_XYZ, NEUTRAL, write_dng
from numpy.typing import NDArray

from pipeline.base.errors import UserError
from pipeline.camera_files.raw import develop, is_raw, is_raw_tiff
from pipeline.piles.headers import header_of
from pipeline.reading.files import decode, find_images, image_size, read_image
from pipeline.reading.formats import format_at, passed_over
from pipeline.reading.photograph import read_photograph

LIGHT = np.array([
    [0.2, 0.2, 0.2], [0.5, 0.1, 0.05], [0.02, 0.3, 0.1], [0.1, 0.1, 0.6], [0.0, 0.0, 0.0],
    [0.002, 0.002, 0.002],
])  # fmt: skip
"""Linear sRGB of the patches."""
SIDE = 32
XYZ_OF_SRGB = np.array([
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
])  # fmt: skip
"""IEC 61966-2-1."""


def camera_values(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the camera sees of linear sRGB; it sees white as AsShotNeutral."""
    camera_of_srgb = np.array(CAMERA_OF_XYZ) @ XYZ_OF_SRGB
    camera_of_srgb /= camera_of_srgb.sum(axis=1, keepdims=True)
    return np.asarray(light @ camera_of_srgb.T * np.array(NEUTRAL))


def encoded(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of sRGB in gray levels, by IEC 61966-2-1."""
    curve = 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    return np.asarray(255 * np.where(light <= 0.0031308, 12.92 * light, curve))


def scene() -> NDArray[np.float64]:
    """The patches side by side, (SIDE, 6 SIDE, 3)."""
    return camera_values(LIGHT).repeat(SIDE, axis=0)[None].repeat(SIDE, axis=0)


def test_patches_have_the_colours_of_their_light(tmp_path: Path) -> None:
    """Of white balance, matrix, black level and curve; libraw's matrix has four digits."""
    path = write_dng(tmp_path / "a.dng", scene())
    pixels = decode(path)
    assert pixels.dtype == np.uint16 and pixels.shape == (SIDE, 6 * SIDE, 3)
    found = pixels[SIDE // 2, SIDE // 2 :: SIDE] / 257
    assert np.abs(found - encoded(LIGHT)).max() < 0.75
    rounded = read_image(path)[:, SIDE // 2, SIDE // 2 :: SIDE].T.astype(float)
    assert np.abs(rounded - encoded(LIGHT)).max() < 1.25


def test_nothing_depends_on_the_rest_of_the_picture(tmp_path: Path) -> None:
    """Neither brightness nor white level is chosen by what is on it."""
    alone = write_dng(tmp_path / "a.dng", np.broadcast_to(camera_values(LIGHT)[1], (32, 64, 3)))
    bright = np.concatenate([np.broadcast_to(camera_values(LIGHT)[1], (32, 64, 3)),
                             np.broadcast_to(np.array(NEUTRAL), (32, 64, 3))], axis=1)  # fmt: skip
    beside = write_dng(tmp_path / "b.dng", bright)
    np.testing.assert_array_equal(decode(alone)[16, 8:24], decode(beside)[16, 8:24])
    assert decode(beside)[16, 100:120].min() > 65500  # white is white


def test_what_lies_beyond_white_is_cut(tmp_path: Path) -> None:
    light = np.broadcast_to(np.array((1.0, 1.0, 1.0)), (32, 32, 3))
    assert (decode(write_dng(tmp_path / "a.dng", light)) == 65535).all()


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_the_orientation_is_applied(tmp_path: Path, orientation: int, turns: int) -> None:
    upright = decode(write_dng(tmp_path / "a.dng", scene()))
    path = write_dng(tmp_path / "b.dng", scene(), orientation)
    np.testing.assert_array_equal(decode(path), np.rot90(upright, turns))
    assert image_size(path) == np.rot90(upright, turns).shape[:2]


def test_demosaicing_keeps_an_edge_in_its_place(tmp_path: Path) -> None:
    """A grey edge between two columns: what is two pixels away is what it was."""
    light = np.full((32, 32, 3), 0.1)
    light[:, 16:] = 0.6
    row = decode(write_dng(tmp_path / "a.dng", camera_values(light)))[16] / 257
    for part, level in ((row[4:14], 0.1), (row[18:28], 0.6)):
        assert np.abs(part - encoded(np.array(level))).max() < 1


def test_a_raw_photograph_is_known_by_its_content(tmp_path: Path) -> None:
    path = write_dng(tmp_path / "a.tif", scene())
    assert format_at(path) == "raw"
    assert decode(path).shape == (SIDE, 6 * SIDE, 3)
    plain = tmp_path / "plain.dng"
    values = np.arange(48, dtype=np.uint16).reshape(4, 4, 3) * 1000
    tifffile.imwrite(plain, values, photometric="rgb")
    assert (format_at(plain), is_raw_tiff(plain)) == ("TIFF", False)
    np.testing.assert_array_equal(decode(plain), values)


def test_sensor_values_behind_a_small_picture_are_raw(tmp_path: Path) -> None:
    """As in NEF and ARW, which state no version of DNG."""
    path = tmp_path / "a.nef"
    with tifffile.TiffWriter(path) as file:
        file.write(np.zeros((8, 8, 3), np.uint8), photometric="rgb", subifds=1)
        file.write(np.zeros((16, 16), np.uint16), photometric=32803)
    assert is_raw_tiff(path)
    pages = tmp_path / "pages.tif"
    with tifffile.TiffWriter(pages) as file:
        file.write(np.zeros((8, 8, 3), np.uint8), photometric="rgb", subifds=1)
        file.write(np.zeros((4, 4, 3), np.uint8), photometric="rgb", subfiletype=1)
    assert not is_raw_tiff(pages)


@pytest.mark.parametrize(
    "start",
    [
        b"II*\x00\x10\x00\x00\x00CR\x02\x00", b"\x00\x00\x00\x18ftypcrx \x00\x00", b"IIU\x00",
        b"FUJIFILMCCD-RAW 0201", b"IIRO\x08", b"MMOR\x00",
    ],
)  # fmt: skip
def test_what_only_begins_as_a_raw_photograph(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(start + bytes(5000))
    assert is_raw(start)
    with pytest.raises(UserError, match=r"a\.jpg: cannot be developed: \w"):
        decode(path)
    assert image_size(path) is None


def test_damaged_files_are_refused_in_a_sentence_or_read(tmp_path: Path) -> None:
    whole = write_dng(tmp_path / "a.dng", scene()[:, :64]).read_bytes()
    drawn, path = random.Random(1), tmp_path / "b.dng"
    read = 0
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(3):
            data[drawn.randrange(400)] = drawn.randrange(256)
        path.write_bytes(data[: drawn.choice((len(data), len(data) // 2))])
        with suppress(UserError):
            decode(path)
            read += 1
    assert 0 < read < 50


def test_a_size_that_the_file_cannot_hold(tmp_path: Path) -> None:
    path = write_dng(tmp_path / "a.dng", scene())
    with tifffile.TiffFile(path, mode="r+") as file:
        for name in ("ImageWidth", "ImageLength"):
            file.pages.first.tags[name].overwrite(40_000)
    with pytest.raises(UserError, match=r"a\.dng: (claims|cannot be developed)"):
        decode(path)


def test_without_rawpy_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_dng(tmp_path / "a.dng", scene())
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(UserError, match=r"a\.dng: .* install usrdu with its extra: usrdu\[raw\]"):
        develop(path)


def test_header_notes_and_folders(tmp_path: Path) -> None:
    """The camera's name serves hygiene; a photograph that lies beside its JPEG is passed over."""
    path = write_dng(tmp_path / "a.dng", scene(), orientation=6, model="Phone 3")
    assert header_of(path) == ("Acme Phone 3", "raw")
    notes = read_photograph(path).notes.exif
    assert (notes[271], notes[272]) == ("Acme", "Phone 3")
    assert 274 not in notes
    assert find_images(tmp_path) == [path]
    (tmp_path / "a.jpg").touch()
    assert find_images(tmp_path) == [tmp_path / "a.jpg"]
    assert passed_over(tmp_path) == "one file passed over (.dng)"
