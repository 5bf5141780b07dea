"""The whole pipeline as a user runs it: ``dvc repro`` on the demo with tiny settings.

Slow (every stage is a process of its own that imports torch), so one repository serves all tests.
"""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import calibration
from readme import commands
from ruamel.yaml import YAML

from pipeline.images import read_image, write_png
from pipeline.stores import Store

ROOT = Path(__file__).parent.parent
TINY: dict[str, dict[str, object]] = {
    "train_dsn": {
        "features": 4,
        "blocks": 1,
        "discriminator_features": 2,
        "hr_patch": 64,
        "batch_size": 2,
        "crops_per_image": 1,
        "epochs": 2,
        "log_every": 2,
        "checkpoint_every": 2,
    },
    "train_srn": {
        "theta": "raw",  # the means of a DSN after two epochs cannot be calibrated
        "discriminator_features": 2,
        "lr_patch": 12,
        "batch_size": 2,
        "crops_per_image": 1,
        "epochs": 2,
        "log_every": 2,
        "checkpoint_every": 3,
    },
    "calibrate": {"blocks": 1000, "rounds": 0},
    "audit": {"worst_images": 1},
    "architectures": {
        "esrgan": {"options": {"num_filters": 4, "num_blocks": 1}},
        "compact": {"options": {"num_feat": 4, "num_conv": 1}},
    },
}
STAGES = ["demo", "prepare", "train_dsn", "export", "calibrate", "audit"]
SRN_STAGES = ["train_srn@esrgan", "evaluate@esrgan", "train_srn@compact", "evaluate@compact"]


THIRD: dict[str, object] = {"network": "SPAN", "options": {}, "warm_start": None, "train": True}


def run(repo: Path, *words: str) -> subprocess.CompletedProcess[str]:
    place = Path(sys.executable).parent
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("GIT_")},
        "PATH": f"{place}{os.pathsep}{os.environ['PATH']}",
        "GIT_AUTHOR_NAME": "test",
        "GIT_AUTHOR_EMAIL": "test@example.org",
        "GIT_COMMITTER_NAME": "test",
        "GIT_COMMITTER_EMAIL": "test@example.org",
    }
    return subprocess.run(
        words, cwd=repo, env=environment, capture_output=True, text=True, check=False
    )


def ok(repo: Path, *words: str) -> str:
    done = run(repo, *words)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def ran(output: str) -> set[str]:
    """Stages that a (dry) ``dvc repro`` runs."""
    return set(re.findall(r"Running stage '([^']+)'", output))


