"""Row d: export, against the DSN on whole images and np.save."""

import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.bench import Bench
from benchmarks.data import SCALE, picture, plain_dsn
from benchmarks.processes import Taken, Task, take_turns
from benchmarks.race import Line, Target, mebibytes, per_second
from benchmarks.sizes import ROOT
from pipeline.base.settings import load_section
from pipeline.dsn.network import theta_from_log
from pipeline.export.export import ExportSettings, export
from pipeline.images.io import to_float
from pipeline.stores.reader import Store
from pipeline.writing.writer import StoreWriter

OURS, NAIVE = "usrdu export", "whole images, np.save"


def ours(store: str, weights: str) -> Callable[[], None]:
    """Export a store."""
    settings = load_section(ROOT / "params.yaml", "export", ExportSettings)
    hr, target = Store(Path(store), "hr"), Path(store).with_suffix(".maps")

    def work() -> None:
        export(hr, Path(weights), settings, target)
        target.rename(target.with_suffix(f".{len(list(target.parent.iterdir()))}"))

    return work


def naive(store: str, weights: str) -> Callable[[], None]:
    """Every image in one piece through the network; float16 arrays, not compressed."""
    hr = Store(Path(store), "hr")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dsn = plain_dsn(Path(weights), device)

    @torch.no_grad()
    def work() -> None:
        for image_id in hr.ids:
            image = to_float(hr.read(image_id, "image"))[None].to(device)
            mean, log_theta_gray, _ = dsn(image)
            for name, values in (("mean", mean), ("theta", theta_from_log(log_theta_gray))):
                path = Path(store).with_suffix(f".{image_id}.{name}.npy")
                np.save(path, values[0].cpu().numpy().astype(np.float16))

    return work


def exporting(bench: Bench) -> Iterator[Line]:
    """Row d: megapixels per second, and memory, against the size of an image."""
    weights = str(bench.data.dsn())
    taken: dict[int, dict[str, list[Taken]]] = {}
    for side in bench.size.export_sides:
        store = bench.scratch / f"{side}.zarr"
        with StoreWriter(store, "hr", SCALE, ["image"]) as writer:
            writer.add("image", {"image": picture(0, side, side)})
        tasks = [Task(OURS, ours, (str(store), weights)), Task(NAIVE, naive, (str(store), weights))]
        taken[side] = take_turns(tasks, bench.few, f"d: export {side}")
        yield from two_lines("d", f"export, {side} x {side}", taken[side], side**2 / 1e6, "MP")
    own = {side: of[OURS] for side, of in taken.items()}
    yield from growth("d", "export", own, 1.25)


def two_lines(
    row: str, what: str, taken: dict[str, list[Taken]], units: float, unit: str
) -> Iterator[Line]:
    """Speed and memory of two tasks, ours first."""
    (name, own), (other, theirs) = taken.items()

    def line(
        what: str, cost: Callable[[Taken], float], show: Callable[[float], str], remark: str = ""
    ) -> Line:
        costs, other_costs = ([cost(one) for one in of] for of in (own, theirs))
        return Line(row, what, name, other, costs, other_costs, show, None, remark)

    remark = "" if theirs else "; the alternative runs out of memory"
    yield line(what, lambda one: one.seconds, per_second(units, unit), remark)
    yield line(f"{what}, memory above imports", lambda one: one.grown, mebibytes)
    if any(one.on_gpu for one in own):
        yield line(f"{what}, memory of the GPU", lambda one: one.on_gpu, mebibytes)


def growth(row: str, what: str, taken: dict[int, list[Taken]], slack: float) -> Iterator[Line]:
    """From the smallest to the largest image: linear in time, up to ``slack``, flat in memory."""
    small, large = min(taken), max(taken)
    pixels = (large / small) ** 2
    what = f"{what}, {large} x {large} against {small} x {small}"

    def ratio(of: Callable[[Taken], float]) -> float:
        first, last = (statistics.median(map(of, taken[side])) for side in (small, large))
        return last / first

    def times(value: float) -> str:
        return f"{value:.3g} times"

    time, memory = ratio(lambda one: one.seconds), ratio(lambda one: one.grown)
    remark = f" for {pixels:.3g} times the pixels"
    linear, flat = Target("ours", slack * pixels), Target("ours", 2)
    yield Line(row, f"{what}, time", "ours", "", [time], [], times, linear, remark)
    yield Line(row, f"{what}, memory above imports", "ours", "", [memory], [], times, flat, remark)
