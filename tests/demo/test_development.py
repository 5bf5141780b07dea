"""The steps of the image processor, each against its definition, SciPy or a sum by hand."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter, uniform_filter

from pipeline.demo.development import (
    box,
    gaussian_taps,
    luma_of,
    sharpen,
    smooth_chroma,
    spare_edges,
    with_contrast,
)
from pipeline.images.light import to_encoded, to_linear

Array = NDArray[np.float64]
WEIGHTS = np.array([0.299, 0.587, 0.114])


def picture(seed: int = 3) -> Array:
    return np.random.default_rng(seed).random((3, 20, 26))


# Tone


def test_srgb_against_its_definition() -> None:
    light = np.linspace(0, 1, 1001)
    expected = [
        12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
        for value in light
    ]
    found = to_encoded(torch.from_numpy(light))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(to_linear(found), light, atol=1e-8)


def test_known_values_of_srgb() -> None:
    """Middle gray, and the ends."""
    assert to_linear(torch.tensor([0.0, 0.5, 1.0])).tolist() == pytest.approx([0, 0.214041, 1])
    assert to_encoded(torch.tensor([0.0, 0.18, 1.0])).tolist() == pytest.approx([0, 0.461356, 1])
    levels = torch.arange(256) / 255
    np.testing.assert_allclose(to_encoded(to_linear(levels)), levels, atol=1e-6)


def test_contrast() -> None:
    """By hand at quarters; its slopes; and it never falls."""
    quarters = torch.tensor([0, 0.25, 0.5, 0.75, 1]).double()
    expected = [0, 0.15625, 0.5, 0.84375, 1]
    assert with_contrast(quarters, 1.0).tolist() == pytest.approx(expected)
    halfway = [(a + b) / 2 for a, b in zip(expected, quarters.tolist(), strict=True)]
    assert with_contrast(quarters, 0.5).tolist() == pytest.approx(halfway)
    assert torch.equal(with_contrast(quarters, 0.0), quarters)
    places = torch.linspace(0, 1, 10001).double()
    slope = torch.diff(with_contrast(places, 0.4)) * 10000
    assert slope[5000].item() == pytest.approx(1.2, abs=1e-3)
    assert slope[0].item() == pytest.approx(0.6, abs=1e-3)
    assert slope.min() > 0


# Chroma


@pytest.mark.parametrize("deviation", [0.5, 1.0, 2.0])
def test_chroma_smoothing_against_scipy(deviation: float) -> None:
    image = picture()
    luma = np.einsum("c,chw->hw", WEIGHTS, image)
    blur = (0, deviation, deviation)
    expected = luma + gaussian_filter(image - luma, blur, mode="nearest", truncate=4)
    found = smooth_chroma(torch.from_numpy(image), deviation)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(luma_of(found)[0], luma, atol=1e-6)


def test_no_chroma_smoothing() -> None:
    image = torch.from_numpy(picture())
    assert torch.equal(smooth_chroma(image, 0.0), image)
    assert gaussian_taps(0.0).tolist() == [0, 1, 0]


# Denoising


def test_box_against_scipy() -> None:
    planes = picture()
    expected = uniform_filter(planes, (0, 5, 5), mode="nearest")
    np.testing.assert_allclose(box(torch.from_numpy(planes), 2), expected, atol=1e-12)


def test_guided_filter_as_a_regression() -> None:
    """In every window the best line a I + b under a penalty on a; the mean over the windows."""
    luma = np.random.default_rng(4).random((9, 9))
    variance, radius = 0.02, 1
    lines = np.zeros((2, 9, 9))
    for i in range(1, 8):
        for j in range(1, 8):
            window = luma[i - 1 : i + 2, j - 1 : j + 2].ravel()
            design = np.stack([window, np.ones(9)], axis=1)
            penalty = np.diag([9 * variance, 0])  # sum of (a I + b - I)^2 + variance a^2
            lines[:, i, j] = np.linalg.solve(design.T @ design + penalty, design.T @ window)
    found = spare_edges(torch.from_numpy(luma)[None], torch.full((1, 9, 9), variance), radius)
    for i in range(2, 7):
        for j in range(2, 7):
            slope, level = lines[:, i - 1 : i + 2, j - 1 : j + 2].mean(axis=(1, 2))
            assert found[0, i, j].item() == pytest.approx(slope * luma[i, j] + level, abs=1e-6)


def test_denoising_keeps_an_edge_and_takes_the_noise() -> None:
    """A step of 0.4 under noise of 0.02: the flat sides lose 3/4 of it, the step stays."""
    clean = np.full((1, 96, 96), 0.3)
    clean[:, :, 48:] = 0.7
    noisy = clean + np.random.default_rng(5).normal(0, 0.02, clean.shape)
    variance = torch.full((1, 96, 96), (2.5 * 0.02) ** 2)
    found = spare_edges(torch.from_numpy(noisy), variance, 3).numpy()
    left = found[:, 8:-8, 8:36]
    assert noisy[:, 8:-8, 8:36].std() > 4 * left.std()
    assert left.mean() == pytest.approx(0.3, abs=0.002)
    profile = found[0, 8:-8].mean(axis=0)
    assert profile[48] - profile[47] == pytest.approx(0.4, rel=0.1)
    blurred = gaussian_filter(clean[0, 0], 1.0)  # as much noise would be left
    assert blurred[48] - blurred[47] < 0.2


def test_denoising_without_noise() -> None:
    """Nothing to take, or nothing but a wall: no number is lost."""
    luma = torch.from_numpy(picture()[:1])
    none = torch.zeros_like(luma)
    np.testing.assert_allclose(spare_edges(luma, none, 2), luma, atol=1e-12)
    wall = torch.full_like(luma, 0.4)
    np.testing.assert_allclose(spare_edges(wall, none, 2), wall, atol=1e-12)


# Sharpening


def test_unsharp_mask_by_hand() -> None:
    """A step under three taps: radius 0.3 has weights of 1/17 or so at a distance of one."""
    step = torch.zeros(3, 9, 16, dtype=torch.float64) + 0.2
    step[:, :, 8:] = 0.8
    near = math.exp(-1 / (2 * 0.3**2))
    far = math.exp(-4 / (2 * 0.3**2))
    beside = (near + far) / (1 + 2 * near + 2 * far)
    found = sharpen(step, 1.5, 0.3, None)[0, 4]
    assert found[7].item() == pytest.approx(0.2 - 1.5 * 0.6 * beside, abs=1e-7)
    assert found[8].item() == pytest.approx(0.8 + 1.5 * 0.6 * beside, abs=1e-7)
    assert found[3].item() == pytest.approx(0.2) and found[12].item() == pytest.approx(0.8)


def test_unsharp_mask_against_scipy() -> None:
    """Every channel gets the same of the luma; the colour differences stay."""
    image = picture()
    luma = np.einsum("c,chw->hw", WEIGHTS, image)
    added = 0.8 * (luma - gaussian_filter(luma, 1.0, mode="nearest", truncate=4))
    found = sharpen(torch.from_numpy(image), 0.8, 1.0, None)
    np.testing.assert_allclose(found, image + added, atol=1e-6)


@pytest.mark.parametrize("limit", [0.0, 0.03])
def test_limit_of_the_overshoot(limit: float) -> None:
    image = picture()
    luma = np.einsum("c,chw->hw", WEIGHTS, image)
    free = luma_of(sharpen(torch.from_numpy(image), 2.0, 1.0, None))[0].numpy()
    highest = maximum_filter(luma, 3, mode="nearest") + limit
    lowest = minimum_filter(luma, 3, mode="nearest") - limit
    found = luma_of(sharpen(torch.from_numpy(image), 2.0, 1.0, limit))[0]
    np.testing.assert_allclose(found, np.clip(free, lowest, highest), atol=1e-6)
    assert (free > highest).any() and (free < lowest).any()


def test_no_sharpening() -> None:
    image = torch.from_numpy(picture())
    assert torch.equal(sharpen(image, 0.0, 1.0, 0.0), image)
