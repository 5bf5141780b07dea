"""Stages that are out of date, as far as ``dvc.lock`` tells without a look at images or stores."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from pipeline.base.errors import UserError, listed
from pipeline.base.params import flat, load_yaml
from pipeline.run_page.files import Part

NAMED = 4
"""Most settings that are named of a stage."""
LARGEST = 2**28
"""Bytes of a file that is compared, at most."""


class Stale(NamedTuple):
    """A stage that ``dvc repro`` would run again."""

    stage: str
    reasons: list[str]


class _Path(Part):
    """A dependency or an output, as DVC records it."""

    path: str
    md5: str = ""


class _Stage(Part):
    """What DVC recorded of the last run of a stage."""

    deps: list[_Path] = Field(default_factory=list)
    outs: list[_Path] = Field(default_factory=list)
    params: dict[str, dict[str, object]] = Field(default_factory=dict)


class _Lock(Part):
    stages: dict[str, _Stage]


def out_of_date(root: Path) -> list[Stale] | None:
    """Compare ``dvc.lock`` with the settings, the files of results, and itself.

    Code, and the images that the user gives, are not looked at; ``dvc status`` does that, and
    takes longer.

    Args:
        root: The folder of the project.

    Returns:
        The stages that differ; None where there is no ``dvc.lock``.

    Raises:
        UserError: A file is no YAML, or not as DVC writes it.

    """
    path = root / "dvc.lock"
    if not path.is_file():
        return None
    try:
        lock = _Lock.model_validate(load_yaml(path))
    except ValueError as error:
        raise UserError(f"{path}: is not as DVC writes it") from error
    made = {out.path: out.md5 for stage in lock.stages.values() for out in stage.outs}
    settings: dict[str, Mapping[str, object]] = {}
    found: list[Stale] = []
    for name, stage in lock.stages.items():
        reasons = [
            *_changed_settings(root, stage, settings),
            *(f"{d.path} is newer" for d in stage.deps if made.get(d.path, d.md5) != d.md5),
            *_changed_files(root, stage),
        ]
        if reasons:
            found.append(Stale(name, reasons))
    return found


def _changed_settings(
    root: Path, stage: _Stage, read: dict[str, Mapping[str, object]]
) -> Iterator[str]:
    """Settings that a stage ran with and that now have another value."""
    for file, values in stage.params.items():
        if file not in read:
            read[file] = load_yaml(root / file) if (root / file).is_file() else {}
        then = dict(flat(values))
        now = dict(flat({key: _at(read[file], key) for key in values}))
        changed = sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))
        if changed:
            yield f"{listed(changed, NAMED)} in {file} changed"


def _at(content: object, key: str) -> object:
    for name in key.split("."):
        content = content.get(name) if isinstance(content, Mapping) else None
    return content


def _changed_files(root: Path, stage: _Stage) -> Iterator[str]:
    """Files, not folders, that are not as the stage wrote them."""
    for out in stage.outs:
        path = root / out.path
        if path.is_file() and path.stat().st_size <= LARGEST and not out.md5.endswith(".dir"):
            with path.open("rb") as file:
                if hashlib.file_digest(file, "md5").hexdigest() != out.md5:
                    yield f"{out.path} is not as it was written"
