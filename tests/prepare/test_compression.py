"""JPEG tables of files: as Pillow reads them, turned with the photographs, against the pixels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from doubles import jpeg, tables_of
from imagecodecs import jpeg8_encode
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base
from skimage.data import astronaut

from pipeline.prepare.compression import compression
from pipeline.reading.files import read_image
from pipeline.sampling.compression import JpegMixture
from pipeline.sampling.jpeg import Jpeg, JpegTables, tables_of_quality

Array = NDArray[Any]


def picture(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, 3), as Pillow has it."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, pixels: Array, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_compression_of_files_alike(tmp_path: Path, subsampling: str) -> None:
    files = [jpeg(tmp_path / f"{n}.jpg", 80, subsampling) for n in range(3)]
    assert compression(files) == {**tables_of(files[0]), "subsampling": subsampling}


def test_compression_has_the_steps_row_by_row(tmp_path: Path) -> None:
    """At the quality 50 they are those of ITU-T T.81, annex K."""
    found = compression([jpeg(tmp_path / "a.jpg", 50, "4:4:4")])
    assert found is not None
    luma, chroma = found["luma"], found["chroma"]
    assert isinstance(luma, list) and isinstance(chroma, list)
    assert luma[:16] == [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55]
    assert luma[56:] == [72, 92, 95, 98, 112, 100, 103, 99]
    assert chroma[:16] == [17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99]


def of(path: Path, planes: str = "4:4:4") -> dict[str, object]:
    return {**tables_of(path), "subsampling": planes}


def test_files_of_several_kinds(tmp_path: Path) -> None:
    """Each kind with its share; this was no compression at all."""
    first = [jpeg(tmp_path / f"{n}.jpg", 80, "4:4:4") for n in range(3)]
    second = [jpeg(tmp_path / f"o{n}.jpg", 70, "4:4:4") for n in range(2)]
    halved = jpeg(tmp_path / "h.jpg", 80, "4:2:2")
    found = compression([*second, *first, halved])
    assert found is not None and found.keys() == {"tables", "shares"}
    assert found["tables"] == [of(second[0]), of(first[0]), of(halved, "4:2:2")]
    assert found["shares"] == pytest.approx([2 / 6, 3 / 6, 1 / 6])
    JpegMixture.model_validate(found)


def test_files_that_are_not_compressed(tmp_path: Path) -> None:
    good = [jpeg(tmp_path / f"{n}.jpg", 80, "4:4:4") for n in range(2)]
    png = [save(tmp_path / f"{n}.png", picture(n, 9, 9)) for n in range(3)]
    assert compression(png) is None
    found = compression([*good, *png])
    assert found == {"tables": [of(good[0])], "shares": [pytest.approx(2 / 5)]}
    disguised = tmp_path / "d.png"
    disguised.write_bytes(good[0].read_bytes())
    assert compression([disguised]) == compression(good) == of(good[0])


def test_many_kinds_are_spread_from_fine_to_coarse(tmp_path: Path) -> None:
    files = [jpeg(tmp_path / f"{q}.jpg", q, "4:2:0") for q in range(30, 90)]
    found = compression(files)
    assert found is not None
    mixture = JpegMixture.model_validate(found)
    assert mixture.shares == pytest.approx([1 / 20] * 20)
    assert len(json.dumps(found)) < 15_000
    kept = [tables_of_quality(q, "4:2:0") for q in range(88, 29, -3)]
    assert mixture.tables == kept  # every third, from fine to coarse


def test_compression_of_other_files(tmp_path: Path) -> None:
    """Gray, damaged: none, and no error; decoding says what is wrong."""
    gray = tmp_path / "g.jpg"
    Image.fromarray(picture(1, 16, 16)[..., 0]).save(gray)
    damaged = tmp_path / "e.jpg"
    damaged.write_bytes(b"\xff\xd8\xff\xe0 no more")
    wide = jpeg(tmp_path / "w.jpg", 80, "4:2:2")
    known = compression([wide])
    assert known is not None and known["subsampling"] == "4:2:2"
    for path in (gray, damaged, tmp_path / "nowhere.jpg"):
        assert compression([path]) is None


TURNS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x),
    7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],
    8: lambda x: np.rot90(x, -1),
}
"""From an upright image to what a camera stores with an orientation."""


def simulated(path: Path, image: Array) -> Array:
    """An upright image (H, W, 3) compressed with the tables found for a file, (3, H, W)."""
    found = compression([path])
    assert found is not None
    planes = torch.from_numpy(np.moveaxis(image, -1, 0).copy())[None].float() / 255
    result = Jpeg(JpegTables.model_validate(found))(planes)[0]
    return np.asarray(result.double() * 255)


@pytest.mark.parametrize("planes", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("orientation", TURNS)
def test_tables_of_a_turned_photograph(tmp_path: Path, orientation: int, planes: str) -> None:
    """What the upright image gets of them is what the file holds."""
    image = np.asarray(astronaut())[:256, 128:384]
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    stored = np.ascontiguousarray(TURNS[orientation](image))
    path = save(tmp_path / "a.jpg", stored, quality=50, subsampling=planes, exif=exif)
    real = read_image(path)
    assert np.abs(real - np.moveaxis(image, -1, 0).astype(float)).mean() < 5  # it is upright
    apart = np.abs(simulated(path, image) - real).mean()
    assert apart < (0.2 if planes == "4:4:4" else 0.45)


@pytest.mark.parametrize("planes", ["444", "422", "420", "440"])
def test_colour_planes_as_another_encoder_names_them(tmp_path: Path, planes: str) -> None:
    image = np.ascontiguousarray(np.asarray(astronaut())[:256, 128:384])
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg8_encode(image, level=50, subsampling=planes))
    found = compression([path])
    assert found is not None and found["subsampling"] == ":".join(planes)
    assert (
        np.abs(simulated(path, image) - read_image(path)).mean() < 0.6
    )  # its colours round otherwise


def test_planes_and_colours_that_are_not_imitated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """4:1:1, and a JPEG of RGB without a transform."""
    image, path = picture(1, 32, 32), tmp_path / "a.jpg"
    path.write_bytes(jpeg8_encode(image, level=50, subsampling="411"))
    assert compression([path]) is None
    assert "the compression of 1 of 1 LR images is not imitated" in caplog.text
    path.write_bytes(jpeg8_encode(image, level=50, colorspace="RGB", outcolorspace="RGB"))
    with Image.open(path) as file:
        assert file.mode == "RGB" and np.abs(np.asarray(file) - image.astype(int)).mean() < 20
    assert compression([path]) is None


def test_what_is_not_imitated_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It counts neither as compressed like the others nor as uncompressed."""
    files = [jpeg(tmp_path / f"{n}.jpg", 80, "4:2:0") for n in range(3)]
    files += [save(tmp_path / "w.webp", picture(1, 40, 40))]
    files += [save(tmp_path / "g.jpg", picture(1, 40, 40)[..., 0])]
    assert compression(files) == of(files[0], "4:2:0")
    assert "the compression of 2 of 5 LR images is not imitated" in caplog.text
    assert "w.webp, g.jpg" in caplog.text


def test_png_files_that_were_a_jpeg(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = np.asarray(astronaut())[:256, 128:384]
    jpg = save(tmp_path / "a.jpg", image, quality=85, subsampling="4:2:0")
    decoded = np.asarray(Image.open(jpg))
    files = [save(tmp_path / "cut.png", decoded[3:, 5:]), save(tmp_path / "never.png", image)]
    assert compression(files) is None
    assert "1 of 2 LR images looked at are no JPEG files, but hold the grid of one" in caplog.text
    assert "cut.png (from row 5, column 3)" in caplog.text
    assert compression([*files, jpg]) == {"tables": [of(jpg, "4:2:0")], "shares": [0.5]}
    caplog.clear()
    assert compression(files[1:]) is None and not caplog.records
