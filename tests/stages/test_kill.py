"""``kill -9``, a full disk and inputs that vanish, in every stage, at random: nothing is lost.

The ends are the same bits as without.

Once a stage in every run of the tests; ``pytest tests/stages/test_kill.py --kills 5`` does more.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from repository import ROOT, TINY, edit_params

pytestmark = pytest.mark.slow
LONGER: dict[str, dict[str, object]] = {
    "machine": {"checkpoint_every": 2},
    "train_dsn": {"epochs": 5},
    "train_srn": {"epochs": 8},
}
"""So that most kills come between two checkpoints."""


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[Path, list[dict[str, Any]]]:
    """The folder of both runs, and what was done to every stage of the second."""
    folder, kills = tmp_path_factory.mktemp("kill"), request.config.getoption("--kills")
    for name in ("params.yaml", "cameras.yaml"):
        shutil.copy(ROOT / name, folder / name)
    edit_params(folder, TINY)
    edit_params(folder, LONGER)
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "killing.py", folder, "1", str(kills)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_every_stage_was_killed_while_it_ran(world: tuple[Path, list[dict[str, Any]]]) -> None:
    assert all(stage["kills"] for stage in world[1])


def test_ctrl_c_says_how_to_go_on(world: tuple[Path, list[dict[str, Any]]]) -> None:
    for stage in world[1]:
        assert "Traceback" not in stage["said"], stage
        if stage["interrupted"]:  # else it had ended before
            assert stage["interrupted"] == 130, stage
            assert "interrupted; the same command goes on" in stage["said"]
    assert sum(stage["interrupted"] == 130 for stage in world[1]) >= 4


def test_a_full_disk_and_a_vanished_input_are_named_in_a_sentence(
    world: tuple[Path, list[dict[str, Any]]],
) -> None:
    failed = {"room": 0, "gone": 0}
    for stage in world[1]:
        for fault in stage["faults"]:
            last = fault["said"].splitlines()[-1] if fault["said"] else ""
            assert "Traceback" not in fault["said"], fault
            if fault["status"]:
                assert fault["status"] == 1 and last.startswith("Error: "), fault
                failed["gone" if "gone" in fault["what"] else "room"] += 1
    assert failed["room"] >= 4 and failed["gone"] >= 2  # the others had read all, or ended


def files(folder: Path) -> dict[str, bytes]:
    """Everything the commands wrote, by name; without pictures, whose files hold no result."""
    found = [path for path in folder.rglob("*") if path.is_file() and "work" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_the_results_are_those_of_an_undisturbed_run(
    world: tuple[Path, list[dict[str, Any]]],
) -> None:
    straight, killed = (files(world[0] / name / "data") for name in ("straight", "killed"))
    assert set(straight) == set(killed)
    differing = [name for name, content in straight.items() if killed[name] != content]
    assert not differing
    for name in ("dsn/dsn.safetensors", "srn/srn.safetensors", "export/maps.zarr/zarr.json"):
        assert name in straight


def test_nothing_half_written_is_left(world: tuple[Path, list[dict[str, Any]]]) -> None:
    data = world[0] / "killed" / "data"
    left = [path for path in data.rglob("*") if ".partial" in path.name or ".old" in path.name]
    assert not left
    assert not list(data.rglob("checkpoint.pt"))
