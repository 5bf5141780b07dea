"""Evaluation of an SR model on held-out images, together with bicubic upsampling.

Pairs are scored under the protocols of the settings, and by NIQE if there is a model file of it.
LR images without HR are scored by NIQE alone.
"""

import csv
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pydantic import Field
from tqdm import tqdm

from pipeline.base.errors import UserError
from pipeline.base.files import make_folder, whole
from pipeline.base.settings import Count
from pipeline.evaluate.tiled import Tiling, enlarge, on_device
from pipeline.images import drawing
from pipeline.images.filters import bicubic_upsample
from pipeline.images.io import Image, to_float, to_uint8, write_png
from pipeline.parallel.background import read_ahead, write_behind
from pipeline.scores.scorer import METHODS, NIQE, ImageScores, Scorer, ScoreSettings
from pipeline.srn.file import open_model
from pipeline.stores.reader import Store

PICTURE_ROWS = 16
"""Number of images in the side-by-side picture, the first ones of the store."""

log = logging.getLogger(__name__)


class EvaluateSettings(ScoreSettings):
    """The section ``evaluate``."""

    tile: Count = 256
    """Side of a tile in LR pixels."""
    halo: int = Field(32, ge=0)
    """LR pixels around a tile that the network also sees."""
    picture_crop: Count = 200
    """Side in HR pixels of the centre crop shown in the side-by-side pictures."""


def evaluate(
    val: Store, model: Path, settings: EvaluateSettings, folder: Path
) -> dict[str, object]:
    """Score a model on the images of a store; one image is in memory at a time.

    Writes into the folder ``images.csv`` (a row per image, method and protocol),
    ``side_by_side.png``, and the SR images under ``sr/``.

    Args:
        val: Store of kind val, pairs; or of kind lr, images without HR, for NIQE alone.
        model: Any SR model file that spandrel opens.
        settings: The section ``evaluate``.
        folder: Where the results go.

    Returns:
        Metrics: number of images, weights of LPIPS, by protocol its border, colour, window and the
        mean scores of the model and of bicubic upsampling, and for NIQE the file and hash of its
        model and both means.  A mean is infinite or NaN where one of its values is: PSNR of an SR
        image that equals its HR image, NIQE of one without texture.

    Raises:
        UserError: The model cannot be opened or has another scale, weights or the NIQE model cannot
            be read, an image is too small to be scored, or the folder cannot be made.

    """
    network = open_model(model)
    if network.scale != val.scale:
        raise UserError(f"{model} has the scale {network.scale}, but {val.path} has {val.scale}")
    scorer = Scorer(val, settings)
    if not scorer.columns:
        log.warning(
            "%s has no HR images and evaluate.niqe_model is none, so there is nothing to score; "
            "only the SR images are written",
            val.path,
        )
    device, tiling = on_device(network), Tiling(settings.tile, settings.halo)
    make_folder(folder / "sr")
    rows: list[ImageScores] = []
    shown: list[tuple[str, dict[str, Image]]] = []

    def write(images: Iterator[tuple[str, Image]]) -> None:
        for image_id, sr in images:
            write_png(folder / "sr" / f"{image_id}.png", sr)

    with write_behind(write) as put, read_ahead(_read(val)) as inputs:
        for image_id, lr, hr in tqdm(inputs, "evaluate", len(val.ids), unit="image"):
            bicubic = to_uint8(bicubic_upsample(to_float(lr), val.scale))
            sr = enlarge(network, lr, val.scale, tiling, device)
            put((image_id, sr))
            images = dict(zip(METHODS, (bicubic, sr), strict=True))
            for method, image in images.items():
                rows += scorer.rows(image_id, method, image, hr)
            if len(shown) < PICTURE_ROWS:
                images |= {} if hr is None else {"HR": hr}
                crops = {name: _centre(one, settings.picture_crop) for name, one in images.items()}
                shown.append((image_id, crops))
    named = [replace(row, image=val.file_name(row.image)) for row in rows]
    _write_table(named, scorer.columns, folder / "images.csv")
    _draw(shown, rows, folder / "side_by_side.png")
    return {"images": len(val.ids), **scorer.metrics(rows)}


class ValImage(NamedTuple):
    """An image that the model is evaluated on."""

    id: str
    lr: Image
    hr: Image | None
    """None in a store without HR images."""


def _read(val: Store) -> Iterator[ValImage]:
    for image_id in val.ids:
        if val.kind == "val":
            yield ValImage(image_id, val.read(image_id, "lr"), val.read(image_id, "hr"))
        else:
            yield ValImage(image_id, val.read(image_id, "image"), None)


def _write_table(rows: Sequence[ImageScores], columns: Sequence[str], path: Path) -> None:
    with whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "method", "protocol", *columns])
        for row in rows:
            values = [f"{row.scores[key]:.4f}" if key in row.scores else "" for key in columns]
            writer.writerow([row.image, row.method, row.protocol, *values])


def _draw(
    shown: Sequence[tuple[str, dict[str, Image]]], rows: Sequence[ImageScores], path: Path
) -> None:
    notes: dict[tuple[str, str], str] = {}
    for row in rows:  # the first of an image and method: the first protocol, or else NIQE
        notes.setdefault((row.image, row.method), _note(row))
    columns = max((len(images) for _, images in shown), default=1)
    figure, axes = drawing.sheet(max(len(shown), 1), columns, side=3.2)
    for drawn in axes:
        for axis in drawn:
            axis.set_axis_off()
    for drawn, (image_id, images) in zip(axes, shown, strict=False):
        for axis, (method, image) in zip(drawn, images.items(), strict=True):
            drawing.show(axis, image, f"{method}: {notes.get((image_id, method), image_id)}")
    drawing.save(figure, path)


def _note(row: ImageScores) -> str:
    if row.protocol == NIQE:
        return f"NIQE {row.scores['niqe']:.2f}"
    return f"{row.scores['psnr']:.2f} dB, SSIM {row.scores['ssim']:.3f} ({row.protocol})"


def _centre(image: Image, side: int) -> Image:
    """A copy of the centre crop, so that the whole image is not kept in memory."""
    _, height, width = image.shape
    top, left = max(height - side, 0) // 2, max(width - side, 0) // 2
    return image[:, top : top + side, left : left + side].copy()
