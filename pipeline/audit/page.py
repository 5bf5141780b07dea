"""The page of the audit: one HTML file without any reference to the outside.

Photographs and heat maps are PNG in ``data:`` URIs; charts are inline SVG that take the colour of
the text around them, so the page follows a light or a dark theme.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from torch import Tensor

from pipeline.audit import charts, tables
from pipeline.audit.histograms import Figures
from pipeline.audit.noise_laws import FittedLaws
from pipeline.audit.tables import ImageRow, Outlier, Table
from pipeline.audit.verdicts import FLOOR_TIMES, Verdicts, amount
from pipeline.base.boxes import Box
from pipeline.base.seeding import generator
from pipeline.images import drawing
from pipeline.images.filters import bicubic_downsample
from pipeline.images.io import to_float
from pipeline.noise.statistics import LrScores
from pipeline.sampling.laplace import sample
from pipeline.sampling.sampler import Sampler
from pipeline.stores.format import ARRAYS
from pipeline.stores.reader import Store

TEMPLATE = "page.html.jinja"
TABLE_ROWS = 200
PANEL = 160
"""Longest side in LR pixels of the pictured area of an image; it keeps the page small."""
COLOUR_QUANTILES = (0.01, 0.995)
"""Quantiles of the pictured theta at the ends of the colour scale."""


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
class Panels:
    """The pictures of one area of an image."""

    row: ImageRow
    area: Box
    """On the LR grid."""
    hr: Tensor
    """(3, H, W) in [0, 1], about twice as fine as the others."""
    mean: Tensor
    """(3, h, w) in the unit of the image."""
    theta: Tensor
    """(3, h, w) in the unit of the image."""
    calibrated_theta: Tensor | None
    """(3, h, w) in the unit of the image, if there is a calibration."""
    calibrated_sample: Tensor | None
    """(3, h, w) in [0, 1]."""
    camera_sample: Tensor | None
    """(3, h, w) in [0, 1], if the maps carry a camera's passport."""


def cut_panels(maps: Store, hr: Store, row: ImageRow, samplers: Mapping[str, Sampler]) -> Panels:
    """Read the area around the highest theta of an image; all of it if it is small.

    Args:
        maps: Store of kind maps.
        hr: The store of kind hr it was exported from.
        row: Which image.
        samplers: What draws the calibrated sample and that of the camera, by their name.

    Raises:
        UserError: A chunk is damaged.

    """
    top, bottom = _span(row.hottest.top, row.hottest.bottom, row.height)
    left, right = _span(row.hottest.left, row.hottest.right, row.width)
    area = Box(top, bottom, left, right)
    unit = {
        name: torch.from_numpy(maps.read(row.id, name, area)).float()[None]
        for name in ARRAYS["maps"]
    }
    mean, theta = unit["mean"][0], unit["theta"][0]
    image = to_float(hr.read(row.id, "image", area.times(hr.scale)))
    fine = bicubic_downsample(image, max(hr.scale // 2, 1))
    drawn = {
        name: samplers[name].sample(unit, generator(0, "audit/picture", maps.ids.index(row.id)))[0]
        for name in ("calibrated", "camera")
        if name in samplers
    }
    calibrated = samplers["calibrated"].theta(unit)[0] if "calibrated" in drawn else None
    both = (drawn.get(name) for name in ("calibrated", "camera"))
    return Panels(row, area, fine, mean, theta, calibrated, *both)


def render(summary: Summary, rows: Sequence[ImageRow], panels: Sequence[Panels]) -> str:
    """The page as HTML.

    Args:
        summary: Numbers over all images.
        rows: Every image, highest mean theta first; the first 200 are listed.
        panels: The images that are pictured, in the same order.

    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    ends = _colour_range(panels)
    return environment.get_template(TEMPLATE).render(
        summary=summary,
        limits=tables,
        amount=amount,
        floor_times=FLOOR_TIMES,
        rows=rows[:TABLE_ROWS],
        total_rows=len(rows),
        charts=_charts(summary),
        colour_bar=charts.colour_bar(*ends),
        ends=ends,
        pictured=[_pictured(index, panel, ends) for index, panel in enumerate(panels)],
    )


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


def _span(low: int, high: int, length: int) -> tuple[int, int]:
    """``PANEL`` pixels around low..high, or as many as there are."""
    start = min(max((low + high - PANEL) // 2, 0), max(length - PANEL, 0))
    return start, min(start + PANEL, length)


def _levels(theta: Tensor) -> NDArray[np.float64]:
    """The mean theta (h, w) of the channels in gray levels."""
    return np.asarray(theta.double().mean(dim=0).numpy() * 255)


def _colour_range(panels: Sequence[Panels]) -> tuple[float, float]:
    """Ends of the colour scale in gray levels: quantiles of all that is pictured; 0 if constant."""
    if not panels:
        return 0.0, 1.0
    thetas = [t for panel in panels for t in (panel.theta, panel.calibrated_theta) if t is not None]
    every = np.concatenate([_levels(theta).ravel() for theta in thetas])
    lowest, highest = (float(end) for end in np.quantile(every, COLOUR_QUANTILES))
    return (lowest if highest - lowest > 0.01 * highest else 0.0), highest


def _pictured(index: int, panels: Panels, ends: tuple[float, float]) -> dict[str, Any]:
    """An image's pictures: (what it is, data URI, whether it is shown pixel by pixel)."""
    drawn = [
        sample(panels.mean, panels.theta, generator(number, "audit/sample", index))
        for number in range(2)
    ]
    shown = [
        ("HR", _photograph(panels.hr), False),
        ("mean", _photograph(panels.mean), True),
        ("raw sample", _photograph(drawn[0]), True),
        ("another raw sample", _photograph(drawn[1]), True),
        ("raw theta", _heat_map(panels.theta, *ends), True),
    ]
    if panels.camera_sample is not None:
        shown.append(("camera sample", _photograph(panels.camera_sample), True))
    if panels.calibrated_theta is not None and panels.calibrated_sample is not None:
        shown.append(("calibrated sample", _photograph(panels.calibrated_sample), True))
        shown.append(("calibrated theta", _heat_map(panels.calibrated_theta, *ends), True))
    return {
        "row": panels.row,
        "area": panels.area,
        "whole": panels.mean.shape[1:] == (panels.row.height, panels.row.width),
        "shown": shown,
    }


def _photograph(image: Tensor) -> str:
    figure, axes = _bare(*image.shape[1:])
    drawing.show(axes, image)
    return _data_uri(drawing.as_png(figure, dpi=100))


def _heat_map(theta: Tensor, lowest: float, highest: float) -> str:
    figure, axes = _bare(*theta.shape[1:])
    axes.imshow(
        _levels(theta),
        cmap=drawing.THETA_COLOURS,
        vmin=lowest,
        vmax=highest,
        interpolation="nearest",
    )
    axes.set_axis_off()
    return _data_uri(drawing.as_png(figure, dpi=100))


def _bare(height: int, width: int) -> tuple[Any, Any]:
    """A figure of one pixel per element at 100 dpi, and axes that fill it."""
    figure, axes = drawing.sheet(1, 1)
    figure.set_layout_engine("none")
    figure.set_size_inches(width / 100, height / 100)
    axes[0, 0].set_position((0, 0, 1, 1))
    return figure, axes[0, 0]


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + b64encode(png).decode()
