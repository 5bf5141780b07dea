"""Both trainings in two real processes: the weights of one, files of one, and no hang."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import World, dsn_settings, names, read_rows, srn_settings
from safetensors.torch import load_file
from two_processes import DSN, SRN, run_dsn, run_srn

from pipeline.base.params import flat

ROOT = Path(__file__).parents[2]
Started = subprocess.Popen[str]


def stores_of(world: World) -> Path:
    return Path(world.hr.path).parent


def start(task: str, stores: Path, folder: Path) -> Started:
    """Two processes of this machine that speak by gloo."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    words = [*launcher, "--nproc-per-node", "2", "tests/two_processes.py", task]
    places = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [*words, str(stores), str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def two(tiny: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """The folder, and what the two processes noted: results and files written."""
    folder = tmp_path_factory.mktemp("two")
    started = start("trainings", stores_of(tiny), folder)
    said, _ = started.communicate(timeout=300)
    assert started.returncode == 0, said
    return folder, [json.loads((folder / f"results-{rank}.json").read_text()) for rank in (0, 1)]


def distance(one: Path, other: Path) -> float:
    """Mean absolute difference of two files' weights.

    Not the largest: Adam divides a gradient by its size, so a weight whose gradient is as small as
    the rounding of a sum goes another way.
    """
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    apart = torch.cat([(first[name] - second[name]).flatten() for name in first])
    return float(apart.abs().mean())


approx = partial(pytest.approx, rel=1e-4)


@pytest.mark.parametrize("name", SRN)
def test_srn_weights_are_those_of_one_process(
    name: str, two: tuple[Path, list[Any]], tiny: World, tmp_path: Path
) -> None:
    """With the doubled batch; where there is noise, which every share draws itself, two shares.

    Adam's rate is 1e-3 and there are three steps.
    """
    more = {"doubled": {"batch_size": 4}, "noise": {"accumulate": 2}, "shares": {"accumulate": 4}}
    more["validated"] = more["doubled"]
    one = run_srn(stores_of(tiny), tmp_path, srn_settings(**{**SRN[name], **more[name]}))
    folder = two[0] / name / "out"
    assert distance(folder / "srn.safetensors", tmp_path / "out" / "srn.safetensors") < 1e-5
    found, expected = (dict(flat(metrics)) for metrics in (two[1][0][0][name], one or {}))
    assert found.keys() == expected.keys()
    for key, value in found.items():  # terms are means over both
        assert value == (approx(expected[key]) if isinstance(value, float) else expected[key]), key
    rows, alone = (read_rows(path / "curves.csv") for path in (folder, tmp_path / "out"))
    assert [row["step"] for row in rows] == [row["step"] for row in alone] == ["2", "3"]


@pytest.mark.parametrize("name", DSN)
def test_dsn_weights_are_those_of_one_process(
    name: str, two: tuple[Path, list[Any]], tiny: World, tmp_path: Path
) -> None:
    more = {"mean": {"batch_size": 4}, "sample": {"accumulate": 2}, "in turn": {"accumulate": 4}}
    one = run_dsn(stores_of(tiny), tmp_path, dsn_settings(**{**DSN[name], **more[name]}))
    path = Path("out") / "dsn.safetensors"
    assert distance(two[0] / name / path, tmp_path / path) < 1e-5
    assert one is not None
    logged = {"kl", "adversarial", "discriminator", "total", "wasserstein"}
    found = two[1][0][0][name]
    assert {k: found[k] for k in logged} == pytest.approx({k: one[k] for k in logged}, rel=1e-4)


def test_the_tolerance_tells_other_trainings_apart(
    two: tuple[Path, list[Any]], tiny: World, tmp_path: Path
) -> None:
    """One process with half the batch ends elsewhere."""
    run_srn(stores_of(tiny), tmp_path, srn_settings(**SRN["doubled"]))
    path = Path("out") / "srn.safetensors"
    assert distance(two[0] / "doubled" / path, tmp_path / path) > 1e-4


def test_the_main_process_alone_writes(two: tuple[Path, list[Any]]) -> None:
    folder, ((results, written), (other, nothing)) = two
    assert nothing == []
    assert all(other[name] is None and results[name] for name in [*SRN, *DSN])
    for name in SRN:
        assert names(folder / name / "out") == [
            "contact_sheet.png",
            "curves.csv",
            "progress.png",
            "srn.safetensors",
        ]
        (kept,) = (folder / name / "work").iterdir()
        assert names(kept) == [
            "contact_sheet.png",
            "curves.csv",
            "finished.json",
            "progress.png",
            "srn.safetensors",
        ]
    for file in ("srn.safetensors", "contact_sheet.png"):
        assert written.count(f"doubled/out/{file}") == 1


def test_both_go_on_from_one_checkpoint(two: tuple[Path, list[Any]]) -> None:
    folder, ((results, _), (other, _)) = two
    assert results["made"] == other["made"] == [2]
    straight, again = (load_file(folder / n / "out/srn.safetensors") for n in ("doubled", "again"))
    assert all(torch.equal(straight[name], again[name]) for name in straight)


def test_both_stop_where_the_loss_of_one_is_not_finite(two: tuple[Path, list[Any]]) -> None:
    folder, ((results, _), (other, _)) = two
    assert results["error"] == other["error"]
    assert (
        "train_dsn: the term 'kl' is nan at step 0; there was no checkpoint yet" in other["error"]
    )
    assert not (folder / "nan" / "out" / "dsn.safetensors").exists()


def test_a_process_that_dies_ends_the_run(tiny: World, tmp_path: Path) -> None:
    started = start("death", stores_of(tiny), tmp_path)
    said, _ = started.communicate(timeout=120)
    assert started.returncode not in (0, None)
    assert "exitcode  : 9" in said
    assert not (tmp_path / "death" / "out" / "srn.safetensors").exists()
