"""What a camera does to HR images, by its passport: the mean LR image and its noise scale."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.base.units import GRAY_LEVEL
from pipeline.images.filters import gaussian_blur, mirrored
from pipeline.images.light import to_encoded, to_linear
from pipeline.passport.passport import Passport
from pipeline.sampling.jpeg import TO_YCBCR
from pipeline.sampling.noise_law import variance_at, variance_table

DETAIL_RADIUS = 1.0
"""Standard deviation, in LR pixels, of the Gaussian that separates the detail that is denoised."""
ROUNDING = GRAY_LEVEL**2 / 12
"""Variance of the rounding to 8 bits, in the unit of the image squared: no LR image has less."""


class CameraModel(nn.Module):
    """Makes the mean LR image of HR images; it has no parameters and saves no state.

    Luma and colour differences (those of JPEG) are blurred by a kernel each, in linear light if the
    passport says so, and every scale-th pixel is taken.  Denoising and sharpening of luma follow on
    the LR grid.  Borders are mirrored with the edge repeated.

    Args:
        passport: What is known of the camera.

    Attributes:
        scale: HR pixels per LR pixel.
        halo: HR pixels around an area that its LR pixels depend on, a multiple of the scale.

    """

    variance: Tensor
    luma: Tensor
    chroma: Tensor
    to_planes: Tensor
    from_planes: Tensor

    def __init__(self, passport: Passport) -> None:
        super().__init__()
        self.scale, self.linear = passport.scale, passport.light == "linear"
        self.sharpening, self.denoising = passport.sharpening, passport.denoising
        planes = torch.tensor(TO_YCBCR, dtype=torch.float64)
        kept = {
            "luma": _normalised(passport.luma_kernel),
            "chroma": _normalised(passport.chroma_kernel),
            "to_planes": planes,
            "from_planes": torch.linalg.inv(planes),
            "variance": variance_table(passport.noise),
        }
        for name, values in kept.items():
            self.register_buffer(name, values.float(), persistent=False)
        sides = [*self.luma.shape[2:], *self.chroma.shape[2:]]
        reach = max(0, *((side - self.scale) // 2 for side in sides))
        on_lr = sum(_window(radius) // 2 for radius in self._radii())
        self.halo: int = (-(-reach // self.scale) + on_lr) * self.scale

    def _radii(self) -> list[float]:
        """Radii of the Gaussians on the LR grid, in LR pixels."""
        found = []
        if self.denoising.threshold_gray > 0 and self.denoising.kept < 1:
            found.append(DETAIL_RADIUS)
        if self.sharpening.amount > 0:
            found.append(self.sharpening.radius)
        return found

    def forward(self, hr: Tensor) -> Tensor:
        """The mean LR image.

        Args:
            hr: (N, 3, H, W) in [0, 1]; H and W multiples of the scale.

        Returns:
            (N, 3, H/s, W/s) in the unit of the image; not clamped, as blur and sharpening overshoot
            at edges.

        Raises:
            ValueError: The shape does not fit.

        """
        if hr.ndim != 4 or hr.shape[1] != 3 or hr.shape[2] % self.scale or hr.shape[3] % self.scale:
            raise ValueError(
                f"expected (N, 3, H, W) with H and W multiples of {self.scale}, "
                f"got {tuple(hr.shape)}"
            )
        hr = hr if hr.dtype == torch.float64 else hr.float()
        with _exactly(hr.device):
            image = self._blurred(to_linear(hr) if self.linear else hr)
            if self.linear:
                image = to_encoded(image.clamp(min=0))  # there is no negative light
            if not self._radii():
                return image
            luma = _mixed(self.to_planes[:1], image)
            return image + (self._processed(luma) - luma)

    def noise_scale(self, mean: Tensor) -> Tensor:
        """b(x): the Laplace scale with the variance of the camera's noise at every pixel.

        It is at least that of the rounding to 8 bits.

        Args:
            mean: The mean LR image (N, 3, h, w) in the unit of the image.

        Returns:
            The shape and the unit of the mean, positive.

        """
        return (variance_at(self.variance, mean).clamp(min=ROUNDING) / 2).sqrt()

    def _blurred(self, image: Tensor) -> Tensor:
        """Blur and decimate luma and the colour differences."""
        planes = _mixed(self.to_planes, image)
        luma = _reduced(planes[:, :1], self.luma, self.scale)
        blue = _reduced(planes[:, 1:2], self.chroma, self.scale)
        red = _reduced(planes[:, 2:], self.chroma, self.scale)
        return _mixed(self.from_planes, torch.cat([luma, blue, red], dim=1))

    def _processed(self, luma: Tensor) -> Tensor:
        """Denoise and sharpen luma (N, 1, h, w) on the LR grid."""
        threshold, kept = self.denoising.threshold_gray * GRAY_LEVEL, self.denoising.kept
        if threshold > 0 and kept < 1:
            base = _smooth(luma, DETAIL_RADIUS)
            detail = luma - base
            power = detail.square()
            luma = base + detail * (kept + (1 - kept) * power / (power + threshold**2))
        if self.sharpening.amount > 0:
            luma = luma + self.sharpening.amount * (luma - _smooth(luma, self.sharpening.radius))
        return luma


@contextmanager
def _exactly(device: torch.device) -> Iterator[None]:
    """A block without bfloat16 and without the 10 bits of TF32."""
    cudnn = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    with torch.autocast(device.type, enabled=False), cudnn:
        yield


def _normalised(kernel: list[list[float]]) -> Tensor:
    values = torch.tensor(kernel, dtype=torch.float64)[None, None]
    return values / values.sum()


def _mixed(matrix: Tensor, image: Tensor) -> Tensor:
    """Mix the channels of (N, 3, H, W) by a matrix (C, 3): (N, C, H, W)."""
    matrix = matrix.to(image.dtype)[:, :, None, None]
    return sum((matrix[:, d] * image[:, d : d + 1] for d in (1, 2)), matrix[:, 0] * image[:, :1])


def _reduced(plane: Tensor, kernel: Tensor, scale: int) -> Tensor:
    """Correlate a plane (N, 1, H, W) with a kernel at the places of the LR pixels."""
    outside = [(side - scale) // 2 for side in kernel.shape[2:]]
    return F.conv2d(_padded(plane, outside), kernel.to(plane.dtype), stride=scale)


def _smooth(plane: Tensor, radius: float) -> Tensor:
    """The Gaussian of a plane (N, 1, h, w), cut at three standard deviations."""
    size = _window(radius)
    return gaussian_blur(_padded(plane, [size // 2, size // 2]), size, radius)


def _window(radius: float) -> int:
    """Taps of a Gaussian."""
    return 2 * math.ceil(3 * radius) + 1


def _padded(plane: Tensor, border: list[int]) -> Tensor:
    """A plane with so many more rows and columns at each side, or fewer where negative."""
    for axis, wider in zip((-2, -1), border, strict=True):
        length = plane.shape[axis]
        seen = torch.arange(-wider, length + wider, device=plane.device)
        plane = plane.index_select(axis, mirrored(seen, length))
    return plane
