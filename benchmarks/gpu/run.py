"""Runs parts one after the other, each in a process of its own, within a budget of time."""

import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import RLock
from typing import Any

from tqdm import tqdm

from benchmarks.gpu.results import MEASURED, Outcome, Result, from_plain, to_plain


@dataclass(frozen=True)
class Setting:
    """What is the same for all parts."""

    size: str
    """``paper`` or ``tiny``."""
    device: str
    rounds: int
    """Turns of whatever is timed."""
    folder: Path
    """The data of all parts."""


@dataclass(frozen=True)
class Part:
    """A part, and its time."""

    name: str
    function: str
    """``module:function``, called in the process with the setting, a folder of its own and the
    arguments; yields results, each of which outlives what happens afterwards."""
    arguments: Sequence[object] = ()
    limit: float = 60.0
    """Seconds after which it is ended."""
    least: float = 10.0
    """Seconds that must be left of the budget for it to begin."""
    memory: int | None = None
    """MiB of data that its process may hold; None: any."""


def run_parts(
    parts: Sequence[Part],
    setting: Setting,
    budget: float,
    preload: Sequence[str],
    done: Callable[[list[Outcome]], None],
) -> list[Outcome]:
    """Run every part for which there is time.

    Processes are forked from one that has imported what all need and has not touched the GPU.  If
    the first part fails, a library may have touched it all the same: then it is tried again, and
    all processes start from nothing.

    Args:
        parts: In this order.
        setting: Given to all.
        budget: Seconds for everything.
        preload: Modules imported once for all.
        done: Gets the outcomes so far, after every part.

    Returns:
        An outcome for every part.

    """
    begin = time.monotonic()
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(preload))
    method, outcomes = "forkserver", list[Outcome]()
    for number, part in enumerate(parts):
        outcome = _within(part, setting, budget, begin, method)
        if number == 0 and outcome.state != MEASURED:
            _tell(begin, f"{outcome}; again, in a new process")
            method = "spawn"
            outcome = _within(part, setting, budget, begin, method)
        outcomes.append(outcome)
        _tell(begin, f"{number + 1} of {len(parts)}, {outcome}")
        done(outcomes)
    return outcomes


def _within(part: Part, setting: Setting, budget: float, begin: float, method: str) -> Outcome:
    """Run a part, if there is time for it."""
    left = budget - (time.monotonic() - begin)
    if left < part.least:
        return Outcome(part.name, f"left out: {max(left, 0):.0f} s of the budget were left", 0.0)
    _tell(begin, f"{part.name}, at most {min(part.limit, left):.0f} s")
    return run_part(part, setting, min(part.limit, left), method)


def _tell(begin: float, words: str) -> None:
    print(f"[{time.monotonic() - begin:4.0f} s] {words}", file=sys.stderr, flush=True)


def run_part(part: Part, setting: Setting, limit: float, method: str) -> Outcome:
    """Run a part in a process of its own and end it, and what it has started, at its limit."""
    start: Any = multiprocessing.get_context(method)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        told, scratch = Path(folder) / "results.jsonl", Path(folder) / "scratch"
        told.touch()
        scratch.mkdir()
        process = start.Process(target=_process, args=(part, setting, scratch, told))
        state = None
        try:
            process.start()
            process.join(limit)
            if process.is_alive():
                state = f"over its limit of {limit:.0f} s"
        except (OSError, EOFError) as error:  # the process that forks did not come up
            state = f"failed: no process started, {type(error).__name__} {error}"
        finally:
            code = _end(process)
        results, failed = _read(told)
    state = state or failed or _ended(code)
    return Outcome(part.name, state, time.monotonic() - begin, results)


def _end(process: Any) -> int | None:
    """End a process with its group; returns what it ended with."""
    if process.pid is None:
        return None
    with suppress(ProcessLookupError, PermissionError):  # the group is gone, or not made yet
        os.killpg(process.pid, signal.SIGKILL)
    if process.is_alive():
        process.kill()
    process.join()
    code: int | None = process.exitcode
    return code


def _ended(code: int | None) -> str:
    if code == 0:
        return MEASURED
    if code is not None and code < 0:
        return f"failed: ended by {signal.Signals(-code).name}"
    return f"failed: ended with {code}"


def _read(told: Path) -> tuple[list[Result], str | None]:
    """Results, and what failed."""
    lines = [json.loads(line) for line in told.read_text().splitlines() if line.endswith("}")]
    failed = [line["failed"] for line in lines if "failed" in line]
    results = [from_plain(line) for line in lines if "failed" not in line]
    return results, f"failed: {failed[0]}" if failed else None


def _process(part: Part, setting: Setting, scratch: Path, told: Path) -> None:
    """All that the process of a part does."""
    os.setsid()  # a group of its own, which ends with it
    os.dup2(2, 1)  # the standard output is for the table
    tqdm.set_lock(RLock())  # tqdm's own would be left behind
    if part.memory is not None:
        limit = part.memory * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    module, name = part.function.split(":")
    with told.open("a") as file:

        def tell(plain: dict[str, Any]) -> None:
            file.write(json.dumps(plain) + "\n")
            file.flush()

        try:
            function = getattr(import_module(module), name)
            for result in function(setting, scratch, *part.arguments):
                tell(to_plain(result))
        except Exception as error:
            traceback.print_exc()
            words = " ".join(str(error).split())
            tell({"failed": f"{type(error).__name__}: {words}"[:600]})
    sys.stderr.flush()
    os._exit(0)  # threads and worker processes that are left need no end of their own