def edit_params(
    repo: Path, changes: dict[str, dict[str, object]], file: str = "params.yaml"
) -> None:
    yaml = YAML()
    params = yaml.load((repo / file).read_text())
    for section, values in changes.items():
        for key, value in values.items():
            if isinstance(value, dict) and key in params[section]:
                params[section][key].update(value)
            else:
                params[section][key] = value
    with (repo / file).open("w") as target:
        yaml.dump(params, target)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the working tree in which ``dvc repro`` ran once."""
    target = tmp_path_factory.mktemp("clone")
    listed = ok(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard")
    for name in listed.splitlines():
        if (ROOT / name).is_file() and not name.endswith(("metrics.json", "dvc.lock")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    edit_params(target, TINY)
    ok(target, "git", "init", "--quiet", "--initial-branch=main")
    ok(target, "git", "add", "--all")
    ok(target, "git", "commit", "--quiet", "--message=clone")
    assert ran(ok(target, "dvc", "repro")) == {*STAGES, *SRN_STAGES}
    ok(target, "git", "add", "--all")
    ok(target, "git", "commit", "--quiet", "--message=first run")
    return target


def test_everything_is_there(repo: Path) -> None:
    for name in (
        "data/raw/demo/truth/camera.json",
        "data/prepare/val.zarr/zarr.json",
        "data/train_dsn/dsn.safetensors",
        "data/train_dsn/contact_sheet.png",
        "data/export/maps.zarr/zarr.json",
        "data/calibrate/calibration.json",
        "data/audit/page/index.html",
        "data/audit/page/scores.csv",
        "data/train_srn/esrgan/srn.safetensors",
        "data/train_srn/compact/contact_sheet.png",
        "data/evaluate/esrgan/side_by_side.png",
        "data/evaluate/compact/sr/coffee.png",
    ):
        assert (repo / name).stat().st_size > 0, name
    left = [path for path in (repo / "data").rglob("*.partial*") if "work" not in path.parts]
    assert not left
    assert not list((repo / "data" / "work").rglob("checkpoint.pt"))


def test_metrics_name_their_protocol(repo: Path) -> None:
    metrics = json.loads((repo / "data/evaluate/esrgan/metrics.json").read_text())
    assert metrics["lpips_weights"] == "none" and metrics["niqe"] is None
    with (repo / "data/evaluate/esrgan/images.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "bicubic"]
    assert list(metrics["protocols"]) == ["usrdu", "rwsr2020", "y"]
    for name, found in metrics["protocols"].items():
        values = [float(row["psnr"]) for row in rows if row["protocol"] == name]
        assert found["bicubic"]["psnr"] == pytest.approx(sum(values) / len(values), abs=1e-3)
        assert "lpips" not in found["model"]
    assert metrics["protocols"]["usrdu"]["border"] == 4


def test_git_keeps_metrics_and_nothing_large(repo: Path) -> None:
    kept = ok(repo, "git", "ls-files", "data").splitlines()
    assert "data/evaluate/compact/metrics.json" in kept
    assert all(name.endswith(("metrics.json", "README.md")) for name in kept)


def test_a_second_repro_does_nothing(repo: Path) -> None:
    output = ok(repo, "dvc", "repro")
    assert not ran(output)
    assert "up to date" in output
    assert not ok(repo, "git", "status", "--porcelain")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train_srn": {"learning_rate": 0.003}}, {"train_srn@esrgan", "train_srn@compact"}),
        ({"evaluate": {"picture_crop": 90}}, {"evaluate@esrgan", "evaluate@compact"}),
        ({"audit": {"bins": 20}}, {"audit"}),
        ({"calibrate": {"rounds": 1}}, {"calibrate"}),
        ({"architectures": {"third": THIRD}}, {"train_srn@third"}),
        (
            {"architectures": {"compact": {"options": {"num_conv": 2}}}},
            {"train_srn@compact"},
        ),
    ],
)
def test_a_change_runs_only_what_it_touches(
    repo: Path, changes: dict[str, dict[str, object]], expected: set[str]
) -> None:
    """A dry run does not follow outputs it did not write, and stops where they are missing."""
    before = (repo / "params.yaml").read_text()
    try:
        edit_params(repo, changes)
        assert ran(run(repo, "dvc", "repro", "--dry").stdout) == expected
        diff = ok(repo, "dvc", "params", "diff")
        assert next(iter(changes)) in diff
    finally:
        (repo / "params.yaml").write_text(before)


def test_only_the_camera_in_use_is_tracked(repo: Path) -> None:
    file = repo / "cameras.yaml"
    before = file.read_text()
    try:
        file.write_text(before.replace("noise_at_white: 16.0", "noise_at_white: 17.0"))
        assert not ran(ok(repo, "dvc", "repro", "--dry"))
        file.write_text(before.replace("noise_at_white: 19.8", "noise_at_white: 21.0"))
        assert "demo" in ran(run(repo, "dvc", "repro", "--dry").stdout)
    finally:
        file.write_text(before)


def test_touching_the_srn_code_runs_no_dsn(repo: Path) -> None:
    file = repo / "pipeline/train_srn.py"
    before = file.read_text()
    try:
        file.write_text(before + "\n# touched\n")
        assert ran(ok(repo, "dvc", "repro", "--dry")) == {"train_srn@esrgan", "train_srn@compact"}
    finally:
        file.write_text(before)


def test_metrics_and_plots_show(repo: Path) -> None:
    shown = ok(repo, "dvc", "metrics", "show")
    assert "data/evaluate/esrgan/metrics.json" in shown
    ok(repo, "usrdu", "plots-page", ".dvc/plots_page.html")
    ok(repo, "dvc", "config", "--local", "plots.html_template", "plots_page.html")
    ok(repo, "dvc", "plots", "show")
    page = (repo / "dvc_plots/index.html").read_text()
    assert "SRN content loss" in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?https?:", page)


def test_an_experiment_runs(repo: Path) -> None:
    output = ok(repo, "dvc", "exp", "run", "-S", "train_srn.batch_size=1", "evaluate@compact")
    assert ran(output) == {"train_srn@compact", "evaluate@compact"}
    assert "train_srn.batch_size" in ok(repo, "dvc", "exp", "show", "--csv")


def test_a_mistake_in_the_params_stops_before_anything_is_lost(repo: Path) -> None:
    before = (repo / "params.yaml").read_text()
    weights = repo / "data/train_srn/esrgan/srn.safetensors"
    kept = weights.read_bytes()
    try:
        edit_params(repo, {"train_srn": {"lerning_rate": 0.1}})
        done = run(
            repo,
            *("usrdu", "train-srn", "--arch", "esrgan", "--hr", "data/prepare/hr.zarr"),
            *("--maps", "data/export/maps.zarr", "--out", "data/train_srn/esrgan"),
        )
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == (
            "Error: params.yaml: train_srn.lerning_rate is not a known setting"
        )
        assert weights.read_bytes() == kept
    finally:
        (repo / "params.yaml").write_text(before)


# --- the README

SHRUNK = ["calibrated", "official", "paper"]
RECOVERY: dict[str, object] = {
    "seeds": [0],
    "sources": ["bicubic", "mean", "camera"],
    "captures": 1,
    "architecture": {"options": {"num_feat": 4, "num_conv": 1}},
    "train_srn": {"epochs": 1},
}
NOT_RUN = {
    "make demo": "its stages ran for the other tests, the same with larger sizes",
    "make test": "this is it",
    "make setup": "it was done before the tests",
}
"""Commands whose targets are only looked up."""


@pytest.fixture
def reader(repo: Path, tmp_path: Path) -> Path:
    """A copy of the repository with images of the reader's own, and profiles of small sizes."""
    target = tmp_path / "usrdu"
    shutil.copytree(repo, target, symlinks=True)
    for name in SHRUNK:
        yaml, path = YAML(), target / "profiles" / f"{name}.yaml"
        profile = yaml.load(path.read_text())
        for section in ("train_dsn", "train_srn"):
            small = TINY[section] | {"perceptual_weights": "random"}
            profile[section].update({k: v for k, v in small.items() if k != "theta"})
        profile["train_srn"]["theta"] = "raw"
        profile["architectures"]["esrgan"]["options"] = {"num_filters": 4, "num_blocks": 1}
        profile["architectures"]["esrgan"]["warm_start"] = None
        profile["evaluate"]["lpips_weights"] = "none"
        with path.open("w") as file:
            yaml.dump(profile, file)
    edit_params(target, {"recovery": RECOVERY})
    for name, kind, side in (("photographs", "hr", 160), ("camera", "lr", 96)):
        (target / f"data/raw/my-{name}").mkdir()
        for path in sorted((target / "data/raw/demo" / kind).iterdir())[:3]:
            part = read_image(path)[:, :side, :side]
            write_png(target / f"data/raw/my-{name}" / f"{path.stem}.png", part)
    shutil.copy(target / "data/raw/my-camera/coins.png", target / "photo.jpg")
    (target / ".venv").mkdir()
    (target / ".venv/ready").touch()
    ok(target, "git", "add", "--all")
    ok(target, "git", "commit", "--quiet", "--message=small profiles")
    return target


