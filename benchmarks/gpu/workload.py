"""How much the parts do, and what each of them is given."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from benchmarks.bench import Bench
from benchmarks.data import MADE, Data
from benchmarks.gpu.results import Timed
from benchmarks.gpu.run import Setting
from benchmarks.race import Entry, race
from benchmarks.sizes import SIZES, Size


@dataclass(frozen=True)
class Workload:
    """Sizes of what ``Size`` does not name."""

    size: Size
    draws: int
    """Of the law, in all; a multiple of ``chunk``."""
    chunk: int
    """Draws at a time, and those that are sorted."""
    images: tuple[int, int, int, int]
    """(N, 3, H, W) of the LR images that samplers make."""
    large_batch: int
    """Crops of the larger of two batches."""
    export_side: int
    """Of an HR image."""
    upscaled: tuple[int, int]
    """(H, W) of an LR image."""
    tile: int
    """Side of a tile of it; a size at which nothing is cut has no meaning."""
    matrix: int
    """Side of the matrices of the peak."""


WORKLOADS = {
    "paper": Workload(
        replace(SIZES["paper"], images=16, drawn=True, turn=0.5),
        draws=2**28,
        chunk=2**26,
        images=(8, 3, 1024, 1024),
        large_batch=128,
        export_side=3000,
        upscaled=(510, 764),
        tile=256,
        matrix=8192,
    ),
    "tiny": Workload(
        replace(SIZES["tiny"], drawn=True),
        draws=2**19,
        chunk=2**18,
        images=(1, 3, 32, 32),
        large_batch=4,
        export_side=128,
        upscaled=(24, 40),
        tile=16,
        matrix=128,
    ),
}
"""By the name of a size: ``tiny`` proves that the parts run."""


class Given:
    """What a part is given.

    Args:
        setting: Size, device, rounds and data.
        scratch: A folder of its own.

    """

    def __init__(self, setting: Setting, scratch: Path) -> None:
        self.setting, self.load = setting, WORKLOADS[setting.size]
        self.device, self.scratch = torch.device(setting.device), scratch

    @cached_property
    def bench(self) -> Bench:
        """As the rows of the other table have it.

        Raises:
            FileNotFoundError: The part that makes the images failed.

        """
        if not (self.setting.folder / MADE).exists():
            raise FileNotFoundError("the part 'data' has made no images")
        return self.made()

    def made(self) -> Bench:
        """The same; images are made if they are not there."""
        data = Data(self.setting.folder, self.load.size)
        return Bench(self.load.size, self.device, self.setting.rounds, data, self.scratch, None)


@dataclass(frozen=True)
class Measured:
    """What is timed; see ``Timed``."""

    what: str
    way: str
    units: float
    unit: str
    tflop: float = 0.0
    peak: str = ""


WARM = 3
"""Calls before the clock runs: kernels are chosen, and memory is asked for."""


def timed(of: Given, told: Measured, work: Callable[[], object], warm: int = WARM) -> Timed:
    """Measure some work in rounds, and the memory of the device that it takes."""
    device = of.device
    for _ in range(warm):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    entry = Entry(told.way, work)
    seconds = race(
        [entry], of.setting.rounds, of.load.size.turn, device, f"{told.what}, {told.way}"
    )
    memory = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else 0.0
    return Timed(
        told.what, told.way, seconds[told.way], told.units, told.unit, memory, told.tflop,
        told.peak,
    )  # fmt: skip
