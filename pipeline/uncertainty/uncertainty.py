"""Score the uncertainty of a degradation against real LR images."""

import csv
import json
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.base.errors import UserError
from pipeline.base.files import require_own_folder, whole_folder
from pipeline.base.hashes import file_hash
from pipeline.dsn.file import load_dsn
from pipeline.export.degrader import Degrader
from pipeline.passport.passport import passport_of
from pipeline.sampling.calibration import load_calibration, require_calibration
from pipeline.stores.reader import Store, require_same_scale
from pipeline.uncertainty.flat_areas import score_flat_areas
from pipeline.uncertainty.pairs import score_pairs
from pipeline.uncertainty.results import FLAT_AREAS, PAIRS, Results, draw_results, summed
from pipeline.uncertainty.sources import make_sources

log = logging.getLogger(__name__)

FILES = ("scores.json", "scores.csv", "scores.png")
TILE = 128
"""LR pixels that the DSN sees at a time."""


@dataclass(frozen=True)
class Inputs:
    """What is scored, and with which real LR images."""

    maps: Store
    """Mean and theta, of kind maps."""
    lr: Store
    """Unpaired real LR images."""
    dsn: Path | None
    """The DSN that the maps were exported with; needed for pairs."""
    val: Store | None
    """Pairs of any scenes, of kind val; of kind lr or empty where there are none."""
    calibration: Path | None
    """Of the maps."""


def score_uncertainty(inputs: Inputs, folder: Path) -> Results:
    """Score the predictions of real LR images by maps, passport and calibration.

    Args:
        inputs: What is scored.
        folder: Folder for a table, JSON and a picture; an earlier result is replaced.

    Raises:
        UserError: The files do not belong together, or the folder holds other files.

    """
    require_own_folder(folder, FILES)
    stores = [each for each in (inputs.maps, inputs.lr, inputs.val) if each is not None]
    require_same_scale(*stores)
    for store in (inputs.maps, inputs.lr):
        if not store.ids:
            raise UserError(f"{store.path}: holds no images")
    calibration = None
    if inputs.calibration is not None:
        calibration = load_calibration(inputs.calibration)
        require_calibration(calibration, inputs.maps, inputs.calibration)
    sources = make_sources(passport_of(inputs.maps), calibration)
    degrader = _degrader(inputs)
    parts = {}
    if inputs.val is not None and degrader is not None:
        if inputs.val.kind == "val" and inputs.val.ids:
            degrade = partial(degrader.tiled, tile=TILE)
            parts[PAIRS] = summed(score_pairs(inputs.val, degrade, sources))
        else:
            log.warning("%s: holds no pairs; flat areas alone are scored", inputs.val.path)
    parts[FLAT_AREAS] = summed(score_flat_areas(inputs.lr, inputs.maps, sources))
    if not any(strata for scores in parts.values() for strata in scores.values()):
        raise UserError(
            f"{inputs.lr.path} and {inputs.maps.path}: have no flat areas of like intensity; add "
            "more or larger images, or pairs (--val)"
        )
    results = Results({name: source.words for name, source in sources.items()}, parts)
    _write(folder, results)
    return results


def _degrader(inputs: Inputs) -> Degrader | None:
    """The DSN, if it is the one of the maps."""
    if (inputs.dsn is None) != (inputs.val is None):
        raise UserError("pairs are scored with both, the DSN and a store of pairs, or not at all")
    if inputs.dsn is None:
        return None
    dsn = load_dsn(inputs.dsn)
    if file_hash(inputs.dsn) != inputs.maps.attributes.get("dsn_hash"):
        raise UserError(f"{inputs.maps.path}: was exported with another DSN than {inputs.dsn}")
    return Degrader.of(dsn)


def _write(folder: Path, results: Results) -> None:
    """Write all files; the folder appears when it is complete."""
    with whole_folder(folder) as unfinished:
        rows = list(results.rows())
        with (unfinished / "scores.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
        content = json.dumps(results.content(), indent=1) + "\n"
        (unfinished / "scores.json").write_text(content, encoding="utf-8")
        draw_results(unfinished / "scores.png", results)
