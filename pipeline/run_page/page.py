"""The page: what is there is gathered, what is not is named."""

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from pipeline.report.page import render
from pipeline.run_page.camera import read_camera
from pipeline.run_page.curves import charts_of, colours_of, read_logs
from pipeline.run_page.data import images_table, open_stores, read_findings
from pipeline.run_page.files import Part, read_curves, read_part
from pipeline.run_page.lock import out_of_date
from pipeline.run_page.scores import Evaluation, headlines, read_evaluations, score_tables
from pipeline.run_page.settings import read_models, read_settings
from pipeline.run_page.shots import compare
from pipeline.tools.doctor import PACKAGE, git_state

TEMPLATE = Path(__file__).with_name("page.html.jinja")


@dataclass(frozen=True)
class RunFiles:
    """Where a run is."""

    data: Path
    """Folder of what the stages wrote."""
    params: Path
    """The params file, in the folder of the project."""
    profiles: Path
    """Folder of the profiles."""
    out: Path
    """The page, which links to that of the audit."""


class _Metrics(Part):
    """Metrics of the audit."""

    verdict: str
    verdict_theta: str
    verdicts: dict[str, str]


class _Verdict(Part):
    question: str
    title: str
    word: str
    sentence: str
    advice: str = ""


class _Verdicts(Part):
    theta: str
    by_theta: dict[str, list[_Verdict]]


class _Summary(Part):
    """What an audit wrote beside its page."""

    verdicts: _Verdicts


class _Training(Part):
    """Metrics of a training."""

    step: int = 0


def run_page(files: RunFiles) -> str:
    """The page of a run, as HTML; the same files give the same text.

    Raises:
        UserError: A file that a stage wrote is not whole, or was changed into something else.

    """
    data, root = files.data, files.params.absolute().parent
    stores = open_stores(data / "prepare")
    settings = read_settings(files.params, files.profiles)
    evaluations = read_evaluations(data / "evaluate")
    folders = {name: data / "evaluate" / name for name in evaluations}
    srn_logs = read_logs(data / "train_srn")
    dsn_log = read_curves(data / "train_dsn" / "curves.csv")
    own = data.absolute() == root / "data"
    content: dict[str, Any] = {
        "factor": stores.scale,
        "settings": settings,
        "images": images_table(stores, settings.folders if settings else {}),
        "findings": read_findings(data / "prepare" / "piles.json"),
        "camera": read_camera(data / "camera"),
        "audit": _audit(files),
        "evaluations": evaluations,
        "headlines": headlines(evaluations),
        "scores": score_tables(evaluations),
        "lpips": sorted({one.lpips_weights for one in evaluations.values()}),
        "weights": _weights(evaluations.values()),
        "comparison": compare(stores.val, folders) if stores.val and folders else None,
        "val": stores.val,
        "srn_charts": charts_of(srn_logs, "srn"),
        "legend": colours_of(srn_logs) if len(srn_logs) > 1 else {},
        "dsn_charts": charts_of({"DSN": dsn_log}, "dsn") if dsn_log else [],
        "dsn": read_part(data / "train_dsn" / "metrics.json", _Training),
        "models": read_models(data, data.name),
        "stale": out_of_date(root) if own else None,
        "git": git_state(root),
        "made_with": _made_with(),
    }
    return render(TEMPLATE, content)


def _audit(files: RunFiles) -> dict[str, Any] | None:
    """Word and sentences of the audit, and the link to its page; None if there was none."""
    folder = files.data / "audit"
    metrics = read_part(folder / "metrics.json", _Metrics)
    if metrics is None:
        return None
    summary = read_part(folder / "page" / "summary.json", _Summary)
    words = summary.verdicts.by_theta.get(metrics.verdict_theta, []) if summary else []
    page = folder / "page" / "index.html"
    way = link(page, files.out, files.params.absolute().parent) if page.is_file() else None
    return {"metrics": metrics, "verdicts": words, "link": way}


def link(target: Path, page: Path, root: Path) -> str | None:
    """The way from a page to another file, if both are in the project."""
    to = target.absolute()
    for up, folder in enumerate(page.absolute().parents):
        if not folder.is_relative_to(root):
            return None
        if to.is_relative_to(folder):
            return "../" * up + to.relative_to(folder).as_posix()
    return None


def _weights(evaluations: Iterable[Evaluation]) -> dict[str, str]:
    """SHA-256 of the weights that scores rest on, by setting."""
    return {key: digest for one in evaluations for key, digest in one.files.items()}


def _made_with() -> str:
    """Versions and system of the machine that writes the page."""
    system = f"{platform.system()} {platform.machine()}"
    return (
        f"{PACKAGE} {version(PACKAGE)}, Python {platform.python_version()}, PyTorch "
        f"{torch.__version__}, {system}"
    )
