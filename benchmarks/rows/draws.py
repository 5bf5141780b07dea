"""Row j: the Laplace noise of a batch, from random words and as the difference of exponentials."""

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.bench import Bench
from benchmarks.race import Entry, Line, Target, milliseconds, race
from pipeline.sampling.laplace import standard_laplace

CALLS = 20
"""Draws in a turn."""


def draws(bench: Bench) -> Iterator[Line]:
    """The noise of one SRN batch, on the device."""
    size = bench.size
    like = torch.empty(size.batch, 3, size.patch, size.patch, device=bench.device)
    generator = torch.Generator(bench.device).manual_seed(0)

    def exponentials() -> Tensor:
        first = torch.empty_like(like).exponential_(generator=generator)
        return first - torch.empty_like(like).exponential_(generator=generator)

    ours, other = "one random word", "two exponentials"
    entries = [
        Entry(ours, lambda: standard_laplace(like, generator), least=CALLS),
        Entry(other, exponentials, least=CALLS),
    ]
    times = race(entries, bench.rounds, size.turn, bench.device, "j: Laplace draws")
    what = f"Laplace draws of a batch of {size.batch} (LR {size.patch})"
    yield Line("j", what, ours, other, times[ours], times[other], milliseconds, Target("ratio", 2))
