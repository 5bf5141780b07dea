"""Images smaller than the crops of the trainings: refused all at once, or left out."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import prepare_settings
from PIL import Image
from PIL.ExifTags import Base

from pipeline.prepare.sizes import Crops, crops_of
from pipeline.reading.files import image_size
from pipeline.stores.reader import Store
from stages.prepare import command


def save(path: Path, height: int, width: int, orientation: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, exif=exif)
    return path


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """HR images of 16 and 15 LR pixels, real LR images of 8 and 7 beside their held-out part."""
    for name, size in {"fits": (64, 70), "low": (63, 80), "thin": (80, 60)}.items():
        save(tmp_path / "hr" / f"{name}.png", *size)
    for name, size in {"fits": (8, 10), "low": (7, 30), "narrow": (30, 9)}.items():
        save(tmp_path / "lr" / f"{name}.png", *size)
    save(tmp_path / "lr" / "turned.jpg", 10, 8, orientation=6)
    (tmp_path / "val").mkdir()
    (tmp_path / "pairs").mkdir()
    return tmp_path


def run(world: Path, epochs: int = 1, lr_from: str = "maps", **changes: object) -> Result:
    sections = {
        "prepare": prepare_settings(**changes).model_dump(),
        "train_dsn": {"hr_patch": 32, "epochs": epochs},
        "train_srn": {"lr_patch": 16, "lr_from": lr_from},
    }
    (world / "params.yaml").write_text(json.dumps(sections))
    folders = [w for name in ("hr", "lr", "val", "pairs") for w in (f"--{name}", world / name)]
    files = ["--out", world / "out", "--metrics", world / "metrics.json"]
    files += ["--params", world / "params.yaml", "--work", world / "work"]
    return CliRunner().invoke(command, [str(word) for word in (*folders, *files)])


def test_all_small_images_are_named_before_any_is_decoded(world: Path) -> None:
    result = run(world)
    assert result.exit_code == 1
    *_, sentence = result.stderr.splitlines()
    assert sentence.startswith("Error: 4 images are smaller than the crops of the trainings")
    for name, size, side, needed in (
        ("hr/low.png", "63x80", 15, 16),
        ("hr/thin.png", "80x60", 15, 16),
        ("lr/low.png", "7x30", 7, 8),
        ("lr/narrow.png", "30x9", 7, 8),  # a quarter of its columns is held out: 9 - 9 // 4
    ):
        assert f"{world / name} ({size}) holds one of {side}, not {needed}" in sentence
    assert "prepare.least_side: 16 leaves them out" in sentence
    assert not (world / "out").exists()


def test_without_a_training_of_the_dsn_real_images_hold_no_crop(world: Path) -> None:
    sentence = run(world, epochs=0).stderr
    assert "Error: 2 images" in sentence and "lr/" not in sentence


def test_they_are_left_out(world: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("fits", "low", "narrow"):
        (world / "lr" / f"{name}.png").rename(world / "lr" / f"small-{name}.png")
    for number in range(2):
        save(world / "lr" / f"{number}.png", 16, 22)
    with caplog.at_level(logging.WARNING):
        result = run(world, least_side=16)
    assert result.exit_code == 0, result.output
    assert Store(world / "out" / "hr.zarr", "hr").ids == ["fits"]
    assert Store(world / "out" / "lr.zarr", "lr").ids == ["0", "1"]
    said = [record.getMessage() for record in caplog.records]
    assert [text.split(" images")[0] for text in said] == ["2", "4"]
    assert f"{world / 'hr' / 'low.png'} (63x80)" in said[0]
    assert "prepare.least_side, 16 LR pixels" in said[0]


def test_none_is_left(world: Path) -> None:
    result = run(world, least_side=17)
    assert result.exit_code == 1
    assert "Error: all 3 images are left out, as they hold no crop of" in result.stderr


def test_a_turned_image_has_its_upright_size(world: Path) -> None:
    """Its file has 10 rows and 8 columns: upright 8 rows and 10 columns, 8 of them seen."""
    assert image_size(world / "lr" / "turned.jpg") == (8, 10)
    assert "turned.jpg" not in run(world).stderr


def test_pairs_and_cleaned_images(world: Path) -> None:
    for side, size in (("hr", (60, 80)), ("lr", (15, 20))):
        save(world / "pairs" / side / "t.png", *size)
    sentence = run(world, epochs=0, lr_from="pairs").stderr
    assert "Error: 1 image is smaller" in sentence
    assert f"{world / 'pairs' / 'lr' / 't.png'} (15x20) holds one of 15, not 16" in sentence
    save(world / "lr" / "large.png", 128, 128)
    sentence = run(world, epochs=0, hr_from="lr").stderr
    assert "large.png" not in sentence
    assert f"{world / 'lr' / 'fits.png'} (8x10) holds one of 1, not 16" in sentence


def test_crops_of_a_params_file() -> None:
    dsn = {"hr_patch": 256, "epochs": 500}
    srn = {"lr_patch": 48, "lr_from": "maps"}
    assert crops_of({"train_dsn": dsn, "train_srn": srn}, 4) == Crops(64, 64, 0)
    assert crops_of({"train_dsn": dsn | {"epochs": 0}, "train_srn": srn}, 4) == Crops(48, 0, 0)
    assert crops_of({"train_dsn": dsn, "train_srn": srn}, 8) == Crops(48, 32, 0)
    pairs = {"lr_patch": 48, "lr_from": "pairs"}
    assert crops_of({"train_dsn": dsn, "train_srn": pairs}, 4) == Crops(64, 64, 48)
    assert crops_of({"prepare": {}}, 4) == Crops()
