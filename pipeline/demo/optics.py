"""The optics of a simulated camera: lens, pixel area and sampling, and their transfer functions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.images.filters import cubic


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


def with_halo(core: Tensor, share: float, deviation: float) -> Tensor:
    """A blur kernel of which a share of the light is spread by a wide round Gaussian instead.

    Args:
        core: The kernel (k, k) without halo; k is odd.
        share: Light in the halo, from 0 to 1; zero leaves the kernel alone.
        deviation: Standard deviation of the halo in HR pixels.

    Returns:
        A kernel (m, m) of sum one, m odd and at least k.

    """
    if not share:
        return core
    halo = blur_kernel(deviation, deviation, 0)
    size = max(core.shape[-1], halo.shape[-1])
    return (1 - share) * _centred(core, size) + share * _centred(halo, size)


def _centred(kernel: Tensor, size: int) -> Tensor:
    border = (size - kernel.shape[-1]) // 2
    return F.pad(kernel, (border,) * 4)


def pixel_area(scale: int, fill_factor: float) -> Tensor:
    """Weights (scale,) of the HR pixels in a row that one LR pixel gathers; sum one, float64.

    The light-sensitive area is a square in the middle of the LR pixel.  An HR pixel weighs as much
    as the part of it that lies inside.

    Args:
        scale: HR pixels per LR pixel.
        fill_factor: Side of the area as a share of the LR pixel's, above 0, at most 1.

    """
    middle = torch.arange(scale, dtype=torch.float64) - (scale - 1) / 2
    half = scale * fill_factor / 2
    inside = (middle + 0.5).clamp(max=half) - (middle - 0.5).clamp(min=-half)
    weights = inside.clamp(min=0)
    return weights / weights.sum()


def project(light: Tensor, lens: Tensor, area: Tensor) -> Tensor:
    """What the pixels of a sensor gather of an image; nothing but lens and area averts aliasing.

    The centre of an LR pixel is that of ``bicubic_downsample``: the middle of its HR pixels.

    Args:
        light: (3, H, W), linear in the light; H and W are multiples of the scale.
        lens: Point spread function (k, k) on the HR grid, symmetric about its centre; k is odd.
        area: ``pixel_area``, (scale,).

    Returns:
        (3, H/scale, W/scale), same unit.  Outside the image its border is repeated.

    Raises:
        ValueError: H or W is not a multiple of the scale.

    """
    scale, radius = len(area), lens.shape[-1] // 2
    if light.shape[-2] % scale or light.shape[-1] % scale:
        raise ValueError(f"{tuple(light.shape[-2:])} is not a multiple of the scale {scale}")
    square = torch.outer(area, area)
    kernel = F.conv2d(lens[None, None], square[None, None], padding=scale - 1)
    padded = F.pad(light[:, None], (radius,) * 4, mode="replicate")
    return F.conv2d(padded, kernel.to(light), stride=scale)[:, 0]


def bicubic_area(scale: int) -> Tensor:
    """Weights of the HR pixels in a row that ``bicubic_downsample`` makes one LR pixel of."""
    count = 4 * scale + scale % 2
    weights = cubic((torch.arange(count, dtype=torch.float64) - (count - 1) / 2) / scale)
    return weights / weights.sum()


def kernel_transfer(kernel: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Transfer function (n,) of a kernel (k, m) that is symmetric about its centre.

    Args:
        kernel: Weights; a filter along rows and columns alike may be one row's, (k,).
        across: Frequencies (n,) from left to right, cycles per pixel.
        down: Frequencies (n,) from top to bottom.

    """
    if kernel.ndim == 1:
        return _row_transfer(kernel, across) * _row_transfer(kernel, down)
    height, width = kernel.shape
    y, x = torch.meshgrid(_places(height), _places(width), indexing="ij")
    phase = across[:, None, None] * x + down[:, None, None] * y
    return (kernel * torch.cos(2 * math.pi * phase)).sum(dim=(1, 2))


def _row_transfer(weights: Tensor, frequency: Tensor) -> Tensor:
    phase = frequency[:, None] * _places(len(weights))
    return (weights * torch.cos(2 * math.pi * phase)).sum(dim=1)


def _places(length: int) -> Tensor:
    return torch.arange(length, dtype=torch.float64) - (length - 1) / 2
