"""Batches of crops with fresh samples, from images that lie on the device."""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.gpu.results import Result
from benchmarks.gpu.workload import Given, Measured, timed
from benchmarks.rows.pairs import ReleasedWay, entry, streams


def resident(of: Given, large: bool) -> Iterator[Result]:
    """``SampleStream`` with everything on the device, in small batches or large ones."""
    batch = of.load.large_batch if large else of.load.size.batch
    bench = replace(of.bench, size=replace(of.bench.size, batch=batch))
    name, stream = next(streams(bench, "raw"))
    try:
        told = _told(of, f"{name}, batches of {batch}", batch)
        yield timed(of, told, entry(name, stream, stream.batch).work)
    finally:
        stream.batches.close()


def released(of: Given) -> Iterator[Result]:
    """The released code's way: both files decoded for every crop, the DSN on it, NumPy's noise."""
    size = of.load.size
    told = _told(of, f"released code's way, batches of {size.batch}", size.batch)
    yield timed(of, told, ReleasedWay(of.bench).batch, warm=1)


def _told(of: Given, way: str, batch: int) -> Measured:
    patch = of.load.size.patch
    return Measured(f"crops, HR {4 * patch} and LR {patch}, sampled", way, batch, "crops")
