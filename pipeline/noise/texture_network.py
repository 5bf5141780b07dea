"""The network of the two-sample test: a learned texture statistic, and its training step.

3x3 filters, a 1x1 convolution of their outputs, means over the window, batch normalisation and a
linear layer.  A window of so few pixels costs less than what a framework does around it, so both
convolutions are products of matrices over the patches of 3x3 pixels of all windows, which are cut
out once, and gradients are written out.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FILTERS = 16
SIDE = 3
"""Side of the patches in pixels."""
INPUTS = 3 * SIDE * SIDE
"""Values of a patch."""
WEIGHT_DECAY = 0.01
BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Of AdamW (Loshchilov and Hutter, 2019)."""
MOMENTUM, LEAST_VARIANCE = 0.1, 1e-5
"""Of the batch normalisation (Ioffe and Szegedy, 2015)."""
SHAPES = ((INPUTS, FILTERS), (FILTERS,), (FILTERS, FILTERS), (FILTERS,), *((FILTERS,),) * 3, (1,))
"""Of ``Weights``."""
FAN_IN = (INPUTS, INPUTS, FILTERS, FILTERS, None, None, FILTERS, FILTERS)
"""Inputs of the layer of each of ``Weights``; None: a gain of one and a shift of zero."""


class Weights(NamedTuple):
    """Weights, their gradients, or what else there is of each weight."""

    filters: Tensor
    """(27, 16)."""
    filters_bias: Tensor
    mix: Tensor
    """(16, 16), the 1x1 convolution."""
    mix_bias: Tensor
    gain: Tensor
    shift: Tensor
    last: Tensor
    """(16,)."""
    last_bias: Tensor


def named(flat: Tensor) -> Weights:
    """Views of a vector of all weights, one after the other."""
    parts = flat.split_with_sizes([math.prod(shape) for shape in SHAPES])
    return Weights(*(part.view(shape) for part, shape in zip(parts, SHAPES, strict=True)))


def patches(windows: NDArray[np.floating]) -> Tensor:
    """All patches of 3x3 pixels of windows (n, 3, H, W): float32 (n, places, 27)."""
    cut = np.lib.stride_tricks.sliding_window_view(windows, (SIDE, SIDE), axis=(2, 3))
    found = cut.transpose(0, 2, 3, 1, 4, 5).reshape(len(windows), -1, INPUTS)
    return torch.from_numpy(np.ascontiguousarray(found, dtype=np.float32))


class TextureNetwork:
    """The network and the state of its training.

    Args:
        batch: Windows of a training step.
        places: Patches of a window.
        random: Draws the first weights, uniform within the inverse root of a layer's inputs.

    """

    def __init__(self, batch: int, places: int, random: torch.Generator) -> None:
        self.flat = torch.zeros(sum(math.prod(shape) for shape in SHAPES))
        self.weights = named(self.flat)
        for weight, inputs in zip(self.weights, FAN_IN, strict=True):
            if inputs is not None:
                weight.uniform_(-(inputs**-0.5), inputs**-0.5, generator=random)
        self.weights.gain.fill_(1)
        self.mean, self.variance = torch.zeros(FILTERS), torch.ones(FILTERS)
        self.slope, self.first, self.second = (torch.zeros_like(self.flat) for _ in range(3))
        self.steps = 0
        self.shape = (batch, places, FILTERS)
        self.buffers = [torch.empty(batch * places, FILTERS) for _ in range(4)]

    def train(self, seen: Tensor, label: Tensor, way: Tensor, rate: float) -> None:
        """One step of AdamW on the binary cross-entropy of a batch.

        Args:
            seen: (batch, places, 27).
            label: (batch,): 0 or 1.
            way: (27,), int64: the order of the values of a turned patch, to train on turned
                windows.
            rate: The learning rate.

        """
        self.gradient(seen, label, way)
        self.steps += 1
        gone = [1 - beta**self.steps for beta in BETAS]
        self.first.lerp_(self.slope, 1 - BETAS[0])
        self.second.mul_(BETAS[1]).addcmul_(self.slope, self.slope, value=1 - BETAS[1])
        scale = self.second.sqrt().div_(math.sqrt(gone[1])).add_(EPSILON)
        self.flat.mul_(1 - rate * WEIGHT_DECAY).addcdiv_(self.first, scale, value=-rate / gone[0])

    def gradient(self, seen: Tensor, label: Tensor, way: Tensor) -> Tensor:
        """The gradient of the loss of a batch, in the order of ``Weights``; see ``train``."""
        w, slope = self.weights, named(self.slope)
        batch, places, _ = self.shape
        rows = seen.view(-1, INPUTS)
        filtered, mixed, back, behind = self.buffers
        turned = w.filters[way.argsort()]  # instead of the patches
        torch.addmm(w.filters_bias, rows, turned, out=filtered).relu_()
        torch.addmm(w.mix_bias, filtered, w.mix, out=mixed).relu_()
        means = mixed.view(self.shape).mean(dim=1)
        variance, mean = torch.var_mean(means, dim=0, correction=0)
        self.mean.lerp_(mean, MOMENTUM)
        self.variance.lerp_(variance * (batch / (batch - 1)), MOMENTUM)
        spread = (variance + LEAST_VARIANCE).rsqrt()
        unit = (means - mean) * spread
        normal = unit * w.gain + w.shift

        off = (torch.sigmoid(normal @ w.last + w.last_bias) - label) / batch
        slope.last_bias.copy_(off.sum())
        torch.mv(normal.T, off, out=slope.last)
        outer = off[:, None] * w.last
        torch.sum(outer, dim=0, out=slope.shift)
        torch.sum(outer * unit, dim=0, out=slope.gain)
        inner = outer - (slope.shift + unit * slope.gain) / batch
        inner *= w.gain * spread / places
        torch.mul(mixed.sign_().view(self.shape), inner[:, None], out=back.view(self.shape))
        torch.sum(back, dim=0, out=slope.mix_bias)
        torch.mm(filtered.T, back, out=slope.mix)
        torch.mm(back, w.mix.T, out=behind).mul_(filtered.sign_())
        torch.sum(behind, dim=0, out=slope.filters_bias)
        slope.filters.copy_(torch.mm(rows.T, behind)[way])
        return self.slope

    def answers(self, seen: Tensor) -> Tensor:
        """For windows (n, places, 27), whether each is of the class of label 1: (n,), bool."""
        w = self.weights
        filtered = torch.addmm(w.filters_bias, seen.reshape(-1, INPUTS), w.filters).relu_()
        mixed = torch.addmm(w.mix_bias, filtered, w.mix).relu_()
        means = mixed.view(len(seen), -1, FILTERS).mean(dim=1)
        unit = (means - self.mean) * (self.variance + LEAST_VARIANCE).rsqrt()
        return (unit * w.gain + w.shift) @ w.last + w.last_bias > 0
