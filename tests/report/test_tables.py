"""Long tables: what is shown without the script, and what the script is given."""

import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pipeline.report.page import render
from pipeline.report.tables import PAGE_ROWS, Column, Group, LongTable, Table

TEMPLATE = """{% extends "frame.html.jinja" %}
{% from "parts.html.jinja" import badge, long_table %}
{% block title %}A page{% endblock %}
{% block body %}{{ long_table(table) }}{{ badge("fail") }}{{ badge(word) }}{% endblock %}
"""
HOSTILE = "</script><script>alert(1)</script>"


def long_table() -> LongTable:
    """As many rows as are shown at once, of numbers of any sign and size, some missing."""
    rng = np.random.default_rng(2)
    values: list[float | None] = [*rng.normal(0, 30, PAGE_ROWS).tolist()]
    values[:6] = [None, -0.004, 0.004, 0.0, 12345.678, -0.995]
    columns = [
        Column("plain", values, "a"),
        Column("signed", values, "a", signed=True),
        Column("whole", values, "b", digits=0),
        Column("fine", values, "b", digits=4, signed=True),
    ]
    names = [HOSTILE, *(f"image {number}" for number in range(1, PAGE_ROWS))]
    links = {2: "there"}
    return LongTable("t", "All", "image", names, columns, frozenset({1, 3}), "odd ones", links)


def page_of(folder: Path, table: LongTable) -> str:
    template = folder / "own.html.jinja"
    template.write_text(TEMPLATE, encoding="utf-8")
    return render(template, {"table": table, "word": HOSTILE})


class Cells(HTMLParser):
    """The rows of bodies of tables, as lists of what is in the cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False
        self.feed(text[text.index("<tbody>") : text.index("</tbody>")])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("th", "td")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] += data


def test_a_table_has_columns_by_name() -> None:
    table = Table(["a", "b"], [[1, None], [2, "x"]])
    assert table.column("b") == [None, "x"]


def test_groups_are_headings_over_neighbours() -> None:
    table = long_table()
    assert table.groups == [Group("a", 2), Group("b", 2)]
    assert not LongTable("t", "", "image", ["x"], [Column("y", [1.0])]).groups


@pytest.mark.parametrize(
    ("value", "digits", "signed", "expected"),
    [
        (1.005, 2, False, "1.00"),  # the float is below
        (-0.004, 2, False, "0.00"),
        (-0.004, 2, True, "+0.00"),
        (-1.5, 1, False, "−1.5"),
        (2.25, 2, True, "+2.25"),
        (1234.5, 0, False, "1234"),
        (None, 2, True, "–"),
    ],
)
def test_a_cell_as_it_is_shown(
    value: float | None, digits: int, signed: bool, expected: str
) -> None:
    assert Column("x", [value], digits=digits, signed=signed).text(0) == expected


def test_the_rows_are_in_the_page_twice(tmp_path: Path) -> None:
    """As HTML and as data of whole numbers; what is hostile stays text in both."""
    table = long_table()
    text = page_of(tmp_path, table)
    assert HOSTILE not in text
    rows = Cells(text).rows
    assert [row[0] for row in rows] == list(table.names)
    assert [row[1:] for row in rows] == [
        [column.text(place) for column in table.columns] for place in range(PAGE_ROWS)
    ]
    start = text.index('<script type="application/json">') + len('<script type="application/json">')
    data = json.loads(text[start : text.index("</script>", start)])
    assert data["names"] == list(table.names)
    assert data["marked"] == [1, 3] and data["links"] == {"2": "there"}
    for column, found in zip(table.columns, data["columns"], strict=True):
        for value, units in zip(column.values, found["units"], strict=True):
            if value is None:
                assert units is None
            else:
                assert abs(units / 10**column.digits - value) <= 0.5001 / 10**column.digits


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser on this machine")
def test_the_script_shows_the_rows_as_python_does(tmp_path: Path) -> None:
    """A browser lets it run, and its rows are those that are seen without it."""
    table = long_table()
    text = page_of(tmp_path, table)
    page = tmp_path / "page.html"
    page.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri(),
         f"--user-data-dir={tmp_path / 'profile'}"],
        capture_output=True, encoding="utf-8", check=True, timeout=120,
    )  # fmt: skip
    assert '<div class="controls" hidden' in text and "50 images" not in text
    assert '<div class="controls">' in done.stdout and "50 images</output>" in done.stdout
    assert Cells(done.stdout).rows == Cells(text).rows
