"""Curves of the trainings: a chart for every column of their logs, a line for every network."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from pipeline.report.charts import SET_COLOURS, Line, steps_chart
from pipeline.run_page.files import Curves, read_curves

COLOURS = SET_COLOURS[2:]
"""Of the networks in order; that of a single one is the colour of the text."""
POINTS = 400
"""Most points of a line; of a longer log so many means of neighbours are drawn."""


class Chart(NamedTuple):
    """The chart of one column."""

    name: str
    svg: Markup


def read_logs(folder: Path) -> dict[str, Curves]:
    """The logs of all networks under a folder that have one, by name.

    Raises:
        UserError: A log is damaged.

    """
    found = {path.parent.name: read_curves(path) for path in sorted(folder.glob("*/curves.csv"))}
    return {name: curves for name, curves in found.items() if curves is not None and curves.names}


def colours_of(logs: Mapping[str, Curves]) -> dict[str, str]:
    """The colour of everything that was trained."""
    if len(logs) == 1:
        return dict.fromkeys(logs, "black")
    return {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(logs)}


def charts_of(logs: Mapping[str, Curves], prefix: str) -> list[Chart]:
    """A chart for every column that any log has.

    Args:
        logs: By what was trained.
        prefix: Of the ids in the charts, for one page has several groups of them.

    """
    names = list(dict.fromkeys(name for curves in logs.values() for name in curves.names))
    colours = colours_of(logs)
    charts = []
    for number, name in enumerate(names):
        lines = [
            _line(log, name, colours[label]) for label, log in logs.items() if name in log.names
        ]
        charts.append(Chart(name, steps_chart(name, lines, f"{prefix}-{number}")))
    return charts


def _line(log: Curves, name: str, colour: str) -> Line:
    """The points of a column, at most ``POINTS``; empty cells are skipped."""
    points = [
        (step, value)
        for step, value in zip(log["step"], log[name], strict=True)
        if step is not None and value is not None
    ]
    groups = np.array_split(np.array(points), min(len(points), POINTS))
    steps, values = np.array([group.mean(axis=0) for group in groups]).T
    return Line(steps, values, colour)
