"""Demosaicing against loops, on colours it must keep, and its transfer function.

The bilinear interpolation is also tested in ``test_camera.py``.
"""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.demo.mosaic import (
    Demosaicing,
    demosaic,
    demosaicing_transfer,
    interpolate_by_gradients,
    interpolate_mosaic,
)

Array = NDArray[np.float64]


def colour_of(row: int, column: int) -> int:
    """Which channel an RGGB site sees."""
    return [[0, 1], [1, 2]][row % 2][column % 2]


def corrected(sites: Array) -> Array:
    """The paper's formulas, one value after another: bilinear, plus a share of a Laplacian.

    The shares are 1/2 (green), 5/8 (red and blue at green) and 3/4 (red at blue and the reverse).
    """
    _, height, width = sites.shape
    mosaic = np.array([[sites[colour_of(i, j), i, j] for j in range(width)] for i in range(height)])
    padded = np.pad(mosaic, 2, mode="reflect")
    result = np.zeros_like(sites)
    for i in range(height):
        for j in range(width):
            near = {
                (di, dj): padded[i + 2 + di, j + 2 + dj]
                for di in range(-2, 3)
                for dj in range(-2, 3)
            }
            here = near[0, 0]
            far = (near[-2, 0] + near[2, 0] + near[0, -2] + near[0, 2]) / 4
            corners = near[-1, -1] + near[-1, 1] + near[1, -1] + near[1, 1]
            if colour_of(i, j) == 1:
                sides, above = (near[0, -1] + near[0, 1]) / 2, (near[-1, 0] + near[1, 0]) / 2
                level, upright = near[0, -2] + near[0, 2], near[-2, 0] + near[2, 0]
                beside = sides + 5 / 8 * (here - (corners + level - upright / 2) / 5)
                over = above + 5 / 8 * (here - (corners + upright - level / 2) / 5)
                values = (beside, here, over) if i % 2 == 0 else (over, here, beside)
            else:
                edges = (near[-1, 0] + near[1, 0] + near[0, -1] + near[0, 1]) / 4
                green, other = edges + (here - far) / 2, corners / 4 + 3 / 4 * (here - far)
                values = (here, green, other) if i % 2 == 0 else (other, green, here)
            result[:, i, j] = values
    return result


@pytest.mark.parametrize(("height", "width"), [(8, 10), (7, 9), (6, 5), (3, 3)])
def test_gradients_against_a_loop(height: int, width: int) -> None:
    sites = np.random.default_rng(2).normal(size=(3, height, width))
    found = interpolate_by_gradients(torch.from_numpy(sites))
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), corrected(sites), atol=1e-14)


def test_gradients_see_one_colour_per_site() -> None:
    sites, other = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    for i in range(12):
        for j in range(12):
            other[colour_of(i, j), i, j] = sites[colour_of(i, j), i, j]
    assert torch.equal(interpolate_by_gradients(other), interpolate_by_gradients(sites))


@pytest.mark.parametrize("method", ["none", "bilinear", "gradient"])
def test_walls_and_slopes_are_exact(method: Demosaicing) -> None:
    """A wall of any colour up to the border, and slopes of any colour inside."""
    wall = torch.tensor([0.2, 0.5, 0.9]).double()[:, None, None].expand(-1, 10, 12)
    np.testing.assert_allclose(demosaic(wall, method), wall, atol=1e-14)
    y, x = torch.meshgrid(torch.arange(12.0).double(), torch.arange(14.0).double(), indexing="ij")
    slopes = torch.stack([0.1 * x + 0.2 * y, 0.3 * x - 0.1 * y, -0.2 * x + 0.05 * y])
    inside = np.s_[:, 2:-2, 2:-2]
    np.testing.assert_allclose(demosaic(slopes, method)[inside], slopes[inside], atol=1e-12)


def test_methods() -> None:
    sites = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(demosaic(sites, "none"), sites)
    assert torch.equal(demosaic(sites, "bilinear"), interpolate_mosaic(sites))
    assert torch.equal(demosaic(sites, "gradient"), interpolate_by_gradients(sites))


def test_gradients_keep_gray_detail_better() -> None:
    """A gray wave of 0.3 cycles; the error of the bilinear interpolation is more than twice."""
    place = torch.arange(64).double()
    gray = (torch.cos(2 * math.pi * 0.3 * place)[:, None] + torch.zeros(64)).expand(3, -1, -1)
    errors = [
        (demosaic(gray, method) - gray)[:, 4:-4, 4:-4].square().mean().sqrt().item()
        for method in ("bilinear", "gradient")
    ]
    assert errors[0] > 2 * errors[1]


@pytest.mark.parametrize("shape", [(3, 2, 8), (3, 8, 2), (1, 8, 8), (2, 3, 8, 8)])
def test_gradients_of_a_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 3x3, got "):
        interpolate_by_gradients(torch.zeros(shape))


# Transfer


def test_transfer_of_the_bilinear_interpolation() -> None:
    """In closed form: the spectra of the two kernels, one at frequency zero."""
    across, down = torch.tensor([0, 0.1, 0.25, 0.4]).double(), torch.tensor([0, 0.3, 0, 0.4])
    found = demosaicing_transfer("bilinear", torch.ones(3).double(), across, down.double())
    x, y = (np.cos(2 * np.pi * frequency.numpy()) for frequency in (across, down))
    for channel, expected in ((0, (1 + x) * (1 + y) / 4), (1, (2 + x + y) / 4)):
        np.testing.assert_allclose(found[:, channel], expected, atol=1e-7)
    assert torch.equal(found[:, 0], found[:, 2])


@pytest.mark.parametrize("method", ["none", "bilinear", "gradient"])
@pytest.mark.parametrize("colour", [(1.0, 1.0, 1.0), (1.0, -0.5, 0.2)])
@pytest.mark.parametrize(("across", "down"), [(5, 0), (0, 20), (9, 26), (13, -7)])
def test_transfer_of_a_wave(
    method: Demosaicing, colour: tuple[float, float, float], across: int, down: int
) -> None:
    """What the FFT of a demosaiced wave has at the wave's frequency."""
    place = torch.arange(64 + 8).double()
    phase = 2 * math.pi * (down * place[:, None] + across * place) / 64
    sites = torch.cos(phase) * torch.tensor(colour).double()[:, None, None]
    inside = demosaic(sites, method).numpy()[:, 4:-4, 4:-4]
    shift = np.exp(-2j * np.pi * 4 * (across + down) / 64)
    coefficient = np.fft.fft2(inside)[:, down % 64, across % 64] * shift / (64 * 64 / 2)
    waves = torch.tensor([across / 64]).double(), torch.tensor([down / 64]).double()
    found = demosaicing_transfer(method, torch.tensor(colour).double(), *waves)[0]
    np.testing.assert_allclose(found, coefficient.real, atol=1e-6)
    np.testing.assert_allclose(coefficient.imag, 0, atol=1e-6)
