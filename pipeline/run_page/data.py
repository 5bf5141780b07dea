"""The images that a run is made from: folders, numbers, sizes, digests, and their faults."""

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from pydantic import Field

from pipeline.base.errors import listed
from pipeline.piles.report import WORDS
from pipeline.report.tables import Cell, Table
from pipeline.run_page.files import Part, read_part, without_folders
from pipeline.stores.format import Kind
from pipeline.stores.reader import Store

NAMED = 5
"""Most files that are named of a finding."""
DIGITS = 16
"""Digits of a digest that are shown."""


class Finding(NamedTuple):
    """A remark of ``prepare`` on one of the piles."""

    sentence: str
    advice: str
    files: str


class _File(Part):
    file: str
    note: str = ""


class _Finding(Part):
    kind: str
    sentence: str
    files: list[_File] = Field(default_factory=list)


class _Piles(Part):
    findings: list[_Finding]


@dataclass(frozen=True)
class Stores:
    """The stores of ``prepare`` that are there."""

    hr: Store | None
    lr: Store | None
    val: Store | None
    pairs: Store | None

    @property
    def scale(self) -> int | None:
        """HR pixels per LR pixel."""
        return next((store.scale for store in (self.hr, self.lr, self.val) if store), None)


def open_stores(folder: Path) -> Stores:
    """Open the stores in the folder of ``prepare``.

    Raises:
        UserError: One is not complete or damaged.

    """

    def opened(name: str, *kinds: Kind) -> Store | None:
        path = folder / f"{name}.zarr"
        store = Store(path, *kinds) if path.is_dir() else None
        return store if store is not None and store.ids else None

    return Stores(
        opened("hr", "hr"), opened("lr", "lr"), opened("val", "val", "lr"), opened("pairs", "val")
    )


def images_table(stores: Stores, folders: dict[str, Any]) -> Table | None:
    """A row for every pile: folder, number, sizes and digest; None without any store.

    Args:
        stores: Of ``prepare``.
        folders: The section ``folders`` of the params file.

    """
    said = {
        "hr": "HR",
        "lr": "real LR",
        "val": "validation" if stores.val and stores.val.kind == "val" else "validation, LR alone",
        "pairs": "pairs to train on",
    }
    rows = [
        _row(name, str(without_folders(str(folders.get(key, "–")))), store)
        for key, name in said.items()
        if (store := getattr(stores, key)) is not None
    ]
    head = ["images", "folder", "number", "sizes, height × width", "megapixels", "digest"]
    return Table(head, rows) if rows else None


def _row(name: str, folder: str, store: Store) -> list[Cell]:
    sizes = sorted((store.size(image) for image in store.ids), key=lambda size: size[0] * size[1])
    ends = [f"{height} × {width}" for height, width in (sizes[0], sizes[-1])]
    shown = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
    pixels = sum(height * width for height, width in sizes) / 1e6
    return [name, folder, len(store.ids), shown, pixels, f"{store.digest[:DIGITS]}…"]


def read_findings(path: Path) -> list[Finding] | None:
    """What ``prepare`` found wrong with the piles; None if it did not look.

    Raises:
        UserError: The file is damaged.

    """
    piles = read_part(path, _Piles)
    if piles is None:
        return None
    advice = {str(kind): words.advice for kind, words in WORDS.items()}
    return [
        Finding(each.sentence, advice.get(each.kind, ""), listed(_names(each), NAMED))
        for each in piles.findings
    ]


def _names(finding: _Finding) -> list[str]:
    named = [(PurePath(each.file).name, each.note) for each in finding.files]
    return [f"{name} ({note})" if note else name for name, note in named]
