"""The texture network against torch's layers, automatic gradients and optimiser."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.base.seeding import generator
from pipeline.noise.classifier import turned
from pipeline.noise.texture_network import (
    FILTERS,
    INPUTS,
    WEIGHT_DECAY,
    TextureNetwork,
    patches,
)

BATCH, SIDE = 6, 7
PLACES = (SIDE - 2) ** 2
PLAIN = torch.arange(INPUTS)


def layers(network: TextureNetwork) -> nn.Sequential:
    """The same network, of torch's layers."""
    w = network.weights
    made = nn.Sequential(
        nn.Conv2d(3, FILTERS, 3),
        nn.ReLU(),
        nn.Conv2d(FILTERS, FILTERS, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.BatchNorm1d(FILTERS),
        nn.Linear(FILTERS, 1),
    )
    values = (
        w.filters.T.reshape(FILTERS, 3, 3, 3),
        w.filters_bias,
        w.mix.T.reshape(FILTERS, FILTERS, 1, 1),
        w.mix_bias,
        w.gain,
        w.shift,
        w.last[None],
        w.last_bias,
    )
    with torch.no_grad():
        for parameter, value in zip(made.parameters(), values, strict=True):
            parameter.copy_(value)
    return made


def flattened(parts: list[Tensor]) -> Tensor:
    """Tensors in the form of ``Weights``, as one vector."""
    filters, filters_bias, mix, *rest = parts
    turned_back = [filters.flatten(1).T, filters_bias, mix.flatten(1).T, *rest]
    return torch.cat([part.flatten() for part in turned_back])


def batch(seed: int) -> tuple[Tensor, Tensor]:
    random = generator(seed, "test")
    windows = torch.randn(BATCH, 3, SIDE, SIDE, generator=random)
    return windows, torch.arange(2.0).repeat_interleave(BATCH // 2)


@pytest.mark.parametrize("way", range(8))
def test_gradients_are_those_of_torch(way: int) -> None:
    network = TextureNetwork(BATCH, PLACES, generator(1, "test"))
    windows, label = batch(2)
    plain = layers(network)
    loss = F.binary_cross_entropy_with_logits(plain(turned(windows, way))[:, 0], label)
    expected = flattened(list(torch.autograd.grad(loss, list(plain.parameters()))))
    order = turned(PLAIN.view(1, 3, 3, 3), way).flatten()
    found = network.gradient(patches(windows.numpy()), label, order)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_training_and_answers_are_those_of_torch() -> None:
    """A weight whose gradient is rounding alone moves at random, so torch gets our gradients."""
    network = TextureNetwork(BATCH, PLACES, generator(1, "test"))
    learned = nn.Parameter(network.flat.clone())
    optimizer = torch.optim.AdamW([learned], weight_decay=WEIGHT_DECAY)
    normalised = nn.BatchNorm1d(FILTERS).state_dict()
    for step in range(5):
        windows, label = batch(step)
        plain = layers(network)
        plain[6].load_state_dict(normalised)
        plain(windows)
        normalised = plain[6].state_dict()
        optimizer.param_groups[0]["lr"] = rate = 0.02 / (1 + step)
        network.train(patches(windows.numpy()), label, PLAIN, rate)
        learned.grad = network.slope.clone()
        optimizer.step()
        torch.testing.assert_close(network.flat, learned.detach(), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(network.mean, normalised["running_mean"])
    torch.testing.assert_close(network.variance, normalised["running_var"])
    plain = layers(network)
    plain[6].load_state_dict(normalised | dict(plain[6].named_parameters()))
    plain.eval()
    windows = torch.cat([batch(seed)[0] for seed in range(5, 25)])
    logits = plain(windows)[:, 0].detach()
    clear = logits.abs() > 1e-4
    answers = network.answers(patches(windows.numpy()))
    assert torch.equal(answers[clear], (logits > 0)[clear])
    assert clear.sum() > 100 and 0 < answers.sum() < len(answers)


def test_first_weights_have_the_law_of_torch() -> None:
    weights = TextureNetwork(BATCH, PLACES, generator(3, "test")).weights
    for values, inputs in ((weights.filters, INPUTS), (weights.mix, FILTERS)):
        limit = 1 / math.sqrt(inputs)
        assert 0.9 * limit < values.abs().max() <= limit
    assert weights.gain.eq(1).all() and not weights.shift.any()


def test_patches_are_cut_out_of_the_windows() -> None:
    windows = np.arange(2 * 3 * 5 * 4, dtype=np.float64).reshape(2, 3, 5, 4)
    found = patches(windows)
    assert found.shape == (2, 6, INPUTS) and found.dtype == torch.float32
    np.testing.assert_array_equal(found[1, 3].view(3, 3, 3), windows[1, :, 1:4, 1:4])
