"""A small physical camera: what it lets through at every frequency, as a function of six numbers.

A lens with a Gaussian blur of any ellipse, square pixels, an unsharp mask on luma, and a Gaussian
that smooths the colour differences.  Frequencies are in cycles per LR pixel.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

ANGLES = np.arange(8) * math.pi / 8
"""Directions over which a radial mean is taken."""
NARROWEST = 0.98
"""Largest ratio of the difference and the sum of the squared axes of the blur."""


@dataclass(frozen=True)
class Optics:
    """The six numbers.  Variances are in LR pixels squared."""

    blur: float
    """Mean of the variances of the lens blur along both axes."""
    stretch: float
    """Half of the difference of its variances along the rows and along the columns."""
    shear: float
    """Its covariance."""
    amount: float
    """Amount of the unsharp mask; negative: a softening."""
    log_radius: float
    """Logarithm of the radius of its Gaussian in LR pixels."""
    chroma: float
    """Variance of the Gaussian that smooths the colour differences."""

    @classmethod
    def of(cls, numbers: Array) -> "Optics":
        """The camera of six numbers in this order."""
        return cls(*(float(number) for number in numbers))

    @property
    def radius(self) -> float:
        """Radius of the unsharp mask in LR pixels."""
        return math.exp(self.log_radius)

    def blurred(self, fy: Array, fx: Array) -> Array:
        """Transfer of the lens at frequencies along the columns and the rows."""
        apart = math.hypot(self.stretch, self.shear)
        allowed = min(1.0, NARROWEST * self.blur / max(apart, 1e-12))  # variances stay positive
        along, across = self.blur + allowed * self.stretch, self.blur - allowed * self.stretch
        covariance = allowed * self.shear
        spread = along * fx**2 + across * fy**2 + 2 * covariance * fx * fy
        return np.asarray(np.exp(-2 * math.pi**2 * spread))

    def lens(self, fy: Array, fx: Array) -> Array:
        """Transfer of lens and pixel."""
        return np.asarray(self.blurred(fy, fx) * np.sinc(fx) * np.sinc(fy))

    def mask(self, f: Array) -> Array:
        """Transfer of the unsharp mask at radial frequencies."""
        return np.asarray(1 + self.amount * (1 - gaussian(f, self.radius**2)))

    def luma(self, f: Array, angle: float) -> Array:
        """Transfer of luma in a direction, in radians from the rows."""
        return self.lens(f * math.sin(angle), f * math.cos(angle)) * self.mask(f)

    def radial_luma(self, f: Array) -> Array:
        """Root of the mean power transfer of luma over all directions."""
        return self.radial_lens(f) * np.abs(self.mask(f))

    def radial_chroma(self, f: Array) -> Array:
        """The same of the colour differences."""
        return self.radial_lens(f) * gaussian(f, self.chroma)

    def radial_lens(self, f: Array) -> Array:
        """The same of lens and pixel."""
        power = self.lens(
            np.multiply.outer(np.sin(ANGLES), f), np.multiply.outer(np.cos(ANGLES), f)
        )
        return np.asarray(np.sqrt((power**2).mean(axis=0)))


def gaussian(f: Array, variance: float | Array) -> Array:
    """Transfer of a Gaussian blur of a variance in LR pixels squared."""
    return np.asarray(np.exp(-2 * math.pi**2 * variance * f**2))


def kernel(transfer: Array, side: int) -> list[list[float]]:
    """The kernel on the HR grid of a transfer function.

    Args:
        transfer: (n, n), real and even, at ``torch.fft.fftfreq(n)`` cycles per HR pixel; n even.
        side: Rows and columns of the kernel; its parity is that of the scale.

    Returns:
        (side, side) of sum one; the centre is that of the LR pixel.

    """
    n = len(transfer)
    f = np.fft.fftfreq(n)
    half = 0.0 if side % 2 else 0.5  # the centre of an even kernel lies between two pixels
    move = np.exp(-2j * math.pi * half * f)
    values = np.fft.ifft2(transfer * move[:, None] * move[None, :]).real
    values = np.roll(values, (n // 2, n // 2), (0, 1))
    first = n // 2 - (side - 1) // 2
    cut = values[first : first + side, first : first + side]
    return [[float(value) for value in row] for row in cut / cut.sum()]


def on_grid(optics: Optics, f: Array, scale: int, chroma: bool) -> Array:
    """Transfer of the light on a grid of frequencies, without the unsharp mask.

    Args:
        optics: The camera.
        f: (n,): frequencies along both axes, in cycles per HR pixel.
        scale: HR pixels per LR pixel.
        chroma: Of the colour differences, or of luma.

    Returns:
        (n, n).

    """
    pixel = dirichlet(f, scale)
    fy, fx = f[:, None] * scale, f[None, :] * scale
    through = optics.blurred(fy, fx) * pixel[:, None] * pixel[None, :]
    smooth = gaussian(np.hypot(fy, fx), optics.chroma) if chroma else 1.0
    return np.asarray(through * smooth)


def dirichlet(f: Array, scale: int) -> Array:
    """Transfer of a mean of ``scale`` pixels at frequencies in cycles per pixel."""
    small = np.abs(np.sin(math.pi * f)) < 1e-9
    safe = np.where(small, 1.0, np.sin(math.pi * f))
    return np.asarray(np.where(small, 1.0, np.sin(math.pi * f * scale) / (scale * safe)))


def as_tensor(values: Array) -> Tensor:
    """Single precision is enough for a transfer function."""
    return torch.from_numpy(np.ascontiguousarray(values)).float()
