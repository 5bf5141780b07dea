"""DISTS, the distance of structure and texture of VGG16's features, from piq."""

from pathlib import Path

import piq
import torch
from torch import nn

from pipeline.base.errors import UserError, one_line
from pipeline.base.hashes import file_hash
from pipeline.stores.weights import load_foreign
from pipeline.training.vgg import vgg16_layers

CHANNELS = [3, 64, 128, 256, 512, 512]
"""Channels of the image and of the five layers that are compared."""
LAYERS = ("3", "8", "15", "22", "29")
"""Names of these layers (relu1_2, 2_2, 3_3, 4_3, 5_3) in torchvision's ``vgg16().features``."""


class _FromFiles(piq.DISTS):  # type: ignore[misc]
    """piq's DISTS without its downloads."""

    def __init__(self, vgg16: nn.Module, alpha: torch.Tensor, beta: torch.Tensor) -> None:
        shares = [*torch.split(alpha, CHANNELS, 1), *torch.split(beta, CHANNELS, 1)]
        super(piq.DISTS, self).__init__(
            self.replace_pooling(vgg16), LAYERS, shares, allow_layers_weights_mismatch=True
        )


def open_dists(weights: str | None, vgg16: str | None) -> nn.Module:
    """A module that gives the mean DISTS of two batches (N, 3, H, W) in [0, 1].

    Ding et al., Image Quality Assessment: Unifying Structure and Texture Similarity, IEEE TPAMI
    44(5), 2022; 0 for equal images.

    Args:
        weights: File with ``alpha`` and ``beta``, (1, 1475, 1, 1) each, as the authors and piq give
            it; None: piq's, downloaded once.
        vgg16: File with torchvision's ``vgg16`` state dict; None: torchvision's, downloaded once.

    Raises:
        UserError: The weights cannot be loaded or do not fit, or one of both files is missing.

    """
    try:
        if weights is None and vgg16 is None:
            downloaded: nn.Module = piq.DISTS()
            return downloaded.requires_grad_(False)
        if weights is None or vgg16 is None:
            raise ValueError("dists_weights and dists_vgg16 go together")
        layers = vgg16_layers(Path(vgg16))
        shares, _ = load_foreign(Path(weights))
        made: nn.Module = _FromFiles(layers, shares["alpha"], shares["beta"])
        return made.requires_grad_(False)
    except Exception as error:  # network, file, unpickling and shape errors, all the user's
        raise UserError(
            f"the weights of DISTS cannot be loaded ({one_line(error)}); name their file in "
            "train_srn.dists_weights, and that of torchvision's vgg16 in train_srn.dists_vgg16"
        ) from error


def dists_hashes(weights: str | None, vgg16: str | None) -> list[str | None]:
    """SHA-256 of the files that ``open_dists`` reads; None for what it downloads."""
    return [None if path is None else file_hash(Path(path)) for path in (weights, vgg16)]
