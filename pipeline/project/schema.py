"""JSON schemas of ``params.yaml`` and ``cameras.yaml``, for editors."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel

from pipeline.project.sections import CamerasFile, ParamsFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILES: Mapping[str, type[BaseModel]] = {"params.json": ParamsFile, "cameras.json": CamerasFile}
"""Names of the schema files, and what they describe."""

Schema = dict[str, Any]


@cache
def schema_of(kind: type[BaseModel]) -> Schema:
    """The JSON schema of a file.

    A setting has its range or its names, its default, and the docstring of its field.  The same
    mapping is returned every time; nobody may change it.
    """
    made: Schema = _plain(kind.model_json_schema())
    return {"$schema": DIALECT, "title": kind.__name__, **made}


def schema_text(kind: type[BaseModel]) -> str:
    """The same as the text of a file."""
    return json.dumps(schema_of(kind), indent=1, ensure_ascii=False) + "\n"


def _plain(content: Any) -> Any:
    """A schema without made-up titles, with descriptions as plain text.

    A title of pydantic's is the name once more; a setting called ``title`` holds a mapping.
    """
    if isinstance(content, list):
        return [_plain(part) for part in content]
    if not isinstance(content, dict):
        return content
    made: Schema = {}
    for key, value in content.items():
        if key == "description" and isinstance(value, str):
            made[key] = re.sub(r"\s+", " ", value.replace("``", "`")).strip()
        elif key != "title" or not isinstance(value, str):
            made[key] = _plain(value)
    if "patternProperties" in made:  # other names are refused
        made["additionalProperties"] = False
    return made


def names_at(schema: Schema, keys: Sequence[str | int]) -> list[str]:
    """Names of the settings that a schema has in a mapping of the file.

    Args:
        schema: From ``schema_of``.
        keys: Where the mapping is.

    """
    nodes = [schema]
    for key in keys:
        nodes = [inner for node in nodes for inner in _inside(schema, node, str(key))]
    return sorted({name for node in nodes for name in _resolved(schema, node, "properties")})


def _inside(schema: Schema, node: Schema, key: str) -> Iterator[Schema]:
    found = _resolved(schema, node, "properties")
    if key in found:
        yield found[key]
    else:
        yield from _resolved(schema, node, "patternProperties").values()
        if others := _resolved(schema, node, "additionalProperties"):
            yield others


def _resolved(schema: Schema, node: Schema, part: str) -> Schema:
    """A part of a node of a schema, behind references and in alternatives."""
    if "$ref" in node:
        node = schema["$defs"][str(node["$ref"]).rpartition("/")[2]]
    found: Schema = {}
    for option in (node, *node.get("anyOf", ())):
        if option is not node:
            found |= _resolved(schema, option, part)
        elif isinstance(node.get(part), dict):
            found |= node[part]
    return found
