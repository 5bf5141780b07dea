"""Typed, frozen settings and the ``params.yaml`` sections they are read from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pipeline.base.errors import UserError
from pipeline.base.params import Params, load_yaml

Count = Annotated[int, Field(gt=0)]
"""A number of things, at least one."""
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
"""A factor of a term; zero leaves the term out."""


class Settings(BaseModel):
    """Base of every settings class: frozen, strictly typed, unknown keys refused.

    The defaults of a section are the values that ``params.yaml`` comes with.  A key without a
    default must be given.  The docstring under a field is its description in the JSON schema.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


S = TypeVar("S", bound=Settings)

SHOWN = 60
"""Largest number of characters of a bad value in a message."""


def load_section(params: Path | Params, section: str, kind: type[S]) -> S:
    """Read one section of a params file, ``"a"`` or nested ``"a.b"``, into its settings class.

    Raises:
        UserError: The section is missing, or a key in it is unknown, missing or has a bad value.

    """
    content = _at(params, section, f"the section '{section}' is missing")
    return _validated(content, kind, params, section)


def load_value(params: Path | Params, key: str, kind: Any) -> Any:
    """Read one value of a params file by its dotted key, such as ``"prepare.scale"``.

    Raises:
        UserError: The key is missing, or its value is not of this kind.

    """
    content = _at(params, key, f"{key} is missing")
    try:
        return TypeAdapter(kind).validate_python(content, strict=True)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        found = f"{message[0].lower()}{message[1:]}, found {_short(content)}"
        raise UserError(f"{params}: {key}: {found}") from error


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


def _at(params: Path | Params, key: str, fault: str) -> object:
    """What a params file holds at a dotted key; ``fault`` says in words that it is not there."""
    content: object = params.content if isinstance(params, Params) else load_yaml(params)
    for name in key.split("."):
        if not isinstance(content, dict) or name not in content:
            raise UserError(f"{params}: {fault}")
        content = content[name]
    return content


def _validated(content: object, kind: type[S], params: Path | Params, section: str) -> S:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(_sentence(section, fault) for fault in error.errors())
        raise UserError(f"{params}: {faults}") from error


def _sentence(section: str, fault: object) -> str:
    assert isinstance(fault, dict)
    key = ".".join([section, *(str(part) for part in fault["loc"])])
    return f"{section if fault['type'] == 'value_error' else key}{predicate(fault)}"


def predicate(fault: Mapping[str, Any]) -> str:
    """What a fault that pydantic found says of a setting, to stand behind its name."""
    match fault["type"]:
        case "extra_forbidden":
            return " is not a known setting"
        case "missing":
            return " is missing"
        case "model_type":
            return f" must be a mapping of settings, found {_short(fault['input'])}"
        case "value_error":
            return f": {str(fault['msg']).removeprefix('Value error, ')}"
        case _:
            message = str(fault["msg"])
            return f": {message[0].lower()}{message[1:]}, found {_short(fault['input'])}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
