"""The demo: photographs that ship inside scikit-image, seen through a simulated camera."""

import json
from pathlib import Path
from shutil import copyfile

import numpy as np
from pydantic import Field

from pipeline.base.seeding import generator
from pipeline.base.settings import Settings
from pipeline.demo.camera import Camera
from pipeline.demo.photographs import HR, LR, VAL, photograph
from pipeline.images.io import Image, to_uint8, write_jpeg, write_png


class DemoSettings(Settings):
    """The section ``demo``."""

    seed: int = Field(1, ge=0)
    """Seed of the noise."""
    camera: str = "phone"
    """An entry of ``cameras.yaml``."""
    captures: int = Field(0, ge=0)
    """Images that the camera makes of every HR image, each of a pair for a supervised training."""


def write_demo(
    folder: Path, scale: int, settings: DemoSettings, camera: Camera
) -> dict[str, float]:
    """Write ``hr/``, ``lr/``, ``val/hr/`` and ``val/lr/``, and the ground truth in ``truth/``.

    ``truth/clean`` holds the LR images without noise and JPEG, as the camera's processor develops
    them where it has one, ``truth/camera.json`` the camera.
    With captures there are pairs in ``pairs/hr/`` and ``pairs/lr/``: ``NAME_00`` and so on, the
    same HR image with fresh noise.

    Args:
        folder: Folder to write to; the folders in it are created.
        scale: HR pixels per LR pixel.
        settings: Seed, and the name of the camera.
        camera: The entry of that name.

    Returns:
        Metrics: numbers of images, and the true noise level of the LR images in gray levels, which
        is the root of the mean variance at the sites, or with a processor of captures around their
        mean; every image has the same weight.

    """
    for name in HR:
        _write_hr(folder / "hr", name, scale)
    variances = [_shoot(name, folder, folder / "lr", scale, settings.seed, camera) for name in LR]
    for name in VAL:
        _write_hr(folder / "val" / "hr", name, scale)
        _shoot(name, folder, folder / "val" / "lr", scale, settings.seed, camera)
    for name in HR:
        _write_pairs(name, folder / "pairs", scale, settings, camera)
    named = settings.model_dump(include={"seed", "camera"})
    truth = {"scale": scale, **named, **camera.model_dump()}
    (folder / "truth" / "camera.json").write_text(json.dumps(truth, indent=2) + "\n")
    return {
        "hr_images": len(HR),
        "lr_images": len(LR),
        "val_pairs": len(VAL),
        "train_pairs": len(HR) * settings.captures,
        "true_noise_level": float(np.sqrt(np.mean(variances)) * 255),
    }


def _write_hr(target: Path, name: str, scale: int) -> None:
    target.mkdir(parents=True, exist_ok=True)
    write_png(target / f"{Path(name).stem}.png", photograph(name, scale))


def _shoot(name: str, folder: Path, target: Path, scale: int, seed: int, camera: Camera) -> float:
    """Write the camera's file and the clean view; returns the mean variance of the noise."""
    clean = camera.clean(photograph(name, scale), scale)
    image = camera.capture(clean, generator(seed, f"demo/{name}"))
    for where in (target, folder / "truth" / "clean"):
        where.mkdir(parents=True, exist_ok=True)
    _write_lr(target, Path(name).stem, image, camera)
    write_png(
        folder / "truth" / "clean" / f"{Path(name).stem}.png", to_uint8(camera.developed(clean))
    )
    return camera.noise_deviation(clean).square().mean().item()


def _write_pairs(
    name: str, folder: Path, scale: int, settings: DemoSettings, camera: Camera
) -> None:
    """Write the captures of one HR image, each beside a copy of it."""
    for path in folder.glob(f"*/{Path(name).stem}_*"):  # of a run with more of them
        path.unlink()
    if not settings.captures:
        return
    hr = photograph(name, scale)
    clean = camera.clean(hr, scale)
    for side in ("hr", "lr"):
        (folder / side).mkdir(parents=True, exist_ok=True)
    for k in range(settings.captures):
        stem = f"{Path(name).stem}_{k:02d}"
        image = camera.capture(clean, generator(settings.seed, f"demo/captures/{name}", k))
        _write_lr(folder / "lr", stem, image, camera)
        copyfile(folder.parent / "hr" / f"{Path(name).stem}.png", folder / "hr" / f"{stem}.png")


def _write_lr(target: Path, stem: str, image: Image, camera: Camera) -> None:
    for suffix in (".jpg", ".png"):  # of a run with another camera
        (target / f"{stem}{suffix}").unlink(missing_ok=True)
    if camera.jpeg_quality is None:
        write_png(target / f"{stem}.png", image)
    else:
        path = target / f"{stem}.jpg"
        write_jpeg(path, image, camera.jpeg_quality, camera.jpeg_subsampling)
