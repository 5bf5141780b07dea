"""The terms of Eq. 7 that need no discriminator.

A new term has a weight in the settings, an entry of ``DsnLoss.weights`` and a line in
``DsnLoss.terms``; the trainer, the curves and the progress bar take it from there.
"""

import math

import torch
from torch import Tensor, nn

from pipeline.base.units import GRAY_LEVEL
from pipeline.dsn.network import Degradation
from pipeline.images.filters import HIGH_PASS_SIZE, low_pass
from pipeline.sampling.laplace import scale_terms, scaled_divergence
from pipeline.train_dsn.prior import number_gray
from pipeline.train_dsn.settings import TrainDsnSettings


class DsnLoss(nn.Module):
    """The terms of Eq. 7, in the unit of the image.

    Args:
        settings: Switches, weights and the prior scale.
        vgg: Features, or None when the perceptual term is off.

    """

    def __init__(self, settings: TrainDsnSettings, vgg: nn.Module | None) -> None:
        super().__init__()
        self.settings, self.vgg = settings, vgg
        self.prior = number_gray(settings) * GRAY_LEVEL
        self.weights = {"kl": settings.kl_weight}
        """Weight of every term that is computed, by its name in the curves."""
        if vgg is not None:
            self.weights["kl_perceptual"] = settings.perceptual_weight

    def terms(
        self, degradation: Degradation, reference: Tensor, prior: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The terms that ``weights`` names, as unweighted scalars.

        Args:
            degradation: Output of the DSN for HR images.
            reference: y_b of these HR images, (N, 3, H, W) in [0, 1], the size of the mean.
            prior: b(x) of Eq. 2 in the shape and unit of the mean; None: that of the settings.

        """
        mean, log_theta_gray, log_sigma = degradation
        terms = {"kl": self.content(mean, log_theta_gray, reference, prior)}
        if self.vgg is not None:
            terms["kl_perceptual"] = self.perceptual(mean, log_sigma, reference)
        return terms

    def content(
        self,
        mean: Tensor,
        log_theta_gray: Tensor,
        reference: Tensor,
        prior: Tensor | None = None,
    ) -> Tensor:
        """Eq. 2 times the prior scale, at every pixel; L1 if theta is not learned.

        ``log_theta_gray`` is the logarithm of theta in gray levels; for ``prior`` see ``terms``.
        """
        distance = (mean - reference).abs()
        low = self.settings.content == "low_pass"
        l1 = low_pass(mean - reference, HIGH_PASS_SIZE).abs().mean() if low else distance.mean()
        if not self.settings.learn_theta:
            return l1
        scale = self.prior if prior is None else prior
        return scale_terms(distance, _in_unit(log_theta_gray), scale).mean() + l1

    def perceptual(self, mean: Tensor, log_sigma: Tensor | None, reference: Tensor) -> Tensor:
        """Eq. 4 times the prior scale, on 0.5 f + 0.5 of the conv5_4 features f.

        Without sigma it is Eq. 3.
        """
        if self.vgg is None:
            raise ValueError("the perceptual term needs VGG19")
        with torch.no_grad():
            features = self.vgg(reference)
        distance: Tensor = 0.5 * (self.vgg(mean) - features).abs()
        if log_sigma is None:
            return distance.mean()
        return scaled_divergence(distance, _in_unit(log_sigma), self.prior).mean()


def _in_unit(log_scale_gray: Tensor) -> Tensor:
    """Convert the logarithm of a scale from gray levels to the unit of the image."""
    return log_scale_gray + math.log(GRAY_LEVEL)
