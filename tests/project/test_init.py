"""``usrdu init``: what is chosen for somebody's images, and what becomes of the params file."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import picture
from PIL import Image
from safetensors.torch import save_file

from pipeline.base.params import load_yaml
from pipeline.project import plan, step_time
from pipeline.project.faults import faults_of_params
from pipeline.project.images import look_at
from pipeline.project.step_time import Measured
from pipeline.srn.file import open_model
from pipeline.srn.network import build, options_of
from pipeline.train_srn.settings import Architecture, TrainSrnSettings
from stages.tools.init import command

ROOT = Path(__file__).parents[2]
SMALL = {"num_feat": 8, "num_conv": 1}


def write_images(folder: Path, count: int, height: int, width: int) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(str(folder)))
    for number in range(count):
        image = picture(rng, height, width)
        Image.fromarray(np.moveaxis(image, 0, -1)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What of a clone the command needs, under git, with two folders of images beside it."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("dvc.yaml", "params.yaml", "cameras.yaml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "profiles", folder / "profiles")
    for name in ("no-pairs", "no-kernels", "weights"):
        (folder / "data/raw" / name).mkdir(parents=True)
    for words in (
        ["init", "--quiet"],
        ["add", "params.yaml"],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "-m", "start"],
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)
    write_images(folder / "data/raw/hr", 10, 128, 160)
    write_images(folder / "data/raw/lr", 8, 40, 48)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes two seconds, without being made, on a machine without a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def measured(network: Architecture, settings: TrainSrnSettings, scale: int) -> Measured:
        del network, scale
        return Measured(settings, 2.0, 5)

    monkeypatch.setattr(plan, "measure", measured)


def run(*words: str) -> Result:
    return CliRunner().invoke(command, ["data/raw/hr", "data/raw/lr", *words])


def start_model(folder: Path, scale: int = 4) -> Path:
    path = folder / "start.safetensors"
    save_file(build("Compact", scale, SMALL).state_dict(), path)
    return path


def test_two_folders_and_a_model(clone: Path, tmp_path: Path) -> None:
    """The steps are really made; every line keeps its comment, and no stage would refuse it."""
    start = start_model(tmp_path)
    before = (clone / "params.yaml").read_text()
    done = run("--start", str(start), "--minutes", "0.0001")
    assert done.exit_code == 0, done.output
    content: Any = load_yaml(clone / "params.yaml")
    assert content["profile"] == "adapt"
    assert content["folders"] == {
        "hr": "data/raw/hr", "lr": "data/raw/lr", "val": "data/raw/no-pairs",
        "pairs": "data/raw/no-pairs", "kernels": "data/raw/no-kernels",
        "weights": "data/raw/weights",
    }  # fmt: skip
    file = "data/raw/weights/start.safetensors"
    network = {"network": "Compact", "options": SMALL, "warm_start": file, "train": True}
    assert content["architectures"] == {"adapted": network}
    assert (clone / file).read_bytes() == start.read_bytes()
    settings = TrainSrnSettings.model_validate(content["train_srn"])
    assert (settings.steps, settings.spectrum_weight, settings.lr_patch) == (1, 0.5, 32)
    assert faults_of_params(clone / "params.yaml") == []
    comments = [
        line.partition(" # ")[2] for line in before.partition("architectures:")[0].split("\n")
    ]
    text = (clone / "params.yaml").read_text()
    assert [
        line.partition(" # ")[2] for line in text.partition("architectures:")[0].split("\n")
    ] == comments
    for words in (
        "10 images in data/raw/hr (10 .png)",
        "train_srn@adapted",
        "next: uv run dvc repro",
    ):
        assert words in done.output


def test_small_networks_without_a_model_and_a_gpu(clone: Path, quick: None) -> None:
    del quick
    done = run("--minutes", "60")
    assert done.exit_code == 0, done.output
    content: Any = load_yaml(clone / "params.yaml")
    expected: Any = load_yaml(ROOT / "params.yaml")
    expected["folders"] |= {"hr": "data/raw/hr", "lr": "data/raw/lr", "val": "data/raw/no-pairs"}
    expected["camera"]["light"] = "linear"
    expected["train_srn"]["steps"] = 900  # of two networks, two seconds each, in an hour
    assert content == expected
    assert "900 steps of 2.00 s" in done.output
    assert "30 min" in done.output
    assert "data/raw/lr: " not in done.output  # there is nothing odd about eight images


def test_pairs_say_the_scale_and_the_start_is_scored_too(
    clone: Path, quick: None, tmp_path: Path
) -> None:
    del quick
    write_images(tmp_path / "val/hr", 2, 64, 65)
    write_images(tmp_path / "val/lr", 2, 32, 32)
    done = run("--val", str(tmp_path / "val"), "--start", str(start_model(tmp_path, 2)))
    assert done.exit_code == 0, done.output
    content: Any = load_yaml(clone / "params.yaml")
    assert content["prepare"]["scale"] == 2
    assert content["folders"]["val"] == str(tmp_path / "val")  # it is not in the clone
    assert {name: one["train"] for name, one in content["architectures"].items()} == {
        "adapted": True, "untouched": False,
    }  # fmt: skip
    refused = run("--val", str(tmp_path / "val"), "--scale", "3", "--overwrite")
    assert refused.exit_code == 1
    assert "the scale is told in different ways: 3 by --scale, 2 by the pairs" in refused.output


@pytest.mark.parametrize(
    ("lr", "words", "said"),
    [
        ((30, 30), [], "HR must be 2, 3 or 4 times LR"),
        ((96, 96), [], "--scale must say by how much the lenses differ"),
        ((96, 96), ["--scale", "2"], ""),
    ],
)
def test_pairs_of_other_sizes(
    clone: Path, quick: None, lr: tuple[int, int], words: list[str], said: str
) -> None:
    del quick
    write_images(clone / "val/hr", 1, 96, 96)
    write_images(clone / "val/lr", 1, *lr)
    done = run("--val", "val", *words)
    assert said in done.output
    assert done.exit_code == (1 if said else 0)
    if not said:
        content: Any = load_yaml(clone / "params.yaml")
        prepare = content["prepare"]
        assert (prepare["scale"], prepare["lr_size"]) == (2, "enlarged")


def test_images_smaller_than_the_crops(clone: Path, quick: None) -> None:
    """Nine of ten HR images must hold a crop; the tenth is left out."""
    del quick
    shutil.rmtree(clone / "data/raw/hr")
    write_images(clone / "data/raw/hr", 18, 52, 90)
    write_images(clone / "small", 1, 40, 90)
    shutil.move(clone / "small/0.png", clone / "data/raw/hr/small.png")
    done = run()
    assert done.exit_code == 0, done.output
    content: Any = load_yaml(clone / "params.yaml")
    assert content["train_srn"]["lr_patch"] == 12  # 52 // 4 is 13
    assert content["prepare"]["least_side"] == 12
    assert "1 of 19 HR images hold no crop" in done.output


def test_what_is_odd_about_folders_is_said(clone: Path, quick: None) -> None:
    del quick
    (clone / "data/raw/hr/notes.txt").write_text("x")
    (clone / "data/raw/hr/1.png").write_bytes(b"damaged")
    shutil.rmtree(clone / "data/raw/lr")
    write_images(clone / "data/raw/lr", 3, 256, 256)
    done = run()
    assert done.exit_code == 0, done.output
    for words in (
        "note: data/raw/hr: 1 files cannot be read: 1.png",
        "note: data/raw/hr: one file passed over (.txt)",
        "note: data/raw/lr: 3 images are few",
        "note: the LR images are larger (0.066 megapixels) than the HR images (0.02)",
    ):
        assert words in done.output


def test_an_edited_file_is_not_overwritten(clone: Path, quick: None) -> None:
    del quick
    path = clone / "params.yaml"
    edited = path.read_text().replace("seed: 0 ", "seed: 5 ").replace("rounds: 5", "rounds: 7")
    path.write_text(edited)
    refused = run()
    assert refused.exit_code == 1
    assert path.read_text() == edited
    assert "-  hr: data/raw/demo/hr         # sharp photographs" in refused.output
    assert "+  hr: data/raw/hr              # sharp photographs" in refused.output
    assert "has changes that git has not; --overwrite" in refused.output
    assert run("--overwrite").exit_code == 0
    content: Any = load_yaml(path)
    assert content["folders"]["hr"] == "data/raw/hr"
    assert run().exit_code == 0  # nothing would change


def test_what_is_no_clone_and_what_are_no_images(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clone / "empty").mkdir()
    done = CliRunner().invoke(command, ["empty", "data/raw/lr"])
    assert (done.exit_code, "empty: holds no image" in done.output) == (1, True)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command, ["clone/data/raw/hr", "clone/data/raw/lr"])
    assert done.exit_code == 1
    assert "run usrdu init in a clone of the project" in done.output


def test_another_model_of_the_name_is_kept(clone: Path, quick: None, tmp_path: Path) -> None:
    del quick
    (clone / "data/raw/weights/start.safetensors").write_bytes(b"another")
    done = run("--start", str(start_model(tmp_path)))
    assert done.exit_code == 1
    assert "is another model of this name" in done.output
    assert load_yaml(clone / "params.yaml")["profile"] == "demo"


def test_a_batch_that_does_not_fit_is_taken_in_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """With memory for three crops, 9 crops in one share become 3 shares of 3."""

    def seconds(network: Architecture, settings: TrainSrnSettings, scale: int) -> tuple[float, int]:
        del network, scale
        if settings.batch_size > 3:
            raise torch.OutOfMemoryError("full")
        return 0.5, 4

    monkeypatch.setattr(step_time, "_seconds", seconds)
    settings = TrainSrnSettings(batch_size=9)
    found = step_time.measure(Architecture(network="Compact"), settings, 4)
    assert (found.settings.batch_size, found.settings.accumulate) == (3, 3)
    assert found.settings.model_copy(update={"batch_size": 9, "accumulate": 1}) == settings


def test_options_of_a_file_build_its_network(tmp_path: Path) -> None:
    model = open_model(start_model(tmp_path, 2))
    assert options_of(model) == SMALL
    again = build("Compact", 2, options_of(model))
    again.load_state_dict(model.model.state_dict())
    image = torch.rand(1, 3, 12, 12)
    torch.testing.assert_close(again.eval()(image), model.model(image))


def test_the_look_at_a_folder(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "a", 2, 20, 30)
    write_images(tmp_path / "b", 1, 40, 30)
    shutil.copy(tmp_path / "b/0.png", folder / "tall.png")
    pile = look_at(folder)
    assert (pile.kinds, pile.extent, pile.megapixels) == ("3 .png", "30x20 to 30x40", 0.0006)
    assert pile.seconds > 0
