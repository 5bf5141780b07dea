"""The noise that is added to the means, while a calibration is being found."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.noise.estimate import LAGS, Noise
from pipeline.sampling.jpeg import JpegTables

LARGEST_STEP = 2.0
"""Largest factor by which the variance changes from one round to the next."""
FEEDBACK = 0.7
"""Share of the missing correlation that is added in a round."""


@dataclass(frozen=True, eq=False)
class AddedNoise:
    """The noise that samples are drawn with in one round of the search."""

    variance: NDArray[np.float64]
    """(3, 9), in gray levels squared, at ``noise.estimate.KNOTS``."""
    correlation: NDArray[np.float64]
    """(3, 3, 7, 7), as in ``noise.estimate.Noise``."""
    excess_kurtosis: float
    jpeg: JpegTables | None


def corrected(sampling: AddedNoise, real: Noise, drawn: Noise) -> AddedNoise:
    """The noise of the next round: variance times its error, correlation plus its error."""
    factor = np.clip(real.variance / drawn.variance, 1 / LARGEST_STEP, LARGEST_STEP)
    correlation = sampling.correlation + FEEDBACK * (real.correlation - drawn.correlation)
    return replace(sampling, variance=sampling.variance * factor, correlation=correlation)


def strongest_correlations(noise: Noise | AddedNoise) -> tuple[float, float]:
    """The strongest correlation between neighbours of a channel, and between channels."""
    own = np.abs(noise.correlation[range(3), range(3)])[:, LAGS - 1 : LAGS + 2, LAGS - 1 : LAGS + 2]
    own[:, 1, 1] = 0
    across = np.abs(noise.correlation[:, :, LAGS, LAGS])
    across[range(3), range(3)] = 0
    return float(own.max()), float(across.max())


def laplace_share(excess_kurtosis: float, kernels: NDArray[np.float64] | None) -> float:
    """The share of eps that follows a Laplace law; 3 times its fourth power is the excess kurtosis.

    A filter makes independent noise more Gaussian.  If the squares of its weights sum to one, it
    multiplies the excess kurtosis by the sum of their fourth powers.
    """
    left = 1.0 if kernels is None else float((kernels**4).sum(axis=(1, 2, 3)).mean())
    return float(np.clip(excess_kurtosis / left / 3, 0, 1) ** 0.25)
