"""Profiles: what is pinned in them, and how they get into a params file."""

import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from conftest import (
    MACHINE,
    PLENTY,
    World,
    calibration,
    compact,
)

from pipeline.base.errors import UserError
from pipeline.base.settings import load_lines, load_section, load_yaml
from pipeline.evaluate.evaluate import EvaluateSettings
from pipeline.tools.profiles import changes, find_profile, in_force, take
from pipeline.train_dsn.settings import TrainDsnSettings
from pipeline.train_dsn.train import DsnMaterial, DsnTrainer
from pipeline.train_srn.settings import Architecture, TrainSrnSettings
from pipeline.train_srn.train import SrnMaterial, SrnTrainer, open_stream
from pipeline.training.learner import make_accelerator
from pipeline.training.vgg import VGG19Features
from stages.tools.params import command

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "profiles"
NAMES = ["calibrated", "demo", "official", "paper"]

PAPER = {
    "train_dsn.blocks": 8, "train_dsn.hr_patch": 256, "train_dsn.batch_size": 16,
    "train_dsn.epochs": 500, "train_dsn.learning_rate": 1e-4, "train_dsn.halve_every": 100,
    "train_dsn.content": "full_band", "train_dsn.kl_weight": 1,
    "train_dsn.perceptual_weight": 0.01, "train_dsn.adversarial_weight": 0.01,
    "train_srn.lr_patch": 64, "train_srn.batch_size": 16, "train_srn.epochs": 1000,
    "train_srn.learning_rate": 1e-4, "train_srn.content_weight": 0.01,
    "train_srn.perceptual_weight": 1, "train_srn.adversarial_weight": 0.005,
    "train_srn.gradient_norm": "l2", "train_srn.theta": "raw", "train_srn.low_pass_weight": 0,
    "architectures.esrgan.options.num_filters": 64,
    "architectures.esrgan.options.num_blocks": 23,
}  # fmt: skip
"""What Sec. 3 states, and the sizes of ESRGAN's network."""
OFFICIAL = {
    "train_dsn.features": 64, "train_dsn.learning_rate": 5e-5, "train_dsn.halve_every": 250,
    "train_dsn.content": "low_pass", "train_dsn.prior_scale": 1,
    "train_srn.batch_size": 6, "train_srn.learning_rate": 5e-5,
    "train_srn.adam_betas": [0.9, 0.99], "train_srn.ema_decay": 0, "train_srn.content_weight": 1,
    "train_srn.low_pass_weight": 1, "train_srn.perceptual_weight": 1,
    "train_srn.adversarial_weight": 0.1, "train_srn.gradient_norm": "l1",
    "train_srn.discriminator": "unet", "train_srn.theta": "raw",
    "architectures.esrgan.warm_start": "data/raw/weights/RRDB_PSNR_x4.pth",
}  # fmt: skip
"""What is known of the released code."""
CALIBRATED = {**PAPER, "train_srn.theta": "calibrated", "train_dsn.adversarial_on": "sample"}


def values(name: str) -> dict[str, object]:
    return {line.key: line.value for line in load_lines(PROFILES / f"{name}.yaml")}


