"""Crops of validation images for a comparison side by side: bicubic, every network, HR."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.base.boxes import Box
from pipeline.base.errors import UserError, listed
from pipeline.images.filters import bicubic_upsample
from pipeline.images.io import Image, size_text, to_float, to_uint8, webp
from pipeline.reading.files import read_image
from pipeline.run_page.scores import image_scores
from pipeline.stores.reader import Store
from pipeline.uncertainty.pairs import evenly

IMAGES = 6
"""Most images that are shown."""
SIDE = 336
"""Side of a crop in HR pixels, at most: a phone shows each pixel, a window three crops in a row."""
MARGIN = 8
"""LR pixels around a crop that its bicubic upsampling sees; more change nothing."""
BUDGET = 3_000_000
"""Most letters of all pictures together, as they are written in the page."""
QUALITIES = (None, 95, 90, 85, 80, 75)
"""Of WebP, tried in this order until the budget holds; None: lossless."""
STEP = 4
"""LR pixels between two places where a crop may begin."""


@dataclass(frozen=True)
class Shot:
    """One image."""

    name: str
    area: Box
    """On the HR grid."""
    pictures: dict[str, str]
    """``data:`` URIs by what they are: bicubic, the names of the networks, HR."""
    scores: dict[str, float]
    """PSNR of the whole image by what is scored."""


@dataclass(frozen=True)
class Comparison:
    """The crops of a page."""

    shots: list[Shot]
    chosen: str
    """In words: which images these are."""
    quality: int | None
    """Of WebP; None: lossless."""


@dataclass(frozen=True)
class _Crops:
    """The pixels of a shot."""

    name: str
    area: Box
    images: dict[str, Image]
    scores: dict[str, float]


def compare(val: Store, folders: Mapping[str, Path]) -> Comparison | None:
    """Cut the crops; None if no network's SR images are there.

    A network without SR images of them, which was evaluated on others, is left out and named.

    Args:
        val: The validation images.
        folders: Folders of ``evaluate``, by the name of the network.

    Raises:
        UserError: An SR image is damaged, or is not of the size of its HR image.

    """
    there = {name: folder for name, folder in folders.items() if (folder / "sr").is_dir()}
    if not there:
        return None
    scores = {name: image_scores(folder / "images.csv") for name, folder in there.items()}
    ids, chosen = _choose(val, next(iter(scores.values())))
    if others := [name for name, folder in there.items() if not _has(folder, ids)]:
        there = {name: folder for name, folder in there.items() if name not in others}
        chosen += f"; without {listed(others, 6)}: evaluated on other images, dvc repro makes these"
    if not there:
        return None
    scores = {name: scores[name] for name in there}
    crops = []
    for image in tqdm(ids, "report: crops", unit="image"):
        cut = _crops(val, image, there)
        named = val.file_name(image)
        found = {name: own.get((named, "model"), {}) for name, own in scores.items()}
        found["bicubic"] = next(iter(scores.values())).get((named, "bicubic"), {})
        psnr = {name: own["psnr"] for name, own in found.items() if "psnr" in own}
        crops.append(_Crops(named, cut[0], cut[1], psnr))
    shots, quality = _within_budget(crops)
    if len(shots) < len(crops):
        chosen += f"; of these the first {len(shots)}, so that the page stays small"
    return Comparison(shots, chosen, quality)


def _has(folder: Path, ids: Sequence[str]) -> bool:
    """Whether a network's folder has the SR images of all ids."""
    return all((folder / "sr" / f"{image}.png").is_file() for image in ids)


def _choose(
    val: Store, scores: Mapping[tuple[str, str], Mapping[str, float]]
) -> tuple[list[str], str]:
    """Ids of the images to show, and words on the choice."""
    if len(val.ids) <= IMAGES:
        return list(val.ids), "all validation images"
    psnr = {image: scores.get((val.file_name(image), "model"), {}).get("psnr") for image in val.ids}
    known = {image: value for image, value in psnr.items() if value is not None}
    if len(known) < IMAGES:
        return evenly(
            val.ids, IMAGES
        ), f"{IMAGES} of {len(val.ids)} validation images, evenly by name"
    ordered = sorted(known, key=lambda image: (known[image], image))
    return evenly(ordered, IMAGES), (
        f"{IMAGES} of {len(val.ids)} validation images, evenly from the lowest to the highest PSNR "
        "of the first network"
    )


