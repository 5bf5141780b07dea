"""Strict reading of image stores: any change since a store was written is an error.

``stores.format`` defines the format, ``writing.writer`` writes it.  A store may be read from any
place that fsspec supports, such as ``s3://bucket/maps.zarr``.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import FsspecStore, LocalStore, WrapperStore

from pipeline.base.boxes import Box
from pipeline.base.errors import UserError, one_line, printable
from pipeline.stores.format import (
    ARRAYS,
    AXES,
    CHUNK,
    CODECS,
    DTYPE,
    LARGEST_CHUNK,
    SCHEMA,
    Kind,
    array_attributes,
    array_axes,
    description_fault,
)


class _Strict(WrapperStore[Any]):
    """A Zarr store that raises an error for a missing or exchanged chunk.

    Plain Zarr would return zeros, or the content of the other chunk.
    """

    def __init__(self, store: FsspecStore | LocalStore, checksums: Mapping[str, str]) -> None:
        super().__init__(store)
        self.checksums = checksums

    def _with_store(self, store: FsspecStore | LocalStore) -> Self:
        return type(self)(store, self.checksums)

    async def get(self, key: str, *arguments: Any, **named: Any) -> Any:
        found = await super().get(key, *arguments, **named)
        if key.split("/")[3:4] == ["c"]:  # images/ID/ARRAY/c/0/0/0
            if found is None:
                raise FileNotFoundError("it is missing")
            self._check(key, found.as_numpy_array())
        return found

    def _check(self, key: str, data: NDArray[np.uint8]) -> None:
        if data[-4:].tobytes().hex() != self.checksums.get(key.removeprefix("images/")):
            raise ValueError("its checksum differs from the one it was written with")
        size = int.from_bytes(data[4:8].tobytes(), "little")  # of blosc's header
        if size > LARGEST_CHUNK:
            raise ValueError(f"it would decode to {size} bytes")


class Store:
    """A complete store, open for reading.

    Args:
        path: The folder, or a URL that fsspec reads (``s3://...``, ``https://...``,
            ``memory://...``, ``file://...``).
        kinds: Kinds of store that are accepted.

    Raises:
        UserError: It is missing, incomplete, damaged, of another kind or of another schema version.

    """

    def __init__(self, path: Path | str, *kinds: Kind) -> None:
        self.path = path
        opened = _open(path)
        checksums: dict[str, str] = {}
        try:
            self.root = zarr.open_group(
                _Strict(opened, checksums), mode="r", zarr_format=3, use_consolidated=False
            )
            attributes = self.root.attrs.get("usrdu")
        except FileNotFoundError as error:
            bucket = ", or there is no such bucket" if str(path).startswith("s3:") else ""
            raise UserError(f"{path}: is not a Zarr store: it has no zarr.json{bucket}") from error
        except Exception as error:  # a damaged file, or whatever a remote filesystem raises
            raise UserError(f"{path}: cannot be read as a Zarr store: {one_line(error)}") from error
        if not isinstance(attributes, dict) or "digest" not in attributes:
            raise UserError(f"{path}: was not written by usrdu, or is not complete")
        if (found := attributes.get("kind")) not in kinds:
            raise UserError(f"{path}: has the kind {found}, expected {' or '.join(kinds)}")
        if (schema := attributes.get("schema")) != SCHEMA[found]:
            stage = "export" if found == "maps" else "prepare"
            raise UserError(
                f"{path}: has the schema {schema}, expected {SCHEMA[found]}; run the {stage} stage "
                "again"
            )
        if harm := description_fault(attributes):
            raise UserError(f"{path}: its description, in zarr.json, is damaged: {harm}")
        checksums.update(attributes["checksums"])
        self.kind: Kind = attributes["kind"]
        self.attributes: dict[str, Any] = attributes
        self.scale = int(attributes["scale"])
        self.ids: list[str] = list(attributes["ids"])
        self.digest = str(attributes["digest"])

    def file_name(self, image_id: str) -> str:
        """The name of the file of an image, where the id cannot hold its letters; else the id."""
        names = self.attributes.get("file_names")
        name = names.get(image_id) if isinstance(names, dict) else None
        return printable(name) if isinstance(name, str) else image_id

    def size(self, image_id: str) -> tuple[int, int]:
        """(H, W) of the first array of an image, without reading data."""
        _, height, width = self.attributes["shapes"][image_id]
        return int(height), int(width)

    def array(self, image_id: str, name: str) -> zarr.Array[Any]:
        """An array (3, H, W) of an image, not yet read.

        Raises:
            UserError: The image or the array is not in the store, or differs from its description.

        """
        missing = f"{self.path}: has no array '{name}' of image '{image_id}'"
        if image_id not in self.attributes["shapes"] or name not in ARRAYS[self.kind]:
            raise UserError(missing)
        place = f"{self.path}: image '{image_id}', array '{name}'"
        try:
            array = self.root[f"images/{image_id}/{name}"]
        except (KeyError, FileNotFoundError) as error:
            gone = isinstance(self.path, Path) and not self.path.exists()
            raise UserError(f"{self.path}: is no longer there" if gone else missing) from error
        except Exception as error:  # errors of JSON and of Zarr
            raise UserError(f"{place}: its zarr.json cannot be read: {one_line(error)}") from error
        found = _found_form(array)
        expected = self._form(image_id, name, named=found.get("attributes") != {})
        for key, value in expected.items():
            if found.get(key) != value:
                other = str(found.get(key))[:100]
                raise UserError(f"{place}: has the {key} {other}, expected {value}")
        assert isinstance(array, zarr.Array)
        return array

    def _form(self, image_id: str, name: str, named: bool) -> dict[str, object]:
        """The metadata that an array must have to be read as it was written.

        Args:
            image_id: Id of the image.
            name: Name of the array.
            named: Whether it was written with attributes; older versions wrote none.

        """
        height, width = self.size(image_id)
        if (self.kind, name) == ("val", "lr"):
            height, width = height // self.scale, width // self.scale
        side = CHUNK[self.kind]
        return {
            "shape": [3, height, width],
            "dtype": DTYPE[self.kind],
            "chunks": [3, min(side, height), min(side, width)],
            "codecs": list(CODECS),
            "order of bytes": "little" if self.kind == "maps" else None,
            "axes": array_axes(self.kind, name) if named else AXES,
            "chunk keys": {"name": "default", "configuration": {"separator": "/"}},
            "storage transformers": [],
            "attributes": array_attributes(self.kind, name) if named else {},
        }

    def image_attributes(self, image_id: str) -> dict[str, Any]:
        """Attributes of the group of an image: digest, and checksums by ``ARRAY/c/0/ROW/COLUMN``.

        Raises:
            UserError: It cannot be read.

        """
        try:
            group = self.root[f"images/{image_id}"]
            return {} if isinstance(group, zarr.Array) else dict(group.attrs)
        except Exception as error:  # errors of JSON and of Zarr
            raise UserError(
                f"{self.path}: image '{image_id}': its zarr.json cannot be read: {one_line(error)}"
            ) from error

    def read(self, image_id: str, name: str, box: Box | None = None) -> NDArray[Any]:
        """Read an array (3, H, W), or the part of it in ``box``.

        Raises:
            UserError: A chunk is missing or damaged; the message names image, array and chunk.

        """
        array = self.array(image_id, name)
        box = box or Box(0, array.shape[1], 0, array.shape[2])
        try:
            return np.asarray(array[box.slices])
        except Exception as error:  # codecs raise their own types on damaged bytes
            for chunk in _chunks(array, box):
                try:
                    array.get_block_selection(chunk)
                except Exception as fault:
                    raise self._damaged(image_id, name, chunk, str(fault)) from fault
            raise UserError(f"{self.path}: image '{image_id}' cannot be read: {error}") from error

    def _damaged(self, image_id: str, name: str, chunk: tuple[int, ...], reason: str) -> UserError:
        place = "/".join(str(index) for index in chunk)
        return UserError(
            f"{self.path}: image '{image_id}', array '{name}', chunk {place} is damaged: {reason}"
        )


def _found_form(array: object) -> dict[str, object]:
    """The same metadata of an array that was opened; see ``Store._form``."""
    if not isinstance(array, zarr.Array):
        return {"shape": None}
    found: Mapping[str, Any] = array.metadata.to_dict()
    codecs = found.get("codecs", ())
    first = codecs[0].get("configuration", {}) if codecs else {}
    return {
        "shape": list(array.shape),
        "dtype": str(found["data_type"]),
        "chunks": list(array.chunks),
        "codecs": [codec["name"] for codec in codecs],
        "order of bytes": first.get("endian"),
        "axes": list(found.get("dimension_names") or ()),
        "chunk keys": found.get("chunk_key_encoding"),
        "storage transformers": list(found.get("storage_transformers", ())),
        "attributes": found.get("attributes"),
    }


def _open(path: Path | str) -> FsspecStore | LocalStore:
    """The storage behind a path or URL."""
    if isinstance(path, str) and "://" in path:
        try:
            return FsspecStore.from_url(path, read_only=True)
        except ImportError as error:
            raise not_installed(path, error) from error
        except ValueError as error:  # a protocol that fsspec does not know
            raise UserError(f"{path}: is not a URL of a store: {error}") from error
    if not Path(path).is_dir():
        raise UserError(f"{path}: there is no such store; run the stage that writes it first")
    return LocalStore(path, read_only=True)


def not_installed(path: Path | str, error: ImportError) -> UserError:
    """The message on a URL whose package is missing."""
    extra = "; install usrdu with its extra: pip install 'usrdu[s3]'"
    hint = extra if str(path).startswith(("s3:", "s3a:")) else ""
    return UserError(f"{path}: cannot be opened: {one_line(error)}{hint}")


def _chunks(array: zarr.Array[Any], box: Box) -> list[tuple[int, ...]]:
    """Indices of the chunks (channel, row, column) that a box touches."""
    rows, columns = array.chunks[1:]
    return [
        (0, row, column)
        for row in range(box.top // rows, math.ceil(box.bottom / rows))
        for column in range(box.left // columns, math.ceil(box.right / columns))
    ]


def require_same_scale(*stores: Store) -> int:
    """The scale of stores that are used together.

    Raises:
        UserError: They differ; the message has both values.

    """
    first = stores[0]
    for store in stores[1:]:
        if store.scale != first.scale:
            raise UserError(
                f"{first.path} has the scale {first.scale}, but {store.path} has {store.scale}"
            )
    return first.scale


def require_exported_from(maps: Store, hr: Store) -> None:
    """Check that maps were exported from HR images in their present state.

    Raises:
        UserError: They were not; the message has both digests.

    """
    found = str(maps.attributes.get("hr_digest", "unknown"))
    if found != hr.digest:
        raise UserError(
            f"{maps.path} was exported from HR images with the digest {found[:12]}, but {hr.path} "
            f"has {hr.digest[:12]}; run the export stage again"
        )
