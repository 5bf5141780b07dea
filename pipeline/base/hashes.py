"""Hashes of settings, files and code, by which results are identified."""

import ast
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path


def fingerprint(*parts: object) -> str:
    """A hash of JSON values, such as settings and digests of inputs; 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_hash(module: str) -> str:
    """SHA-256 of a module's file and of those it imports from its package, in hexadecimal.

    Args:
        module: Dotted name, such as ``pipeline.export.export``.

    """
    root = Path(__file__).parents[__name__.count(".")]
    waiting, sources = [module], {}
    while waiting:
        name = waiting.pop()
        path = root / f"{name.replace('.', '/')}.py"
        if name not in sources and path.is_file():
            sources[name] = path.read_bytes()
            waiting += _imported(sources[name])
    total = hashlib.sha256()
    for name in sorted(sources):
        total.update(f"{name}\n".encode() + sources[name])
    return total.hexdigest()


def _imported(source: bytes) -> Iterator[str]:
    """Dotted names in the imports of a file, at its top and in functions; some are not modules."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
