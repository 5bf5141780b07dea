"""Files that the user leaves out, by a list beside them."""

import logging
from pathlib import Path

from pipeline.base.errors import UserError, listed
from pipeline.camera_files.clips import find_clips
from pipeline.prepare.folders import Files

LIST = "leave_out.txt"
"""Name of the list in a folder of images: a file on every line, by its name or its path."""
NAMED = 20
"""Most files that a message names."""
log = logging.getLogger(__name__)


def without_left_out(files: Files) -> Files:
    """The files that no list in their folder names.

    DVC sees a list change, as it lies in a folder that it watches.

    Raises:
        UserError: A list cannot be read, or names a file that is not in its folder, or all files
            are left out.

    """
    named = {folder: _named(folder) for folder in {path.parent for path in files.values()}}
    kept = {i: path for i, path in files.items() if path.name not in named[path.parent]}
    out = [path.name for i, path in files.items() if i not in kept]
    if not kept:
        folder = next(iter(named))
        raise UserError(f"{folder / LIST}: leaves out all {len(out)} images")
    if out:
        log.warning("%d of %d images left out, as %s says: %s", len(out), len(files), LIST,
                    listed(out, NAMED))  # fmt: skip
    return kept


def clips_in(folder: Path) -> list[Path]:
    """The video clips of a folder that its list does not name.

    Raises:
        UserError: There is no such folder, or see ``without_left_out``.

    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    clips = {path.name: path for path in find_clips(folder)}
    return list(without_left_out(clips).values()) if clips else []


def _named(folder: Path) -> set[str]:
    place = folder / LIST
    if not place.exists():
        return set()
    try:
        lines = place.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise UserError(f"{place}: cannot be read as text of UTF-8") from error
    names = {Path(line.strip()).name for line in lines if line.strip()}
    missing = sorted(name for name in names if not (folder / name).is_file())
    if missing:
        raise UserError(f"{place}: names what is not beside it: {listed(missing, NAMED)}")
    return names
