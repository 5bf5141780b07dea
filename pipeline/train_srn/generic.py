"""LR images by a degradation drawn at random, blind to the camera: what general SR models train on.

It is the classical degradation y = JPEG((x * k) reduced + n), with the laws and ranges of the first
of the two stages of Real-ESRGAN (Wang et al. 2021, Sec. 4.1), which follow BSRGAN (Zhang et al.
2021): Gaussian blur, then a resampling, Gaussian or Poisson noise, and JPEG.  Their kernels of
other shapes, their second stage and their resampling to other sizes are left out.
"""

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.base.units import GRAY_LEVEL
from pipeline.sampling.jpeg import Jpeg, tables_of_quality

BLUR = (0.2, 3.0)
"""Least and largest standard deviation of the blur along an axis, in HR pixels."""
RADIUS = 10
"""Half the width of a kernel, in HR pixels; the kernels are 21x21."""
ISOTROPIC = 0.45 / 0.70
"""Share of isotropic kernels among the Gaussian ones."""
MODES = ("area", "bilinear", "bicubic")
"""Resamplings to the LR size, equally often; as there, none has antialiasing but the first."""
SUPPORT = 2
"""HR pixels that a resampling reaches beyond those of an LR pixel."""
POISSON = 0.5
"""Share of samples with Poisson noise; the others have Gaussian noise."""
GREY = 0.4
"""Share of samples with the same noise in all channels."""
GAUSSIAN_GRAY = (1.0, 30.0)
"""Least and largest standard deviation of Gaussian noise, in gray levels."""
POISSON_SCALE = (0.05, 3.0)
"""Least and largest factor of Poisson noise."""
PHOTONS = 256.0
"""Photons of a white pixel, before the factor."""
QUALITY = (30, 95)
"""Least and largest quality of the JPEG, whose colour planes have half the size."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of the channels in a grey image."""


@dataclass(frozen=True)
class Degradations:
    """The parameters of N degradations, (N,) each."""

    along: Tensor
    """Standard deviation of the blur along ``angle``, in HR pixels."""
    across: Tensor
    """The same, at a right angle to it."""
    angle: Tensor
    """Radians, from left to right turning towards the bottom."""
    mode: Tensor
    """Index in ``MODES``."""
    poisson: Tensor
    """Whether the noise is Poisson noise."""
    grey: Tensor
    """Whether all channels have the same noise."""
    deviation: Tensor
    """Standard deviation of Gaussian noise, in the unit of the image."""
    factor: Tensor
    """Factor of Poisson noise."""
    quality: Tensor
    """Quality of the JPEG."""

    def to(self, device: torch.device) -> "Degradations":
        """The same on a device."""
        moved = (getattr(self, field.name).to(device, non_blocking=True) for field in fields(self))
        return Degradations(*moved)


def draw(count: int, generator: torch.Generator) -> Degradations:
    """Draw the parameters of a number of degradations with a CPU generator."""
    u = torch.rand(10, count, generator=generator)
    isotropic = u[0] < ISOTROPIC
    along = _between(BLUR, u[1])
    across = torch.where(isotropic, along, _between(BLUR, u[2]))
    low, high = QUALITY
    return Degradations(
        along=along,
        across=across,
        angle=u[3] * math.pi,
        mode=(u[4] * len(MODES)).long(),
        poisson=u[5] < POISSON,
        grey=u[6] < GREY,
        deviation=_between(GAUSSIAN_GRAY, u[7]) * GRAY_LEVEL,
        factor=_between(POISSON_SCALE, u[8]),
        quality=low + (u[9] * (high - low + 1)).long(),
    )


def border(scale: int) -> int:
    """LR pixels around an LR crop that its blur and resampling reach."""
    return math.ceil((RADIUS + SUPPORT) / scale)


class GenericDegradation:
    """Degrades HR images, every one in its own way.

    Args:
        scale: HR pixels per LR pixel.
        device: Device of the images.

    """

    def __init__(self, scale: int, device: torch.device | str = "cpu") -> None:
        self.scale, self.border = scale, border(scale)
        low, high = QUALITY
        tables = [tables_of_quality(quality, "4:2:0") for quality in range(low, high + 1)]
        self.jpeg = Jpeg(tables, device)

    def __call__(
        self, hr: Tensor, degradations: Degradations, generator: torch.Generator
    ) -> Tensor:
        """Degrade HR images.

        Args:
            hr: (N, 3, scale (S + 2 border), the same) in [0, 1].
            degradations: N of them, on the device of the images.
            generator: Source of the noise, on that device.

        Returns:
            (N, 3, S, S), 8-bit values over 255: the LR images without their border.

        """
        lr = reduced(blurred(hr, degradations), degradations.mode, self.scale)
        inner = slice(self.border, lr.shape[-1] - self.border)
        noisy = add_noise(lr[..., inner, inner].clamp(0, 1), degradations, generator)
        return self.jpeg(noisy.clamp(0, 1), degradations.quality - QUALITY[0])


def kernels(degradations: Degradations) -> Tensor:
    """The blur kernels (N, 21, 21), sampled Gaussians of sum one."""
    place = torch.arange(-RADIUS, RADIUS + 1, device=degradations.along.device)
    y, x = place[:, None], place
    along, across, angle = (
        one[:, None, None] for one in (degradations.along, degradations.across, degradations.angle)
    )
    u, v = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    kernel = torch.exp(-((u / along) ** 2 + (v / across) ** 2) / 2)
    return kernel / kernel.sum(dim=(1, 2), keepdim=True)


def blurred(hr: Tensor, degradations: Degradations) -> Tensor:
    """HR images (N, 3, H, W), each blurred by its own kernel; edges are mirrored."""
    count, channels, height, width = hr.shape
    padded = F.pad(hr, (RADIUS,) * 4, mode="reflect").reshape(1, count * channels, *_wider(hr))
    weights = kernels(degradations).to(hr.dtype).repeat_interleave(channels, dim=0)[:, None]
    return F.conv2d(padded, weights, groups=count * channels).reshape(
        count, channels, height, width
    )


def reduced(hr: Tensor, mode: Tensor, scale: int) -> Tensor:
    """Images (N, 3, H, W) made ``scale`` times smaller, each by the resampling of its index."""
    size = (hr.shape[-2] // scale, hr.shape[-1] // scale)
    made = torch.stack([F.interpolate(hr, size, mode=name) for name in MODES])
    return made[mode, torch.arange(len(hr), device=hr.device)]


def add_noise(lr: Tensor, degradations: Degradations, generator: torch.Generator) -> Tensor:
    """LR images (N, 3, H, W) in [0, 1] with their noise; not clamped.

    Poisson noise is the deviation of a count of photons from its mean, times the factor.
    """
    poisson, grey, deviation, factor = (
        one[:, None, None, None]
        for one in (
            degradations.poisson,
            degradations.grey,
            degradations.deviation,
            degradations.factor,
        )
    )
    luma = (lr * lr.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
    seen = torch.where(grey, luma, lr)
    gaussian = torch.empty_like(lr).normal_(generator=generator) * deviation
    photons = torch.poisson(seen * PHOTONS, generator=generator)
    noise = torch.where(poisson, (photons / PHOTONS - seen) * factor, gaussian)
    return lr + torch.where(grey, noise[:, :1], noise)


def _between(ends: tuple[float, float], uniform: Tensor) -> Tensor:
    low, high = ends
    return low + (high - low) * uniform


def _wider(hr: Tensor) -> tuple[int, int]:
    return hr.shape[-2] + 2 * RADIUS, hr.shape[-1] + 2 * RADIUS
