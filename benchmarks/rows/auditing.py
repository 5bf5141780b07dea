"""Row e: audit, against one pass of NumPy over the same maps."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.bench import Bench
from benchmarks.data import SCALE, picture, write_stores
from benchmarks.processes import Task, take_turns
from benchmarks.race import Line
from benchmarks.rows.exporting import two_lines
from benchmarks.sizes import ROOT
from pipeline.audit.audit import audit
from pipeline.audit.graph import AuditInputs
from pipeline.audit.histograms import AuditSettings
from pipeline.base.settings import load_section
from pipeline.images.io import Image
from pipeline.stores.format import ARRAYS, Kind
from pipeline.stores.reader import Store

SIDE = 48
"""Of small maps."""
KINDS: tuple[Kind, ...] = ("maps", "hr", "lr")
OURS, PASS = "usrdu audit", "one NumPy pass"


def ours(folder: str) -> Callable[[], None]:
    """Audit the stores of a folder, without a calibration."""
    settings = load_section(ROOT / "params.yaml", "audit", AuditSettings)
    maps, hr, lr = (Store(Path(folder) / f"{kind}.zarr", kind) for kind in KINDS)

    def work() -> None:
        audit(AuditInputs(maps, hr, lr), settings, Path(folder) / "page")

    return work


def one_pass(folder: str) -> Callable[[], None]:
    """Read every chunk of the maps and count its values: the least that an audit must do."""
    maps = Store(Path(folder) / "maps.zarr", "maps")

    def work() -> None:
        for name in ARRAYS["maps"]:
            counts = np.zeros(2**16, np.int64)
            for image_id in maps.ids:
                values = maps.read(image_id, name).view(np.uint16)
                counts += np.bincount(values.ravel(), minlength=2**16)

    return work


def auditing(bench: Bench) -> Iterator[Line]:
    """Row e: MiB of maps per second, and memory, against the number of images."""
    height, width = (length // SCALE for length in bench.size.hr)
    mapped = bench.data.mapped.hr
    for count in bench.size.audit_counts:
        yield from _audited(bench, count, (height, width), lambda number: mapped[number])
    for count in bench.size.audit_small:
        yield from _audited(bench, count, (SIDE, SIDE), _small)


def _small(number: int) -> Image:
    return picture(number, SIDE * SCALE, SIDE * SCALE)


def _audited(
    bench: Bench, count: int, size: Sequence[int], image: Callable[[int], Image]
) -> Iterator[Line]:
    height, width = size
    folder = bench.scratch / f"audit{count}x{height}"
    folder.mkdir()
    write_stores(folder, [f"image{number:05}" for number in range(count)], image)
    tasks = [Task(OURS, ours, [str(folder)]), Task(PASS, one_pass, [str(folder)])]
    what = f"audit, {count:,} images of {height} x {width} LR pixels"
    taken = take_turns(tasks, bench.few, f"e: {what}")
    mebibytes = count * height * width * 3 * 2 * 2 / 2**20
    yield from two_lines("e", what, taken, mebibytes, "MiB")
