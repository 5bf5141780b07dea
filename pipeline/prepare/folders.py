"""Folders in the user's folders, whatever the case of their letters; nothing is decoded here."""

from pathlib import Path
from typing import Literal

from pipeline.base.errors import UserError
from pipeline.reading.files import holds_images

Side = Literal["hr", "lr"]
Files = dict[str, Path]
"""Image files by id, in order."""
Pairs = dict[str, tuple[Path, Path]]
"""HR and LR files by id, in order."""


def folders_in(folder: Path) -> list[Path]:
    """Folders in a folder, by name, hidden ones left out.

    Raises:
        UserError: There is no such folder.

    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    return [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")]


def find_inside(folder: Path, name: str) -> Path | None:
    """The folder of that name in a folder.

    Raises:
        UserError: Two folders have it, in other letters.

    """
    found = [path for path in folders_in(folder) if path.name.casefold() == name.casefold()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise UserError(f"{folder}: holds the folders {names}, which differ in case only")
    return found[0] if found else None


def is_bare(folder: Path) -> bool:
    """Whether a folder holds neither folders nor images."""
    return not folders_in(folder) and not holds_images(folder)


def places(folder: Path) -> list[Path]:
    """A folder, the folders in it, and those in them."""
    first = folders_in(folder)
    return [folder, *first, *(deep for each in first for deep in folders_in(each))]
