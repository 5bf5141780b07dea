"""Files and folders that appear only when they are whole; one process at a time writes a folder."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.base.errors import UserError

LOCK = "lock"
"""Name of the file in a folder that says that a process writes there."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give another name to write under; the file gets its own when the block ends well.

    If the block fails, what it wrote is removed and an older file of the name stays.

    Args:
        path: The file to be, in a folder that exists.

    Yields:
        A hidden name beside it.

    Raises:
        UserError: It cannot be written: the disk is full, or the folder is read-only.

    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:  # a write says no name, and what names another file is its fault
        if not error.strerror or Path(error.filename or partial).name != partial.name:
            raise
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def claim(folder: Path, result: Path) -> FileLock:
    """Make a folder this process's own, until it releases the lock or ends in whatever way.

    Args:
        folder: Where it will write; made if it is not there.
        result: What it makes, for the message.

    Raises:
        UserError: Another process has the folder, or it cannot be written.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, thread_local=False)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(
            f"{result}: another process is at work on it ({folder}); wait for it, or end it"
        ) from error
    except OSError as error:
        raise UserError(f"{result}: cannot be written: {error.strerror}") from error
    return lock


def replace_folder(new: Path, path: Path) -> None:
    """Give a finished folder its name; a folder that has the name goes only once that worked."""
    old = path.with_name(path.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    try:
        new.rename(path)
    except OSError:
        if old.exists():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def make_folder(path: Path) -> None:
    """Make a folder for results, before the work whose results go there begins.

    Raises:
        UserError: It cannot be made.

    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be made a folder: {error.strerror}") from error


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Write a file that appears only when it is whole; an old one stays if the writing fails.

    Raises:
        UserError: It cannot be written.

    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial:
            partial.write_bytes(data)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
