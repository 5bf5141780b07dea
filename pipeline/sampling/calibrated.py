"""LR images whose noise follows a calibration or a camera's passport."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.sampling.laplace import Maps
from pipeline.sampling.noise_law import NoiseSource, NoisyImages, variance_at, variance_table

GRID = 32
"""Frequencies along an axis at which the filter of correlated noise is computed."""


class CalibratedSampler:
    """Draws y = mean + eps theta (Eq. 8) with the theta of a calibration; see ``sampler.Sampler``.

    Where the real noise is correlated, eps is correlated too.  The variance of eps is 2, that of
    L(0, 1).  If the real images are JPEG files, the samples are compressed like them.

    Args:
        source: Variance, correlation and tails of the noise, and the JPEG tables: a calibration,
            or what else has a law of noise.
        device: Device of the samples.

    """

    reads = ("mean",)

    def __init__(self, source: NoiseSource, device: torch.device | str = "cpu") -> None:
        self.variance = variance_table(source.noise).to(device)
        self.images = NoisyImages(source, device)

    def theta(self, maps: Maps) -> Tensor:
        """The square root of half the variance at the intensity of every value of the mean."""
        return (variance_at(self.variance, maps["mean"]) / 2).sqrt()

    def sample(self, maps: Maps, generator: torch.Generator) -> Tensor:
        """Draw LR images, cut to [0, 1] as every real image is."""
        return self.images.draw(maps["mean"], self.theta(maps), generator)


class CameraSampler:
    """Draws y = mean + eps theta (Eq. 8) with the theta of the maps; see ``sampler.Sampler``.

    eps has the correlation and the tails of the camera's noise, and the samples are compressed like
    the real images.  How strong the noise is, theta alone says.

    Args:
        camera: Correlation and tails of the noise, and the JPEG tables: a passport.
        device: Device of the samples.

    """

    reads = ("mean", "theta")

    def __init__(self, camera: NoiseSource, device: torch.device | str = "cpu") -> None:
        self.images = NoisyImages(camera, device)

    def theta(self, maps: Maps) -> Tensor:
        """The theta of the maps."""
        return maps["theta"]

    def sample(self, maps: Maps, generator: torch.Generator) -> Tensor:
        """Draw LR images, cut to [0, 1] as every real image is."""
        return self.images.draw(maps["mean"], maps["theta"], generator)


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
