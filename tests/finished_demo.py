"""A small stand-in for the folder ``data/`` of a finished demo, for what the documents show."""

from pathlib import Path

import numpy as np
from conftest import calibration, picture
from doubles import write_dsn

from pipeline.export.export import ExportSettings, export
from pipeline.stores.reader import Store
from pipeline.writing.writer import StoreWriter

HR_SIZES = {"astronaut": (256, 320), "coins": (192, 256)}
LR_SIZES = {"one": (96, 128), "two": (80, 144)}


def write_demo(data: Path) -> None:
    """Stores of HR and real LR images, a DSN that no training has seen, its maps, a calibration."""
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
    dsn = write_dsn(data / "train_dsn/dsn.safetensors")
    maps = data / "export/maps.zarr"
    export(Store(hr, "hr"), dsn, ExportSettings(), maps)
    made = calibration(Store(maps, "maps"))
    path = data / "calibrate/calibration.json"
    path.write_text(made.model_dump_json(), encoding="utf-8")
