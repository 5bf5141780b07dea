"""Copies of finished stores, to and from any place that fsspec writes, such as a bucket.

Stages write stores to local folders only.  There a store is locked while it is written, goes on
where it stopped, and gets its name by a rename.  A bucket has neither locks nor renames.  So a
finished store is copied: its root ``zarr.json``, without which nothing opens, comes last.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import fsspec
from tqdm import tqdm

from pipeline.base.errors import UserError, one_line
from pipeline.base.files import LOCK, claim, replace_folder, write_whole
from pipeline.stores.format import ARRAYS
from pipeline.stores.reader import Store, not_installed
from pipeline.stores.verify import LISTED, Verified, store_files, verify
from pipeline.writing.partial import partial_path

ROOT = "zarr.json"
"""The file that makes a store of a place."""
THREADS = 8
"""Files under way at a time: most are small, and a bucket answers late."""


class Copied(NamedTuple):
    """The outcome of a copy."""

    files: int
    """Files that were written."""
    there: int
    """Files that an earlier copy had written."""
    checked: str
    """What the copy holds, every chunk of it read back."""


class _Place:
    """The files of a store at a path or URL."""

    def __init__(self, place: Path | str) -> None:
        self.place = place
        try:
            self.system, self.root = fsspec.core.url_to_fs(str(place))
        except ImportError as error:
            raise not_installed(place, error) from error
        except ValueError as error:
            raise UserError(f"{place}: is not a URL of a store: {one_line(error)}") from error
        self.system.invalidate_cache()

    def files(self) -> set[str]:
        """Names of all files, relative to the store."""
        prefix = f"{self.root.rstrip('/')}/"
        return {str(path).removeprefix(prefix) for path in self.system.find(self.root)}

    def read(self, name: str, start: int | None = None) -> bytes:
        """A file, or its end from ``start`` on."""
        content: bytes = self.system.cat_file(f"{self.root}/{name}", start=start)
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write a file, which appears only when it is complete."""
        if isinstance(self.place, Path):
            (self.place / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.place / name, content)
        else:
            self.system.pipe_file(f"{self.root}/{name}", content)

    def remove(self, name: str) -> None:
        """Delete a file."""
        self.system.rm_file(f"{self.root}/{name}")


def copy_store(source: Path | str, target: Path | str) -> Copied:
    """Copy a finished store, and read the copy back.

    A copy that was interrupted goes on: files that are there are not written again.  Until it is
    complete, nothing opens at the target.

    Args:
        source: A folder or a URL.
        target: A folder or a URL that fsspec writes, such as ``s3://bucket/hr.zarr``.

    Raises:
        UserError: There is no whole store at the source; the target holds another one, or cannot be
            written; or what was read back is not what was written.

    """
    store = Store(source, *ARRAYS)
    if isinstance(target, str) or target.exists():
        return _copied(store, _Place(target), lambda: verify(target))
    partial = partial_path(target)
    lock = claim(partial, target)

    def published() -> Verified:
        lock.release()
        (partial / LOCK).unlink(missing_ok=True)
        found = verify(partial)
        if not found.faults:
            replace_folder(partial, target)
        return found

    try:
        return _copied(store, _Place(partial), published)
    finally:
        lock.release()


def _copied(store: Store, target: _Place, check: Callable[[], Verified]) -> Copied:
    """Write what is missing of a store, its root last, and check it."""
    source, names = _Place(store.path), store_files(store)
    checksums: Mapping[str, str] = store.attributes["checksums"]
    try:
        found = target.files() - {LOCK}
        root = source.read(ROOT)
        _require_own(target, found, names, root)

        def copy(name: str) -> bool:
            if name in found and _same(source, target, name, checksums):
                return False
            target.write(name, source.read(name))
            return True

        parts = sorted(names - {ROOT})
        written = _in_threads(copy, parts, f"copy {Path(str(store.path)).name}")
        if ROOT not in found:
            target.write(ROOT, root)
            written += 1
        verified = check()
    except UserError:
        raise
    except Exception as error:  # whatever a remote filesystem raises
        fault = f"cannot be copied to {target.place}: {one_line(error)}"
        raise UserError(f"{store.path}: {fault}") from error
    if verified.faults:
        target.remove(ROOT)
        raise UserError(f"the copy of {store.path} is damaged: {verified.faults[0]}")
    return Copied(written, len(names) - written, verified.checked)


def _require_own(target: _Place, found: set[str], names: set[str], root: bytes) -> None:
    """Check that what is at the target is a part of this store."""
    if ROOT in found and target.read(ROOT) != root:
        raise UserError(f"{target.place}: holds another store; delete it first")
    if strange := sorted(found - names):
        raise UserError(
            f"{target.place}: holds files of something else, such as {strange[:LISTED]}; delete "
            "them first"
        )


def _same(source: _Place, target: _Place, name: str, checksums: Mapping[str, str]) -> bool:
    """Whether a file at the target is that of the source, by the checksum at a chunk's end."""
    checksum = checksums.get(name.removeprefix("images/"))
    if checksum is None:
        return target.read(name) == source.read(name)
    return target.read(name, start=-4).hex() == checksum


def _in_threads(copy: Callable[[str], bool], names: list[str], shown: str) -> int:
    """Copy files, some at a time; returns how many were written."""
    with (
        ThreadPoolExecutor(THREADS) as pool,
        tqdm([pool.submit(copy, name) for name in names], shown, unit="file") as futures,
    ):
        try:
            return sum(one.result() for one in futures)
        finally:
            pool.shutdown(cancel_futures=True)
