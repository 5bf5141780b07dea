"""Profiles: what is pinned in them, and how they get into a params file."""

import json
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
from doubles import plain_passport

from pipeline.base.errors import UserError
from pipeline.base.params import load_lines, load_yaml, with_values
from pipeline.base.settings import load_section
from pipeline.passport.passport import write_passport
from pipeline.srn.network import build
from pipeline.tools.profiles import (
    KINDS,
    Profile,
    changes,
    find_profile,
    in_force,
    load_network,
    load_profile,
    take,
)
from pipeline.train_dsn.settings import TrainDsnSettings
from pipeline.train_dsn.train import DsnMaterial, DsnTrainer
from pipeline.train_srn.settings import Architecture, TrainSrnSettings
from pipeline.train_srn.train import SrnMaterial, SrnTrainer, open_stream
from pipeline.training.learner import make_accelerator
from pipeline.training.vgg import VGG19Features
from stages.tools.params import command

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "profiles"
NAMES = ["adapt", "camera", "demo", "official", "paper"]
GOLDEN = ROOT / "tests/golden"

PAPER = {
    "train_dsn.blocks": 8, "train_dsn.hr_patch": 256, "train_dsn.batch_size": 16,
    "train_dsn.epochs": 500, "train_dsn.learning_rate": 1e-4, "train_dsn.halve_every": 100,
    "train_dsn.content": "full_band", "train_dsn.kl_weight": 100,
    "train_dsn.perceptual_weight": 1, "train_dsn.adversarial_weight": 1,
    "train_dsn.epoch_over": "hr", "train_dsn.turn_crops": True,
    "train_dsn.discriminator_first": False, "train_dsn.borders": "valid",
    "train_srn.borders": "valid",
    "train_srn.lr_patch": 64, "train_srn.batch_size": 16, "train_srn.epochs": 1000,
    "train_srn.learning_rate": 1e-4, "train_srn.content_weight": 0.01,
    "train_srn.perceptual_weight": 1, "train_srn.adversarial_weight": 0.005,
    "train_srn.gradient_norm": "l2", "train_srn.theta": "raw", "train_srn.low_pass_weight": 0,
    "architectures.esrgan.options.num_filters": 64,
    "architectures.esrgan.options.num_blocks": 23,
}  # fmt: skip
"""What Sec. 3 states, and the sizes of ESRGAN's network; the weights of Eq. 7 have its ratio."""
OFFICIAL = {
    "train_dsn.features": 64, "train_dsn.learning_rate": 5e-5, "train_dsn.halve_every": 250,
    "train_dsn.content": "low_pass", "train_dsn.prior_scale_gray": 1,
    "train_dsn.kl_weight": 100, "train_dsn.perceptual_weight": 1,
    "train_dsn.adversarial_weight": 1, "train_dsn.adam_betas": [0.9, 0.999],
    "train_dsn.batch_size": 16, "train_dsn.hr_patch": 256, "train_dsn.epochs": 500,
    "train_dsn.seed": 0, "train_dsn.epoch_over": "lr", "train_dsn.crops_per_image": 1,
    "train_dsn.turn_crops": False, "train_dsn.discriminator_first": True,
    "train_dsn.borders": "zeros", "train_srn.borders": "zeros",
    "train_srn.batch_size": 6, "train_srn.learning_rate": 5e-5,
    "train_srn.adam_betas": [0.9, 0.99], "train_srn.ema_decay": 0, "train_srn.content_weight": 1,
    "train_srn.low_pass_weight": 1, "train_srn.perceptual_weight": 1,
    "train_srn.adversarial_weight": 0.1, "train_srn.gradient_norm": "l1",
    "train_srn.discriminator": "unet", "train_srn.theta": "raw",
    "architectures.esrgan.warm_start": "data/raw/weights/RRDB_PSNR_x4.pth",
}  # fmt: skip
"""What is known of the released code."""
CAMERA = {
    **{key: value for key, value in PAPER.items() if not key.startswith("train_dsn")},
    "camera.light": "linear", "train_dsn.epochs": 0, "train_dsn.reference": "camera",
    "train_dsn.prior_scale_gray": "camera", "train_dsn.perceptual_weight": 0,
    "train_srn.theta": "camera",
}  # fmt: skip


