"""Row g: how long a command takes that has nothing to do."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.race import Entry, Line, Target, milliseconds, race
from benchmarks.sizes import ROOT

HERE = Path(sys.executable).parent
"""Where the commands of this environment are."""


def commands(bench: Bench) -> Iterator[Line]:
    """Row g: ``usrdu --help``, and ``dvc repro`` after it has run."""
    repository = bench.repository or _clone(bench.scratch / "clone")
    entries = {
        "usrdu --help": _runs(ROOT, str(HERE / "usrdu"), "--help"),
        "python -c pass": _runs(ROOT, sys.executable, "-c", "pass"),
        "dvc repro": _runs(repository, str(HERE / "dvc"), "repro"),
        "git status": _runs(repository, "git", "status"),
    }
    racing = [Entry(name, work) for name, work in entries.items()]
    times = race(racing, bench.rounds, 0, bench.device, "g: commands")
    for what, ours, other, most in (
        ("help", "usrdu --help", "python -c pass", 0.3),
        ("nothing to reproduce", "dvc repro", "git status", 3.0),
    ):
        target = Target("ours", most)
        yield Line("g", what, ours, other, times[ours], times[other], milliseconds, target)


def _runs(folder: Path, *words: str) -> Callable[[], object]:
    path = f"{HERE}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}

    def run() -> None:
        subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True)

    return run


def _clone(target: Path) -> Path:
    """The repository with tiny settings, once reproduced, as the tests make it."""
    sys.path.append(str(ROOT / "tests"))
    from repository import clone

    clone(target)
    return target
