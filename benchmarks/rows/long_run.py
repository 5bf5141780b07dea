"""Row i: trainings of many steps, whose memory, open files and threads must not grow."""

import math
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from ruamel.yaml import YAML

from benchmarks.bench import Bench
from benchmarks.data import Data
from benchmarks.race import Line, Target
from benchmarks.rows.commands import HERE
from benchmarks.sizes import SIZES

EVERY = 0.5
"""Seconds between two looks at the process."""
LEEWAY = 8.0
"""MiB that the second half may take more than the first; the curves in memory alone grow by 1."""
COMMANDS = {
    "DSN": "train-dsn --hr hr.zarr --lr lr.zarr --out dsn",
    "SRN": "train-srn --arch long --hr hr.zarr --maps maps.zarr --out srn",
}


class Look(NamedTuple):
    """What a process holds at one moment."""

    memory: float
    """MiB, resident."""
    files: float
    """That are open."""
    threads: float


def long_run(bench: Bench) -> Iterator[Line]:
    """Row i: growth from the second quarter of the time to the fourth, of the user's commands."""
    folder = bench.scratch / "long"
    data = Data(folder, SIZES["tiny"])
    YAML().dump(_params(len(data.ids), bench.size.long), folder / "params.yaml")
    for name, words in COMMANDS.items():
        middle, last = _quarters(_watched(folder, words))
        what = f"{name}, {bench.size.long:,} steps"
        for part, unit, leeway in (
            ("memory", " MiB", LEEWAY),
            ("files", "", 0),
            ("threads", "", 0),
        ):
            before, after = getattr(middle, part), getattr(last, part)
            yield Line(
                "i",
                f"{what}, growth of {'open files' if part == 'files' else part}",
                f"usrdu {words.split()[0]}",
                "",
                [max(after - before, 0.0)],
                [],
                lambda grown, unit=unit: f"{grown:.3g}{unit}",  # type: ignore[misc]
                Target("ours", leeway),
                f"; {before:.0f}{unit} in the second quarter, {after:.0f} in the last",
            )


def _params(images: int, steps: int) -> dict[str, Any]:
    """Tiny networks; images come and go all the time, and everything that is done at times is."""
    size, seldom = SIZES["tiny"], max(steps // 40, 1)
    four_images = 0.0003  # GiB, with their maps
    often: dict[str, object] = {"window": 2, "crops_per_image": 1}
    often |= {"log_every": 25}
    dsn = size.dsn_settings(**often)
    srn = size.srn_settings(**often)
    epochs = [math.ceil(steps * own.batch_size / images) for own in (dsn, srn)]
    length = {"epochs": epochs[0], "score_every": max(epochs[0] // 40, 1)}
    return {
        "machine": {"memory": four_images, "checkpoint_every": seldom},
        "train_dsn": dsn.model_dump(mode="json") | length,
        "train_srn": srn.model_dump(mode="json") | {"epochs": epochs[1]},
        "architectures": {"long": size.architecture().model_dump(mode="json")},
    }


def _watched(folder: Path, words: str) -> list[Look]:
    """Run a command, and look at its process from outside until it ends."""
    looks = []
    with subprocess.Popen(
        [str(HERE / "usrdu"), *words.split()], cwd=folder, stdout=subprocess.DEVNULL
    ) as running:
        process = psutil.Process(running.pid)
        while running.poll() is None:
            try:
                held = process.memory_info().rss / 2**20
                looks.append(Look(held, process.num_fds(), process.num_threads()))
            except psutil.Error:  # it is ending
                pass
            time.sleep(EVERY)
    if running.returncode:
        raise RuntimeError(f"usrdu {words} failed with {running.returncode}")
    return looks


def _quarters(looks: Sequence[Look]) -> tuple[Look, Look]:
    """Medians over the second quarter and over the last; the first also imports."""
    quarter = len(looks) // 4
    parts = looks[quarter : 2 * quarter + 1], looks[-quarter - 1 :]
    first, last = (Look(*map(statistics.median, zip(*part, strict=True))) for part in parts)
    return first, last
