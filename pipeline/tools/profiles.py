"""Profiles: settings that belong together, such as the paper's.

A profile is a file that states what differs from the defaults of the sections in ``KINDS``, each
line with its source, and the ``architectures``.  A profile with the line ``from: NAME`` builds on
another one, and states what differs from that.  Taking a profile writes its values into the params
file, where every setting has a line with its unit; comments and other sections, such as
``folders``, stay as they are.  The line ``profile:`` of the params file names the one taken last.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pipeline.base.errors import UserError
from pipeline.base.files import whole
from pipeline.base.params import Line, Params, load_lines, load_yaml, parse_lines, with_values
from pipeline.base.settings import S, Settings, changed, load_section
from pipeline.camera.estimate import CameraSettings
from pipeline.evaluate.evaluate import EvaluateSettings
from pipeline.train_dsn.settings import TrainDsnSettings
from pipeline.train_srn.settings import Architecture, TrainSrnSettings

NAME, BASE, NETWORKS = "profile", "from", "architectures"
"""Keys: in the params file, the name of the profile; in a profile, the name of the one it builds
on; in both, the section of the networks, which a profile replaces as a whole."""
KINDS: Mapping[str, type[Settings]] = {
    "camera": CameraSettings,
    "train_dsn": TrainDsnSettings,
    "train_srn": TrainSrnSettings,
    "evaluate": EvaluateSettings,
}
"""Sections whose settings a profile may change."""


class Stated(NamedTuple):
    """A setting that a profile names."""

    value: object
    profile: str
    source: str
    """Where the value is from: the comment on its line."""


@dataclass(frozen=True)
class Profile:
    """A profile, merged with those it builds on."""

    path: Path
    stated: Mapping[str, Stated]
    """Settings by dotted key, such as ``train_dsn.epochs``, those of the networks included."""
    networks: str
    """The text of the section ``architectures``."""
    network_file: Path
    """File of that text."""

    def settings(self, section: str, kind: type[S]) -> S:
        """The settings of one of the sections in ``KINDS``.

        Raises:
            UserError: A key is unknown or has a bad value.

        """
        stated = {
            key.removeprefix(f"{section}."): found.value
            for key, found in self.stated.items()
            if _section(key) == section
        }
        return changed(kind(), stated, self.path, section)

    def values(self) -> dict[str, object]:
        """Every setting that a profile decides, by dotted key.

        Raises:
            UserError: A key is unknown or has a bad value.

        """
        values: dict[str, object] = {}
        for section, kind in KINDS.items():
            values |= _by_key(section, self.settings(section, kind))
        networks = {key for key in self.stated if _section(key) == NETWORKS}
        return values | {key: self.stated[key].value for key in networks}


class Value(NamedTuple):
    """A setting that is in force."""

    key: str
    """Dotted, such as ``train_srn.epochs``."""
    value: object
    source: str
    """Where the value is from: the defaults, a profile and its source, or the params file."""
    comment: str
    """Unit and literature, from the comment on its line."""


def find_profile(folder: Path, name: str) -> Path:
    """The file of a profile.

    Raises:
        UserError: There is no profile of that name; the message names those that exist.

    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in folder.glob("*.yaml"))) or "none"
        raise UserError(f"{folder}: has no profile '{name}'; there are: {there}")
    return path


def load_profile(path: Path, above: tuple[Path, ...] = ()) -> Profile:
    """Read a profile and those it builds on.

    Args:
        path: Its file.
        above: Files of the profiles that build on it.

    Raises:
        UserError: A file cannot be read or has an unknown section, there are no networks, or a
            profile builds on itself.

    """
    if path in above:
        raise UserError(f"{path}: builds on itself")
    content = load_yaml(path)
    for section in content.keys() - {BASE, NETWORKS, *KINDS}:
        raise UserError(f"{path}: a profile has no section '{section}'")
    own = {
        line.key: Stated(line.value, path.stem, line.comment)
        for line in load_lines(path)
        if line.key != BASE
    }
    if BASE not in content:
        if NETWORKS not in content:
            raise UserError(f"{path}: the section '{NETWORKS}' is missing")
        return Profile(path, own, _networks(path), path)
    base = load_profile(find_profile(path.parent, str(content[BASE])), (*above, path))
    if NETWORKS not in content:
        return Profile(path, {**base.stated, **own}, base.networks, base.network_file)
    kept = {key: found for key, found in base.stated.items() if _section(key) != NETWORKS}
    return Profile(path, {**kept, **own}, _networks(path), path)


def in_force(params: Path, folder: Path) -> list[Value]:
    """Every setting of a params file, with its source.

    Args:
        params: The params file.
        folder: Folder of the profiles.

    Raises:
        UserError: A file cannot be read, or the profile that the params file names is not there.

    """
    profile = load_profile(find_profile(folder, _current(params)))
    wanted = profile.values()
    return [
        Value(line.key, line.value, _source(line, params.name, profile, wanted), line.comment)
        for line in load_lines(params)
    ]


