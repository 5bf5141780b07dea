"""Run the commands of the pipeline in children that are killed and disturbed at random moments.

A program of its own, started by test_kill: children are forks, which begin within milliseconds,
while a new process would import for seconds; and a fork wants a parent without threads.

    python tests/killing.py FOLDER SEED KILLS

In FOLDER are params.yaml and cameras.yaml.  The commands run once undisturbed in FOLDER/straight,
then in FOLDER/killed, where each, before it may end, is killed KILLS times, interrupted once, and
as often as it is killed finds a full disk and loses its inputs.  Prints a JSON list of what was
done.
"""

import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from small_stores import require_whole_stores

from stages.cli import main

COMMANDS = {
    "demo": "demo --out data/raw/demo --metrics data/demo/metrics.json",
    "prepare": "prepare --hr data/raw/demo/hr --lr data/raw/demo/lr --val data/raw/demo/val "
    "--pairs data/raw/demo/val --out data/prepare --metrics data/prepare/metrics.json",
    "train_dsn": "train-dsn --hr data/prepare/hr.zarr --lr data/prepare/lr.zarr --out data/dsn",
    "export": "export --hr data/prepare/hr.zarr --dsn data/dsn/dsn.safetensors "
    "--maps data/export/maps.zarr --metrics data/export/metrics.json",
    "calibrate": "calibrate --maps data/export/maps.zarr --lr data/prepare/lr.zarr "
    "--out data/calibrate/calibration.json --metrics data/calibrate/metrics.json",
    "audit": "audit --maps data/export/maps.zarr --hr data/prepare/hr.zarr "
    "--lr data/prepare/lr.zarr --val data/prepare/val.zarr --out data/audit/page "
    "--metrics data/audit/metrics.json",
    "train_srn": "train-srn --arch compact --hr data/prepare/hr.zarr --maps data/export/maps.zarr "
    "--out data/srn",
    "evaluate": "evaluate --val data/prepare/val.zarr --model data/srn/srn.safetensors "
    "--out data/evaluate --metrics data/evaluate/metrics.json",
}
"""In the order of the pipeline."""
INPUTS = {
    "prepare": ["data/raw/demo/hr", "data/raw/demo/lr"],
    "train_dsn": ["data/prepare/hr.zarr", "data/prepare/lr.zarr"],
    "export": ["data/prepare/hr.zarr", "data/dsn"],
    "calibrate": ["data/export/maps.zarr", "data/prepare/lr.zarr"],
    "audit": ["data/export/maps.zarr", "data/prepare/hr.zarr", "data/prepare/lr.zarr"],
    "train_srn": ["data/export/maps.zarr", "data/prepare/hr.zarr"],
    "evaluate": ["data/prepare/val.zarr", "data/srn"],
}
"""What may vanish."""


class Fault(NamedTuple):
    """A disturbance, and what came of it."""

    what: str
    status: int
    said: str


def start(words: str, out: int, room: int | None = None) -> int:
    """Fork a child that runs a command and says into ``out``; returns its process id.

    With ``room`` it can write no file of more bytes: the error is that of a full disk but for its
    name.
    """
    child = os.fork()
    if child:
        os.close(out)
        return child
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)
    if room is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    try:
        main(words.split())
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def opened(log: Path) -> int:
    """An empty file to say something into."""
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)


def status(child: int) -> int:
    """Wait for the end of a child; returns its exit status, or less than 0 for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def finish(words: str, log: Path) -> float:
    """Run a command to its end; returns the seconds it took."""
    begin = time.monotonic()
    if status(start(words, opened(log))):
        raise SystemExit(f"{words}\n{log.read_text()}")
    return time.monotonic() - begin


def disturb(words: str, log: Path, after: float, how: signal.Signals) -> int:
    """Run a command and send it a signal after some seconds; returns its exit status."""
    child = start(words, opened(log))
    time.sleep(after)
    os.kill(child, how)
    return status(child)


def crowd(words: str, room: int) -> Fault:
    """Run a command that has room for so many bytes in a file."""
    reader, writer = os.pipe()  # a file of what it says would have to be as small
    child = start(words, writer, room)
    with os.fdopen(reader, errors="replace") as said:
        text = said.read()
    return Fault(f"room for {room} bytes", status(child), text)


def rob(words: str, log: Path, after: float, place: Path) -> Fault:
    """Run a command whose input is gone after some seconds, and is back when it has ended."""
    child, away = start(words, opened(log)), place.with_name("away")
    time.sleep(after)
    place.rename(away)
    code = status(child)
    away.rename(place)
    return Fault(f"{place} gone after {after:.2f} s", code, log.read_text(errors="replace"))


def require_whole(why: str) -> None:
    """Look at the stores in a child: one that forks must have no threads.

    Raises:
        SystemExit: One is not whole.

    """
    child = os.fork()
    if not child:
        require_whole_stores(Path("data"))
        os._exit(0)
    if status(child):
        raise SystemExit(f"{why}: a store is not whole")


def forget() -> None:
    """So that a command that has ended has something to do again; see ``pipeline.stores.kept``."""
    for kept in Path("data/work").glob("*/*.finished"):
        shutil.rmtree(kept)


def killed(stage: str, seconds: float, kills: int, source: random.Random) -> dict[str, object]:
    """Kill and disturb a command so many times, and let it end; returns what happened."""
    words, log = COMMANDS[stage], Path("log.txt")
    hits, places, attempts = 0, [], 0
    while hits < kills and attempts < 4 * kills:
        attempts += 1
        forget()
        after = source.uniform(0, seconds)
        if disturb(words, log, after, signal.SIGKILL) == -signal.SIGKILL:
            hits += 1
            places.append(round(after / seconds, 2))
        require_whole(f"{stage}, killed after {after:.2f} s")
    forget()
    interrupted = disturb(words, log, source.uniform(0.3, 0.7) * seconds, signal.SIGINT)
    said = log.read_text()
    faults = []
    for _ in range(kills):
        forget()
        faults.append(crowd(words, int(10 ** source.uniform(1, 4))))
        require_whole(f"{stage}, {faults[-1].what}")
        for place in INPUTS.get(stage, []):
            forget()
            faults.append(rob(words, log, source.uniform(0, seconds / 2), Path(place)))
            require_whole(f"{stage}, {faults[-1].what}")
    finish(words, log)
    return {
        "stage": stage, "kills": hits, "at": places, "interrupted": interrupted, "said": said,
        "faults": [fault._asdict() for fault in faults],
    }  # fmt: skip


def run(folder: Path, seed: int, kills: int) -> list[dict[str, object]]:
    """Both runs; returns what was done to every stage of the second."""
    for stage in COMMANDS:
        import_module(f"stages.{stage}")
        import_module(f"pipeline.{stage}")
    times = {}
    for name in ("straight", "killed"):
        (folder / name).mkdir()
        for file in ("params.yaml", "cameras.yaml"):
            shutil.copy(folder / file, folder / name / file)
    os.chdir(folder / "straight")
    for stage, words in COMMANDS.items():
        times[stage] = finish(words, Path("log.txt"))
    os.chdir(folder / "killed")
    source = random.Random(seed)
    return [killed(stage, times[stage], kills, source) for stage in COMMANDS]


if __name__ == "__main__":
    folder, seed, kills = sys.argv[1:]
    done = run(Path(folder).resolve(), int(seed), int(kills))
    sys.stdout.write(json.dumps(done) + "\n")
