"""The command ``usrdu camera``: all of its files, or none."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import names
from PIL import Image
from small_stores import write

from pipeline.base.errors import UserError
from pipeline.passport.passport import read_passport
from stages.cli import main

RNG_SIDE = 112


def picture(seed: int, side: int) -> np.ndarray:
    """Coloured squares of many sizes, with grain."""
    rng = np.random.default_rng(seed)
    image = np.zeros((3, side, side))
    for _ in range(200):
        half = int(2 / np.sqrt(rng.uniform(0.01, 1)))
        y, x = rng.integers(0, side, 2)
        image[:, max(y - half, 0) : y + half, max(x - half, 0) : x + half] = rng.uniform(
            40, 215, (3, 1, 1)
        )
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def piles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("piles")
    for kind, side in (("hr", RNG_SIDE), ("lr", 64)):
        images = {f"{kind}{n}": {"image": picture(n + side, side)} for n in range(2)}
        write(folder / f"{kind}.zarr", kind, images, 2)  # type: ignore[arg-type]
    (folder / "params.yaml").write_text("camera:\n  light: gamma\n  rounds: 1\n")
    return folder


def run(piles: Path, out: Path, *more: str, lr: str = "lr.zarr") -> Result:
    words = ["camera", "--hr", str(piles / "hr.zarr"), "--lr", str(piles / lr)]
    words += ["--out", str(out), "--metrics", str(out / "metrics.json")]
    return CliRunner().invoke(main, [*words, "--params", str(piles / "params.yaml"), *more])


def test_it_writes_a_passport_a_picture_and_metrics(piles: Path, tmp_path: Path) -> None:
    done = run(piles, tmp_path / "camera")
    assert done.exit_code == 0, done.output
    assert names(tmp_path / "camera") == ["camera.json", "camera.png", "metrics.json"]
    passport = read_passport(tmp_path / "camera" / "camera.json")
    metrics = json.loads((tmp_path / "camera" / "metrics.json").read_text())
    assert metrics["sharpening_amount"] == passport.sharpening.amount
    with Image.open(tmp_path / "camera" / "camera.png") as image:
        assert image.width > image.height
    for name in names(tmp_path / "camera"):
        assert f"wrote {tmp_path / 'camera' / name}" in done.output


def test_a_setting_is_changed_for_one_run(piles: Path, tmp_path: Path) -> None:
    assert run(piles, tmp_path, "--set", "camera.light=linear").exit_code == 0
    assert read_passport(tmp_path / "camera.json").light == "linear"
    refused = run(piles, tmp_path / "b", "--set", "camera.light=lamp")
    assert refused.exit_code == 1
    assert "camera.light" in refused.output


def test_a_missing_store_is_one_sentence(piles: Path, tmp_path: Path) -> None:
    refused = run(piles, tmp_path / "camera", lr="none.zarr")
    assert refused.exit_code == 1
    assert "none.zarr" in refused.output
    assert "Traceback" not in refused.output
    assert not (tmp_path / "camera" / "camera.json").exists()


@pytest.mark.parametrize(
    "broken", ["pipeline.camera.picture.draw_passport", "pipeline.passport.passport.write_passport"]
)
def test_nothing_half_written_is_left(
    piles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def full(path: Path, _: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(broken, full)
    (tmp_path / "camera.json").write_text("an older one")
    failed = run(piles, tmp_path)
    assert failed.exit_code == 1
    assert "No space left on device" in failed.output
    assert names(tmp_path) == ["camera.json"]
    assert (tmp_path / "camera.json").read_text() == "an older one"


def test_metrics_that_cannot_be_written_take_the_rest_with_them(
    piles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, _: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("stages.camera.write_json", full)
    assert run(piles, tmp_path).exit_code == 1
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_said_at_once(piles: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    refused = run(piles, tmp_path / "file" / "camera")
    assert refused.exit_code == 1
    assert "cannot be created" in refused.output


def test_piles_that_tell_nothing_give_a_passport_that_says_so(piles: Path, tmp_path: Path) -> None:
    """So a pipeline that needs no passport goes on; what needs one is refused."""
    write(piles / "small.zarr", "lr", {"a": {"image": picture(9, 24)}}, 2)
    done = run(piles, tmp_path / "camera", lr="small.zarr")
    assert done.exit_code == 0, done.output
    assert names(tmp_path / "camera") == ["camera.json", "camera.png", "metrics.json"]
    metrics = json.loads((tmp_path / "camera" / "metrics.json").read_text())
    assert "small.zarr: most images must have" in metrics["fault"]
    with pytest.raises(UserError, match="camera.json: nothing could be told of the camera: .*"):
        read_passport(tmp_path / "camera" / "camera.json")


def test_help_shows_an_example() -> None:
    shown = CliRunner().invoke(main, ["camera", "--help"])
    assert shown.exit_code == 0
    assert "Example: usrdu camera --hr data/prepare/hr.zarr" in shown.output