def profile(name: str) -> Profile:
    return load_profile(find_profile(PROFILES, name))


def values(name: str) -> dict[str, object]:
    return profile(name).values()


def test_these_are_the_profiles() -> None:
    assert sorted(path.stem for path in PROFILES.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_is_valid_and_every_line_has_its_source(name: str) -> None:
    found = profile(name)
    for section, kind in KINDS.items():
        found.settings(section, kind)
    content = load_yaml(found.network_file)["architectures"]
    assert isinstance(content, dict) and content
    for architecture in content:
        load_network(found, architecture)
    for key, stated in found.stated.items():
        assert stated.source or key.startswith("architectures"), key


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_says_only_what_differs(name: str) -> None:
    """From the defaults, or from the profile it goes on from; so a new knob is in none of them."""
    path = PROFILES / f"{name}.yaml"
    base = load_yaml(path).get("from")
    before = (
        values(base)
        if isinstance(base, str)
        else {
            f"{section}.{key}": value
            for section, kind in KINDS.items()
            for key, value in kind().model_dump(mode="json").items()
        }
    )
    for line in load_lines(path):
        if line.key != "from" and not line.key.startswith("architectures"):
            assert line.value != before[line.key], line.key


@pytest.mark.parametrize(
    ("name", "pinned"), [("paper", PAPER), ("official", OFFICIAL), ("camera", CAMERA)]
)
def test_what_is_published_is_pinned(name: str, pinned: dict[str, object]) -> None:
    found = values(name)
    assert {key: found[key] for key in pinned} == pinned


@pytest.mark.parametrize("name", ["paper", "official"])
def test_the_published_profiles_are_as_they_were(name: str) -> None:
    """Key by key, as before the defaults were those of the camera; a later knob may be added."""
    before = json.loads((GOLDEN / f"profile_{name}.json").read_text())
    found = values(name)
    assert {key: found.get(key) for key in before} == before
    networks = [{key for key in each if key.startswith("arch")} for each in (before, found)]
    assert networks[0] == networks[1]


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


@pytest.mark.parametrize("name", ["camera", "official", "paper"])
def test_both_trainings_of_a_profile_run(
    name: str, tiny: World, vgg: VGG19Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of each in smaller sizes: all terms of the profile's losses are there, and finite."""
    for module in ("pipeline.train_dsn.train", "pipeline.train_srn.train"):
        monkeypatch.setattr(f"{module}.VGG19Features", lambda _: vgg)
    found = profile(name)
    passport = plain_passport()
    write_passport(tmp_path / "camera.json", passport)
    material = DsnMaterial(tiny.hr, tiny.lr, camera=tmp_path / "camera.json")
    dsn = found.settings("train_dsn", TrainDsnSettings).model_copy(update=SMALL_DSN)
    terms = DsnTrainer(material, dsn, MACHINE).step(0)
    of_features = set() if name == "camera" else {"kl_perceptual"}
    assert terms.keys() >= {"kl", "adversarial", "discriminator"} | of_features
    srn = found.settings("train_srn", TrainSrnSettings).model_copy(update=SMALL_SRN)
    cpu = make_accelerator()
    given = SrnMaterial(tiny.hr, tiny.maps, calibration(tiny.maps), camera=passport)
    stream = open_stream(given, srn, srn.demand(cpu, PLENTY))
    losses = SrnTrainer(stream, compact(), srn, cpu).step(0)
    low = {"low_pass"} if name == "official" else set()
    expected = {"content", "perceptual", "adversarial", "discriminator", "total"} | low
    assert losses.keys() == expected
    assert all(torch.isfinite(value) for value in (*terms.values(), *losses.values()))


def test_adapt_begins_with_the_public_model(tiny: World, tmp_path: Path) -> None:
    """On the camera's noise, with the spectrum in the loss; without its file, in one sentence."""
    found = profile("adapt")
    assert found.settings("train_dsn", TrainDsnSettings).epochs == 0
    srn = found.settings("train_srn", TrainSrnSettings)
    assert srn.camera
    given = load_network(found, "general")
    srn = srn.model_copy(update={"lr_patch": 16, "batch_size": 2})
    cpu = make_accelerator()
    material = SrnMaterial(tiny.hr, tiny.maps, camera=plain_passport())

    def trainer(network: Architecture) -> SrnTrainer:
        return SrnTrainer(open_stream(material, srn, srn.demand(cpu, PLENTY)), network, srn, cpu)

    fault = r"^data/raw/weights/realesr-general-x4v3\.pth: there is no such model file$"
    with pytest.raises(UserError, match=fault):
        trainer(given)
    start = build(given.network, 4, given.options).state_dict()
    torch.save({"params": start}, tmp_path / "public.pth")
    adapted = trainer(given.model_copy(update={"warm_start": str(tmp_path / "public.pth")}))
    assert all(
        torch.equal(value, start[key]) for key, value in adapted.network.state_dict().items()
    )
    terms = adapted.step(0)
    assert terms.keys() == {"content", "spectrum", "total"}
    assert all(torch.isfinite(value) for value in terms.values())
    moved = [
        (value - start[key]).abs().max() for key, value in adapted.ema.module.state_dict().items()
    ]
    assert 0 < max(moved) < 2 * srn.learning_rate  # Adam's first step


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
def test_a_profile_changes_its_sections_and_nothing_else(name: str, params: Path) -> None:
    before = load_yaml(params)
    take(params, profile(name))
    after, found = load_yaml(params), profile(name)
    assert list(after) == list(before)
    for section, content in after.items():
        if section in KINDS:
            kind = KINDS[section]
            assert load_section(params, section, kind) == found.settings(section, kind)
            old = before[section]
            assert (
                isinstance(content, dict) and isinstance(old, dict) and list(content) == list(old)
            )
        elif section == "architectures":
            assert content == load_yaml(found.network_file)[section]
        else:
            assert content == {"profile": name}.get(section, before[section]), section
    assert after["folders"] == before["folders"] != load_yaml(ROOT / "params.yaml")["folders"]
    assert changes(params, PROFILES) == []


def test_there_and_back_gives_the_same_file(params: Path) -> None:
    before = params.read_bytes()
    take(params, profile("paper"))
    paper = params.read_bytes()
    take(params, profile("official"))
    take(params, profile("paper"))
    assert params.read_bytes() == paper != before
    take(params, profile("demo"))
    assert params.read_bytes() == before
    assert [path.name for path in params.parent.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize("name", NAMES)
def test_comments_stay(name: str, params: Path) -> None:
    """They say unit and meaning; own ones too.  Comments begin in one column where they can."""
    text = params.read_text().replace("# Eq. 4;", "# mine, Eq. 4;")
    params.write_text(text)
    before = {line.key: line.comment for line in load_lines(params)}
    take(params, profile(name))
    for line in load_lines(params):
        if line.key.split(".")[0] != "architectures":
            assert line.comment == before[line.key]
    assert before["train_dsn.learn_sigma"].startswith("mine, Eq. 4")
    for row in params.read_text().splitlines():
        value, mark, _ = row.partition(" # ")
        assert not mark or len(value) == 30 or len(value.rstrip()) > 27 or row in text, row


def test_every_kind_of_value_is_written_as_it_is_read(tmp_path: Path) -> None:
    path, old = tmp_path / "params.yaml", "a:\n" + "".join(f"  k{i}: x  # c\n" for i in range(12))
    wanted = [
        0.00005, 1e-12, 1.0, 3, True, None, "no", "imagenet", "data/raw/a b.pth", "", [0.9, "y"],
        ["no", "usrdu"],
    ]  # fmt: skip
    path.write_text(with_values(old, {f"a.k{i}": value for i, value in enumerate(wanted)}))
    lines = load_lines(path)
    assert [line.value for line in lines] == wanted
    for line, value in zip(lines, wanted, strict=True):
        assert isinstance(line.value, type(value))
    assert {line.comment for line in lines} == {"c"}


def test_changes_are_named_and_kept_unless_forced(params: Path) -> None:
    text = params.read_text().replace("epochs: 0 ", "epochs: 7 ")
    more = "  mine:\n    network: SPAN\n    options: {}\n    warm_start: null\n    train: true\n"
    text = text.replace("\n\nevaluate:", "\n" + more + "\nevaluate:")
    params.write_text(text)
    own = [f"architectures.mine.{key}" for key in ("network", "options", "train", "warm_start")]
    assert changes(params, PROFILES) == [*own, "train_dsn.epochs"]
    refused = call(params, "use", "paper")
    assert refused.exit_code == 1 and params.read_text() == text
    assert "train_dsn.epochs differ from its profile; --force drops these changes" in refused.output
    assert call(params, "use", "paper", "--force").exit_code == 0
    assert changes(params, PROFILES) == []


# --- showing what is in force


def test_every_value_has_its_source(params: Path) -> None:
    params.write_text(params.read_text().replace("epochs: 0 ", "epochs: 7 "))
    shown = {value.key: value for value in in_force(params, PROFILES)}
    assert shown.keys() == {line.key for line in load_lines(params)}
    comment = "none: mean and theta straight from the passport; paper: 500"
    assert shown["train_dsn.epochs"][1:] == (7, "params.yaml, default has 0", comment)
    assert shown["train_dsn.blocks"][1:] == (4, "default", "paper: 8 (Sec. 3.1)")
    assert shown["architectures.compact.network"].source == "profile demo"
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
    params.write_text(params.read_text().replace("epochs: 0 ", "epochs: 7 "))
    (line,) = call(params, "show", "--changed").output.splitlines()
    comment = "none: mean and theta straight from the passport; paper: 500"
    assert line == f"train_dsn.epochs: 7  [params.yaml, default has 0]  {comment}"


def test_show_says_what_a_profile_says_of_its_values(params: Path) -> None:
    take(params, profile("camera"))
    params.write_text(params.read_text().replace("  theta: camera", "  theta: none"))
    shown = {value.key: value.source for value in in_force(params, PROFILES)}
    assert shown["train_dsn.blocks"] == "profile paper: Sec. 3.1"
    assert shown["train_dsn.epochs"].startswith("profile camera: ours")
    assert shown["train_dsn.learn_theta"] == "default"
    assert shown["train_srn.theta"] == "params.yaml, profile camera has camera"
    assert shown["architectures.esrgan.options.num_blocks"].startswith("profile paper: ESRGAN")
    assert shown["prepare.scale"] == "params.yaml"
    text = params.read_text().replace("  esrgan:", "  mine:").replace("  seed: 0\n", "  sed: 0\n")
    params.write_text(text)
    shown = {value.key: value.source for value in in_force(params, PROFILES)}
    for key in ("architectures.mine.train", "train_dsn.sed"):
        assert shown[key] == "params.yaml, not in profile camera"


# --- mistakes


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["use", "papers"], ["has no profile 'papers'", "adapt, camera, demo, official, paper"]),
        (["show", "train"], ["has no section 'train'", "train_dsn"]),
    ],
)
def test_unknown_names(words: list[str], parts: list[str], params: Path) -> None:
    result = call(params, *words)
    assert result.exit_code == 1
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    for part in parts:
        assert part in line


