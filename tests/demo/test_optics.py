"""Lens, pixel area and sampling against SciPy, and transfer functions against FFTs and waves."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import convolve, gaussian_filter

from pipeline.demo.optics import (
    bicubic_area,
    blur_kernel,
    kernel_transfer,
    pixel_area,
    project,
    with_halo,
)
from pipeline.images.filters import bicubic_downsample

Array = NDArray[np.float64]
POINT = torch.ones(1, 1, dtype=torch.float64)


def light(height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).random((3, height, width)))


def wave(height: int, width: int, across: float, down: float) -> torch.Tensor:
    """A cosine (3, H, W) around zero, frequencies in cycles per pixel."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.cos(2 * math.pi * (across * x + down * y).double()).expand(3, -1, -1)


def amplitude(plane: Array, across: float, down: float) -> float:
    """Size of the wave of one frequency in a plane, by least squares."""
    y, x = np.mgrid[: plane.shape[0], : plane.shape[1]]
    phase = 2 * np.pi * (across * x + down * y).ravel()
    design = np.stack([np.cos(phase), np.sin(phase), np.ones_like(phase)], axis=1)
    cosine, sine, _ = np.linalg.lstsq(design, plane.ravel(), rcond=None)[0]
    return math.hypot(cosine, sine)


# Pixel area


@pytest.mark.parametrize(
    ("scale", "fill_factor", "expected"),
    [
        (4, 1.0, [1 / 4, 1 / 4, 1 / 4, 1 / 4]),
        (4, 0.75, [1 / 6, 1 / 3, 1 / 3, 1 / 6]),  # three of four pixels wide
        (4, 0.5, [0, 1 / 2, 1 / 2, 0]),
        (3, 0.5, [1 / 6, 2 / 3, 1 / 6]),  # one and a half pixels wide
        (3, 0.1, [0, 1, 0]),
        (2, 0.3, [1 / 2, 1 / 2]),
        (1, 0.7, [1]),
    ],
)
def test_pixel_area_by_hand(scale: int, fill_factor: float, expected: list[float]) -> None:
    assert pixel_area(scale, fill_factor).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("fill_factor", [0.35, 0.8, 1.0])
def test_pixel_area_of_points_in_the_square(scale: int, fill_factor: float) -> None:
    """A fine comb of points over the LR pixel: which HR pixel each point inside falls into."""
    place = (np.arange(10000) + 0.5) / 10000 * scale
    inside = np.abs(place - scale / 2) < fill_factor * scale / 2
    counts = np.bincount(place[inside].astype(int), minlength=scale)
    np.testing.assert_allclose(pixel_area(scale, fill_factor), counts / counts.sum(), atol=1e-3)


# Halo


def test_halo() -> None:
    """Sum, and second moments that are the weighted mean of those of core and halo."""
    core = blur_kernel(2.0, 1.0, 30.0)
    kernel = with_halo(core, 0.2, 6.0).numpy()
    assert kernel.shape == (49, 49) and kernel.sum() == pytest.approx(1)
    y, x = np.mgrid[-24:25, -24:25]
    c, s = math.cos(math.pi / 6), math.sin(math.pi / 6)
    along, across = (kernel * (x * c + y * s) ** 2).sum(), (kernel * (y * c - x * s) ** 2).sum()
    assert along == pytest.approx(0.8 * 4 + 0.2 * 36, rel=0.01)
    assert across == pytest.approx(0.8 * 1 + 0.2 * 36, rel=0.01)


def test_no_halo() -> None:
    core = blur_kernel(2.0, 1.0, 30.0)
    assert torch.equal(with_halo(core, 0.0, 20.0), core)


def test_a_halo_narrower_than_the_core() -> None:
    core = blur_kernel(3.0, 3.0, 0.0)
    kernel = with_halo(core, 0.5, 0.5)
    assert kernel.shape == core.shape and kernel.sum() == pytest.approx(1)


# Projection


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_projection_against_scipy(scale: int) -> None:
    """Lens first, then the mean of blocks."""
    image = light(16 * scale, 20 * scale)
    lens = with_halo(blur_kernel(1.8, 0.9, 25.0), 0.1, 4.0)
    found = project(image, lens, pixel_area(scale, 1.0))
    assert found.shape == (3, 16, 20) and found.dtype == torch.float64
    blurred = convolve(image.numpy(), lens.numpy()[None], mode="nearest")
    blocks = blurred.reshape(3, 16, scale, 20, scale).mean(axis=(2, 4))
    np.testing.assert_allclose(found, blocks, atol=1e-12)