def wait_for_the_queue(repo: Path) -> None:
    for _ in range(300):
        shown = ok(repo, "dvc", "queue", "status")
        if not re.search(r"Queued|Running", shown.split("Worker")[0]):
            break
        time.sleep(1)
    assert "Success" in shown and "Failed" not in shown, shown


def follow(repo: Path, command: str) -> None:
    """Run one command of the README."""
    words = command.split()
    if words[0] == "make":
        words += [f"UV={shutil.which('true')}", "RUN="]  # the environment of the tests
    if command in NOT_RUN:
        words.insert(1, "--dry-run")
    ok(repo, *words)
    if command == "make table1":
        rows = re.findall(r"table1-(\S+)", ok(repo, "dvc", "queue", "status"))
        assert sorted(rows) == ["bicubic", "mean-only", "row1", "row2", "row3", "row4", "row5"]
        for row in set(rows) - {"bicubic"}:  # one of them shows that they run
            ok(repo, "dvc", "queue", "remove", f"table1-{row}")
    if command == "dvc queue start":
        wait_for_the_queue(repo)
    if command == "usrdu params use paper":
        assert "discriminator: vgg" in (repo / "params.yaml").read_text()


def test_every_command_of_the_readme_runs(reader: Path) -> None:
    """In order, as a reader would; own folders are named where the README says so."""
    found = commands()
    assert len(found) > 25 and set(NOT_RUN) <= set(found)
    own = {"hr": "data/raw/my-photographs", "lr": "data/raw/my-camera"}
    for command in found:
        if command == "usrdu params use calibrated":
            edit_params(reader, {"folders": {**own, "val": "data/raw/no-pairs"}})
            ok(reader, "usrdu", "params", "use", "demo", "--force")
        if command == "usrdu params use paper":  # after an experiment, which changed a value
            ok(reader, "usrdu", "params", "use", "calibrated", "--force")
        if command == "make table1":  # in the queue, as the README says
            edit_params(reader, {"folders": {k: str(reader / v) for k, v in own.items()}})
        if "--calibration" in command:  # that of a DSN after two epochs says it could not be made
            made = calibration(Store(reader / "data/export/maps.zarr", "maps"))
            path = reader / "data/calibrate/calibration.json"
            path.write_text(made.model_dump_json())
        if command.startswith("usrdu niqe-fit"):  # it wants more blocks than small crops have
            shutil.copytree(reader / "data/raw/demo/hr", reader / own["hr"], dirs_exist_ok=True)
        follow(reader, command)
    shown = ok(reader, "dvc", "exp", "show", "--csv")
    assert "table1-bicubic" in shown
    for name in ("photo_x4.png", "data/compact.onnx", "data/recovery/recovery.md"):
        assert (reader / name).stat().st_size > 0, name
