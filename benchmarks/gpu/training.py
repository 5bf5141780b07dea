"""Training steps at the profile's sizes, in one way each."""

import itertools
from collections.abc import Iterator

import torch

from benchmarks.gpu.card import BF16, FLOAT32, TF32
from benchmarks.gpu.results import Result
from benchmarks.gpu.workload import Given, Measured, timed
from benchmarks.rows.steps import dsn_step, flops, srn_step

LAST, COMPILED = "bf16, channels_last", "bf16, channels_last, compiled"
WAYS = (FLOAT32, "TF32 convolutions", BF16, LAST, COMPILED)
"""``float32`` keeps all 24 bits; torch's default for convolutions of float32 is TF32."""


def step(of: Given, network: str, way: str) -> Iterator[Result]:
    """The step of ``DsnTrainer`` or ``SrnTrainer``; Adam is fused in every way."""
    exact = way == FLOAT32
    torch.backends.cudnn.allow_tf32 = not exact
    bf16 = way.startswith(BF16)
    changes = {
        "precision": "bf16" if bf16 else "no",
        "channels_last": way in (LAST, COMPILED),
        "compile": way == COMPILED,
        "fused": True,
    }
    settings = of.load.size.dsn_settings() if network == "DSN" else of.load.size.srn_settings()
    taken = (dsn_step if network == "DSN" else srn_step)(of.bench, changes)
    counted = 0.0 if way == COMPILED else flops(taken) / 1e12
    numbers = itertools.count(1)
    what = f"{network} step, {settings.batch_size} crops"
    kind = BF16 if bf16 else FLOAT32 if exact else TF32
    told = Measured(what, way, 1, "steps", counted, kind)
    yield timed(of, told, lambda: taken(next(numbers)))
