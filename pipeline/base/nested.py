"""Nested mappings, such as metrics and params files."""

from collections.abc import Iterator, Mapping


def flat(content: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """The values of a nested mapping with their dotted keys, such as ``a.b``; no empty mappings."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
