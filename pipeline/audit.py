"""Audit: what mean and theta in ``maps.zarr`` look like, as tables, numbers and one page.

One dask task reads one chunk of the maps and the HR pixels under it; the counts are merged image by
image, then over all images, always in the same order.  So memory is bounded by a few chunks per
worker and no figure depends on the number of workers.
"""

import csv
import json
import shutil
from dataclasses import asdict
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from dask.base import compute
from dask.delayed import delayed
from tqdm.dask import TqdmCallback

from pipeline.audit_page import ImageRow, Summary, cut_panels, render
from pipeline.errors import UserError
from pipeline.laplace import optimal_scale
from pipeline.stores import Store, replace_folder, require_same_scale
from pipeline.tally import (
    THETA_VALUES,
    AuditSettings,
    ClosedForm,
    Reader,
    Statistics,
    Tally,
    bin_index,
    statistics,
)

CHANNELS = ("red", "green", "blue")
FILES = ("images.csv", "summary.json", "index.html")


def audit(maps: Store, hr: Store, settings: AuditSettings, folder: Path) -> dict[str, float]:
    """Measure all maps of a store and write ``images.csv``, ``summary.json`` and ``index.html``.

    Runs on dask's threads, or on whatever scheduler ``dask.config`` names.

    Args:
        maps: Store of kind maps.
        hr: The store of kind hr it was exported from; gives the bicubic reference.
        settings: The section ``audit``.
        folder: Where the three files go; what an earlier audit wrote there is replaced.

    Returns:
        Metrics: number of images and of LR pixels, and ``statistics`` of all images together.

    Raises:
        UserError: The stores do not belong together, a chunk is damaged or holds values that are no
            maps, or the folder holds something else or cannot be written.

    """
    prior = _require_fit(maps, hr)
    _require_ours(folder)
    rows, total = _measure_all(maps, hr, settings, None if prior is None else ClosedForm(prior))
    pixels = sum(row.height * row.width for row in rows)
    metrics = {"images": len(rows), "lr_pixels": pixels, **statistics(total, settings)}
    summary = _summarise(maps, hr, settings, prior, total, metrics)
    worst = sorted(rows, key=lambda row: -row.statistics["theta_mean"])
    panels = [cut_panels(maps, hr, row) for row in worst[: settings.worst_images]]
    _write(folder, rows, summary, render(summary, worst, panels))
    return metrics


def _require_fit(maps: Store, hr: Store) -> float | None:
    """The prior scale in gray levels, None where theta is constant; the stores belong together."""
    require_same_scale(maps, hr)
    try:
        digest, reference, dsn = (
            maps.attributes[k] for k in ("hr_digest", "reference", "dsn_settings")
        )
        prior = float(dsn["prior_scale"]) if dsn["learn_theta"] else None
    except (KeyError, TypeError) as error:
        raise UserError(f"{maps.path}: does not say how it was made: {error}") from error
    if digest != hr.digest:
        raise UserError(
            f"{maps.path} was not exported from {hr.path} as it is now; export it again"
        )
    if reference != "bicubic":
        raise UserError(f"{maps.path} has the reference '{reference}'; the audit knows 'bicubic'")
    if not maps.ids:
        raise UserError(f"{maps.path}: holds no images")
    for image_id in maps.ids:
        expected = tuple(length * maps.scale for length in maps.size(image_id))
        if image_id not in hr.ids or hr.size(image_id) != expected:
            raise UserError(f"{hr.path}: has no image '{image_id}' of {expected} pixels")
    return prior


def _require_ours(folder: Path) -> None:
    """What is in the folder will be replaced, so it may hold nothing but an earlier audit."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file, expected a folder")
    foreign = sorted({path.name for path in folder.glob("*")} - set(FILES))
    if foreign:
        raise UserError(f"{folder}: holds other files ({foreign[0]}); name a new or empty folder")


def _measure_all(
    maps: Store, hr: Store, settings: AuditSettings, curve: ClosedForm | None
) -> tuple[list[ImageRow], Tally]:
    reader = Reader(maps, hr, settings, curve)
    row, block = delayed(_row), delayed(reader.block, traverse=False)
    rows, tallies = [], []
    for image_id in maps.ids:
        tally = _tree([block(image_id, area) for area in reader.blocks(image_id)])
        rows.append(row(image_id, maps.size(image_id), tally, settings))
        tallies.append(tally)
    with TqdmCallback(desc="audit", unit="task"):
        measured, total = compute(rows, _tree(tallies))  # type: ignore[no-untyped-call]
    return measured, total


def _tree(parts: list[Any], width: int = 8) -> Any:
    """Add delayed tallies, ``width`` at a time, in an order that depends on their number only."""
    merge = delayed(lambda some: reduce(add, some))
    while len(parts) > 1:
        parts = [merge(parts[start : start + width]) for start in range(0, len(parts), width)]
    return parts[0]


def _row(image_id: str, size: tuple[int, int], tally: Tally, settings: AuditSettings) -> ImageRow:
    return ImageRow(image_id, *size, statistics(tally, settings), tally.hottest[1])


def _summarise(
    maps: Store,
    hr: Store,
    settings: AuditSettings,
    prior: float | None,
    total: Tally,
    metrics: Statistics,
) -> Summary:
    bins = settings.bins
    distances = np.linspace(0, settings.distance_limit, bins + 1)
    place = bin_index(THETA_VALUES, bins, settings.theta_limit)
    counts = [np.bincount(place, part, bins).astype(int).tolist() for part in total.theta]
    per_distance = total.joint.sum(axis=1).tolist()
    sums = zip(total.theta_by_distance.tolist(), per_distance, strict=True)
    described = ("digest", "hr_digest", "dsn_hash", "dsn_settings", "reference", "relative_error")
    return Summary(
        source={
            "maps": str(maps.path),
            "hr": str(hr.path),
            "scale": maps.scale,
            **{key: maps.attributes.get(key) for key in described},
        },
        settings=settings.model_dump(),
        prior_scale=prior,
        metrics=metrics,
        channels={name: statistics(total, settings, i) for i, name in enumerate(CHANNELS)},
        theta_edges=np.linspace(0, settings.theta_limit, bins + 1).tolist(),
        theta_counts=dict(zip(CHANNELS, counts, strict=True)),
        distance_edges=distances.tolist(),
        joint_counts=total.joint.tolist(),
        mean_theta=[total / count if count else None for total, count in sums],
        closed_form=None if prior is None else optimal_scale(distances, prior).tolist(),
    )


def _write(folder: Path, rows: list[ImageRow], summary: Summary, page: str) -> None:
    """Write the three files under another name; the folder appears when it is whole."""
    partial = folder.with_name(folder.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with (partial / FILES[0]).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "height", "width", *rows[0].statistics])
            for row in rows:
                writer.writerow([row.id, row.height, row.width, *row.statistics.values()])
        (partial / FILES[1]).write_text(json.dumps(asdict(summary)) + "\n", encoding="utf-8")
        (partial / FILES[2]).write_text(page, encoding="utf-8")
        replace_folder(partial, folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from error
