"""Files that stages wrote, checked as they are read, without the names of a machine's folders."""

import csv
import json
import math
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.base.errors import UserError, one_line

FOREIGN = re.compile(r"/|~|\.\.[/\\]|[A-Za-z]:[/\\]|\\\\|\w+://")
"""How a path begins that is not inside of the project, or a URL."""
INSIDE = re.compile(r"(?<![\w.…])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\]+[/\\])+")
"""Such a path within a sentence, up to its last name."""


class Part(BaseModel):
    """What the page needs of a file; the file may hold more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


P = TypeVar("P", bound=BaseModel)


class Curves(dict[str, list[float | None]]):
    """Columns of a training's log by name; ``step`` is one of them, None is an empty cell."""

    @property
    def names(self) -> list[str]:
        """The columns that hold a number."""
        return [name for name, cells in self.items() if name != "step" and any(map(_there, cells))]


def _there(cell: float | None) -> bool:
    return cell is not None


def read_part(path: Path, kind: type[P]) -> P | None:
    """Read a JSON file of a stage; None if there is none.

    Raises:
        UserError: It cannot be read, or is not whole, or holds something else.

    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not whole JSON: {one_line(error)}") from error
    try:
        return kind.model_validate(without_folders(content))
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        said = f"{place}: {fault['msg']}" if place else fault["msg"]
        raise UserError(f"{path}: is not as its stage wrote it: {said}") from error


def read_curves(path: Path) -> Curves | None:
    """Read the log of a training, columns of numbers over steps; None if there is none.

    Raises:
        UserError: It cannot be read, has no column ``step``, or a line is not whole.

    """
    rows = read_rows(path)
    if rows is None:
        return None
    curves = Curves({name: [] for name in rows[0]})
    if "step" not in curves:
        raise UserError(f"{path}: has no column 'step'")
    for line, row in enumerate(rows[1:], 2):
        for name, cell in zip(rows[0], row, strict=True):
            curves[name].append(_number(cell, f"{path}: line {line}, {name}"))
        if curves["step"][-1] is None:
            raise UserError(f"{path}: line {line}: has no step")
    return curves


def read_rows(path: Path) -> list[list[str]] | None:
    """The lines of a CSV file, the first with the names; None if there is no file.

    Raises:
        UserError: It cannot be read, is empty, or a line has not as many cells as there are names.

    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path}: is not a table: {one_line(error)}") from error
    if not rows:
        raise UserError(f"{path}: is empty")
    for line, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise UserError(
                f"{path}: line {line} has {len(row)} cells, and the first line {len(rows[0])}"
            )
    return rows


def _number(cell: str, place: str) -> float | None:
    try:
        value = float(cell) if cell.strip() else None
    except ValueError as error:
        raise UserError(f"{place}: expected a number, found {cell[:40]!r}") from error
    return value if value is not None and math.isfinite(value) else None


def without_folders(content: object) -> object:
    """JSON in which paths from outside of the project have their last name alone.

    A page is sent to others, whom names of users and of their folders do not concern.
    """
    match content:
        case str():
            return _without_folders(content)
        case list():
            return [without_folders(value) for value in content]
        case dict():
            return {key: without_folders(value) for key, value in content.items()}
        case _:
            return content


def _without_folders(text: str) -> str:
    if not FOREIGN.match(text):
        return INSIDE.sub("…/", text)
    windows = "\\" in text
    return f"…/{(PureWindowsPath(text) if windows else PurePosixPath(text)).name}"
