"""Every fault of a params or a cameras file at once, with its place."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from pipeline.base.settings import predicate
from pipeline.project.document import Document, Fault, Keys
from pipeline.project.relations import remarks_on
from pipeline.project.schema import Schema, names_at, schema_of
from pipeline.project.sections import CamerasFile, ParamsFile

WORDS = {"yes", "no", "on", "off", "true", "false"}
"""Texts that stand where a truth value was meant, in some case of their letters."""


def faults_of_params(path: Path) -> list[Fault]:
    """Everything that is wrong with a params file.

    That is its YAML, unknown and missing settings, wrong values, settings that contradict each
    other, and files and folders that neither exist nor are made by a stage of the ``dvc.yaml``
    beside the file.

    Args:
        path: The file.

    Returns:
        The faults in the order of the file.

    Raises:
        UserError: It cannot be read.

    """
    document = Document(path)
    valid: dict[str, Any] = {}
    found = [*document.faults, *_of_sections(document, valid)]
    found += [document.fault(*remark) for remark in remarks_on(valid, path.absolute().parent)]
    return sorted(set(found))


def faults_of_cameras(path: Path) -> list[Fault]:
    """Everything that is wrong with a cameras file; see ``faults_of_params``."""
    document = Document(path)
    found = [*document.faults]
    if document.content is not None:
        try:
            CamerasFile.model_validate(document.content)
        except ValidationError as error:
            found += _in_words(document, (), error, schema_of(CamerasFile))
    return sorted(set(found))


def _of_sections(document: Document, valid: dict[str, Any]) -> Iterator[Fault]:
    """Faults of the sections one by one.

    ``valid`` takes the sections, with the defaults of settings that have a fault.
    """
    content, schema = document.content, schema_of(ParamsFile)
    if document.faults and content is None:
        return
    if not isinstance(content, dict):
        yield Fault(1, 1, f"must be a mapping of sections, found {type(content).__name__}")
        return
    known = ParamsFile.model_fields
    for name in map(str, content):
        if name not in known:
            sentence = f"the section {name} is not known{_nearest(name, list(known))}"
            yield document.fault((name,), sentence, of_key=True)
    for name, field in known.items():
        if name not in content:
            yield Fault(1, 1, f"the section {name} is missing")
            continue
        adapter = TypeAdapter(_kind(field.annotation, field.metadata))
        try:
            valid[name] = adapter.validate_python(content[name], strict=True)
        except ValidationError as error:
            yield from _in_words(document, (name,), error, schema)
            with suppress(ValidationError):
                valid[name] = adapter.validate_python(_without(content[name], error), strict=True)


def _without(section: Any, error: ValidationError) -> Any:
    """A section without the settings that have a fault."""
    wrong = {one["loc"][0] for one in error.errors() if one["loc"]}
    if not isinstance(section, dict):
        return section
    return {key: value for key, value in section.items() if key not in wrong}


def _kind(annotation: Any, metadata: Sequence[Any]) -> Any:
    return Annotated[annotation, *metadata] if metadata else annotation


def _in_words(
    document: Document, above: Keys, error: ValidationError, schema: Schema
) -> Iterator[Fault]:
    """The faults that pydantic found, one for every place."""
    said: dict[tuple[Keys, bool], list[str]] = {}
    for one in error.errors():
        keys = (*above, *(part for part in one["loc"]))
        there = document.inside(keys)
        unknown = one["type"] == "extra_forbidden"
        if one["type"] == "missing":
            there = keys
        name = ".".join(map(str, there))
        words = f"{name}{predicate(one)}"
        if unknown:
            words += _nearest(str(there[-1]), names_at(schema, there[:-1]))
        elif isinstance(one["input"], str) and one["input"].lower() in WORDS:
            words += "; YAML has the truth values true and false" if "bool" in one["type"] else ""
        elif isinstance(one["input"], bool) and "bool" not in one["type"]:
            words += '; a text such as "no" needs its quotes'
        said.setdefault((there, unknown), []).append(words)
    for (there, unknown), sentences in said.items():
        yield document.fault(there, _joined(sentences), unknown)


def _joined(sentences: list[str]) -> str:
    """What several alternatives of a setting say of one value, as one sentence."""
    first, *others = sentences
    head, _, found = first.rpartition(", found ")
    if not others or not head:
        return "; ".join(dict.fromkeys(sentences))
    parts = [head, *(each.partition(": ")[2].rpartition(", found ")[0] for each in others)]
    return f"{', or '.join(dict.fromkeys(parts))}, found {found}"


def _nearest(name: str, known: list[str]) -> str:
    if near := get_close_matches(name, known, 1):
        return f"; the nearest is {near[0]}"
    return f"; known are {', '.join(known)}" if 0 < len(known) <= 12 else ""
