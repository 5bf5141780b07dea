"""Typed, frozen settings and the ``params.yaml`` sections they are read from."""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

from pipeline.base.errors import UserError, one_line

Count = Annotated[int, Field(gt=0)]
"""A number of things, at least one."""
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
"""A factor of a term; zero leaves the term out."""


class Settings(BaseModel):
    """Base of every settings class: frozen, strictly typed, unknown keys refused.

    The defaults of a section are what ``params.yaml`` comes with; without a default a key must be
    there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


S = TypeVar("S", bound=Settings)

LARGEST = 2**20
"""Bytes of a YAML file."""
DEEPEST = 20
"""Levels of a YAML file; ours have five."""
COMMENT = 31
"""Column at which comments begin, where values leave room."""
AMBIGUOUS = {"true", "false", "null", "yes", "no", "on", "off"}
"""Words that are no strings in YAML 1.1 or 1.2 unless they are quoted."""
SHOWN = 60
"""Letters of a bad value that a message shows."""


def load_yaml(path: Path) -> dict[str, object]:
    """Read a YAML 1.2 mapping of at most ``LARGEST`` bytes and ``DEEPEST`` levels, without aliases.

    Raises:
        UserError: The file is missing, is not such YAML, or is not a mapping.

    """
    return _parse(_read(path), path)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise UserError(f"{path}: is not valid YAML: it has more than {LARGEST} bytes")
        return data.decode()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not valid YAML: {_yaml_fault(error)}") from error


def _parse(text: str, path: Path) -> dict[str, object]:
    try:
        if fault := _trap(text):
            raise UserError(f"{path}: is not valid YAML: {fault}")
        content = YAML(typ="safe", pure=True).load(text)
    except UserError:
        raise
    except Exception as error:  # besides its own, the library lets those of int, date, dict through
        raise UserError(f"{path}: is not valid YAML: {_yaml_fault(error)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: must be a mapping of sections, found {type(content).__name__}")
    return content


def _trap(text: str) -> str | None:
    """Why a text could take for ever to load, if it could: a few aliases make a billion values."""
    depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        line = f"line {event.start_mark.line + 1}"
        if isinstance(event, AliasEvent):
            return f"{line}: aliases, such as *{event.anchor}, are not taken"
        depth += isinstance(event, CollectionStartEvent)
        depth -= isinstance(event, CollectionEndEvent)
        if depth > DEEPEST:
            return f"{line}: it has more than {DEEPEST} levels"
    return None


class Line(NamedTuple):
    """One value of a YAML file."""

    key: str
    """Dotted, such as ``train_srn.epochs``."""
    value: object
    comment: str
    """What stands behind it on its line; empty for nothing."""


def load_lines(path: Path) -> list[Line]:
    """Every value of a YAML mapping in order, with the comment on its line.

    Raises:
        UserError: See ``load_yaml``.

    """
    return parse_lines(_read(path), path)


def parse_lines(text: str, path: Path) -> list[Line]:
    """``load_lines`` of a text that may become a file; ``path`` is named in messages.

    Raises:
        UserError: See ``load_yaml``.

    """
    _parse(text, path)
    rows, lines = text.splitlines(), []
    for key, value, row, _ in _places(YAML(pure=True).load(text), ""):
        plain = list(value) if isinstance(value, list) else value
        lines.append(Line(key, plain, rows[row].partition(" # ")[2].strip()))
    return lines


def with_values(text: str, values: Mapping[str, object]) -> str:
    """A YAML text with other values, in whose lines nothing else changes.

    What has no line, or stands on several, stays as it is: see what ``parse_lines`` says of the
    result.

    Args:
        text: A mapping, as ``load_yaml`` takes it.
        values: The values to be, by dotted key.

    """
    rows = text.splitlines()
    for key, value, row, column in _places(YAML(pure=True).load(text), ""):
        if key in values and value != values[key] and _is_whole(value, rows[row][column:]):
            comment = rows[row].partition(" # ")[2].strip()
            line = f"{rows[row][:column].rstrip()} {_in_yaml(values[key])}"
            if comment:
                line = (f"{line}   " if len(line) >= COMMENT else line.ljust(COMMENT)) + "# "
            rows[row] = line + comment
    return "\n".join(rows) + "\n"


class _Place(NamedTuple):
    """Where a value stands in a YAML text."""

    key: str
    value: object
    row: int
    column: int


def _places(content: CommentedMap, prefix: str) -> Iterator[_Place]:
    """Keys and values of a mapping, with row and column of every value."""
    for key, value in content.items():
        if isinstance(value, CommentedMap) and value:
            yield from _places(value, f"{prefix}{key}.")
        else:
            yield _Place(f"{prefix}{key}", value, *content.lc.value(key))


def _is_whole(value: object, text: str) -> bool:
    """Whether a text is all of a value."""
    try:
        return bool(YAML(typ="safe", pure=True).load(text) == value)
    except YAMLError:
        return False


def _in_yaml(value: object) -> str:
    """A value on one line."""
    match value:
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[value]
        case float():
            return format(Decimal(repr(value)), "f")
        case list():
            return f"[{', '.join(_in_yaml(item) for item in value)}]"
        case str() if not re.fullmatch(r"[A-Za-z][\w./-]*", value) or value in AMBIGUOUS:
            return json.dumps(value)
        case _:
            return str(value)


def load_section(path: Path, section: str, kind: type[S]) -> S:
    """Read one section of a params file, ``"a"`` or nested ``"a.b"``, into its settings class.

    Raises:
        UserError: The section is missing, or a key in it is unknown, missing or has a bad value.

    """
    content: object = load_yaml(path)
    for name in section.split("."):
        if not isinstance(content, dict) or name not in content:
            raise UserError(f"{path}: the section '{section}' is missing")
        content = content[name]
    return _validated(content, kind, path, section)


def load_value(path: Path, key: str, kind: Any) -> Any:
    """Read one value of a params file by its dotted key, such as ``"prepare.scale"``.

    Raises:
        UserError: The key is missing, or its value is not of this kind.

    """
    content: object = load_yaml(path)
    for name in key.split("."):
        if not isinstance(content, dict) or name not in content:
            raise UserError(f"{path}: {key} is missing")
        content = content[name]
    try:
        return TypeAdapter(kind).validate_python(content, strict=True)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        found = f"{message[0].lower()}{message[1:]}, found {_short(content)}"
        raise UserError(f"{path}: {key}: {found}") from error


def changed(base: S, changes: Mapping[str, object], path: Path, section: str) -> S:
    """Settings with some of them changed, checked like those of a section.

    Args:
        base: The settings.
        changes: Other values, by key.
        path: File the changes are from, for messages.
        section: Its section, for messages.

    Raises:
        UserError: A key is unknown or has a bad value.

    """
    return _validated(base.model_dump() | dict(changes), type(base), path, section)


def _validated(content: object, kind: type[S], path: Path, section: str) -> S:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(_sentence(section, fault) for fault in error.errors())
        raise UserError(f"{path}: {faults}") from error


def _yaml_fault(error: Exception) -> str:
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        what = ", ".join(part for part in (error.context, error.problem) if part)
        return f"line {error.problem_mark.line + 1}: {what}"
    return one_line(error, 300)


def _sentence(section: str, fault: object) -> str:
    assert isinstance(fault, dict)
    key = ".".join([section, *(str(part) for part in fault["loc"])])
    match fault["type"]:
        case "extra_forbidden":
            return f"{key} is not a known setting"
        case "missing":
            return f"{key} is missing"
        case "model_type":
            return f"{key} must be a mapping of settings, found {_short(fault['input'])}"
        case "value_error":
            return f"{section}: {str(fault['msg']).removeprefix('Value error, ')}"
        case _:
            message = str(fault["msg"])
            return f"{key}: {message[0].lower()}{message[1:]}, found {_short(fault['input'])}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
