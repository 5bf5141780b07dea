"""recovery/dvc.yaml as a user runs it: one camera, one recipe, tiny settings.

Slow (every stage is a process of its own that imports torch), so one repository serves all tests.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import read_rows
from PIL import Image
from repository import copy_repository, ok, ran
from ruamel.yaml import YAML
from safetensors import safe_open

PLAN = "recovery/params.yaml"
FILE = "recovery/dvc.yaml"
ANCHORS = ("bicubic", "supervised", "generic")
CAMERA = ["photographs@jpeg", "prepare@jpeg", "camera@jpeg"]
RECIPE = [f"{stage}@jpeg-passport" for stage in ("train_dsn", "export", "calibrate")]
CELLS = [f"{stage}_anchor@jpeg-{s}-3" for stage in ("train", "evaluate") for s in ANCHORS]
SOURCE = ["train_srn@jpeg-passport-camera-3", "evaluate@jpeg-passport-camera-3"]
ALL = {*CAMERA, *RECIPE, *CELLS, *SOURCE, "table"}


def edit(path: Path, change: Any) -> None:
    yaml = YAML()
    content = yaml.load(path.read_text())
    change(content)
    with path.open("w") as target:
        yaml.dump(content, target)


@contextmanager
def edited(repo: Path, change: Any) -> Iterator[None]:
    """The plan with a change, for a while."""
    before = (repo / PLAN).read_text()
    try:
        edit(repo / PLAN, change)
        yield
    finally:
        (repo / PLAN).write_text(before)


def shrink(plan: Any) -> None:
    """One camera, one recipe, one source of it, one seed."""
    plan["cameras"] = {"jpeg": plan["cameras"]["jpeg"]}
    plan["simulated"], plan["seeds"] = ["jpeg"], [3]
    plan["recipes"] = {"passport": plan["recipes"]["passport"]}
    plan["sources"] = {"camera": plan["sources"]["camera"]}
    plan["common"]["demo"]["captures"] = 2
    plan["common"]["architectures"]["recovery"]["options"] = {"num_feat": 4, "num_conv": 1}
    plan["common"]["train_srn"] |= {"epochs": 1, "halve_every": 1, "steps": 5}


def stages(output: str) -> set[str]:
    """Names without the file they stand in."""
    return {name.rpartition(":")[2] for name in ran(output)}


def changed(repo: Path) -> set[str]:
    """Stages that are not up to date."""
    found = json.loads(ok(repo, "dvc", "status", "--json", FILE))
    return {name.rpartition(":")[2] for name in found}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the working tree in which ``dvc repro`` ran once, in the folder recovery."""
    target = tmp_path_factory.mktemp("clone")
    copy_repository(target)
    edit(target / PLAN, shrink)
    assert stages(ok(target / "recovery", "dvc", "repro")) == ALL
    ok(target, "git", "add", "--all")
    ok(target, "git", "commit", "--quiet", "--message=first run")
    return target


def test_the_table_has_what_evaluate_found(repo: Path) -> None:
    rows = {row["source"]: row for row in read_rows(repo / "recovery/recovery.csv")}
    assert list(rows) == [*ANCHORS, "camera"]
    for source, row in rows.items():
        recipe = "" if source in ANCHORS else "passport"
        assert (row["camera"], row["recipe"]) == ("jpeg", recipe)
        path = repo / "data/recovery/scores/jpeg" / recipe / source / "3.json"
        metrics = json.loads(path.read_text())
        assert list(metrics["protocols"]) == ["usrdu"]
        means = metrics["protocols"]["usrdu"]["model"]
        assert float(row["psnr"]) == means["psnr"] and float(row["haarpsi"]) == means["haarpsi"]
    assert len({row["psnr"] for row in rows.values()}) == 4
    found = [(float(rows[s]["psnr_recovery"]), float(rows[s]["psnr_spread"])) for s in rows]
    assert found[:2] == [(0, 0), (1, 0)]


def test_every_cell_had_its_settings(repo: Path) -> None:
    """And the same number of steps, so that the sources can be compared."""
    expected = {"bicubic": "bicubic", "supervised": "pairs", "generic": "generic"}
    expected["passport/camera"] = "maps"
    for folder, lr_from in expected.items():
        cell = repo / "data/recovery/jpeg/srn" / folder / "3"
        with safe_open(cell / "srn.safetensors", "np") as file:
            text = file.metadata().values()
        metadata = json.dumps([json.loads(value) if value[0] in "{[" else value for value in text])
        assert f'"lr_from": "{lr_from}"' in metadata and '"seed": 3' in metadata
        assert '"num_feat": 4' in metadata and '"adversarial_weight": 0.0' in metadata
        assert json.loads((cell / "metrics.json").read_text())["step"] == 5


def test_a_second_repro_does_nothing(repo: Path) -> None:
    output = ok(repo, "dvc", "repro", FILE)  # from the root of the project
    assert not ran(output)
    assert not changed(repo)
    assert not ok(repo, "git", "status", "--porcelain")


def test_git_keeps_the_table(repo: Path) -> None:
    kept = ok(repo, "git", "ls-files", "recovery", "data/recovery").splitlines()
    assert {"recovery/recovery.md", "recovery/recovery.csv", "recovery/dvc.lock"} <= set(kept)
    assert not [name for name in kept if name.startswith("data/") and ".gitignore" not in name]


def test_a_new_camera_runs_its_own_cells(repo: Path) -> None:
    def add(plan: Any) -> None:
        plan["cameras"]["laplace"] = {}
        plan["simulated"].append("laplace")

    with edited(repo, add):
        new = {name.replace("@jpeg", "@laplace") for name in ALL - {"table"}}
        assert changed(repo) == {*new, "table"}


