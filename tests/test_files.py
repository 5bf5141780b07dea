"""``whole``: a file has its name only when it is complete."""

from pathlib import Path

import pytest

from pipeline.files import whole


def test_the_file_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    with whole(path) as partial:
        partial.write_text("all of it")
        assert not path.exists()
    assert path.read_text() == "all of it"
    assert [file.name for file in tmp_path.iterdir()] == ["result.txt"]


def write_half(path: Path) -> None:
    with whole(path) as partial:
        partial.write_text("half")
        raise RuntimeError("half way")


def test_a_failure_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half way"):
        write_half(path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["result.txt"]
