"""Scores of theta on images whose noise was drawn with a known scale per pixel."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from pipeline.figures.theta_scores import theta_scores

Floats = NDArray[np.float64]


def images(law: str, number: int = 4) -> tuple[list[Floats], list[Floats]]:
    """Rounded noise of the same variance, 2 theta^2, under either law, and theta."""
    rng = np.random.default_rng(7)
    thetas = [rng.uniform(2, 12, (3, 10, 12)) for _ in range(number)]
    if law == "laplace":
        return [np.rint(rng.laplace(0, theta)) for theta in thetas], thetas
    return [np.rint(rng.normal(0, 2**0.5 * theta)) for theta in thetas], thetas


@pytest.mark.parametrize(("law", "better"), [("laplace", "Laplace"), ("normal", "Gaussian")])
def test_given_the_true_theta_the_true_law_wins(law: str, better: str) -> None:
    differences, thetas = images(law)
    found = theta_scores(differences, thetas, np.random.default_rng(0))
    assert found.scaled.better == better
    assert (found.laplace > found.gaussian) == (better == "Laplace")
    assert found.worth > 0.05
    if law == "laplace":
        assert found.factor == pytest.approx(1, abs=0.1)


def test_without_theta_a_mixture_of_gaussians_looks_heavier_than_it_is() -> None:
    differences, thetas = images("normal")
    found = theta_scores(differences, thetas, np.random.default_rng(0))
    assert found.scaled.shape == pytest.approx(2, abs=0.3)
    assert found.constant.shape < 1.6


def test_stated_scores_are_those_of_scipy() -> None:
    differences, thetas = images("laplace", 2)
    found = theta_scores(differences, thetas, np.random.default_rng(0))
    expected = []
    for oracle in (stats.laplace, lambda scale: stats.norm(0, 2**0.5 * scale)):
        laws = [oracle(0, x) if oracle is stats.laplace else oracle(x) for x in thetas]
        scores = [
            np.log(law.cdf(x + 0.5) - law.cdf(x - 0.5)).mean()
            for law, x in zip(laws, differences, strict=True)
        ]
        expected.append(np.mean(scores))
    assert [found.laplace, found.gaussian] == pytest.approx(expected, abs=1e-6)


def test_a_theta_that_is_too_small_is_told_by_the_factor() -> None:
    differences, thetas = images("laplace")
    right, small = (
        theta_scores(differences, [theta / by for theta in thetas], np.random.default_rng(0))
        for by in (1, 3)
    )
    assert small.factor == pytest.approx(3 * right.factor, rel=3e-3)
    assert small.laplace < right.laplace - 0.5
    assert small.scaled.laplace == pytest.approx(right.scaled.laplace, abs=1e-4)


def test_one_image_and_other_shapes_are_refused() -> None:
    differences, thetas = images("laplace", 2)
    with pytest.raises(ValueError, match="two photographs"):
        theta_scores(differences[:1], thetas[:1], np.random.default_rng(0))
    with pytest.raises(ValueError, match="scales"):
        theta_scores(differences, [thetas[0], thetas[1][:, :5]], np.random.default_rng(0))
