"""Params files: safe reading of YAML, and the changes that a command line makes."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent

from pipeline.base.errors import UserError, one_line

LARGEST = 2**20
"""Largest size of a YAML file, in bytes."""
DEEPEST = 20
"""Largest number of levels of a YAML file; those of this project have five."""
COMMENT = 31
"""Column at which a comment begins, unless the value is longer."""
NAME = re.compile(r"[A-Za-z0-9_-]+")
"""Names of architectures, which are part of paths and of commands."""
NO_FILE = ("imagenet", "random", "none", None)
"""Values of the settings of ``WEIGHTS`` that name no file."""
WEIGHTS = (
    "perceptual_weights",
    "dists_weights",
    "dists_vgg16",
    "lpips_weights",
    "niqe_model",
    "warm_start",
)
"""Settings that may name a file of weights."""
AMBIGUOUS = {"true", "false", "null", "yes", "no", "on", "off"}
"""Words that are no strings in YAML 1.1 or 1.2 unless they are quoted."""


def load_yaml(path: Path) -> dict[str, object]:
    """Read a YAML 1.2 mapping of at most ``LARGEST`` bytes and ``DEEPEST`` levels, without aliases.

    Raises:
        UserError: The file is missing, is not such YAML, or is not a mapping.

    """
    return _parse(yaml_text(path), path)


def yaml_text(path: Path) -> str:
    """The text of a file of at most ``LARGEST`` bytes.

    Raises:
        UserError: It cannot be read, is larger, or is not UTF-8.

    """
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
    content = _value(text, str(path))
    if not isinstance(content, dict):
        raise UserError(f"{path}: must be a mapping of sections, found {type(content).__name__}")
    return content


def _value(text: str, name: str) -> object:
    """The value of a YAML text; ``name`` is its origin in messages."""
    try:
        if fault := trap(text):
            raise UserError(f"{name}: is not valid YAML: {fault}")
        content: object = YAML(typ="safe", pure=True).load(text)
    except UserError:
        raise
    except Exception as error:  # errors of int, date and dict come through the library
        raise UserError(f"{name}: is not valid YAML: {_yaml_fault(error)}") from error
    return content


def trap(text: str) -> str | None:
    """Why a text must not be loaded, or None; a few aliases can make a billion values."""
    depth, merged = 0, None
    for event in YAML(typ="safe", pure=True).parse(text):
        line = f"line {event.start_mark.line + 1}"
        if isinstance(event, AliasEvent):
            return f"{line}: aliases, such as *{event.anchor}, are not taken"
        if isinstance(event, ScalarEvent) and event.value == "<<":
            merged = f"{line}: merge keys, <<, are not taken"
        depth += isinstance(event, CollectionStartEvent)
        depth -= isinstance(event, CollectionEndEvent)
        if depth > DEEPEST:
            return f"{line}: it has more than {DEEPEST} levels"
    return merged


class Line(NamedTuple):
    """One value of a YAML file."""

    key: str
    """Dotted, such as ``train_srn.epochs``."""
    value: object
    comment: str
    """The comment on its line; empty if there is none."""


def load_lines(path: Path) -> list[Line]:
    """Every value of a YAML mapping in order, with the comment on its line.

    Raises:
        UserError: See ``load_yaml``.

    """
    return parse_lines(yaml_text(path), path)


def parse_lines(text: str, path: Path) -> list[Line]:
    """Like ``load_lines``, from the text of a file; ``path`` is named in messages.

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
    """Change values in a YAML text; the rest of their lines stays as it is.

    A value without a line, or on several lines, is not changed.  ``parse_lines`` of the result
    shows such values.

    Args:
        text: A mapping, as ``load_yaml`` takes it.
        values: The new values, by dotted key.

    """
    rows = text.splitlines()
    for key, value, row, column in _places(YAML(pure=True).load(text), ""):
        if key in values and value != values[key] and _is_whole(value, rows[row][column:]):
            comment = rows[row].partition(" # ")[2].strip()
            line = f"{rows[row][:column].rstrip()} {in_yaml(values[key])}"
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
        elif value is None:  # an empty value has the place of the token behind it
            row, column = content.lc.key(key)
            yield _Place(f"{prefix}{key}", value, row, column + len(str(key)) + 1)
        else:
            yield _Place(f"{prefix}{key}", value, *content.lc.value(key))


def _is_whole(value: object, text: str) -> bool:
    """Whether a text is the whole of a value."""
    try:
        return bool(YAML(typ="safe", pure=True).load(text) == value)
    except YAMLError:
        return False


