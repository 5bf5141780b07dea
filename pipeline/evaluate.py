"""Evaluation of an SR model on held-out pairs, beside bicubic upsampling."""

import csv
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from tqdm import tqdm

from pipeline import pictures
from pipeline.checkpoints import make_folder
from pipeline.errors import UserError
from pipeline.filters import bicubic_upsample
from pipeline.images import Image, to_float, to_uint8, write_png
from pipeline.inference import enlarge
from pipeline.networks.srn import open_model
from pipeline.settings import Settings
from pipeline.similarity import BORDER, PROTOCOL, Lpips, psnr, ssim
from pipeline.stores import Store

PICTURE_ROWS = 16
"""Images shown in the side-by-side picture, the first ones of the store."""

SMALLEST = {False: 11, True: 31}
"""Sides in HR pixels, border cut, that SSIM's window needs, and with LPIPS those of AlexNet."""


class EvaluateSettings(Settings):
    """The section ``evaluate``."""

    lpips_weights: str
    """AlexNet for LPIPS: ``imagenet``, a file, or ``none`` to leave LPIPS out."""
    tile: int = Field(gt=0)
    """Side of a tile in LR pixels."""
    halo: int = Field(ge=0)
    """LR pixels around a tile that the network also sees."""
    picture_crop: int = Field(gt=0)
    """Side in HR pixels of the centre crop shown in the side-by-side pictures."""


Scores = dict[str, float]


def evaluate(
    val: Store, model: Path, settings: EvaluateSettings, folder: Path
) -> dict[str, object]:
    """Score a model on the pairs of a store.

    Writes into the folder ``images.csv`` (a row per image and method), ``side_by_side.png``, and
    the SR images under ``sr/``.

    Args:
        val: Store of kind val.
        model: Any SR model file that spandrel opens.
        settings: The section ``evaluate``.
        folder: Where the results go.

    Returns:
        Metrics: protocol, border, weights of LPIPS, number of images, and the mean scores of the
        model and of bicubic upsampling.

    Raises:
        UserError: The model cannot be opened or has another scale, an image is too small to be
            scored, or the folder cannot be made.

    """
    network = open_model(model)
    if network.scale != val.scale:
        raise UserError(f"{model} has the scale {network.scale}, but {val.path} has {val.scale}")
    _require_size(val, 2 * BORDER + SMALLEST[settings.lpips_weights != "none"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    lpips = None if settings.lpips_weights == "none" else Lpips(settings.lpips_weights)
    make_folder(folder / "sr")
    rows: list[tuple[str, str, Scores]] = []
    shown: list[tuple[str, list[tuple[str, Image]]]] = []
    for image_id in tqdm(val.ids, "evaluate", unit="image"):
        lr, hr = val.read(image_id, "lr"), val.read(image_id, "hr")
        bicubic = to_uint8(bicubic_upsample(to_float(lr), val.scale))
        sr = enlarge(network, lr, val.scale, settings.tile, settings.halo, device)
        write_png(folder / "sr" / f"{image_id}.png", sr)
        rows += [(image_id, "bicubic", _scores(bicubic, hr, lpips))]
        rows += [(image_id, "model", _scores(sr, hr, lpips))]
        if len(shown) < PICTURE_ROWS:
            images = {"bicubic": bicubic, "model": sr, "HR": hr}
            crops = [(name, _centre(i, settings.picture_crop)) for name, i in images.items()]
            shown.append((image_id, crops))
    _write_table(rows, folder / "images.csv")
    _draw(shown, rows, folder / "side_by_side.png")
    return {
        "protocol": PROTOCOL,
        "border": BORDER,
        "lpips_weights": settings.lpips_weights,
        "images": len(val.ids),
        "model": _means(rows, "model"),
        "bicubic": _means(rows, "bicubic"),
    }


def _require_size(val: Store, side: int) -> None:
    for image_id in val.ids:
        height, width = val.size(image_id)
        if min(height, width) < side:
            raise UserError(
                f"{val.path}: image '{image_id}' is {height}x{width}; scores need {side}x{side}"
            )


def _scores(sr: Image, hr: Image, lpips: Lpips | None) -> Scores:
    scores = {"psnr": psnr(sr, hr), "ssim": ssim(sr, hr)}
    return scores if lpips is None else {**scores, "lpips": lpips(sr, hr)}


def _means(rows: list[tuple[str, str, Scores]], method: str) -> Scores:
    scores = [row for _, name, row in rows if name == method]
    return {key: float(np.mean([row[key] for row in scores])) for key in (scores or [{}])[0]}


def _write_table(rows: list[tuple[str, str, Scores]], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = list(rows[0][2]) if rows else ["psnr", "ssim"]
        writer.writerow(["image", "method", *names])
        for image_id, method, scores in rows:
            writer.writerow([image_id, method, *(f"{scores[name]:.4f}" for name in names)])


def _draw(
    shown: list[tuple[str, list[tuple[str, Image]]]],
    rows: list[tuple[str, str, Scores]],
    path: Path,
) -> None:
    scores = {(image_id, method): row for image_id, method, row in rows}
    figure, axes = pictures.sheet(max(len(shown), 1), 3, side=3.2)
    for drawn in axes:
        for axis in drawn:
            axis.set_axis_off()
    for drawn, (image_id, images) in zip(axes, shown, strict=False):
        for axis, (method, image) in zip(drawn, images, strict=True):
            row = scores.get((image_id, method))
            note = f"{row['psnr']:.2f} dB, SSIM {row['ssim']:.3f}" if row else image_id
            pictures.show(axis, image, f"{method}: {note}")
    pictures.save(figure, path)


def _centre(image: Image, side: int) -> Image:
    """A copy of the middle, so that the whole image need not stay in memory."""
    _, height, width = image.shape
    top, left = max(height - side, 0) // 2, max(width - side, 0) // 2
    return image[:, top : top + side, left : left + side].copy()
