"""Figure 6 of the paper: is theta larger at edges and in texture than in flat areas."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from pipeline.audit.histograms import structure

BORDER = 3
"""Pixels at every border that have no gradient."""
TENTH = 10
"""Per cent of the pixels that count as edges, and as flat."""


@dataclass(frozen=True)
class EdgeContrast:
    """A map at edges and in texture against flat areas, in the unit of the map."""

    flat: float
    """In the tenth of the pixels that has the smallest gradient."""
    edges: float
    """In the tenth that has the largest."""
    correlation: float
    """Spearman's rank correlation of the map with the gradient; nan if the map is constant."""

    @property
    def ratio(self) -> float:
        """Edges over flat."""
        return self.edges / self.flat


def edge_contrast(
    reference: NDArray[np.floating],
    values: NDArray[np.floating],
    centre: Literal["median", "mean"] = "median",
) -> EdgeContrast:
    """How a map differs between edges and flat areas of an image.

    Args:
        reference: (3, H, W) in gray levels, H and W at least 7, without noise: the bicubic LR.
        values: (3, H, W) of any unit; the mean of the channels counts.
        centre: What is taken of the pixels of a tenth.

    Raises:
        ValueError: The shapes differ or are too small.

    """
    if reference.shape != values.shape or reference.ndim != 3 or min(reference.shape[1:]) < 7:
        raise ValueError(
            f"both must be (3, H, W) of at least 7x7, got {reference.shape} and {values.shape}"
        )
    gradient = structure(reference)[0].ravel()
    inside = slice(BORDER, -BORDER)
    level = values[:, inside, inside].mean(axis=0, dtype=np.float64).ravel()
    low, high = np.percentile(gradient, [TENTH, 100 - TENTH])
    middle = np.median if centre == "median" else np.mean
    constant = np.ptp(level) == 0 or np.ptp(gradient) == 0
    return EdgeContrast(
        float(middle(level[gradient <= low])),
        float(middle(level[gradient >= high])),
        float("nan") if constant else float(spearmanr(gradient, level).statistic),
    )
