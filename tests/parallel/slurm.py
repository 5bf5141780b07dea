"""Slurm as far as the tests need it: ``sbatch``, ``scancel`` and ``scontrol`` that run jobs here.

``install`` writes the programs, each of which calls this file.  A job is a bash script, which is
copied when it is submitted and runs in a session of its own; its output goes to ``JOB.out``.  When
the file that ``SLURM_LIMIT_AT`` names appears, the time limit of a job's first run is near: its
shell gets USR1, as ``--signal=B:USR1`` says.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

POLL = 0.05
"""Seconds between two looks at a job."""


def install(folder: Path) -> dict[str, str]:
    """Write the programs; returns the environment that finds them."""
    for name in ("sbatch", "scancel", "scontrol"):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
        program.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "SLURM_FOLDER": str(folder)}


def wait(folder: Path, job: int, seconds: float = 300) -> int:
    """Wait for the end of a job; returns its exit status."""
    end, deadline = folder / f"{job}.end", time.monotonic() + seconds
    while not end.exists():
        if time.monotonic() > deadline:
            raise TimeoutError((folder / f"{job}.out").read_text())
        time.sleep(POLL)
    return int(end.read_text())


def _sbatch(folder: Path, script: str, *words: str) -> None:
    job = len(list(folder.glob("*.sh"))) + 1
    shutil.copy(script, folder / f"{job}.sh")
    with (folder / f"{job}.out").open("a") as output:
        runner = subprocess.Popen(
            [sys.executable, __file__, "run", str(job), *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    (folder / f"{job}.pid").write_text(str(runner.pid))
    print(f"Submitted batch job {job}")


def _run(folder: Path, job: str, *words: str) -> None:
    limit_at = os.environ.get("SLURM_LIMIT_AT")
    status = _run_once(folder, job, words, limit_at)
    while (folder / f"{job}.requeue").exists():
        (folder / f"{job}.requeue").unlink()
        status = _run_once(folder, job, words, None)
    partial = folder / f"{job}.ending"
    partial.write_text(str(status))
    partial.rename(folder / f"{job}.end")


def _run_once(folder: Path, job: str, words: tuple[str, ...], limit_at: str | None) -> int:
    shell = subprocess.Popen(
        ["bash", str(folder / f"{job}.sh"), *words], env={**os.environ, "SLURM_JOB_ID": job}
    )
    while limit_at and shell.poll() is None:
        if any(Path("/").glob(limit_at.lstrip("/"))):
            shell.send_signal(signal.SIGUSR1)
            break
        time.sleep(POLL)
    return shell.wait()


def _scancel(folder: Path, job: str) -> None:
    with suppress(ProcessLookupError):  # it has ended
        os.killpg(int((folder / f"{job}.pid").read_text()), signal.SIGTERM)


def _scontrol(folder: Path, verb: str, job: str) -> None:
    assert verb == "requeue"
    (folder / f"{job}.requeue").touch()


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    verbs: dict[str, Callable[..., None]] = {
        "sbatch": _sbatch,
        "run": _run,
        "scancel": _scancel,
        "scontrol": _scontrol,
    }
    verbs[verb](Path(os.environ["SLURM_FOLDER"]), *rest)
