"""Audit: compares the generated LR images with the real ones, in tables and on one page.

Every set of LR images is scored against the held-out part of the real ones.  The scores of the
other part of the real images are the floor: the differences between two parts of the same images.
"""

import csv
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pipeline.audit import tables
from pipeline.audit.graph import (  # fmt: skip
    AuditInputs,
    Measured,
    closed_form_prior,
    measure,
    prior_scale_gray,
    workers,
)
from pipeline.audit.histograms import (
    THETA_VALUES,
    AuditSettings,
    Figures,
    ThetaHistograms,
    bin_index,
    figures,
)
from pipeline.audit.noise_laws import DifferenceHistogram, fit_laws
from pipeline.audit.page import Against, Summary, render, take_pictures
from pipeline.audit.tables import ImageRow
from pipeline.audit.tasks import HELD_OUT, TRAINING, StatisticsBySet
from pipeline.audit.verdicts import Evidence, Verdicts, verdicts
from pipeline.base.errors import UserError
from pipeline.base.files import require_own_folder, whole_folder
from pipeline.noise.statistics import LrScores, LrStatistics, compare
from pipeline.passport.passport import passport_of
from pipeline.report.tables import Cell, Table
from pipeline.sampling.calibration import read_calibration, require_calibration
from pipeline.sampling.laplace import optimal_scale
from pipeline.sampling.noise_level import miss
from pipeline.sampling.sampler import Draw, Sampler, make_sampler
from pipeline.stores.reader import Store, require_exported_from, require_same_scale

log = logging.getLogger(__name__)

CHANNELS = ("red", "green", "blue")
FILES = (
    "index.html",
    "summary.json",
    "images.csv",
    "scores.csv",
    "spectra.csv",
    "noise.csv",
    "correlations.csv",
    "edges.csv",
    "difference.csv",
)
AGAINST_FILE = "against.csv"
GENERATED = ("mean", "raw", "camera", "calibrated", "mean (B)", "raw (B)")
"""Sets of LR images for which the page lists findings."""
SEED = 0
"""Seed of the classifier."""


def audit(
    inputs: AuditInputs,
    settings: AuditSettings,
    folder: Path,
    scheduler: str | None = None,
    report: Path | None = None,
) -> dict[str, Any]:
    """Measure all maps of a store and write tables, ``summary.json`` and ``index.html``.

    Args:
        inputs: The stores and the calibration.
        settings: The section ``audit``.
        folder: Folder for the files; the result of an earlier audit is replaced.
        scheduler: Address of a dask.distributed scheduler; None for dask's threads, or whatever
            ``dask.config`` names.
        report: HTML file for dask's performance report; None for none.

    Returns:
        Metrics: number of images and of LR pixels, ``figures`` of all images together, and
        ``scores``: the scores of the mean and of raw samples, of those with the camera's noise if
        the maps carry its passport, and of calibrated ones if there is a calibration; and the
        words of the verdicts, see ``Verdicts.metrics``.

    Raises:
        UserError: The stores do not belong together, a chunk is damaged or holds invalid values, no
            scheduler answers, the report cannot be made, or the folder holds other files or cannot
            be written.

    """
    stores = (inputs.maps, inputs.hr, inputs.lr, inputs.val, inputs.against)
    require_same_scale(*(store for store in stores if store is not None))
    _require_fit(inputs.maps, inputs.hr)
    if inputs.against is not None:
        _require_fit(inputs.against, inputs.hr)
    if not inputs.lr.ids:
        raise UserError(f"{inputs.lr.path}: holds no images")
    require_own_folder(folder, {*FILES, AGAINST_FILE})
    samplers, fault = _samplers(inputs)
    with workers(scheduler, report) as where:
        measured = measure(inputs, settings, samplers, where)
    compared = [name for name in measured.lr_sets if name != HELD_OUT]
    scores, real = {}, _judged(measured.lr_sets)
    with tqdm(total=len(compared) + 1, desc="scores and verdicts", unit="step") as bar:
        for name in compared:
            scores[name] = compare(real, measured.lr_sets[name], SEED)
            bar.update()
        _warn(scores)
        pixels = sum(row.height * row.width for row in measured.rows)
        counted = {"images": len(measured.rows), "lr_pixels": pixels}
        metrics = {**counted, **figures(measured.total, settings)}
        summary = _summarise(inputs, settings, measured, scores, metrics, fault)
        bar.update()
    rows = [_named(inputs.hr, row) for row in measured.rows]
    pictures = take_pictures(inputs, measured.rows, summary, settings, samplers)
    page = render(summary, rows, pictures)
    _write(folder, rows, summary, page)
    scored = {name: _plain(found) for name, found in scores.items() if name in GENERATED[:4]}
    return {**metrics, **summary.verdicts.metrics(), "scores": scored}


