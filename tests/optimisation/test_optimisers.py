"""Optimisers against NumPy in float64, and the weights of each that are used."""

import copy
from contextlib import suppress

import numpy as np
import pytest
import torch
from conftest import srn_settings
from numpy.typing import NDArray
from torch import nn
from torch.optim import Optimizer

from pipeline.optimisation.optimisers import averaged, finish, make_optimiser, set_learning_rate
from pipeline.optimisation.settings import StepSettings

Array = NDArray[np.float64]
FREE: dict[str, object] = {"optimiser": "schedulefree", "schedule": "constant", "ema_decay": 0.0}
RATE, DECAY, BETAS = 0.05, 0.3, (0.8, 0.95)


class Quadratic:
    """f(w) = |A w - b|^2 / 2 of four weights, in torch and in NumPy."""

    def __init__(self, **changes: object) -> None:
        source = np.random.default_rng(0)
        self.a, self.b = source.normal(size=(6, 4)), source.normal(size=6)
        self.network = nn.Linear(4, 1, bias=False, dtype=torch.float64)
        self.settings: StepSettings = srn_settings(adam_betas=list(BETAS), **changes)
        self.optimiser = make_optimiser(self.network, RATE, self.settings)
        self.start = self.weights

    @property
    def weights(self) -> Array:
        found: Array = self.network.weight.detach()[0].clone().numpy()
        return found

    @property
    def used(self) -> Array:
        with averaged(self.optimiser, self.network):
            return self.weights

    def gradient(self, weights: Array) -> Array:
        return np.asarray(self.a.T @ (self.a @ weights - self.b))

    def step(self, rate: float) -> None:
        set_learning_rate(self.optimiser, rate)
        self.network.weight.grad = torch.from_numpy(self.gradient(self.weights))[None]
        self.optimiser.step()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_and_adamw_by_hand(name: str, fused: bool) -> None:
    """Two steps of Loshchilov and Hutter's Algorithm 2; Adam is the same without the decay."""
    decay = DECAY if name == "adamw" else 0.0
    model = Quadratic(optimiser=name, weight_decay=decay, fused=fused)
    w, mean, square = model.start, np.zeros(4), np.zeros(4)
    for t in (1, 2):
        g = model.gradient(w)
        mean = BETAS[0] * mean + (1 - BETAS[0]) * g
        square = BETAS[1] * square + (1 - BETAS[1]) * g**2
        corrected = mean / (1 - BETAS[0] ** t), square / (1 - BETAS[1] ** t)
        w = w - RATE * (corrected[0] / (np.sqrt(corrected[1]) + 1e-8) + decay * w)
        model.step(RATE)
        assert model.weights == pytest.approx(w, rel=1e-12)
        assert np.array_equal(model.used, model.weights)


def test_the_schedule_free_average_by_hand() -> None:
    """Defazio et al., Algorithm 1: z moves, x is its average, the gradient is taken between.

    Under a warm-up, whose steps count in the average by the square of their rate.
    """
    model = Quadratic(**FREE, weight_decay=DECAY)
    z = x = model.start
    square, sum_of_weights = np.zeros(4), 0.0
    for t in range(1, 9):
        rate = RATE * min(1.0, t / 4)
        y = (1 - BETAS[0]) * z + BETAS[0] * x
        assert model.weights == pytest.approx(y, rel=1e-11)
        g = model.gradient(y)
        square = BETAS[1] * square + (1 - BETAS[1]) * g**2
        root = np.sqrt(square / (1 - BETAS[1] ** t)) + 1e-8
        z = z - rate * (g / root + DECAY * y)
        sum_of_weights += rate**2
        share = rate**2 / sum_of_weights
        x = (1 - share) * x + share * z
        model.step(rate)
        assert model.used == pytest.approx(x, rel=1e-11)
    assert np.abs(model.used - model.weights).max() > 1e-3


def test_the_weights_to_train_on_come_back_to_the_bit() -> None:
    model = Quadratic(**FREE)
    for _ in range(3):
        model.step(RATE)
    trained = model.weights
    with suppress(KeyboardInterrupt), averaged(model.optimiser, model.network):
        raise KeyboardInterrupt
    assert np.array_equal(model.weights, trained)
    used = model.used
    assert np.array_equal(model.weights, trained) and not np.array_equal(used, trained)
    finish(model.optimiser)
    assert np.array_equal(model.weights, used)
    assert np.array_equal(model.used, used)


def reloaded(one: Optimizer, other: Optimizer) -> None:
    other.load_state_dict(copy.deepcopy(one.state_dict()))


@pytest.mark.parametrize("changes", [{}, FREE])
def test_a_checkpoint_brings_its_progress_and_no_settings(changes: dict[str, object]) -> None:
    """So ``--start`` goes on with the settings of the new run; the same ones give equal bits."""
    straight = Quadratic(**changes)
    for _ in range(2):
        straight.step(RATE)
    again = Quadratic(**changes)
    again.network.load_state_dict(straight.network.state_dict())
    reloaded(straight.optimiser, again.optimiser)
    for model in (straight, again):
        for _ in range(2):
            model.step(RATE)
    assert np.array_equal(again.weights, straight.weights)
    assert np.array_equal(again.used, straight.used)
    decayed = Quadratic(**{"optimiser": "adamw", **changes}, weight_decay=0.5)
    reloaded(straight.optimiser, decayed.optimiser)
    assert decayed.optimiser.param_groups[0]["weight_decay"] == 0.5


def test_a_checkpoint_of_the_other_kind_is_refused() -> None:
    plain, free = Quadratic(), Quadratic(**FREE)
    for one, other in ((plain, free), (free, plain)):
        with pytest.raises(ValueError, match="one of the two optimisers is schedulefree"):
            reloaded(one.optimiser, other.optimiser)
