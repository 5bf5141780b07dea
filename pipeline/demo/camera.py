"""Simulated cameras, whose degradation is known exactly, for tests, the demo and recovery.

A camera blurs the HR image, samples it on the LR grid, and adds noise whose strength depends on the
brightness.  It may also interpolate the noise from a Bayer mosaic, reduce its colour, and write a
JPEG.  A camera with an image processor does what a real one does: its lens and its pixels gather
linear light, its sensor counts electrons behind a mosaic, and its processor develops them.
"""

import math
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from torch import Tensor

from pipeline.base.seeding import generator as seeded
from pipeline.base.settings import Settings
from pipeline.base.units import GRAY_LEVEL
from pipeline.demo.development import LUMA
from pipeline.demo.mosaic import demosaicing_transfer, interpolate_mosaic
from pipeline.demo.optics import (
    bicubic_area,
    blur_kernel,
    kernel_transfer,
    pixel_area,
    project,
    with_halo,
)
from pipeline.demo.processor import Processor
from pipeline.images.filters import bicubic_downsample
from pipeline.images.io import Image, Subsampling, jpeg_round_trip, to_float, to_uint8
from pipeline.images.light import to_linear
from pipeline.sampling.laplace import standard_laplace

NARROWEST_TURNED = 0.5
"""Least standard deviation, in HR pixels, of a blur that is oblique to the pixel grid."""
SMALLEST_GAIN = 1e-9
"""Intensity of one photon in the unit of the image.  With a smaller gain there are more photons
than torch can count, and their law is Gaussian."""
NO_NOISE: dict[str, object] = {
    "noise": "gaussian",
    "noise_at_black_gray": 0.0,
    "noise_at_white_gray": 0.0,
    "mosaic": False,
    "chroma_denoising": 0.0,
}
"""The settings of noise that a camera with an image processor does not have."""
CAPTURES = 16
"""Captures that the noise of an image processor is measured on."""


class Transfer(NamedTuple):
    """Transfer functions of a camera, as functions of the frequency; one at frequency zero."""

    luma: Tensor
    """(n,), float64."""
    chroma: Tensor
    """(n,), float64; the same for both colour differences."""


def _noise_or_processor(schema: dict[str, Any]) -> None:
    """Say in the JSON schema that an entry has the settings of noise or a processor."""
    schema["required"] = [name for name in schema["required"] if name not in NO_NOISE]
    developed = {"properties": {"processor": {"type": "object"}}, "required": ["processor"]}
    noise = [{"required": [name]} for name in NO_NOISE]
    plain = {"required": list(NO_NOISE), "not": developed}
    schema["oneOf"] = [plain, {**developed, "not": {"anyOf": noise}}]


