"""Export: every HR image once through the DSN, mean and theta into ``maps.zarr``."""

import hashlib
from pathlib import Path

import numpy as np
from pydantic import Field
from tqdm import tqdm

from pipeline.checkpoints import file_hash, load_weights
from pipeline.degrader import Degrader
from pipeline.errors import UserError
from pipeline.networks.dsn import FORMAT
from pipeline.settings import Settings
from pipeline.stores import ARRAYS, CHUNK, Store, StoreWriter, round_mantissa
from pipeline.tiling import tiles


class ExportSettings(Settings):
    """The section ``export``."""

    tile: int = Field(gt=0)
    """Side of a tile in LR pixels; memory grows with its square."""
    mean_keep_bits: int = Field(ge=1, le=10)
    """Mantissa bits of the mean that are kept: relative error at most 2^-(bits + 1)."""
    theta_keep_bits: int = Field(ge=1, le=10)
    """Mantissa bits of theta that are kept."""


def export(hr: Store, weights: Path, settings: ExportSettings, target: Path) -> dict[str, float]:
    """Write ``maps.zarr`` for all images of an HR store, or go on with an interrupted export.

    Memory is bounded by a chunk of the store and a tile, whatever the size of the images.

    Args:
        hr: Store of kind hr.
        weights: DSN file.
        settings: The section ``export``.
        target: The store to write.

    Returns:
        Metrics: number of images and of LR pixels, mean, lowest and highest theta in gray levels.

    Raises:
        UserError: The scales differ or a file cannot be read or written.

    """
    degrader = Degrader.load(weights)
    if degrader.scale != hr.scale:
        raise UserError(f"{weights} has the scale {degrader.scale}, but {hr.path} has {hr.scale}")
    metadata = load_weights(weights, FORMAT)[1]
    attributes = {
        "reference": metadata.get("reference", "unknown"),
        "dsn_hash": file_hash(weights),
        "dsn_settings": metadata["settings"],
        "export_settings": settings.model_dump(),
        "relative_error": {
            "mean": 2.0 ** -(settings.mean_keep_bits + 1),
            "theta": 2.0 ** -(settings.theta_keep_bits + 1),
        },
        "hr_digest": hr.digest,
    }
    with StoreWriter(target, "maps", hr.scale, hr.ids, attributes, resumable=True) as writer:
        for image_id in tqdm(hr.ids, "export", unit="image"):
            if not writer.done(image_id):
                _export_image(hr, image_id, degrader, settings, writer)
    return _summary(Store(target, "maps"))


def _export_image(
    hr: Store, image_id: str, degrader: Degrader, settings: ExportSettings, writer: StoreWriter
) -> None:
    height, width = (length // hr.scale for length in hr.size(image_id))
    arrays = {
        name: writer.start(image_id, height, width, name, "float16") for name in ARRAYS["maps"]
    }
    keep = {"mean": settings.mean_keep_bits, "theta": settings.theta_keep_bits}
    digest = hashlib.sha256()
    for chunk in tiles(height, width, CHUNK["maps"]):
        outer, inner = degrader.part(hr.size(image_id), chunk)
        maps = degrader.tiled(hr.read(image_id, "image", outer), settings.tile)
        for name, values in zip(ARRAYS["maps"], maps, strict=True):
            rounded = round_mantissa(values[inner.slices], keep[name])
            arrays[name][chunk.slices] = rounded
            digest.update(rounded.tobytes())
    writer.finish(image_id, digest.hexdigest())


def _summary(maps: Store) -> dict[str, float]:
    total, pixels, low, high = 0.0, 0, np.inf, 0.0
    for image_id in maps.ids:
        for box in tiles(*maps.size(image_id), CHUNK["maps"]):
            theta = maps.read(image_id, "theta", box).astype(np.float64) * 255
            total, pixels = total + theta.sum(), pixels + theta.size
            low, high = min(low, theta.min()), max(high, theta.max())
    return {
        "images": len(maps.ids),
        "lr_pixels": pixels // 3,
        "theta_mean": float(total / pixels),
        "theta_min": float(low),
        "theta_max": float(high),
    }
