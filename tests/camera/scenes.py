"""Scenes and a camera made with NumPy and SciPy alone, and small stores of its photographs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from pipeline.stores.format import Kind
from pipeline.stores.reader import Store
from pipeline.writing.writer import StoreWriter

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
LUMA = np.array([0.299, 0.587, 0.114])


def leaves(seed: int, side: int, discs: int = 400, least: float = 2.0) -> Array:
    """Coloured discs on top of each other (3, side, side) in [0.1, 0.9]: dead leaves.

    Args:
        seed: Of the draw.
        side: Rows and columns.
        discs: Their number.
        least: The least radius; the largest is half of the side.

    """
    rng = np.random.default_rng(seed)
    image = np.full((3, side, side), 0.5)
    y, x = np.indices((side, side))
    for _ in range(discs):
        radius = least / np.sqrt(rng.uniform((2 * least / side) ** 2, 1))
        at_y, at_x = rng.uniform(0, side, 2)
        gray, colour = rng.uniform(0.2, 0.8), rng.uniform(-0.1, 0.1, 3)
        image[:, (y - at_y) ** 2 + (x - at_x) ** 2 < radius**2] = (gray + colour)[:, None]
    return image


@dataclass(frozen=True)
class Lens:
    """A camera; lengths in LR pixels."""

    scale: int = 2
    sigma: float = 0.5
    """Of the Gaussian blur, across its long direction."""
    long: float = 1.0
    """How much wider the blur is along its long direction."""
    angle: float = 0.0
    """Of the long direction from the rows, in radians."""
    amount: float = 0.0
    radius: float = 1.0
    noise_gray: float = 0.0

    def kernel(self) -> Array:
        """The Gaussian on the HR grid, of odd side."""
        half = int(np.ceil(4 * self.sigma * self.long * self.scale))
        y, x = np.mgrid[-half : half + 1, -half : half + 1] / self.scale
        along = np.cos(self.angle) * x + np.sin(self.angle) * y
        across = np.cos(self.angle) * y - np.sin(self.angle) * x
        values = np.exp(-((along / self.long) ** 2 + across**2) / (2 * self.sigma**2))
        return np.asarray(values / values.sum())

    def photograph(self, scene: Array, seed: int = 0) -> Image:
        """Blur, mean of every pixel, unsharp mask of luma, noise, 8 bit."""
        half = len(self.kernel()) // 2
        wide = np.pad(scene, [(0, 0), (half, half), (half, half)], mode="symmetric")
        soft = signal.fftconvolve(wide, self.kernel()[None], mode="valid", axes=(1, 2))
        _, height, width = soft.shape
        blocks = soft.reshape(3, height // self.scale, self.scale, width // self.scale, self.scale)
        image = blocks.mean(axis=(2, 4))
        luma = np.tensordot(LUMA, image, 1)
        image = image + self.amount * (luma - ndimage.gaussian_filter(luma, self.radius))
        rng = np.random.default_rng(seed)
        return eight_bit(image + rng.normal(0, self.noise_gray / 255, image.shape))

    def transfer(self, f: Array) -> Array:
        """Root of the mean power of the transfer of luma, over 360 directions."""
        angle = np.arange(360)[:, None] * np.pi / 180
        fx, fy = f * np.cos(angle), f * np.sin(angle)
        along = np.cos(self.angle) * fx + np.sin(self.angle) * fy
        across = np.cos(self.angle) * fy - np.sin(self.angle) * fx
        spread = self.sigma**2 * ((self.long * along) ** 2 + across**2)
        lens = np.exp(-2 * np.pi**2 * spread) * np.sinc(fx) * np.sinc(fy)
        sharpening = 1 + self.amount * (1 - np.exp(-2 * np.pi**2 * self.radius**2 * f**2))
        return np.asarray(np.sqrt((lens**2).mean(axis=0)) * sharpening)


def eight_bit(image: Array) -> Image:
    return np.clip(np.round(image * 255), 0, 255).astype(np.uint8)


def write(path: Path, kind: Kind, images: list[Image], scale: int = 2) -> Store:
    ids = [f"i{n}" for n in range(len(images))]
    with StoreWriter(path, kind, scale, ids) as writer:
        for name, image in zip(ids, images, strict=True):
            writer.add(name, {"image": image})
    return Store(path, kind)
