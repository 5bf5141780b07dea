"""The terms of Eq. 12 that need no discriminator.

A new term has a weight in the settings, an entry of ``SrnLoss.weights`` and a line in
``SrnLoss.terms``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.images.filters import low_pass
from pipeline.train_srn.settings import TrainSrnSettings

LOW_PASS_SIZE = 9
"""Taps of the Gaussian of the low-passed content term."""


class SrnLoss(nn.Module):
    """The terms of Eq. 12, in the unit of the image.

    Args:
        settings: Weights of the terms.
        vgg: Features, or None when the perceptual term is off.

    """

    def __init__(self, settings: TrainSrnSettings, vgg: nn.Module | None) -> None:
        super().__init__()
        self.vgg = vgg
        self.weights = {
            "content": settings.content_weight,
            "low_pass": settings.low_pass_weight,
            "perceptual": settings.perceptual_weight,
        }
        """Weight of every term, by its name in the curves."""

    def terms(self, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """The content term and all others that have a weight, as unweighted scalars.

        Args:
            sr: (N, 3, H, W).
            hr: The same shape, in [0, 1].

        """
        terms = {"content": F.l1_loss(sr, hr)}
        if self.weights["low_pass"]:
            terms["low_pass"] = low_pass(sr - hr, LOW_PASS_SIZE).abs().mean()
        if self.vgg is not None:
            with torch.no_grad():
                features = self.vgg(hr)
            terms["perceptual"] = F.l1_loss(self.vgg(sr), features)
        return terms
