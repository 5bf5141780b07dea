"""Fixed image filters: bicubic resampling, Gaussian low- and high-pass, the gradient map (Eq. 11).

All take float tensors (..., C, H, W).
"""

import math
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Borders = Literal["valid", "zeros"]
"""What a filter does at the border of an image.  ``valid``: its result is smaller, the pixels for
which the filter lies inside the image.  ``zeros``: its result has the size of the image, which
zeros surround; of the gradient map, the last row and the last column are zero."""


def cubic(t: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -1/2."""
    t = t.abs()
    inner = 1.5 * t**3 - 2.5 * t**2 + 1
    outer = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return torch.where(t <= 1, inner, torch.where(t < 2, outer, torch.zeros_like(t)))


@lru_cache(maxsize=64)
def _taps(length: int, out_length: int) -> tuple[Tensor, Tensor]:
    """Source positions and weights (taps, out_length) of a bicubic resampling along one axis.

    When the axis shrinks the kernel is stretched by the same factor (antialiasing).  Positions
    outside the axis are mirrored with the edge repeated, as MATLAB's ``imresize`` does.
    """
    stretch = max(1.0, length / out_length)
    centre = (torch.arange(out_length, dtype=torch.float64) + 0.5) * (length / out_length) - 0.5
    count = math.ceil(4 * stretch) + 2
    first = torch.floor(centre - 2 * stretch).long()
    position = first + torch.arange(count)[:, None]
    weight = cubic((position - centre) / stretch)
    weight = weight / weight.sum(dim=0)
    used = (weight != 0).any(dim=1)
    return mirrored(position[used], length), weight[used]


def mirrored(position: Tensor, length: int) -> Tensor:
    """Positions inside [0, length) of any positions on an axis mirrored with its edge repeated."""
    inside = position % (2 * length)
    return torch.where(inside < length, inside, 2 * length - 1 - inside)


def _resample_last(image: Tensor, out_length: int) -> Tensor:
    positions, weights = _taps(image.shape[-1], out_length)
    positions = positions.to(image.device, non_blocking=True)
    weights = weights.to(image, non_blocking=True)
    result = image.index_select(-1, positions[0]) * weights[0]
    for position, weight in zip(positions[1:], weights[1:], strict=True):
        result = result.addcmul_(image.index_select(-1, position), weight)
    return result


def bicubic_resize(image: Tensor, height: int, width: int) -> Tensor:
    """Resize with the antialiased bicubic kernel of MATLAB's ``imresize`` (a = -1/2).

    Args:
        image: (..., H, W), floating point.  No gradient flows through it.
        height: Rows of the result.
        width: Columns of the result.

    Returns:
        (..., height, width).  Not clamped: the kernel overshoots at edges by a few per cent.

    """
    columns = _resample_last(image, width)
    return _resample_last(columns.transpose(-1, -2), height).transpose(-1, -2)


def bicubic_downsample(image: Tensor, scale: int) -> Tensor:
    """The bicubic reference: an HR image (..., H, W) made ``scale`` times smaller, same unit.

    Raises:
        ValueError: H or W is not a multiple of the scale.

    """
    height, width = image.shape[-2:]
    if height % scale or width % scale:
        raise ValueError(f"{height}x{width} is not a multiple of the scale {scale}")
    return bicubic_resize(image, height // scale, width // scale)


def bicubic_upsample(image: Tensor, scale: int) -> Tensor:
    """An LR image (..., H, W) made ``scale`` times larger, in the same unit."""
    height, width = image.shape[-2:]
    return bicubic_resize(image, height * scale, width * scale)


def gaussian_window(size: int, sigma: float) -> Tensor:
    """A normalised 1-D Gaussian of ``size`` taps, float64."""
    distance = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    window = torch.exp(-(distance**2) / (2 * sigma**2))
    return window / window.sum()


def gaussian_blur(image: Tensor, size: int, sigma: float, borders: Borders = "valid") -> Tensor:
    """Gaussian low-pass of (N, C, H, W).

    The result is (N, C, H - size + 1, W - size + 1), or with zeros at the borders, where the size
    of the window must be odd, (N, C, H, W).
    """
    channels, padding = image.shape[1], size // 2 if borders == "zeros" else 0
    window = gaussian_window(size, sigma).to(image, non_blocking=True).expand(channels, 1, -1)
    rows = F.conv2d(image, window[:, :, None, :], padding=(0, padding), groups=channels)
    return F.conv2d(rows, window[:, :, :, None], padding=(padding, 0), groups=channels)


HIGH_PASS_SIZE = 5


def low_pass(image: Tensor, size: int, borders: Borders = "valid") -> Tensor:
    """Gaussian low-pass as the released code uses it: sigma is a sixth of the size.

    Args:
        image: (N, C, H, W).
        size: Taps of the window, odd; 5 for LR images, 9 for SR images.
        borders: See ``Borders``.

    Returns:
        (N, C, H - size + 1, W - size + 1), or with zeros at the borders (N, C, H, W).

    """
    return gaussian_blur(image, size, size / 6, borders)


def high_pass(image: Tensor, borders: Borders = "valid") -> Tensor:
    """F of Eq. 5 and 6: the input that the DSN discriminator gets of an LR image.

    Args:
        image: (N, C, H, W) in [0, 1].
        borders: See ``Borders``.

    Returns:
        ``0.5 + 0.5 (x - G(x))``, G the 5x5 Gaussian of sigma 5/6; in [0, 1], 0.5 on flat areas.
        (N, C, H - 4, W - 4), or with zeros at the borders (N, C, H, W): there G(x) is too small,
        so a bright image has a bright ring two pixels wide.

    """
    inner = image
    if borders == "valid":
        cut = HIGH_PASS_SIZE // 2
        inner = image[..., cut:-cut, cut:-cut]
    return 0.5 + 0.5 * (inner - low_pass(image, HIGH_PASS_SIZE, borders))


def _differences(image: Tensor) -> tuple[Tensor, Tensor]:
    """Forward differences down and to the right, (..., H - 1, W - 1), where both exist."""
    down = image[..., 1:, :-1] - image[..., :-1, :-1]
    right = image[..., :-1, 1:] - image[..., :-1, :-1]
    return down, right


def _of_full_size(inner: Tensor, borders: Borders) -> Tensor:
    """A gradient map, with zeros in a last row and column if the borders ask for them."""
    return F.pad(inner, (0, 1, 0, 1)) if borders == "zeros" else inner


def gradient_map(image: Tensor, borders: Borders = "valid") -> Tensor:
    """G of Eq. 11: the L2 norm of the forward differences of every channel.

    Args:
        image: (..., H, W).
        borders: See ``Borders``.

    Returns:
        (..., H - 1, W - 1), where both differences exist, or with zeros at the borders (..., H, W).
        The subgradient where both are zero is zero, so flat areas give no NaN.

    """
    down, right = _differences(image)
    squared = down.square() + right.square()
    flat = squared == 0
    norm = torch.where(flat, torch.ones_like(squared), squared).sqrt().masked_fill(flat, 0)
    return _of_full_size(norm, borders)


def gradient_map_l1(image: Tensor, borders: Borders = "valid") -> Tensor:
    """The gradient map of the released code: |dx| + |dy|, the L1 norm instead of that of Eq. 11.

    Args:
        image: (..., H, W).
        borders: See ``Borders``.

    Returns:
        (..., H - 1, W - 1), where both differences exist, or with zeros at the borders (..., H, W).

    """
    down, right = _differences(image)
    return _of_full_size(down.abs() + right.abs(), borders)
