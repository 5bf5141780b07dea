"""Profiles: sections of the params file that belong together, such as the paper's settings.

A profile is a file of whole sections.  Taking one replaces these sections in the params file, with
their comments, and leaves the others, such as ``folders``, as they are; the line ``profile:`` of
the params file says which one was taken last.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.base.errors import UserError
from pipeline.base.files import whole
from pipeline.base.settings import load_lines, load_yaml

NAME = "profile"
"""The key of the params file that names the profile."""


class Value(NamedTuple):
    """A setting that is in force."""

    key: str
    """Dotted, such as ``train_srn.epochs``."""
    value: object
    source: str
    """Where the value is from: the params file, or a profile, or a change of what it says."""
    comment: str
    """Unit and literature, from the comment on its line."""


def find_profile(folder: Path, name: str) -> Path:
    """The file of a profile.

    Raises:
        UserError: There is none of that name; names those there are.

    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in folder.glob("*.yaml"))) or "none"
        raise UserError(f"{folder}: has no profile '{name}'; there are: {there}")
    return path


def in_force(params: Path, folder: Path) -> list[Value]:
    """Every setting of a params file, with its source.

    Args:
        params: The params file.
        folder: Where the profiles are.

    Raises:
        UserError: A file cannot be read, or the profile that the params file names is not there.

    """
    name = _current(params)
    path = find_profile(folder, name)
    pinned, sections = {line.key: line.value for line in load_lines(path)}, load_yaml(path)
    values = []
    for key, value, comment in load_lines(params):
        if key.split(".")[0] not in sections:
            source = params.name
        elif key not in pinned:
            source = f"{params.name}, not in profile {name}"
        elif pinned[key] == value:
            source = f"profile {name}"
        else:
            source = f"{params.name}, profile {name} has {pinned[key]}"
        values.append(Value(key, value, source, comment))
    return values


def changes(params: Path, folder: Path) -> list[str]:
    """Keys at which a params file and the sections of its profile differ, sorted.

    Raises:
        UserError: See ``in_force``.

    """
    path = find_profile(folder, _current(params))
    sections = load_yaml(path)
    pinned = {line.key: line.value for line in load_lines(path)}
    own = {line.key: line.value for line in load_lines(params)}
    own = {key: value for key, value in own.items() if key.split(".")[0] in sections}
    both = pinned.keys() & own.keys()
    return sorted((pinned.keys() ^ own.keys()) | {k for k in both if pinned[k] != own[k]})


def take(params: Path, profile: Path) -> None:
    """Put the sections of a profile into a params file; the rest of it stays as it is.

    Args:
        params: The params file; it is replaced in one step.
        profile: The profile.

    Raises:
        UserError: A file cannot be read, or the params file lacks a section.
        OSError: It cannot be written.

    """
    _current(params)
    taken = dict(_sections(profile.read_text(encoding="utf-8")))
    parts = []
    missing = load_yaml(profile).keys() - load_yaml(params).keys()
    if missing:
        raise UserError(f"{params}: has no section '{sorted(missing)[0]}' for {profile} to replace")
    for name, text in _sections(params.read_text(encoding="utf-8")):
        if name == NAME:
            text = re.sub(rf"(?m)^{NAME}: *[^\s#]+", f"{NAME}: {profile.stem}", text)
        parts.append(taken.get(name, text) if name else text)
    with whole(params) as partial:
        partial.write_text("".join(parts).rstrip() + "\n", encoding="utf-8")


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """Names and texts of the top-level sections, one after the other; the head has no name."""
    starts = [match.start() for match in re.finditer(r"(?m)^\w", text)]
    yield "", text[: starts[0] if starts else len(text)]
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        yield text[start:].split(":")[0], text[start:end].rstrip() + "\n" * 2


def _current(params: Path) -> str:
    name = load_yaml(params).get(NAME)
    if not isinstance(name, str):
        raise UserError(f"{params}: the line '{NAME}: NAME' is missing")
    return name
