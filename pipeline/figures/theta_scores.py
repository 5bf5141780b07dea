"""How well theta predicts real LR images, and whether a Laplace law is the right one given theta.

Unlike a fit to all differences at once, a law of its own scale at every pixel can tell a mixture of
scales, which theta is there for, from the law of the noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.figures.rounded_laws import (
    GAUSSIAN,
    LAPLACE,
    Cells,
    Comparison,
    Law,
    compare,
    fit_law,
    join,
)

Floats = NDArray[np.float64]

AS_STATED = {"laplace": Law(0.0, 1.0, LAPLACE), "gaussian": Law(0.0, 2.0, GAUSSIAN)}
"""Of differences over theta; the standard deviation of both is the root of 2."""


@dataclass(frozen=True)
class ThetaScores:
    """Scores of real LR images under laws around the mean, in nats per value."""

    laplace: float
    """L(mean, theta), as Eq. 8 samples."""
    gaussian: float
    """The Gaussian law of the same mean and variance."""
    factor: float
    """The multiple of theta under which the Laplace law fits best; 1: theta is right on average."""
    scaled: Comparison
    """Of laws with a multiple of theta, fitted on one half of the images."""
    constant: Comparison
    """Of laws with one scale for all pixels, fitted likewise."""

    @property
    def worth(self) -> float:
        """What the map adds to a constant: both Laplace, both scales fitted."""
        return self.scaled.laplace - self.constant.laplace


def theta_scores(
    differences: Sequence[Floats], thetas: Sequence[Floats], random: np.random.Generator
) -> ThetaScores:
    """Score the real LR images of HR images that have maps.

    Args:
        differences: Real LR - mean of every image in gray levels, of any shape; the real LR is
            rounded to whole levels.
        thetas: Theta at the same places, in gray levels.
        random: Draws images for the intervals.

    Raises:
        ValueError: There are fewer than two images, or the shapes of one differ.

    """
    relative = [Cells.relative(*each) for each in zip(differences, thetas, strict=True)]
    level = [Cells.relative(each, np.ones_like(each)) for each in differences]
    stated = {
        name: float(np.mean([law.score(cells) for cells in relative]))
        for name, law in AS_STATED.items()
    }
    return ThetaScores(
        **stated,
        scaled=compare(relative, random, 0.0),
        factor=fit_law(join(relative), LAPLACE, 0.0).scale,
        constant=compare(level, random, 0.0),
    )
