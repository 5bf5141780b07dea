"""Power spectra of the images of a pile, in a form that one image cannot rule.

Every window has a power spectrum in rings of frequency.  A window counts with one over the root of
its power at low frequencies: between the mean of powers, which a few contrasty images rule, and the
mean of ratios, which the flattest ones do.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.sampling.jpeg import TO_YCBCR

Array = NDArray[np.float64]

RING = 1 / 32
"""Width of a ring of frequencies, in cycles per LR pixel."""
FIRST, LAST = 0.012, 0.5
"""Lowest and highest frequency of the rings."""
LOW_RINGS = 3
"""Rings whose power says how much contrast a window has."""
BANDS = ((0.08, 0.2), (0.2, 0.36))
"""Bands in which the power of four directions is compared."""
SECTORS = 4
"""Directions: along the rows, a diagonal, along the columns, the other diagonal."""
FAINT = 1e-6
"""Power added to that of a window without contrast; 1e-6 is a quarter of a gray level."""
DRAWS = 200
"""Sets of images drawn for a covariance."""


def edges() -> Array:
    """Borders of the rings, in cycles per pixel."""
    return np.concatenate([[FIRST], np.arange(1.5 * RING, LAST, RING)])


def rings() -> Array:
    """Middles of the rings, in cycles per pixel."""
    return np.asarray((edges()[1:] + edges()[:-1]) / 2)


@dataclass(frozen=True, eq=False)
class Spectra:
    """Weighted mean spectra of every image of a pile."""

    luma: Array
    """(images, rings): power of luma."""
    chroma: Array
    """(images, rings): power of both colour differences together."""
    sectors: Array
    """(images, 8): power of luma in the directions of both bands."""

    def __len__(self) -> int:
        return len(self.luma)

    def vector(self, chosen: NDArray[np.intp] | None = None) -> Array:
        """The statistics of some images or all: logarithms of amplitudes.

        Returns:
            (2 rings + 8,): rings of luma, rings of chroma, and of each band the directions less
            their mean.

        """
        kept = slice(None) if chosen is None else chosen
        halves = [np.log(part[kept].mean(axis=0) + FAINT**2) / 2 for part in self._parts()]
        directions = halves[2].reshape(len(BANDS), SECTORS)
        directions = directions - directions.mean(axis=1, keepdims=True)
        return np.concatenate([halves[0], halves[1], directions.ravel()])

    def resampled(self, source: np.random.Generator) -> Array:
        """The statistics of as many images, drawn with replacement."""
        return self.vector(source.integers(0, len(self), len(self)))

    def covariance(self, source: np.random.Generator) -> Array:
        """Covariance of the statistics, by the bootstrap over images (Efron 1979)."""
        return np.cov(np.stack([self.resampled(source) for _ in range(DRAWS)]).T)

    def _parts(self) -> tuple[Array, Array, Array]:
        return self.luma, self.chroma, self.sectors


class Measure:
    """Measures the spectra of windows of one side.

    Args:
        side: Rows and columns of a window, in LR pixels.

    """

    def __init__(self, side: int) -> None:
        f = torch.fft.fftfreq(side)
        fy, fx = f[:, None].expand(side, side), f[None, :].expand(side, side)
        radius, angle = torch.hypot(fy, fx), torch.atan2(fy, fx)
        borders = edges()
        masks = [(radius >= low) & (radius < high) for low, high in pairwise(borders)]
        self.rings = _averaging(masks)
        step = np.pi / SECTORS
        self.sectors = _averaging(
            [
                (torch.remainder(angle - k * step + step / 2, np.pi) < step)
                & (radius >= low)
                & (radius < high)
                for low, high in BANDS
                for k in range(SECTORS)
            ]
        )
        hann = torch.hann_window(side, periodic=True)
        window = hann[:, None] * hann
        self.window = window / window.square().mean().sqrt()
        self.planes = torch.tensor(TO_YCBCR)

    def image(self, pixels: Tensor) -> Spectra:
        """The spectra of one image.

        Args:
            pixels: Windows (N, 3, side, side) in [0, 1].

        """
        planes = torch.einsum("cd,ndhw->nchw", self.planes, pixels)
        planes = planes - planes.mean(dim=(2, 3), keepdim=True)
        power = torch.fft.fft2(planes * self.window).abs().square() / self.window.numel()
        flat = power.flatten(2)
        luma, chroma = flat[:, 0] @ self.rings, (flat[:, 1] + flat[:, 2]) @ self.rings
        sectors = flat[:, 0] @ self.sectors
        weight = (luma[:, :LOW_RINGS].mean(dim=1, keepdim=True) + FAINT).rsqrt()
        colour = (chroma[:, :LOW_RINGS].mean(dim=1, keepdim=True) + FAINT).rsqrt()
        parts = (luma * weight, chroma * colour, sectors * weight)
        return Spectra(*(part.mean(dim=0, keepdim=True).double().numpy() for part in parts))


def joined(spectra: Iterable[Spectra]) -> Spectra:
    """The spectra of several images as one."""
    parts = list(spectra)
    return Spectra(
        np.concatenate([part.luma for part in parts]),
        np.concatenate([part.chroma for part in parts]),
        np.concatenate([part.sectors for part in parts]),
    )


def _averaging(masks: list[Tensor]) -> Tensor:
    """A matrix (side^2, masks) whose columns average over a mask each."""
    columns = torch.stack([mask.flatten().float() for mask in masks], dim=1)
    return columns / columns.sum(dim=0).clamp(min=1)
