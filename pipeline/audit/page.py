"""The page of the audit: one HTML file without any reference to the outside.

The frame, with style and script, and the parts of any page are in ``pipeline.report``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from markupsafe import Markup
from tqdm import tqdm

from pipeline.audit import tables
from pipeline.audit.graph import AuditInputs
from pipeline.audit.histograms import AuditSettings, Figures
from pipeline.audit.noise_laws import FittedLaws
from pipeline.audit.tables import ImageRow, Outlier
from pipeline.audit.verdicts import FLOOR_TIMES, Verdicts, amount
from pipeline.base.seeding import generator
from pipeline.noise.statistics import LrScores
from pipeline.report import charts
from pipeline.report.maps import MapsPictures, Panels, Thumbnail, gray_levels
from pipeline.report.page import render as render_page
from pipeline.report.pictures import ColourScale, lossless, lossy
from pipeline.report.tables import Column, LongTable, Table
from pipeline.sampling.laplace import sample
from pipeline.sampling.sampler import Sampler

TEMPLATE = Path(__file__).with_name("page.html.jinja")
THUMBNAILS = 24
"""Outliers that are pictured, the most unlike first."""


@dataclass(frozen=True)
class Against:
    """A second store of maps, B, compared with the first, A."""

    source: dict[str, Any]
    """Its path, digest, DSN hash."""
    metrics: Figures
    """Of all its images together."""
    channels: dict[str, Figures]
    theta_counts: list[int]
    """Values of theta in every bin, all channels."""
    table: Table
    """Differences of the two by image, largest |mean B - mean A| first."""


@dataclass(frozen=True)
class Summary:
    """Every number in the page that is not of one image; lengths in gray levels."""

    source: dict[str, Any]
    """Paths, digests, scale, reference and DSN."""
    settings: dict[str, Any]
    """The section ``audit``."""
    prior_scale_gray: float | Literal["camera"] | None
    """Laplace scale of the reference; ``camera``: that of the camera's noise at every pixel; None
    where theta was not learned but is constant."""
    verdicts: Verdicts
    """The answers that the page begins with."""
    metrics: Figures
    """Of all images together."""
    channels: dict[str, Figures]
    """Of each colour channel."""
    theta_edges: list[float]
    """Edges of the bins of theta; the last bin also counts what lies beyond."""
    theta_counts: dict[str, list[int]]
    """Values of theta in every bin, per channel."""
    distance_edges: list[float]
    """Edges of the bins of |mean - bicubic|; the last bin also counts what lies beyond."""
    joint_counts: list[list[int]]
    """Values by |mean - bicubic| (outer list) and theta (inner lists)."""
    mean_theta: list[float | None]
    """Mean theta in every bin of |mean - bicubic|; None in an empty bin."""
    closed_form: list[float] | None
    """The theta that minimises Eq. 2 at the ``distance_edges``; None where theta was not learned,
    or on another reference than bicubic."""
    calibration_fault: str | None
    """Why a calibration was given but there is no calibrated set."""
    scores: dict[str, LrScores]
    """Scores of every set against the held-out real images; the first is the floor."""
    findings: dict[str, list[str]]
    """Sentences on the generated sets; see ``tables.findings``."""
    spectra: Table
    noise: Table
    correlations: Table
    edges: Table
    pairs: bool
    """Whether the differences are of pairs, or else high-pass values of unpaired images."""
    differences: dict[str, Table]
    """Of what is in the key: shares by gray level, with both laws."""
    fits: dict[str, FittedLaws]
    """The laws fitted to each."""
    outliers: list[Outlier]
    against: Against | None


@dataclass(frozen=True)
class Pictures:
    """What is pictured."""

    panels: Sequence[Panels] = ()
    thumbnails: Mapping[str, Thumbnail] = field(default_factory=dict)
    """Of outliers, by the names of their files."""


def take_pictures(
    inputs: AuditInputs,
    rows: Sequence[ImageRow],
    summary: Summary,
    settings: AuditSettings,
    samplers: Mapping[str, Sampler],
) -> Pictures:
    """Read what is pictured, with a progress bar.

    These are the images of the highest mean theta, as many as ``worst_images`` says; half as many
    more whose means differ most from those of B; and outliers.

    Args:
        inputs: The stores.
        rows: Every image, under its id.
        summary: Names the outliers and what differs from B.
        settings: The section ``audit``.
        samplers: What draws the calibrated sample and that of the camera, by their name.

    Raises:
        UserError: A chunk is damaged.

    """
    named = {inputs.hr.file_name(row.id): row for row in rows}
    count = settings.worst_images
    shown = sorted(named, key=lambda name: -named[name].figures["theta_mean"])[:count]
    if summary.against is not None:
        differing = [str(cells[0]) for cells in summary.against.table.rows[: count // 2 + count]]
        shown += [name for name in differing if name not in shown][: count // 2]
    unlike = list(dict.fromkeys(outlier.id for outlier in summary.outliers))[:THUMBNAILS]
    take = MapsPictures(inputs.maps, inputs.hr, inputs.against, samplers)
    panels, thumbnails = [], {}
    with tqdm(total=len(shown) + len(unlike), desc="pictures", unit="image") as bar:
        for name in shown:
            panels.append(take.panels(named[name].id, named[name].hottest))
            bar.update()
        for name in unlike:
            thumbnails[name] = take.thumbnail(named[name].id)
            bar.update()
    return Pictures(panels, thumbnails)


def render(summary: Summary, rows: Sequence[ImageRow], pictures: Pictures) -> str:
    """The page as HTML.

    Args:
        summary: Numbers over all images.
        rows: Every image, under the name of its file.
        pictures: What is pictured.

    """
    shown, by_name = pictures.panels, {row.id: row for row in rows}
    levels = [gray_levels(theta).ravel() for panels in shown for theta in panels.thetas]
    levels += [gray_levels(small.theta).ravel() for small in pictures.thumbnails.values()]
    scale = ColourScale.over(np.concatenate(levels) if levels else np.zeros(0))
    links = {panels.name: f"image-{number}" for number, panels in enumerate(shown, 1)}
    return render_page(
        TEMPLATE,
        {
            "summary": summary,
            "limits": tables,
            "amount": amount,
            "floor_times": FLOOR_TIMES,
            "every": _every_image(summary, rows, links),
            "differences": None if summary.against is None else _differences(summary.against),
            "charts": _charts(summary),
            "scale": scale,
            "colour_bars": {
                where: charts.colour_bar(scale.highest, f"{where}-bar")
                for where in ("page", "viewer")
            },
            "pictured": [
                _pictured(index, each, by_name[each.name], scale)
                for index, each in enumerate(shown)
            ],
            "outliers": _outliers(summary, pictures, scale),
        },
    )


STATISTICS = (
    ("theta", "mean", "theta_mean"),
    ("theta", "std", "theta_std"),
    ("theta", "5 %", "theta_p05"),
    ("theta", "median", "theta_p50"),
    ("theta", "95 %", "theta_p95"),
    ("theta", "max", "theta_max"),
    ("theta", "high, %", "theta_high_share"),
    ("mean − bicubic", "distance", "distance_mean"),
    ("mean − bicubic", "shift", "mean_shift"),
    ("mean − bicubic", "outside, %", "mean_outside_share"),
    ("closed form", "gap", "closed_form_gap"),
)
"""Columns of the table of every image: heading, name, figure."""


def _every_image(summary: Summary, rows: Sequence[ImageRow], links: Mapping[str, str]) -> LongTable:
    """The figures of every image, highest mean theta first."""
    rows = sorted(rows, key=lambda row: -row.figures["theta_mean"])
    columns = []
    for group, name, key in STATISTICS:
        if key == "closed_form_gap" and summary.closed_form is None:
            continue
        times = 100 if key.endswith("_share") else 1
        values = [row.figures[key] * times for row in rows]
        columns.append(Column(name, values, group, signed=key == "mean_shift"))
    for name in ("height", "width"):
        columns.append(Column(name, [getattr(row, name) for row in rows], "LR pixels", digits=0))
    names = [row.id for row in rows]
    unlike = {outlier.id for outlier in summary.outliers}
    return LongTable(
        id="every",
        label="Statistics of every image",
        noun="image",
        names=names,
        columns=columns,
        marked=frozenset(place for place, name in enumerate(names) if name in unlike),
        mark="outliers",
        links={place: links[name] for place, name in enumerate(names) if name in links},
    )


def _differences(against: Against) -> LongTable:
    """How A and B differ, image by image."""
    head, cells = against.table.head, against.table.rows
    columns = []
    for place, name in enumerate(head[1:], 1):
        group, _, words = name.rpartition(", ")
        values = [float(row[place] or 0) for row in cells]
        columns.append(Column(words, values, group, signed=words == "B − A"))
    names = [str(row[0]) for row in cells]
    return LongTable("differences", "Differences between A and B", head[0], names, columns)


def _outliers(summary: Summary, pictures: Pictures, scale: ColourScale) -> list[dict[str, Any]]:
    """The outliers that are listed, with their thumbnails."""
    reasons: dict[str, list[str]] = {}
    for outlier in summary.outliers:
        reasons.setdefault(outlier.id, []).append(outlier.reason)
    listed = []
    for name in list(reasons)[:THUMBNAILS]:
        small = pictures.thumbnails.get(name)
        uris = {"mean": None, "theta": None} if small is None else {
            "mean": lossy(small.mean),
            "theta": lossy(scale.picture(gray_levels(small.theta))),
        }  # fmt: skip
        listed.append({"name": name, "reasons": reasons[name], **uris})
    return listed


def _charts(summary: Summary) -> dict[str, Any]:
    counts = dict(summary.theta_counts)
    if summary.against is not None:
        counts["all, B"] = summary.against.theta_counts
    return {
        "theta": charts.theta_chart(summary.theta_edges, counts),
        "relation": charts.relation_chart(
            summary.distance_edges,
            summary.theta_edges,
            summary.joint_counts,
            summary.mean_theta,
            summary.closed_form,
        ),
        "spectra": charts.spectra_chart(summary.spectra),
        "noise": charts.noise_chart(summary.noise),
        "edges": charts.edges_chart(summary.edges),
        "differences": _difference_charts(summary),
    }


def _difference_charts(summary: Summary) -> dict[str, Markup]:
    return {
        name: charts.difference_chart(name, table, f"difference{number}")
        for number, (name, table) in enumerate(summary.differences.items())
    }


def _pictured(index: int, panels: Panels, row: ImageRow, scale: ColourScale) -> dict[str, Any]:
    """An image's pictures; ``pixels``: shown pixel by pixel, ``map``: in the colours of theta."""
    drawn = [
        sample(panels.mean, panels.theta, generator(number, "audit/sample", index))
        for number in range(2)
    ]
    images = {
        "mean": panels.mean,
        "raw sample": drawn[0],
        "another raw sample": drawn[1],
        "raw theta": panels.theta,
        "camera sample": panels.camera_sample,
        "calibrated sample": panels.calibrated_sample,
        "calibrated theta": panels.calibrated_theta,
        "mean, B": panels.other_mean,
        "raw theta, B": panels.other_theta,
    }
    shown = [{"what": "HR", "uri": lossy(panels.hr), "pixels": False, "map": False}]
    for what, image in images.items():
        if image is not None:
            is_map = "theta" in what
            uri = lossless(scale.picture(gray_levels(image)) if is_map else image)
            shown.append({"what": what, "uri": uri, "pixels": True, "map": is_map})
    return {
        "row": row,
        "area": panels.area,
        "whole": panels.mean.shape[1:] == (row.height, row.width),
        "shown": shown,
    }
