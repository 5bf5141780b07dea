"""Scores by draws against their definitions, and the law of ranks."""

import numpy as np
import pytest
from laws import STANDARD_ERRORS, UNLIKELY
from scipy import stats

from pipeline.uncertainty.scoring import score_draws, score_pool


def test_the_crps_is_that_of_its_definition() -> None:
    """E|X - y| - E|X - X'| / 2, the last over pairs of different draws."""
    random = np.random.default_rng(0)
    draws, real = random.normal(10, 3, (7, 5)), random.normal(10, 3, 5)
    found = score_draws(real, draws, random)
    for i, y in enumerate(real):
        x = draws[:, i]
        pairs = [abs(a - b) for j, a in enumerate(x) for k, b in enumerate(x) if j != k]
        assert found.crps[i] == pytest.approx(np.abs(x - y).mean() - np.mean(pairs) / 2, rel=1e-5)


def test_the_crps_of_a_gaussian_is_the_closed_form() -> None:
    """Gneiting and Raftery 2007: s (z (2 F(z) - 1) + 2 f(z) - 1 / sqrt(pi))."""
    random = np.random.default_rng(1)
    pool, real = random.normal(0, 2, 200_000), np.array([-5.0, 0.0, 1.0])
    z = real / 2
    expected = 2 * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - np.pi**-0.5)
    found = score_pool(real, pool, random)
    assert found.crps == pytest.approx(expected, abs=STANDARD_ERRORS * 2 / len(pool) ** 0.5)
    assert found.width == pytest.approx(2 * 2 * stats.norm.ppf(0.95), rel=0.02)


def test_a_pool_is_the_same_draws_for_every_value() -> None:
    random = np.random.default_rng(2)
    pool, real = np.rint(random.normal(0, 3, 50)), np.rint(random.normal(0, 3, 30))
    one = score_pool(real, pool, np.random.default_rng(3))
    other = score_draws(real, np.repeat(pool[:, None], 30, axis=1), np.random.default_rng(3))
    for name in ("rank", "crps", "width", "error"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-5), name


@pytest.mark.parametrize("step", [0.001, 4.0])
def test_ranks_of_right_predictions_are_uniform_also_with_ties(step: float) -> None:
    """With a step of four, most values are tied with dozens of draws."""
    random = np.random.default_rng(4)
    laws = random.laplace(0, 3, (100, 20_000))
    rounded = np.rint(laws / step) * step
    found = score_draws(rounded[0], rounded[1:], random)
    assert stats.kstest(found.rank, "uniform").pvalue > UNLIKELY


def test_shapes_that_do_not_fit_are_refused() -> None:
    random = np.random.default_rng(0)
    with pytest.raises(ValueError, match="fit"):
        score_draws(np.zeros(3), np.zeros((5, 4)), random)
    with pytest.raises(ValueError, match="two draws"):
        score_pool(np.zeros(3), np.zeros(1), random)
