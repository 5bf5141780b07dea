"""Charts of theta, noise, spectra and trainings: inline SVG in the colour of the text around it."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.images import drawing
from pipeline.report.tables import Cell, Table

CHART = (5.4, 3.7)
"""Inches; a chart stays legible when a narrow window shrinks it."""
CHANNEL_COLOURS = {"red": "#e05252", "green": "#3c9a5f", "blue": "#4c84e0"}
CURVE_COLOUR, MEAN_COLOUR = "#ff7a1a", "#ff4fd8"
SET_COLOURS = (
    "black",
    "#8a94a0",
    "#3c9a5f",
    "#4c84e0",
    "#e05252",
    "#ff9d1a",
    "#a06be0",
    "#ff4fd8",
)
"""Colours of the sets of LR images in order; the real images have the colour of the text."""
SMALL_CHART = (3.7, 2.5)
"""Inches of a chart that stands in a row with others."""
MANY_STEPS = 10_000
"""Steps of a training from which they are counted in thousands."""
FEW_POINTS = 20
"""Points of a line that are marked, if it has fewer."""
WIDE_RANGE = 30
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""
LOWEST_SHARE = 1e-7
"""Lower end of the log axis of a histogram."""


def theta_chart(edges: Sequence[float], counts: Mapping[str, Sequence[int]]) -> Markup:
    """Histogram of theta: share of values per bin.

    Args:
        edges: Of the bins, gray levels.
        counts: Of the three channels; further ones are drawn dashed.

    """
    figure, axes = _chart()
    every = np.array([counts[name] for name in CHANNEL_COLOURS])
    share = every.sum(axis=0) / every.sum()
    axes.stairs(share, edges, fill=True, alpha=0.2, color="#808080")
    axes.stairs(share, edges, color="black", linewidth=1.4, label="all channels")
    for (name, colour), own in zip(CHANNEL_COLOURS.items(), every, strict=True):
        axes.stairs(own / own.sum(), edges, color=colour, label=name)
    for name in [name for name in counts if name not in CHANNEL_COLOURS]:
        other = np.array(counts[name])
        axes.stairs(
            other / other.sum(), edges, color=MEAN_COLOUR, linestyle="--", lw=1.6, label=name
        )
    axes.set_yscale("log")
    axes.set_xlim(0, edges[-1])
    axes.set_xlabel("theta (Laplace scale, gray levels)")
    axes.set_ylabel("share of values per bin")
    _legend(axes, 4)
    return _svg(figure, "theta", "Histogram of theta, for all channels and for each")


def relation_chart(
    distances: Sequence[float],
    thetas: Sequence[float],
    joint: Sequence[Sequence[int]],
    mean_theta: Sequence[float | None],
    closed_form: Sequence[float] | None,
) -> Markup:
    """Theta against |mean - bicubic|: counts, conditional mean, closed form.

    Args:
        distances: Edges of the bins of |mean - bicubic|, gray levels.
        thetas: Edges of the bins of theta, gray levels.
        joint: Counts by distance, then theta.
        mean_theta: Mean theta in every bin of the distance.
        closed_form: The best theta at the edges of the distance, if there is a closed form.

    """
    figure, axes = _chart()
    drawn = axes.imshow(
        np.ma.masked_equal(np.array(joint).T, 0),
        origin="lower",
        aspect="auto",
        extent=(0, distances[-1], 0, thetas[-1]),
        cmap="viridis",
        norm="log",
        interpolation="nearest",
    )
    figure.colorbar(drawn, ax=axes, label="values per bin")
    if closed_form is not None:
        axes.plot(distances, closed_form, color=CURVE_COLOUR, lw=2, label="closed form (Eq. 2)")
    centres = (np.array(distances[1:]) + np.array(distances[:-1])) / 2
    means = np.array(mean_theta, dtype=np.float64)
    axes.plot(centres[:-1], means[:-1], "--", color=MEAN_COLOUR, lw=2, label="mean of theta")
    axes.set_xlim(0, distances[-1])
    axes.set_ylim(0, thetas[-1])
    axes.set_xlabel("|mean − bicubic| (gray levels)")
    axes.set_ylabel("theta (Laplace scale, gray levels)")
    _legend(axes, 2)
    return _svg(figure, "relation", "Theta against the distance of the mean from bicubic")


def spectra_chart(table: Table) -> Markup:
    """Power against frequency, a line for every set of LR images."""
    figure, axes = _chart()
    _lines(axes, table, table.head[1:])
    axes.set_yscale("log")
    axes.set_xlabel("spatial frequency (cycles per pixel)")
    axes.set_ylabel("power (gray levels squared)")
    return _svg(figure, "spectra", "Power spectra of real and generated LR images")


def noise_chart(table: Table) -> Markup:
    """Noise standard deviation against intensity, a line for every set of LR images."""
    figure, axes = _chart()
    _lines(axes, table, table.head[1:-1])
    axes.set_xlim(0, 255)
    axes.set_ylim(0, None)
    axes.set_xlabel("intensity (gray levels)")
    axes.set_ylabel("noise (standard deviation, gray levels)")
    return _svg(figure, "noise", "Noise against intensity of real and generated LR images")


def edges_chart(table: Table) -> Markup:
    """Mean theta against the gradient, at edges (solid) and in textures (dashed)."""
    figure, axes = _chart()
    structures = list(dict.fromkeys(str(cell) for cell in table.column("at")))
    height = len(table.rows) // len(structures)
    for number, name in enumerate(table.head[3:]):
        colour = {"raw": "#e05252", "calibrated": "#ff9d1a"}.get(name, "#a06be0")
        for kind, style in enumerate(("-", "--")):
            rows = table.rows[kind * height : (kind + 1) * height]
            values = _numbers([row[3 + number] for row in rows])
            label = f"{name}, {structures[kind]}"
            axes.plot(range(height), values, style, color=colour, marker="o", ms=4, label=label)
    starts = [f"{row[1]:g}" for row in table.rows[:height]]
    ends = [*starts[1:], ""]
    labels = [f"{a}–{b}" if b else f"≥ {a}" for a, b in zip(starts, ends, strict=True)]
    axes.set_xticks(range(height), labels)
    axes.set_ylim(0, None)
    axes.set_xlabel("gradient of the bicubic reference (gray levels per pixel)")
    axes.set_ylabel("mean theta (gray levels)")
    _legend(axes, 2)
    return _svg(figure, "edges", "Theta against the gradient, at edges and in textures")


def difference_chart(name: str, table: Table, prefix: str) -> Markup:
    """Histogram of differences with both fitted laws, on a log axis."""
    figure, axes = _chart()
    values, share = _numbers(table.column("gray levels")), _numbers(table.column("share"))
    edges = np.append(values - 0.5, values[-1] + 0.5)
    axes.stairs(share, edges, fill=True, alpha=0.25, color="#808080", baseline=LOWEST_SHARE)
    axes.stairs(share, edges, color="black", linewidth=1.2, label=name, baseline=None)
    for law, colour, style in (("Laplace", CURVE_COLOUR, "-"), ("Gaussian", "#4c84e0", "--")):
        axes.plot(values, _numbers(table.column(law)), style, color=colour, lw=1.8, label=law)
    axes.set_yscale("log")
    axes.set_ylim(max(share[share > 0].min() / 2, LOWEST_SHARE), 2 * share.max())
    reach = 1.05 * float(np.abs(values[share > share.max() / 1e5]).max()) + 1
    axes.set_xlim(-reach, reach)
    axes.set_xlabel(f"{name} (gray levels)")
    axes.set_ylabel("share per gray level")
    _legend(axes, 3)
    return _svg(figure, prefix, f"Histogram of {name} with fitted Laplace and Gaussian laws")


class Line(NamedTuple):
    """A line of a chart."""

    steps: NDArray[np.float64]
    values: NDArray[np.float64]
    colour: str


def steps_chart(name: str, lines: Sequence[Line], prefix: str) -> Markup:
    """Something over the steps of a training, a line for every network; the page names them."""
    figure, axes = _chart()
    figure.set_size_inches(*SMALL_CHART)
    unit = 1000 if max(line.steps[-1] for line in lines) >= MANY_STEPS else 1
    for line in lines:
        marker = "o" if len(line.steps) < FEW_POINTS else None
        axes.plot(line.steps / unit, line.values, color=line.colour, lw=1.4, marker=marker, ms=3)
    values = np.concatenate([line.values for line in lines])
    if values.min() > 0 and values.max() > WIDE_RANGE * values.min():
        axes.set_yscale("log")
    axes.set_xlabel("step" if unit == 1 else "step, thousands")
    return _svg(figure, prefix, f"{name} over the steps of the training")


def colour_bar(highest: float, prefix: str) -> Markup:
    """The colour scale of theta maps, from zero to so many gray levels."""
    figure, axes = _chart()
    figure.set_size_inches(CHART[0], 0.7)
    ramp = np.linspace(0, highest, 256)[None]
    extent = (0, highest, 0, 1)
    axes.imshow(ramp, cmap=drawing.THETA_COLOURS, aspect="auto", extent=extent)
    axes.set_yticks([])
    axes.set_xlabel("theta (Laplace scale, gray levels), mean of the channels")
    return _svg(figure, prefix, f"Colour scale of theta, 0 to {highest:g} gray levels")


def _chart() -> tuple[Any, Any]:
    figure, axes = drawing.sheet(1, 1)
    figure.set_size_inches(*CHART)
    figure.patch.set_visible(False)
    axes[0, 0].patch.set_visible(False)
    axes[0, 0].spines[["top", "right"]].set_visible(False)
    return figure, axes[0, 0]


def _legend(axes: Any, columns: int) -> None:
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderpad=0)


def _lines(axes: Any, table: Table, names: Sequence[str]) -> None:
    """A line for every named column over the first one."""
    place = _numbers([row[0] for row in table.rows])
    for number, name in enumerate(names):
        axes.plot(
            place,
            _numbers(table.column(name)),
            color=SET_COLOURS[number % len(SET_COLOURS)],
            linestyle="--" if number in (1, 2) else "-",
            linewidth=2.4 if number == 0 else 1.5,
            label=name,
        )
    _legend(axes, 3)


def _numbers(cells: Sequence[Cell]) -> NDArray[np.float64]:
    """Cells as numbers; an empty one is not a number and is not drawn."""
    return np.array([np.nan if cell is None else float(cell) for cell in cells])


def _svg(figure: Any, prefix: str, label: str) -> Markup:
    """A figure as an SVG for the page: black becomes the colour of the text, ids are its own."""
    text = re.sub(r"<metadata>.*?</metadata>", "", drawing.as_svg(figure), flags=re.DOTALL)
    text = text.replace("#000000", "currentColor")
    names = dict.fromkeys(re.findall(r'\bid="([^"]+)"', text))
    own = {name: f"{prefix}-{number}" for number, name in enumerate(names)}
    text = re.sub(r'(\bid="|href="#|url\(#)([^")]+)', lambda m: m[1] + own.get(m[2], m[2]), text)
    head = f'<svg role="img" aria-label="{escape(label)}" fill="currentColor" '
    return Markup(text.replace("<svg ", head, 1))
