"""Files and folders that have their name only when they are complete."""

from pathlib import Path

import pytest
from small_stores import bytes_of

from pipeline.files import replace_folder, whole


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


def test_replace_folder(tmp_path: Path) -> None:
    new, path = tmp_path / "new", tmp_path / "path"
    for content in ("first", "second"):
        new.mkdir()
        (new / "file").write_text(content)
        replace_folder(new, path)
        assert bytes_of(tmp_path) == {"path/file": content.encode()}
    with pytest.raises(FileNotFoundError):
        replace_folder(new, path)
    assert bytes_of(tmp_path) == {"path/file": b"second"}
