"""The page of the audit: one HTML file without any reference to the outside.

Photographs and heat maps are PNG in ``data:`` URIs; charts are inline SVG that take the colour of
the text around them, so the page follows a light or a dark theme.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from torch import Tensor

from pipeline import pictures
from pipeline.filters import bicubic_downsample
from pipeline.images import to_float
from pipeline.laplace import sample
from pipeline.seeding import generator
from pipeline.stores import Store
from pipeline.tally import Statistics
from pipeline.tiling import Box

TEMPLATE = "audit_page.html.jinja"
TABLE_ROWS = 200
PANEL = 160
"""Longest side in LR pixels of what is pictured of an image; keeps the page small."""
COLOUR_QUANTILES = (0.05, 0.995)
"""Of the pictured theta: the ends of the colour scale."""
CHART = (5.4, 3.7)
"""Inches; a chart stays legible when a narrow window shrinks it."""
CHANNEL_COLOURS = {"red": "#e05252", "green": "#3c9a5f", "blue": "#4c84e0"}
CURVE_COLOUR, MEAN_COLOUR = "#ff7a1a", "#ff4fd8"


class ImageRow(NamedTuple):
    """What is said of one image."""

    id: str
    height: int
    """Of the maps, in LR pixels."""
    width: int
    statistics: Statistics
    """By name; gray levels, shares in [0, 1]."""
    hottest: Box
    """The area of highest theta, on the LR grid."""


@dataclass(frozen=True)
class Summary:
    """Every number in the page that is not of one image; lengths in gray levels."""

    source: dict[str, Any]
    """Paths, digests, scale, reference and DSN."""
    settings: dict[str, Any]
    """The section ``audit``."""
    prior_scale: float | None
    """Laplace scale of the reference; None where theta was not learned but is constant."""
    metrics: Statistics
    """Of all images together."""
    channels: dict[str, Statistics]
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
    """The theta that minimises Eq. 2 at the ``distance_edges``."""


@dataclass(frozen=True)
class Panels:
    """What is pictured of one image, all of the same area."""

    row: ImageRow
    area: Box
    """On the LR grid."""
    hr: Tensor
    """(3, H, W) in [0, 1], about twice as fine as the others."""
    mean: Tensor
    """(3, h, w) in the unit of the image."""
    theta: Tensor
    """(3, h, w) in the unit of the image."""


def cut_panels(maps: Store, hr: Store, row: ImageRow) -> Panels:
    """Read the area around the highest theta of an image; all of it if it is small.

    Args:
        maps: Store of kind maps.
        hr: The store of kind hr it was exported from.
        row: Which image.

    Raises:
        UserError: A chunk is damaged.

    """
    top, bottom = _span(row.hottest.top, row.hottest.bottom, row.height)
    left, right = _span(row.hottest.left, row.hottest.right, row.width)
    area = Box(top, bottom, left, right)
    mean, theta = (
        torch.from_numpy(maps.read(row.id, name, area)).float() for name in ("mean", "theta")
    )
    image = to_float(hr.read(row.id, "image", area.times(hr.scale)))
    return Panels(row, area, bicubic_downsample(image, max(hr.scale // 2, 1)), mean, theta)


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
        rows=rows[:TABLE_ROWS],
        total_rows=len(rows),
        theta_chart=_theta_chart(summary),
        relation_chart=_relation_chart(summary),
        colour_bar=_colour_bar(*ends),
        ends=ends,
        pictured=[_pictured(index, panel, ends) for index, panel in enumerate(panels)],
    )


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
    every = np.concatenate([_levels(panel.theta).ravel() for panel in panels])
    lowest, highest = (float(end) for end in np.quantile(every, COLOUR_QUANTILES))
    return (lowest if highest - lowest > 0.01 * highest else 0.0), highest


def _pictured(index: int, panels: Panels, ends: tuple[float, float]) -> dict[str, Any]:
    drawn = sample(panels.mean, panels.theta, generator(0, "audit/sample", index))
    return {
        "row": panels.row,
        "area": panels.area,
        "whole": panels.mean.shape[1:] == (panels.row.height, panels.row.width),
        "hr": _photograph(panels.hr),
        "mean": _photograph(panels.mean),
        "theta": _heat_map(panels.theta, *ends),
        "sample": _photograph(drawn),
    }


def _photograph(image: Tensor) -> str:
    figure, axes = _bare(*image.shape[1:])
    pictures.show(axes, image)
    return _data_uri(pictures.as_png(figure, dpi=100))


def _heat_map(theta: Tensor, lowest: float, highest: float) -> str:
    figure, axes = _bare(*theta.shape[1:])
    axes.imshow(
        _levels(theta),
        cmap=pictures.THETA_COLOURS,
        vmin=lowest,
        vmax=highest,
        interpolation="nearest",
    )
    axes.set_axis_off()
    return _data_uri(pictures.as_png(figure, dpi=100))


def _bare(height: int, width: int) -> tuple[Any, Any]:
    """A figure of one pixel per element at 100 dpi, and axes that fill it."""
    figure, axes = pictures.sheet(1, 1)
    figure.set_layout_engine("none")
    figure.set_size_inches(width / 100, height / 100)
    axes[0, 0].set_position((0, 0, 1, 1))
    return figure, axes[0, 0]


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + b64encode(png).decode()


def _chart() -> tuple[Any, Any]:
    figure, axes = pictures.sheet(1, 1)
    figure.set_size_inches(*CHART)
    figure.patch.set_visible(False)
    axes[0, 0].patch.set_visible(False)
    axes[0, 0].spines[["top", "right"]].set_visible(False)
    return figure, axes[0, 0]


def _theta_chart(summary: Summary) -> Markup:
    """Histogram of theta: share of values per bin, all channels and each."""
    figure, axes = _chart()
    every = np.array(list(summary.theta_counts.values()))
    share = every.sum(axis=0) / every.sum()
    axes.stairs(share, summary.theta_edges, fill=True, alpha=0.2, color="#808080")
    axes.stairs(share, summary.theta_edges, color="black", linewidth=1.4, label="all channels")
    for (name, colour), counts in zip(CHANNEL_COLOURS.items(), every, strict=True):
        axes.stairs(counts / counts.sum(), summary.theta_edges, color=colour, label=name)
    axes.set_yscale("log")
    axes.set_xlim(0, summary.theta_edges[-1])
    axes.set_xlabel("theta (Laplace scale, gray levels)")
    axes.set_ylabel("share of values per bin")
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderpad=0)
    return _svg(figure, "theta", "Histogram of theta, for all channels and for each")


def _relation_chart(summary: Summary) -> Markup:
    """Theta against |mean - bicubic|: counts, conditional mean, closed form."""
    figure, axes = _chart()
    edges = summary.distance_edges
    counts = np.ma.masked_equal(np.array(summary.joint_counts).T, 0)
    drawn = axes.imshow(
        counts,
        origin="lower",
        aspect="auto",
        extent=(0, edges[-1], 0, summary.theta_edges[-1]),
        cmap="viridis",
        norm="log",
        interpolation="nearest",
    )
    figure.colorbar(drawn, ax=axes, label="values per bin")
    if summary.closed_form is not None:
        axes.plot(edges, summary.closed_form, color=CURVE_COLOUR, lw=2, label="closed form (Eq. 2)")
    centres = (np.array(edges[1:]) + np.array(edges[:-1])) / 2
    means = np.array(summary.mean_theta, dtype=np.float64)
    axes.plot(centres[:-1], means[:-1], "--", color=MEAN_COLOUR, lw=2, label="mean of theta")
    axes.set_xlim(0, edges[-1])
    axes.set_ylim(0, summary.theta_edges[-1])
    axes.set_xlabel("|mean − bicubic| (gray levels)")
    axes.set_ylabel("theta (Laplace scale, gray levels)")
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0)
    return _svg(figure, "relation", "Theta against the distance of the mean from the reference")


def _colour_bar(lowest: float, highest: float) -> Markup:
    figure, axes = _chart()
    figure.set_size_inches(CHART[0], 0.7)
    ramp = np.linspace(lowest, highest, 256)[None]
    extent = (lowest, highest, 0, 1)
    axes.imshow(ramp, cmap=pictures.THETA_COLOURS, aspect="auto", extent=extent)
    axes.set_yticks([])
    axes.set_xlabel("theta (Laplace scale, gray levels), mean of the channels")
    return _svg(figure, "bar", f"Colour scale of theta, {lowest:.1f} to {highest:.1f} gray levels")


def _svg(figure: Any, prefix: str, label: str) -> Markup:
    """A figure as an SVG for the page: black becomes the colour of the text, ids are its own."""
    text = re.sub(r"<metadata>.*?</metadata>", "", pictures.as_svg(figure), flags=re.DOTALL)
    text = text.replace("#000000", "currentColor")
    names = dict.fromkeys(re.findall(r'\bid="([^"]+)"', text))
    own = {name: f"{prefix}-{number}" for number, name in enumerate(names)}
    text = re.sub(r'(\bid="|href="#|url\(#)([^")]+)', lambda m: m[1] + own.get(m[2], m[2]), text)
    head = f'<svg role="img" aria-label="{escape(label)}" fill="currentColor" '
    return Markup(text.replace("<svg ", head, 1))
