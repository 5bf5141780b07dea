"""Parts of the page: scores, crops, the camera in words."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import picture
from doubles import plain_passport
from PIL import Image

from pipeline.images.filters import bicubic_upsample
from pipeline.images.io import to_float, to_uint8
from pipeline.run_page import shots
from pipeline.run_page.camera import in_words
from pipeline.run_page.scores import Evaluation, headlines, score_tables
from pipeline.sampling.jpeg import JpegTables
from pipeline.stores.reader import Store
from pipeline.writing.writer import StoreWriter

HOW = {"border": 4, "colour": "RGB, 8 bit", "ssim": "a window"}


def evaluation(bicubic: dict[str, Any], model: dict[str, Any], **more: object) -> Evaluation:
    protocol = {**HOW, "bicubic": bicubic, "model": model}
    return Evaluation.model_validate({"images": 2, "protocols": {"y": protocol}, **more})


def test_the_best_of_a_column_is_marked() -> None:
    bicubic = {"psnr": 25.0, "lpips": 0.5}
    one = evaluation(bicubic, {"psnr": 24.996, "lpips": 0.25})
    two = evaluation(bicubic, {"psnr": 26.126, "lpips": None})
    (scores,) = score_tables({"one": one, "two": two})
    assert scores.title == "Protocol y"
    assert scores.how == "RGB, 8 bit; 4 pixels cut from every side; SSIM with a window"
    assert scores.table.head == ["", "PSNR, dB ↑", "LPIPS ↓"]
    assert scores.table.rows == [
        ["bicubic", "25.00", "0.500"],
        ["one", "25.00", "0.250"],
        ["two", "26.13", None],
    ]
    assert scores.best == [[False, False, False], [False, False, True], [False, True, False]]
    assert headlines({"one": one, "two": two}) == [
        "one: 25.00 dB PSNR on 2 validation images, −0.00 dB against bicubic (protocol y)",
        "two: 26.13 dB PSNR on 2 validation images, +1.13 dB against bicubic (protocol y)",
    ]


def test_other_baselines_are_told_apart_and_niqe_has_its_own_table() -> None:
    niqe = {"model_file": "…/m", "model_sha256": "ab", "bicubic": 7.0, "model": 4.0}
    tables = score_tables(
        {
            "one": evaluation({"psnr": 25.0}, {"psnr": 26.0}),
            "two": evaluation({"psnr": 20.0}, {"psnr": 21.0}, niqe=niqe),
        }
    )
    names = [[row[0] for row in each.table.rows] for each in tables]
    assert names == [
        ["bicubic, beside one", "one", "bicubic, beside two", "two"],
        ["bicubic", "two"],
    ]
    assert tables[1].table.rows[1] == ["two", "4.00"] and tables[1].best[1] == [False, True]
    assert tables[1].how == "without references; pristine model …/m, SHA-256 ab"


def test_the_most_detailed_square_is_found() -> None:
    """Against a search over every place; smaller images are taken whole along an axis."""
    rng = np.random.default_rng(3)
    image = picture(rng, 40, 56)
    luma = image.astype(float).mean(axis=0)
    down, right = np.zeros((40, 56)), np.zeros((40, 56))
    down[1:], right[:, 1:] = abs(luma[1:] - luma[:-1]), abs(luma[:, 1:] - luma[:, :-1])
    places = {
        (top, left): (down + right)[top : top + 16, left : left + 16].sum()
        for top in range(0, 25, shots.STEP)
        for left in range(0, 41, shots.STEP)
    }
    area = shots.most_detailed(image, 16)
    assert area.shape == (16, 16)
    assert places[area.top, area.left] == pytest.approx(max(places.values()), abs=1e-2)
    assert shots.most_detailed(image, 48) == (0, 40, *shots.most_detailed(image, 48)[2:])
    assert shots.most_detailed(image, 99) == (0, 40, 0, 56)


@pytest.fixture
def val(tmp_path: Path) -> Store:
    """Twelve pairs of the scale 2."""
    rng = np.random.default_rng(5)
    ids = [f"image-{n:02}" for n in range(12)]
    with StoreWriter(tmp_path / "val.zarr", "val", 2, ids) as writer:
        for name in ids:
            writer.add(name, {"hr": picture(rng, 48, 60), "lr": picture(rng, 24, 30)})
    return Store(tmp_path / "val.zarr", "val")


def write_sr(val: Store, folder: Path) -> Path:
    """SR images that are the HR images, and a table whose PSNR is the number of the image."""
    (folder / "sr").mkdir(parents=True)
    rows = ["image,method,protocol,psnr"]
    for number, name in enumerate(val.ids):
        Image.fromarray(np.moveaxis(val.read(name, "hr"), 0, -1)).save(folder / f"sr/{name}.png")
        rows += [f"{name},bicubic,y,{number}", f"{name},model,y,{(number * 5) % 12}"]
    (folder / "images.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def test_crops_are_those_of_the_images(
    val: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lossless, at one place in all pictures; images of all scores, the worst and the best too."""
    monkeypatch.setattr(shots, "SIDE", 24)
    made = shots.compare(val, {"net": write_sr(val, tmp_path / "net")})
    assert made is not None and made.quality is None
    assert [int(shot.scores["net"]) for shot in made.shots] == [0, 2, 4, 7, 9, 11]
    assert made.chosen.startswith("6 of 12 validation images, evenly from the lowest")
    for shot in made.shots:
        pixels = {
            name: np.array(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))
            for name, uri in shot.pictures.items()
        }
        hr = np.moveaxis(val.read(shot.name, "hr")[shot.area.slices], 0, -1)
        np.testing.assert_array_equal(pixels["HR"], hr)
        np.testing.assert_array_equal(pixels["net"], hr)
        whole = to_uint8(bicubic_upsample(to_float(val.read(shot.name, "lr")), 2))
        off = pixels["bicubic"].astype(int) - np.moveaxis(whole[shot.area.slices], 0, -1)
        assert np.abs(off).max() <= 1 and shot.area.shape == (24, 24)


