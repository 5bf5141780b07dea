"""Sets of LR images of a simulated camera, whose blur, noise and JPEG are known."""

import io
from dataclasses import dataclass
from functools import cache, reduce
from operator import add

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from pipeline.noise.statistics import Allowance, LrStatistics, lr_statistics

SIDE, IMAGES = 320, 6
BLUR = 0.7
"""Standard deviation of the camera's Gaussian, in pixels."""


@dataclass(frozen=True)
class Simulated:
    """How the camera differs from the one of the real images."""

    noise: float = 1.0
    """A factor of the noise level."""
    blur: float = 0.0
    """Standard deviation of one more Gaussian, in pixels."""
    correlated: bool = True
    by_intensity: bool = True
    """Whether the noise depends on the intensity."""
    laplace: bool = False
    jpeg: bool = False


def scene(random: np.random.Generator) -> NDArray[np.float64]:
    """Rectangles of one colour each, in gray levels: (3, SIDE, SIDE)."""
    image = np.full((3, SIDE, SIDE), 128.0)
    for _ in range(120):
        height, width = random.integers(12, 160, 2)
        top, left = random.integers(-40, SIDE, 2)
        colour = random.uniform(55, 200) + random.uniform(-15, 15, (3, 1, 1))
        image[:, max(top, 0) : top + height, max(left, 0) : left + width] = colour
    return image


def photograph(camera: Simulated, sharp: NDArray[np.float64], seed: int) -> NDArray[np.uint8]:
    """The LR image of a scene."""
    random = np.random.default_rng(seed)
    image = gaussian_filter(sharp, (0, *[float(np.hypot(BLUR, camera.blur))] * 2))
    noise = random.normal(0, 1, image.shape)
    if camera.laplace:
        noise = random.laplace(0, 0.5**0.5, image.shape)
    if camera.correlated:
        noise = gaussian_filter(noise, (0, 0.6, 0.6))
    level = 1 + 8 * image / 255 if camera.by_intensity else 5.0
    image = image + camera.noise * level * noise / noise.std()
    levels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    if not camera.jpeg:
        return levels
    file = io.BytesIO()
    Image.fromarray(levels.transpose(1, 2, 0)).save(file, "JPEG", quality=97, subsampling=0)
    decoded: NDArray[np.uint8] = np.asarray(Image.open(file), dtype=np.uint8)
    return decoded.transpose(2, 0, 1)


@cache
def simulated_set(camera: Simulated, seed: int) -> LrStatistics:
    """Statistics of ``IMAGES`` photographs; every seed has the same scenes with other noise."""
    random = np.random.default_rng(0)
    allowance, generator = Allowance(1, 4000, 1), torch.Generator()
    parts = []
    for number in range(IMAGES):
        image = photograph(camera, scene(random), seed * IMAGES + number)
        parts.append(lr_statistics(image, allowance, generator))
    return reduce(add, parts)
