"""``kill -9`` of ``dvc repro`` and all that it started, at random moments; then the same again.

Four kills in every run of the slow tests; ``pytest test_kill_repro.py --kills 5`` makes 20.
"""

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from repository import clone, copy_repository, edit_params, environment, ok, ran, run
from ruamel.yaml import YAML
from small_stores import require_whole_stores

pytestmark = pytest.mark.slow
SHORTEST, LONGEST = 2.0, 15.0
"""Seconds before a kill; a stage that runs alone takes up to ten, most of it imports."""


class Killed(NamedTuple):
    """A repository in which ``dvc repro`` was killed again and again, and then ended."""

    straight: Path
    """One in which it was not."""
    repo: Path
    hits: int
    """Kills that came before the end."""
    lost: set[str]
    """Stages that ran again after they had ended."""


def begin(repo: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start ``dvc repro`` as the head of a group of processes."""
    with log.open("wb") as output:
        return subprocess.Popen(
            ["dvc", "repro"],
            cwd=repo,
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


def ended(log: Path) -> set[str]:
    """Stages after which another one began."""
    started = [line for line in log.read_text().splitlines() if line.startswith("Running stage '")]
    return {line.split("'")[1] for line in started[:-1]}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Killed:
    straight, repo = (tmp_path_factory.mktemp(name) for name in ("straight", "killed"))
    clone(straight)
    copy_repository(repo)
    log, source = repo.parent / "log.txt", random.Random(2)
    hits, over, lost = 0, set[str](), set[str]()
    for _ in range(4 * request.config.getoption("--kills")):
        running = begin(repo, log)
        try:
            running.wait(source.uniform(SHORTEST, LONGEST))
        except subprocess.TimeoutExpired:
            hits += 1
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
        lost |= over & ran(log.read_text())
        over |= ended(log)
        require_whole_stores(repo / "data")
    lost |= over & ran(ok(repo, "dvc", "repro"))
    return Killed(straight, repo, hits, lost)


def test_kills_came_before_the_end(killed: Killed) -> None:
    assert killed.hits >= 3


def test_no_stage_that_had_ended_ran_again(killed: Killed) -> None:
    assert not killed.lost


def test_the_results_are_those_of_an_undisturbed_run(killed: Killed) -> None:
    """The lock file has the hashes of everything that went in and came out."""
    straight, found = (  # DVC may take note of independent stages in another order
        YAML(typ="safe", pure=True).load((repo / "dvc.lock").read_text())["stages"]
        for repo in (killed.straight, killed.repo)
    )
    assert straight == found
    assert {"export", "train_srn@compact"} <= found.keys()
    for path in (killed.straight / "data").rglob("metrics.json"):
        other = killed.repo / path.relative_to(killed.straight)
        assert path.read_text() == other.read_text()


def test_nothing_half_written_is_left(killed: Killed) -> None:
    data = killed.repo / "data"
    left = [path for path in data.rglob("*") if path.name.endswith((".partial", ".old"))]
    assert not left
    assert not list(data.rglob("checkpoint.pt"))
    assert "up to date" in ok(killed.repo, "dvc", "repro")


def test_ctrl_c_says_how_to_go_on(killed: Killed, tmp_path: Path) -> None:
    edit_params(killed.repo, {"train_dsn": {"epochs": 400}})
    log = tmp_path / "log.txt"
    running = begin(killed.repo, log)
    try:
        deadline = time.monotonic() + 120
        while "train_dsn: starts" not in log.read_text():
            assert running.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(60) != 0
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        edit_params(killed.repo, {"train_dsn": {"epochs": 2}})
    said = log.read_text()
    assert "interrupted; the same command goes on from the last checkpoint" in said
    assert "Traceback" not in said


def test_with_the_old_settings_the_old_results_come_back(killed: Killed) -> None:
    """DVC deleted them before the training above began; its cache has them."""
    assert not (killed.repo / "data/train_dsn/dsn.safetensors").exists()
    output = ok(killed.repo, "dvc", "repro")
    assert not ran(output), output
    assert (killed.repo / "data/train_dsn/dsn.safetensors").exists()


def test_killed_between_the_end_of_a_stage_and_the_note_of_dvc(killed: Killed) -> None:
    """As if: the command runs, DVC does not hear of it, and deletes what it wrote."""
    edit_params(killed.repo, {"train_srn": {"learning_rate": 0.003}})
    words = ["usrdu", "train-srn", "--arch", "compact", "--hr", "data/prepare/hr.zarr"]
    words += ["--maps", "data/export/maps.zarr", "--out", "data/train_srn/compact"]
    words += ["--calibration", "data/calibrate/calibration.json"]
    ok(killed.repo, *words)
    weights = killed.repo / "data/train_srn/compact/srn.safetensors"
    expected = weights.read_bytes()
    done = run(killed.repo, "dvc", "repro", "train_srn@compact")
    assert done.returncode == 0, done.stderr
    assert "train_srn@compact: was finished before" in done.stdout + done.stderr
    assert weights.read_bytes() == expected
