"""Adversarial losses against -log(sigmoid) of SciPy, and at logits where a naive form overflows."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_expit
from torch import Tensor

from pipeline.training.adversarial import discriminator_loss, generator_loss


def logits(*shape: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 4, shape))


def test_generator_loss_is_eq_5() -> None:
    fake = logits(2, 1, 5, 7, seed=0)
    expected = -log_expit(fake.numpy()).mean()
    found = generator_loss(fake)
    assert found.shape == ()
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_discriminator_loss_is_eq_6() -> None:
    real, fake = logits(2, 1, 5, 7, seed=1), logits(3, 1, 4, 4, seed=2)
    # log(1 - sigmoid(x)) = log(sigmoid(-x)); each side is a mean of its own
    expected = -log_expit(real.numpy()).mean() - log_expit(-fake.numpy()).mean()
    found = discriminator_loss(real, fake)
    assert found.shape == ()
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_by_hand() -> None:
    three = torch.full((2, 1, 2, 2), math.log(3), dtype=torch.float64)  # sigmoid 3/4
    assert generator_loss(three).item() == pytest.approx(math.log(4 / 3), rel=1e-12)
    assert generator_loss(-three).item() == pytest.approx(math.log(4), rel=1e-12)
    # D(real) = 3/4 and D(fake) = 1/4: both sides are -log(3/4)
    right, wrong = discriminator_loss(three, -three), discriminator_loss(-three, three)
    assert right.item() == pytest.approx(2 * math.log(4 / 3), rel=1e-12)
    assert wrong.item() == pytest.approx(2 * math.log(4), rel=1e-12)


@pytest.mark.parametrize("extreme", [-1e4, -200.0, 200.0, 1e4])
def test_extreme_logits_are_finite(extreme: float) -> None:
    fake = torch.full((1, 1, 2, 2), extreme, requires_grad=True)
    real = torch.full((1, 1, 2, 2), -extreme, requires_grad=True)
    linear = max(-extreme, 0.0)  # -log sigmoid(x) is -x far below zero
    assert generator_loss(fake).item() == pytest.approx(linear, abs=1e-6)
    loss = discriminator_loss(real, fake)
    assert loss.item() == pytest.approx(2 * max(extreme, 0.0), abs=1e-6)
    for slope in torch.autograd.grad(loss + generator_loss(fake), (fake, real)):
        assert torch.isfinite(slope).all()


def test_a_discriminator_that_cannot_tell_is_best_at_zero() -> None:
    def loss(logit: float) -> float:
        same = torch.full((1, 1, 3, 3), float(logit), dtype=torch.float64)
        return discriminator_loss(same, same).item()

    best = minimize_scalar(loss, bounds=(-3, 4), method="bounded", options={"xatol": 1e-9})
    assert best.x == pytest.approx(0, abs=1e-6)
    assert best.fun == pytest.approx(2 * math.log(2), rel=1e-12)
    assert loss(0) == pytest.approx(2 * math.log(2), rel=1e-12)


def test_gradients_have_the_right_sign() -> None:
    real = torch.zeros(1, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    fake = torch.zeros(1, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    by_real, by_fake = torch.autograd.grad(discriminator_loss(real, fake), (real, fake))
    quarter = torch.full_like(real, 0.5 / 4)  # sigmoid(0) over four logits
    torch.testing.assert_close(by_real, -quarter)
    torch.testing.assert_close(by_fake, quarter)


def test_gradcheck() -> None:
    real, fake = logits(4, seed=3).requires_grad_(), logits(4, seed=4).requires_grad_()
    assert torch.autograd.gradcheck(generator_loss, (fake,))
    assert torch.autograd.gradcheck(discriminator_loss, (real, fake))
