"""Laws of rounded values against SciPy, closed forms and Monte Carlo."""

import numpy as np
import pytest
import torch
from laws import STANDARD_ERRORS
from numpy.typing import NDArray
from scipy import stats

from pipeline.sampling.calibrated import CalibratedSampler
from pipeline.sampling.compression import Compression
from pipeline.sampling.noise_law import NoiseLaw
from pipeline.uncertainty.laws import GAUSSIAN, LAPLACE, CellLaw, filtered_law

REAL = np.array([[0.0, 3.0, 100.0, 180.0, 255.0]] * 3)
MEAN = np.array([[1.2, 4.5, 99.7, 150.0, 252.0]] * 3)
THETA = np.array([[2.0, 0.5, 3.0, 7.0, 4.0]] * 3)


@pytest.mark.parametrize(
    ("law", "oracle"),
    [(LAPLACE, stats.laplace(0, 1)), (GAUSSIAN, stats.norm(0, 2**0.5))],
)
def test_cells_have_the_probability_that_scipy_gives(law: CellLaw, oracle: object) -> None:
    assert isinstance(oracle, stats.distributions.rv_frozen)
    upper = np.where(REAL == 255, 1, oracle.cdf((REAL + 0.5 - MEAN) / THETA))
    lower = np.where(REAL == 0, 0, oracle.cdf((REAL - 0.5 - MEAN) / THETA))
    found = law.log_likelihood(REAL, MEAN, THETA)
    assert found == pytest.approx(np.log(upper - lower), abs=1e-6)


def test_the_cells_of_a_law_sum_to_one() -> None:
    levels = np.repeat(np.arange(256.0)[None], 3, axis=0)
    mean, theta = np.full_like(levels, 13.3), np.full_like(levels, 9.0)
    for law in (LAPLACE, GAUSSIAN, filtered_law(noise(0.5))):
        found = np.exp(law.log_likelihood(levels, mean, theta)).sum(axis=1)
        assert found == pytest.approx(1, abs=1e-6)


def noise(share: float, kernels: NDArray[np.float64] | None = None) -> NoiseLaw:
    return NoiseLaw(
        variance_gray=[[9.0, 9.0]] * 3,
        noise_filter=None if kernels is None else kernels.tolist(),
        laplace_share=share,
    )


def test_without_a_filter_the_ends_are_laplace_and_gaussian() -> None:
    for share, known in ((1.0, LAPLACE), (0.0, GAUSSIAN)):
        found = filtered_law(noise(share)).log_likelihood(REAL, MEAN, THETA)
        assert found == pytest.approx(known.log_likelihood(REAL, MEAN, THETA), abs=2e-3)


def test_two_equal_weights_give_the_closed_form_of_two_laplace_variables() -> None:
    """The density of their sum is (1 + |x| / a) exp(-|x| / a) / (4 a), each of scale a."""
    kernels = np.zeros((3, 3, 3, 3))
    a = 0.5**0.5
    for channel in range(3):
        kernels[channel, channel, 1, :2] = a
    x = np.array([-9.0, -3.0, -0.4, -0.01])
    tail = np.exp(x / a) * (2 - x / a) / 4
    for cdf in filtered_law(noise(1.0, kernels)).cdf:
        assert cdf(x) == pytest.approx(tail, rel=2e-3)


class Correlated:
    """A camera whose noise is filtered."""

    scale = 4
    jpeg: Compression | None = None

    def __init__(self, law: NoiseLaw) -> None:
        self.noise = law


def test_a_filtered_law_is_that_of_the_samples() -> None:
    """A kernel of 3x3 with weights between the channels, half Laplace."""
    random = np.random.default_rng(0)
    kernels = random.normal(0, 1, (3, 3, 3, 3))
    kernels /= np.sqrt((kernels**2).sum(axis=(1, 2, 3), keepdims=True))
    law = noise(0.8, kernels)
    maps = {"mean": torch.full((1, 3, 700, 700), 0.5)}
    sampler = CalibratedSampler(Correlated(law))
    drawn = sampler.sample(maps, torch.Generator().manual_seed(0))[0].numpy()
    eps = (drawn - 0.5) / sampler.theta(maps)[0].numpy()
    apart = eps[:, ::3, ::3].reshape(3, -1)  # independent: the kernel is 3 pixels wide
    for channel, cdf in enumerate(filtered_law(law).cdf):
        for x in (-4.0, -1.5, -0.3, 0.3, 1.5, 4.0):
            expected = float(cdf(np.array([x]))[0])
            error = (expected * (1 - expected) / apart.shape[1]) ** 0.5
            share = float((apart[channel] <= x).mean())
            assert abs(share - expected) < STANDARD_ERRORS * error + 5e-4
