"""The cells of recovery/dvc.yaml: which SR networks are trained, and where their scores lie."""

import json
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from pipeline.base.errors import UserError
from pipeline.base.params import Params
from pipeline.base.settings import Settings, load_value
from pipeline.recovery.table import ENDS, MEASURES, Score

log = logging.getLogger(__name__)

PROTOCOL = "usrdu"
ENOUGH = 12
"""Validation images below which a table is no yardstick: a score differs more between images than
between sources."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
"""Name of a camera, recipe or source; it is part of paths and of shell commands."""
Names = list[Name]
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
    """The entries of recovery/params.yaml, or of recovery/table1/params.yaml."""

    cameras: list[str]
    """Simulated and real ones."""
    recipes: list[str]
    """Of the DSNs; in Table 1 their references."""
    anchors: list[str]
    """Sources of LR images that need no DSN; bicubic and supervised are among them."""
    sources: list[str]
    """Sources of LR images that a DSN makes; in Table 1 its rows."""
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
        UserError: An entry is missing or has a bad value, bicubic or supervised is not among the
            anchors, or a camera is not exactly once simulated or real.

    """
    params = Params(path)  # it parses the file once
    anchors = list(load_value(params, "anchors", Changes))
    _require_ends(path, anchors)
    cameras = list(load_value(params, "cameras", Changes))
    made = load_value(params, "simulated", Names) + load_value(params, "real", Names)
    for camera in dict.fromkeys([*cameras, *made]):
        if camera not in cameras or made.count(camera) != 1:
            raise UserError(
                f"{path}: the camera '{camera}' must be an entry of cameras, and stand once in "
                "simulated or real"
            )
    return Plan(
        cameras,
        list(load_value(params, "recipes", Changes)),
        anchors,
        list(load_value(params, "sources", Changes)),
        load_value(params, "seeds", Seeds),
    )


class Row(Settings):
    """A row of Table 1."""

    name: Name
    dsn: Name
    """An entry of ``dsns``."""
    source: Name
    """An entry of ``sources``."""


Rows = Annotated[list[Row], Field(min_length=1)]


def load_table1_plan(path: Path) -> Plan:
    """Read recovery/table1/params.yaml.

    Raises:
        UserError: An entry is missing or has a bad value, a row names a DSN or a source that is no
            entry, two rows have one name, or bicubic or supervised is not among the anchors.

    """
    params = Params(path)
    rows = load_value(params, "rows", Rows)
    anchors = load_value(params, "anchors", Names)
    _require_ends(path, anchors)
    dsns, sources = (load_value(params, name, Changes) for name in ("dsns", "sources"))
    for row in rows:
        for kind, name, entries in (("dsns", row.dsn, dsns), ("sources", row.source, sources)):
            if name not in entries:
                raise UserError(f"{path}: the row '{row.name}' names '{name}', no entry of {kind}")
    names = [row.name for row in rows]
    if len(set(names)) < len(names):
        raise UserError(f"{path}: two rows have one name: {', '.join(names)}")
    return Plan(
        load_value(params, "cameras", Annotated[Names, Field(min_length=1)]),
        list(load_value(params, "references", Changes)),
        anchors,
        names,
        load_value(params, "seeds", Seeds),
    )


def _require_ends(path: Path, anchors: list[str]) -> None:
    for end in ENDS:
        if end not in anchors:
            raise UserError(f"{path}: anchors has no '{end}', which recovery is measured from")


class Scored(NamedTuple):
    """The scores of all SR networks."""

    scores: list[Score]
    lpips_weights: str
    """File of AlexNet's weights, or ``none`` where LPIPS was left out."""
    val_images: dict[str, int]
    """Number of validation images, by camera."""

    def described(self, plan: Plan) -> dict[str, Any]:
        """How they were made, for the metrics of a table."""
        return {
            "protocol": PROTOCOL,
            "lpips_weights": self.lpips_weights,
            "seeds": plan.seeds,
            "val_images": self.val_images,
        }


def read_scores(plan: Plan, folder: Path) -> Scored:
    """Read what the command ``evaluate`` wrote for every cell.

    Raises:
        UserError: A file is missing or was not written by ``evaluate``, the cells have LPIPS with
            different weights, or those of a camera different numbers of images.

    """
    found = {cell: _read(cell.scores(folder)) for cell in plan.cells()}
    weights = {metrics["lpips_weights"] for metrics in found.values()}
    if len(weights) > 1:
        raise UserError(f"{folder}: has scores with different weights of LPIPS: {sorted(weights)}")
    images: dict[str, int] = {}
    for cell, metrics in found.items():
        if images.setdefault(cell.camera, metrics["images"]) != metrics["images"]:
            raise UserError(f"{folder / cell.camera}: has scores of different validation images")
    few = [f"{camera} {count}" for camera, count in images.items() if count < ENOUGH]
    if few:
        log.warning("validation images: %s; a yardstick needs at least %d", ", ".join(few), ENOUGH)
    (lpips_weights,) = weights
    scores = []
    for cell, metrics in found.items():
        means = _means(metrics).items()
        values = {name: math.inf if mean is None else mean for name, mean in means}
        scores.append(Score(*cell, values))
    return Scored(scores, lpips_weights, images)


def _means(metrics: dict[str, Any]) -> dict[str, Any]:
    """The measures of a cell that are compared; null stands for infinity."""
    means = metrics["protocols"][PROTOCOL]["model"]
    left_out = {"lpips"} if metrics["lpips_weights"] == "none" else set()
    return {name: means[name] for name in MEASURES if name not in left_out}


def _read(path: Path) -> dict[str, Any]:
    """The metrics of one cell; none of the measures may be missing."""
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(metrics["lpips_weights"], str):
            raise TypeError("lpips_weights is no text")
        if not isinstance(metrics["images"], int):
            raise TypeError("images is no number")
        for value in _means(metrics).values():
            _require_score(value)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: has no scores under the protocol {PROTOCOL}") from error
    return metrics


def _require_score(value: object) -> None:
    """Check a mean of a score: a number, or null where it is infinite."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (number and math.isfinite(float(str(value)))):
        raise TypeError(f"{value!r} is no score")