def test_projection_with_a_small_pixel_area() -> None:
    image = light(32, 40)
    found = project(image, blur_kernel(1.5, 1.5, 0), pixel_area(4, 0.5))
    blurred = gaussian_filter(image.numpy(), (0, 1.5, 1.5), mode="nearest", truncate=4)
    inner = blurred.reshape(3, 8, 4, 10, 4)[:, :, 1:3, :, 1:3].mean(axis=(2, 4))
    np.testing.assert_allclose(found, inner, atol=1e-9)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pixels_lie_where_bicubic_has_them(scale: int) -> None:
    """On a slope the value of a pixel is its place."""
    slope = torch.arange(24.0 * scale) / (24 * scale)
    image = (slope[:, None] + 0.5 * slope).expand(3, -1, -1)
    found = project(image, blur_kernel(1.0, 1.0, 0), pixel_area(scale, 0.8))
    inside = np.s_[:, 4:-4, 4:-4]
    expected = bicubic_downsample(image, scale)[inside]
    np.testing.assert_allclose(found[inside], expected, atol=1e-6)


def test_nothing_averts_aliasing_but_the_pixel_area() -> None:
    """A wave of 0.75 cycles comes out at 0.25, as strong as the area leaves it."""
    found = project(wave(128, 256, 0.75 / 4, 0), POINT, pixel_area(4, 1.0))[0].numpy()
    left = math.sin(math.pi * 0.75) / (4 * math.sin(math.pi * 0.75 / 4))
    assert amplitude(found, 0.25, 0) == pytest.approx(left, abs=1e-6)
    removed = bicubic_downsample(wave(128, 256, 0.75 / 4, 0), 4)[0].numpy()
    assert amplitude(removed, 0.25, 0) < 0.25 * left


def test_projection_of_a_wrong_size() -> None:
    with pytest.raises(ValueError, match="is not a multiple of the scale 4"):
        project(light(30, 40), POINT, pixel_area(4, 1.0))


# Transfer functions


def test_transfer_of_a_kernel_against_the_fft() -> None:
    kernel = with_halo(blur_kernel(1.5, 0.8, 40.0), 0.1, 3.0)
    spectrum = np.fft.fft2(kernel.numpy(), (64, 64))
    down, across = np.array([0, 3, 7, 12, 20]), np.array([0, 5, 0, 9, 31])
    found = kernel_transfer(kernel, torch.from_numpy(across / 64), torch.from_numpy(down / 64))
    centred = spectrum[down, across] * np.exp(2j * np.pi * (down + across) / 64 * 12)
    np.testing.assert_allclose(found, centred.real, atol=1e-12)
    np.testing.assert_allclose(centred.imag, 0, atol=1e-12)


@pytest.mark.parametrize(("across", "down"), [(0.1, 0.0), (0.0, 0.25), (0.2, -0.15), (0.4, 0.3)])
@pytest.mark.parametrize("fill_factor", [0.6, 1.0])
def test_transfer_of_a_projected_wave(across: float, down: float, fill_factor: float) -> None:
    lens, area = blur_kernel(2.0, 1.0, 30.0), pixel_area(4, fill_factor)
    image = wave(256, 256, across / 4, down / 4)
    seen = amplitude(project(image, lens, area)[0].numpy()[4:-4, 4:-4], across, down)
    frequency = torch.tensor([across / 4]).double(), torch.tensor([down / 4]).double()
    found = kernel_transfer(lens, *frequency) * kernel_transfer(area, *frequency)
    assert found.item() == pytest.approx(seen, abs=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("across", "down"), [(0.1, 0.0), (0.2, 0.15), (0.0, 0.45)])
def test_transfer_of_bicubic(scale: int, across: float, down: float) -> None:
    image = wave(48 * scale, 48 * scale, across / scale, down / scale)
    small = bicubic_downsample(image, scale)[0].numpy()[4:-4, 4:-4]
    frequency = torch.tensor([across]).double() / scale, torch.tensor([down]).double() / scale
    found = kernel_transfer(bicubic_area(scale), *frequency)
    assert found.item() == pytest.approx(amplitude(small, across, down), abs=1e-6)
