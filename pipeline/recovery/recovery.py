"""Recovery: what a learned degradation is worth downstream, on cameras whose truth is known.

For every simulated camera the same small SRN is trained from several sources of LR images: bicubic,
the DSN's mean, samples of it with several thetas, and the true camera.  With the score on held-out
photographs under the true camera,

    recovery = (score - score of bicubic) / (score of the true camera - score of bicubic).

Unlike the engines of the stages, which it runs, this one may import them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from accelerate import Accelerator
from pydantic import Field, model_validator
from tqdm import tqdm

from pipeline.base.errors import UserError
from pipeline.base.files import make_folder, write_whole
from pipeline.base.hashes import fingerprint
from pipeline.base.seeding import generator
from pipeline.base.settings import Settings
from pipeline.calibrate.calibrate import CalibrateSettings, calibrate
from pipeline.crops.memory import MachineSettings, allowed
from pipeline.crops.places import require_crop
from pipeline.demo.camera import Camera
from pipeline.demo.demo import DemoSettings, write_demo
from pipeline.evaluate.full_reference import Lpips, haarpsi, psnr
from pipeline.evaluate.protocols import USRDU
from pipeline.evaluate.tiled import Tiling, enlarge
from pipeline.export.export import ExportSettings, export
from pipeline.images.io import Image
from pipeline.prepare.datasets import SIDES, find_files, find_pairs
from pipeline.prepare.prepare import prepare_hr, prepare_lr, prepare_pairs
from pipeline.recovery.table import Score, csv_text, recovery_table, table_text
from pipeline.sampling.calibration import Calibration
from pipeline.stores.reader import Store
from pipeline.train_dsn.settings import TrainDsnSettings
from pipeline.train_dsn.train import DsnMaterial, train_dsn
from pipeline.train_srn.settings import Architecture, TrainSrnSettings
from pipeline.train_srn.streams import CaptureStream, Stream, bicubic_stream
from pipeline.train_srn.train import SrnMaterial, SrnTrainer, open_stream
from pipeline.training.description import Places, Training
from pipeline.training.learner import make_accelerator
from pipeline.training.loop import TrainingLoop

Source = Literal["bicubic", "mean", "raw", "constant", "calibrated", "camera"]
THETA = {"mean": "none", "raw": "raw", "constant": "constant", "calibrated": "calibrated"}
"""Sources that come from a DSN, and the setting of the SRN training that makes them."""
TILE, HALO = 256, 32
"""LR pixels, of the SRN applied to the held-out photographs."""


class RecoverySettings(Settings):
    """The section ``recovery``."""

    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    """Seeds of the SRN trainings, each from every source."""
    sources: list[Source] = Field(min_length=1)
    """What the SRNs are trained on; bicubic and camera are always among them."""
    captures: int = Field(gt=0)
    """Captures of every HR image by the true camera, of which a crop takes one at random."""
    architecture: Architecture
    """The SRN, as in the section ``architectures``."""
    train_srn: dict[str, object]
    """What differs from the section ``train_srn``."""
    recipes: dict[str, dict[str, object]] = Field(min_length=1)
    """Ways to train the DSN: what each changes in the section ``train_dsn``, by name."""

    @model_validator(mode="after")
    def _nothing_twice(self) -> "RecoverySettings":
        for key, values in (("seeds", self.seeds), ("sources", self.sources)):
            if len(set(values)) < len(values):
                raise ValueError(f"{key} names something twice: {values}")
        return self


@dataclass(frozen=True)
class Recipes:
    """Everything a run is made of but the camera."""

    scale: int
    recovery: RecoverySettings
    train_srn: TrainSrnSettings
    """With the changes of the section ``recovery``."""
    train_dsn: Mapping[str, TrainDsnSettings]
    """By recipe."""
    export: ExportSettings
    calibrate: CalibrateSettings
    lpips_weights: str
    """As in the section ``evaluate``; without them the perceptual measure is HaarPSI."""
    machine: MachineSettings


class World:
    """What one simulated camera makes of the photographs of the demo, in stores under a folder.

    Args:
        name: Of the camera.
        camera: The camera.
        scale: HR pixels per LR pixel.
        folder: Where the stores are, or are written.

    """

    def __init__(self, name: str, camera: Camera, scale: int, folder: Path) -> None:
        self.name, self.camera, self.scale = name, camera, scale
        self.folder = folder / f"{name}-{fingerprint(camera.model_dump(), scale)}"
        if not (self.folder / "val.zarr").exists():
            raw = self.folder / "raw"
            write_demo(raw, scale, DemoSettings(seed=0, camera=name), camera)
            hr, lr = (find_files(raw / side, side, "none", scale) for side in SIDES)
            prepare_hr(hr, scale, self.folder / "hr.zarr")
            prepare_lr(lr, scale, self.folder / "lr.zarr")
            pairs = find_pairs(raw / "val", "none", scale)
            prepare_pairs(pairs, scale, self.folder / "val.zarr")
        self.hr = Store(self.folder / "hr.zarr", "hr")
        self.lr = Store(self.folder / "lr.zarr", "lr")
        self.val = Store(self.folder / "val.zarr", "val")
        self.photographs = [self.hr.read(image_id, "image") for image_id in self.hr.ids]
        self.maps: dict[str, tuple[Store, Calibration]] = {}

    def captures(self, count: int) -> list[list[Image]]:
        """``count`` pictures of every HR photograph by the camera."""
        made = []
        for image_id, hr in zip(self.hr.ids, self.photographs, strict=True):
            clean = self.camera.clean(hr, self.scale)
            draws = [generator(k, f"recovery/{image_id}") for k in range(count)]
            made.append([self.camera.expose(clean, draw) for draw in draws])
        return made


def recover(
    cameras: Mapping[str, Camera], recipes: Recipes, folder: Path, work: Path
) -> dict[str, object]:
    """Train and score all SRNs, or those that are missing, and write the tables.

    Args:
        cameras: By name.
        recipes: Everything else.
        folder: Where ``scores.csv`` (a row per SRN), ``recovery.csv`` (a row per source) and
            ``recovery.md`` (the same to read) go.
        work: Where stores, maps and finished scores are kept for a run that goes on.

    Returns:
        Metrics: the measures, and the rows of ``recovery_table``; None where there is no number.

    Raises:
        UserError: There is no camera, a folder cannot be written, a crop is larger than an image,
            or a training diverged.

    """
    if not cameras:
        raise UserError("there is no camera to recover")
    make_folder(folder)
    jobs, scores = _jobs(recipes.recovery), []
    with tqdm(total=len(cameras) * len(jobs), desc="recovery", unit="SRN") as bar:
        for name, camera in cameras.items():
            world = World(name, camera, recipes.scale, work)
            patch = recipes.train_srn.lr_patch * recipes.scale
            require_crop(world.hr, patch, f"train_srn.lr_patch (times {recipes.scale})")
            for job in jobs:
                scores.append(_score(world, recipes, *job))
                bar.update()
    rows = recovery_table(scores)
    perceptual = "haarpsi" if recipes.lpips_weights == "none" else "lpips"
    write_whole(folder / "scores.csv", csv_text([vars(score) for score in scores]).encode())
    write_whole(folder / "recovery.csv", csv_text(rows).encode())
    write_whole(folder / "recovery.md", table_text(rows, perceptual).encode())
    return {
        "protocol": USRDU.name,
        "perceptual": perceptual,
        "lpips_weights": recipes.lpips_weights,
        "seeds": recipes.recovery.seeds,
        "rows": rows,
    }


def _jobs(settings: RecoverySettings) -> list[tuple[str, str, int]]:
    """(recipe, source, seed) of every SRN of a camera; the recipe is empty where none matters."""
    learned = [source for source in settings.sources if source in THETA]
    kinds = [("", "bicubic"), ("", "camera")]
    kinds += [(recipe, source) for recipe in settings.recipes for source in learned]
    return [(recipe, source, seed) for recipe, source in kinds for seed in settings.seeds]


def _score(world: World, recipes: Recipes, recipe: str, source: str, seed: int) -> Score:
    """Train and score one SRN, unless an earlier run did."""
    changes = {"seed": seed, "lr_from": "maps", "theta": THETA.get(source, "none")}
    changes["constant_theta_gray"] = None
    settings = recipes.train_srn.model_copy(update=changes)
    key: list[object] = [settings.model_dump(), recipes.recovery.architecture.model_dump()]
    key += [recipe, source, recipes.lpips_weights, recipes.recovery.captures]
    if recipe:
        key += [recipes.train_dsn[recipe].model_dump(), recipes.calibrate.model_dump()]
        key += [recipes.export.model_dump()]
    kept = world.folder / "scores" / f"{fingerprint(*key)}.json"
    if kept.exists():
        return Score(**json.loads(kept.read_text(encoding="utf-8")))
    accelerator = make_accelerator(settings)
    stream = _stream(world, recipes, settings, recipe, source, accelerator)
    trainer = SrnTrainer(stream, recipes.recovery.architecture, settings, accelerator)
    name = " ".join(part for part in (world.name, recipe, source, str(seed)) if part)
    folder = kept.with_suffix(".work")
    every = settings.log_every, recipes.machine.checkpoint_every
    run = TrainingLoop(
        Training(name, folder, trainer.steps, *every), trainer.parts, accelerator, trainer.data
    )
    for step in run:
        run.record(step, trainer.step(step))
    result = _evaluate(trainer, world, recipes.lpips_weights)
    score = Score(world.name, recipe, source, seed, *result)
    write_whole(kept, (json.dumps(vars(score)) + "\n").encode())
    run.close()
    return score


def _stream(
    world: World,
    recipes: Recipes,
    settings: TrainSrnSettings,
    recipe: str,
    source: str,
    accelerator: Accelerator,
) -> Stream:
    patch, memory = settings.lr_patch, allowed(recipes.machine, accelerator.device)
    demand = settings.demand(accelerator, memory)
    if source == "bicubic":
        return bicubic_stream(world.hr, patch, demand)
    if source == "camera":
        captures = world.captures(recipes.recovery.captures)
        return CaptureStream(world.photographs, captures, world.scale, patch, demand)
    maps, calibration = _maps(world, recipes, recipe)
    if calibration.fault and source in ("calibrated", "constant"):
        raise UserError(f"camera {world.name}: cannot be calibrated: {calibration.fault}")
    return open_stream(SrnMaterial(world.hr, maps, calibration), settings, demand)


def _maps(world: World, recipes: Recipes, recipe: str) -> tuple[Store, Calibration]:
    """Mean and theta of a recipe, trained and exported unless an earlier run did."""
    if recipe in world.maps:
        return world.maps[recipe]
    settings = recipes.train_dsn[recipe]
    folder = world.folder / fingerprint(settings.model_dump(), recipes.export.model_dump())
    path = folder / "maps.zarr"
    if not path.exists():
        weights = folder / "dsn.safetensors"
        material = DsnMaterial(world.hr, world.lr)
        metrics = train_dsn(material, settings, recipes.machine, Places(folder, folder / "work"))
        write_whole(folder / "dsn.json", (json.dumps(metrics) + "\n").encode())
        export(world.hr, weights, recipes.export, path)
    maps = Store(path, "maps")
    calibration, measured = calibrate(maps, world.lr, recipes.calibrate)
    write_whole(folder / "calibration.json", (json.dumps(measured) + "\n").encode())
    world.maps[recipe] = maps, calibration
    return maps, calibration


def _evaluate(trainer: SrnTrainer, world: World, lpips_weights: str) -> tuple[float, float]:
    """Means over the held-out photographs: PSNR in dB, and HaarPSI or LPIPS."""
    network, device = trainer.ema.module.eval(), trainer.device
    lpips = None if lpips_weights == "none" else Lpips(lpips_weights)
    found = []
    for image_id in world.val.ids:
        lr, hr = world.val.read(image_id, "lr"), world.val.read(image_id, "hr")
        sr = enlarge(network, lr, world.scale, Tiling(TILE, HALO), device)
        perceptual = haarpsi if lpips is None else lpips
        found.append((psnr(sr, hr, USRDU), perceptual(sr, hr, USRDU)))
    means = np.mean(found, axis=0).tolist()
    return means[0], means[1]