def _crops(val: Store, image: str, folders: Mapping[str, Path]) -> tuple[Box, dict[str, Image]]:
    """The area of an image with most detail, on the HR grid, and its pictures."""
    scale, paired = val.scale, val.kind == "val"
    lr = val.read(image, "lr" if paired else "image")
    hr = val.read(image, "hr") if paired else None
    area = most_detailed(lr if hr is None else hr[:, ::scale, ::scale], max(SIDE // scale, 1))
    large = area.times(scale)
    images = {"bicubic": _bicubic(lr, area, scale)}
    size = tuple(length * scale for length in lr.shape[1:])
    for name, folder in folders.items():
        path = folder / "sr" / f"{image}.png"
        sr = read_image(path)
        if sr.shape[1:] != size:
            raise UserError(
                f"{path}: is {size_text(sr)}, but the validation image '{image}' makes "
                f"{size[0]}x{size[1]}; run the evaluate stage again"
            )
        images[name] = _cut(sr, large)
    if hr is not None:
        images["HR"] = _cut(hr, large)
    return large, images


def most_detailed(image: Image, side: int) -> Box:
    """The square of an image (3, H, W) with the largest sum of absolute differences of neighbours.

    Args:
        image: The pixels.
        side: Of the square, in pixels; a smaller image is taken whole along that axis.

    """
    luma = image.astype(np.float64).mean(axis=0)
    detail = np.zeros_like(luma)
    detail[1:] += np.abs(np.diff(luma, axis=0))
    detail[:, 1:] += np.abs(np.diff(luma, axis=1))
    height, width = (min(side, length) for length in luma.shape)
    sums = np.pad(detail.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width]
    inside = (inside + sums[:-height, :-width])[::STEP, ::STEP]
    row, column = np.unravel_index(int(np.round(inside, 3).argmax()), inside.shape)
    top, left = int(row) * STEP, int(column) * STEP
    return Box(top, top + height, left, left + width)


def _bicubic(lr: Image, area: Box, scale: int) -> Image:
    """The bicubic upsampling of an area of an LR image, as of the whole."""
    top, left = max(area.top - MARGIN, 0), max(area.left - MARGIN, 0)
    around = lr[:, top : area.bottom + MARGIN, left : area.right + MARGIN]
    enlarged = to_uint8(bicubic_upsample(to_float(np.ascontiguousarray(around)), scale))
    inner = Box(area.top - top, area.bottom - top, area.left - left, area.right - left)
    return _cut(enlarged, inner.times(scale))


def _cut(image: Image, area: Box) -> Image:
    """A copy, so that the whole image is not kept in memory."""
    return image[area.slices].copy()


def _within_budget(crops: Sequence[_Crops]) -> tuple[list[Shot], int | None]:
    """The pictures in the best quality that the budget allows; fewer images if none does."""
    for quality in QUALITIES:
        shots = _encoded(crops, quality)
        if len(shots) == len(crops):
            return shots, quality
    return shots or [_shot(crops[0], quality)], quality


def _encoded(crops: Sequence[_Crops], quality: int | None) -> list[Shot]:
    """As many of the shots as the budget allows."""
    shots: list[Shot] = []
    left = BUDGET
    for one in tqdm(crops, "report: pictures", unit="image", leave=False):
        shot = _shot(one, quality)
        left -= sum(len(uri) for uri in shot.pictures.values())
        if left < 0:
            break
        shots.append(shot)
    return shots


def _shot(crops: _Crops, quality: int | None) -> Shot:
    pictures = {
        name: "data:image/webp;base64," + b64encode(webp(image, quality)).decode()
        for name, image in crops.images.items()
    }
    return Shot(crops.name, crops.area, pictures, crops.scores)
