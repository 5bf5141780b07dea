"""Two distances between sets of LR images that are not pairs: of high-pass values and of spectra.

The signature of a set is the histogram of its high-pass values and its power spectrum.  Two sets
are compared by the Wasserstein distance of the histograms and by the distance of the spectra in
decibels.  Everything is in gray levels (0 to 255).

Edges and textures count in both distances.  So the distance of one half of the real images from the
other half is the floor: only a distance well above it is a difference of the noise.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft2

from pipeline.images.filters import HIGH_PASS_SIZE, gaussian_window
from pipeline.noise.estimate import ROUNDING

Floats = NDArray[np.float64]
Real = TypeVar("Real", NDArray[np.float32], NDArray[np.float64])
Number = TypeVar("Number", bound=np.generic)

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
STRIP = 32
"""Rows of an image whose high-pass is in memory at a time: they fit a processor's cache."""
AT_ONCE = 64
"""Windows whose spectra are in memory at a time."""


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


def signature(image: NDArray[np.floating] | NDArray[np.uint8]) -> Signature:
    """The signature of one LR image.

    Args:
        image: (3, H, W) in gray levels, finite.  One of 8 bit is computed in float32, which moves
            a high-pass value by less than 1e-4 gray levels; any other in float64.

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
    pixels: NDArray[np.floating] = (
        image.astype(np.float32) if image.dtype == np.uint8 else image.astype(np.float64)
    )
    windows = cut(pixels)
    power = np.zeros((3, WINDOW, WINDOW // 2 + 1))
    for start in range(0, len(windows), AT_ONCE):
        found = periodogram(windows[start : start + AT_ONCE])
        power += found.sum(axis=0, dtype=np.float64)
    return Signature(_histogram(pixels), rings(power) / white_noise(), len(windows))


def high_pass_values(image: Real) -> Real:
    """Images (..., H, W) less the Gaussian blur of ``high_pass``: (..., H - 4, W - 4)."""
    taps = gaussian_window(HIGH_PASS_SIZE, HIGH_PASS_SIZE / 6).numpy().astype(image.dtype)
    blurred = image
    for axis in (-1, -2):
        turned = blurred.swapaxes(axis, -1)
        outer = turned[..., :-4] + turned[..., 4:]
        outer *= taps[0]
        near = turned[..., 1:-3] + turned[..., 3:-1]
        near *= taps[1]
        outer += near
        np.multiply(turned[..., 2:-2], taps[2], out=near)
        outer += near
        blurred = outer.swapaxes(axis, -1)
    return np.asarray(image[..., 2:-2, 2:-2] - blurred)


def cut(image: NDArray[Number]) -> NDArray[Number]:
    """Windows of an image (3, H, W) side by side, row by row: (n, 3, 16, 16)."""
    rows, columns = image.shape[1] // WINDOW, image.shape[2] // WINDOW
    inner = image[:, : rows * WINDOW, : columns * WINDOW]
    blocks = inner.reshape(3, rows, WINDOW, columns, WINDOW).transpose(1, 3, 0, 2, 4)
    return blocks.reshape(-1, 3, WINDOW, WINDOW)


def _histogram(pixels: NDArray[np.floating]) -> NDArray[np.int64]:
    """Counts (3, BINS) of the high-pass values of an image, a strip of rows after the other."""
    counts = np.zeros(3 * BINS, dtype=np.int64)
    border = HIGH_PASS_SIZE - 1
    if min(pixels.shape[1:]) > border:
        first = (np.arange(3) * BINS + HALF)[:, None, None]
        for top in range(0, pixels.shape[1] - border, STRIP):
            values = high_pass_values(pixels[:, top : top + STRIP + border])
            values *= 1 / BIN
            np.clip(np.rint(values, out=values), -HALF, HALF, out=values)
            index = values.astype(np.intp)
            index += first
            counts += np.bincount(index.ravel(), minlength=3 * BINS)
    return counts.reshape(3, BINS)


def window_plane() -> Floats:
    """Orthonormal constant, slope across and slope down over the pixels of a window: (3, 256)."""
    place = np.arange(WINDOW) - (WINDOW - 1) / 2
    slope = np.broadcast_to(place / np.sqrt(WINDOW * np.sum(place**2)), (WINDOW, WINDOW))
    level = np.full((WINDOW, WINDOW), 1 / WINDOW)
    return np.stack([level, slope, slope.T]).reshape(3, -1)


def periodogram(windows: NDArray[np.floating]) -> NDArray[np.floating]:
    """|FFT|^2 under a Hann window of windows (..., 16, 16) less their plane of least squares.

    The plane holds shading and blurred edges, which would leak into all frequencies.

    Returns:
        (..., 16, 9): of the columns of frequencies, those from 0 to 1/2; the others mirror them.

    """
    plane = window_plane().astype(windows.dtype)
    hann = np.cos(np.pi * (np.arange(WINDOW) - (WINDOW - 1) / 2) / WINDOW) ** 2
    flat = windows.reshape(-1, WINDOW * WINDOW)
    rest = (flat - (flat @ plane.T) @ plane).reshape(windows.shape)
    rest *= (hann * hann[:, None]).astype(windows.dtype)
    spectrum = rfft2(rest, overwrite_x=True)
    return np.asarray(spectrum.real**2 + spectrum.imag**2)


@lru_cache(maxsize=1)
def _ring_weights() -> Floats:
    """From power (16 x 9) to its mean over each ring: (144, RADII)."""
    down = np.fft.fftfreq(WINDOW, 1 / WINDOW)[:, None]
    across = np.arange(WINDOW // 2 + 1)
    radius = np.rint(np.hypot(down, across))
    twice = np.where((across > 0) & (across < WINDOW // 2), 2.0, 1.0)
    weights = np.stack([((radius == r + 1) * twice).ravel() for r in range(RADII)], axis=1)
    return np.asarray(weights / weights.sum(axis=0))


def rings(power: Real) -> Real:
    """Mean of power (..., 16, 9) over each ring of ``FREQUENCIES``: (..., RADII)."""
    weights = _ring_weights().astype(power.dtype)
    return np.asarray(power.reshape(*power.shape[:-2], len(weights)) @ weights)


@lru_cache(maxsize=1)
def white_noise() -> Floats:
    """Expectation of ``rings(periodogram(x))`` for white noise of variance one: (RADII,).

    The transform is linear, so the expectation is the sum over images of a single pixel.
    """
    pixels = np.eye(WINDOW**2).reshape(-1, WINDOW, WINDOW)
    return rings(periodogram(pixels).sum(axis=0))


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
