"""The loss of an SR network: the terms that need no discriminator, each with its weight."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.base.errors import UserError
from pipeline.train_srn.settings import TrainSrnSettings
from pipeline.train_srn.terms import TERMS, Images


class SrnLoss(nn.Module):
    """The terms of Eq. 12 and those of ``terms.TERMS``, in the unit of the image.

    Args:
        settings: Weights of the terms.
        vgg: Features, or None when the perceptual term is off.

    """

    def __init__(self, settings: TrainSrnSettings, vgg: nn.Module | None) -> None:
        super().__init__()
        self.weights = {"content": settings.content_weight}
        """Weight of every term that is computed, by its name in the curves."""
        for name in TERMS:
            if weight := settings.weight_of(name):
                self.weights[name] = weight
        self._terms = {
            name: TERMS[name].make(settings, vgg) for name in self.weights if name in TERMS
        }

    def terms(
        self, sr: Tensor, hr: Tensor, averaged: Callable[[], Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The content term and all others that have a weight, as unweighted scalars.

        Args:
            sr: (N, 3, H, W).
            hr: The same shape, in [0, 1].
            averaged: Makes the SR images of the averaged network, which ``ldl`` needs.

        """
        images = Images(sr, hr, averaged)
        return {
            "content": F.l1_loss(sr, hr),
            **{name: term(images) for name, term in self._terms.items()},
        }


def require_crops(settings: TrainSrnSettings, scale: int) -> None:
    """Check that a crop is large enough for every term that has a weight.

    Raises:
        UserError: It is not.

    """
    for name in TERMS:
        require_crop(name, settings, scale)


def require_crop(name: str, settings: TrainSrnSettings, scale: int) -> None:
    """The same for one of ``terms.TERMS``."""
    least = least_patch(name, settings, scale)
    if settings.lr_patch < least:
        raise UserError(
            f"train_srn.lr_patch is {settings.lr_patch}, but train_srn.{name}_weight needs crops "
            f"of {TERMS[name].least_side} HR pixels: at the scale {scale} at least {least}"
        )


def least_patch(name: str, settings: TrainSrnSettings, scale: int) -> int:
    """Smallest side of an LR crop for a term, in LR pixels; 0 for one without a weight."""
    return -(-TERMS[name].least_side // scale) if settings.weight_of(name) else 0