class Camera(Settings):
    """The parameters of a simulated camera."""

    model_config = ConfigDict(json_schema_extra=_noise_or_processor)

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
    """Size of the JPEG's colour planes: whole, half along the rows, or half along both sides."""
    processor: Processor | None = None
    """Sensor and image processor, in the place of all settings of noise; or null."""

    @model_validator(mode="before")
    @classmethod
    def _processor_makes_the_noise(cls, content: Any) -> Any:
        if not isinstance(content, dict) or content.get("processor") is None:
            return content
        if given := sorted(NO_NOISE.keys() & content.keys()):
            raise ValueError(
                f"{', '.join(given)} must not be given with a processor, whose sensor makes the "
                "noise"
            )
        return content | NO_NOISE

    @model_serializer(mode="wrap")
    def _as_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        left_out = {"processor"} if self.processor is None else NO_NOISE.keys()
        return {key: value for key, value in content.items() if key not in left_out}

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
        """What reaches the sensor of an HR image (3, H, W): (3, H/s, W/s) in [0, 1].

        Without a processor this is the blurred and downsampled image.  With one it is linear light,
        sampled without antialiasing.
        """
        lens = blur_kernel(self.blur_along, self.blur_across, self.blur_angle)
        if self.processor is not None:
            lens = with_halo(lens, self.processor.halo_share, self.processor.halo_deviation)
            area = pixel_area(scale, self.processor.fill_factor)
            return project(to_linear(to_float(hr)), lens, area).clamp(0, 1)
        radius = lens.shape[-1] // 2
        padded = F.pad(to_float(hr)[None], (radius,) * 4, mode="replicate")
        blurred = F.conv2d(padded, lens.float().expand(3, 1, -1, -1), groups=3)
        return bicubic_downsample(blurred, scale)[0].clamp(0, 1)

    def developed(self, clean: Tensor) -> Tensor:
        """What the camera delivers of ``clean`` without noise, rounding and JPEG, same shape."""
        if self.processor is None:
            return clean
        return self.processor.develop(self.processor.sense(clean, None))

    def noise_deviation(self, clean: Tensor) -> Tensor:
        """Standard deviation of the noise, in the unit of ``developed``, per value.

        Without a processor this is its law at a site, before any interpolation.  With one it is
        measured, on CAPTURES captures around their mean; every value has the error of so few.
        """
        if self.processor is not None:
            captures = [
                to_float(self.capture(clean, seeded(0, "demo/noise deviation", k)))
                for k in range(CAPTURES)
            ]
            return torch.stack(captures).std(dim=0)
        black, white = self.noise_at_black_gray * GRAY_LEVEL, self.noise_at_white_gray * GRAY_LEVEL
        if self.noise == "poisson":
            return (black**2 + (white**2 - black**2) * clean).sqrt()
        return black + (white - black) * clean

    def transfer(self, frequencies: Tensor, angle: float, scale: int) -> Transfer:
        """Transfer functions of the camera's linear part, relative to the HR image.

        Without a processor: lens and bicubic downsampling.  With one: lens and pixel area, times
        the sharpening in luma and the chroma smoothing in chroma, for waves so weak that they see
        no curve and no limit.  Demosaicing has its own, see ``demosaicing``; denoising, which
        depends on the contrast, and JPEG have none.

        Args:
            frequencies: (n,), float64, cycles per LR pixel.  Above 1/2 the wave has an alias.
            angle: Direction in which the wave runs, in degrees, from left to right turning towards
                the bottom.
            scale: HR pixels per LR pixel.

        """
        across, down = _split(frequencies, angle)
        lens = blur_kernel(self.blur_along, self.blur_across, self.blur_angle)
        if self.processor is None:
            area = bicubic_area(scale)
        else:
            lens = with_halo(lens, self.processor.halo_share, self.processor.halo_deviation)
            area = pixel_area(scale, self.processor.fill_factor)
        optics = kernel_transfer(lens, across / scale, down / scale)
        optics = optics * kernel_transfer(area, across / scale, down / scale)
        if self.processor is None:
            return Transfer(optics, optics)
        return Transfer(
            optics * self.processor.luma_transfer(across, down),
            optics * self.processor.chroma_transfer(across, down),
        )

    def demosaicing(self, frequencies: Tensor, angle: float) -> Transfer:
        """What the mosaic and its interpolation leave of a wave, a factor of ``transfer``.

        It is the part of the answer that has the wave's own frequency; the rest is aliases.
        Without a mosaic in front of the image it is one.

        Args:
            frequencies: As for ``transfer``.
            angle: Likewise.

        Returns:
            Luma: of a gray wave.  Chroma: the mean of those of waves in Cb and Cr.

        """
        method = "none" if self.processor is None else self.processor.demosaicing
        across, down = _split(frequencies, angle)
        luma, red, blue = LUMA.double().flatten(), 0, 2
        gray = demosaicing_transfer(method, torch.ones(3).double(), across, down) @ luma
        parts = []
        for channel in (red, blue):
            colour = torch.zeros(3).double()  # of one colour difference: no luma, the other zero
            colour[channel], colour[1] = 1, -luma[channel] / luma[1]
            answer = demosaicing_transfer(method, colour, across, down)
            parts.append((answer[:, channel] - answer @ luma) / (1 - luma @ colour))
        return Transfer(gray, (parts[0] + parts[1]) / 2)

    def expose(self, clean: Tensor, generator: torch.Generator) -> Image:
        """One photograph of a clean LR image, as it is in the file that the camera writes.

        Args:
            clean: (3, H, W) in [0, 1], from ``clean``.
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

        With a processor the noise is the sensor's, and developed with the image.

        Raises:
            ValueError: The clean image is not (3, H, W).

        """
        if clean.ndim != 3 or clean.shape[0] != 3:
            raise ValueError(f"clean must be (3, H, W), got {tuple(clean.shape)}")
        if self.processor is not None:
            return to_uint8(self.processor.develop(self.processor.sense(clean, generator)))
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


def _split(frequencies: Tensor, angle: float) -> tuple[Tensor, Tensor]:
    """Frequencies from left to right and from top to bottom of waves that run at an angle."""
    turn = math.radians(angle)
    return frequencies * math.cos(turn), frequencies * math.sin(turn)
