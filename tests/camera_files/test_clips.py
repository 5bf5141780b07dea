"""Frames of video clips: their colours, their places, their orientation."""

import logging
import subprocess
import sys
import tracemalloc
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from clip_files import WEIGHTS, colour, write_clip
from numpy.typing import NDArray

from pipeline.base.errors import UserError
from pipeline.camera_files.clips import Clip, draw, open_clip, read_frame
from pipeline.camera_files.frames import draw_frames


def of_frame(image: NDArray[np.uint8]) -> tuple[int, ...]:
    """The colour of a flat frame."""
    assert (image == image[:, :1, :1]).all()
    return tuple(int(value) for value in image[:, 0, 0])


@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize("full", [False, True])
def test_colours_are_those_that_the_clip_states(tmp_path: Path, matrix: str, full: bool) -> None:
    clip = open_clip(write_clip(tmp_path / "a.mp4", 4, matrix, full))
    found = of_frame(read_frame(clip, 2))
    assert np.abs(np.subtract(found, colour(2))).max() <= 1


@pytest.mark.parametrize(
    ("size", "matrix"), [((64, 48), "smpte170m"), ((1280, 720), "bt709"), ((48, 64), "smpte170m")]
)
def test_a_clip_that_states_no_matrix(tmp_path: Path, size: tuple[int, int], matrix: str) -> None:
    clip = open_clip(write_clip(tmp_path / "a.mp4", 1, matrix, size=size, tags=""))
    assert np.abs(np.subtract(of_frame(read_frame(clip, 0)), colour(0))).max() <= 1


def test_frames_are_drawn_from_the_middle_of_equal_parts(tmp_path: Path) -> None:
    clip = open_clip(write_clip(tmp_path / "a.mp4"))
    assert (clip.frames, clip.seconds, clip.size) == (30, 3.0, (48, 64))
    drawn = list(draw(clip, 3))
    assert [number for number, _ in drawn] == [5, 15, 25]
    for number, image in drawn:  # neighbours differ by five levels of green
        assert abs(of_frame(image)[1] - colour(number)[1]) <= 1
    assert clip.drawn(1) == [15]
    assert clip.drawn(40) == list(range(30))
    assert abs(of_frame(read_frame(clip, 29))[1] - colour(29)[1]) <= 1


@pytest.mark.parametrize(("count", "frames"), [(8, 30), (7, 100), (3, 3), (5, 11)])
def test_the_law_of_the_places(count: int, frames: int) -> None:
    """One in every part, equally far from both ends."""
    drawn = Clip(Path("a.mp4"), frames, 1.0, (1, 1), "auto").drawn(count)
    for part, number in enumerate(drawn):
        assert part * frames / count <= number < (part + 1) * frames / count
    assert abs(drawn[0] - (frames - 1 - drawn[-1])) <= 1


def test_a_clip_is_turned_as_it_says(tmp_path: Path) -> None:
    flat = write_clip(tmp_path / "a.mp4", 3)
    path = tmp_path / "b.mp4"
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    command = [ffmpeg, "-v", "error", "-display_rotation", "90", "-i", flat, "-c", "copy", path]
    subprocess.run(command, check=True)
    clip = open_clip(path)
    assert clip.size == (64, 48)
    assert read_frame(clip, 1).shape == (3, 64, 48)


def test_broken_clips_are_one_sentence(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "a.mp4", 5).read_bytes()
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.mp4\n#EXT-X-ENDLIST\n"
    broken = {"text.mp4": b"not a clip", "cut.mp4": whole[: len(whole) // 2], "list.mp4": playlist}
    for name, data in broken.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(UserError, match=rf"{name}: cannot be read as a video clip: \w") as said:
            open_clip(path)
        assert "\n" not in str(said.value)


def test_a_high_dynamic_range_is_refused(tmp_path: Path) -> None:
    tags = "setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=arib-std-b67:range=tv"
    path = write_clip(tmp_path / "a.mp4", 2, tags=tags)
    with pytest.raises(UserError, match=r"a\.mp4: holds values of a high dynamic range \(HLG\)"):
        open_clip(path)


def test_frames_are_kept_and_drawn_anew_when_the_clip_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path, work = write_clip(tmp_path / "a b.mp4", 6), tmp_path / "work"
    with caplog.at_level(logging.INFO):
        frames = draw_frames([path], 2, work)
    assert [frame.name for frame in frames] == ["a b_000001.png", "a b_000004.png"]
    assert caplog.messages == ["2 frames of 1 clips are LR images"]
    opened: list[Path] = []

    def opening(path: Path) -> Clip:
        opened.append(path)
        return open_clip(path)

    monkeypatch.setattr("pipeline.camera_files.frames.open_clip", opening)
    assert draw_frames([path], 2, work) == frames and not opened
    (frames[0].parent / ".complete").unlink()  # as after a kill
    assert draw_frames([path], 2, work) == frames and opened == [path]
    assert len(draw_frames([path], 3, work)) == 3
    write_clip(path, 5)
    assert [frame.name for frame in draw_frames([path], 2, work)] == [
        "a b_000001.png", "a b_000003.png",
    ]  # fmt: skip
    assert draw_frames([], 2, None) == []


def test_one_frame_at_a_time_is_in_memory(tmp_path: Path) -> None:
    clip = open_clip(write_clip(tmp_path / "a.mp4", 8, size=(640, 480), tags=""))
    tracemalloc.start()
    for _ in draw(clip, 8):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 3 * 640 * 480  # bytes, image and what numpy holds between


def test_without_ffmpeg_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(UserError, match=r"a\.mp4: .* install usrdu with its extra: usrdu\[video\]"):
        open_clip(tmp_path / "a.mp4")
