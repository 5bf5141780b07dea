"""Which law rounded differences follow: Figure 2 of the paper, scored on photographs left out.

A difference of 8-bit images is known up to a cell of rounding, one gray level wide.  Its likelihood
is the probability of the cell, so that a law cannot gain by a narrow peak between two levels.

The laws are generalised Gaussians, with a density in proportion to exp(-(|x - m| / s)^p): a
Laplace law has the shape p = 1, a Gaussian law p = 2.  A smaller shape means heavier tails.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import gammainc, gammaincc, gammaln

from pipeline.audit.noise_laws import VALUES, DifferenceHistogram

Floats = NDArray[np.float64]

HALF_CELL = 0.5
"""Half the width of a cell of rounding, in gray levels."""
LAPLACE, GAUSSIAN = 1.0, 2.0
"""Shapes of the two laws."""
SHAPES = (0.2, 10.0)
"""Smallest and largest shape that is fitted."""
SMALLEST = 1e-280
"""Probabilities below it are computed as logarithms, from the expansion of the tail."""
FIRST_STEP = 0.3
"""Of the search for a fit: of log scale, of the location over the spread, of log shape."""
RESAMPLES = 10_000
"""Of the photographs, for an interval."""
INTERVAL = (2.5, 97.5)
"""Percentiles."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Values that are known up to a cell: (n,) each."""

    values: Floats
    """Centres of the cells."""
    halves: Floats
    """Half widths of the cells, positive."""
    counts: Floats
    """How often each was seen."""

    @classmethod
    def of_differences(cls, counted: DifferenceHistogram) -> "Cells":
        """Differences in gray levels, rounded to whole ones on one side."""
        seen = np.flatnonzero(counted.counts)
        values, counts = (
            np.asarray(each[seen], dtype=np.float64) for each in (VALUES, counted.counts)
        )
        return cls(values, np.full(len(seen), HALF_CELL), counts)

    @classmethod
    def relative(cls, differences: Floats, scales: Floats) -> "Cells":
        """Differences in gray levels over a scale each, of any shape; the cells shrink with them.

        Raises:
            ValueError: The shapes differ, or a scale is not positive.

        """
        if differences.shape != scales.shape:
            raise ValueError(f"differences are {differences.shape} but scales {scales.shape}")
        if not (scales > 0).all():
            raise ValueError("every scale must be positive")
        scale = scales.ravel()
        values, halves = (
            np.asarray(each / scale, dtype=np.float64)
            for each in (differences.ravel(), np.array(HALF_CELL))
        )
        return cls(values, halves, np.ones(len(scale)))


def join(parts: Sequence[Cells]) -> Cells:
    """All cells together."""
    return Cells(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("values", "halves", "counts")
        )
    )


@dataclass(frozen=True)
class Law:
    """A generalised Gaussian law."""

    location: float
    scale: float
    """s > 0: of a Laplace law its scale, of a Gaussian law its standard deviation times root 2."""
    shape: float
    """p > 0."""

    def log_probability(self, cells: Cells) -> Floats:
        """Logarithm of the probability of every cell, (n,), in nats; finite far out as well."""
        centre = np.abs(cells.values - self.location)
        near, far = (
            (np.abs(centre + side * cells.halves) / self.scale) ** self.shape for side in (-1, 1)
        )
        order, inside = 1 / self.shape, centre < cells.halves
        probability = np.empty(len(centre))
        probability[inside] = gammainc(order, near[inside]) + gammainc(order, far[inside])
        outside = ~inside
        probability[outside] = gammaincc(order, near[outside]) - gammaincc(order, far[outside])
        found = np.log(np.maximum(probability, SMALLEST) / 2)
        distant = probability < SMALLEST
        first, last = (_log_tail(order, part[distant]) for part in (near, far))
        found[distant] = first + np.log1p(-np.exp(last - first)) - np.log(2)
        return np.asarray(found)

    def score(self, cells: Cells) -> float:
        """Mean log-likelihood of a value, in nats."""
        return float(cells.counts @ self.log_probability(cells) / cells.counts.sum())