def in_yaml(value: object) -> str:
    """A value on one line."""
    match value:
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[value]
        case float():
            return format(Decimal(repr(value)), "f")
        case list():
            return f"[{', '.join(in_yaml(item) for item in value)}]"
        case dict():
            return f"{{{', '.join(f'{key}: {in_yaml(item)}' for key, item in value.items())}}}"
        case str() if not re.fullmatch(r"[A-Za-z][\w./-]*", value) or value in AMBIGUOUS:
            return json.dumps(value)
        case _:
            return str(value)


def _yaml_fault(error: Exception) -> str:
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        what = ", ".join(part for part in (error.context, error.problem) if part)
        return f"line {error.problem_mark.line + 1}: {what}"
    return one_line(error, 300)


@dataclass(frozen=True)
class Params:
    """A params file and the changes to it for one run; the file itself stays as it is."""

    path: Path
    """The file; it has every section."""
    overlays: tuple[str, ...] = ()
    """Mappings that change its sections, one after the other: ``FILE``, or ``FILE:KEY`` for the
    mapping at a dotted key of a file."""
    values: tuple[str, ...] = ()
    """Single values, ``KEY=VALUE`` with a dotted key and a YAML value; they are set after the
    overlays."""
    sections: tuple[str, ...] = ()
    """Sections that ``values`` may change: those that the command reads."""

    def __str__(self) -> str:
        changes = [*self.overlays, *(f"--set {value}" for value in self.values)]
        return f"{self.path} with {', '.join(changes)}" if changes else str(self.path)

    @cached_property
    def content(self) -> dict[str, object]:
        """The content of the file after all changes.

        Raises:
            UserError: A file cannot be read, a change is malformed, or the section that it changes
                does not exist.

        """
        content = load_yaml(self.path)
        for overlay in self.overlays:
            changes = _overlay(overlay)
            for section in changes:
                if section not in content:
                    raise UserError(f"{overlay}: {self.path} has no section '{section}'")
            content = _merged(content, changes)
        for value in self.values:
            self._put(content, value)
        architectures = content.get("architectures")
        for name in architectures if isinstance(architectures, dict) else ():
            require_name(f"{self}: architectures", str(name))
        return content

    def _put(self, content: dict[str, object], change: str) -> None:
        """Change one value."""
        key, equals, text = change.partition("=")
        name, (*outer, last) = f"--set {change}", key.split(".")
        if not equals or not outer or not all((*outer, last)):
            raise UserError(f"{name}: must be SECTION.KEY=VALUE")
        if outer[0] not in self.sections:
            known = ", ".join(self.sections)
            raise UserError(f"{name}: the sections that this command reads are: {known}")
        inside: object = content
        for part in outer:
            inside = inside.get(part) if isinstance(inside, dict) else None
        if not isinstance(inside, dict):
            raise UserError(f"{name}: {self.path} has no settings under '{'.'.join(outer)}'")
        inside[last] = _value(text, name)


def require_name(where: str, name: str) -> None:
    """Check a name that becomes part of paths and of commands.

    Args:
        where: What is named, for the message.
        name: The name.

    Raises:
        UserError: It has other characters than letters from A to Z, digits, - and _.

    """
    if not NAME.fullmatch(name):
        raise UserError(
            f"{where}: the name {name!r} is not possible; names are letters from A to Z, digits, "
            "- and _"
        )


def _overlay(name: str) -> dict[str, object]:
    """The mapping ``FILE`` or ``FILE:KEY``."""
    path, _, key = (name, "", "") if Path(name).is_file() else name.rpartition(":")
    content: object = load_yaml(Path(path or name))
    for part in key.split(".") if key and path else ():
        content = content.get(part) if isinstance(content, dict) else None
    if not isinstance(content, dict):
        raise UserError(f"{path}: {key} is missing, or is not a mapping of sections")
    return content


def _merged(base: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """A mapping with some values changed, also inside of nested mappings."""
    made = dict(base)
    for key, value in changes.items():
        old = made.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        made[key] = _merged(old, value) if both else value  # type: ignore[arg-type]
    return made


def weights_files(params: Params, *sections: str) -> dict[str, Path]:
    """Files of weights that a params file names, by dotted key.

    Args:
        params: The params file.
        sections: Dotted keys of the sections to look at; without any, the whole file.

    Raises:
        UserError: See ``Params.content``.

    """
    return {
        key: Path(str(value))
        for key, value in flat(params.content)
        if key.rpartition(".")[2] in WEIGHTS
        and value not in NO_FILE
        and (not sections or any(key.startswith(f"{section}.") for section in sections))
    }


def flat(content: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted keys, such as ``a.b``, and values of a nested mapping, without empty mappings."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
