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
BLOCK = 32
"""Side of a block of the spectrum term, in HR pixels; blocks overlap by half of it.  Smaller and
larger ones kept less detail (docs/recovery.md)."""


class SrnLoss(nn.Module):
    """The terms of Eq. 12, in the unit of the image.

    Args:
        settings: Weights of the terms.
        vgg: Features, or None when the perceptual term is off.

    """

    def __init__(self, settings: TrainSrnSettings, vgg: nn.Module | None) -> None:
        super().__init__()
        self.vgg, self.borders = vgg, settings.borders
        self.weights = {
            "content": settings.content_weight,
            "low_pass": settings.low_pass_weight,
            "spectrum": settings.spectrum_weight,
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
            terms["low_pass"] = low_pass(sr - hr, LOW_PASS_SIZE, self.borders).abs().mean()
        if self.weights["spectrum"]:
            terms["spectrum"] = F.l1_loss(block_spectra(sr), block_spectra(hr))
        if self.vgg is not None:
            with torch.no_grad():
                features = self.vgg(hr)
            terms["perceptual"] = F.l1_loss(self.vgg(sr), features)
        return terms


def block_spectra(images: Tensor) -> Tensor:
    """How much of every frequency a block holds, wherever in the block it is.

    The amplitudes of the Fourier transform of overlapping blocks, each without its mean and under
    a Hann window.  An SR network that cannot know where a detail is loses least here with a detail
    of the right amplitude, where the L1 distance of pixels is lowest without it.  Fuoli et al.
    (ICCV 2021) compare the amplitudes and phases of whole images.

    Args:
        images: (N, C, H, W), sides of at least ``BLOCK``; what is beyond the last whole half block
            is not seen.

    Returns:
        (N, C, rows, columns, BLOCK, BLOCK / 2 + 1) in the unit of the image: white noise of the
        standard deviation s has the root mean square s.

    """
    blocks = images.unfold(2, BLOCK, BLOCK // 2).unfold(3, BLOCK, BLOCK // 2)
    centred = blocks - blocks.mean(dim=(-2, -1), keepdim=True)
    taps = torch.hann_window(BLOCK, periodic=False, dtype=images.dtype, device=images.device)
    taps = taps / taps.square().mean().sqrt()
    amplitudes: Tensor = torch.fft.rfft2(centred * taps[:, None] * taps, norm="ortho").abs()
    return amplitudes
