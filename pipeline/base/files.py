"""Files and folders that appear only when they are complete; locks of folders; strict JSON."""

import json
import math
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.base.errors import UserError

LOCK = "lock"
"""Name of the lock file in a folder that a process writes to."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to; the file gets its own name when the block ends well.

    If the block fails, the temporary file is removed, and an older file of the name stays.

    Args:
        path: The file to write, in a folder that exists.

    Yields:
        A hidden name in the same folder.

    Raises:
        UserError: The file cannot be written: the disk is full, or the folder is read-only.

    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:  # the error of a write has no name; one of another name is not ours
        if not error.strerror or Path(error.filename or partial).name != partial.name:
            raise
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def claim(folder: Path, result: Path) -> FileLock:
    """Lock a folder for this process, until it releases the lock or ends for any reason.

    Args:
        folder: The folder; created if it does not exist.
        result: The result that is written there, for the message.

    Raises:
        UserError: Another process holds the lock, or the folder cannot be written.

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
    """Rename a folder to ``path``; an older folder of the name is deleted after that succeeded."""
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


def require_own_folder(folder: Path, names: Collection[str]) -> None:
    """Check that a folder, which will be replaced, holds nothing but an earlier result.

    Args:
        folder: It need not exist.
        names: Of the files of a result.

    Raises:
        UserError: It holds other files, or is a file.

    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file, expected a folder")
    foreign = sorted({path.name for path in folder.glob("*")} - {*names})
    if foreign:
        raise UserError(f"{folder}: holds other files ({foreign[0]}); name a new or empty folder")


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to write to; it gets the name ``path`` when the block ends well.

    If the block fails, the new folder is removed, and an older folder of the name stays.

    Args:
        path: The folder to write.

    Yields:
        A folder with a hidden name beside it.

    Raises:
        UserError: The folder cannot be written.

    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        replace_folder(partial, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def make_folder(path: Path) -> None:
    """Create a folder for results, before the work begins.

    Raises:
        UserError: It cannot be created.

    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: the folder cannot be created: {error.strerror}") from error


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Write a file that appears only when it is complete; if that fails, an older file stays.

    Raises:
        UserError: It cannot be written.

    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial:
            partial.write_bytes(data)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def strict_json(content: Mapping[str, object]) -> str:
    """The text of a strict JSON file.

    JSON has no infinity and no NaN: numbers that are not finite become null.
    """
    return json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"


def _finite(content: object) -> object:
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
