"""Row j: the Laplace noise of a batch, from random words and from pairs of exponentials."""

from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.bench import Bench
from benchmarks.race import Entry, Line, Target, milliseconds, race
from pipeline.sampling.laplace import one_word, two_exponentials

CALLS = 20
"""Draws in a turn."""


def draws(bench: Bench) -> Iterator[Line]:
    """The noise of one SRN batch, on the device."""
    size = bench.size
    like = torch.empty(size.batch, 3, size.patch, size.patch, device=bench.device)
    generator = torch.Generator(bench.device).manual_seed(0)
    ways = {"one random word": one_word, "two exponentials": two_exponentials}
    ours, other = sorted(ways, reverse=bench.device.type == "cuda")
    entries = [
        Entry(name, partial(ways[name], like, generator), least=CALLS) for name in (ours, other)
    ]
    times = race(entries, bench.rounds, size.turn, bench.device, "j: Laplace draws")
    what = f"Laplace draws of a batch of {size.batch} (LR {size.patch})"
    yield Line("j", what, ours, other, times[ours], times[other], milliseconds, Target("ratio", 2))
