"""Two distances between sets of LR images that are not pairs: of high-pass values and of spectra.

The signature of a set is the histogram of its high-pass values and its power spectrum.  Two sets
are compared by the Wasserstein distance of the histograms and by the distance of the spectra in
decibels.  Everything is in gray levels (0 to 255).

Edges and textures count in both distances.  So the distance of one half of the real images from the
other half is the floor: only a distance well above it is a difference of the noise.
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
"""Bins on either side of the one at zero: up to 200 gray levels.  No image in [0, 255] goes beyond:
the high-pass weights the pixel itself with 1 - 0.23, so its values stay under 197."""
BINS = 2 * HALF + 1
WINDOW = 16
"""Side in pixels of the windows whose power spectrum is computed."""
FREQUENCIES = np.arange(1, 12) / WINDOW
"""Radial frequencies of a spectrum in cycles per pixel.  Each stands for a ring of width 1/16
around it.  Rings above 0.5 lie in the corners of the frequency plane, which reaches 0.707."""
RADII = len(FREQUENCIES)


@dataclass(frozen=True, eq=False)
class Signature:
    """Histogram of high-pass values and power spectrum of some LR images; those of parts add up."""

    high_pass: NDArray[np.int64]
    """(3, BINS): how often each high-pass value occurs in each channel.  Bin i holds the values
    nearest to (i - HALF) BIN gray levels; the first and last bins also hold values beyond."""
    power: Floats
    """(3, RADII): radial power, summed over the windows, in gray levels squared."""
    windows: int
    """Number of windows."""

    def __add__(self, other: "Signature") -> "Signature":
        return Signature(
            self.high_pass + other.high_pass,
            self.power + other.power,
            self.windows + other.windows,
        )


def signature(image: NDArray[np.floating]) -> Signature:
    """The signature of one LR image.

    Args:
        image: (3, H, W) in gray levels, finite.

    Returns:
        The high-pass values of all pixels except the outer two rows and columns, and the power of
        the windows of 16x16 pixels that lie side by side from the upper left corner.  An image with
        a side under 5 pixels has no high-pass values, one with a side under 16 has no windows.

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
    """Images (N, 3, H, W) less the Gaussian blur of ``high_pass``: (N, 3, H - 4, W - 4)."""
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
    """|FFT|^2 under a Hann window of windows (..., 16, 16) less their plane of least squares.

    The plane holds shading and blurred edges, which would leak into all frequencies.
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
    """Expectation of ``_rings(_periodogram(x))`` for white noise of variance one: (RADII,).

    The transform is linear, so the expectation is the sum over images of a single pixel.
    """
    pixels = np.eye(WINDOW**2).reshape(-1, WINDOW, WINDOW)
    return np.asarray(_rings(_periodogram(pixels)).sum(axis=0))


def wasserstein(first: Signature, second: Signature) -> Floats:
    """Wasserstein-1 distance of the high-pass distributions, per channel (3,), in gray levels.

    It is the integral of the absolute difference of the two distribution functions.  Binning moves
    a value by at most BIN / 2, so the result differs by less than BIN from the distance of the
    values themselves.  For noise wider than a bin the error is far smaller, as both sides have the
    same.  Values beyond 200 gray levels, which no image in [0, 255] has, count as 200.

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

    Powers under ``ROUNDING`` are raised to it: in 8-bit images they cannot be distinguished,
    and so the distance is finite for images without noise.

    Raises:
        ValueError: A signature holds no windows.

    """
    levels = [10 * np.log10(np.maximum(spectrum(each), ROUNDING)) for each in (first, second)]
    return float(np.sqrt(np.mean((levels[0] - levels[1]) ** 2)))
