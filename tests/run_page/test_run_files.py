"""What stages wrote, read for the page: whole files, damaged ones, and paths of a machine."""

import json
from pathlib import Path

import pytest

from pipeline.base.errors import UserError
from pipeline.report.charts import Line
from pipeline.run_page.curves import POINTS, charts_of, colours_of, read_logs
from pipeline.run_page.files import Part, read_curves, read_part, read_rows, without_folders


class Small(Part):
    """Two values of a file."""

    images: int
    name: str = ""


def test_a_file_is_read_and_may_hold_more(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    assert read_part(path, Small) is None
    path.write_text('{"images": 3, "name": "/home/anna/x.png", "other": [1]}', encoding="utf-8")
    assert read_part(path, Small) == Small(images=3, name="…/x.png")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('{"images": 3', "is not whole JSON"),
        ("", "is not whole JSON"),
        ('{"images": "many"}', "is not as its stage wrote it: images: "),
        ("{}", "is not as its stage wrote it: images: Field required"),
        ("[]", "is not as its stage wrote it: "),
        ("[" * 100_000, "is not whole JSON"),
    ],
)
def test_a_damaged_file_is_one_sentence(content: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_part(path, Small)
    assert str(caught.value).startswith(f"{path}: {fault}") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("data/raw/demo/hr", "data/raw/demo/hr"),
        ("/home/anna maria/pictures/best", "…/best"),
        ("/home/anna/pictures/", "…/pictures"),
        ("~/pictures", "…/pictures"),
        ("../anna/pictures", "…/pictures"),
        (r"C:\Users\Anna Maria\best", "…/best"),
        (r"\\server\anna\best", "…/best"),
        ("s3://anna-bucket/hr.zarr", "…/hr.zarr"),
        ("it is in /home/anna/x.png, not whole", "it is in …/x.png, not whole"),
        ("noise and/or blur", "noise and/or blur"),
        ("12 / 3", "12 / 3"),
        ("", ""),
    ],
)
def test_no_path_of_a_machine_is_shown(text: str, shown: str) -> None:
    assert without_folders({"a": [text, 1, None]}) == {"a": [shown, 1, None]}


def write_log(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_empty_cells_of_curves_are_skipped(tmp_path: Path) -> None:
    log = read_curves(write_log(tmp_path / "c.csv", "step,a,b,c\n5,1,,\n10,nan,2.5,\n"))
    assert log == {"step": [5, 10], "a": [1, None], "b": [None, 2.5], "c": [None, None]}
    assert log.names == ["a", "b"]
    assert read_curves(tmp_path / "none.csv") is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n", "has no column 'step'"),
        ("step,a\n5,1\n10\n", "line 3 has 1 cells, and the first line 2"),
        ("step,a\n5,one\n", "line 2, a: expected a number, found 'one'"),
        ("step,a\n,1\n", "line 2: has no step"),
    ],
)
def test_a_damaged_log_is_one_sentence(text: str, fault: str, tmp_path: Path) -> None:
    path = write_log(tmp_path / "c.csv", text)
    with pytest.raises(UserError) as caught:
        read_curves(path)
    assert str(caught.value) == f"{path}: {fault}"


def test_bytes_that_are_no_text_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes(b"step,\xff\n")
    with pytest.raises(UserError, match="is not a table"):
        read_rows(path)


def test_every_column_has_a_chart_with_a_line_of_every_network(tmp_path: Path) -> None:
    write_log(tmp_path / "one/curves.csv", "step,total,psnr\n50,3,\n100,2,20.5\n")
    write_log(tmp_path / "two/curves.csv", "step,total\n50,1\n100,0.5\n")
    write_log(tmp_path / "untrained/curves.csv", "step,total\n")
    logs = read_logs(tmp_path)
    assert list(logs) == ["one", "two"]
    charts, colours = charts_of(logs, "srn"), colours_of(logs)
    assert [chart.name for chart in charts] == ["total", "psnr"]
    drawn = [[name for name, colour in colours.items() if colour in c.svg] for c in charts]
    assert drawn == [["one", "two"], ["one"]]
    ids = [json.dumps(chart.svg).count('id=\\"srn-') for chart in charts]
    assert min(ids) > 0 and 'id="srn-1-0"' in charts[1].svg


def test_a_long_log_is_drawn_by_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f"{step},{step % 7}\n" for step in range(1, 2 * POINTS + 1))
    write_log(tmp_path / "one/curves.csv", "step,total\n" + rows)
    drawn: list[Line] = []

    def keep(name: str, lines: list[Line], prefix: str) -> str:
        del name, prefix
        drawn.extend(lines)
        return ""

    monkeypatch.setattr("pipeline.run_page.curves.steps_chart", keep)
    charts_of(read_logs(tmp_path), "srn")
    (line,) = drawn
    assert line.steps.tolist() == [2 * n + 1.5 for n in range(POINTS)]
    assert line.values.tolist() == [((2 * n + 1) % 7 + (2 * n + 2) % 7) / 2 for n in range(POINTS)]
