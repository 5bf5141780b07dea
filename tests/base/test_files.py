"""Files and folders that have their name only when they are complete."""

from pathlib import Path

import pytest
from small_stores import bytes_of

from pipeline.base.errors import UserError
from pipeline.base.files import replace_folder, whole, whole_folder


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


def test_a_write_that_fails_names_the_file(tmp_path: Path) -> None:
    """The error of a write itself names none."""
    path = tmp_path / "a.txt"

    def fill() -> None:
        with whole(path) as partial, partial.open("wb") as file:
            file.write(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(UserError) as caught:
        fill()
    assert str(caught.value) == f"{path}: cannot be written: No space left on device"
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "a.txt"
    with pytest.raises(UserError) as caught, whole(path) as partial:
        partial.write_text("a")
    assert str(caught.value) == f"{path}: cannot be written: No such file or directory"


def test_a_fault_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, whole(tmp_path / "a.txt"):
        (tmp_path / "other").read_bytes()
    assert caught.value.filename == str(tmp_path / "other")


def test_a_whole_folder_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "path"
    for content in ("first", "second"):
        with whole_folder(path) as partial:
            assert not list(partial.iterdir())
            (partial / content).write_text(content)
            assert not (path / content).exists()
        assert [(file.name, file.read_text()) for file in path.iterdir()] == [(content, content)]
        assert [folder.name for folder in path.parent.iterdir()] == ["path"]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "path"
    path.mkdir()
    (path / "old").write_text("old")

    def write_some(error: Exception) -> None:
        with whole_folder(path) as partial:
            (partial / "new").write_text("new")
            raise error

    with pytest.raises(RuntimeError, match="half way"):
        write_some(RuntimeError("half way"))
    with pytest.raises(UserError, match="cannot be written: No space left") as caught:
        write_some(OSError(28, "No space left on device"))
    assert str(path) in str(caught.value)
    assert [file.name for file in path.iterdir()] == ["old"]
    assert [folder.name for folder in tmp_path.iterdir()] == ["path"]
