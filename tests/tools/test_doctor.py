"""The doctor: facts of this machine against other sources, and what it must not overlook."""

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from pipeline.tools import doctor
from pipeline.tools.doctor import examine
from stages.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A clone with a params file and nothing else."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / ".dvc").mkdir()
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "first"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return tmp_path


def test_facts(project: Path) -> None:
    report = examine(project / "params.yaml", project / "data")
    facts = report.facts
    assert facts["python"] == platform.python_version()
    assert facts["torch"] == torch.__version__
    assert facts["zarr"] == metadata.version("zarr")
    assert {"dask", "dvc", "usrdu"} <= facts.keys()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert float(facts["memory"].split()[0]) == pytest.approx(pages / 2**30, abs=0.1)
    free = os.statvfs(project)
    total = free.f_blocks * free.f_frsize / 2**30
    assert float(facts["disk"].split()[0]) == pytest.approx(total, abs=0.1)
    assert facts["git"].endswith(", 0 files changed")
    assert facts["dvc state"] == "no stage has run"
    assert report.missing == []
    if not torch.cuda.is_available():
        assert facts["devices"] == "CPU alone"
        assert any("no CUDA device" in remark for remark in report.remarks)


def test_state_of_git_and_dvc(project: Path) -> None:
    (project / "new").touch()
    (project / "dvc.lock").write_text("schema: '2.0'\nstages:\n  demo: {}\n  prepare: {}\n")
    facts = examine(project / "params.yaml", project / "data").facts
    assert facts["git"].endswith(", 2 files changed")
    assert facts["dvc state"] == "2 stages in dvc.lock"


def test_weights_that_do_not_exist(project: Path) -> None:
    params = project / "params.yaml"
    text = params.read_text()
    text = text.replace("lpips_weights: none", "lpips_weights: alex.pth")
    text = text.replace("warm_start: null", "warm_start: data/raw/weights/x.pth", 1)
    params.write_text(text.replace("niqe_model: none", "niqe_model: there.mat"))
    (project / "there.mat").touch()
    assert examine(params, project).missing == [
        "architectures.esrgan.warm_start: there is no file data/raw/weights/x.pth",
        "evaluate.lpips_weights: there is no file alex.pth",
    ]


def test_packages_that_are_not_there(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["torch==0.1", "no-such-package==1.0", "dask[array]>=1"]
    monkeypatch.setattr(doctor, "requires", lambda _: wanted)
    report = examine(project / "params.yaml", project)
    assert report.missing == [
        f"torch is {metadata.version('torch')}, not 0.1: run make setup",
        "the package no-such-package is not installed: run make setup",
    ]


def test_no_git_and_no_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    missing = examine(tmp_path / "params.yaml", tmp_path / "deep" / "data").missing
    assert len(missing) == 2
    assert missing[0].startswith("git") and "params.yaml: cannot be read" in missing[1]


def test_the_command(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 0, done.output
    assert done.output.endswith("nothing that the pipeline needs is missing\n")
    assert str(project) not in done.output and platform.node() not in done.output
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("lpips_weights: none", "lpips_weights: x.pth"))
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 1
    assert "MISSING: evaluate.lpips_weights: there is no file x.pth" in done.output
