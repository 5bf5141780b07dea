"""The law of one value of an 8-bit LR image around its mean, in closed form.

Samples are y = mean + eps theta (Eq. 8).  An 8-bit value is known up to a cell of rounding, and 0
and 255 hold all that is beyond them, so a law gives probabilities of cells, and a narrow peak
between two levels wins nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from pipeline.sampling.noise_law import NoiseLaw

Floats = NDArray[np.float64]

SMALLEST = 1e-12
"""A cell counts as at least this probable, so that one outlier does not decide a mean."""
STEP, REACH = 0.01, 80.0
"""Grid on which laws of filtered noise are computed, in multiples of theta."""
SMALL = 0.02
"""Kernel weights below this share of the largest add up to a Gaussian."""


def laplace_cdf(x: Floats) -> Floats:
    """Of the standard Laplace law, variance 2."""
    tail = 0.5 * np.exp(-np.abs(x))
    return np.where(x < 0, tail, 1 - tail)


def gaussian_cdf(x: Floats) -> Floats:
    """Of the Gaussian law of the same variance."""
    return np.asarray(ndtr(x / np.sqrt(2)), dtype=np.float64)


@dataclass(frozen=True)
class CellLaw:
    """A symmetric law of eps, one for every channel."""

    cdf: tuple[Callable[[Floats], Floats], ...]
    """Of red, green and blue: the probability of eps <= x; exact for x < 0, where it is small."""

    def log_likelihood(
        self, real: NDArray[np.floating], mean: NDArray[np.floating], theta: NDArray[np.floating]
    ) -> Floats:
        """Logarithm of the probability of every 8-bit value, in nats.

        Args:
            real: (3, ...) whole gray levels, 0 to 255.
            mean: (3, ...) in gray levels.
            theta: (3, ...) in gray levels, positive.

        """
        lower = np.where(real > 0, (real - 0.5 - mean) / theta, -np.inf)
        upper = np.where(real < 255, (real + 0.5 - mean) / theta, np.inf)
        above = lower > 0  # seen from the other side, where the CDF is small and exact
        lower, upper = np.where(above, -upper, lower), np.where(above, -lower, upper)
        found = [cdf(b) - cdf(a) for cdf, a, b in zip(self.cdf, lower, upper, strict=True)]
        return np.asarray(np.log(np.maximum(found, SMALLEST)))


LAPLACE = CellLaw((laplace_cdf,) * 3)
GAUSSIAN = CellLaw((gaussian_cdf,) * 3)


def filtered_law(law: NoiseLaw) -> CellLaw:
    """The law of one value of the noise of a camera before compression.

    Every value is a sum of independent draws, weighted by the kernels of its channel; its law
    is computed on a grid by convolution.
    """
    if law.noise_filter is None:
        return CellLaw((_sum_cdf(np.ones(1), law.laplace_share),) * 3)
    kernels = np.array(law.noise_filter)
    return CellLaw(tuple(_sum_cdf(one.ravel(), law.laplace_share) for one in kernels))


def _sum_cdf(weights: Floats, laplace_share: float) -> Callable[[Floats], Floats]:
    """CDF of the sum of weights times (share times Laplace plus Gaussian) of variance 2."""
    scales = np.abs(weights) * laplace_share
    large = scales[scales >= SMALL * max(scales.max(), SMALL)]
    variance = 2 * float((weights**2).sum() - (large**2).sum())
    grid = np.arange(-round(REACH / STEP), round(REACH / STEP) + 1) * STEP
    borders = np.append(grid - STEP / 2, grid[-1] + STEP / 2)
    spectrum = np.ones(len(grid) // 2 + 1, dtype=np.complex128)
    parts = [laplace_cdf(borders / scale) for scale in large]
    if variance > STEP**2:
        parts.append(np.asarray(ndtr(borders / np.sqrt(variance))))
    for part in parts:
        spectrum *= np.fft.rfft(np.fft.ifftshift(np.diff(part)))
    masses = np.fft.fftshift(np.fft.irfft(spectrum, len(grid)))
    summed = np.append(0.0, np.cumsum(np.maximum(masses, 0)))

    def cdf(x: Floats) -> Floats:
        return np.asarray(np.interp(x, borders, summed, left=0.0, right=1.0))

    return cdf