def _source(line: Line, params: str, profile: Profile, wanted: Mapping[str, object]) -> str:
    if line.key not in wanted:
        ours = _section(line.key) in {NETWORKS, *KINDS}
        return f"{params}, not in profile {profile.path.stem}" if ours else params
    stated = profile.stated.get(line.key)
    origin = f"profile {stated.profile}" if stated else "default"
    if line.value != wanted[line.key]:
        return f"{params}, {origin} has {wanted[line.key]}"
    return f"{origin}: {stated.source}" if stated and stated.source else origin


def changes(params: Path, folder: Path) -> list[str]:
    """Keys at which a params file differs from its profile, sorted.

    Raises:
        UserError: See ``in_force``.

    """
    profile = load_profile(find_profile(folder, _current(params)))
    return _differing(load_lines(params), profile.values())


def _differing(lines: list[Line], wanted: Mapping[str, object]) -> list[str]:
    """Keys of the lines of a params file that have other values than wanted, or are missing."""
    own: dict[str, object] = {}
    for section, kind in KINDS.items():
        own |= _by_key(section, kind())
    own |= {line.key: line.value for line in lines if _section(line.key) in {NETWORKS, *KINDS}}
    both = own.keys() & wanted.keys()
    return sorted((own.keys() ^ wanted.keys()) | {key for key in both if own[key] != wanted[key]})


def take(params: Path, profile: Profile) -> None:
    """Put the values of a profile into a params file; the rest of it stays as it is.

    Args:
        params: The params file; it is replaced in one step.
        profile: The profile.

    Raises:
        UserError: See ``taken``.
        OSError: The file cannot be written.

    """
    text = taken(params, profile)
    with whole(params) as partial:
        partial.write_text(text, encoding="utf-8")


def taken(params: Path, profile: Profile) -> str:
    """The text of a params file with the values of a profile in it; see ``take``.

    Raises:
        UserError: A file cannot be read, or the params file lacks a section or a line, or has a
            line that is no setting.

    """
    _current(params)
    wanted = profile.values()
    there = load_yaml(params)
    for section in (*KINDS, NETWORKS):
        if section not in there:
            raise UserError(f"{params}: has no section '{section}' for {profile.path} to change")
    parts = [
        part.comments + (profile.networks if part.name == NETWORKS else part.text)
        for part in _parts(params.read_text(encoding="utf-8"))
    ]
    written = {**wanted, NAME: profile.path.stem}
    text = with_values("".join(parts).rstrip() + "\n", written)
    if left := _differing(parse_lines(text, params), wanted):
        raise UserError(
            f"{params}: {', '.join(left)}: {profile.path} cannot change them; every setting "
            "must have a line of its own, and every line must be a setting"
        )
    return text


def load_network(profile: Profile, name: str) -> Architecture:
    """One of the networks of a profile.

    Raises:
        UserError: See ``load_section``.

    """
    return load_section(profile.network_file, f"{NETWORKS}.{name}", Architecture)


def _by_key(section: str, settings: Settings) -> dict[str, object]:
    """Settings as a params file has them, by dotted key."""
    return {f"{section}.{key}": value for key, value in settings.model_dump(mode="json").items()}


def _section(key: str) -> str:
    """The section of a dotted key."""
    return key.split(".", 1)[0]


def _networks(path: Path) -> str:
    """The text of the section of the networks, checked.

    Raises:
        UserError: The section is empty, holds what is no network, or does not begin with its plain
            name.

    """
    params = Params(path)  # it parses the file once
    content = params.content[NETWORKS]
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: the section '{NETWORKS}' names no network")
    for name in content:
        load_section(params, f"{NETWORKS}.{name}", Architecture)
    for part in _parts(path.read_text(encoding="utf-8")):
        if part.name == NETWORKS:
            return part.text
    raise UserError(f"{path}: the section '{NETWORKS}' must begin with a line '{NETWORKS}:'")


class _Part(NamedTuple):
    """A part of a params file."""

    name: str
    """Of the section; empty for the head of the file."""
    comments: str
    """The lines of comments directly above it."""
    text: str


def _parts(text: str) -> Iterator[_Part]:
    """The head and the sections of a params file, one after the other."""
    found = list(re.finditer(r"(?m)^((?:#[^\n]*\n)*)(\w[^:\n]*)", text))
    ends = [match.start() for match in found] + [len(text)]
    yield _Part("", "", text[: ends[0]])
    for match, end in zip(found, ends[1:], strict=True):
        yield _Part(match[2], match[1], text[match.start(2) : end].rstrip() + "\n" * 2)


def _current(params: Path) -> str:
    name = load_yaml(params).get(NAME)
    if not isinstance(name, str):
        raise UserError(f"{params}: the line '{NAME}: NAME' is missing")
    return name
