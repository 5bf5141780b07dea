"""Figure 2 of the paper: does a camera add Laplace or Gaussian noise.

The differences of real and bicubic LR images are counted in fine bins, so that the counts of parts
add up, and both laws are fitted to the counts.  Everything is in gray levels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BIN = 0.25
"""Width of a bin in gray levels."""
HALF = 1200
"""Bins on either side of the one at zero: up to 300, more than two 8-bit images can differ."""
VALUES = np.arange(-HALF, HALF + 1) * BIN
"""(2401,): the difference at the centre of each bin."""


@dataclass(frozen=True, eq=False)
class DifferenceHistogram:
    """Histogram of differences; those of parts add up."""

    counts: NDArray[np.int64]
    """(2401,): number of values nearest to each of ``VALUES``."""

    def __add__(self, other: "DifferenceHistogram") -> "DifferenceHistogram":
        return DifferenceHistogram(self.counts + other.counts)

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> "DifferenceHistogram":
        """Count values of any shape; the first and last bins also count values beyond."""
        index = np.clip(np.rint(values / BIN), -HALF, HALF).astype(np.int64) + HALF
        return cls(np.bincount(index.ravel(), minlength=len(VALUES)))

    @classmethod
    def of_high_pass(cls, counts: NDArray[np.int64]) -> "DifferenceHistogram":
        """From high-pass counts (3, n) of a ``noise.signature.Signature``; the bins are equal."""
        border = (len(VALUES) - counts.shape[1]) // 2
        return cls(np.pad(counts.sum(axis=0), border))


@dataclass(frozen=True)
class FittedLaws:
    """A Laplace and a Gaussian law, fitted by maximum likelihood."""

    values: int
    """Number of values."""
    median: float
    """Location of the Laplace law."""
    laplace_scale: float
    """Its scale: the mean absolute deviation from the median."""
    mean: float
    """Location of the Gaussian law."""
    deviation: float
    """Its standard deviation."""
    laplace_likelihood: float
    """Mean logarithm of the Laplace density of a value, in nats; log of 1 / gray level."""
    gaussian_likelihood: float
    """The same of the Gaussian."""

    @property
    def better(self) -> str:
        """The law of the higher likelihood."""
        return "Laplace" if self.laplace_likelihood > self.gaussian_likelihood else "Gaussian"


def fit_laws(counted: DifferenceHistogram) -> FittedLaws | None:
    """Fit both laws; None if there are no values, or all are alike.

    At its best the mean log-density is -log(2 b) - 1 for a Laplace law of scale b, and
    -log(2 pi s^2) / 2 - 1 / 2 for a Gaussian law of deviation s.
    """
    counts = counted.counts
    number = int(counts.sum())
    if np.count_nonzero(counts) < 2:
        return None
    median = float(VALUES[np.searchsorted(np.cumsum(counts), number / 2)])
    scale = float(counts @ np.abs(VALUES - median) / number)
    mean = float(counts @ VALUES / number)
    deviation = float(np.sqrt(counts @ (VALUES - mean) ** 2 / number))
    return FittedLaws(
        number,
        median,
        scale,
        mean,
        deviation,
        float(-np.log(2 * scale) - 1),
        float(-np.log(2 * np.pi * deviation**2) / 2 - 0.5),
    )


def laplace_density(values: NDArray[np.float64], fitted: FittedLaws) -> NDArray[np.float64]:
    """Density of the fitted Laplace law, per gray level."""
    scale = fitted.laplace_scale
    return np.asarray(np.exp(-np.abs(values - fitted.median) / scale) / (2 * scale))


def gaussian_density(values: NDArray[np.float64], fitted: FittedLaws) -> NDArray[np.float64]:
    """Density of the fitted Gaussian law, per gray level."""
    normal = np.exp(-(((values - fitted.mean) / fitted.deviation) ** 2) / 2)
    return np.asarray(normal / (fitted.deviation * np.sqrt(2 * np.pi)))
