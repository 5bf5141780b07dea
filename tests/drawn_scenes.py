"""Simulated scenes of three kinds, and sets of LR images of one camera over them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import add
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from pipeline.noise.statistics import Allowance, LrStatistics, lr_statistics

Array = NDArray[np.float32]
Kind = Literal["walls", "discs", "clouds"]
KINDS: tuple[Kind, ...] = ("walls", "discs", "clouds")
SIDE = 224
"""Pixels along an image."""
PIXEL = 2
"""Scenes are drawn with this many points along a pixel, so that blur is exact."""


@dataclass(frozen=True)
class Camera:
    """A camera with a Gaussian lens, Gaussian noise and perhaps JPEG."""

    blur: float = 0.7
    """Standard deviation of the lens, in LR pixels."""
    noise: float = 1.0
    """A factor of the level."""
    dark: float = 2.0
    """Noise of black, in gray levels."""
    slope: float = 6.0
    """How much more white has."""
    filtered: float = 0.6
    """Standard deviation of the Gaussian that filters the noise, in pixels; 0: white."""
    quality: int | None = None


@lru_cache(maxsize=48)
def scene(kind: Kind, seed: int) -> Array:
    """A scene (3, H, W) at ``PIXEL`` points a pixel, in gray levels."""
    random, size = np.random.default_rng((KINDS.index(kind), seed)), SIDE * PIXEL
    image = np.full((3, size, size), random.uniform(80, 160))
    y, x = np.indices((size, size)) / size
    discs = int(kind == "discs")
    if kind == "clouds":
        frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)) + 1 / size
        waves = np.fft.fft2(random.normal(0, 1, (size, size))) / frequency ** random.uniform(1.7, 2)
        cloud = np.fft.ifft2(waves).real
        image = image + 25 * cloud / cloud.std()
    for _ in range(10 if kind == "clouds" else 60):
        colour = random.uniform(45, 210) + random.uniform(-15, 15, (3, 1))
        top, left = random.uniform(-0.2, 1, 2)
        high, wide = random.uniform(0.05, 0.5, 2)
        box = tuple(
            slice(max(int((start - over) * size), 0), max(int((start + length) * size), 0))
            for start, length, over in ((top, high, high * discs), (left, wide, wide * discs))
        )
        inside = ((y[box] - top) / high) ** 2 + ((x[box] - left) / wide) ** 2 < (1 if discs else 9)
        shade = random.uniform(-40, 40) * discs * (y[box] - top)
        part = image[:, *box]
        part[:, inside] = colour + shade[inside]
    return np.asarray(np.clip(image, 20, 235), dtype=np.float32)


def photograph(camera: Camera, sharp: Array, seed: int) -> NDArray[np.uint8]:
    """The LR image of a scene."""
    random = np.random.default_rng(seed)
    seen = gaussian_filter(sharp, (0, camera.blur * PIXEL, camera.blur * PIXEL))
    image = seen[:, ::PIXEL, ::PIXEL]
    noise = random.normal(0, 1, image.shape)
    if camera.filtered:
        noise = gaussian_filter(noise, (0, camera.filtered, camera.filtered))
    level = camera.noise * (camera.dark + camera.slope * image / 255)
    found = np.clip(np.rint(image + level * noise / noise.std()), 0, 255).astype(np.uint8)
    if camera.quality is None:
        return np.asarray(found)
    file = io.BytesIO()
    Image.fromarray(found.transpose(1, 2, 0)).save(
        file, "JPEG", quality=camera.quality, subsampling=0
    )
    return np.ascontiguousarray(np.moveaxis(np.array(Image.open(file), dtype=np.uint8), -1, 0))


def camera_set(cameras: Sequence[Camera], scenes: Sequence[Array], seed: int) -> LrStatistics:
    """Statistics of one photograph of every scene; the cameras take turns."""
    allowance, generator = Allowance.of(len(scenes)), torch.Generator()
    parts = [
        lr_statistics(
            photograph(cameras[i % len(cameras)], sharp, 1000 * seed + i), allowance, generator
        )
        for i, sharp in enumerate(scenes)
    ]
    return reduce(add, parts)
