"""The blur between two sets of LR images, from windows of like contrast.

Spectra of scenes differ more than the spectra of their edges: grass, print and faces fall in their
own ways, while what has high contrast at low frequencies is mostly edges.  So only the windows of
the highest contrast count.  They are cut into strata of contrast, in every stratum the mean spectra
of both sets are compared, and the logarithms of the ratios are averaged, so that no stratum rules.
The contrast is that below 0.16 cycles per pixel, which the blur hardly changes.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.noise.estimate import LAGS, Blocks, Noise
from pipeline.noise.matching import (
    FEWEST_IMAGES,
    LOW,
    RINGS,
    Indices,
    draws,
    standard_error,
    strata,
)
from pipeline.noise.signature import WINDOW, rings
from pipeline.noise.statistics import LrStatistics
from pipeline.sampling.jpeg import TO_YCBCR

Array = NDArray[np.float64]

SHARE = 0.15
"""Share of the windows of both sets, those of the highest contrast, that is compared."""
STRATA = 4
"""Parts of equal number into which they are cut."""
ABOVE_NOISE = 2.0
"""A window is compared only if its contrast is this multiple of the noise there."""
LEAST_SIGNAL = 0.25
"""A frequency tells of the blur if its power less that of the noise is this multiple of the
latter's."""
FEWEST, FEWEST_FREQUENCIES = 24, 3
"""Windows of a set at least, and frequencies from the lowest on."""
KNOWN_NOISE, UNKNOWN_NOISE = 0.1, 0.5
"""Relative error of the power of the noise: in sets with flat areas, and in others, whose noise
counts as white whatever it is."""
ERROR = 0.03
"""Error of the logarithm of a ratio of powers: windows alias, edges have ends."""
SLOPE = 0.15
"""Deviation of the power of the frequency by which the edges of two kinds of scenes differ."""
SCENES = 0.015
"""Squared LR pixels: deviation of the found variance between kinds of scenes, beyond that between
images of one kind; measured, see ``docs/method.md``."""
LOST = 0.6
"""Share of the power of quantisation that is an error: both sets lose some to it."""
LARGEST_ERROR = 0.12
"""Squared LR pixels: a variance with a larger standard error cannot be told."""

HIDDEN = "the noise hides all but the lowest frequencies"


class Blur(NamedTuple):
    """Variance of the Gaussian that the other set is blurred with, in squared LR pixels."""

    variance: float
    """Below zero: the other set is sharper."""
    error: float | None
    """Its standard error; None with too few images."""


def blur_variance(
    real: LrStatistics, other: LrStatistics, quantised: Array | None = None
) -> Blur | str:
    """Fit a Gaussian to the ratio of spectra at like contrast; or say why that cannot be done.

    A Gaussian of variance v multiplies the power at the frequency f by exp(-4 pi^2 v f^2).  The
    power of the noise is subtracted from both spectra.  Then v is fitted to the logarithms of their
    ratio by generalised least squares.  The covariance is that of the bootstrap over images, of the
    noise's power, of a power law of the frequency, and of an ``ERROR``.

    Args:
        real: The real images.
        other: The other set.
        quantised: Power (8,) by which JPEG may have changed either; see
            ``compression.quantisation_power``.

    """
    known = [_signal(each) for each in (real, other)]
    for one in known:
        if isinstance(one, str):
            return one
    sets = [one for one in known if not isinstance(one, str)]
    least = ABOVE_NOISE * max(float(one.noise[:LOW].mean()) for one in sets)
    contrast = np.concatenate([one.contrast for one in sets])
    limit = max(float(np.quantile(contrast, 1 - SHARE)), least)
    chosen = [one.above(limit) for one in sets]
    if min(len(one.power) for one in chosen) < FEWEST:
        return "too few windows have as much contrast in both"
    cells = strata([one.contrast for one in chosen], STRATA)
    share = np.minimum(*(np.bincount(cell, minlength=STRATA) / len(cell) for cell in cells))
    if not share.sum():
        return "no windows have the same contrast in both"
    share = share / share.sum()
    spectra = [
        one.spectra(cell, seed) for seed, (one, cell) in enumerate(zip(chosen, cells, strict=True))
    ]
    lost = np.zeros(len(RINGS)) if quantised is None else LOST * quantised
    seen, error = np.ones(len(RINGS), bool), np.full(len(RINGS), ERROR)
    for one, found in zip(chosen, spectra, strict=True):
        mean = share @ found[0]
        seen &= mean > LEAST_SIGNAL * one.noise + lost
        error = np.hypot(error, (one.unsure * one.noise + lost) / np.maximum(mean, 1e-9))
    seen = np.cumprod(seen) > 0
    if seen.sum() < FEWEST_FREQUENCIES:
        return HIDDEN
    logs = [np.log(np.maximum(found[..., seen], 1e-3)) for found in spectra]
    ratio = np.tensordot(logs[1] - logs[0], share, ((1,), (0,)))
    return _fit(ratio, error[seen], RINGS[seen], min(one.images for one in chosen))


