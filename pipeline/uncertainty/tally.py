"""Sums of scores by stratum, one tally per image, and what they say with intervals over images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.uncertainty.scoring import ValueScores

Floats = NDArray[np.float64]

LEVELS = (0.5, 0.9, 0.99)
"""Probabilities of the central intervals whose coverage is counted."""
RANKS = 20
"""Bins of the histogram of ranks."""
RESAMPLES = 2000
"""Of the images, for an interval."""
INTERVAL = (2.5, 97.5)
"""Percentiles."""


@dataclass(frozen=True, eq=False)
class Tally:
    """Sums over the values of one image in one stratum."""

    values: int
    """Number of values."""
    ranks: NDArray[np.int64]
    """(20,): histogram of the ranks."""
    inside: Floats
    """(3,): values inside the intervals of LEVELS."""
    sums: Floats
    """(4,): of CRPS, width, error and log-likelihood; the last is nan where no law has a closed
    form."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.values + other.values,
            self.ranks + other.ranks,
            self.inside + other.inside,
            self.sums + other.sums,
        )


def tally(scores: ValueScores, log_likelihood: Floats | None, chosen: NDArray[np.bool_]) -> Tally:
    """Sum the scores of the values of a stratum.

    Args:
        scores: Of n values.
        log_likelihood: (n,) in nats; None: no law has a closed form.
        chosen: (n,) which values belong to the stratum.

    """
    rank = scores.rank[chosen]
    off = 2 * np.abs(rank - 0.5)
    likelihood = np.nan if log_likelihood is None else float(log_likelihood[chosen].sum())
    columns = (scores.crps, scores.width, scores.error)
    return Tally(
        len(rank),
        np.histogram(rank, RANKS, (0, 1))[0].astype(np.int64),
        np.array([float((off <= level).sum()) for level in LEVELS]),
        np.array([*(column[chosen].sum() for column in columns), likelihood]),
    )


def tallies(
    scores: ValueScores,
    log_likelihood: Floats | None,
    strata: Mapping[str, NDArray[np.bool_]],
) -> dict[str, Tally]:
    """The tally of every stratum by its name."""
    return {name: tally(scores, log_likelihood, chosen) for name, chosen in strata.items()}


def merge(one: Mapping[str, Tally], other: Mapping[str, Tally]) -> dict[str, Tally]:
    """The tallies of two parts of an image."""
    return {name: one[name] + other[name] for name in one}


@dataclass(frozen=True)
class Coverage:
    """Share of the real values inside a central interval."""

    share: float
    low: float | None
    """End of its 95 % interval by the bootstrap over images; None for fewer than two images."""
    high: float | None


@dataclass(frozen=True)
class StratumScores:
    """What is known of one stratum."""

    values: int
    coverage: dict[str, Coverage]
    """By the probability of the interval: ``50%``, ``90%``, ``99%``."""
    ranks: list[float]
    """Histogram of the ranks, its mean 1: flat if the prediction is right."""
    crps: float
    """Gray levels; smaller is better."""
    width: float
    """Of the central 90 % interval, gray levels."""
    error: float
    """Mean distance of real values from the median of the draws, gray levels."""
    negative_log_likelihood: float | None
    """Nats a value; None where the law has no closed form."""


def stratum_scores(images: Sequence[Tally], random: np.random.Generator) -> StratumScores | None:
    """What the images say of a stratum; None if it holds no value.

    Args:
        images: The tally of every image.
        random: Draws images for the intervals.

    """
    counts = np.array([image.values for image in images], dtype=np.float64)
    total = float(counts.sum())
    if total == 0:
        return None
    inside = np.array([image.inside for image in images])
    sums = np.sum([image.sums for image in images if image.values], axis=0) / total
    ranks = np.sum([image.ranks for image in images], axis=0) * RANKS / total
    ends = _ends(inside, counts, random)
    shares = (inside.sum(axis=0) / total).tolist()
    coverage = {
        f"{level:.0%}": Coverage(share, *ends_of)
        for level, share, ends_of in zip(LEVELS, shares, ends, strict=True)
    }
    crps, width, error, likelihood = sums.tolist()
    return StratumScores(
        int(total),
        coverage,
        ranks.tolist(),
        crps,
        width,
        error,
        None if np.isnan(likelihood) else -likelihood,
    )


def _ends(
    inside: Floats, counts: Floats, random: np.random.Generator
) -> list[tuple[float | None, float | None]]:
    """Ends of the interval of every share."""
    if np.count_nonzero(counts) < 2:
        return [(None, None)] * inside.shape[1]
    drawn = random.integers(len(counts), size=(RESAMPLES, len(counts)))
    totals = counts[drawn].sum(axis=1)
    seen = totals > 0
    shares = inside[drawn].sum(axis=1)[seen] / totals[seen, None]
    low, high = np.percentile(shares, INTERVAL, axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))
