"""Scenes of discs that hide each other, and what is done to images on their way into a pile."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy.ndimage import gaussian_filter

Image = NDArray[np.uint8]


def scene(seed: int, height: int = 320, width: int = 400) -> Image:
    """(3, H, W): discs of all sizes with a little shading, antialiased, as dead leaves lie."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: 2 * height, : 2 * width].astype(np.float32)
    picture = np.full((3, 2 * height, 2 * width), 120, np.float32)
    for _ in range(250):
        radius = 2 * min(4 / rng.uniform(0.05, 1), 60)
        top, left = rng.uniform(0, 2 * height), rng.uniform(0, 2 * width)
        rows = slice(max(int(top - radius), 0), int(top + radius) + 2)
        columns = slice(max(int(left - radius), 0), int(left + radius) + 2)
        inside = np.hypot(y[rows, columns] - top, x[rows, columns] - left) < radius
        shade = rng.normal(0, 0.15) * (x[rows, columns] - left)
        colour = rng.uniform(30, 225, 3)
        for channel, value in enumerate(colour):
            picture[channel, rows, columns][inside] = (value + shade)[inside]
    small = picture.reshape(3, height, 2, width, 2).mean((2, 4))
    return to_8_bit(small + rng.normal(0, 0.7, small.shape))


def to_8_bit(values: NDArray[np.floating]) -> Image:
    return np.asarray(values.round().clip(0, 255), dtype=np.uint8)


def blurred(image: Image, sigma: float) -> Image:
    return to_8_bit(gaussian_filter(image.astype(np.float32), (0, sigma, sigma)))


def noisy(image: Image, sigma: float, seed: int = 0) -> Image:
    return to_8_bit(image + np.random.default_rng(seed).normal(0, sigma, image.shape))


def pillow(image: Image) -> Pillow.Image:
    return Pillow.fromarray(np.moveaxis(image, 0, -1))


def array(picture: Pillow.Image) -> Image:
    return np.ascontiguousarray(np.moveaxis(np.asarray(picture), -1, 0))


def jpeg(image: Image, quality: int) -> Image:
    buffer = io.BytesIO()
    pillow(image).save(buffer, "JPEG", quality=quality)
    return array(Pillow.open(buffer))


def resized(image: Image, factor: float) -> Image:
    _, height, width = image.shape
    size = round(width * factor), round(height * factor)
    return array(pillow(image).resize(size, Pillow.Resampling.BICUBIC))
