"""Row c: a training step, plain and with every switch for speed, and its share of the peak."""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.bench import Bench
from benchmarks.race import Entry, Line, Target, milliseconds, race
from pipeline.crops.batches import Demand
from pipeline.crops.memory import MachineSettings, allowed
from pipeline.sampling.sampler import make_sampler
from pipeline.train_dsn.settings import TrainDsnSettings
from pipeline.train_dsn.train import DsnMaterial, DsnTrainer
from pipeline.train_srn.settings import TrainSrnSettings
from pipeline.train_srn.streams import SampleStream
from pipeline.train_srn.train import SrnTrainer
from pipeline.training.learner import make_accelerator

EAGER = "eager float32"
MACHINE = MachineSettings()
Trained = TrainDsnSettings | TrainSrnSettings
Step = Callable[[int], Any]
"""The step of a trainer."""


def ways(device: torch.device, settings: Trained) -> dict[str, dict[str, object]]:
    """What differs from the settings, by name: plain, then as the profile has it.

    Where the profile compiles, also without: compiling takes minutes.
    """
    own = settings.model_dump()
    switches = [name for name in ("channels_last", "fused", "compile") if name in own]
    plain: dict[str, object] = {"precision": "no", **dict.fromkeys(switches, False)}
    fast = {"precision": "bf16" if device.type == "cuda" else own["precision"]}
    fast |= {name: own[name] for name in switches}
    found = {EAGER: plain}
    for compiled in sorted({False, bool(own.get("compile"))}):
        changes = {**fast, "compile": compiled} if "compile" in own else fast
        words = [*(["bf16"] if changes["precision"] == "bf16" else [])]
        words += [name for name in switches if changes[name]]
        found[", ".join(words) or "no switch"] = changes
    return found


def dsn_step(bench: Bench, changes: Mapping[str, object]) -> Step:
    """The DSN's, on its own crops."""
    hr, _ = bench.data.stores()
    settings = bench.size.dsn_settings(**changes)
    return DsnTrainer(DsnMaterial(hr, bench.data.real()), settings, MACHINE).step


def srn_step(bench: Bench, changes: Mapping[str, object]) -> Step:
    """The SRN's, on samples of the maps."""
    settings = bench.size.srn_settings(**changes)
    accelerator = make_accelerator()
    device = accelerator.device
    demand = Demand(
        settings.batch_size, settings.crops_per_image, settings.window, settings.seed, device,
        allowed(MACHINE, device),
    )  # fmt: skip
    stream = SampleStream(
        *bench.data.stores(), settings.lr_patch, make_sampler(settings.draw), demand
    )
    return SrnTrainer(stream, bench.size.architecture(), settings, accelerator).step


def flops(step: Step) -> int:
    """Of the convolutions and matrix products of one step, forward and backward."""
    counter = FlopCounterMode(display=False)
    with counter:
        step(0)
    return int(counter.get_total_flops())


def peak(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """FLOPs per second of the fastest of some products of two square matrices."""
    a, b = (torch.rand(side, side, device=device, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(8):
        begin = time.perf_counter()
        torch.mm(a, b)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begin)
    return float(2 * side**3 / min(times))


def steps(bench: Bench) -> Iterator[Line]:
    """Row c: seconds per step."""
    device, size = bench.device, bench.size
    cuda = device.type == "cuda"
    dtype = torch.bfloat16 if cuda else torch.float32
    sections: dict[str, tuple[Callable[[Bench, Mapping[str, object]], Step], Trained]] = {
        "DSN": (dsn_step, size.dsn_settings()),
        "SRN": (srn_step, size.srn_settings()),
    }
    for name, (make, settings) in sections.items():
        made = {}
        for way, changes in ways(device, settings).items():
            made[way] = make(bench, changes)
        work = flops(made[EAGER])
        entries = [Entry(way, _next(step)) for way, step in made.items()]
        times = race(entries, bench.rounds, size.turn, device, f"c: {name} step")
        fastest = peak(device, dtype, 8192 if cuda else 1024)
        middle = {way: statistics.median(taken) for way, taken in times.items()}
        ours = [way for way in made if way != EAGER]
        best = min(ours, key=lambda way: middle[way])
        for way in ours:
            yield Line(
                "c",
                f"{name} step, {settings.batch_size} crops, {work / 1e9:,.3g} GFLOP",
                way,
                EAGER,
                times[way],
                times[EAGER],
                milliseconds,
                Target("ratio", 2 if cuda else 1.2) if way == best else None,
                f", {work / middle[way] / fastest:.0%} of the peak, {fastest / 1e12:.3g} TFLOP/s "
                f"in {str(dtype)[6:]}",
            )


def _next(step: Step) -> Callable[[], object]:
    count = itertools.count()
    return lambda: step(next(count))
