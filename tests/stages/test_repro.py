"""The whole pipeline as a user runs it: ``dvc repro`` on the demo with tiny settings.

Slow (every stage is a process of its own that imports torch), so one repository serves all tests.
"""

import csv
import json
import re
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
from repository import (
    AWKWARD,
    copy_first_run,
    edit_params,
    ok,
    ran,
    run,
    wait_for_the_queue,
)

STAGES = ["demo", "prepare", "camera", "train_dsn", "export", "calibrate", "audit"]
SRN_STAGES = ["train_srn@esrgan", "evaluate@esrgan", "train_srn@compact", "evaluate@compact"]
THIRD: dict[str, object] = {"network": "SPAN", "options": {}, "warm_start": None, "train": True}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the working tree in which ``dvc repro`` ran once."""
    target = tmp_path_factory.mktemp("clone") / AWKWARD
    assert copy_first_run(target, tmp_path_factory) == {*STAGES, *SRN_STAGES}
    return target


def test_everything_is_there(repo: Path) -> None:
    for name in (
        "data/raw/demo/truth/camera.json",
        "data/prepare/val.zarr/zarr.json",
        "data/camera/camera.json",
        "data/camera/camera.png",
        "data/train_dsn/dsn.safetensors",
        "data/train_dsn/contact_sheet.png",
        "data/export/maps.zarr/zarr.json",
        "data/calibrate/calibration.json",
        "data/audit/page/index.html",
        "data/audit/page/scores.csv",
        "data/train_srn/esrgan/srn.safetensors",
        "data/train_srn/compact/contact_sheet.png",
        "data/train_srn/compact/progress.png",
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
        ({"camera": {"rounds": 2}}, {"camera"}),
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
        file.write_text(before.replace("noise_at_white_gray: 16.0", "noise_at_white_gray: 17.0"))
        assert not ran(ok(repo, "dvc", "repro", "--dry"))
        file.write_text(before.replace("noise_at_white_gray: 19.8", "noise_at_white_gray: 21.0"))
        assert "demo" in ran(run(repo, "dvc", "repro", "--dry").stdout)
    finally:
        file.write_text(before)


def test_touching_the_srn_code_runs_no_dsn(repo: Path) -> None:
    file = repo / "pipeline/train_srn/train.py"
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
    assert "SR network esrgan" in page and "SR network compact" in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?https?:", page)


def test_folders_of_any_name(repo: Path) -> None:
    """They hold the same images, so that no stage but prepare runs; no shell sees their names."""
    before = (repo / "params.yaml").read_text()
    places = {name: f"data/raw/{AWKWARD}/{name}" for name in ("hr", "lr", "val")}
    try:
        shutil.copytree(repo / "data/raw/demo", repo / "data/raw" / AWKWARD)
        edit_params(repo, {"folders": dict(places)})
        assert ran(ok(repo, "dvc", "repro")) == {"prepare"}
        assert f"data/raw/{AWKWARD}/hr" in (repo / "dvc.lock").read_text()
    finally:
        (repo / "params.yaml").write_text(before)
        ok(repo, "git", "checkout", "--quiet", "dvc.lock")
    assert not list(repo.rglob("pwned"))


@pytest.mark.slow
def test_an_architecture_of_an_impossible_name(repo: Path) -> None:
    name = "$(touch pwned)"
    before = (repo / "params.yaml").read_text()
    try:
        edit_params(repo, {"architectures": {name: THIRD}})
        done = run(repo, "dvc", "repro", "--single-item", f"train_srn@{name}")
        assert done.returncode == 255
        assert (
            f"Error: params.yaml: architectures: the name '{name}' is not possible" in done.stderr
        )
    finally:
        (repo / "params.yaml").write_text(before)
    assert not list(repo.rglob("pwned"))


def test_a_new_file_of_weights_runs_what_reads_weights(repo: Path) -> None:
    file = repo / "data/raw/weights/new.pth"
    try:
        file.write_bytes(b"weights")
        assert ran(run(repo, "dvc", "repro", "--dry").stdout) == {"train_dsn", *SRN_STAGES}
    finally:
        file.unlink()


def test_the_stages_run_the_code_of_their_folder(repo: Path) -> None:
    """Also where the project is installed from another folder, as for a queued experiment."""
    file = repo / "stages/cli.py"
    before = file.read_text()
    try:
        file.write_text(before.replace("Score an SR model", "Of this folder"))
        assert "Of this folder" in ok(repo, "python", "-m", "stages", "--help")
    finally:
        file.write_text(before)


@pytest.mark.slow
def test_an_experiment_runs(repo: Path) -> None:
    output = ok(repo, "dvc", "exp", "run", "-S", "train_srn.batch_size=1", "evaluate@compact")
    assert ran(output) == {"train_srn@compact", "evaluate@compact"}
    assert "train_srn.batch_size" in ok(repo, "dvc", "exp", "show", "--csv")


@pytest.mark.slow
def test_a_queued_experiment_finds_weights_and_runs_the_code_it_was_queued_with(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its code is edited back in the workspace before it runs."""
    repo = tmp_path / "clone"
    copy_first_run(repo, tmp_path_factory)
    weights = repo / "data/raw/weights/start.safetensors"
    shutil.copy(repo / "data/train_srn/compact/srn.safetensors", weights)
    start = "architectures.compact.warm_start=data/raw/weights/start.safetensors"
    name = "data/train_srn/compact/metrics.json"
    code = repo / "stages/train_srn.py"
    before = code.read_text()
    code.write_text(before.replace('{"files": files}', '{"files": files, "edited": 1}'))
    queue = ("dvc", "exp", "run", "--queue", "--name", "queued", "-S", start)
    ok(repo, *queue, "--copy-paths", str(weights.relative_to(repo)), "train_srn@compact")
    code.write_text(before)
    ok(repo, "dvc", "queue", "start")
    wait_for_the_queue(repo)
    made = re.findall(r"\S+queued$", ok(repo, "git", "for-each-ref", "refs/exps"), re.M)
    (metrics,) = (json.loads(ok(repo, "git", "show", f"{ref}:{name}")) for ref in made)
    assert metrics["files"] == {"warm_start": sha256(weights.read_bytes()).hexdigest()}
    assert metrics["edited"] == 1


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


@pytest.mark.slow
def test_weights_that_dvc_does_not_watch(repo: Path) -> None:
    """The last test, as DVC removes the outputs of a stage before it runs it."""
    before = (repo / "params.yaml").read_text()
    try:
        edit_params(repo, {"architectures": {"esrgan": {"warm_start": "data/x.pth"}}})
        done = run(repo, "dvc", "repro", "--single-item", "train_srn@esrgan")
        assert done.returncode == 255
        assert (
            "Error: params.yaml: architectures.esrgan.warm_start names data/x.pth, which is not in "
            "data/raw/weights (folders.weights), so DVC would not see it change"
        ) in done.stderr
    finally:
        (repo / "params.yaml").write_text(before)
