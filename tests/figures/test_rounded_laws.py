"""Laws of rounded differences, against SciPy's distributions and its fits of what was drawn."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, stats

from pipeline.audit.noise_laws import DifferenceHistogram
from pipeline.figures.rounded_laws import (
    GAUSSIAN,
    LAPLACE,
    Cells,
    Law,
    compare,
    fit_law,
    join,
    over_photographs,
)

PLACES = np.array([-40.0, -7, -1.25, -0.25, 0, 0.5, 1, 2.75, 9, 30])
SHAPES = [0.5, LAPLACE, 1.4, GAUSSIAN, 5.0]


def cells(values: NDArray[np.float64], half: float = 0.5) -> Cells:
    return Cells(values, np.full(len(values), half), np.ones(len(values)))


def drawn(seed: int, scale: float, size: int = 20_000, law: str = "laplace") -> Cells:
    values = getattr(np.random.default_rng(seed), law)(0.3, scale, size)
    return Cells.of_differences(DifferenceHistogram.of(np.rint(values)))


@pytest.mark.parametrize("half", [0.5, 0.02])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_cell_has_the_probability_of_scipy(shape: float, half: float) -> None:
    law, oracle = Law(0.3, 4.0, shape), stats.gennorm(shape, 0.3, 4.0)
    near, far = PLACES - half, PLACES + half
    below = PLACES < 0.3
    expected = np.where(below, oracle.cdf(far) - oracle.cdf(near), oracle.sf(near) - oracle.sf(far))
    likely = expected > 1e-250
    found = np.exp(law.log_probability(cells(PLACES, half)))
    assert found[likely] == pytest.approx(expected[likely], rel=1e-9)


def test_laplace_and_gaussian_are_those_of_scipy() -> None:
    seen = cells(PLACES)
    for shape, oracle in ((LAPLACE, stats.laplace(1, 3)), (GAUSSIAN, stats.norm(1, 3 / 2**0.5))):
        expected = oracle.cdf(PLACES + 0.5) - oracle.cdf(PLACES - 0.5)
        found = np.exp(Law(1.0, 3.0, shape).log_probability(seen))
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-15)


@pytest.mark.parametrize("shape", [LAPLACE, 1.5, GAUSSIAN])
def test_far_out_the_probability_is_that_of_the_integrated_density(shape: float) -> None:
    law, place = Law(0.0, 0.05, shape), 60.0
    # exp(-(x / s)^p) over its value at the near edge, so that nothing underflows
    edge = (place - 0.5) / law.scale
    width, steps = 1 / law.scale, [10.0**-power for power in range(5)]
    rest, _ = integrate.quad(
        lambda t: np.exp(edge**shape - (edge + t) ** shape), 0, width, points=steps
    )
    expected = np.log(rest) - edge**shape + np.log(stats.gennorm(shape).pdf(0))
    found = float(law.log_probability(cells(np.array([place])))[0])
    assert found < -600
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_probabilities_of_all_cells_add_up_to_one(shape: float) -> None:
    every = cells(np.arange(-4000.0, 4001))
    assert np.exp(Law(0.2, 3.0, shape).log_probability(every)).sum() == pytest.approx(1, abs=1e-9)


def test_fits_are_those_of_scipy_where_cells_are_narrow() -> None:
    values = np.random.default_rng(3).normal(-1.2, 9, 4_000)
    seen = cells(values, 1e-3)
    mean, deviation = stats.norm.fit(values)
    fitted = fit_law(seen, GAUSSIAN)
    assert fitted.location == pytest.approx(mean, abs=0.02)
    assert fitted.scale == pytest.approx(deviation * 2**0.5, rel=3e-3)
    median, scale = stats.laplace.fit(values)
    fitted = fit_law(seen, LAPLACE)
    assert fitted.location == pytest.approx(median, abs=0.2)
    assert fitted.scale == pytest.approx(scale, rel=3e-3)
    density = stats.laplace.logpdf(values, median, scale).mean() + np.log(2e-3)
    assert fitted.score(seen) == pytest.approx(density, abs=1e-4)


@pytest.mark.parametrize("shape", [0.8, 1.5, 2.5])
def test_the_shape_of_what_was_drawn_is_found_in_spite_of_rounding(shape: float) -> None:
    values = stats.gennorm.rvs(shape, 0.4, 2.0, size=60_000, random_state=5)
    found = fit_law(Cells.of_differences(DifferenceHistogram.of(np.rint(values))))
    assert found.shape == pytest.approx(shape, rel=0.06)
    assert found.scale == pytest.approx(2.0, rel=0.06)
    assert found.location == pytest.approx(0.4, abs=0.06)


def test_a_location_that_is_given_stays() -> None:
    found = fit_law(drawn(1, 4.0), LAPLACE, 0.0)
    assert found.location == 0 and found.shape == LAPLACE
    assert found.scale == pytest.approx(4.0, rel=0.05)


def test_relative_cells_are_those_of_the_differences_under_a_law_of_each_scale() -> None:
    differences, scales = np.array([[3.0, -8.0], [0.0, 20.0]]), np.array([[2.0, 5.0], [1.0, 9.0]])
    found = Law(0.0, 1.0, LAPLACE).log_probability(Cells.relative(differences, scales))
    oracle = stats.laplace(0, scales)
    expected = np.log(oracle.cdf(differences + 0.5) - oracle.cdf(differences - 0.5)).ravel()
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("law", "better"), [("laplace", "Laplace"), ("normal", "Gaussian")])
def test_the_law_that_drew_the_photographs_wins(law: str, better: str) -> None:
    parts = [drawn(seed, 6.0, 3_000, law) for seed in range(6)]
    found = compare(parts, np.random.default_rng(0))
    assert found.better == better and found.photographs == 6
    assert found.shape == pytest.approx({"Laplace": 1, "Gaussian": 2}[better], rel=0.1)
    assert found.advantage.low < found.laplace - found.gaussian < found.advantage.high
    assert found.general > max(found.laplace, found.gaussian) - 0.002


def test_scores_are_of_photographs_that_the_law_was_not_fitted_to() -> None:
    parts = [drawn(0, 2.0, 4_000), drawn(1, 12.0, 4_000)]
    found = compare(parts, np.random.default_rng(0))
    own = [fit_law(part, LAPLACE).score(part) for part in parts]
    other = [fit_law(parts[1 - i], LAPLACE).score(part) for i, part in enumerate(parts)]
    assert found.laplace == pytest.approx(np.mean(other), abs=1e-6)
    assert found.laplace < np.mean(own) - 0.3


def test_a_mixture_of_scales_is_heavier_than_its_parts() -> None:
    parts = [drawn(seed, 2.0 + 6 * (seed % 4), 4_000, "normal") for seed in range(8)]
    found = compare(parts, np.random.default_rng(0))
    assert found.own_shape == pytest.approx(2, abs=0.15)
    assert found.shape < 1.3


def test_the_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(2).normal(3.0, 2.0, 400).tolist()
    found = over_photographs(values, np.random.default_rng(1))
    error = stats.sem(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.low == pytest.approx(found.mean - 1.96 * error, abs=0.2 * error)
    assert found.high == pytest.approx(found.mean + 1.96 * error, abs=0.2 * error)


def test_an_interval_with_zero_names_no_law() -> None:
    parts = [drawn(seed, 0.2, 300, ("laplace", "normal")[seed // 2 % 2]) for seed in range(8)]
    assert compare(parts, np.random.default_rng(0)).better == "neither"


def test_refusals() -> None:
    with pytest.raises(ValueError, match="two values"):
        fit_law(cells(np.array([3.0, 3.0])))
    with pytest.raises(ValueError, match="two photographs, got 1"):
        compare([drawn(0, 3.0, 50)], np.random.default_rng(0))
    with pytest.raises(ValueError, match="positive"):
        Cells.relative(np.zeros(2), np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match=r"\(2,\)"):
        Cells.relative(np.zeros(2), np.ones(3))
    assert len(join([drawn(0, 3.0, 50), cells(PLACES)]).values) > len(PLACES)
