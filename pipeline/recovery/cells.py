"""The cells of recovery/dvc.yaml: which SR networks are trained, and where their scores lie."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from pipeline.base.errors import UserError
from pipeline.base.params import Params
from pipeline.base.settings import load_value
from pipeline.recovery.table import ENDS, Score

PROTOCOL = "usrdu"
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
"""Name of a camera, recipe or source; it is part of paths and of shell commands."""
Names = Annotated[list[Name], Field(min_length=1)]
Seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
Changes = Annotated[dict[Name, dict[str, Any]], Field(min_length=1)]
"""By name, changes in the sections of the params file."""


class Cell(NamedTuple):
    """One SR network."""

    camera: str
    recipe: str
    """Recipe of the DSN; empty for sources that need no DSN."""
    source: str
    seed: int

    def scores(self, folder: Path) -> Path:
        """The file of its scores."""
        inner = Path(self.camera, self.recipe, self.source)
        return folder / inner / f"{self.seed}.json"


@dataclass(frozen=True)
class Plan:
    """The entries of recovery/params.yaml."""

    cameras: list[str]
    recipes: list[str]
    anchors: list[str]
    """Sources of LR images that need no DSN; bicubic and camera are among them."""
    sources: list[str]
    """Sources of LR images that a DSN makes."""
    seeds: list[int]

    def cells(self) -> Iterator[Cell]:
        """All SR networks, camera by camera."""
        for camera in self.cameras:
            kinds = [("", anchor) for anchor in self.anchors]
            kinds += [(recipe, source) for recipe in self.recipes for source in self.sources]
            for recipe, source in kinds:
                for seed in self.seeds:
                    yield Cell(camera, recipe, source, seed)


def load_plan(path: Path) -> Plan:
    """Read recovery/params.yaml.

    Raises:
        UserError: An entry is missing or has a bad value, or bicubic or camera is not among the
            anchors.

    """
    params = Params(path)  # it parses the file once
    anchors = list(load_value(params, "anchors", Changes))
    for end in ENDS:
        if end not in anchors:
            raise UserError(f"{path}: anchors has no '{end}', which recovery is measured from")
    return Plan(
        load_value(params, "cameras", Names),
        list(load_value(params, "recipes", Changes)),
        anchors,
        list(load_value(params, "sources", Changes)),
        load_value(params, "seeds", Seeds),
    )


class Scored(NamedTuple):
    """The scores of all SR networks."""

    scores: list[Score]
    perceptual: str
    """``lpips``, or ``haarpsi`` where LPIPS was left out."""
    lpips_weights: str


def read_scores(plan: Plan, folder: Path) -> Scored:
    """Read what the command ``evaluate`` wrote for every cell.

    Raises:
        UserError: A file is missing or was not written by ``evaluate``, or the cells have LPIPS
            with different weights.

    """
    found = {cell: _read(cell.scores(folder)) for cell in plan.cells()}
    weights = {metrics["lpips_weights"] for metrics in found.values()}
    if len(weights) > 1:
        raise UserError(f"{folder}: has scores with different weights of LPIPS: {sorted(weights)}")
    (lpips_weights,) = weights
    perceptual = _perceptual(lpips_weights)
    scores = []
    for cell, metrics in found.items():
        means = metrics["protocols"][PROTOCOL]["model"]
        values = [math.inf if means[key] is None else means[key] for key in ("psnr", perceptual)]
        scores.append(Score(*cell, *values))
    return Scored(scores, perceptual, lpips_weights)


def _read(path: Path) -> dict[str, Any]:
    """The metrics of one cell; none of the measures may be missing."""
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        means = metrics["protocols"][PROTOCOL]["model"]
        if not isinstance(metrics["lpips_weights"], str):
            raise TypeError("lpips_weights is no text")
        for measure in ("psnr", _perceptual(metrics["lpips_weights"])):
            _require_score(means[measure])
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: has no scores under the protocol {PROTOCOL}") from error
    return metrics


def _perceptual(lpips_weights: str) -> str:
    """The perceptual measure that is compared."""
    return "haarpsi" if lpips_weights == "none" else "lpips"


def _require_score(value: object) -> None:
    """Check a mean of a score: a number, or null where it is infinite."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (number and math.isfinite(float(str(value)))):
        raise TypeError(f"{value!r} is no score")