def _log_tail(order: float, x: Floats) -> Floats:
    """Logarithm of the regularised upper incomplete gamma function for large x."""
    terms = 1 + (order - 1) / x * (1 + (order - 2) / x)
    return np.asarray((order - 1) * np.log(x) - x - gammaln(order) + np.log(terms))


def fit_law(cells: Cells, shape: float | None = None, location: float | None = None) -> Law:
    """The law of the highest likelihood.

    Args:
        cells: What was seen; at least two values differ.
        shape: Of the law; None: fitted too, within SHAPES.
        location: Of the law; None: fitted too.

    Raises:
        ValueError: There are not two values that differ.

    """
    if len(cells.values) < 2 or np.ptp(cells.values) == 0:
        raise ValueError("a law needs at least two values that differ")
    middle = float(np.average(cells.values, weights=cells.counts))
    spread = float(np.average(np.abs(cells.values - middle), weights=cells.counts))

    def law(point: Floats) -> Law:
        rest = list(point[1:])
        place = rest.pop(0) * spread if location is None else location
        power = float(np.exp(np.clip(rest[0], *np.log(SHAPES)))) if shape is None else shape
        return Law(float(place), float(spread * np.exp(point[0])), power)

    def loss(point: Floats) -> float:
        return -law(point).score(cells)

    start = np.array([0.0, *[middle / spread] * (location is None), *[0.2] * (shape is None)])
    simplex = np.vstack([start, start + FIRST_STEP * np.eye(len(start))])
    found = minimize(
        loss,
        start,
        method="Nelder-Mead",
        options={"xatol": 1e-3, "fatol": 1e-7, "initial_simplex": simplex},
    )
    return law(found.x)


@dataclass(frozen=True)
class Interval:
    """A mean over photographs, and where it lies by the bootstrap."""

    mean: float
    low: float
    high: float


def over_photographs(values: Sequence[float], random: np.random.Generator) -> Interval:
    """Mean and 95 % interval of one value per photograph."""
    each = np.asarray(values, dtype=np.float64)
    drawn = each[random.integers(len(each), size=(RESAMPLES, len(each)))].mean(axis=1)
    low, high = np.percentile(drawn, INTERVAL)
    return Interval(float(each.mean()), float(low), float(high))


@dataclass(frozen=True)
class Comparison:
    """Laws fitted on one half of the photographs and scored on the other, in nats per value."""

    photographs: int
    shape: float
    """Of the generalised Gaussian law, fitted to all photographs."""
    own_shape: float
    """Median of the shapes that are fitted to one photograph each."""
    laplace: float
    gaussian: float
    general: float
    """With its shape fitted."""
    advantage: Interval
    """Laplace less Gaussian; above zero: Laplace is better."""

    @property
    def better(self) -> str:
        """The better law, or that the interval holds zero."""
        if self.advantage.low > 0:
            return "Laplace"
        return "Gaussian" if self.advantage.high < 0 else "neither"


def compare(
    parts: Sequence[Cells], random: np.random.Generator, location: float | None = None
) -> Comparison:
    """Compare the laws on photographs that they were not fitted to.

    Args:
        parts: The cells of every photograph, at least two.  Those of even and of odd place are the
            halves.
        random: Draws the photographs of the bootstrap.
        location: Of all laws; None: fitted.

    Raises:
        ValueError: There are fewer than two photographs.

    """
    if len(parts) < 2:
        raise ValueError(f"a comparison needs at least two photographs, got {len(parts)}")
    halves = [join(parts[place::2]) for place in (0, 1)]
    scores = {}
    for name, shape in (("laplace", LAPLACE), ("gaussian", GAUSSIAN), ("general", None)):
        laws = [fit_law(half, shape, location) for half in halves]
        scores[name] = np.array([laws[1 - i % 2].score(part) for i, part in enumerate(parts)])
    return Comparison(
        len(parts),
        fit_law(join(parts), None, location).shape,
        float(np.median([fit_law(part, None, location).shape for part in parts])),
        **{name: float(each.mean()) for name, each in scores.items()},
        advantage=over_photographs((scores["laplace"] - scores["gaussian"]).tolist(), random),
    )
