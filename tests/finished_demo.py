"""A small stand-in for the folder ``data/`` of a finished demo, for what the documents show."""

from pathlib import Path

import numpy as np
from conftest import calibration, picture
from doubles import plain_passport

from pipeline.dsn.file import CAMERA, DsnDescription, save_dsn
from pipeline.export.export import ExportSettings, export
from pipeline.stores.reader import Store
from pipeline.writing.writer import StoreWriter

HR_SIZES = {"astronaut": (256, 320), "coins": (192, 256)}
LR_SIZES = {"one": (96, 128), "two": (80, 144)}


def write_demo(data: Path) -> None:
    """Stores of HR and real LR images, a DSN straight from a passport, its maps, a calibration."""
    rng = np.random.default_rng(7)
    for folder in ("prepare", "train_dsn", "export", "calibrate"):
        (data / folder).mkdir(parents=True)
    hr, lr = data / "prepare/hr.zarr", data / "prepare/lr.zarr"
    with StoreWriter(hr, "hr", 4, list(HR_SIZES)) as writer:
        for name, size in HR_SIZES.items():
            writer.add(name, {"image": picture(rng, *size)})
    with StoreWriter(lr, "lr", 4, list(LR_SIZES)) as writer:
        for name, size in LR_SIZES.items():
            writer.add(name, {"image": picture(rng, *size)})
    dsn, described = data / "train_dsn/dsn.safetensors", DsnDescription(
        scale=4, features=1, blocks=1, learned_theta=True, prior_scale_gray=CAMERA,
        reference=CAMERA, passport=plain_passport(),
    )  # fmt: skip
    save_dsn(dsn, described.network(), described)
    maps = data / "export/maps.zarr"
    export(Store(hr, "hr"), dsn, ExportSettings(), maps)
    made = calibration(Store(maps, "maps"))
    path = data / "calibrate/calibration.json"
    path.write_text(made.model_dump_json(), encoding="utf-8")
