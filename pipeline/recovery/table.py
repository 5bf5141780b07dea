"""Recovery: the gain of an SRN from a learned degradation, on cameras of which there are pairs.

For every camera the same small SRN is trained from several sources of LR images: bicubic, those of
a DSN, others, and the true camera (supervised).  With the score on held-out pairs of that camera,

    recovery = (score - score of bicubic) / (score of supervised - score of bicubic).

recovery/dvc.yaml trains and scores the SRNs; this module makes a table of the scores.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base.files import make_folder, write_whole

ENDS = ("bicubic", "supervised")
"""Sources with a recovery of 0 and 1."""
MEASURES = {
    "psnr": ("PSNR (dB)", 2),
    "ssim": ("SSIM", 4),
    "haarpsi": ("HaarPSI", 4),
    "lpips": ("LPIPS", 4),
}
"""Names and decimals in the table of the measures that are compared."""
KIND = ("camera", "recipe", "source")
"""What names a row."""

TableRow = dict[str, Any]


@dataclass(frozen=True)
class Score:
    """The scores of one SRN on the held-out photographs."""

    camera: str
    recipe: str
    """Recipe of the DSN; empty for sources that need no DSN."""
    source: str
    seed: int
    values: Mapping[str, float]
    """Under the protocol ``usrdu``, by keys of ``MEASURES``: PSNR in dB, SSIM and HaarPSI, where
    higher is better, and LPIPS, where lower is better, unless it was left out."""


def recovery(score: float, bicubic: float, supervised: float) -> float | None:
    """The gain over bicubic as a share of the gain of a supervised training.

    The formula is the same for measures where higher and where lower is better.

    Returns:
        0 at bicubic, 1 at supervised; None if the two do not differ or a score is infinite.

    """
    whole, gain = supervised - bicubic, score - bicubic
    return gain / whole if whole and math.isfinite(whole) and math.isfinite(gain) else None


def recovery_table(scores: Sequence[Score]) -> list[TableRow]:
    """Scores and recovery of every camera, recipe and source: means over seeds, and spreads.

    The spread is the standard deviation (n - 1) over the seeds, zero for one seed; recovery is
    taken seed by seed, and None where one of the seeds has none.
    """
    found = {(s.camera, s.recipe, s.source, s.seed): s for s in scores}
    rows = []
    for kind in dict.fromkeys(key[:3] for key in found):
        row: TableRow = dict(zip(KIND, kind, strict=True))
        mine = [score for key, score in found.items() if key[:3] == kind]
        for measure in mine[0].values:
            shares = []
            for score in mine:
                ends = (found[score.camera, "", end, score.seed] for end in ENDS)
                shares.append(recovery(*(one.values[measure] for one in (score, *ends))))
            values = [score.values[measure] for score in mine]
            row[measure], row[f"{measure}_spread"] = _mean_and_spread(values)
            row[f"{measure}_recovery"], row[f"{measure}_recovery_spread"] = _mean_and_spread(shares)
        rows.append(row)
    return rows


def by_name(rows: Sequence[TableRow]) -> dict[str, TableRow]:
    """Rows by ``CAMERA RECIPE SOURCE``, as metrics."""
    return {
        " ".join(row[key] for key in KIND if row[key]): {
            key: value for key, value in row.items() if key not in KIND
        }
        for row in rows
    }


def table_text(rows: Sequence[TableRow]) -> str:
    """The table as Markdown with aligned columns, readable as plain text.

    Args:
        rows: See ``recovery_table``; all have the same measures.

    """
    measures = [measure for measure in MEASURES if measure in rows[0]]
    head = [*KIND]
    for measure in measures:
        head += [MEASURES[measure][0], "recovery (%)"]
    lines = [head]
    for row in rows:
        line = [row["camera"], row["recipe"] or "–", row["source"]]
        for measure in measures:
            line.append(_text(row, measure, 1, MEASURES[measure][1]))
            line.append(_text(row, f"{measure}_recovery", 100, 0))
        lines.append(line)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * w if i < 3 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "".join(_markdown(line, widths) for line in (lines[0], rule, *lines[1:]))


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV with a header; None is an empty field."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_table(folder: Path, name: str, text: str, rows: Sequence[TableRow]) -> list[Path]:
    """Write a table as ``NAME.md``, from its text, and as ``NAME.csv``; returns both paths.

    Raises:
        UserError: The folder cannot be made or written.

    """
    make_folder(folder)
    paths = [folder / f"{name}.md", folder / f"{name}.csv"]
    for path, content in zip(paths, (text, csv_text(rows)), strict=True):
        write_whole(path, content.encode())
    return paths


def _mean_and_spread(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    known = [value for value in values if value is not None and math.isfinite(value)]
    if len(known) < len(values):
        return None, None
    return float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else 0.0


def _text(row: TableRow, key: str, times: float, decimals: int) -> str:
    mean, spread = row[key], row[f"{key}_spread"]
    if mean is None:
        return "n/a"
    return f"{mean * times:.{decimals}f} ± {spread * times:.{decimals}f}"


def _markdown(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if i < 3 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |\n"
