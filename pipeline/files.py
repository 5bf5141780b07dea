"""Files that appear only when they are whole."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give another name to write under; the file gets its own when the block ends well.

    If the block fails, what it wrote is removed and an older file of the name stays.

    Args:
        path: The file to be, in a folder that exists.

    Yields:
        A hidden name beside it.

    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
