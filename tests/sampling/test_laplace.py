"""The Laplace model: the law of the draws, and Eq. 2 against numerical quadrature of the KL."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from laws import STANDARD_ERRORS, UNLIKELY
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from torch import Tensor

from pipeline.base.units import GRAY_LEVEL
from pipeline.sampling.laplace import (
    one_word,
    optimal_scale,
    sample,
    scale_terms,
    scaled_divergence,
    standard_laplace,
    two_exponentials,
)

DRAWS = 200_000
TABLE = {0: 1.00, 1: 1.24, 2: 1.57, 5: 2.48, 10: 3.81, 20: 6.13, 50: 12.1}
"""|mean - reference| and the optimal theta in gray levels, for a prior scale of one gray level."""


Way = Callable[[Tensor, torch.Generator], Tensor]
WAYS = (one_word, two_exponentials)
"""One is taken on a CPU, the other on a GPU; both run on a CPU."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def quadrature_kl(distance: float, scale: float, prior: float) -> float:
    """KL[L(0, scale) || L(distance, prior)], the integral of p log(p/q), with x = scale * t."""

    def integrand(t: float) -> float:
        log_p = -abs(t) - math.log(2 * scale)
        log_q = -abs(scale * t - distance) / prior - math.log(2 * prior)
        return 0.5 * math.exp(-abs(t)) * (log_p - log_q)

    corner = distance / scale
    edges = sorted({-60.0, 0.0, min(corner, 60.0), 60.0})
    return sum(quad(integrand, *piece, epsabs=1e-13, epsrel=1e-12)[0] for piece in pairwise(edges))


# ---------------------------------------------------------------- standard_laplace, sample


@pytest.mark.arithmetic
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("drawn", WAYS)
def test_standard_laplace_law(drawn: Way, dtype: torch.dtype) -> None:
    draws = drawn(torch.empty(DRAWS, dtype=dtype), seeded())
    assert draws.dtype == dtype and draws.shape == (DRAWS,)
    values = draws.double().numpy()
    assert stats.kstest(values, stats.laplace.cdf).pvalue > UNLIKELY
    # E x = 0 (variance 2), E|x| = 1 (variance 1), E x^2 = 2 (variance 24 - 4)
    assert abs(values.mean()) < STANDARD_ERRORS * math.sqrt(2 / DRAWS)
    assert abs(np.abs(values).mean() - 1) < STANDARD_ERRORS * math.sqrt(1 / DRAWS)
    assert abs((values**2).mean() - 2) < STANDARD_ERRORS * math.sqrt(20 / DRAWS)


@pytest.mark.arithmetic
@pytest.mark.parametrize("drawn", WAYS)
def test_standard_laplace_draws_every_element_independently(drawn: Way) -> None:
    draws = drawn(torch.empty(2, 3, 150, 200), seeded(1))
    for shifted, kept in (
        (draws[1], draws[0]),
        (draws[:, 1], draws[:, 0]),
        (draws[:, :, 1:], draws[:, :, :-1]),
        (draws[..., 1:], draws[..., :-1]),
    ):
        product = shifted * kept  # mean 0, variance 2 * 2
        assert abs(product.mean().item()) < STANDARD_ERRORS * math.sqrt(4 / product.numel())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("drawn", WAYS)
def test_standard_laplace_far_from_zero(drawn: Way, dtype: torch.dtype) -> None:
    """Every draw is finite; P(|x| > t) = exp(-t) far out, and both signs are even there."""
    draws = drawn(torch.empty(2**22, dtype=dtype), seeded(2))
    assert draws.isfinite().all()
    for t in (1, 4, 8):
        beyond = draws[draws.abs() > t]
        expected = len(draws) * math.exp(-t)
        assert abs(len(beyond) - expected) < STANDARD_ERRORS * math.sqrt(expected)
        assert abs((beyond > 0).sum() - len(beyond) / 2) < STANDARD_ERRORS * len(beyond) ** 0.5 / 2