def _judged(lr_sets: StatisticsBySet) -> LrStatistics:
    """The held-out real images; their noise counts as unknown where that of the rest is.

    So the audit refuses where the calibration does: a quarter of a drawing may seem to have noise.
    """
    real, rest = lr_sets[HELD_OUT], lr_sets.get(TRAINING)
    unknown = rest is not None and isinstance(rest.noise, str)
    return replace(real, measured=rest.noise) if unknown and rest is not None else real


def _warn(scores: Mapping[str, LrScores]) -> None:
    """Say which samples miss the real noise level; raw ones only where no camera draws better."""
    for name in ("raw", "camera", "calibrated"):
        if name not in scores or (name == "raw" and "camera" in scores):
            continue
        own = scores["mean"].noise_level
        missed = miss(scores[name].noise_level_real, scores[name].noise_level, own)
        if missed is not None:
            log.warning("with theta: %s %s", name, missed)


def _named(hr: Store, row: ImageRow) -> ImageRow:
    """A row under the name of its file."""
    return row._replace(id=hr.file_name(row.id))


def _plain(scores: LrScores) -> dict[str, Any]:
    """LrScores without their remarks."""
    return {name: value for name, value in asdict(scores).items() if name != "remarks"}


def _require_fit(maps: Store, hr: Store) -> None:
    """Check that the stores belong together."""
    prior_scale_gray(maps)
    require_exported_from(maps, hr)
    if not maps.ids:
        raise UserError(f"{maps.path}: holds no images")
    for image_id in maps.ids:
        expected = tuple(length * maps.scale for length in maps.size(image_id))
        if image_id not in hr.ids or hr.size(image_id) != expected:
            raise UserError(f"{hr.path}: has no image '{image_id}' of {expected} pixels")


def _samplers(inputs: AuditInputs) -> tuple[dict[str, Sampler], str | None]:
    """What draws the LR images, and why a calibration says that nothing could be measured."""
    maps, camera = inputs.maps, passport_of(inputs.maps)
    samplers = {"mean": make_sampler(Draw("none")), "raw": make_sampler(Draw("raw"))}
    if camera is not None:
        samplers["camera"] = make_sampler(Draw("camera"), maps=maps, camera=camera)
    if inputs.calibration is None:
        return samplers, None
    calibration = read_calibration(inputs.calibration)
    require_calibration(calibration, maps, inputs.calibration)
    if calibration.fault:
        return samplers, calibration.fault
    return {**samplers, "calibrated": make_sampler(Draw("calibrated"), calibration)}, None


def _summarise(
    inputs: AuditInputs,
    settings: AuditSettings,
    measured: Measured,
    scores: Mapping[str, LrScores],
    metrics: Figures,
    calibration_fault: str | None,
) -> Summary:
    maps, total, lr_sets = inputs.maps, measured.total, measured.lr_sets
    prior, bins = closed_form_prior(maps), settings.bins
    distances = np.linspace(0, settings.distance_limit_gray, bins + 1)
    per_distance = total.joint.sum(axis=1).tolist()
    sums = zip(total.theta_by_distance.tolist(), per_distance, strict=True)
    counted = _differences(measured)
    fits = {name: found for name, each in counted.items() if (found := fit_laws(each)) is not None}
    rows = [_named(inputs.hr, row) for row in measured.rows]
    outliers = tables.outliers(rows, settings.outlier_score)
    histograms = {"": total}
    if measured.other_total is not None:
        histograms[" (B)"] = measured.other_total
    return Summary(
        source=_source(maps) | {"hr": str(inputs.hr.path), "lr": str(inputs.lr.path)},
        settings=settings.model_dump(),
        prior_scale_gray=prior_scale_gray(maps),
        verdicts=_verdicts(measured, settings, len({outlier.id for outlier in outliers})),
        metrics=metrics,
        channels={name: figures(total, settings, i) for i, name in enumerate(CHANNELS)},
        theta_edges=np.linspace(0, settings.theta_limit_gray, bins + 1).tolist(),
        theta_counts=dict(zip(CHANNELS, _theta_counts(total, settings), strict=True)),
        distance_edges=distances.tolist(),
        joint_counts=total.joint.tolist(),
        mean_theta=[total / count if count else None for total, count in sums],
        closed_form=None if prior is None else optimal_scale(distances, prior).tolist(),
        calibration_fault=calibration_fault,
        scores=dict(scores),
        findings={
            name: tables.findings(found, scores.get(TRAINING))
            for name, found in scores.items()
            if name in GENERATED
        },
        spectra=tables.spectra(lr_sets),
        noise=tables.noise(lr_sets, lr_sets[HELD_OUT]),
        correlations=tables.correlations(lr_sets),
        edges=tables.edges(histograms, "calibrated" in lr_sets),
        pairs=measured.pairs is not None,
        differences={name: tables.difference(counted[name], fits[name]) for name in fits},
        fits=fits,
        outliers=outliers,
        against=_against(inputs, settings, measured),
    )


