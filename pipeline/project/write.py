"""Writes a plan into the params file of a clone, without dropping anybody's changes."""

import shutil
import subprocess
from difflib import unified_diff
from pathlib import Path

from pipeline.base.errors import UserError
from pipeline.base.files import whole
from pipeline.base.hashes import file_hash
from pipeline.base.params import parse_lines, with_values
from pipeline.project.plan import WEIGHTS, Plan
from pipeline.tools.profiles import taken

NEEDED = ("dvc.yaml", "params.yaml", "profiles")
"""What a clone of the project has."""


def require_clone(root: Path) -> None:
    """Check that a folder is a clone of the project.

    Raises:
        UserError: It is not.

    """
    if missing := [name for name in NEEDED if not (root / name).exists()]:
        raise UserError(
            f"{', '.join(missing)}: not in this folder; run usrdu init in a clone of the project, "
            "whose stages read the params file that it writes"
        )


def planned(params: Path, plan: Plan) -> str:
    """The text of the params file with a plan in it; comments stay.

    Raises:
        UserError: A setting has no line of its own.

    """
    text = with_values(taken(params, plan.profile), plan.values)
    found = {line.key: line.value for line in parse_lines(text, params)}
    if left := [key for key, value in plan.values.items() if found.get(key) != value]:
        raise UserError(f"{params}: {', '.join(left)}: must have a line of its own")
    return text


def is_edited(params: Path) -> bool:
    """Whether a file holds something that git does not; True where git cannot tell."""
    command = ["git", "status", "--porcelain", "--ignored", "--", params.name]
    try:
        done = subprocess.run(
            command, cwd=params.absolute().parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return True
    return bool(done.stdout.strip())


def difference(params: Path, text: str) -> str:
    """What a text would change in a file, as ``diff -u`` shows it."""
    old, new = (each.splitlines() for each in (params.read_text(encoding="utf-8"), text))
    return "\n".join(unified_diff(old, new, str(params), "planned", lineterm="", n=0))


def write(params: Path, text: str, start: Path | None) -> list[Path]:
    """Write the params file, and a copy of the start model where DVC sees it change.

    Returns:
        The files that were written.

    Raises:
        UserError: Another model has that name there.

    """
    written = []
    if start is not None:
        copy = params.absolute().parent / WEIGHTS / start.name
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            with whole(copy) as partial:
                shutil.copyfile(start, partial)
            written.append(copy)
        elif file_hash(copy) != file_hash(start):
            raise UserError(f"{copy}: is another model of this name; rename one of them")
    with whole(params) as partial:
        partial.write_text(text, encoding="utf-8")
    return [*written, params]
