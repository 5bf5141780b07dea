"""Lists of files to leave out, and the report on what stays."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.base.errors import UserError
from pipeline.prepare.left_out import without_left_out
from pipeline.prepare.prepare import Folders, PrepareSettings, prepare
from pipeline.stores.reader import Store


def files(folder: Path, count: int = 3) -> dict[str, Path]:
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return {str(number): folder / f"{number}.png" for number in range(count)}


def test_without_a_list_all_stay(tmp_path: Path) -> None:
    found = files(tmp_path / "hr")
    assert without_left_out(found) == found


def test_a_list_names_files_by_name_or_path(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = files(tmp_path / "hr")
    (tmp_path / "hr" / "leave_out.txt").write_text(f"2.png\n\n{found['0']}\n")
    with caplog.at_level(logging.WARNING):
        assert without_left_out(found) == {"1": found["1"]}
    assert "2 of 3 images left out, as leave_out.txt says: 0.png, 2.png" in caplog.text


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"9.png\n", "names what is not beside it: 9.png"),
        (b"0.png\n1.png\n2.png\n", "leaves out all 3 images"),
        (b"\xff\xfe", "cannot be read as text of UTF-8"),
    ],
)
def test_faults_of_a_list(tmp_path: Path, content: bytes, fault: str) -> None:
    found = files(tmp_path / "hr")
    (tmp_path / "hr" / "leave_out.txt").write_bytes(content)
    with pytest.raises(UserError, match=fault):
        without_left_out(found)


def test_prepare_leaves_them_out_and_reports_on_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("hr", "lr"):
        files(tmp_path / name)
    (tmp_path / "hr" / "leave_out.txt").write_text("1.png\n")
    (tmp_path / "none").mkdir()
    out = tmp_path / "out"
    folders = Folders(tmp_path / "hr", tmp_path / "lr", tmp_path / "none", tmp_path / "none")
    with caplog.at_level(logging.INFO):
        metrics = prepare(folders, PrepareSettings(scale=4), out)
    assert metrics["hr_images"] == 2 and Store(out / "hr.zarr", "hr").ids == ["0", "2"]
    content = json.loads((out / "piles.json").read_text())
    looked_at = {name: [Path(each["file"]).name for each in pile] for name, pile in
                 content["images"].items()}  # fmt: skip
    assert looked_at == {"HR": ["0.png", "2.png"], "LR": ["0.png", "1.png", "2.png"]}
    (paired,) = content["findings"]
    assert (paired["kind"], len(paired["files"])) == ("paired", 2)
    assert "2 of 3 LR images show the scene of an HR image: 0.png (shows 0.png)" in caplog.text
    assert "# The piles" in (out / "piles.md").read_text()
