"""The demo: photographs of scikit-image, or the user's, seen through a simulated camera."""

import json
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from shutil import copyfile

import numpy as np
from pydantic import Field

from pipeline.base.errors import UserError
from pipeline.base.seeding import generator
from pipeline.base.settings import Settings
from pipeline.demo.camera import Camera
from pipeline.demo.photographs import (
    HR,
    LR,
    VAL,
    Photograph,
    PhotographFolders,
    in_folder,
    require_disjoint,
    shipped,
)
from pipeline.images.io import Image, to_uint8, write_jpeg, write_png
from pipeline.reading.files import find_images, holds_images

SHIPPED = {"hr": HR, "scenes": LR, "val": VAL}
"""Names of the photographs of scikit-image, by purpose."""
SCIKIT_IMAGE = PhotographFolders()


class DemoSettings(Settings):
    """The section ``demo``."""

    seed: int = Field(1, ge=0)
    """Seed of the noise."""
    camera: str = "phone"
    """An entry of ``cameras.yaml``."""
    captures: int = Field(0, ge=0)
    """Images that the camera makes of every HR image, each of a pair for a supervised training."""


def write_demo(
    folder: Path,
    scale: int,
    settings: DemoSettings,
    camera: Camera,
    folders: PhotographFolders = SCIKIT_IMAGE,
) -> dict[str, float]:
    """Write ``hr/``, ``lr/``, ``val/hr/`` and ``val/lr/``, and the ground truth in ``truth/``.

    ``truth/clean`` and ``truth/val`` hold the LR images without noise and JPEG, as the camera's
    processor develops them where it has one, ``truth/camera.json`` the camera.  With captures there
    are pairs in ``pairs/hr/`` and ``pairs/lr/``: ``NAME_00`` and so on, the same HR image with
    fresh noise.

    Args:
        folder: Folder to write to; the folders in it are created.
        scale: HR pixels per LR pixel.
        settings: Seed, and the name of the camera.
        camera: The entry of that name.
        folders: The photographs.

    Returns:
        Metrics: numbers of images, and the true noise level of the LR images in gray levels, which
        is the root of the mean variance at the sites, or with a processor of captures around their
        mean; every image has the same weight.

    Raises:
        UserError: A folder holds no photograph or one of another folder, one cannot be read, or
            the folder to write to holds images of other photographs.

    """
    require_disjoint(folders)
    photographs = {
        name: in_folder(given, name, scale) if given else shipped(SHIPPED[name], scale)
        for name, given in folders.named()
    }
    hr, scenes, val = photographs.values()
    for where, expected in (("hr", hr), ("lr", scenes), ("val/hr", val), ("val/lr", val)):
        _require_no_other(folder / where, {one.stem for one in expected})
    shot = _Shot(folder, scale, settings, camera)
    for one in hr:
        _write_hr(folder / "hr", one)
    variances = [shot.shoot(one, folder / "lr", "clean") for one in scenes]
    for one in val:
        _write_hr(folder / "val" / "hr", one)
        shot.shoot(one, folder / "val" / "lr", "val")
    for one in hr:
        shot.write_pairs(one)
    named = settings.model_dump(include={"seed", "camera"})
    truth = {"scale": scale, **named, **camera.model_dump()}
    (folder / "truth" / "camera.json").write_text(json.dumps(truth, indent=2) + "\n")
    return {
        "hr_images": len(hr),
        "lr_images": len(scenes),
        "val_pairs": len(val),
        "train_pairs": len(hr) * settings.captures,
        "true_noise_level": float(np.sqrt(np.mean(variances)) * 255),
    }


def _require_no_other(folder: Path, stems: set[str]) -> None:
    """Check that a folder holds no images but those that will be written again."""
    if folder.is_dir() and holds_images(folder):
        for path in find_images(folder):
            if path.stem not in stems:
                raise UserError(
                    f"{path}: is of other photographs; name an empty folder, or clear it"
                )


def _write_hr(target: Path, one: Photograph) -> None:
    target.mkdir(parents=True, exist_ok=True)
    write_png(target / f"{one.stem}.png", one.read())


@dataclass(frozen=True)
class _Shot:
    """What all pictures of a run have in common."""

    folder: Path
    scale: int
    settings: DemoSettings
    camera: Camera

    def shoot(self, one: Photograph, target: Path, truth: str) -> float:
        """Write the camera's file and the clean view; returns the mean variance of the noise."""
        camera, clean_folder = self.camera, self.folder / "truth" / truth
        clean = camera.clean(one.read(), self.scale)
        image = camera.capture(clean, generator(self.settings.seed, f"demo/{one.purpose}"))
        for where in (target, clean_folder):
            where.mkdir(parents=True, exist_ok=True)
        _write_lr(target, one.stem, image, camera)
        write_png(clean_folder / f"{one.stem}.png", to_uint8(camera.developed(clean)))
        return camera.noise_deviation(clean).square().mean().item()

    def write_pairs(self, one: Photograph) -> None:
        """Write the captures of one HR image, each beside a copy of it."""
        pairs, seed = self.folder / "pairs", self.settings.seed
        for path in pairs.glob(f"*/{escape(one.stem)}_*"):  # of a run with more of them
            if path.stem.removeprefix(f"{one.stem}_").isdigit():
                path.unlink()
        if not self.settings.captures:
            return
        clean = self.camera.clean(one.read(), self.scale)
        for side in ("hr", "lr"):
            (pairs / side).mkdir(parents=True, exist_ok=True)
        for k in range(self.settings.captures):
            stem = f"{one.stem}_{k:02d}"
            image = self.camera.capture(clean, generator(seed, f"demo/captures/{one.purpose}", k))
            _write_lr(pairs / "lr", stem, image, self.camera)
            copyfile(self.folder / "hr" / f"{one.stem}.png", pairs / "hr" / f"{stem}.png")


def _write_lr(target: Path, stem: str, image: Image, camera: Camera) -> None:
    for suffix in (".jpg", ".png"):  # of a run with another camera
        (target / f"{stem}{suffix}").unlink(missing_ok=True)
    if camera.jpeg_quality is None:
        write_png(target / f"{stem}.png", image)
    else:
        path = target / f"{stem}.jpg"
        write_jpeg(path, image, camera.jpeg_quality, camera.jpeg_subsampling)
