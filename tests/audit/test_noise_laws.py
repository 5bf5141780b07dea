"""Differences: counted in parts, fitted as SciPy fits the values themselves."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from pipeline.audit.noise_laws import (
    BIN,
    HALF,
    VALUES,
    DifferenceHistogram,
    fit_laws,
    gaussian_density,
    laplace_density,
)
from pipeline.noise.signature import BIN as HIGH_PASS_BIN
from pipeline.noise.signature import signature

RNG = np.random.default_rng(1)
LAPLACE: NDArray[np.float64] = RNG.laplace(2.3, 6, 40_000)
GAUSSIAN: NDArray[np.float64] = RNG.normal(-1.2, 9, 40_000)


@pytest.mark.parametrize(("values", "better"), [(LAPLACE, "Laplace"), (GAUSSIAN, "Gaussian")])
def test_fits_are_those_of_scipy(values: NDArray[np.float64], better: str) -> None:
    found = fit_laws(DifferenceHistogram.of(values))
    assert found is not None
    assert found.values == 40_000 and found.better == better
    location, scale = stats.laplace.fit(values)
    mean, deviation = stats.norm.fit(values)
    assert found.median == pytest.approx(location, abs=BIN)
    assert found.laplace_scale == pytest.approx(scale, rel=0.005)
    assert found.mean == pytest.approx(mean, abs=0.01)
    assert found.deviation == pytest.approx(deviation, rel=0.005)
    laplace = stats.laplace.logpdf(values, location, scale).mean()
    gaussian = stats.norm.logpdf(values, mean, deviation).mean()
    assert found.laplace_likelihood == pytest.approx(laplace, abs=0.005)
    assert found.gaussian_likelihood == pytest.approx(gaussian, abs=0.005)
    some = np.linspace(-40, 40, 9)
    assert laplace_density(some, found) == pytest.approx(
        stats.laplace.pdf(some, found.median, found.laplace_scale)
    )
    assert gaussian_density(some, found) == pytest.approx(
        stats.norm.pdf(some, found.mean, found.deviation)
    )


def test_counts_are_of_the_nearest_value_and_add_up() -> None:
    values = np.array([[0.0, 0.1, 0.13], [-0.2, 1000, -1000]])
    counted = DifferenceHistogram.of(values)
    expected = {0.0: 2, 0.25: 1, -0.25: 1, VALUES[0]: 1, VALUES[-1]: 1}
    assert {VALUES[i]: int(counted.counts[i]) for i in np.flatnonzero(counted.counts)} == expected
    parts = DifferenceHistogram.of(values[0]) + DifferenceHistogram.of(values[1])
    assert np.array_equal(parts.counts, counted.counts)
    assert VALUES[0] == -HALF * BIN == -300


def test_high_pass_counts_keep_their_values() -> None:
    assert HIGH_PASS_BIN == BIN
    image = np.random.default_rng(2).uniform(0, 255, (3, 30, 30))
    counted = signature(image).high_pass
    found = DifferenceHistogram.of_high_pass(counted)
    place = (np.arange(counted.shape[1]) - counted.shape[1] // 2) * HIGH_PASS_BIN
    assert found.counts.sum() == counted.sum()
    assert found.counts @ VALUES == pytest.approx((counted @ place).sum())


@pytest.mark.parametrize("values", [np.zeros(0), np.full(9, 3.0)])
def test_nothing_to_fit(values: NDArray[np.float64]) -> None:
    assert fit_laws(DifferenceHistogram.of(values)) is None
