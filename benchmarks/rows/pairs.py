"""Rows a and b: crops for the SRN, from our streams and from what others read them from."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from imagecodecs import png_decode
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.bench import Bench
from benchmarks.data import SCALE, Data, plain_dsn
from benchmarks.race import Entry, Line, Target, Times, milliseconds, per_second, race
from pipeline.base.boxes import Box
from pipeline.crops.batches import Demand
from pipeline.crops.memory import Memory
from pipeline.dsn.network import theta_from_log
from pipeline.images.io import Image
from pipeline.sampling.sampler import Draw, Theta, make_sampler
from pipeline.stores.reader import Store
from pipeline.train_srn.streams import SampleStream

MANY_VISITS, ONE_VISIT = 64, 1
"""Crops of an image in an epoch: the demo's, and the fewest, where nothing is read twice."""
MAPPED, STRAIGHT, DATABASE = "np.memmap", "np.memmap, not turned", "LMDB of PNGs"
RESIDENT, ROLLING, ONCE = "resident", "rolling window", "rolling window, 1 crop a visit"
EPOCHS = 3
"""Of a rolling window's turn, so that it reads more than it may hold."""


# --- ours


class WatchedStore(Store):
    """A store that knows whether it is being read."""

    reading = 0
    lock = threading.Lock()

    def read(self, image_id: str, name: str, box: Box | None = None) -> NDArray[Any]:
        with self.lock:
            WatchedStore.reading += 1
        try:
            return super().read(image_id, name, box)
        finally:
            with self.lock:
                WatchedStore.reading -= 1


def rest() -> None:
    """Wait until no thread reads any more: what was read ahead was not for nothing."""
    quiet = 0
    while quiet < 3:
        quiet = 0 if WatchedStore.reading else quiet + 1
        time.sleep(0.002)


def streams(bench: Bench, theta: Theta) -> Iterator[tuple[str, SampleStream]]:
    """Our three: everything in memory, and two that roll."""
    data, size = bench.data, bench.size
    hr, maps = WatchedStore(data.hr_path, "hr"), WatchedStore(data.maps_path, "maps")
    height, width = size.hr
    maps_used = 2 if theta == "raw" else 1
    image = 3 * height * width + maps_used * 2 * 3 * (height * width) // SCALE**2
    window = 2
    tight = Memory(0, (window + size.batch) * image)
    plenty = Memory(2**62 if bench.device.type == "cuda" else 0, 2**62)
    for name, visits, memory in (
        (RESIDENT, MANY_VISITS, plenty),
        (ROLLING, MANY_VISITS, tight),
        (ONCE, ONE_VISIT, tight),
    ):
        demand = Demand(size.batch, visits, window, 0, bench.device, memory)
        yield name, SampleStream(hr, maps, size.patch, make_sampler(Draw(theta)), demand)


def entry(name: str, stream: SampleStream, batch: Callable[[int], object]) -> Entry:
    """Batch after batch of a stream, of which every image has been read once."""
    steps = itertools.count(stream.schedule.steps(1))
    for step in range(stream.schedule.steps(1)):
        batch(step)
    if name == RESIDENT:
        return Entry(name, lambda: batch(next(steps)))
    return Entry(name, lambda: batch(next(steps)), rest, stream.schedule.steps(EPOCHS))


# --- theirs


class Place(NamedTuple):
    """An image, a corner on the LR grid, and a turn."""

    image: int
    top: int
    left: int
    rows: bool
    columns: bool
    transposed: bool


Read = Callable[[int], tuple[NDArray[Any], NDArray[Any]]]
"""From an image's number to the whole HR and LR image, (3, H, W) each, perhaps a view of a file."""


