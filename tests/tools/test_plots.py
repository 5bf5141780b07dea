"""``dvc plots show`` follows the settings: its pictures and curves are those of the networks."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from repository import ROOT, edit_params

from pipeline.base.params import load_yaml
from pipeline.images.io import write_png
from pipeline.tools.profiles import find_profile, load_profile, take

CAMERA = "data/camera/camera.png"
BEFORE = {CAMERA, "data/train_dsn/curves.csv", "data/train_dsn/contact_sheet.png"}
TERMS = "step,content,adversarial,total\n50,1,0.5,1.5\n100,0.5,0.4,0.9\n"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """What ``dvc plots show`` reads of the project, without any output."""
    for name in ("dvc.yaml", "params.yaml", "cameras.yaml", ".dvc/config", ".dvc/plots/terms.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def networks(repo: Path) -> list[str]:
    found = load_yaml(repo / "params.yaml")["architectures"]
    assert isinstance(found, dict)
    return list(found)


def write_outputs(repo: Path, curves: str = TERMS) -> None:
    """As the stages leave them."""
    folders = [repo / "data/train_srn" / name for name in networks(repo)]
    (repo / CAMERA).parent.mkdir(parents=True, exist_ok=True)
    write_png(repo / CAMERA, np.zeros((3, 2, 2), np.uint8))
    for folder in (repo / "data/train_dsn", *folders):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "curves.csv").write_text(curves)
        write_png(folder / "contact_sheet.png", np.zeros((3, 2, 2), np.uint8))
        if folder in folders:
            write_png(folder / "progress.png", np.zeros((3, 2, 2), np.uint8))
            shown = repo / "data/evaluate" / folder.name / "side_by_side.png"
            shown.parent.mkdir(parents=True, exist_ok=True)
            write_png(shown, np.zeros((3, 2, 2), np.uint8))


def shown(repo: Path) -> dict[str, Any]:
    """What is on the page, by name; nothing is complained of."""
    place = Path(sys.executable).parent
    done = subprocess.run(
        ["dvc", "plots", "show", "--json"],
        cwd=repo,
        env={**os.environ, "PATH": f"{place}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found.keys() == {"data"}
    return dict(found["data"])


def expected(names: list[str]) -> set[str]:
    return BEFORE | {
        path
        for name in names
        for path in (
            f"data/train_srn/{name}/curves.csv",
            f"data/train_srn/{name}/contact_sheet.png",
            f"data/train_srn/{name}/progress.png",
            f"data/evaluate/{name}/side_by_side.png",
        )
    }


@pytest.mark.parametrize("name", ["demo", "paper", "official", "camera", "adapt"])
def test_every_profile(name: str, repo: Path) -> None:
    take(repo / "params.yaml", load_profile(find_profile(ROOT / "profiles", name)))
    write_outputs(repo)
    assert shown(repo).keys() == expected(networks(repo))


def test_a_network_comes_and_goes(repo: Path) -> None:
    write_outputs(repo)
    params = repo / "params.yaml"
    params.write_text(params.read_text().replace("  compact:\n", "  renamed:\n"))
    edit_params(repo, {"architectures": {"added": {"network": "SPAN", "options": {}}}})
    assert networks(repo) == ["esrgan", "renamed", "added"]
    write_outputs(repo)
    assert shown(repo).keys() == expected(["esrgan", "renamed", "added"])


def test_curves_are_drawn_term_by_term(repo: Path) -> None:
    write_outputs(repo)
    (plot,) = shown(repo)["data/train_srn/esrgan/curves.csv"]
    content = plot["content"]
    assert content["title"]["text"].startswith("SR network esrgan")
    assert [row["adversarial"] for row in content["data"]["values"]] == ["0.5", "0.4"]
    (fold,) = [step["fold"] for step in content["transform"] if "fold" in step]
    assert {"content", "adversarial", "total"} <= set(fold)
    assert "<DVC_METRIC" not in json.dumps(content)


@pytest.mark.parametrize("head", ["step\n", "step,total\n"])
def test_a_network_that_is_not_trained_has_no_curves(head: str, repo: Path) -> None:
    """As the DSN of a passport, whose training has no steps."""
    write_outputs(repo, head)
    assert shown(repo).keys() == expected(networks(repo))
