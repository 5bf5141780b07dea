"""Scores of every network under every protocol, beside bicubic upsampling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from pipeline.report.tables import Cell, Table
from pipeline.run_page.files import Part, read_part, read_rows

TITLES = {
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "haarpsi": "HaarPSI",
    "lpips": "LPIPS",
    "niqe": "NIQE",
}
DIGITS = {"psnr": 2, "niqe": 2}
"""Decimals of a score; of others three."""
LESS_IS_BETTER = ("lpips", "niqe", "dists")
Means = dict[str, float | None]


class _Protocol(Part):
    border: int
    colour: str
    ssim: str
    bicubic: Means
    model: Means


class _Niqe(Part):
    model_file: str
    model_sha256: str
    bicubic: float | None
    model: float | None


class Evaluation(Part):
    """The metrics of ``evaluate`` for one network."""

    images: int
    lpips_weights: str = "none"
    niqe: _Niqe | None = None
    protocols: dict[str, _Protocol] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of files of weights, by setting."""


@dataclass(frozen=True)
class Scores:
    """One table of scores, with what it rests on."""

    title: str
    how: str
    """Border, colours and window of the protocol, or the model of NIQE."""
    table: Table
    best: list[list[bool]]
    """Whether a cell of a row is the best of its column."""


def read_evaluations(folder: Path) -> dict[str, Evaluation]:
    """The metrics of every network that was evaluated, by name.

    Raises:
        UserError: A file is damaged.

    """
    found = {}
    for path in sorted(folder.glob("*/metrics.json")):
        if (evaluation := read_part(path, Evaluation)) is not None:
            found[path.parent.name] = evaluation
    return found


def score_tables(evaluations: Mapping[str, Evaluation]) -> list[Scores]:
    """A table for every protocol, and one of NIQE."""
    names = list(dict.fromkeys(name for one in evaluations.values() for name in one.protocols))
    tables = [_of_protocol(name, evaluations) for name in names]
    niqe = {name: one.niqe for name, one in evaluations.items() if one.niqe}
    if niqe:
        first = next(iter(niqe.values()))
        how = f"without references; pristine model {first.model_file}, SHA-256 {first.model_sha256}"
        rows = {name: ({"niqe": one.bicubic}, {"niqe": one.model}) for name, one in niqe.items()}
        tables.append(_table("NIQE", how, rows))
    return tables


def _of_protocol(name: str, evaluations: Mapping[str, Evaluation]) -> Scores:
    own = {key: one.protocols[name] for key, one in evaluations.items() if name in one.protocols}
    first = next(iter(own.values()))
    cut = f"{first.border} pixels cut from every side" if first.border else "no border cut"
    how = f"{first.colour}; {cut}; SSIM with {first.ssim}"
    return _table(f"Protocol {name}", how, {key: (o.bicubic, o.model) for key, o in own.items()})


def _table(title: str, how: str, found: Mapping[str, tuple[Means, Means]]) -> Scores:
    """Rows of bicubic, once if it is the same for all networks, and of the networks."""
    baselines = [bicubic for bicubic, _ in found.values()]
    rows: dict[str, Means] = {}
    if all(one == baselines[0] for one in baselines):
        rows["bicubic"] = baselines[0]
    for name, (bicubic, model) in found.items():
        if "bicubic" not in rows:
            rows[f"bicubic, beside {name}"] = bicubic
        rows[name] = model
    keys = list(dict.fromkeys(key for means in rows.values() for key in means))
    cells: list[list[Cell]] = [
        [name, *(_text(key, means.get(key)) for key in keys)] for name, means in rows.items()
    ]
    top = {key: _best(key, rows) for key in keys}
    best = [
        [False, *(top[key] is not None and means.get(key) == top[key] for key in keys)]
        for means in rows.values()
    ]
    head = [f"{TITLES.get(key, key)} {'↓' if key in LESS_IS_BETTER else '↑'}" for key in keys]
    return Scores(title, how, Table(["", *head], cells), best)


def _best(key: str, rows: Mapping[str, Means]) -> float | None:
    values = [value for means in rows.values() if (value := means.get(key)) is not None]
    pick = min if key in LESS_IS_BETTER else max
    return pick(values) if len(values) > 1 else None


def _text(key: str, value: float | None) -> str | None:
    return None if value is None else f"{value:.{DIGITS.get(key, 3)}f}".replace("-", "−")


def headlines(evaluations: Mapping[str, Evaluation]) -> list[str]:
    """A sentence for every network: its PSNR beside that of bicubic, under the first protocol."""
    said = []
    for name, one in evaluations.items():
        protocol = next(iter(one.protocols), None)
        if protocol is None:
            continue
        model, bicubic = (
            getattr(one.protocols[protocol], which).get("psnr") for which in ("model", "bicubic")
        )
        if model is not None and bicubic is not None:
            images = f"{one.images} validation image{'s' if one.images != 1 else ''}"
            gain = f"{model - bicubic:+.2f}".replace("-", "−")
            said.append(
                f"{name}: {model:.2f} dB PSNR on {images}, {gain} dB against bicubic "
                f"(protocol {protocol})"
            )
    return said


def image_scores(path: Path) -> dict[tuple[str, str], dict[str, float]]:
    """Scores by file name and method, under the first protocol of the table that evaluate wrote.

    Raises:
        UserError: The table is damaged.

    """
    rows = read_rows(path)
    if rows is None or not {"image", "method", "protocol"} <= set(rows[0]):
        return {}
    place = {name: number for number, name in enumerate(rows[0])}
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows[1:]:
        key = (row[place["image"]], row[place["method"]])
        if key not in found:
            found[key] = _floats(row, place)
    return found


def _floats(row: Sequence[str], place: Mapping[str, int]) -> dict[str, float]:
    values = {}
    for name, number in place.items():
        try:
            values[name] = float(row[number])
        except ValueError:
            continue
    return values
