"""Draws on the device: their law, and how fast they are."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.data import SCALE
from benchmarks.gpu.results import Law, Result
from benchmarks.gpu.workload import Given, Measured, timed
from pipeline.sampling.calibrated import CalibratedSampler
from pipeline.sampling.compression import Compression
from pipeline.sampling.laplace import one_word, standard_laplace, two_exponentials
from pipeline.sampling.noise_law import NoiseLaw
from pipeline.sampling.sampler import Draw, Sampler, make_sampler

SIGMAS = 6.0
"""Standard errors that a figure may be off; a fault-free device is that far off less than once in
10^7 figures."""
KOLMOGOROV = 3.2
"""Likewise of the greatest distance of two distribution functions, times the root of the number of
draws: more than that has a probability of 2 exp(-2 * 3.2^2) = 3e-9."""
BEYOND = (0.1, 1.0, 3.0, 6.0, 9.0, 12.0, 14.0)
"""Sizes whose tails are counted."""
QUANTILES = (0.9, 0.99, 0.999, 0.9999, 0.99999)
"""Probabilities of quantiles, on both sides."""
MOMENTS = {1: (1.0, 1.0), 2: (2.0, 20.0), 3: (6.0, 684.0), 4: (24.0, 39744.0)}
"""k: E|eps|^k = k!, and its variance (2k)! - k!^2."""


def law(of: Given) -> Iterator[Result]:
    """Draws of ``standard_laplace`` against L(0, 1)."""
    for dtype, draws in ((torch.float32, of.load.draws), (torch.float64, of.load.chunk)):
        like = torch.empty(of.load.chunk, dtype=dtype, device=of.device)
        source = torch.Generator(of.device).manual_seed(1)
        sums = np.zeros(FIGURES)
        for _ in range(draws // of.load.chunk):
            eps = standard_laplace(like, source)
            sums += [float(figure.sum(dtype=torch.float64)) for figure in _figures(eps)]
        yield from _laws(str(dtype)[6:], (sums / draws).tolist(), draws)
        yield from _sorted(str(dtype)[6:], eps)
    yield _same_seed(of)


def _figures(eps: Tensor) -> Iterator[Tensor]:
    """What is averaged: odd and even moments, neighbours, faults, tails."""
    wide = eps.double()
    yield wide
    for k in MOMENTS:
        yield wide.abs() ** k
    yield wide * wide.roll(1)
    yield ~eps.isfinite()
    for beyond in BEYOND:
        yield eps > beyond
        yield eps < -beyond


FIGURES = 3 + len(MOMENTS) + 2 * len(BEYOND)
"""Of ``_figures``."""


def _laws(dtype: str, means: list[float], draws: int) -> Iterator[Law]:
    def judged(what: str, mean: float, exact: float, variance: float) -> Law:
        return Law(f"{what}, {dtype}", mean, exact, SIGMAS * math.sqrt(variance / draws))

    odd, *rest = means
    yield judged("E eps", odd, 0.0, 2.0)
    for (k, (exact, variance)), mean in zip(MOMENTS.items(), rest, strict=False):
        yield judged(f"E abs(eps)^{k}", mean, exact, variance)
    neighbours, faults, *tails = rest[len(MOMENTS) :]
    yield judged("E of neighbours' product", neighbours, 0.0, 4.0)
    yield Law(f"draws that are not finite, {dtype}", faults * draws, 0.0, 0.0)
    names = [f"P(eps {sign}{beyond:g})" for beyond in BEYOND for sign in ("> ", "< -")]
    for name, beyond, mean in zip(names, sorted(2 * BEYOND), tails, strict=True):
        exact = math.exp(-beyond) / 2
        if exact * draws >= MANY:
            yield judged(name, mean, exact, exact * (1 - exact))


MANY = 100
"""Draws expected in a tail, at least, so that their number is nearly Gaussian."""


def _sorted(dtype: str, eps: Tensor) -> Iterator[Law]:
    """Quantiles of both sides, and the whole distribution function."""
    ordered = eps.sort().values.double()
    draws = len(ordered)
    for quantile in QUANTILES:
        exact = -math.log(2 * (1 - quantile))
        # The density at the quantile is 1 - quantile.
        error = math.sqrt(quantile / (1 - quantile) / draws)
        if (1 - quantile) * draws < MANY:
            continue
        place = min(round(quantile * draws), draws - 1)
        for sign, index in ((1, place), (-1, draws - 1 - place)):
            name = f"quantile {quantile:g}" if sign > 0 else f"quantile {1 - quantile:.1g}"
            found = float(ordered[index])
            yield Law(f"{name}, {dtype}", found, sign * exact, SIGMAS * error)
    half = torch.exp(-ordered.abs()) / 2
    exact_at = torch.where(ordered < 0, half, 1 - half)
    place_of = torch.arange(draws + 1, dtype=torch.float64, device=eps.device) / draws
    most = torch.maximum((exact_at - place_of[:-1]).max(), (place_of[1:] - exact_at).max())
    tolerance = KOLMOGOROV / math.sqrt(draws)
    yield Law(
        f"greatest distance of the distribution functions, {dtype}", float(most), 0, tolerance
    )


def _same_seed(of: Given) -> Law:
    like = torch.empty(of.load.images, device=of.device)
    first, again = (
        standard_laplace(like, torch.Generator(of.device).manual_seed(7)) for _ in range(2)
    )
    return Law("draws of one seed that differ", float((first != again).sum()), 0.0, 0.0)


@dataclass(frozen=True)
class Noise:
    """Correlated noise with tails between those of Gauss and Laplace, as cameras have it."""

    scale: int = SCALE
    jpeg: Compression | None = None

    @property
    def noise(self) -> NoiseLaw:
        """Its law."""
        kernels = [[[[0.02] * 5] * 5 if one == other else [[0.0] * 5] * 5 for other in range(3)]
                   for one in range(3)]  # fmt: skip
        for channel in range(3):
            kernels[channel][channel] = [[0.02] * 5, [0.02] * 5, [0.02, 0.02, 0.87, 0.02, 0.02],
                                         [0.02] * 5, [0.02] * 5]  # fmt: skip
        return NoiseLaw(variance_gray=[[4.0, 30.0]] * 3, noise_filter=kernels, laplace_share=0.5)


def speed(of: Given) -> Iterator[Result]:
    """Draws of a batch and of whole images; LR images of the samplers."""
    size = of.load.size
    source = torch.Generator(of.device).manual_seed(0)
    for shape in ((size.batch, 3, size.patch, size.patch), of.load.images):
        like = torch.empty(shape, device=of.device)
        what = f"Laplace draws, {' x '.join(map(str, shape))}"
        ways = {"two exponentials": two_exponentials, "one random word": one_word}
        for way, draw in ways.items():
            told = Measured(what, way, like.numel() / 1e6, "million")
            yield timed(of, told, partial(draw, like, source))
    yield from _samplers(of, source)


def _samplers(of: Given, source: torch.Generator) -> Iterator[Result]:
    mean = torch.rand(of.load.images, device=of.device)
    maps = {"mean": mean, "theta": torch.full_like(mean, 0.01)}
    samplers: dict[str, Sampler] = {
        "theta: raw": make_sampler(Draw("raw")),
        "theta: calibrated": CalibratedSampler(Noise(), of.device),
    }
    what = f"LR images, {' x '.join(map(str, of.load.images))}"
    for way, sampler in samplers.items():
        told = Measured(what, way, mean.numel() / 3e6, "MP")
        yield timed(of, told, partial(sampler.sample, maps, source))
