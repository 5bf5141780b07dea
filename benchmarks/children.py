"""Each row of a table in a process of its own, so that peak memory is that of the row alone."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import click


def told(work: Callable[[], object] | None) -> None:
    """Run a row's work in the child, or only the imports before it, and print what it took."""
    start = time.perf_counter()
    if work is not None:
        work()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    click.echo(json.dumps({"seconds": seconds, "peak": peak}))


def measured(script: str, *words: object) -> dict[str, float]:
    """Run a script's child: seconds, and peak memory in MiB."""
    command = [sys.executable, script, *(str(word) for word in words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    row: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return row
