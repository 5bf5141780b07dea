"""LR images whose noise follows a calibration."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.units import GRAY_LEVEL
from pipeline.sampling.calibration import Calibration
from pipeline.sampling.jpeg import Jpeg
from pipeline.sampling.laplace import Maps, standard_laplace

GRID = 32
"""Frequencies along an axis at which the filter of correlated noise is computed."""


class CalibratedSampler:
    """Draws y = mean + eps theta (Eq. 8) with the theta of a calibration; see ``sampler.Sampler``.

    Where the real noise is correlated, eps is correlated too.  The variance of eps is 2, that of
    L(0, 1).  If the real images are JPEG files, the samples are compressed like them.

    Args:
        calibration: Variance, correlation and tails of the noise, and the JPEG tables.
        device: Device of the samples.

    """

    reads = ("mean",)

    def __init__(self, calibration: Calibration, device: torch.device | str = "cpu") -> None:
        deviation = torch.tensor(calibration.variance_gray).clamp(min=0).sqrt() * GRAY_LEVEL
        self.variance = (deviation**2).to(device)
        self.laplace_share = calibration.laplace_share
        kernels, tables = calibration.noise_filter, calibration.jpeg
        self.filter = None if kernels is None else torch.tensor(kernels).to(device)
        self.jpeg = None if tables is None else Jpeg(tables, device)

    def theta(self, maps: Maps) -> Tensor:
        """The square root of half the variance at the intensity of every value of the mean."""
        mean = maps["mean"]
        place = (mean * (self.variance.shape[1] - 1)).clamp(0, self.variance.shape[1] - 1)
        lower = place.floor().clamp(max=self.variance.shape[1] - 2)
        share, index = place - lower, lower.long()
        table = self.variance.to(mean.dtype)
        channel = torch.arange(3, device=mean.device)[:, None, None]
        variance = torch.lerp(table[channel, index], table[channel, index + 1], share)
        return (variance / 2).sqrt()

    def sample(self, maps: Maps, generator: torch.Generator) -> Tensor:
        """Draw LR images, cut to [0, 1] as every real image is."""
        mean = maps["mean"]
        if self.filter is None:
            eps = self._independent(mean, generator)
        else:
            border = self.filter.shape[-1] // 2
            n, c, height, width = mean.shape
            wider = mean.new_empty(n, c, height + 2 * border, width + 2 * border)
            eps = F.conv2d(self._independent(wider, generator), self.filter.to(mean.dtype))
        noisy = (mean + eps * self.theta(maps)).clamp(0, 1)
        return noisy if self.jpeg is None else self.jpeg(noisy).to(mean.dtype)

    def _independent(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Independent draws of variance 2."""
        eps = standard_laplace(like, generator) * self.laplace_share
        if self.laplace_share == 1:
            return eps
        gaussian = torch.empty_like(like).normal_(generator=generator)
        return eps + gaussian * math.sqrt(2 * (1 - self.laplace_share**2))


def noise_filter(correlation: NDArray[np.floating]) -> NDArray[np.float64]:
    """Kernels that give independent noise of unit variance a correlation.

    They are the symmetric square root of the cross-spectral matrix at every frequency, and so the
    kernels of least delay.  A correlation that no noise can have is replaced by the nearest one.

    Args:
        correlation: (3, 3, 2 L + 1, 2 L + 1) of channel c at a pixel with channel d at the pixel
            (dy, dx) away; zero beyond L.

    Returns:
        (3, 3, 2 L + 1, 2 L + 1), from channel (second index) to channel (first), to be used with
        ``torch.nn.functional.conv2d``; every channel that comes out has the variance one.

    """
    reach = correlation.shape[-1] // 2
    padded = np.zeros((3, 3, GRID, GRID))
    padded[:, :, : 2 * reach + 1, : 2 * reach + 1] = correlation
    spectrum = np.fft.fft2(np.roll(padded, (-reach, -reach), (2, 3))).transpose(2, 3, 0, 1)
    spectrum = (spectrum + spectrum.conj().swapaxes(2, 3)) / 2
    values, vectors = np.linalg.eigh(spectrum)
    root = (vectors * np.sqrt(np.maximum(values, 0))[..., None, :]) @ vectors.conj().swapaxes(2, 3)
    kernels = np.fft.ifft2(root.transpose(2, 3, 0, 1)).real
    kernels = np.roll(kernels, (reach, reach), (2, 3))[:, :, : 2 * reach + 1, : 2 * reach + 1]
    power = np.sqrt((kernels**2).sum(axis=(1, 2, 3)))
    return np.asarray(kernels / power[:, None, None, None])
