"""Tables: short ones, and long ones that a reader of the page sorts and filters."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

Cell = str | int | float | None

PAGE_ROWS = 50
"""Rows of a long table that are seen at a time, and all that are seen without the script."""


@dataclass(frozen=True)
class Table:
    """A table; None is an empty cell."""

    head: list[str]
    rows: list[list[Cell]]

    def column(self, name: str) -> list[Cell]:
        """The cells of the column of this name."""
        return [row[self.head.index(name)] for row in self.rows]


class Group(NamedTuple):
    """Neighbouring columns under one heading; an empty one has none."""

    heading: str
    width: int


@dataclass(frozen=True)
class Column:
    """Numbers of one kind, one of every row; None is an empty cell."""

    name: str
    values: Sequence[float | None]
    group: str = ""
    """Heading that it shares with its neighbours of the same group."""
    digits: int = 2
    """Decimals that are shown."""
    signed: bool = False
    """Whether a plus sign is shown."""

    @property
    def units(self) -> list[int | None]:
        """The values as whole numbers of the last decimal that is shown."""
        return [None if x is None else round(x * 10**self.digits) for x in self.values]

    def text(self, row: int) -> str:
        """A value as it is shown; ``script.js`` shows the same."""
        value = self.values[row]
        if value is None:
            return "–"
        rounded = round(value * 10**self.digits) / 10**self.digits
        sign = "+" if self.signed and rounded >= 0 else ""
        return sign + f"{rounded:.{self.digits}f}".replace("-", "−")


@dataclass(frozen=True)
class LongTable:
    """A table of as many rows as there are images; the page holds all, in little space."""

    id: str
    """Of its element; unique in the page."""
    label: str
    """What it holds, for those who do not see it."""
    noun: str
    """What a row is: ``image``."""
    names: Sequence[str]
    """Of the rows."""
    columns: Sequence[Column]
    marked: frozenset[int] = frozenset()
    """Rows that are marked; the reader can leave out all others."""
    mark: str = ""
    """What marked rows are, in the plural."""
    links: dict[int, str] = field(default_factory=dict)
    """Ids of the elements that some rows lead to."""

    @property
    def groups(self) -> list[Group]:
        """The headings over the columns, in order; none if no column has a group."""
        if not any(column.group for column in self.columns):
            return []
        grouped = groupby(self.columns, key=lambda column: column.group)
        return [Group(heading, len(list(inside))) for heading, inside in grouped]

    @property
    def first_rows(self) -> range:
        """The rows that are seen without the script."""
        return range(min(PAGE_ROWS, len(self.names)))

    @property
    def data(self) -> dict[str, Any]:
        """All rows for the script: names, and whole numbers column by column."""
        return {
            "pageRows": PAGE_ROWS,
            "noun": self.noun,
            "names": list(self.names),
            "columns": [
                {"name": c.name, "digits": c.digits, "signed": c.signed, "units": c.units}
                for c in self.columns
            ],
            "marked": sorted(self.marked),
            "links": self.links,
        }