@pytest.mark.parametrize("word", [0, 1, 2**31 - 1, -(2**31), -1])
def test_the_ends_of_the_words(word: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of the smallest and largest u give finite draws of the sign of the word."""
    monkeypatch.setattr(torch.Tensor, "random_", lambda like, *_, **__: like.fill_(word))
    (draw,) = one_word(torch.empty(1, dtype=torch.float64), seeded()).tolist()
    u = (word % 2**31 + 0.5) / 2**31
    assert draw == pytest.approx(math.copysign(-math.log(u), word), rel=1e-12)
    assert abs(draw) <= 32 * math.log(2)


@pytest.mark.arithmetic
def test_sample_law_follows_theta_pixel_by_pixel() -> None:
    rows = 40_000
    mean = double(0.0, 0.2, 0.5, 1.0).expand(rows, 4)
    theta = double(0.001, 0.004, 0.02, 0.3).expand(rows, 4)
    deviation = (sample(mean, theta, seeded(3)) - mean).numpy()
    for column, scale in enumerate((0.001, 0.004, 0.02, 0.3)):
        x = deviation[:, column]
        assert stats.kstest(x, stats.laplace(0, scale).cdf).pvalue > UNLIKELY
        assert abs(x.mean()) < STANDARD_ERRORS * scale * math.sqrt(2 / rows)
        assert np.abs(x).mean() == pytest.approx(scale, rel=STANDARD_ERRORS / math.sqrt(rows))
        bound = STANDARD_ERRORS * math.sqrt(20 / rows) / 2
        assert (x**2).mean() == pytest.approx(2 * scale**2, rel=bound)


@pytest.mark.arithmetic
def test_sample_is_not_clamped() -> None:
    drawn = sample(torch.zeros(1000), torch.full((1000,), 0.5), seeded(4))
    assert drawn.min() < -0.5 and drawn.max() > 1
    assert sample(torch.ones(1000), torch.full((1000,), 0.5), seeded(4)).max() > 1.5


def test_sample_gradient_is_one_for_the_mean_and_the_draw_for_theta() -> None:
    mean = torch.full((50,), 0.5, dtype=torch.float64, requires_grad=True)
    theta = torch.full((50,), 0.1, dtype=torch.float64, requires_grad=True)
    drawn = sample(mean, theta, seeded(5))
    by_mean, by_theta = torch.autograd.grad(drawn.sum(), (mean, theta))
    torch.testing.assert_close(by_mean, torch.ones_like(mean))
    torch.testing.assert_close(by_theta, (drawn - mean).detach() / 0.1)


def test_sample_repeats_with_its_generator_alone() -> None:
    mean, theta = torch.zeros(2, 3, 8, 9), torch.full((2, 3, 8, 9), 0.1)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = sample(mean, theta, seeded(6))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(sample(mean, theta, seeded(6)), first)
    assert not torch.equal(sample(mean, theta, seeded(7)), first)
    generator = seeded(6)
    assert not torch.equal(sample(mean, theta, generator), sample(mean, theta, generator))


def test_sample_refuses_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"mean is \(3, 4\) but theta is \(3, 1\)"):
        sample(torch.zeros(3, 4), torch.ones(3, 1), seeded())
    with pytest.raises(TypeError, match="generator"):
        sample(torch.zeros(3), torch.ones(3))  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="generator"):
        standard_laplace(torch.zeros(3))  # type: ignore[call-arg]


# ---------------------------------------------------------------- scaled_divergence


@pytest.mark.parametrize("prior", [1.0, 0.25, 8.5, GRAY_LEVEL, 8.5 / 255])
@pytest.mark.parametrize("distance", [0.0, 0.4, 1.0, 7.0, 40.0])
@pytest.mark.parametrize("scale", [0.37, 1.0, 2.5, 12.0])
def test_divergence_is_the_kl_by_quadrature(prior: float, distance: float, scale: float) -> None:
    d, s = distance * prior, scale * prior  # the distance and the scale in units of the prior
    found = scaled_divergence(double(d), double(s).log(), prior)
    expected = prior * quadrature_kl(d, s, prior)
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12 * prior)


def test_divergence_by_hand() -> None:
    # Eq. 2 in gray levels, d = 5, theta = 2: 2 exp(-2.5) + 5 - log 2 - 1
    by_hand = 2 * 0.0820849986 + 5 - 0.6931471806 - 1
    gray = scaled_divergence(double(5), double(2).log(), 1.0)
    assert gray.item() == pytest.approx(by_hand, rel=1e-9)
    # the same in the unit of the image: one 255th of Eq. 2
    unit = scaled_divergence(double(5 / 255), double(2 / 255).log(), GRAY_LEVEL)
    assert unit.item() == pytest.approx(by_hand / 255, rel=1e-9)


def test_scale_terms_by_hand() -> None:
    # the same without the distance: 2 exp(-2.5) - log 2 - 1
    found = scale_terms(double(5), double(2).log(), 1.0)
    assert found.item() == pytest.approx(2 * 0.0820849986 - 0.6931471806 - 1, rel=1e-9)


def test_divergence_is_zero_at_the_prior_and_positive_elsewhere() -> None:
    for prior in (1.0, GRAY_LEVEL, 3.0):
        at_prior = scaled_divergence(double(0), double(prior).log(), prior)
        assert at_prior.item() == pytest.approx(0, abs=1e-15)
    distance = torch.linspace(0, 10, 101, dtype=torch.float64)[:, None].expand(101, 81)
    log_scale = torch.linspace(-4, 4, 81, dtype=torch.float64).expand(101, 81)
    divergence = scaled_divergence(distance, log_scale, 1.0)
    assert divergence.shape == (101, 81)
    positive = divergence > 0
    positive[0, 40] = True  # d = 0, s = b
    assert positive.all()
    assert divergence[0, 40].abs() < 1e-15


def test_divergence_is_finite_in_float32() -> None:
    for log_scale in (-1.0 + math.log(1 / 255), 0.0, 5.0):
        distance = torch.tensor([0.0, 1e-6, 0.5, 2.0, 1e4], requires_grad=True)
        scale = torch.full((5,), log_scale, requires_grad=True)
        divergence = scaled_divergence(distance, scale, GRAY_LEVEL)
        for tensor in (divergence, *torch.autograd.grad(divergence.sum(), (distance, scale))):
            assert torch.isfinite(tensor).all()


def test_divergence_gradcheck() -> None:
    distance = double(0.01, 0.5, 2.0, 7.0, 30.0).requires_grad_()
    log_scale = double(-0.9, 0.0, 0.3, 1.5, 3.0).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda d, s: scaled_divergence(d, s, 1.7), (distance, log_scale)
    )


def test_divergence_refuses_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"distance is \(2,\) but log_scale is \(3,\)"):
        scaled_divergence(torch.zeros(2), torch.zeros(3), 1.0)
    for prior in (0.0, -1.0):
        with pytest.raises(ValueError, match="must be positive"):
            scaled_divergence(torch.zeros(2), torch.zeros(2), prior)


# ---------------------------------------------------------------- optimal_scale


@pytest.mark.parametrize(("distance", "theta"), TABLE.items())
def test_optimal_scale_is_the_known_table(distance: int, theta: float) -> None:
    found = float(optimal_scale(float(distance), 1.0))
    assert found == pytest.approx(theta, abs=0.05 if distance == 50 else 0.005)
    assert float(optimal_scale(distance / 255)) * 255 == pytest.approx(found, rel=1e-12)


@pytest.mark.parametrize("distance", [1e-3, 0.1, 1.0, 3.0, 17.0, 200.0])
def test_optimal_scale_is_the_root(distance: float) -> None:
    root = brentq(
        lambda s: math.log(s + distance) - distance / s, 1e-2, distance + 2, xtol=1e-14, rtol=1e-14
    )
    assert float(optimal_scale(distance, 1.0)) == pytest.approx(root, rel=1e-10)


@pytest.mark.parametrize("distance", [0.0, 0.5, 2.0, 10.0, 40.0])
@pytest.mark.parametrize("prior", [1.0, 8.5])
def test_optimal_scale_minimises_the_quadrature(distance: float, prior: float) -> None:
    least = minimize_scalar(
        lambda s: quadrature_kl(distance, s, prior),
        bounds=(0.3 * prior, distance + 2 * prior),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert float(optimal_scale(distance, prior)) == pytest.approx(least.x, rel=1e-6)


def test_optimal_scale_has_zero_gradient() -> None:
    distance = torch.linspace(0, 60, 121, dtype=torch.float64)
    best = torch.from_numpy(optimal_scale(distance.numpy(), 2.0))
    log_scale = best.log().requires_grad_()
    (slope,) = torch.autograd.grad(scaled_divergence(distance, log_scale, 2.0).sum(), log_scale)
    assert slope.abs().max() < 1e-12


def test_optimal_scale_keeps_the_shape_and_grows() -> None:
    distance = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    found = optimal_scale(distance)
    assert found.shape == (3, 4) and found.dtype == np.float64
    assert found[0, 0] == pytest.approx(GRAY_LEVEL, rel=1e-12)
    assert (np.diff(found.ravel()) > 0).all()
    assert (found <= distance + GRAY_LEVEL).all()
