"""The parts for one GPU run on a CPU too, and what goes wrong in one of them costs that one."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from benchmarks.gpu import draws
from benchmarks.gpu.command import COMPILED, STEP_WAYS, UPSCALE_WAYS, main, parts
from benchmarks.gpu.draws import law
from benchmarks.gpu.inference import UPSCALES
from benchmarks.gpu.measure import FUNCTIONS
from benchmarks.gpu.results import (
    MEASURED,
    Law,
    Machine,
    Outcome,
    Peak,
    Timed,
    from_plain,
    tables,
    to_plain,
)
from benchmarks.gpu.run import Part, Setting, run_parts
from benchmarks.gpu.training import WAYS
from benchmarks.gpu.workload import WORKLOADS, Given
from pipeline.sampling.laplace import standard_laplace

SETTING = Setting("tiny", "cpu", 1, Path("nowhere"))
MEMORY = Timed("what", "way", [0.5, 0.25, 1.0], 4.0, "crops", 100.0, 2.0, "bf16")


# --- what happens to processes


def part(what: str, limit: float = 60.0, least: float = 0.0) -> Part:
    return Part(what, "gpu_parts:does", (what,), limit, least)


def gone(pid: int) -> bool:
    """Whether a process runs no more."""
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_what_goes_wrong_costs_one_part(capfd: pytest.CaptureFixture[str]) -> None:
    names = ("works", "raises", "crashes", "exits", "hangs", "still works", "is long")
    limits = {"hangs": 4.0}
    planned = [part(name, limits.get(name, 60.0)) for name in names[:-1]]
    planned.append(part("is long", least=1000.0))
    seen: list[int] = []
    outcomes = run_parts(
        planned, SETTING, 300.0, ["gpu_parts"], lambda so_far: seen.append(len(so_far))
    )
    states = {outcome.part: outcome.state for outcome in outcomes}
    assert list(states) == list(names) and seen == list(range(1, len(names) + 1))
    assert states["works"] == states["still works"] == MEASURED
    assert states["raises"] == "failed: MemoryError: CUDA out of memory. Tried to allocate 2 GiB"
    assert states["crashes"] == "failed: ended by SIGSEGV"
    assert states["exits"] == "failed: ended with 7"
    assert states["hangs"] == "over its limit of 4 s"
    assert states["is long"].startswith("left out: ")
    first = Law("tiny in scratch", 1.0, 1.0, 0.0)
    results = {outcome.part: outcome.results for outcome in outcomes}
    assert results["works"] == [first, Peak("float32", 3.0)]
    assert all(results[name] == [first] for name in ("raises", "crashes", "exits"))
    assert results["is long"] == []
    (_, child) = results["hangs"]
    assert isinstance(child, Machine) and gone(int(child.words))
    assert [outcome.good for outcome in outcomes] == [True, *4 * [False], True, True]
    told = capfd.readouterr().err
    assert "2 of 7, raises: 1 of 1 figures of the law agree; failed: MemoryError" in told
    assert "hangs, at most 4 s" in told


@pytest.mark.slow
def test_the_first_part_is_tried_again_in_a_new_process(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    setting = Setting("tiny", "cpu", 1, tmp_path)
    first = Part("first", "gpu_parts:fails_once", (), 60.0, 0.0)
    (outcome,) = run_parts([first], setting, 200.0, [], lambda _: None)
    assert outcome.state == MEASURED
    assert "failed: RuntimeError: forked; again, in a new process" in capfd.readouterr().err


# --- tables


def test_results_survive_json() -> None:
    for result in (MEMORY, Peak("bf16", 8.0), Law("law", 1.0, 1.5, 0.1), Machine("a GPU")):
        assert from_plain(json.loads(json.dumps(to_plain(result)))) == result


def test_tables() -> None:
    slower = Timed("what", "slower", [2.0], 8.0, "crops", 0.0, 0.0, "bf16")
    laws = [Law("mean", 0.5, 0.0, 1.0), Law("tail", float("nan"), 0.0, 1.0)]
    outcomes = [
        Outcome("card", MEASURED, 1.0, [Machine("a GPU"), Peak("bf16", 8.0)]),
        Outcome("a", MEASURED, 1.0, [MEMORY, slower]),
        Outcome("laws", MEASURED, 1.0, list(laws)),
        Outcome("b", "over its limit of 3 s", 3.0),
    ]
    shown = tables(outcomes).splitlines()
    assert shown[0] == "a GPU"
    assert "Peak of a large matrix product, TFLOP/s: bf16 8." in shown
    # 4 crops in 0.5 s; 2 of 8 TFLOP/s take 0.25 s; the other way makes 8 crops in 2 s.
    first = "| what | way | 500 ms (250 ms to 1 s) | 8 crops | 1 | 4, 50% of bf16 | 100 MiB |"
    assert first in shown
    assert "| what | slower | 2 s (2 s to 2 s) | 4 crops | 0.5 | 1, 12% of bf16 | - |" in shown
    assert "| mean | 0.5 | 0 | 1 | met |" in shown
    assert "| tail | nan | 0 | 1 | **missed** |" in shown
    assert "| b | over its limit of 3 s |" in shown
    assert [outcome.good for outcome in outcomes] == [True, True, False, False]


def test_every_part_can_be_called() -> None:
    planned = parts()
    assert {one.arguments[0] for one in planned} == set(FUNCTIONS)
    assert (*STEP_WAYS, COMPILED) == WAYS and tuple(UPSCALES) == UPSCALE_WAYS
    assert planned[0].name == "card" and planned[1].name == "data"
    assert len({one.name for one in planned}) == len(planned)
    assert all(load.draws % load.chunk == 0 for load in WORKLOADS.values())


# --- the law


def laws(tmp_path: Path) -> dict[str, Law]:
    found = [one for one in law(Given(SETTING, tmp_path)) if isinstance(one, Law)]
    return {one.what: one for one in found}


def test_the_law_is_met(tmp_path: Path) -> None:
    found = laws(tmp_path)
    assert len(found) == 45 and all(one.met for one in found.values())


FAULTS = "draws that are not finite"


@pytest.mark.parametrize(
    ("wrong", "missed"),
    [
        (lambda eps: eps * 1.02, "E abs(eps)^1, float32"),
        (lambda eps: eps + 0.02, "E eps, float32"),
        (lambda eps: eps.clamp(max=6.0), "P(eps > 6), float32"),
        (lambda eps: eps.clamp(min=-5.5), "quantile 0.001, float64"),
        (lambda eps: torch.where(eps.abs() < 0.1, 0.11, eps), "P(eps > 0.1), float32"),
        (lambda eps: eps.repeat_interleave(2)[: eps.numel()], "E of neighbours' product, float32"),
        (lambda eps: torch.where(eps > 8, torch.inf, eps), f"{FAULTS}, float32"),
        (
            lambda eps: eps.sign() * (eps.abs() * 4).floor() / 4,
            "greatest distance of the distribution functions, float32",
        ),
    ],
)  # fmt: skip
def test_a_wrong_law_is_found(
    wrong: Callable[[Tensor], Tensor], missed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draws, "standard_laplace", lambda *given: wrong(standard_laplace(*given)))
    assert not laws(tmp_path)[missed].met


# --- the command


@pytest.mark.slow
def test_the_command_runs_on_a_cpu(tmp_path: Path) -> None:
    compiled = [one.name for one in parts() if one.name.endswith(COMPILED)]  # which takes minutes
    chosen = (one.name for one in parts())
    words = [f"--part={name}" for name in chosen if not any(c.startswith(name) for c in compiled)]
    plain = ["--gpu", "--size", "tiny", "--device", "cpu", "--rounds", "1", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *plain, *words], cwd=Path(__file__).parents[2],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    states = {one["part"]: one["state"] for one in found["parts"]}
    assert len(states) == len(words) and set(states.values()) == {MEASURED}
    table = (tmp_path / "gpu.md").read_text()
    assert table == done.stdout
    for row in ("| DSN step, 1 crops | float32 |", "| usrdu export, tiles of ", "| E eps, float32"):
        assert row in table
    assert f"{len(words)} of {len(words)}, " in done.stderr


def test_no_gpu_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "PYTORCH_NVML_BASED_CUDA_CHECK", "TQDM_DISABLE", "PYTHONWARNINGS",
        "TORCHINDUCTOR_COMPILE_THREADS",
    ):  # fmt: skip
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)  # the command sets it
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = CliRunner().invoke(main, ["--gpu"])
    assert done.exit_code == 2 and "torch finds no GPU" in done.stderr
