"""The Laplace degradation model: sampling (Eq. 8), divergence (Eq. 2 and 4), and its optimum.

A Laplace distribution L(m, b) has the density exp(-|x - m| / b) / (2b); E|x - m| = b, the variance
is 2 b^2.  Scales are in the unit of the image, [0, 1]; times 255 they are called gray levels.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pipeline.base.units import GRAY_LEVEL

Maps = Mapping[str, Tensor]
"""Maps of HR images by name: ``mean`` and ``theta``, (N, 3, H, W) each, in the unit of the image;
float32 or float64."""


def standard_laplace(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw eps ~ L(0, 1), independently for every element.

    Every draw is finite.  Each device draws in the way that is faster on it (``benchmarks``).

    Args:
        like: Gives the shape, dtype and device of the draw; float32 or float64.
        generator: On the device of ``like``.

    """
    return (two_exponentials if like.is_cuda else one_word)(like, generator)


def two_exponentials(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw eps ~ L(0, 1) as the difference of two exponential variables: three passes in all."""
    first = torch.empty_like(like).exponential_(generator=generator)
    return first.sub_(torch.empty_like(like).exponential_(generator=generator))


def one_word(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw eps ~ L(0, 1) of one random word of 32 bits each: |eps| is exponential, its sign even.

    The sign is that of the word, and |eps| is -log u of the other 31 bits, with u in the middle of
    one of 2^31 equal parts of [0, 1].  So a draw is at most 32 log 2 = 22.2, and what lies beyond
    has a probability of 2^-32.
    """
    word = torch.empty_like(like, dtype=torch.int32).random_(-(2**31), None, generator=generator)
    u = (word & (2**31 - 1)).to(like.dtype).add_(0.5).mul_(2.0**-31)
    return torch.copysign(u.log_(), word)


def sample(mean: Tensor, theta: Tensor, generator: torch.Generator) -> Tensor:
    """Draw LR images y = mean + eps * theta, eps ~ L(0, 1) (Eq. 8).

    Args:
        mean: Mean LR images in [0, 1], any shape.
        theta: Laplace scale in the unit of ``mean``, positive, same shape.
        generator: Randomness, on the device of ``mean``.

    Returns:
        Samples of the same shape.  They are not clamped: a clamp would bias the mean near black
        and white.

    Raises:
        ValueError: The shapes differ.

    """
    if mean.shape != theta.shape:
        raise ValueError(f"mean is {tuple(mean.shape)} but theta is {tuple(theta.shape)}")
    return mean + standard_laplace(mean, generator) * theta


def scaled_divergence(distance: Tensor, log_scale: Tensor, prior_scale: float | Tensor) -> Tensor:
    """Prior scale times KL[L(m, s) || L(r, b)], per element (Eq. 2, Eq. 4).

    With d = |m - r|, s the learned and b the prior scale, the divergence of two Laplace
    distributions is ``(s exp(-d/s) + d) / b - log(s/b) - 1``.  Eq. 2 is the case b = 1 gray level;
    multiplied by b it is in the unit of the image and d enters with weight one, as in an L1 loss.

    Args:
        distance: d >= 0, in the unit of the image.
        log_scale: log(s), s in the unit of the image, same shape.
        prior_scale: b > 0 in the unit of the image; the paper's is ``GRAY_LEVEL``.  A tensor of the
            shape of the distance is the scale of every element, such as a camera's noise b(x); d
            enters with weight one there too.

    Returns:
        ``s exp(-d/s) + d - b log(s/b) - b``; zero where d = 0 and s = b, positive elsewhere.

    Raises:
        ValueError: The shapes differ or the prior scale is not positive.

    """
    return scale_terms(distance, log_scale, prior_scale) + distance


def scale_terms(distance: Tensor, log_scale: Tensor, prior_scale: float | Tensor) -> Tensor:
    """``scaled_divergence`` without the distance itself: the terms that contain the scale.

    The released code adds the distance of low-passed images to them instead.

    Args:
        distance: See ``scaled_divergence``.
        log_scale: See ``scaled_divergence``.
        prior_scale: See ``scaled_divergence``.

    Returns:
        ``s exp(-d/s) - b log(s/b) - b``, per element.

    Raises:
        ValueError: The shapes differ or the prior scale is not positive.

    """
    if distance.shape != log_scale.shape:
        raise ValueError(
            f"distance is {tuple(distance.shape)} but log_scale is {tuple(log_scale.shape)}"
        )
    if isinstance(prior_scale, Tensor):
        if prior_scale.shape != distance.shape:
            raise ValueError(
                f"distance is {tuple(distance.shape)} but prior_scale is {tuple(prior_scale.shape)}"
            )
        relative = log_scale - prior_scale.log()
    elif prior_scale <= 0:
        raise ValueError(f"prior_scale must be positive, got {prior_scale}")
    else:
        relative = log_scale - float(np.log(prior_scale))
    scale = log_scale.exp()
    return scale * torch.exp(-distance / scale) - prior_scale * (relative + 1)


def optimal_scale(distance: ArrayLike, prior_scale: float = GRAY_LEVEL) -> NDArray[np.float64]:
    """The scale that minimises ``scaled_divergence`` for a given distance.

    Setting the derivative to zero gives ``exp(-d/s) (s + d) = b``.  The left side grows with s, so
    the root is unique, at most b + d, and b for d = 0; it is found by bisection.

    Args:
        distance: d >= 0, any shape, in the unit of ``prior_scale``.
        prior_scale: b > 0.

    Returns:
        The root per element, float64.

    """
    d = np.asarray(distance, dtype=np.float64) / prior_scale
    low, high = np.full_like(d, 1e-9), d + 1.0
    for _ in range(80):
        middle = (low + high) / 2
        above = np.exp(-d / middle) * (middle + d) > 1
        high, low = np.where(above, middle, high), np.where(above, low, middle)
    return np.asarray((low + high) / 2 * prior_scale)
