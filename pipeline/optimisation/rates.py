"""The learning rate over the steps of a training, as a factor of the rate at the start."""

import math
from typing import NamedTuple


class Moment(NamedTuple):
    """Where a training is."""

    step: int
    """Number of the step, from 0."""
    epoch: int
    """Number of the epoch, from 0."""
    steps: int
    """Length of the training."""


def warm_up_factor(step: int, warm_up: int) -> float:
    """A linear rise, min(1, (k + 1) / w) at the step k.

    Goyal et al., Accurate, Large Minibatch SGD, 2017, Sec. 2.2 ("gradual warmup").

    Args:
        step: k, from 0.
        warm_up: w, the number of the first step at the full rate, counted from 1; 0: no rise.

    """
    return min(1.0, (step + 1) / warm_up) if warm_up else 1.0


def halving_factor(epoch: int, halve_every: int) -> float:
    """0.5 to the number of halvings so far, one every ``halve_every`` epochs."""
    return float(0.5 ** (epoch // halve_every))


def cosine_factor(step: int, steps: int, least: float) -> float:
    """Half a cosine from 1 to ``least``: l + (1 - l) (1 + cos(pi k / K)) / 2.

    Loshchilov and Hutter, SGDR, ICLR 2017, Eq. 5, without restarts.

    Args:
        step: k, from 0; before 0 and from K on the factor is that of the nearer end.
        steps: K; 0 or less: the end is reached.
        least: l, in [0, 1).

    """
    share = min(max(step / steps, 0.0), 1.0) if steps > 0 else 1.0
    return least + (1 - least) * (1 + math.cos(math.pi * share)) / 2
