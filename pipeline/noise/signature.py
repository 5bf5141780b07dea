"""How well generated LR images agree with real LR images that are not their pairs.

A ``Signature`` is what is counted in a pile of images; two piles are compared by the Wasserstein
distance of their high-pass values and by the distance of their power spectra.  Everything is in
gray levels (0 to 255).

Content counts as well: edges and textures are in both scores.  The distance of one half of the
real images from the other is the yardstick; only what lies well above it is a difference of the
noise.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.images.filters import HIGH_PASS_SIZE, high_pass
from pipeline.noise.estimate import ROUNDING

Floats = NDArray[np.float64]

BIN = 0.25
"""Width of a bin of the high-pass histogram, in gray levels."""
HALF = 800
"""Bins to either side of the one at zero: up to 200 gray levels.  No image in [0, 255] goes beyond:
the high-pass weighs its own pixel with 1 - 0.23, so it stays under 197."""
BINS = 2 * HALF + 1
WINDOW = 16
"""Side in pixels of the windows whose power is taken."""
FREQUENCIES = np.arange(1, 12) / WINDOW
"""Radial frequencies of a spectrum in cycles per pixel.  Each stands for the ring of a width of
1/16 around it; those above 0.5 hold only the corners of the frequency plane, up to 0.707."""
RADII = len(FREQUENCIES)


@dataclass(frozen=True, eq=False)
class Signature:
    """What was counted in some LR images; parts add up, in any grouping."""

    high_pass: NDArray[np.int64]
    """(3, BINS): how often each high-pass value occurs in each channel.  Bin i holds the values
    nearest to (i - HALF) BIN gray levels; the ends also hold what lies beyond."""
    power: Floats
    """(3, RADII): sums over the windows of their radial power, in gray levels squared."""
    windows: int
    """How many windows were summed."""

    def __add__(self, other: "Signature") -> "Signature":
        return Signature(
            self.high_pass + other.high_pass,
            self.power + other.power,
            self.windows + other.windows,
        )


def signature(image: NDArray[np.floating]) -> Signature:
    """Count one LR image.

    Args:
        image: (3, H, W) in gray levels, finite.

    Returns:
        The high-pass values of all pixels but the outer two, and the power of the windows of 16
        by 16 pixels side by side from the upper left corner.  An image under 5 pixels gives no
        high-pass values, one under 16 pixels no windows.

    Raises:
        ValueError: The image has another shape or is not finite.

    """
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"the image must be (3, H, W), got {image.shape}")
    if not np.isfinite(image).all():
        raise ValueError("the image must be finite")
    pixels = np.array(image, dtype=np.float64)
    blocks = cut(pixels)
    power = _rings(_periodogram(blocks)) / _white_noise()
    return Signature(_histogram(pixels), power.sum(axis=0), len(blocks))


def high_pass_values(image: Floats) -> Floats:
    """Images (N, 3, H, W) less their Gaussian blur, that of ``high_pass``: (N, 3, H - 4, W - 4)."""
    return np.asarray(2 * high_pass(torch.from_numpy(image)).numpy() - 1)


def cut(image: NDArray[np.floating]) -> Floats:
    """Windows of an image (3, H, W) side by side, row by row: (n, 3, 16, 16)."""
    rows, columns = image.shape[1] // WINDOW, image.shape[2] // WINDOW
    inner = image[:, : rows * WINDOW, : columns * WINDOW]
    blocks = inner.reshape(3, rows, WINDOW, columns, WINDOW).transpose(1, 3, 0, 2, 4)
    return np.asarray(blocks.reshape(-1, 3, WINDOW, WINDOW), dtype=np.float64)


def _histogram(pixels: Floats) -> NDArray[np.int64]:
    """Counts (3, BINS) of the high-pass values of an image."""
    if min(pixels.shape[1:]) < HIGH_PASS_SIZE:
        return np.zeros((3, BINS), dtype=np.int64)
    nearest = np.rint(high_pass_values(pixels[None])[0] / BIN)
    index = np.clip(nearest, -HALF, HALF).astype(np.int64) + HALF
    return np.stack([np.bincount(channel.ravel(), minlength=BINS) for channel in index])


def _periodogram(windows: Floats) -> Floats:
    """|FFT|^2 of windows (..., 16, 16), without their plane of least squares, under a Hann window.

    The plane is what shading and blurred edges bring; it would leak into all frequencies.
    """
    place = np.arange(WINDOW) - (WINDOW - 1) / 2
    slope = np.broadcast_to(place / np.sqrt(WINDOW * np.sum(place**2)), (WINDOW, WINDOW))
    plane = np.stack([np.full((WINDOW, WINDOW), 1 / WINDOW), slope, slope.T])  # orthonormal
    level = np.tensordot(windows, plane, ((-2, -1), (1, 2)))
    hann = np.cos(np.pi * place / WINDOW) ** 2
    spectrum = np.fft.fft2((windows - np.tensordot(level, plane, 1)) * hann * hann[:, None])
    return np.asarray(spectrum.real**2 + spectrum.imag**2)


def _rings(periodogram: Floats) -> Floats:
    """Mean of periodograms (..., 16, 16) over each ring of ``FREQUENCIES``: (..., RADII)."""
    frequency = np.fft.fftfreq(WINDOW, 1 / WINDOW)
    radius = np.rint(np.hypot(frequency, frequency[:, None]))
    return np.stack([periodogram[..., radius == r + 1].mean(axis=-1) for r in range(RADII)], -1)


@lru_cache(maxsize=1)
def _white_noise() -> Floats:
    """What ``_rings(_periodogram(x))`` is on average for white noise of variance one: (RADII,).

    The transform is linear, so it is the sum of the answers to every single pixel.
    """
    pixels = np.eye(WINDOW**2).reshape(-1, WINDOW, WINDOW)
    return np.asarray(_rings(_periodogram(pixels)).sum(axis=0))


def wasserstein(first: Signature, second: Signature) -> Floats:
    """Wasserstein-1 distance of the high-pass distributions, per channel (3,), in gray levels.

    The integral of the distance of the two distribution functions.  Binning moves a value by at
    most BIN / 2, so the result is within BIN of that of the values themselves; for noise wider
    than a bin the error is far smaller, as it is alike on both sides.  What lies beyond 200 gray
    levels, which needs images beyond [0, 255], counts as 200.

    Raises:
        ValueError: A signature holds no high-pass values.

    """
    if not (first.high_pass.any() and second.high_pass.any()):
        raise ValueError("a signature without high-pass values: every image is under 5 pixels")
    below = [
        np.cumsum(each.high_pass, axis=1) / each.high_pass.sum(axis=1, keepdims=True)
        for each in (first, second)
    ]
    return np.asarray(np.abs(below[0] - below[1]).sum(axis=1) * BIN)


def spectrum(counted: Signature) -> Floats:
    """Mean power (3, RADII) at ``FREQUENCIES``, in gray levels squared.

    White noise of variance v has the power v at every frequency.

    Raises:
        ValueError: The signature holds no windows.

    """
    if counted.windows == 0:
        raise ValueError("a signature without windows: every image is under 16 pixels")
    return counted.power / counted.windows


def spectral_distance(first: Signature, second: Signature) -> float:
    """Root mean square of 10 log10(P1 / P2) over frequencies and channels, in decibels.

    Powers under ``ROUNDING`` count as that: 8-bit images cannot tell them apart, and the
    distance stays finite for images without noise.

    Raises:
        ValueError: A signature holds no windows.

    """
    levels = [10 * np.log10(np.maximum(spectrum(each), ROUNDING)) for each in (first, second)]
    return float(np.sqrt(np.mean((levels[0] - levels[1]) ** 2)))
