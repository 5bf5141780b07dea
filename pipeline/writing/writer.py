"""Writing of image stores, in one process or many; ``stores.format`` says what is written.

A store has its name only when it is complete; until then it is ``PATH.partial``.  Stores are
written to local folders only; they can be read from more places.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec

from pipeline.base.errors import UserError
from pipeline.base.files import LOCK, claim, replace_folder
from pipeline.stores.format import (
    ARRAYS,
    AXES,
    CHANNELS,
    COORDINATE,
    SCHEMA,
    Kind,
    content_digest,
    goes_on,
    seal,
)
from pipeline.writing.partial import PartialStore, partial_path

SOURCES = "sources"
"""Name of the file in a partial store with the hashes of the files that images were made of."""


class StoreWriter(PartialStore):
    """Writes a store under ``PATH.partial`` and renames it when it is complete.

    Use it as a context manager.  If the block fails, a resumable partial store is kept, and the
    next writer with the same attributes continues it; any other partial store is removed.

    Args:
        path: The store.
        kind: Its kind.
        scale: HR pixels per LR pixel.
        ids: Ids of all images that will be written, in order.
        attributes: Further root attributes, JSON values.
        resumable: Whether a partial store is kept after a failure.

    Raises:
        UserError: It cannot be written, or another process is writing it.

    """

    def __init__(
        self,
        path: Path,
        kind: Kind,
        scale: int,
        ids: Sequence[str],
        attributes: Mapping[str, Any] | None = None,
        resumable: bool = False,
    ) -> None:
        self.path = path
        self.partial = partial_path(path)
        self.resumable = resumable
        self.kind: Kind = kind
        self.ids = list(ids)
        self.described = {
            "schema": SCHEMA[kind],
            "kind": kind,
            "scale": scale,
            "axes": AXES,
            "channels": CHANNELS,
            "units": dict(ARRAYS[kind]),
            **(attributes or {}),
            "ids": self.ids,
        }
        self.sources: dict[str, str] = {}
        try:
            self._open()
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from error

    def _open(self) -> None:
        self.lock = claim(self.partial, self.path)
        if (self.partial / "zarr.json").exists():
            try:
                self.root = zarr.open_group(self.partial, mode="r+", zarr_format=3)
                found: Any = self.root.attrs.get("usrdu", {})
                if self.resumable and goes_on(found, self.described):
                    self.root.attrs["usrdu"] = self.described
                    self._name_channels()
                    self._read_sources()
                    return
            except (OSError, ValueError, KeyError, AttributeError):
                pass
        for left in self.partial.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
            elif left.name != LOCK:
                left.unlink()
        self.root = zarr.create_group(
            self.partial, zarr_format=3, attributes={"usrdu": self.described}
        )
        self.root.create_group("images")
        self._name_channels()

    def _name_channels(self) -> None:
        array = self.root.create_array(
            COORDINATE,
            shape=(len(CHANNELS),),
            dtype=str,
            compressors=[Crc32cCodec()],
            dimension_names=[COORDINATE],
            attributes={"long_name": "channel of sRGB"},
            overwrite=True,
        )
        array[...] = np.array(CHANNELS, dtype=object)

    def _read_sources(self) -> None:
        journal = self.partial / SOURCES
        if journal.exists():
            for line in journal.read_text().splitlines():
                image_id, _, source = line.partition(" ")
                self.sources[image_id] = source  # a last line that was cut matches no hash

    def has(self, image_id: str, source: str) -> bool:
        """Whether an image was written completely from this source, perhaps by an earlier run."""
        return self.sources.get(image_id) == source and self.done(image_id)

    def add_from(self, image_id: str, source: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write a whole image, and record the hash of the files that it was made of.

        Args:
            image_id: Id of the image.
            source: Hash of the files that it was made of.
            arrays: (3, H, W) by name.

        """
        if self.done(image_id):  # of another source, so it is not done
            shutil.rmtree(self.partial / "images" / image_id)
        self.add(image_id, arrays)
        with (self.partial / SOURCES).open("a") as journal:
            journal.write(f"{image_id} {source}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            try:
                self._publish()
            except BaseException as fault:
                self._abandon(fault)
                raise
        else:
            self._abandon(error)

    def _abandon(self, error: BaseException) -> None:
        begun = any(path.is_dir() for path in (self.partial / "images").glob("*"))
        if not (self.resumable and begun):
            shutil.rmtree(self.partial, ignore_errors=True)
        self.lock.release()
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"{self.path}: cannot be written: {error.strerror}") from error

    def _publish(self) -> None:
        shapes: dict[str, list[int]] = {}
        digests: dict[str, str] = {}
        checksums: dict[str, str] = {}
        for image_id in self.ids:
            if not self.done(image_id):
                raise ValueError(f"{self.path}: image '{image_id}' was not written to its end")
            group = self._group(image_id)
            first = next(iter(ARRAYS[self.kind]))
            shapes[image_id] = list(group[first].shape)  # type: ignore[union-attr]
            digests[image_id] = str(group.attrs["digest"])
            for place, checksum in dict(group.attrs["checksums"]).items():  # type: ignore[arg-type]
                checksums[f"{image_id}/{place}"] = str(checksum)
        complete = {**self.described, "shapes": shapes}
        complete["digest"] = content_digest(complete, digests)
        complete["checksums"] = checksums
        self.root.attrs["usrdu"] = {**complete, "seal": seal(complete)}
        for own in (LOCK, SOURCES):
            (self.partial / own).unlink(missing_ok=True)
        replace_folder(self.partial, self.path)
        self.lock.release()
