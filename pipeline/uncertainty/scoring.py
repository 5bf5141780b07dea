"""Scores of predictive distributions that are known by draws, at every value.

A predictive distribution is right if real values and draws cannot be told apart: then the rank of
a real value among the draws is uniform.  Ranks of rounded values are tied; where a value lies among
its ties is drawn at random, so that the rank is uniform there too (the randomised probability
integral transform, Czado, Gneiting and Held 2009).  Central intervals are read off the rank, so
that their coverage is exact for rounded values as well.

The CRPS is that of Gneiting and Raftery 2007 (Eq. 21), in its unbiased form for draws.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

QUANTILES = (0.05, 0.5, 0.95)
"""Ends of the 90 % interval, and the median; as the ranks have it: the k-th of K draws is the
quantile k / (K + 1)."""


@dataclass(frozen=True, eq=False)
class ValueScores:
    """Scores of n values, (n,) each."""

    rank: Floats
    """Randomised probability integral transform, 0 to 1; uniform if the prediction is right."""
    crps: Floats
    """Continuous ranked probability score in gray levels; smaller is better."""
    width: Floats
    """Of the central 90 % interval in gray levels: sharpness; smaller is better if it covers."""
    error: Floats
    """Distance from the median of the draws in gray levels."""


def score_draws(
    real: NDArray[np.floating], draws: NDArray[np.number], random: np.random.Generator
) -> ValueScores:
    """Score values, each of which has draws of its own.

    Args:
        real: (n,) real values.
        draws: (K, n) draws, K at least 2, rounded if the real values are.
        random: Places a value among its ties.

    Raises:
        ValueError: The shapes do not fit, or there are fewer than two draws.

    """
    if draws.ndim != 2 or len(draws) < 2 or draws.shape[1:] != real.shape:
        raise ValueError(f"draws are {draws.shape} for values {real.shape}; (K >= 2, n) fit (n,)")
    number = len(draws)
    ordered = np.sort(draws.astype(np.float32), axis=0)
    below = (ordered < real).sum(axis=0)
    ties = (ordered == real).sum(axis=0)
    weights = 2.0 * np.arange(number) - number + 1
    spread = np.tensordot(weights, ordered, 1) / (number * (number - 1))  # E |X - X'| / 2
    near = np.abs(ordered - real).mean(axis=0, dtype=np.float64)
    low, middle, high = np.quantile(ordered, QUANTILES, axis=0, method="weibull")
    return ValueScores(
        (below + random.random(real.shape) * (ties + 1)) / (number + 1),
        near - spread,
        (high - low).astype(np.float64),
        np.abs(middle - real).astype(np.float64),
    )


def score_pool(
    real: NDArray[np.floating], pool: NDArray[np.floating], random: np.random.Generator
) -> ValueScores:
    """Score values that share one pool of draws.

    Args:
        real: (n,) real values.
        pool: (K,) draws, K at least 2.
        random: Places a value among its ties.

    Raises:
        ValueError: There are fewer than two draws.

    """
    number = len(pool)
    if number < 2:
        raise ValueError(f"a pool needs at least two draws, got {number}")
    ordered = np.sort(pool.astype(np.float64))
    below, upto = (np.searchsorted(ordered, real, side) for side in ("left", "right"))
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    near = (real * (2 * below - number) + sums[-1] - 2 * sums[below]) / number
    weights = 2.0 * np.arange(number) - number + 1
    spread = weights @ ordered / (number * (number - 1))
    low, middle, high = np.quantile(ordered, QUANTILES, method="weibull")
    return ValueScores(
        (below + random.random(real.shape) * (upto - below + 1)) / (number + 1),
        near - spread,
        np.full(real.shape, high - low),
        np.abs(real - middle).astype(np.float64),
    )
