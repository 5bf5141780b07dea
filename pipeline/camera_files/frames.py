"""Frames of video clips as image files, drawn once and kept."""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from pipeline.base.hashes import file_hash, fingerprint
from pipeline.camera_files.clips import draw, open_clip
from pipeline.images.io import write_png

VERSION = 1
"""Of how frames are drawn; frames of another one are drawn anew."""
COMPLETE = ".complete"
"""Name of the empty file beside the frames of a clip that were all drawn."""
log = logging.getLogger(__name__)


def draw_frames(clips: Sequence[Path], count: int, work: Path | None) -> list[Path]:
    """Draw frames of clips evenly, in the middle of ``count`` equal parts of their length.

    One frame at a time is in memory.

    Args:
        clips: The clips.
        count: Frames of every clip; a clip with fewer gives all it has.
        work: Folder where frames are kept, so that the next run need not draw them; None: a
            temporary one.

    Returns:
        PNG files, whose names are that of the clip and the number of the frame, from 0.

    Raises:
        UserError: A clip cannot be read.

    """
    frames: list[Path] = []
    if not clips:
        return frames
    root = Path(tempfile.mkdtemp(prefix="usrdu-frames-")) if work is None else work / "frames"
    for path in tqdm(clips, "prepare, frames of clips", unit="clip"):
        folder = root / fingerprint(VERSION, path.stem, count, file_hash(path))
        if not (folder / COMPLETE).is_file():
            clip = open_clip(path)
            folder.mkdir(parents=True, exist_ok=True)
            for number, image in draw(clip, count):
                write_png(folder / f"{path.stem}_{number:06d}.png", image)
            (folder / COMPLETE).touch()
        frames += sorted(folder.glob("*.png"))
    log.info("%d frames of %d clips are LR images", len(frames), len(clips))
    return frames
