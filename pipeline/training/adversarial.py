"""Adversarial losses of both trainings (Eq. 5, 6, 9, 10), in their vanilla form on logits.

The caller chooses the images: the high-pass of LR images, or the gradient map of HR images.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Eq. 5 and 9: ``-E log D(fake)`` with D the sigmoid of the logits; a scalar."""
    return F.softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Eq. 6 and 10: ``-E log D(real) - E log(1 - D(fake))``; a scalar."""
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


class Discriminated(NamedTuple):
    """The output of a discriminator for generated images, computed once for both networks."""

    loss: Tensor
    """Eq. 5 or 9; a scalar without a graph."""
    gradient: Tensor
    """Gradient of that loss with respect to the images, in their shape."""
    logits: Tensor
    """Logits with their graph to the discriminator's parameters, for Eq. 6 or 10."""


def discriminate(discriminator: Callable[[Tensor], Tensor], images: Tensor) -> Discriminated:
    """Run the discriminator on generated images that are detached from the generator.

    The caller sends ``gradient`` backward from ``images`` through the generator.  The logits also
    serve the discriminator's own loss, because its weights do not change in between; this saves a
    second forward pass.

    Args:
        discriminator: A function from images to logits; its parameters get no gradient here.
        images: (N, C, H, W) with a graph to the generator.

    """
    cut = images.detach().requires_grad_()
    logits = discriminator(cut)
    loss = generator_loss(logits)
    (gradient,) = torch.autograd.grad(loss, cut, retain_graph=True)
    return Discriminated(loss.detach(), gradient, logits)