def test_a_network_without_pictures_of_these_images_is_left_out_and_named(
    val: Store, tmp_path: Path
) -> None:
    """It was evaluated on other images, such as before the folder of the user changed."""
    folders = {name: write_sr(val, tmp_path / name) for name in ("net", "old")}
    for path in (folders["old"] / "sr").iterdir():
        path.rename(path.with_stem(f"other-{path.stem}"))
    made = shots.compare(val, folders)
    assert made is not None and "without old: evaluated on other images" in made.chosen
    assert {name for shot in made.shots for name in shot.pictures} == {"bicubic", "net", "HR"}
    assert shots.compare(val, {"old": folders["old"]}) is None


def test_the_pictures_keep_to_the_budget(
    val: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less quality first, then fewer images; the page says so."""
    folder = write_sr(val, tmp_path / "net")
    sizes, qualities = [], []
    for budget in (10**6, 60_000, 8_000):
        monkeypatch.setattr(shots, "BUDGET", budget)
        made = shots.compare(val, {"net": folder})
        assert made is not None
        total = sum(len(uri) for shot in made.shots for uri in shot.pictures.values())
        assert total <= budget
        sizes.append(len(made.shots))
        qualities.append(made.quality)
        chosen = made.chosen
    assert qualities[0] is None and qualities[1] not in (None, 75) and qualities[2] == 75
    assert sizes[:2] == [6, 6] and 1 <= sizes[2] < 6
    assert f"of these the first {sizes[2]}," in chosen


def test_the_camera_in_words() -> None:
    said = in_words(plain_passport(sharpening={"amount": 1.5, "radius": 2.0}))
    assert said == [
        "Read off 3 HR and 4 real LR images, which need not show the same scenes, at scale 4.",
        "Blur: detail of 4 LR pixels a period keeps 100 % of its contrast (interval 100 to 100 %).",
        "Sharpening: an unsharp mask of amount 1.50, radius 2.0 LR pixels.",
        "Noise before compression: 2.1 gray levels in black, 4.0 in middle gray, 6.0 in white "
        "(mean of the channels); of tails between Gaussian and Laplace.",
        "Its images are not compressed as JPEG.",
    ]
    assert "It does not sharpen." in in_words(plain_passport())


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_the_quality_of_jpeg_is_that_of_the_program_that_wrote_it(quality: int) -> None:
    """Pillow's own tables; a row-by-row copy of them has the same sum."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG", quality=quality)
    luma, chroma = (Image.open(file).quantization[place] for place in (0, 1))  # type: ignore[attr-defined]
    tables = JpegTables(luma=luma, chroma=chroma, subsampling="4:2:0")
    (last,) = in_words(plain_passport(jpeg=tables.model_dump()))[-1:]
    assert last == f"Its images are JPEG files of quality {quality}, colour planes 4:2:0."