def test_a_new_source_runs_alone(repo: Path) -> None:
    def add(plan: Any) -> None:
        plan["sources"]["mine"] = {"train_srn": {"theta": "camera", "lr_patch": 13}}

    with edited(repo, add):
        assert changed(repo) == {*(name.replace("camera", "mine") for name in SOURCE), "table"}


def test_a_new_recipe_trains_its_own_dsn(repo: Path) -> None:
    def add(plan: Any) -> None:
        plan["recipes"]["mine"] = {"train_dsn": {"epochs": 2}}

    with edited(repo, add):
        new = {name.replace("passport", "mine") for name in (*RECIPE, *SOURCE)}
        assert changed(repo) == {*new, "table"}


def test_a_new_seed_trains_no_dsn(repo: Path) -> None:
    with edited(repo, lambda plan: plan["seeds"].append(4)):
        new = {f"{name.removesuffix('3')}4" for name in (*CELLS, *SOURCE)}
        assert changed(repo) == {*new, "table"}


def test_a_changed_recipe_runs_what_comes_of_it(repo: Path) -> None:
    def change(plan: Any) -> None:
        plan["recipes"]["passport"]["train_dsn"]["epochs"] = 1

    with edited(repo, change):
        assert changed(repo) == {
            "train_dsn@jpeg-passport",
            "table",
        }  # the others wait for its result


@pytest.mark.slow
def test_table1_goes_on_where_it_was_stopped(repo: Path) -> None:
    """Two of its rows, on the camera that is there; a row more runs alone."""
    plan, file = repo / "recovery/table1/params.yaml", "recovery/table1/dvc.yaml"

    def tiny(content: Any) -> None:
        content["cameras"], content["seeds"] = ["jpeg"], [3]
        content["references"] = {"paper": content["references"]["paper"]}
        content["dsns"] = {"theta": content["dsns"]["theta"]}
        content["rows"] = [row for row in content["rows"] if row["name"] in ("mean-only", "row-3")]
        common = content["common"]
        common["architectures"]["table1"]["options"] = {"num_feat": 4, "num_conv": 1}
        common["train_srn"] |= {"epochs": 1, "halve_every": 1, "steps": 5}
        common["train_dsn"] |= {"epochs": 1, "halve_every": 1, "crops_per_image": 1}

    edit(plan, tiny)
    first = stages(ok(repo, "dvc", "repro", f"{file}:evaluate@jpeg-paper-row1-3"))
    dsn = {f"{stage}@jpeg-paper-theta" for stage in ("train_dsn", "export")}
    cell = {f"{stage}@jpeg-paper-row1-3" for stage in ("train_srn", "evaluate")}
    assert first == dsn | cell
    rest = {name.replace("row1", "row0") for name in cell} | {"table"}
    rest |= {f"{s}_anchor@jpeg-{a}-3" for s in ("train", "evaluate") for a in ANCHORS[:2]}
    assert stages(ok(repo, "dvc", "repro", file)) == rest
    rows = read_rows(repo / "recovery/table1/table1.csv")
    assert [row["source"] for row in rows] == [*ANCHORS[:2], "mean-only", "row-3"]
    written = json.loads((repo / "recovery/table1/metrics.json").read_text())
    assert written["claims"] == []
    edit(plan, lambda content: content["rows"][1].update(source="theta-pixels"))
    found = json.loads(ok(repo, "dvc", "status", "--json", file))
    assert {name.rpartition(":")[2] for name in found} == {*cell, "table"}


@pytest.mark.slow
def test_a_camera_with_real_pairs_and_a_scale_of_its_own(repo: Path) -> None:
    """Its folder lies in data/raw/real; what the simulated cameras made stays as it is."""
    photographs = repo / "data/recovery/jpeg/raw"
    real = repo / "data/raw/real/mine"
    shutil.copytree(photographs / "val", real / "val")
    shutil.copytree(photographs / "pairs", real / "pairs")
    for name in ("val", "pairs"):
        for path in (real / name / "hr").iterdir():  # pairs of scale 2
            with Image.open(path) as hr, Image.open(path) as copy:
                size = hr.width // 2, hr.height // 2
                copy.resize(size).save(path)

    def add(plan: Any) -> None:
        plan["cameras"]["mine"] = {"prepare": {"scale": 2}}
        plan["real"] = ["mine"]

    with edited(repo, add):
        new = {name.replace("@jpeg", "@mine") for name in ALL - {"photographs@jpeg", "table"}}
        assert changed(repo) == {*new, "real_pairs@mine", "table"}
        output = ok(repo, "dvc", "repro", f"{FILE}:evaluate_anchor@mine-supervised-3")
        cells = {f"{stage}_anchor@mine-supervised-3" for stage in ("train", "evaluate")}
        assert stages(output) == {"real_pairs@mine", "prepare@mine", *cells}
        scores = repo / "data/recovery/scores/mine/supervised/3.json"
        assert json.loads(scores.read_text())["images"] == 2
        stores = json.loads((repo / "data/recovery/mine/prepare.json").read_text())
        assert (stores["hr_images"], stores["train_pairs"]) == (6, 6)
        with edited(repo, lambda plan: plan["common"]["train_srn"].update(steps=4)):
            assert not {"real_pairs@mine", "prepare@mine"} & changed(repo)


def test_own_validation_photographs_run_everything_of_the_simulated_cameras(repo: Path) -> None:
    (repo / "data/raw/mine").mkdir()
    Image.new("RGB", (64, 64)).save(repo / "data/raw/mine/black.png")
    with edited(repo, lambda plan: plan["folders"].update(val="data/raw/mine")):
        assert changed(repo) >= {"photographs@jpeg"}