def test_a_params_file_that_is_not_one(params: Path) -> None:
    text, paper = params.read_text(), profile("paper")
    for old, new, fault in (
        ("profile: demo", "other: demo", "the line 'profile: NAME' is missing"),
        ("architectures:", "networks:", "has no section 'architectures'"),
        ("  epochs: 0 ", "  # ", r"train_dsn\.epochs: .* must have a line of its own"),
        (
            "  epochs: 0 ",
            "  epoch: 65 ",
            r"train_dsn\.epoch, train_dsn\.epochs: .* every line must be a setting",
        ),
        ("[0.9, 0.999] ", "[0.9,\n    0.99] ", "train_srn.adam_betas"),
        ("  epochs: 0 ", "  epochs: 0\n  epochs: 66 ", "is not valid YAML"),
    ):
        broken = text.replace(old, new)
        params.write_text(broken)
        with pytest.raises(UserError, match=fault) as caught:
            take(params, paper)
        assert str(caught.value).startswith(f"{params}: ") and "\n" not in str(caught.value)
        assert params.read_text() == broken
        assert [path.name for path in params.parent.iterdir()] == ["params.yaml"]


def test_a_value_that_is_the_default_needs_no_line(params: Path) -> None:
    """As in a params file from before there was the setting."""
    text = "".join(
        row for row in params.read_text().splitlines(True) if "  learn_theta: true" not in row
    )
    params.write_text(text)
    assert changes(params, PROFILES) == []
    take(params, profile("paper"))
    assert load_section(params, "train_dsn", TrainDsnSettings).learn_theta


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("train_dsn: [", r"mine\.yaml: is not valid YAML"),
        ("train_dsn: {}\nprepare: {}\n", "a profile has no section 'prepare'"),
        ("train_dsn: {}\n", "the section 'architectures' is missing"),
        ("from: mine\n", r"mine\.yaml: builds on itself"),
        ("from: other\n", r"mine\.yaml: builds on itself"),
        ("from: no\n", "has no profile 'no'; there are: mine, other, paper"),
        ("from: paper\ntrain_dsn:\n  epoch: 3\n", r"mine\.yaml: train_dsn\.epoch is not a known"),
        ("from: paper\ntrain_dsn:\n  epochs: -1\n", r"mine\.yaml: train_dsn\.epochs: input should"),
    ],
)
def test_a_profile_that_is_not_one(content: str, fault: str, params: Path, tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    shutil.copy(PROFILES / "paper.yaml", folder)
    (folder / "other.yaml").write_text("from: mine\n")
    (folder / "mine.yaml").write_text(content)
    before = params.read_bytes()
    with pytest.raises(UserError, match=fault):
        take(params, load_profile(folder / "mine.yaml"))
    assert params.read_bytes() == before


def test_a_profile_with_networks_of_its_own(params: Path, tmp_path: Path) -> None:
    networks = "architectures:\n  mine:  # ours\n    network: SPAN\n    options: {}\n"
    shutil.copy(PROFILES / "paper.yaml", tmp_path / "paper.yaml")
    (tmp_path / "mine.yaml").write_text(f"from: paper\n{networks}train_dsn:\n  epochs: 9  # ours\n")
    take(params, load_profile(tmp_path / "mine.yaml"))
    assert load_yaml(params)["architectures"] == {"mine": {"network": "SPAN", "options": {}}}
    assert load_section(params, "train_dsn", TrainDsnSettings).epochs == 9
    assert load_section(params, "train_srn", TrainSrnSettings).epochs == 1000


def test_profiles_of_another_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are: none"):
        find_profile(tmp_path, "paper")
    shutil.copy(PROFILES / "paper.yaml", tmp_path / "mine.yaml")
    assert find_profile(tmp_path, "mine") == tmp_path / "mine.yaml"


def test_comments_above_a_section_stay(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    text = (ROOT / "params.yaml").read_text()
    for section in ("architectures", "evaluate", "audit"):
        text = text.replace(f"\n{section}:", f"\n# my note on {section}\n# and another\n{section}:")
    params.write_text(text)
    for name in ("paper", "official", "demo"):
        take(params, load_profile(find_profile(PROFILES, name)))
        kept = params.read_text()
        for section in ("architectures", "evaluate", "audit"):
            assert f"\n# my note on {section}\n# and another\n{section}:" in kept
    assert kept == text


@pytest.mark.parametrize(
    ("networks", "words"),
    [
        ("architectures: null\n", "the section 'architectures' names no network"),
        ("architectures: {}\n", "names no network"),
        ("architectures:\n  esrgan:\n    network: 3\n", "architectures.esrgan.network"),
        ("architectures:\n  esrgan: 3\n", "architectures.esrgan must be a mapping"),
        (
            '"architectures":\n  a:\n    network: Compact\n',
            "must begin with a line 'architectures:'",
        ),
    ],
)
def test_networks_that_are_none(networks: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(networks)
    with pytest.raises(UserError, match=words):
        load_profile(tmp_path / "mine.yaml")
