"""The demo: photographs that ship inside scikit-image, seen through a simulated camera."""

import json
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pipeline.filters import bicubic_downsample, gaussian_blur
from pipeline.images import (
    Image,
    crop_to_multiple,
    read_image,
    to_float,
    to_uint8,
    write_jpeg,
    write_png,
)
from pipeline.laplace import GRAY_LEVEL, sample
from pipeline.seeding import generator
from pipeline.settings import Settings

HR = (
    "astronaut.png",
    "gravel.png",
    "grass.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "rocket.jpg",
)
"""Sharp images the DSN and the SRN are trained on."""
LR = (
    "brick.png",
    "camera.png",
    "coins.png",
    "color.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "retina.jpg",
)
"""Images that training sees only through the camera."""
VAL = ("chelsea.png", "coffee.png")
"""Held out: pairs of an HR image and what the camera makes of it."""


class DemoSettings(Settings):
    """The section ``demo``: the simulated camera."""

    seed: int = Field(ge=0)
    """Seed of the noise."""
    blur_sigma: float = Field(gt=0)
    """Gaussian blur of the lens in HR pixels."""
    noise_floor: float = Field(ge=0)
    """Laplace scale of the noise at black, in gray levels."""
    noise_slope: float = Field(ge=0)
    """Laplace scale added from black to white, in gray levels."""
    jpeg_quality: int = Field(ge=1, le=100)
    """Quality of the files the camera writes."""


def clean_view(hr: Image, scale: int, settings: DemoSettings) -> Tensor:
    """What the lens and the sensor grid make of an HR image: (1, 3, H/s, W/s) in [0, 1]."""
    radius = int(np.ceil(3 * settings.blur_sigma))
    padded = F.pad(to_float(hr)[None], (radius,) * 4, mode="reflect")
    blurred = gaussian_blur(padded, 2 * radius + 1, settings.blur_sigma)
    return bicubic_downsample(blurred, scale).clamp(0, 1)


def noise_scale(clean: Tensor, settings: DemoSettings) -> Tensor:
    """Laplace scale of the camera's noise per pixel, in the unit of the image."""
    return (settings.noise_floor + settings.noise_slope * clean) * GRAY_LEVEL


def write_demo(folder: Path, scale: int, settings: DemoSettings) -> dict[str, float]:
    """Write ``hr/``, ``lr/``, ``val/hr/``, ``val/lr/``, and the truth beside them.

    ``truth/clean`` holds the LR images before noise and JPEG, ``truth/camera.json`` the camera.

    Args:
        folder: Where to write; the folders in it are made.
        scale: HR pixels per LR pixel.
        settings: The camera.

    Returns:
        Metrics: numbers of images, mean true Laplace scale of the LR images in gray levels.

    """
    for name in HR:
        path = folder / "hr" / f"{Path(name).stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, _photograph(name, scale))
    scales = [_shoot(name, folder, folder / "lr", scale, settings) for name in LR]
    for name in VAL:
        path = folder / "val" / "hr" / f"{Path(name).stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, _photograph(name, scale))
        _shoot(name, folder, folder / "val" / "lr", scale, settings)
    truth = {"scale": scale, **settings.model_dump()}
    (folder / "truth" / "camera.json").write_text(json.dumps(truth, indent=2) + "\n")
    return {
        "hr_images": len(HR),
        "lr_images": len(LR),
        "val_pairs": len(VAL),
        "true_noise_scale": float(np.mean(scales)),
    }


def _photograph(name: str, scale: int) -> Image:
    with as_file(files("skimage.data") / name) as path:
        return crop_to_multiple(path, read_image(path), scale)


def _shoot(name: str, folder: Path, target: Path, scale: int, settings: DemoSettings) -> float:
    """Write the camera's JPEG and the clean view; returns the mean true scale in gray levels."""
    clean = clean_view(_photograph(name, scale), scale, settings)
    theta = noise_scale(clean, settings)
    noisy = to_uint8(sample(clean, theta, generator(settings.seed, f"demo/{name}"))[0])
    stem = Path(name).stem
    for where in (target, folder / "truth" / "clean"):
        where.mkdir(parents=True, exist_ok=True)
    write_jpeg(target / f"{stem}.jpg", noisy, settings.jpeg_quality)
    write_png(folder / "truth" / "clean" / f"{stem}.png", to_uint8(clean[0]))
    return torch.mean(theta).item() * 255
