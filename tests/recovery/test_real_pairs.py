"""Pairs of a real camera: what is unpaired, what stays a pair, and folders with mistakes."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import names
from PIL import Image

from stages.tools.recovery_pairs import command

NAMES = ["a b", "c", "d", "e", "f"]


def write(path: Path, value: int) -> None:
    """An image whose pixels all have the value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pairs and two for validation; HR is the number of the pair, LR 100 more."""
    for side, more in (("hr", 0), ("lr", 100)):
        for number, name in enumerate(NAMES):
            write(tmp_path / "mine/pairs" / side / f"{name}.PNG", number + more)
        for number, name in enumerate(("x", "y")):
            write(tmp_path / "mine/val" / side / f"{name}.png", 50 + number + more)
    return tmp_path / "mine"


def call(folder: Path) -> Result:
    words = ["--folder", str(folder), "--out", str(folder.parent / "raw")]
    return CliRunner().invoke(command, words)


def values(folder: Path) -> dict[str, int]:
    """The value of every image by its name."""
    return {name: np.asarray(Image.open(folder / name)).flat[0] for name in names(folder)}


def test_halves(folder: Path) -> None:
    """HR images of the first pairs, LR images of the others, and the pairs of the HR images."""
    result = call(folder)
    assert result.exit_code == 0, result.output
    raw = folder.parent / "raw"
    assert values(raw / "hr") == values(raw / "pairs/hr") == {"a_b.png": 0, "c.png": 1}
    assert values(raw / "pairs/lr") == {"a_b.png": 100, "c.png": 101}
    assert values(raw / "lr") == {"d.png": 102, "e.png": 103, "f.png": 104}
    assert values(raw / "val/hr") == {"x.png": 50, "y.png": 51}
    assert values(raw / "val/lr") == {"x.png": 150, "y.png": 151}
    assert "lr_images: 3" in result.output and f"wrote {raw}" in result.output


def test_further_lr_images_take_the_place_of_a_half(folder: Path) -> None:
    write(folder / "lr" / "g.png", 200)
    assert call(folder).exit_code == 0
    raw = folder.parent / "raw"
    assert list(values(raw / "hr").values()) == [0, 1, 2, 3, 4]
    assert list(values(raw / "pairs/lr").values()) == [100, 101, 102, 103, 104]
    assert values(raw / "lr") == {"g.png": 200}


def test_the_files_are_copied_as_they_are(folder: Path) -> None:
    call(folder)
    original = folder / "pairs/lr/f.PNG"
    assert (folder.parent / "raw/lr/f.png").read_bytes() == original.read_bytes()


def test_folders_with_mistakes(folder: Path) -> None:
    def fails(words: str) -> None:
        result = call(folder)
        assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
        assert result.output.count("\n") == 1 and words in result.output

    assert call(folder).exit_code == 0
    fails("raw: is not empty; name a new folder")
    (folder.parent / "raw").rename(folder.parent / "before")
    (folder / "lr").mkdir()
    fails("mine/lr: holds no image")
    (folder / "lr").rmdir()
    (folder / "val/lr/y.png").unlink()
    fails("val/hr/y.png: has no partner of the same name")
    (folder / "val").rename(folder / "away")
    fails("mine/val: there is no such folder")
    (folder / "val").mkdir()
    fails("mine/val: holds no pairs")
    (folder / "val").rmdir()
    (folder / "away/hr/y.png").unlink()
    (folder / "away").rename(folder / "val")
    for side in ("hr", "lr"):
        for name in NAMES[1:]:
            (folder / "pairs" / side / f"{name}.PNG").unlink()
    fails("mine/pairs: one pair cannot be halved; add a folder lr")
    assert not (folder.parent / "raw").exists()
