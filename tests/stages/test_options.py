"""What the commands share: files of metrics, and what is printed of them."""

import json
import math
from pathlib import Path

import pytest

from stages.options import STORE, report, write_json


def refuse(constant: str) -> None:
    raise AssertionError(constant)


def test_metrics_files_are_strict_json(tmp_path: Path) -> None:
    """Python would write Infinity and NaN, which are no JSON."""
    content = {"a": math.inf, "b": {"c": [math.nan, -math.inf, 1.5], "d": (2, "NaN")}, "e": None}
    path = tmp_path / "new" / "metrics.json"
    write_json(path, content)
    read = json.loads(path.read_text(), parse_constant=refuse)
    assert read == {"a": None, "b": {"c": [None, None, 1.5], "d": [2, "NaN"]}, "e": None}


def test_a_failed_writing_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_report_names_nested_metrics_in_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report({"n": 2, "a": {"b": {"c": 1 / 3}, "d": "x"}, "e": {}, "f": None}, tmp_path / "out")
    lines = ["  n: 2", "  a.b.c: 0.3333", "  a.d: x", "  f: None", f"wrote {tmp_path / 'out'}"]
    assert capsys.readouterr().out.splitlines() == lines


def test_stores_are_folders_or_urls() -> None:
    assert STORE.convert("data/x.zarr", None, None) == Path("data/x.zarr")
    assert STORE.convert("s3://bucket/x.zarr", None, None) == "s3://bucket/x.zarr"
