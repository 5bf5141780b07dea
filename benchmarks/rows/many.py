"""Row h: start and memory with as many images as a large data set has."""

import json
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks.bench import Bench
from benchmarks.data import picture, write_stores
from benchmarks.processes import Task, take_turns
from benchmarks.race import Line, Target, mebibytes, milliseconds
from pipeline.crops.batches import Demand
from pipeline.crops.memory import Memory
from pipeline.sampling.sampler import Draw, make_sampler
from pipeline.stores.format import Kind, seal
from pipeline.stores.reader import Store
from pipeline.train_srn.streams import SampleStream

SIDE = 128
"""Of an HR image; all are one."""
BUDGET = 20
"""MiB that images may take; all of them together take 300 times that."""
STEPS, BATCH, PATCH, WINDOW, VISITS = 200, 16, 16, 256, 1
KINDS: tuple[Kind, ...] = ("hr", "maps")
LISTINGS = ("os.listdir", "os.scandir")


def train(folder: str, steps: int) -> Callable[[], dict[str, float]]:
    """Open the stores and ask for batches, and for the peak of memory before and after them."""
    listed = 0

    def hook(event: str, _: object) -> None:
        nonlocal listed
        listed += event in LISTINGS

    def work() -> dict[str, float]:
        before = listed
        hr, maps = (Store(Path(folder) / f"{kind}.zarr", kind) for kind in KINDS)
        cpu, memory = torch.device("cpu"), Memory(0, BUDGET * 2**20)
        demand = Demand(BATCH, VISITS, WINDOW, 0, cpu, memory)
        stream = SampleStream(hr, maps, PATCH, make_sampler(Draw("raw")), demand)
        for step in range(steps):
            stream.batch(step)
        stream.batches.close()
        return {"listed": listed - before}

    sys.addaudithook(hook)
    return work


def many(bench: Bench) -> Iterator[Line]:
    """Row h: seconds to the first batch, memory, and directories that were listed."""
    count = bench.size.many
    folder = _simulated(bench.scratch / "many", count)
    tasks = [Task("first", train, (str(folder), 1)), Task("more", train, (str(folder), STEPS))]
    taken = take_turns(tasks, bench.few, f"h: {count:,} images")
    first, more = taken["first"], taken["more"]
    what, ours = f"{count:,} images", "SampleStream"
    seconds = [one.seconds for one in first]
    yield Line("h", f"{what}, first batch", ours, "", seconds, [], milliseconds, Target("ours", 10))
    opened = statistics.median(one.grown for one in first)
    grown = [one.grown for one in more]
    yield Line(
        "h",
        f"{what}, memory above imports after {STEPS} batches, machine.memory {BUDGET} MiB",
        ours,
        "",
        grown,
        [],
        mebibytes,
        Target("ours", opened + BUDGET),
        f"; {opened:.0f} MiB with the first",
    )
    listed = [one.noted["listed"] for one in more]
    yield Line(
        "h", f"{what}, directories listed", ours, "", listed, [], lambda n: f"{n:.0f}",
        Target("ours", 0),
    )  # fmt: skip


def _simulated(folder: Path, count: int) -> Path:
    """Stores of one image, and links to it that the root attributes name as images."""
    folder.mkdir()
    write_stores(folder, ["image"], lambda _: picture(0, SIDE, SIDE))
    ids = [f"image{number:06}" for number in range(count)]
    for kind in KINDS:
        root = folder / f"{kind}.zarr"
        described = json.loads((root / "zarr.json").read_text())
        own = described["attributes"]["usrdu"]
        own |= {"ids": ids, "shapes": dict.fromkeys(ids, own["shapes"]["image"])}
        checksums = {place.removeprefix("image/"): sum_ for place, sum_ in own["checksums"].items()}
        own["checksums"] = {f"{i}/{place}": sum_ for i in ids for place, sum_ in checksums.items()}
        own["seal"] = seal(own)
        (root / "zarr.json").write_text(json.dumps(described))
        for image_id in ids:
            (root / "images" / image_id).symlink_to("image", target_is_directory=True)
    return folder
