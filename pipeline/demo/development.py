"""Steps that turn a demosaiced image into a photograph: smoothing, denoising, tone, sharpening.

Luma is that of JPEG (ITU-R BT.601), in linear light as well as behind the tone curve.  Outside an
image its border is repeated.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.images.filters import gaussian_blur, gaussian_window
from pipeline.sampling.jpeg import TO_YCBCR

LUMA = torch.tensor(TO_YCBCR[0])[:, None, None]
"""Weights of red, green and blue in the luma, (3, 1, 1)."""
TINY = 1e-20
"""Variance that stands for none in a quotient."""


def luma_of(image: Tensor) -> Tensor:
    """Luma (1, H, W) of an RGB image (3, H, W)."""
    return (image * LUMA.to(image)).sum(dim=0, keepdim=True)


def with_contrast(encoded: Tensor, contrast: float) -> Tensor:
    """A tone curve in the shape of an S: black, middle gray and white stay.

    Args:
        encoded: Values in [0, 1].
        contrast: From 0 to 1; the slope is 1 + contrast / 2 at middle gray and 1 - contrast at
            black and white.

    """
    smooth_step = encoded**2 * (3 - 2 * encoded)
    return torch.lerp(encoded, smooth_step, contrast)


def gaussian_taps(deviation: float) -> Tensor:
    """The normalised window, float64, that ``gaussian`` filters rows and columns with."""
    return gaussian_window(2 * max(math.ceil(4 * deviation), 1) + 1, max(deviation, 1e-3))


def gaussian(planes: Tensor, deviation: float) -> Tensor:
    """Gaussian low-pass of (C, H, W) by a standard deviation in pixels, above zero."""
    size = len(gaussian_taps(deviation))
    padded = F.pad(planes[None], (size // 2,) * 4, mode="replicate")
    return gaussian_blur(padded, size, deviation)[0]


def smooth_chroma(image: Tensor, deviation: float) -> Tensor:
    """Low-pass the differences of the channels (3, H, W) from their luma, which stays."""
    if not deviation:
        return image
    luma = luma_of(image)
    return luma + gaussian(image - luma, deviation)


def box(planes: Tensor, radius: int) -> Tensor:
    """Mean of (C, H, W) over squares of 2 radius + 1 pixels."""
    padded = F.pad(planes[None], (radius,) * 4, mode="replicate")
    return F.avg_pool2d(padded, 2 * radius + 1, stride=1)[0]


def spare_edges(luma: Tensor, variance: Tensor, radius: int) -> Tensor:
    """Denoise a luma by the guided filter with itself as the guide.

    What varies less than the given variance is taken for noise and flattened, what varies more
    stays.  He, Sun and Tang, Guided image filtering, IEEE TPAMI 35(6), 2013.

    Args:
        luma: (1, H, W).
        variance: The filter's regularisation (1, H, W), in the unit of the luma, squared.
        radius: Of the square window, in pixels.

    """
    mean = box(luma, radius)
    spread = (box(luma.square(), radius) - mean.square()).clamp(min=0)
    slope = spread / (spread + variance).clamp(min=TINY)
    return box(slope, radius) * luma + box((1 - slope) * mean, radius)


def sharpen(image: Tensor, amount: float, radius: float, limit: float | None) -> Tensor:
    """Unsharp mask on the luma: its difference from its low-pass is added to all channels.

    Args:
        image: (3, H, W).
        amount: Factor of the difference.
        radius: Standard deviation of the low-pass in pixels, above zero.
        limit: How far the luma may leave the range of its 3x3 neighbours, in the unit of the
            image; None: as far as it likes.

    """
    if not amount:
        return image
    luma = luma_of(image)
    sharp = luma + amount * (luma - gaussian(luma, radius))
    if limit is not None:
        highest = F.max_pool2d(luma, 3, stride=1, padding=1)
        lowest = -F.max_pool2d(-luma, 3, stride=1, padding=1)
        sharp = sharp.clamp(min=lowest - limit, max=highest + limit)
    return image + (sharp - luma)
