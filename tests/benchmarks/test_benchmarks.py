"""The benchmarks run, at a size at which their figures mean nothing, and their table is right."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from repository import ok

from benchmarks import processes
from benchmarks.__main__ import ROWS, main
from benchmarks.data import picture
from benchmarks.processes import Taken, Task, alone, take_turns
from benchmarks.race import Entry, Line, Target, mebibytes, milliseconds, per_second, race

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the generated data stay from row to row."""
    return tmp_path_factory.mktemp("data")


def run(*words: object) -> str:
    """The command's output."""
    plain = ("--size", "tiny", "--rounds", "1", "--device", "cpu")
    done = CliRunner().invoke(main, [*plain, *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def here(task: Task) -> Taken:
    """The work of a process of its own, in this one."""
    noted = task.prepare(*task.arguments)()
    return Taken(1.0, 100.0, 110.0, 0.0, noted if isinstance(noted, dict) else {})


@pytest.mark.slow
@pytest.mark.parametrize("row", sorted(set(ROWS) - {"g"}))
def test_a_row_runs(row: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCELERATE_USE_CPU", "CUDA_VISIBLE_DEVICES"):  # the command sets them
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(processes, "alone", here)
    shown = run("--data", folder, "--row", row)
    assert shown.startswith("Size tiny; ")
    assert f"torch {torch.__version__}" in shown
    cells = [line.split(" | ") for line in shown.splitlines() if line.startswith(f"| {row} |")]
    assert cells
    assert all(re.search(r": [\d.,]+( |;|$)", one[2]) for one in cells), shown
    assert "| target |" in shown and "Missed: " in shown


def test_what_was_measured_outlives_a_row_that_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ACCELERATE_USE_CPU", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "")
    monkeypatch.setitem(ROWS, "c", ("no_such_module", "steps", ""))
    words = ["--size", "tiny", "--rounds", "1", "--device", "cpu", "--data", str(folder)]
    done = CliRunner().invoke(main, [*words, "--row", "b", "--row", "c"])
    assert isinstance(done.exception, ModuleNotFoundError)
    assert "\n| b | " in done.stdout


@pytest.mark.slow
def test_commands_with_nothing_to_do(tmp_path: Path, folder: Path) -> None:
    ok(tmp_path, "git", "init", "--quiet")
    ok(tmp_path, "dvc", "init", "--quiet")
    (tmp_path / "dvc.yaml").write_text("stages:\n  one:\n    cmd: echo 1 > out\n    outs: [out]\n")
    ok(tmp_path, "dvc", "repro")
    shown = run("--data", folder, "--row", "g", "--repository", tmp_path)
    assert "usrdu --help: " in shown and "dvc repro: " in shown and "git status: " in shown


def taking(megabytes: int) -> Callable[[], object]:
    """What a process is asked for: memory, or more than there is."""

    def work() -> dict[str, float]:
        if megabytes < 0:
            raise MemoryError("too much")
        return {"bytes": len(bytearray(megabytes * 2**20))}

    return work


@pytest.mark.slow
def test_a_process_of_its_own_says_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")
    held = bytearray(1024 * 2**20)  # by this process, which does not count
    found = alone(Task("some", taking, [256]))
    assert found is not None
    assert found.noted == {"bytes": 256 * 2**20}
    assert 200 < found.grown < 320 and found.seconds > 0
    del held
    assert alone(Task("too much", taking, [-1])) is None
    with pytest.raises(RuntimeError, match="failed with 1"):
        alone(Task("fault", taking, ["x"]))


def test_memory_that_runs_out_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []

    def some(task: Task) -> Taken | None:
        ran.append(task.name)
        return None if len(ran) == 4 else here(task)

    monkeypatch.setattr(processes, "alone", some)
    tasks = [Task(name, taking, [0]) for name in ("one", "two")]
    taken = take_turns(tasks, 3, "test")
    assert ran == ["one", "two", "one", "two", "one"]
    assert len(taken["one"]) == 3 and taken["two"] == []


def test_turns_alternate_and_the_first_calls_do_not_count() -> None:
    order: list[str] = []
    entries = [
        Entry("a", lambda: order.append("a"), lambda: order.append("-")),
        Entry("b", lambda: order.append("b"), least=3),
    ]
    times = race(entries, 2, 0.0, CPU, "test")
    assert "".join(order) == "a-a-bb" + 2 * "a-bbb"
    assert [len(times[name]) for name in "ab"] == [2, 2]


def test_a_line_of_the_table() -> None:
    line = Line(
        "b", "crops", "ours", "PNG", [0.1, 0.2, 0.4], [2.0, 6.0, 4.0],
        per_second(16, "crops"), Target("ratio", 20.5), ", so",
    )  # fmt: skip
    assert line.ratio == pytest.approx(20)  # 4.0 over 0.2
    assert not line.met
    expected = "| b | crops | ours: 80 crops/s, so | PNG: 4 crops/s | **20** (10 to 30, 3 rounds) "
    assert str(line) == expected + "| 20.5: **missed** |"


def test_one_round_has_no_spread() -> None:
    line = Line("f", "upscale", "ours", "spandrel", [2.0], [3.0], milliseconds)
    assert line.cells()[4] == "**1.5** (one round)"


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "met"), (0.4, "**missed**")])
def test_a_line_without_an_alternative(seconds: float, words: str) -> None:
    line = Line("g", "help", "usrdu", "", [seconds], [], milliseconds, Target("ours", 0.3))
    assert line.met == (words == "met")
    assert line.cells()[3:] == ["-", "-", f"at most 300 ms: {words}"]


def test_figures() -> None:
    assert [milliseconds(0.0123), milliseconds(1.5)] == ["12.3 ms", "1.5 s"]
    assert per_second(5000, "crops")(2.0) == "2,500 crops/s"
    assert mebibytes(12.6) == "13 MiB"


def test_pictures_are_photographs_of_any_size() -> None:
    one, same, other = picture(0, 700, 900), picture(0, 700, 900), picture(1, 700, 900)
    assert one.shape == (3, 700, 900) and (one == same).all() and (one != other).any()
    steps = abs(one[:, :, 1:].astype(float) - one[:, :, :-1]).mean()
    assert 1.5 < steps < 20  # neither flat nor noise


def test_help_shows_an_example() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"], cwd=Path(__file__).parents[2],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Example: uv run" in done.stdout