@dataclass(frozen=True, eq=False)
class _Signal:
    """The power of windows of a set less that of its noise."""

    power: Array
    """(n, 8)."""
    noise: Array
    """(8,): power of the noise."""
    unsure: float
    """Its relative error."""
    image: Indices
    images: int

    @property
    def contrast(self) -> Array:
        """(n,): power at low frequencies."""
        return np.asarray(self.power[:, :LOW].mean(axis=1))

    def above(self, limit: float) -> "_Signal":
        """The windows of a contrast above this."""
        kept = self.contrast > limit
        return replace(self, power=self.power[kept], image=self.image[kept])

    def spectra(self, cells: Indices, seed: int) -> Array:
        """Mean power (draws, strata, 8); where a draw lacks a stratum, that of all images."""
        sums = np.zeros((self.images, STRATA, len(RINGS) + 1))
        counted = np.concatenate([self.power, np.ones((len(cells), 1))], axis=1)
        np.add.at(sums, (self.image, cells), counted)
        drawn = np.tensordot(draws(self.images, seed), sums, 1)
        drawn = np.where(drawn[..., -1:] > 0, drawn, drawn[:1])
        return np.asarray(drawn[..., :-1] / np.maximum(drawn[..., -1:], 1))


def _signal(lr_set: LrStatistics) -> _Signal | str:
    """The windows of a set, or why they cannot be compared."""
    noise, shown = lr_set.noise, lr_set.content
    if isinstance(noise, str):
        return f"noise cannot be subtracted from the spectra: {noise}"
    if not len(shown.power):
        return "every image is under 16 pixels"
    power = _luma_noise(noise, lr_set.blocks)
    unsure = KNOWN_NOISE if noise.flat else UNKNOWN_NOISE
    signal = shown.power.astype(np.float64) - power
    return _Signal(signal, power, unsure, shown.images(), len(shown.windows))


def _fit(ratio: Array, error: Array, frequency: Array, images: int) -> Blur | str:
    """The variance that fits logarithms of ratios (draws, frequencies)."""
    slope = SLOPE * np.log(frequency / RINGS[0])
    covariance = np.diag(error**2) + np.outer(slope, slope)
    if images >= FEWEST_IMAGES:
        covariance = covariance + np.cov(ratio[1:].T)
    laws = np.stack([np.ones(len(frequency)), -4 * np.pi**2 * frequency**2], axis=1)
    weight = np.linalg.solve(covariance, laws)
    inverse = np.linalg.inv(weight.T @ laws)
    found = (inverse @ weight.T @ ratio.T)[1]
    if inverse[1, 1] > LARGEST_ERROR**2:
        return HIDDEN
    drawn = standard_error(found, images)
    if drawn is None:
        return Blur(float(found[0]), None)
    return Blur(float(found[0]), float(np.sqrt(max(inverse[1, 1], drawn**2) + SCENES**2)))


def _luma_noise(noise: Noise, blocks: Blocks) -> Array:
    """Power (8,) of the noise of luma in the rings, over the intensities of the blocks."""
    deviation = np.sqrt(noise.variance_at(blocks.level).mean(axis=0))
    luma = np.array(TO_YCBCR[0]) * deviation
    correlation = np.einsum("c,d,cdjk->jk", luma, luma, noise.correlation)
    lags = np.arange(-LAGS, LAGS + 1)
    waves = np.exp(2j * np.pi * np.outer(np.fft.fftfreq(WINDOW), lags))
    power = (waves @ correlation @ waves.T).real
    half = power[:, : WINDOW // 2 + 1]  # the rest mirrors it
    return np.asarray(np.maximum(rings(half)[: len(RINGS)], 0))