def _verdicts(measured: Measured, settings: AuditSettings, listed: int) -> Verdicts:
    lr_sets = measured.lr_sets
    evidence = Evidence(
        real=_judged(lr_sets),
        rest=lr_sets.get(TRAINING),
        samples=lr_sets,
        images=len(measured.rows),
        listed=listed,
    )
    return verdicts(evidence, settings.verdicts)


def _source(maps: Store) -> dict[str, Any]:
    """The description of a store of maps."""
    described = ("digest", "hr_digest", "dsn_hash", "dsn", "relative_error", "error_floor")
    attributes = {key: maps.attributes.get(key) for key in described}
    return {"maps": str(maps.path), "scale": maps.scale, **attributes}


def _theta_counts(total: ThetaHistograms, settings: AuditSettings) -> list[list[int]]:
    """Number of values of theta in every bin, for every channel."""
    place = bin_index(THETA_VALUES, settings.bins, settings.theta_limit_gray)
    return [np.bincount(place, part, settings.bins).astype(int).tolist() for part in total.theta]


def _differences(measured: Measured) -> dict[str, DifferenceHistogram]:
    """The histograms of Figure 2: real - bicubic of pairs, or high-pass values without pairs."""
    if measured.pairs is not None:
        return {"real LR − bicubic LR": measured.pairs}
    return {
        f"high-pass of {words}": DifferenceHistogram.of_high_pass(
            measured.lr_sets[name].signature.high_pass
        )
        for words, name in (("real LR", HELD_OUT), ("bicubic LR", "bicubic"))
    }


def _against(inputs: AuditInputs, settings: AuditSettings, measured: Measured) -> Against | None:
    """The comparison with the other maps, if there are any."""
    total, rows = measured.other_total, measured.other_rows
    if inputs.against is None or total is None or rows is None:
        return None
    head = ["image", "means, |B − A|", "means, B − A", "theta, |B − A|", "theta, B − A"]
    head += ["theta A", "theta B", "distance A", "distance B"]
    other = {row.id: row.figures for row in rows}
    table: list[list[Cell]] = []
    for row, found in zip(measured.rows, measured.differences, strict=True):
        sums = (found.mean, found.mean_shift, found.theta, found.theta_shift)
        both = (row.figures, other[row.id])
        cells = [s[key] for key in ("theta_mean", "distance_mean") for s in both]
        table.append([inputs.hr.file_name(row.id), *(x / found.values for x in sums), *cells])
    counts = np.array(_theta_counts(total, settings)).sum(axis=0).tolist()
    return Against(
        source=_source(inputs.against),
        metrics=figures(total, settings),
        channels={name: figures(total, settings, i) for i, name in enumerate(CHANNELS)},
        theta_counts=counts,
        table=Table(head, sorted(table, key=lambda cells: -float(cells[1] or 0))),
    )


def _write(
    folder: Path,
    rows: Sequence[ImageRow],
    summary: Summary,
    page: str,
) -> None:
    """Write all files; the folder appears when it is complete."""
    with whole_folder(folder) as partial:
        for name, table in _tables(rows, summary).items():
            with (partial / name).open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([table.head, *table.rows])
        content = json.dumps(asdict(summary)) + "\n"
        (partial / "summary.json").write_text(content, encoding="utf-8")
        (partial / "index.html").write_text(page, encoding="utf-8")


def _tables(rows: Sequence[ImageRow], summary: Summary) -> dict[str, Table]:
    """The CSV files by name."""
    scores = {name: _plain(found) for name, found in summary.scores.items()}
    differences = [
        [name, *row] for name, table in summary.differences.items() for row in table.rows
    ]
    tables = {
        "images.csv": Table(
            ["image", "height", "width", *rows[0].figures],
            [[row.id, row.height, row.width, *row.figures.values()] for row in rows],
        ),
        "scores.csv": Table(
            ["images", *next(iter(scores.values()))],
            [[name, *found.values()] for name, found in scores.items()],
        ),
        "spectra.csv": summary.spectra,
        "noise.csv": summary.noise,
        "correlations.csv": summary.correlations,
        "edges.csv": summary.edges,
        "difference.csv": Table(["of", "gray levels", "share", "Laplace", "Gaussian"], differences),
    }
    if summary.against is not None:
        tables[AGAINST_FILE] = summary.against.table
    return tables
