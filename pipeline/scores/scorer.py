"""Scores of SR images as the settings say: under protocols beside HR images, and by NIQE."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, field_validator

from pipeline.base.boxes import Box
from pipeline.base.errors import UserError
from pipeline.base.settings import Settings
from pipeline.images.io import Image
from pipeline.scores.full_reference import HAAR_SIDE, MEASURES, Lpips, score
from pipeline.scores.niqe import BLOCK, enough, niqe
from pipeline.scores.niqe_model import load_model
from pipeline.scores.protocols import Name, Protocol, protocol
from pipeline.stores.reader import Store

ALEXNET_SIDE = 31
"""Least side in HR pixels, without the border, that LPIPS needs."""
METHODS = ("bicubic", "model")
NIQE = "niqe"
"""Value of the column ``protocol`` in rows of NIQE, which sees the whole image in any protocol."""

Names = Annotated[list[Name], Field(min_length=1)]


class ScoreSettings(Settings):
    """The part of the section ``evaluate`` that says what is scored, and how."""

    protocols: Names = Field(["usrdu", "rwsr2020", "y"])
    """How pairs are compared; the side-by-side picture shows the figures of the first, and a
    training is validated under it."""
    lpips_weights: str = "none"
    """AlexNet for LPIPS: ``imagenet``, a file, or ``none`` to leave LPIPS out."""
    niqe_model: str = "none"
    """Pristine model of NIQE: a file, or ``none`` to leave NIQE out."""

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
        val: The images that will be scored: a store of kind val, pairs; or of kind lr.
        settings: What is scored.
        side: Largest side, in HR pixels, of the central part of an image that is scored; None: the
            whole image.

    Raises:
        UserError: Weights or a model cannot be read, or an image is too small for a score.

    """

    def __init__(self, val: Store, settings: ScoreSettings, side: int | None = None) -> None:
        paired = val.kind == "val"
        names = settings.protocols if paired else []
        self.protocols = [protocol(name, val.scale) for name in names]
        self.lpips_weights = settings.lpips_weights if paired else "none"
        self.niqe = None if settings.niqe_model == "none" else load_model(Path(settings.niqe_model))
        self._require_sizes(val, side)
        self.lpips = None if self.lpips_weights == "none" else Lpips(self.lpips_weights)
        self.columns = [*MEASURES] if paired else []
        self.columns += ["lpips"] if self.lpips else []
        self.columns += ["niqe"] if self.niqe else []

    def _require_sizes(self, val: Store, most: int | None) -> None:
        sides = [2 * one.border + self._side(one) for one in self.protocols]
        part = "" if most is None else f"the central part, at most {most} pixels a side, of "
        for image_id in val.ids:
            box = central_box(val, image_id, most)
            height, width = (box.bottom - box.top) * val.scale, (box.right - box.left) * val.scale
            size = f"{val.path}: {part}the SR image of '{image_id}' is {height}x{width}"
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
        described = self.described()
        for one in self.protocols:
            described["protocols"][one.name] |= {n: means(rows, one.name, n) for n in METHODS}
        if self.niqe:
            described["niqe"] |= {n: means(rows, NIQE, n).get("niqe") for n in METHODS}
        return described

    def described(self) -> dict[str, Any]:
        """The protocols and models used."""
        model = self.niqe and {"model_file": self.niqe.file, "model_sha256": self.niqe.sha256}
        protocols = {one.name: one.describe() for one in self.protocols}
        return {"lpips_weights": self.lpips_weights, "niqe": model, "protocols": protocols}


def central_box(val: Store, image_id: str, side: int | None) -> Box:
    """The central part of a validation image on the LR grid.

    Args:
        val: Store of kind val or lr.
        image_id: An image of it.
        side: Largest side in HR pixels; None: the whole image.

    """
    grown = val.scale if val.kind == "val" else 1
    height, width = (length // grown for length in val.size(image_id))
    most = max(height, width) if side is None else max(side // val.scale, 1)
    rows, columns = min(height, most), min(width, most)
    top, left = (height - rows) // 2, (width - columns) // 2
    return Box(top, top + rows, left, left + columns)


def means(rows: Sequence[ImageScores], name: str, method: str) -> dict[str, float]:
    """Means of the scores of a protocol and method."""
    chosen: list[Mapping[str, float]] = [
        row.scores for row in rows if (row.protocol, row.method) == (name, method)
    ]
    return {key: float(np.mean([one[key] for one in chosen])) for key in (chosen or [{}])[0]}
