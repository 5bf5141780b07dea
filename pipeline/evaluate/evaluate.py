"""Evaluation of an SR model on held-out images, together with bicubic upsampling.

Pairs are scored under the protocols of the settings, and by NIQE if there is a model file of it.
LR images without HR are scored by NIQE alone.
"""

import csv
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field, field_validator
from tqdm import tqdm

from pipeline.base.errors import UserError
from pipeline.base.files import make_folder, whole
from pipeline.base.settings import Count, Settings
from pipeline.evaluate.full_reference import HAAR_SIDE, MEASURES, Lpips, score
from pipeline.evaluate.niqe import BLOCK, enough, niqe
from pipeline.evaluate.niqe_model import load_model
from pipeline.evaluate.protocols import Name, Protocol, protocol
from pipeline.evaluate.tiled import Tiling, enlarge, on_device
from pipeline.images import drawing
from pipeline.images.filters import bicubic_upsample
from pipeline.images.io import Image, to_float, to_uint8, write_png
from pipeline.parallel.background import read_ahead, write_behind
from pipeline.srn.file import open_model
from pipeline.stores.reader import Store

PICTURE_ROWS = 16
"""Number of images in the side-by-side picture, the first ones of the store."""

ALEXNET_SIDE = 31
"""Least side in HR pixels, without the border, that LPIPS needs."""

METHODS = ("bicubic", "model")
NIQE = "niqe"
"""Value of the column ``protocol`` in rows of NIQE, which sees the whole image in any protocol."""

log = logging.getLogger(__name__)


class EvaluateSettings(Settings):
    """The section ``evaluate``."""

    protocols: list[Name] = Field(["usrdu", "rwsr2020", "y"], min_length=1)
    """How pairs are compared; the side-by-side picture shows the figures of the first."""
    lpips_weights: str = "none"
    """AlexNet for LPIPS: ``imagenet``, a file, or ``none`` to leave LPIPS out."""
    niqe_model: str = "none"
    """Pristine model of NIQE: a file, or ``none`` to leave NIQE out."""
    tile: Count = 256
    """Side of a tile in LR pixels."""
    halo: int = Field(32, ge=0)
    """LR pixels around a tile that the network also sees."""
    picture_crop: Count = 200
    """Side in HR pixels of the centre crop shown in the side-by-side pictures."""

    @field_validator("protocols")
    @classmethod
    def _nothing_twice(cls, names: list[Name]) -> list[Name]:
        if len(set(names)) < len(names):
            raise ValueError(f"protocols names something twice: {names}")
        return names


@dataclass(frozen=True)
class ImageScores:
    """The scores of one image."""

    image: str
    method: str
    """``bicubic`` or ``model``."""
    protocol: str
    """Its name, or ``niqe``."""
    scores: dict[str, float]


class Scorer:
    """Scores images as the settings say; reads and checks everything it needs when it is made.

    Args:
        val: The images that will be scored.
        settings: The section ``evaluate``.

    Raises:
        UserError: Weights or a model cannot be read, or an image is too small for a score.

    """

    def __init__(self, val: Store, settings: EvaluateSettings) -> None:
        paired = val.kind == "val"
        names = settings.protocols if paired else []
        self.protocols = [protocol(name, val.scale) for name in names]
        self.lpips_weights = settings.lpips_weights if paired else "none"
        self.niqe = None if settings.niqe_model == "none" else load_model(Path(settings.niqe_model))
        self._require_sizes(val)
        self.lpips = None if self.lpips_weights == "none" else Lpips(self.lpips_weights)
        self.columns = [*MEASURES] if paired else []
        self.columns += ["lpips"] if self.lpips else []
        self.columns += ["niqe"] if self.niqe else []

    def _require_sizes(self, val: Store) -> None:
        sides = [2 * one.border + self._side(one) for one in self.protocols]
        grown = 1 if val.kind == "val" else val.scale
        for image_id in val.ids:
            height, width = (length * grown for length in val.size(image_id))
            size = f"{val.path}: the SR image of '{image_id}' is {height}x{width}"
            if min(height, width) < (side := max(sides, default=0)):
                raise UserError(f"{size}; scores need {side}x{side}")
            if self.niqe and not enough(height, width):
                raise UserError(f"{size}; NIQE needs two blocks of {BLOCK}x{BLOCK}")

    def _side(self, one: Protocol) -> int:
        return max(one.window_side, HAAR_SIDE if self.lpips_weights == "none" else ALEXNET_SIDE)

    def rows(self, image_id: str, method: str, sr: Image, hr: Image | None) -> list[ImageScores]:
        """All scores of one SR image; without an HR image, NIQE alone."""
        found = []
        if hr is not None:
            scored = score(sr, hr, self.protocols, self.lpips)
            for one, scores in zip(self.protocols, scored, strict=True):
                found.append(ImageScores(image_id, method, one.name, scores))
        if self.niqe:
            found.append(ImageScores(image_id, method, NIQE, {"niqe": niqe(sr, self.niqe)}))
        return found

    def metrics(self, rows: Sequence[ImageScores]) -> dict[str, Any]:
        """Means of the scores by protocol and method, with the protocols and models used."""
        described: dict[str, Any] = {"lpips_weights": self.lpips_weights, "niqe": None}
        described["protocols"] = {
            one.name: one.describe() | {name: _means(rows, one.name, name) for name in METHODS}
            for one in self.protocols
        }
        if self.niqe:
            described["niqe"] = {
                "model_file": self.niqe.file,
                "model_sha256": self.niqe.sha256,
                **{name: _means(rows, NIQE, name).get("niqe") for name in METHODS},
            }
        return described


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


def _means(rows: Sequence[ImageScores], name: str, method: str) -> dict[str, float]:
    """Means of the scores of a protocol and method."""
    chosen = [row.scores for row in rows if (row.protocol, row.method) == (name, method)]
    return {key: float(np.mean([one[key] for one in chosen])) for key in (chosen or [{}])[0]}


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
