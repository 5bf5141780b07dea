"""Adversarial losses of both trainings (Eq. 5, 6, 9, 10), in their vanilla form on logits.

What they are applied to, the high-pass of LR images or the gradient map of HR images, is decided by
the caller.  The loss on the perceptual features is in ``perceptual``, Eq. 2 and 4 in ``laplace``.
"""

import torch.nn.functional as F
from torch import Tensor


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Eq. 5 and 9: ``-E log D(fake)`` with D the sigmoid of the logits; a scalar."""
    return F.softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Eq. 6 and 10: ``-E log D(real) - E log(1 - D(fake))``; a scalar."""
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
