"""The law of the noise of LR images around their mean, and draws from it."""

import math
from typing import Annotated, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import AfterValidator, Field
from torch import Tensor

from pipeline.base.settings import Settings
from pipeline.base.units import GRAY_LEVEL
from pipeline.sampling.compression import Compression, Compressor
from pipeline.sampling.laplace import standard_laplace


def lengths(lists: object) -> tuple[int, ...]:
    """Lengths of nested lists.

    Raises:
        ValueError: They are ragged.

    """
    return np.asarray(lists, dtype=np.float64).shape


def checked_variance(variance: list[list[float]]) -> list[list[float]]:
    """A table of variances, if it is one.

    Raises:
        ValueError: It is not (3, K) with at least two intensities.

    """
    shape = lengths(variance)
    if len(shape) != 2 or shape[0] != 3 or shape[1] < 2:
        raise ValueError(f"variance_gray must be 3 by at least 2 numbers, found {shape}")
    return variance


def _checked_filter(
    kernels: list[list[list[list[float]]]] | None,
) -> list[list[list[list[float]]]] | None:
    if kernels is None:
        return None
    shape = lengths(kernels)
    if shape[:2] != (3, 3) or len(shape) != 4 or shape[2] != shape[3] or shape[3] % 2 == 0:
        raise ValueError(f"noise_filter must be 3 by 3 odd squares, found {shape}")
    return kernels


NoiseFilter = Annotated[list[list[list[list[float]]]] | None, AfterValidator(_checked_filter)]
"""(3, 3, k, k): kernels that turn independent into correlated noise of unit variance, from channel
(second index) to channel (first); null where noise is independent."""
LaplaceShare = Annotated[float, Field(ge=0, le=1)]
"""1: eps is Laplace; 0: it is Gaussian; between: it is this share times a Laplace variable plus a
Gaussian one."""


class NoiseLaw(Settings):
    """The noise of LR images around their mean."""

    variance_gray: Annotated[list[list[float]], AfterValidator(checked_variance)]
    """(3, K): variance of the noise, in gray levels squared, by channel at K intensities of the
    mean that are evenly spaced from 0 to 1; linear between them."""
    noise_filter: NoiseFilter
    """Correlation of the noise."""
    laplace_share: LaplaceShare
    """Tails of the noise."""


class NoiseSource(Protocol):
    """What was measured of the noise of a camera: a calibration, or a passport."""

    @property
    def scale(self) -> int:
        """HR pixels per LR pixel."""

    @property
    def noise(self) -> NoiseLaw:
        """The law of the noise before compression."""

    @property
    def jpeg(self) -> Compression | None:
        """Compression of the real LR images; None for none."""


def variance_table(law: NoiseLaw) -> Tensor:
    """The variances of a law in the unit of the image squared, (3, K), not negative."""
    deviation = torch.tensor(law.variance_gray).clamp(min=0).sqrt() * GRAY_LEVEL
    return deviation**2


def variance_at(table: Tensor, mean: Tensor) -> Tensor:
    """The variance at the intensity of every value of a mean.

    Args:
        table: From ``variance_table``, on the device of the mean.
        mean: (..., 3, H, W), about [0, 1]; beyond it the variance is that of the end.

    Returns:
        The shape of the mean, in the unit of the image squared.

    """
    place = (mean * (table.shape[1] - 1)).clamp(0, table.shape[1] - 1)
    lower = place.floor().clamp(max=table.shape[1] - 2)
    share, index = place - lower, lower.long()
    table = table.to(mean.dtype)
    channel = torch.arange(3, device=mean.device)[:, None, None]
    return torch.lerp(table[channel, index], table[channel, index + 1], share)


class NoisyImages:
    """Makes LR images of means and scales: y = mean + eps theta (Eq. 8), cut to [0, 1], JPEG.

    eps has the variance 2, that of L(0, 1), and the correlation and the tails of a law of noise.

    Args:
        source: The law and the JPEG tables.
        device: Device of the images.

    """

    def __init__(self, source: NoiseSource, device: torch.device | str = "cpu") -> None:
        law, tables = source.noise, source.jpeg
        self.laplace_share = law.laplace_share
        self.filter = None if law.noise_filter is None else torch.tensor(law.noise_filter)
        if self.filter is not None:
            self.filter = self.filter.to(device)
        self.jpeg = None if tables is None else Compressor(tables, device)

    def draw(self, mean: Tensor, theta: Tensor, generator: torch.Generator) -> Tensor:
        """Draw LR images, cut to [0, 1] as every real image is.

        A gradient goes past the cut and the JPEG as if they were not there (the straight-through
        estimator, Bengio et al. 2013).

        Args:
            mean: (N, 3, H, W) in the unit of the image.
            theta: Laplace scale, in the shape and unit of the mean.
            generator: On the device of the mean.

        """
        if self.filter is None:
            eps = self._independent(mean, generator)
        else:
            border = self.filter.shape[-1] // 2
            n, c, height, width = mean.shape
            wider = mean.new_empty(n, c, height + 2 * border, width + 2 * border)
            eps = F.conv2d(self._independent(wider, generator), self.filter.to(mean.dtype))
        noisy = mean + eps * theta
        written = noisy.detach().clamp(0, 1)
        if self.jpeg is not None:
            written = self.jpeg(written, generator)
        return noisy + (written - noisy).detach() if noisy.requires_grad else written

    def _independent(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Independent draws of variance 2."""
        eps = standard_laplace(like, generator) * self.laplace_share
        if self.laplace_share == 1:
            return eps
        gaussian = torch.empty_like(like).normal_(generator=generator)
        return eps + gaussian * math.sqrt(2 * (1 - self.laplace_share**2))
