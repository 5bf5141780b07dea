"""The image processor of a simulated camera, from the light on the sensor to the 8-bit image."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from pipeline.base.settings import Settings
from pipeline.base.units import GRAY_LEVEL
from pipeline.demo.development import (
    LUMA,
    box,
    gaussian_taps,
    luma_of,
    sharpen,
    smooth_chroma,
    spare_edges,
    with_contrast,
)
from pipeline.demo.mosaic import Demosaicing, demosaic
from pipeline.demo.optics import kernel_transfer
from pipeline.images.light import to_encoded

Share = Annotated[float, Field(ge=0, le=1)]


class Processor(Settings):
    """Sensor and image processor of a simulated camera."""

    halo_share: Share
    """Light that the lens spreads in a wide halo, from 0 to 1."""
    halo_deviation: float = Field(gt=0, le=64)
    """Standard deviation of the halo, in HR pixels."""
    fill_factor: float = Field(gt=0, le=1)
    """Side of a pixel's light-sensitive area as a share of the pixel's."""
    red_gain: float = Field(ge=0.1, le=10)
    """Factor of the white balance: white gives red sites one part in so many of green's signal."""
    blue_gain: float = Field(ge=0.1, le=10)
    """The same factor of blue."""
    full_well_electrons: float = Field(gt=0, le=1e6)
    """Photoelectrons of a green site at white, at base sensitivity."""
    read_electrons: float = Field(ge=0)
    """Standard deviation of the read noise, in electrons."""
    iso_gain: float = Field(ge=1)
    """Factor over the base sensitivity; white has so many times fewer electrons."""
    demosaicing: Demosaicing
    """How an RGGB mosaic is interpolated: bilinear, or gradient (Malvar, He and Cutler 2004).
    None: every pixel sees all colours."""
    chroma_smoothing: float = Field(ge=0, le=16)
    """Standard deviation of a Gaussian on the colour differences, in LR pixels."""
    denoising_strength: float = Field(ge=0)
    """What the guided filter takes for noise, in standard deviations of the sensor's noise."""
    denoising_radius: int = Field(ge=1, le=16)
    """Radius of its window, in LR pixels."""
    contrast: Share
    """Share of an S-shaped curve in the tone curve behind sRGB's, from 0 to 1."""
    sharpening_amount: float = Field(ge=0)
    """Factor of the unsharp mask on the luma."""
    sharpening_radius: float = Field(gt=0, le=16)
    """Standard deviation of its low-pass, in LR pixels."""
    sharpening_limit_gray: float | None = Field(ge=0)
    """How far it may leave the range of the 3x3 neighbours, in gray levels, or null."""

    @property
    def white_electrons(self) -> float:
        """Photoelectrons of a green site at white."""
        return self.full_well_electrons / self.iso_gain

    def sense(self, light: Tensor, generator: torch.Generator | None) -> Tensor:
        """What the sensor reads, before the mosaic takes one colour per site.

        Args:
            light: (3, H, W), linear, in [0, 1].
            generator: Source of photon and read noise; None: the expected values.

        Returns:
            (3, H, W), raw: white is 1 in green, and one over the gains in red and blue.  Values
            above 1 are cut off; those below 0 stay, as above the black level of a real sensor.

        """
        raw = light / self._gains(light)
        if generator is not None:
            photons = torch.poisson(raw * self.white_electrons, generator=generator)
            read = torch.empty_like(raw).normal_(generator=generator) * self.read_electrons
            raw = (photons + read) / self.white_electrons
        return raw.clamp(max=1)

    def develop(self, raw: Tensor) -> Tensor:
        """The photograph (3, H, W) in [0, 1] that the processor makes of raw values, unrounded.

        White balance comes before demosaicing.  For a bilinear one the order does not matter; one
        that carries gradients from colour to colour needs balanced colours.
        """
        balanced = (raw * self._gains(raw)).clamp(max=1)
        image = smooth_chroma(demosaic(balanced, self.demosaicing), self.chroma_smoothing)
        if self.denoising_strength:
            image = self._denoised(image)
        encoded = with_contrast(to_encoded(image.clamp(0, 1)), self.contrast)
        limit = self.sharpening_limit_gray
        limit = None if limit is None else limit * GRAY_LEVEL
        sharp = sharpen(encoded, self.sharpening_amount, self.sharpening_radius, limit)
        return sharp.clamp(0, 1)

    def noise_variance(self, light: Tensor) -> Tensor:
        """Variance of the noise at balanced sites, in linear light squared; ``light`` (3, H, W)."""
        gains = self._gains(light)
        photons = gains * light.clamp(min=0) / self.white_electrons
        return photons + (gains * self.read_electrons / self.white_electrons).square()

    def luma_transfer(self, across: Tensor, down: Tensor) -> Tensor:
        """Transfer function (n,) of the sharpening, at frequencies (n,) in cycles per LR pixel."""
        low = kernel_transfer(gaussian_taps(self.sharpening_radius), across, down)
        return 1 + self.sharpening_amount * (1 - low)

    def chroma_transfer(self, across: Tensor, down: Tensor) -> Tensor:
        """Transfer function (n,) of the chroma smoothing, at the same frequencies."""
        return kernel_transfer(gaussian_taps(self.chroma_smoothing), across, down)

    def _denoised(self, image: Tensor) -> Tensor:
        luma = luma_of(image)
        noise = self.noise_variance(box(image, self.denoising_radius))
        noise = (noise * LUMA.to(noise).square()).sum(dim=0, keepdim=True)
        smooth = spare_edges(luma, noise * self.denoising_strength**2, self.denoising_radius)
        return image + (smooth - luma)

    def _gains(self, like: Tensor) -> Tensor:
        return torch.tensor([self.red_gain, 1.0, self.blue_gain]).to(like)[:, None, None]
