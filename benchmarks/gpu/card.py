"""The card itself: matrix products, and a copy within its memory."""

from collections.abc import Iterator

import torch

from benchmarks.gpu.results import Machine, Peak, Result
from benchmarks.gpu.workload import Given, Measured, timed
from benchmarks.hardware import hardware
from benchmarks.rows.steps import peak

FLOAT32, TF32, BF16 = "float32", "TF32", "bf16"


def card(of: Given) -> Iterator[Result]:
    """Peaks that the rows are compared with, and the bandwidth."""
    yield Machine(hardware(of.device))
    side = of.load.matrix
    for kind, dtype, reduced in (
        (FLOAT32, torch.float32, False),
        (TF32, torch.float32, True),
        (BF16, torch.bfloat16, False),
    ):
        if reduced and of.device.type != "cuda":
            continue  # CPUs have no such format
        torch.backends.cuda.matmul.allow_tf32 = reduced
        yield Peak(kind, peak(of.device, dtype, side) / 1e12)
    torch.backends.cuda.matmul.allow_tf32 = False
    source = torch.rand(8 * side * side, device=of.device)
    target, gigabytes = torch.empty_like(source), 2 * source.nbytes / 1e9
    told = Measured("copy within the memory, read and written", "copy_", gigabytes, "GB")
    yield timed(of, told, lambda: target.copy_(source))


def data(of: Given) -> Iterator[Result]:
    """Make the data of the other parts."""
    made = of.made().data
    made.dsn()
    made.srn()
    yield from ()
