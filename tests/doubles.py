"""Stand-ins for tests: a DSN with random weights, features, a passport, clusters, JPEGs.

And sets of LR images of a simulated camera, whose blur, noise and JPEG are known.
"""

import io
from dataclasses import dataclass
from functools import cache, reduce
from operator import add
from pathlib import Path

import numpy as np
import torch
from conftest import dsn_settings
from distributed import LocalCluster
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from pipeline.dsn.file import DsnDescription, save_dsn
from pipeline.dsn.network import DSN
from pipeline.noise.statistics import Allowance, LrStatistics, lr_statistics
from pipeline.passport.passport import CAMERA_FORMAT, Passport
from pipeline.train_dsn.prior import known_prior_gray
from pipeline.train_dsn.settings import TrainDsnSettings


class Features(nn.Module):
    """Stands for VGG19, in float64: channels at a sixteenth of the size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.layer = nn.Conv2d(3, channels, 16, 16).double().requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.layer(image)
        return features


def local_cluster(workers: int, processes: bool = False) -> LocalCluster:
    """A cluster of this machine, of one thread per worker."""
    return LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=workers, threads_per_worker=1, processes=processes, dashboard_address=":0"
    )


def refuse(address: str, timeout: str, set_as_default: bool) -> None:
    """Stands for ``Client``; a real one would try for ten seconds."""
    assert not set_as_default  # a failed client would stay the default of the process
    raise OSError(f"Timed out trying to connect to {address} after {timeout}")


def described(
    settings: TrainDsnSettings, scale: int = 4, reference: object = "bicubic"
) -> DsnDescription:
    """What the file of a DSN of these settings says."""
    return DsnDescription(
        scale=scale,
        features=settings.features,
        blocks=settings.blocks,
        learned_theta=settings.learn_theta,
        prior_scale_gray=known_prior_gray(settings),
        reference=reference,
        training=settings.model_dump(mode="json"),
    )


def write_dsn(
    path: Path, seed: int = 0, scale: int = 4, reference: object = "bicubic", **changes: object
) -> Path:
    """Weights whose means lie around 0.5 and whose thetas vary."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        dsn = DSN(scale, 4, 2)
    with torch.no_grad():
        dsn.mean_head.weight.mul_(2)
        dsn.mean_head.bias = torch.nn.Parameter(torch.full((3,), 0.5))
        for parameter in dsn.log_theta_head.parameters():
            parameter.mul_(3)
    settings = dsn_settings(blocks=2, **changes)
    save_dsn(path, dsn, described(settings, scale, reference))
    return path


def gaussian_kernel(side: int, sigma: float, angle: float = 0.0) -> NDArray[np.float64]:
    """A Gaussian (side, side) of sum one, twice as wide along one direction if turned."""
    place = np.arange(side) - (side - 1) / 2
    y, x = np.meshgrid(place, place, indexing="ij")
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    wide = sigma * (2 if angle else 1)
    values = np.exp(-(along**2) / (2 * wide**2) - across**2 / (2 * sigma**2))
    return np.asarray(values / values.sum())


def plain_passport(scale: int = 4, **changes: object) -> Passport:
    """A passport: a blur of two thirds of an LR pixel, noise that grows with intensity."""
    side = 5 * scale
    one = [1.0]
    content: dict[str, object] = {
        "format": CAMERA_FORMAT,
        "scale": scale,
        "hr_digest": "h",
        "lr_digest": "l",
        "light": "gamma",
        "luma_kernel": gaussian_kernel(side, 0.6 * scale, 0.5).tolist(),
        "chroma_kernel": gaussian_kernel(side + 2 * scale, scale).tolist(),
        "sharpening": {"amount": 0.0, "radius": 1.0},
        "denoising": {"threshold_gray": 0.0, "kept": 1.0},
        "noise": {
            "variance_gray": [[4.0, 16.0, 36.0], [2.0, 9.0, 25.0], [9.0, 25.0, 49.0]],
            "noise_filter": None,
            "laplace_share": 0.5,
        },
        "jpeg": None,
        "transfer": {
            "frequencies": [0.0],
            "luma": one,
            "luma_low": one,
            "luma_high": one,
            "chroma": one,
            "chroma_low": one,
            "chroma_high": one,
        },
        "images": {"hr": 3, "lr": 4},
        "unknown": [],
    }
    return Passport.model_validate(content | changes)


def jpeg(path: Path, quality: int, subsampling: str) -> Path:
    """Write a JPEG of 24x40 pixels."""
    pixels = np.random.default_rng(1).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=quality, subsampling=subsampling)
    return path


def tables_of(path: Path) -> dict[str, object]:
    """Both tables, as Pillow reads them."""
    with Image.open(path) as file:
        steps = file.quantization  # type: ignore[attr-defined]
    return {"luma": list(steps[0]), "chroma": list(steps[1])}


SIDE, IMAGES = 320, 6
"""Pixels along an image of a simulated set, and the number of its images."""
OWN_BLUR = 0.7
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
    image = gaussian_filter(sharp, (0, *[float(np.hypot(OWN_BLUR, camera.blur))] * 2))
    noise = random.normal(0, 1, image.shape)
    if camera.laplace:
        noise = random.laplace(0, 0.5**0.5, image.shape)
    if camera.correlated:
        noise = gaussian_filter(noise, (0, 0.6, 0.6))
    level = 1 + 8 * image / 255 if camera.by_intensity else 5.0
    image = image + camera.noise * level * noise / noise.std()
    levels: NDArray[np.uint8] = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    if not camera.jpeg:
        return levels
    file = io.BytesIO()
    Image.fromarray(levels.transpose(1, 2, 0)).save(file, "JPEG", quality=97, subsampling=0)
    decoded = np.array(Image.open(file), dtype=np.uint8)
    planes: NDArray[np.uint8] = np.moveaxis(decoded, -1, 0)
    return planes


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