class Crops:
    """Batches of pairs of crops at random places of images that are read anew for every crop.

    Args:
        bench: How many, of what size, and where they go.
        read: How an image is read.
        turned: Whether crops are flipped and transposed.
        spread: Whether all cores read; a memory map is faster without.

    """

    def __init__(self, bench: Bench, read: Read, turned: bool = True, spread: bool = True) -> None:
        self.size, self.device, self.read, self.turned = bench.size, bench.device, read, turned
        self.rng = np.random.default_rng(0)
        self.workers = ThreadPoolExecutor() if spread else None

    def batch(self) -> tuple[Tensor, Tensor]:
        """HR and LR crops (N, 3, S, S) on the device, of the types of what is read."""
        run = map if self.workers is None else self.workers.map
        crops = list(run(self.cut, self.places()))
        hr, lr = (torch.from_numpy(np.stack(side)) for side in zip(*crops, strict=True))
        return hr.to(self.device), lr.to(self.device)

    def places(self) -> list[Place]:
        """Where the next crops are."""
        height, width = (length // SCALE for length in self.size.hr)
        count, patch = self.size.batch, self.size.patch
        columns = (
            self.rng.integers(self.size.images, size=count),
            self.rng.integers(height - patch + 1, size=count),
            self.rng.integers(width - patch + 1, size=count),
            *(self.rng.random((3, count)) < (0.5 if self.turned else 0)),
        )
        return [Place(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]

    def cut(self, place: Place) -> list[NDArray[Any]]:
        """Read a pair and cut a crop of both sides."""
        return [
            _turned(image, place, self.size.patch, finer)
            for image, finer in zip(self.read(place.image), (SCALE, 1), strict=True)
        ]


def _turned(image: NDArray[Any], place: Place, patch: int, finer: int) -> NDArray[Any]:
    top, left, side = place.top * finer, place.left * finer, patch * finer
    crop = image[:, top : top + side, left : left + side]
    if place.rows:
        crop = crop[:, ::-1]
    if place.columns:
        crop = crop[:, :, ::-1]
    return crop.swapaxes(1, 2) if place.transposed else crop


def png_folder(data: Data) -> Read:
    """Two PNG files are decoded, whole."""

    def file(path: Path) -> Image:
        return _decoded(path.read_bytes())

    return lambda number: (file(data.png("hr", number)), file(data.png("lr", number)))


def png_lmdb(data: Data) -> Read:
    """The same from a database."""
    database = data.database()

    def value(key: str) -> Image:
        with database.begin(buffers=True) as transaction:
            return _decoded(transaction.get(key.encode()))

    return lambda number: (value(f"hr/{data.ids[number]}"), value(f"lr/{data.ids[number]}"))


def memory_map(data: Data) -> Read:
    """Nothing is decoded: views of two files that lie in memory."""
    mapped = data.mapped
    return lambda number: (mapped.hr[number], mapped.mean[number])


def _decoded(png: Any) -> Image:
    return np.moveaxis(png_decode(png), -1, 0)


class ReleasedWay:
    """As the released code makes a batch: its DSN on every crop, its noise from NumPy.

    The mean is read from an 8-bit PNG, theta is what the DSN says of the HR crop.
    """

    def __init__(self, bench: Bench) -> None:
        self.crops = Crops(bench, png_folder(bench.data))
        self.dsn = plain_dsn(bench.data.dsn(), bench.device)
        self.rng = np.random.default_rng(0)

    @torch.no_grad()
    def batch(self) -> tuple[Tensor, Tensor]:
        """LR and HR crops in [0, 1]."""
        hr, lr = (part.float() / 255 for part in self.crops.batch())
        theta = theta_from_log(self.dsn(hr).log_theta_gray)
        noise = torch.from_numpy(self.rng.laplace(size=lr.shape)).float()
        return lr + noise.to(lr.device) * theta, hr


def _plain(crops: Crops) -> tuple[Tensor, Tensor]:
    """HR and LR in [0, 1], as a network takes them."""
    hr, lr = crops.batch()
    return lr.float() / 255, hr.float() / 255


# --- the rows


def batch_cost(bench: Bench) -> Iterator[Line]:
    """Row a: the data of one SRN batch, from the store to tensors in [0, 1]."""
    made = list(streams(bench, "raw"))
    ours = [entry(name, stream, stream.batch) for name, stream in made]
    png, released = Crops(bench, png_folder(bench.data)), ReleasedWay(bench)
    theirs = [
        Entry("PNG pairs, no sampling", lambda: _plain(png)),
        Entry("released code's way", released.batch),
    ]
    times = _race(bench, [*ours, *theirs], "a: data of a batch")
    targets = {"released code's way": Target("ratio", 50)}
    what = f"data of a batch of {_crops(bench)}, sampled"
    yield from _lines("a", what, times, [e.name for e in theirs], milliseconds, targets)
    _close(made)


def crops_per_second(bench: Bench) -> Iterator[Line]:
    """Row b: pairs of crops a second, as they are stored."""
    made = list(streams(bench, "none"))
    ours = [entry(name, stream, stream.batches.batch) for name, stream in made]
    reads = {
        MAPPED: Crops(bench, memory_map(bench.data), spread=False),
        STRAIGHT: Crops(bench, memory_map(bench.data), turned=False, spread=False),
        "PNG files": Crops(bench, png_folder(bench.data)),
        DATABASE: Crops(bench, png_lmdb(bench.data)),
    }
    theirs = [Entry(name, crops.batch) for name, crops in reads.items()]
    times = _race(bench, [*ours, *theirs], "b: crops per second")
    targets = {MAPPED: Target("ratio", 0.7), "PNG files": Target("ratio", 20)}
    show = per_second(bench.size.batch, "crops")
    what = f"pairs of crops, batches of {_crops(bench)}"
    yield from _lines("b", what, times, list(reads), show, targets)
    _close(made)


def _crops(bench: Bench) -> str:
    patch = bench.size.patch
    return f"{bench.size.batch} (HR {patch * SCALE}, LR {patch})"


def _race(bench: Bench, entries: Sequence[Entry], what: str) -> Times:
    return race(entries, bench.rounds, bench.size.turn, bench.device, what)


def _lines(
    row: str, what: str, times: Times, others: Sequence[str], show: Callable[[float], str],
    targets: dict[str, Target],
) -> Iterator[Line]:  # fmt: skip
    """What is resident against every alternative, with targets; what rolls against decoding."""
    for name in (RESIDENT, ROLLING, ONCE):
        for other in others:
            if name != RESIDENT and other in (MAPPED, STRAIGHT, DATABASE):
                continue
            target = targets.get(other) if name == RESIDENT else None
            yield Line(row, what, name, other, times[name], times[other], show, target)


def _close(made: Sequence[tuple[str, SampleStream]]) -> None:
    for _, stream in made:
        stream.batches.close()
