"""Work in a process of its own, so that peak memory is that of the work alone.

Run: python -m benchmarks.processes MODULE FUNCTION ARGUMENTS, the last a JSON list.  The function
prepares and returns what is measured.
"""

import importlib
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from benchmarks.sizes import ROOT


class Taken(NamedTuple):
    """What it took."""

    seconds: float
    before: float
    """MiB that the process had taken at most before, for imports."""
    peak: float
    """MiB at most."""
    on_gpu: float
    """MiB of the GPU at most; 0 without one."""
    noted: dict[str, float]
    """What the work returned, if anything."""

    @property
    def grown(self) -> float:
        """MiB that the work took at most."""
        return max(self.peak - self.before, 1.0)


class Task(NamedTuple):
    """A function of a module that returns what is measured, and its arguments, JSON values."""

    name: str
    prepare: Callable[..., Callable[[], object]]
    arguments: Sequence[object]


def alone(task: Task) -> Taken | None:
    """Run a task in a new process; None where memory does not suffice."""
    words = [task.prepare.__module__, task.prepare.__name__, json.dumps(task.arguments)]
    command = [sys.executable, "-m", "benchmarks.processes", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    if done.returncode in (3, -9):  # see ``_main``; and what the system ended
        return None
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed with {done.returncode}")
    return Taken(*json.loads(done.stdout.splitlines()[-1]))


def take_turns(tasks: Sequence[Task], rounds: int, what: str) -> dict[str, list[Taken]]:
    """Each round runs every task once; an empty list where memory does not suffice."""
    taken: dict[str, list[Taken]] = {task.name: [] for task in tasks}
    left = list(tasks)
    for _ in tqdm(range(rounds), what, unit="round"):
        for task in list(left):
            if (found := alone(task)) is None:
                left.remove(task)
                taken[task.name] = []
            else:
                taken[task.name].append(found)
    return taken


def _main(module: str, function: str, arguments: str) -> None:
    work = getattr(importlib.import_module(module), function)(*json.loads(arguments))
    import torch

    before = peak()
    begin = time.perf_counter()
    try:
        noted = work()
    except (torch.OutOfMemoryError, MemoryError) as error:
        sys.exit(_told(3, error))
    except RuntimeError as error:  # torch's allocator of host memory
        if "not enough memory" not in str(error):
            raise
        sys.exit(_told(3, error))
    seconds = time.perf_counter() - begin
    on_gpu = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
    print(json.dumps([seconds, before, peak(), on_gpu, noted or {}]))


def _told(code: int, error: Exception) -> int:
    print(str(error).splitlines()[0][:200], file=sys.stderr)
    return code


def peak() -> float:
    """MiB that this process has taken at most.

    Of a process that was forked ``ru_maxrss`` also counts what its parent held at that moment.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    _main(*sys.argv[1:])
