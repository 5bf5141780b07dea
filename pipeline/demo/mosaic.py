"""Bayer mosaics (RGGB), and the interpolation of what they have not seen."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Demosaicing = Literal["none", "bilinear", "gradient"]
"""None: every pixel sees all colours.  Bilinear, or gradient-corrected."""

BILINEAR = ((1.0, 2.0, 1.0), (2.0, 4.0, 2.0), (1.0, 2.0, 1.0))
"""Kernel that interpolates red and blue from a quarter of the sites, times 4."""
BILINEAR_GREEN = ((0.0, 1.0, 0.0), (1.0, 4.0, 1.0), (0.0, 1.0, 0.0))
"""Kernel that interpolates green from half of the sites, times 4."""

GREEN_AT_OTHERS = (
    (0, 0, -1, 0, 0),
    (0, 0, 2, 0, 0),
    (-1, 2, 4, 2, -1),
    (0, 0, 2, 0, 0),
    (0, 0, -1, 0, 0),
)
"""Green at red and blue sites, times 8: bilinear plus half of the site's own Laplacian."""
BESIDE_AT_GREEN = (
    (0, 0, 0.5, 0, 0),
    (0, -1, 0, -1, 0),
    (-1, 4, 5, 4, -1),
    (0, -1, 0, -1, 0),
    (0, 0, 0.5, 0, 0),
)
"""The colour of the left and right neighbours at a green site, times 8."""
DIAGONAL = (
    (0, 0, -1.5, 0, 0),
    (0, 2, 0, 2, 0),
    (-1.5, 0, 6, 0, -1.5),
    (0, 2, 0, 2, 0),
    (0, 0, -1.5, 0, 0),
)
"""Red at blue sites and blue at red ones, times 8."""
SIDE = 17
"""Rows and columns of the image of one site whose interpolation is looked at."""


def seen_sites(sites: Tensor) -> Tensor:
    """Values (3, H, W) at the sites of an RGGB mosaic; the others are zero."""
    seen = torch.zeros_like(sites)
    seen[0, ::2, ::2] = sites[0, ::2, ::2]
    seen[1, ::2, 1::2] = sites[1, ::2, 1::2]
    seen[1, 1::2, ::2] = sites[1, 1::2, ::2]
    seen[2, 1::2, 1::2] = sites[2, 1::2, 1::2]
    return seen


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
    _require_shape(sites, 2)
    seen = seen_sites(sites)
    kernels = torch.tensor([BILINEAR, BILINEAR_GREEN, BILINEAR])[:, None].to(sites) / 4
    padded = F.pad(seen[None], (1, 1, 1, 1), mode="reflect")  # keeps even and odd apart
    return F.conv2d(padded, kernels, groups=3)[0]


def interpolate_by_gradients(sites: Tensor) -> Tensor:
    """Keep the values at the sites and interpolate the others with a correction by gradients.

    The bilinear value is corrected by the Laplacian of the colour that the site has seen, since
    edges are mostly in all colours.  Malvar, He and Cutler, High-quality linear interpolation for
    demosaicing of Bayer-patterned color images, ICASSP 2004.

    Args:
        sites: (3, H, W), any unit, the same for all colours (white-balanced); H and W at least 3.

    Returns:
        The same shape.  Exact where every channel is linear.

    Raises:
        ValueError: The shape is another.

    """
    _require_shape(sites, 3)
    plane = seen_sites(sites).sum(dim=0)
    beside = torch.tensor(BESIDE_AT_GREEN)
    kernels = torch.stack([torch.tensor(GREEN_AT_OTHERS), beside, beside.T, torch.tensor(DIAGONAL)])
    padded = F.pad(plane[None, None], (2, 2, 2, 2), mode="reflect")
    green, beside, above, diagonal = F.conv2d(padded, kernels[:, None].to(sites) / 8)[0]
    result = plane.expand(3, -1, -1).clone()
    result[1, ::2, ::2], result[1, 1::2, 1::2] = green[::2, ::2], green[1::2, 1::2]
    for channel, row in ((0, 0), (2, 1)):  # the first row and column of the colour
        other = 1 - row
        result[channel, row::2, other::2] = beside[row::2, other::2]
        result[channel, other::2, row::2] = above[other::2, row::2]
        result[channel, other::2, other::2] = diagonal[other::2, other::2]
    return result


def demosaic(sites: Tensor, method: Demosaicing) -> Tensor:
    """See with a mosaic and interpolate; see ``interpolate_mosaic``."""
    match method:
        case "none":
            return sites
        case "bilinear":
            return interpolate_mosaic(sites)
        case "gradient":
            return interpolate_by_gradients(sites)


def demosaicing_transfer(
    method: Demosaicing, colour: Tensor, across: Tensor, down: Tensor
) -> Tensor:
    """What a mosaic and its interpolation leave of a wave of one colour, without its aliases.

    The interpolation is linear, but another at each of the four sites.  The part of its answer that
    has the frequency of the wave is the mean of the transfer functions of the four.

    Args:
        method: The interpolation.
        colour: Red, green and blue of the wave, (3,), float64.
        across: Frequencies (n,) from left to right, cycles per LR pixel.
        down: Frequencies (n,) from top to bottom.

    Returns:
        Answers (n, 3) in red, green and blue; at frequency zero it is the colour.

    """
    place = torch.arange(SIDE, dtype=torch.float64)
    answer = torch.zeros(len(across), 3, dtype=torch.complex128)
    for row, column in ((8, 8), (8, 9), (9, 8), (9, 9)):
        site = torch.zeros(3, SIDE, SIDE, dtype=torch.float64)
        site[:, row, column] = colour
        x, y = place - column, place - row
        waves = torch.einsum(
            "ny,nx->nyx",
            torch.exp(-2j * math.pi * down[:, None] * y),
            torch.exp(-2j * math.pi * across[:, None] * x),
        )
        image = demosaic(site, method).to(waves)
        answer += torch.einsum("nyx,cyx->nc", waves, image) / 4
    return answer.real


def _require_shape(sites: Tensor, least: int) -> None:
    if sites.ndim != 3 or sites.shape[0] != 3 or min(sites.shape) < least:
        raise ValueError(
            f"sites must be (3, H, W) of at least {least}x{least}, got {tuple(sites.shape)}"
        )
