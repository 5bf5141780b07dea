"""The settings of a run that are not the defaults, and the files of its models."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.base.hashes import file_hash
from pipeline.base.params import Params, flat
from pipeline.base.settings import Settings, load_section
from pipeline.project.sections import ParamsFile
from pipeline.run_page.files import without_folders
from pipeline.stores.weights import load_foreign
from pipeline.tools.profiles import in_force

NOT_OF_RESULTS = {"profile", "folders", "machine", "demo", "architectures"}
"""Sections that are shown elsewhere, or change no result of one's own images."""
SECTIONS: dict[str, type[Settings]] = {
    name: field.annotation
    for name, field in ParamsFile.model_fields.items()
    if isinstance(field.annotation, type)
    and issubclass(field.annotation, Settings)
    and name not in NOT_OF_RESULTS
}
"""The others, in the order of the params file, with their settings."""


class Changed(NamedTuple):
    """A setting that is not the default."""

    key: str
    value: str
    default: str
    reason: str
    """Why, if its profile says so."""


@dataclass(frozen=True)
class RunSettings:
    """What the params file says."""

    profile: str
    folders: dict[str, Any]
    networks: dict[str, Any]
    """Section ``architectures``."""
    changed: list[Changed]


def read_settings(params: Path, profiles: Path) -> RunSettings | None:
    """The settings in a params file; None if there is none.

    Raises:
        UserError: The file, or the profile that it names, is damaged.

    """
    if not params.is_file():
        return None
    source = Params(params)  # read once
    content = source.content
    sources = {value.key: value.source for value in in_force(params, profiles)}
    changed = []
    for section, kind in SECTIONS.items():
        own = _by_key(section, load_section(source, section, kind))
        default = _by_key(section, kind())
        for key, value in own.items():
            if value != default.get(key):
                _, colon, reason = sources.get(key, "").partition(": ")
                said = reason if colon and sources[key].startswith("profile ") else ""
                changed.append(Changed(key, _text(value), _text(default.get(key)), said))

    def part(name: str) -> dict[str, Any]:
        found = without_folders(content.get(name))
        return found if isinstance(found, dict) else {}

    return RunSettings(str(content.get("profile")), part("folders"), part("architectures"), changed)


def _by_key(section: str, settings: Settings) -> dict[str, object]:
    return {f"{section}.{key}": value for key, value in flat(settings.model_dump(mode="json"))}


def _text(value: object) -> str:
    cleaned = without_folders(value)
    return cleaned if isinstance(cleaned, str) else json.dumps(cleaned)


class Model(NamedTuple):
    """A file of weights that the run made."""

    name: str
    network: str
    """What it is, in words."""
    parameters: int
    file: str
    """Path in the folder of the project."""
    size: float
    """In millions of bytes."""
    sha256: str
    command: str
    """One that uses it."""


def read_models(data: Path, shown: str) -> list[Model]:
    """The DSN and the SR networks of a run.

    Args:
        data: The folder of what stages write.
        shown: How its name is written in the page.

    Raises:
        UserError: A file is damaged.

    """
    models = []
    for path in sorted(data.glob("train_srn/*/srn.safetensors")):
        file = f"{shown}/train_srn/{path.parent.name}/{path.name}"
        command = f"usrdu upscale IN OUT --model {file}"
        models.append(_model(path, path.parent.name, file, command))
    dsn = data / "train_dsn" / "dsn.safetensors"
    if dsn.is_file():
        file = f"{shown}/train_dsn/{dsn.name}"
        command = f"usrdu export --hr HR.zarr --dsn {file} --maps MAPS.zarr --metrics METRICS.json"
        models.append(_model(dsn, "DSN", file, command))
    return models


def _model(path: Path, name: str, file: str, command: str) -> Model:
    tensors, metadata = load_foreign(path)
    parameters = sum(t.numel() for t in tensors.values() if t.is_floating_point())
    size = path.stat().st_size / 1e6
    return Model(name, _network(metadata), parameters, file, size, file_hash(path), command)


def _network(metadata: dict[str, str]) -> str:
    """What the metadata of a file say of its network, in words."""
    network = _json(metadata.get("architecture", "null"))
    if isinstance(network, dict):
        options = ", ".join(f"{k} {v}" for k, v in dict(network.get("options") or {}).items())
        start = network.get("warm_start")
        begun = f"; training began with {without_folders(str(start))}" if start else ""
        return f"{network.get('network')}{f' ({options})' if options else ''}{begun}"
    if "features" in metadata:
        sizes = f"features {metadata['features']}, blocks {metadata.get('blocks')}"
        return f"degradation network ({sizes})"
    return "SR network"


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
