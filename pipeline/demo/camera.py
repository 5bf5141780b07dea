"""Simulated cameras, whose degradation is known exactly, for tests, the demo and recovery.

A camera blurs the HR image, samples it on the LR grid, and adds noise whose strength depends on the
brightness.  It may also interpolate the noise from a Bayer mosaic, reduce its colour, and write a
JPEG.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from pipeline.base.settings import Settings
from pipeline.base.units import GRAY_LEVEL
from pipeline.images.filters import bicubic_downsample
from pipeline.images.io import Image, Subsampling, jpeg_round_trip, to_float, to_uint8
from pipeline.sampling.laplace import standard_laplace

NARROWEST_TURNED = 0.5
"""Least standard deviation, in HR pixels, of a blur that is oblique to the pixel grid."""
SMALLEST_GAIN = 1e-9
"""Intensity of one photon in the unit of the image.  With a smaller gain there are more photons
than torch can count, and their law is Gaussian."""
BILINEAR = ((1.0, 2.0, 1.0), (2.0, 4.0, 2.0), (1.0, 2.0, 1.0))
"""Kernel that interpolates red and blue from a quarter of the sites, times 4."""
BILINEAR_GREEN = ((0.0, 1.0, 0.0), (1.0, 4.0, 1.0), (0.0, 1.0, 0.0))
"""Kernel that interpolates green from half of the sites, times 4."""


class Camera(Settings):
    """The parameters of a simulated camera."""

    blur_along: float = Field(ge=0)
    """Standard deviation of the Gaussian blur along ``blur_angle``, in HR pixels."""
    blur_across: float = Field(ge=0)
    """Standard deviation of the blur at a right angle to ``blur_angle``, in HR pixels."""
    blur_angle: float
    """Degrees, from the rows' direction towards the bottom."""
    noise: Literal["laplace", "gaussian", "poisson"]
    """Law of the noise.  Laplace and Gaussian: the standard deviation is linear in the brightness.
    Poisson (with Gaussian read noise, the standard deviation at black): the variance is."""
    noise_at_black_gray: float = Field(ge=0)
    """Standard deviation of the noise at black, in gray levels."""
    noise_at_white_gray: float = Field(ge=0)
    """Standard deviation of the noise at white, in gray levels."""
    mosaic: bool
    """Noise on the sites of a Bayer mosaic (RGGB), bilinearly interpolated."""
    chroma_denoising: float = Field(ge=0, le=1)
    """Share of the noise's difference between the channels that is taken away."""
    jpeg_quality: int | None = Field(ge=1, le=100)
    """Quality of the JPEG the camera writes, or null."""
    jpeg_subsampling: Subsampling
    """Size of the JPEG's colour planes: whole, or half along both sides."""

    @model_validator(mode="after")
    def _photons_add(self) -> "Camera":
        if self.noise == "poisson" and self.noise_at_white_gray < self.noise_at_black_gray:
            raise ValueError(
                f"noise_at_white_gray is {self.noise_at_white_gray}, below noise_at_black_gray "
                f"({self.noise_at_black_gray}), but photons only add to the read noise"
            )
        return self

    @model_validator(mode="after")
    def _turned_blur_meets_pixels(self) -> "Camera":
        narrow = min(self.blur_along, self.blur_across)
        turned = self.blur_along != self.blur_across and self.blur_angle % 90 != 0
        if turned and narrow < NARROWEST_TURNED:
            raise ValueError(
                f"blur_angle is {self.blur_angle} and the blur {narrow} pixels narrow; at this "
                f"angle less than {NARROWEST_TURNED} falls between the pixels"
            )
        return self

    def clean(self, hr: Image, scale: int) -> Tensor:
        """The blurred and downsampled image (3, H/s, W/s) in [0, 1] of an HR image (3, H, W)."""
        kernel = blur_kernel(self.blur_along, self.blur_across, self.blur_angle)
        radius = kernel.shape[-1] // 2
        padded = F.pad(to_float(hr)[None], (radius,) * 4, mode="replicate")
        blurred = F.conv2d(padded, kernel.float().expand(3, 1, -1, -1), groups=3)
        return bicubic_downsample(blurred, scale)[0].clamp(0, 1)

    def noise_deviation(self, clean: Tensor) -> Tensor:
        """Standard deviation of the noise at a site, in the unit of ``clean``, per value."""
        black, white = self.noise_at_black_gray * GRAY_LEVEL, self.noise_at_white_gray * GRAY_LEVEL
        if self.noise == "poisson":
            return (black**2 + (white**2 - black**2) * clean).sqrt()
        return black + (white - black) * clean

    def expose(self, clean: Tensor, generator: torch.Generator) -> Image:
        """One photograph of a clean LR image, as it is in the file that the camera writes.

        Args:
            clean: (3, H, W) in [0, 1].
            generator: Source of the noise.

        Returns:
            (3, H, W), uint8.

        """
        image = self.capture(clean, generator)
        if self.jpeg_quality is None:
            return image
        return jpeg_round_trip(image, self.jpeg_quality, self.jpeg_subsampling)

    def capture(self, clean: Tensor, generator: torch.Generator) -> Image:
        """One photograph without JPEG compression: noise is added, then rounded to 8 bit.

        Raises:
            ValueError: The clean image is not (3, H, W).

        """
        if clean.ndim != 3 or clean.shape[0] != 3:
            raise ValueError(f"clean must be (3, H, W), got {tuple(clean.shape)}")
        noise = self._site_noise(clean, generator)
        if self.mosaic:
            noise = interpolate_mosaic(noise)
        common = noise.mean(dim=0, keepdim=True)
        return to_uint8(clean + torch.lerp(noise, common, self.chroma_denoising))

    def _site_noise(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        if self.noise == "laplace":
            unit = standard_laplace(clean, generator) / math.sqrt(2)
            return unit * self.noise_deviation(clean)
        gaussian = torch.empty_like(clean).normal_(generator=generator)
        if self.noise == "gaussian":
            return gaussian * self.noise_deviation(clean)
        read, white = self.noise_at_black_gray * GRAY_LEVEL, self.noise_at_white_gray * GRAY_LEVEL
        gain = white**2 - read**2  # of one photon, in the unit of the image
        if gain < SMALLEST_GAIN:
            return gaussian * self.noise_deviation(clean)
        photons = torch.poisson(clean / gain, generator=generator)
        return photons * gain - clean + gaussian * read


def blur_kernel(along: float, across: float, angle: float) -> Tensor:
    """A Gaussian blur kernel (k, k) of sum one, float64; k is odd.

    It is sampled at the pixels, up to four standard deviations from the centre.  So below about 0.7
    pixels it is narrower than its standard deviation says, and if both are zero, it is a single 1.

    Args:
        along: Standard deviation in pixels, in the direction of ``angle``.
        across: The same, at a right angle to it.
        angle: Degrees, from left to right turning towards the bottom.

    """
    radius = max(math.ceil(4 * max(along, across)), 1)
    place = torch.arange(-radius, radius + 1, dtype=torch.float64)
    y, x = torch.meshgrid(place, place, indexing="ij")
    turn = math.radians(angle)
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    exponent = (u / max(along, 1e-3)) ** 2 + (v / max(across, 1e-3)) ** 2  # exp(-5e5) is zero
    kernel = torch.exp(-exponent / 2)
    return kernel / kernel.sum()


def interpolate_mosaic(sites: Tensor) -> Tensor:
    """Keep the values at the sites of an RGGB mosaic and interpolate the others bilinearly.

    Args:
        sites: (3, H, W), any unit; H and W at least 2.

    Returns:
        The same shape.  White noise of variance one has, on average over the four sites, a variance
        of 9/16 in red and blue and of 5/8 in green.

    Raises:
        ValueError: The shape is another.

    """
    if sites.ndim != 3 or sites.shape[0] != 3 or min(sites.shape) < 2:
        raise ValueError(f"sites must be (3, H, W) of at least 2x2, got {tuple(sites.shape)}")
    seen = torch.zeros_like(sites)
    seen[0, ::2, ::2] = sites[0, ::2, ::2]
    seen[1, ::2, 1::2] = sites[1, ::2, 1::2]
    seen[1, 1::2, ::2] = sites[1, 1::2, ::2]
    seen[2, 1::2, 1::2] = sites[2, 1::2, 1::2]
    kernels = torch.tensor([BILINEAR, BILINEAR_GREEN, BILINEAR])[:, None].to(sites) / 4
    padded = F.pad(seen[None], (1, 1, 1, 1), mode="reflect")  # keeps even and odd apart
    return F.conv2d(padded, kernels, groups=3)[0]
