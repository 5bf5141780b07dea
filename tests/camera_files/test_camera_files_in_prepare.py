"""Raw photographs and clips on their way into stores."""

from pathlib import Path

import numpy as np
import pytest
from clip_files import colour, write_clip
from conftest import picture
from dng import write_dng

from pipeline.base.errors import UserError
from pipeline.prepare.prepare import Folders, PrepareSettings, prepare, with_frames
from pipeline.project.images import look_at
from pipeline.reading.files import read_image
from pipeline.stores.reader import Store

SETTINGS = PrepareSettings(frames_per_clip=2)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """A raw HR photograph, a raw LR photograph and a clip, no pairs."""
    made = Folders(*(tmp_path / name for name in ("hr", "lr", "val", "pairs")))
    for folder in (made.hr, made.lr, made.val, made.pairs):
        folder.mkdir()
    rng = np.random.default_rng(0)
    for folder, name in ((made.hr, "sharp.dng"), (made.lr, "b.dng")):
        write_dng(folder / name, np.moveaxis(picture(rng, 64, 96), 0, -1) / 255)
    write_clip(made.lr / "walk.mp4", 8)
    return made


def test_they_become_images_of_the_stores(folders: Folders, tmp_path: Path) -> None:
    work = tmp_path / "work"
    metrics = prepare(folders, SETTINGS, tmp_path / "out", work)
    lr, hr = (Store(tmp_path / f"out/{name}.zarr", name) for name in ("lr", "hr"))
    assert lr.ids == ["b", "walk_000002", "walk_000006"]
    assert metrics["lr_images"] == 3
    np.testing.assert_array_equal(lr.read("b", "image"), read_image(folders.lr / "b.dng"))
    np.testing.assert_array_equal(hr.read("sharp", "image"), read_image(folders.hr / "sharp.dng"))
    for number in (2, 6):
        image = lr.read(f"walk_{number:06d}", "image")
        assert np.abs(image[:, 0, 0].astype(int) - colour(number)).max() <= 1
    assert lr.attributes["jpeg"] is None
    assert len(list(work.glob("frames/*/*.png"))) == 2


def test_clips_alone_and_clips_left_out(
    folders: Folders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folders.lr / "b.dng").unlink()
    prepare(folders, SETTINGS, tmp_path / "out")
    assert Store(tmp_path / "out/lr.zarr", "lr").ids == ["walk_000002", "walk_000006"]
    assert not [message for message in caplog.messages if "passed over" in message]
    write_clip(folders.lr / "run.mp4", 3)
    (folders.lr / "leave_out.txt").write_text("walk.mp4\n")
    prepare(folders, SETTINGS, tmp_path / "out")
    assert Store(tmp_path / "out/lr.zarr", "lr").ids == ["run_000000", "run_000002"]


def test_a_broken_clip_stops_before_anything_is_written(folders: Folders, tmp_path: Path) -> None:
    (folders.lr / "walk.mp4").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"walk\.mp4: cannot be read as a video clip"):
        prepare(folders, SETTINGS, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_frame_and_an_image_of_one_name() -> None:
    frame = Path("frames/walk_000002.png")
    with pytest.raises(UserError, match="would both be called 'walk_000002'"):
        with_frames({"walk_000002": Path("lr/walk_000002.jpg")}, [frame])


def test_init_looks_at_clips_too(folders: Folders) -> None:
    clip = folders.lr / "walk.mp4"
    pile = look_at(folders.lr, [clip])
    assert pile.sizes == {folders.lr / "b.dng": (64, 96), clip: (48, 64)}
    assert pile.remarks == (f"{folders.lr}: 1 video clips; frames of them are LR images",)
    (folders.lr / "b.dng").unlink()
    assert list(look_at(folders.lr, [clip]).sizes) == [clip]