def test_these_are_the_profiles() -> None:
    assert sorted(path.stem for path in PROFILES.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_is_complete_and_every_line_is_explained(name: str) -> None:
    path = PROFILES / f"{name}.yaml"
    load_section(path, "train_dsn", TrainDsnSettings)
    load_section(path, "train_srn", TrainSrnSettings)
    content = load_yaml(path)
    load_section(path, "evaluate", EvaluateSettings)
    assert list(content) == ["train_dsn", "train_srn", "architectures", "evaluate"]
    assert isinstance(content["architectures"], dict)
    for architecture in content["architectures"]:
        load_section(path, f"architectures.{architecture}", Architecture)
    for line in load_lines(path):
        assert line.comment or line.key.startswith("architectures") or line.key.endswith("seed")


@pytest.mark.parametrize(
    ("name", "pinned"), [("paper", PAPER), ("official", OFFICIAL), ("calibrated", CALIBRATED)]
)
def test_what_is_published_is_pinned(name: str, pinned: dict[str, object]) -> None:
    found = values(name)
    assert {key: found[key] for key in pinned} == pinned


def test_the_official_length_is_100_000_steps_on_track_1() -> None:
    official = values("official")
    crops = [official[f"train_srn.{key}"] for key in ("epochs", "crops_per_image", "batch_size")]
    epochs, per_image, batch = (int(str(number)) for number in crops)
    assert 800 * epochs * per_image / batch == 100_000


def test_the_params_file_comes_with_the_demo() -> None:
    """Whoever changed it on purpose sees here what differs."""
    assert load_yaml(ROOT / "params.yaml")["profile"] == "demo"
    assert changes(ROOT / "params.yaml", PROFILES) == []


SMALL_DSN = {
    "features": 4, "blocks": 1, "discriminator_features": 2, "hr_patch": 64, "batch_size": 2,
    "perceptual_weights": "random", "compile": False,
}  # fmt: skip
SMALL_SRN = {
    "lr_patch": 16, "batch_size": 2, "discriminator_features": 2, "perceptual_weights": "random",
    "compile": False,
}  # fmt: skip


@pytest.mark.parametrize("name", ["calibrated", "official", "paper"])
def test_both_trainings_of_a_profile_run(
    name: str, tiny: World, vgg: VGG19Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of each in smaller sizes: all terms of the profile's losses are there, and finite."""
    for module in ("pipeline.train_dsn.train", "pipeline.train_srn.train"):
        monkeypatch.setattr(f"{module}.VGG19Features", lambda _: vgg)
    path = PROFILES / f"{name}.yaml"
    dsn = load_section(path, "train_dsn", TrainDsnSettings).model_copy(update=SMALL_DSN)
    terms = DsnTrainer(DsnMaterial(tiny.hr, tiny.lr), dsn, MACHINE).step(0)
    assert terms.keys() >= {"kl", "kl_perceptual", "adversarial", "discriminator"}
    srn = load_section(path, "train_srn", TrainSrnSettings).model_copy(update=SMALL_SRN)
    cpu = make_accelerator(srn)
    stream = open_stream(
        SrnMaterial(tiny.hr, tiny.maps, calibration(tiny.maps)), srn, srn.demand(cpu, PLENTY)
    )
    losses = SrnTrainer(stream, compact(), srn, cpu).step(0)
    low = {"low_pass"} if name == "official" else set()
    expected = {"content", "perceptual", "adversarial", "discriminator", "total"} | low
    assert losses.keys() == expected
    assert all(torch.isfinite(value) for value in (*terms.values(), *losses.values()))


# --- taking one


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """A copy of the params file, with folders and a camera of the user's own."""
    text = (ROOT / "params.yaml").read_text()
    text = text.replace("hr: data/raw/demo/hr", "hr: data/raw/mine").replace("phone", "jpeg")
    (tmp_path / "params.yaml").write_text(text)
    return tmp_path / "params.yaml"


def call(params: Path, *words: str) -> Result:
    options = ["--params", str(params), "--profiles", str(PROFILES)]
    return CliRunner().invoke(command, [words[0], *options, *words[1:]])


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_replaces_its_sections_and_nothing_else(name: str, params: Path) -> None:
    before = load_yaml(params)
    take(params, PROFILES / f"{name}.yaml")
    after, profile = load_yaml(params), load_yaml(PROFILES / f"{name}.yaml")
    assert list(after) == list(before)
    for section, content in after.items():
        expected = {"profile": name}.get(section, profile.get(section, before[section]))
        assert content == expected, section
    assert after["folders"] == before["folders"] != load_yaml(ROOT / "params.yaml")["folders"]
    assert changes(params, PROFILES) == []


def test_there_and_back_gives_the_same_file(params: Path) -> None:
    before = params.read_bytes()
    take(params, PROFILES / "paper.yaml")
    paper = params.read_bytes()
    take(params, PROFILES / "official.yaml")
    take(params, PROFILES / "paper.yaml")
    assert params.read_bytes() == paper != before
    take(params, PROFILES / "demo.yaml")
    assert params.read_bytes() == before
    assert [path.name for path in params.parent.iterdir()] == ["params.yaml"]


def test_comments_come_along(params: Path) -> None:
    take(params, PROFILES / "official.yaml")
    found = {line.key: line.comment for line in load_lines(params)}
    assert found["train_srn.gradient_norm"] == "|dx| + |dy|"
    assert found["folders.val"].startswith("pairs in hr/ and lr/")


def test_changes_are_named_and_kept_unless_forced(params: Path) -> None:
    text = params.read_text().replace("epochs: 65 ", "epochs: 7 ")
    more = "  mine:\n    network: SPAN\n    options: {}\n    warm_start: null\n    train: true\n"
    text = text.replace("\n\nevaluate:", "\n" + more + "\nevaluate:")
    params.write_text(text)
    own = [f"architectures.mine.{key}" for key in ("network", "options", "train", "warm_start")]
    assert changes(params, PROFILES) == [*own, "train_dsn.epochs"]
    refused = call(params, "use", "paper")
    assert refused.exit_code == 1 and params.read_text() == text
    assert "train_dsn.epochs differ from its profile; --force drops that" in refused.output
    assert call(params, "use", "paper", "--force").exit_code == 0
    assert changes(params, PROFILES) == []


# --- showing what is in force


def test_every_value_has_its_source(params: Path) -> None:
    params.write_text(params.read_text().replace("epochs: 65 ", "epochs: 7 "))
    shown = {value.key: value for value in in_force(params, PROFILES)}
    assert shown.keys() == {line.key for line in load_lines(params)}
    assert shown["train_dsn.epochs"][1:] == (7, "params.yaml, profile demo has 65", "paper: 500")
    assert shown["train_dsn.blocks"][1:] == (4, "profile demo", "paper: 8 (Sec. 3.1)")
    assert shown["folders.hr"][1:] == ("data/raw/mine", "params.yaml", "sharp photographs")


def test_show(params: Path) -> None:
    everything = call(params, "show").output.splitlines()
    assert len(everything) == len(load_lines(params))
    section = call(params, "show", "train_srn").output.splitlines()
    assert section and all(line.startswith("train_srn.") for line in section)
    assert {" ".join(line.split()) for line in section} <= {
        " ".join(line.split()) for line in everything
    }
    assert call(params, "show", "--changed").output == ""
    params.write_text(params.read_text().replace("epochs: 65 ", "epochs: 7 "))
    (line,) = call(params, "show", "--changed").output.splitlines()
    assert line == "train_dsn.epochs: 7  [params.yaml, profile demo has 65]  paper: 500"


# --- mistakes


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["use", "papers"], ["has no profile 'papers'", "calibrated, demo, official, paper"]),
        (["show", "train"], ["has no section 'train'", "train_dsn"]),
    ],
)
def test_unknown_names(words: list[str], parts: list[str], params: Path) -> None:
    result = call(params, *words)
    assert result.exit_code == 1
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    for part in parts:
        assert part in line


def test_a_params_file_that_is_not_one(params: Path, tmp_path: Path) -> None:
    text = params.read_text()
    params.write_text(text.replace("profile: demo", "other: demo"))
    with pytest.raises(UserError, match="the line 'profile: NAME' is missing"):
        take(params, PROFILES / "paper.yaml")
    params.write_text(text.replace("architectures:", "networks:"))
    with pytest.raises(UserError, match="has no section 'architectures'"):
        take(params, PROFILES / "paper.yaml")
    (tmp_path / "broken.yaml").write_text("train_dsn: [")
    with pytest.raises(UserError, match=r"broken\.yaml: is not valid YAML"):
        take(params, tmp_path / "broken.yaml")
    assert params.read_text() == text.replace("architectures:", "networks:")


def test_profiles_of_another_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are: none"):
        find_profile(tmp_path, "paper")
    shutil.copy(PROFILES / "paper.yaml", tmp_path / "mine.yaml")
    assert find_profile(tmp_path, "mine") == tmp_path / "mine.yaml"
