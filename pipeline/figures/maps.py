"""Figure 6 of the paper, for maps: theta at edges, and how it fits the real LR images."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.figures.cameras import bicubic_lr, drawn
from pipeline.figures.edges import EdgeContrast, edge_contrast
from pipeline.figures.theta_scores import ThetaScores, theta_scores
from pipeline.stores.reader import Store

Floats = NDArray[np.float64]

FEWEST = 8
"""Captures that a deviation per pixel is taken from, at least."""
INSIDE = (25, 230)
"""Gray levels of the bicubic LR between which values are scored, so that clipping cuts no noise."""


@dataclass(frozen=True)
class MapFigures:
    """Figure 6 of a map: means over its images."""

    theta: EdgeContrast
    """In gray levels, medians."""
    theta_mean: EdgeContrast
    """In gray levels, means."""
    error: EdgeContrast | None
    """|real LR - mean| in gray levels, means; without pairs None."""
    scores: ThetaScores | None
    """Likewise."""


def captures_of(pairs: Store | None, hr: Store, image_id: str) -> Floats:
    """Real LR images (n, 3, H, W) of an HR image: pairs of its id, or with _ and a number behind.

    An id of another HR image is none of them.
    """
    if pairs is None:
        return np.empty(0)
    found = [
        pair_id
        for pair_id in pairs.ids
        if pair_id == image_id
        or (re.fullmatch(rf"{re.escape(image_id)}_\d+", pair_id) and pair_id not in hr.ids)
    ]
    return np.array([pairs.read(pair_id, "lr") for pair_id in found], dtype=np.float64)


def mean_contrast(parts: Sequence[EdgeContrast]) -> EdgeContrast:
    """Means over images."""
    ranks = [x.correlation for x in parts if np.isfinite(x.correlation)]
    return EdgeContrast(
        float(np.mean([x.flat for x in parts])),
        float(np.mean([x.edges for x in parts])),
        float(np.mean(ranks)) if ranks else float("nan"),
    )


def noise_at_edges(hr: Store, pairs: Store) -> EdgeContrast | None:
    """The noise at edges and in flat areas, as a Laplace scale: deviation over the root of 2.

    Args:
        hr: The HR images.
        pairs: Captures of them, see ``captures_of``.

    Returns:
        The mean over the HR images with at least FEWEST captures, None if there are none.

    """
    found = []
    for image_id in hr.ids:
        shots = captures_of(pairs, hr, image_id)
        if len(shots) >= FEWEST:
            deviation = shots.std(axis=0, ddof=1) / np.sqrt(2)
            found.append(edge_contrast(bicubic_lr(hr, "image", image_id), deviation))
    return mean_contrast(found) if found else None


def map_figures(hr: Store, maps: Store, pairs: Store | None) -> MapFigures:
    """Theta at edges and in flat areas, and how it fits the real LR images.

    Args:
        hr: The HR images.
        maps: Their mean and theta.
        pairs: Real LR images of some of them, see ``captures_of``; None: there are none.

    """
    random = np.random.default_rng(0)
    medians, means, errors = [], [], []
    differences, thetas = [], []
    for image_id in maps.ids:
        bicubic = bicubic_lr(hr, "image", image_id)
        mean, theta = (
            maps.read(image_id, name).astype(np.float64) * 255 for name in ("mean", "theta")
        )
        medians.append(edge_contrast(bicubic, theta))
        means.append(edge_contrast(bicubic, theta, "mean"))
        shots = captures_of(pairs, hr, image_id)
        if len(shots):
            errors.append(edge_contrast(bicubic, np.abs(shots - mean).mean(axis=0), "mean"))
            inside = (bicubic > INSIDE[0]) & (bicubic < INSIDE[1])
            distance, scale = drawn(random, (shots[0] - mean)[inside], theta[inside])
            differences.append(distance)
            thetas.append(scale)
    return MapFigures(
        mean_contrast(medians),
        mean_contrast(means),
        mean_contrast(errors) if errors else None,
        theta_scores(differences, thetas, random) if len(thetas) > 1 else None,
    )
