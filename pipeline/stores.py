"""Image stores: Zarr format 3 groups of whole images, strict in writing and in reading.

A store is a folder that holds ``images/ID/ARRAY``.  Its root attribute ``usrdu`` describes it:
schema version, kind, scale, axis order, the unit of every array, ids and shapes in order, a digest
of the content, the checksum of every chunk, and a seal over all of these.

Every chunk ends with its CRC-32C, so damage is an error that names image and chunk; and since the
root knows these checksums too, so is a good chunk in the wrong place.  What else a store could say
wrongly (shapes, types, codecs) is compared with the root, and the root with its seal.

Metadata are not consolidated: the root says all that a reader needs before it opens an image, and
with 100,000 images the consolidated copy took 70 s to open, the root alone 0.2 s.  A store that is
read may be anywhere fsspec reaches, such as ``s3://bucket/maps.zarr``; writing is for folders.

Only codecs of the Zarr core specification are used: blosc (zstd, bit shuffle), then crc32c.
"""

import hashlib
import math
import re
import shutil
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import zarr
from numcodecs import BitRound
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec
from zarr.storage import FsspecStore, LocalStore, WrapperStore

from pipeline.errors import UserError
from pipeline.files import LOCK, claim
from pipeline.store_format import (
    LARGEST,
    LARGEST_CHUNK,
    SCHEMA,
    content_digest,
    content_order,
    description_fault,
    seal,
)
from pipeline.tiling import Box

Kind = Literal["hr", "lr", "val", "maps"]

ARRAYS: Mapping[Kind, Mapping[str, str]] = {
    "hr": {"image": "8-bit intensity, 0..255"},
    "lr": {"image": "8-bit intensity, 0..255"},
    "val": {"hr": "8-bit intensity, 0..255", "lr": "8-bit intensity, 0..255"},
    "maps": {
        "mean": "intensity in [0, 1]",
        "theta": "Laplace scale in the unit of mean, intensity in [0, 1]; positive",
    },
}
"""Arrays of one image in each kind of store, with their units."""

CHUNK = {"hr": 4096, "lr": 4096, "val": 4096, "maps": 1024}
"""Longest side of a chunk: a photograph is one object, a huge scan a few."""
DTYPE = {"hr": "uint8", "lr": "uint8", "val": "uint8", "maps": "float16"}
"""Type of the arrays."""
AXES = ["channel", "row", "column"]
CODECS = ("bytes", "blosc", "crc32c")
LONGEST_ID = 200
"""Letters of an id; file systems take about 255, and some are added to it."""


def safe_id(name: str) -> str:
    """Make an image id from a file name: the stem, letters, digits, ``.``, ``-`` and ``_`` only."""
    stem = unicodedata.normalize("NFKC", Path(name).stem)
    made = re.sub(r"[^\w.-]|^\.+", "_", stem, flags=re.ASCII) or "_"
    made = made[:LONGEST_ID]
    return f"x{made}" if made.startswith("__") or made == "zarr.json" else made  # Zarr's own names


def unique_ids(names: Sequence[str]) -> list[str]:
    """Ids for file names, in order.

    Raises:
        UserError: Two names give the same id, also where they differ in case only.

    """
    taken: dict[str, str] = {}
    ids = []
    for name in names:
        image_id = safe_id(name)
        if other := taken.get(image_id.casefold()):
            raise UserError(f"{other} and {name} would both be called '{image_id}'; rename one")
        taken[image_id.casefold()] = name
        ids.append(image_id)
    return ids


def round_mantissa(array: NDArray[np.float32], keep_bits: int) -> NDArray[np.float16]:
    """Round to ``keep_bits`` mantissa bits (1 to 10) and store as float16.

    For magnitudes from 2^-14 (0.016 gray levels) to 2^15 the relative error is at most
    2^-(keep_bits + 1).
    """
    codec = BitRound(keepbits=keep_bits)
    rounded = codec.decode(codec.encode(np.ascontiguousarray(array, dtype=np.float32)))
    return np.asarray(rounded).view(np.float32).reshape(array.shape).astype(np.float16)


def partial_path(path: Path) -> Path:
    """Where a store is written before it is whole."""
    return path.with_name(path.name + ".partial")


class PartialStore:
    """A store that a ``StoreWriter`` has begun under ``PATH.partial``.

    Any process that sees the folder may write images into it, each image by one of them at a time.

    Args:
        path: The store to be.
        kind: What it holds.

    Raises:
        UserError: It has not been begun, or is not seen from here.

    """

    def __init__(self, path: Path, kind: Kind) -> None:
        self.path, self.kind = path, kind
        self.partial = partial_path(path)
        try:
            self.root = zarr.open_group(self.partial, mode="r+", zarr_format=3)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{self.partial}: there is no store that was begun") from error

    def done(self, image_id: str) -> bool:
        """Whether an image was written completely, perhaps by an earlier run."""
        return f"images/{image_id}" in self.root and "digest" in self._group(image_id).attrs

    def start(
        self, image_id: str, height: int, width: int, name: str, dtype: str
    ) -> zarr.Array[Any]:
        """Create one (3, height, width) array of an image, to be filled chunk by chunk."""
        if dtype != DTYPE[self.kind]:
            raise ValueError(f"{self.path}: '{name}' is {dtype}, expected {DTYPE[self.kind]}")
        if height * width > LARGEST:
            raise UserError(
                f"{self.path}: image '{image_id}' is {height}x{width}, more than {LARGEST} pixels"
            )
        side = CHUNK[self.kind]
        group = self.root.require_group(f"images/{image_id}")
        return group.create_array(
            name,
            shape=(3, height, width),
            chunks=(3, min(side, height), min(side, width)),
            dtype=dtype,
            compressors=[
                BloscCodec(cname="zstd", clevel=3, shuffle=BloscShuffle.bitshuffle),
                Crc32cCodec(),
            ],
            dimension_names=AXES,
            fill_value=0,
            overwrite=True,
            config={"write_empty_chunks": True},
        )

    def finish(self, image_id: str, digest: str) -> None:
        """Mark an image as complete.

        Args:
            image_id: The image.
            digest: SHA-256 of its content; see ``content_order``.

        """
        folder = self.partial / "images" / image_id
        checksums = {
            str(path.relative_to(folder)): _last_bytes(path)
            for name in ARRAYS[self.kind]
            for path in sorted((folder / name / "c").rglob("*"))
            if path.is_file()
        }
        self._group(image_id).attrs.update({"digest": digest, "checksums": checksums})

    def add(self, image_id: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write a whole image at once: arrays (3, H, W) by name."""
        for name, array in arrays.items():
            height, width = array.shape[1:]
            target = self.start(image_id, height, width, name, str(array.dtype))
            target[...] = array
        digest = hashlib.sha256()
        sizes = {name: arrays[name].shape[1:] for name in ARRAYS[self.kind]}
        for name, box in content_order(sizes, CHUNK[self.kind]):
            digest.update(np.ascontiguousarray(arrays[name][box.slices]).tobytes())
        self.finish(image_id, digest.hexdigest())

    def _group(self, image_id: str) -> zarr.Group:
        group = self.root[f"images/{image_id}"]
        assert isinstance(group, zarr.Group)
        return group


class StoreWriter(PartialStore):
    """Writes a store under ``PATH.partial`` and gives it its name when it is whole.

    Use it as a context manager.  If the block fails, a resumable partial store is kept and the next
    writer with the same attributes goes on with it; any other is removed.

    Args:
        path: The store to be.
        kind: What it holds.
        scale: HR pixels per LR pixel.
        ids: Every image that will be written, in order.
        attributes: Further root attributes, JSON values.
        resumable: Whether a partial store outlives a failure.

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
            "schema": SCHEMA,
            "kind": kind,
            "scale": scale,
            "axes": AXES,
            "channels": ["red", "green", "blue"],
            "units": dict(ARRAYS[kind]),
            **(attributes or {}),
            "ids": self.ids,
        }
        try:
            self._open()
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from error

    def _open(self) -> None:
        self.lock = claim(self.partial, self.path)
        if (self.partial / "zarr.json").exists():
            try:
                self.root = zarr.open_group(self.partial, mode="r+", zarr_format=3)
                if self.resumable and self.root.attrs.get("usrdu") == self.described:
                    return
            except (OSError, ValueError, KeyError):
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
        if not self.resumable:
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
        (self.partial / LOCK).unlink(missing_ok=True)
        replace_folder(self.partial, self.path)
        self.lock.release()


def _last_bytes(path: Path) -> str:
    """The checksum at the end of a chunk, in hexadecimal."""
    with path.open("rb") as file:
        file.seek(-4, 2)
        return file.read().hex()


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


class _Strict(WrapperStore[Any]):
    """A store in which a chunk that is missing, or another one, is an error.

    Zarr would read zeros, or the other chunk.
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
            raise ValueError("its checksum is not the one it was written with")
        size = int.from_bytes(data[4:8].tobytes(), "little")  # of blosc's header
        if size > LARGEST_CHUNK:
            raise ValueError(f"it would decode to {size} bytes")


class Store:
    """A finished store, open for reading.

    Args:
        path: The folder, or a URL that fsspec reads (``s3://...``, ``https://...``,
            ``memory://...``, ``file://...``).
        kinds: What it must hold, one of these.

    Raises:
        UserError: It is missing, unfinished, damaged, of another kind or of another schema version.

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
            raise UserError(f"{path}: is not a Zarr store: it has no zarr.json") from error
        except Exception as error:  # a damaged file, or whatever a remote filesystem raises
            reason = " ".join(str(error).split())[:160]
            raise UserError(f"{path}: cannot be read as a Zarr store: {reason}") from error
        if not isinstance(attributes, dict) or "digest" not in attributes:
            raise UserError(f"{path}: was not written by usrdu, or not to its end")
        for key, accepted in (("schema", (SCHEMA,)), ("kind", kinds)):
            if (found := attributes.get(key)) not in accepted:
                expected = " or ".join(str(value) for value in accepted)
                raise UserError(f"{path}: has the {key} {found}, expected {expected}")
        if harm := description_fault(attributes):
            raise UserError(f"{path}: its description, in zarr.json, is damaged: {harm}")
        checksums.update(attributes["checksums"])
        self.kind: Kind = attributes["kind"]
        self.attributes: dict[str, Any] = attributes
        self.scale = int(attributes["scale"])
        self.ids: list[str] = list(attributes["ids"])
        self.digest = str(attributes["digest"])

    def size(self, image_id: str) -> tuple[int, int]:
        """(H, W) of the first array of an image, without reading data."""
        _, height, width = self.attributes["shapes"][image_id]
        return int(height), int(width)

    def array(self, image_id: str, name: str) -> zarr.Array[Any]:
        """An array (3, H, W) of an image, not yet read.

        Raises:
            UserError: The image or the array is not in the store, or not what the root says it is.

        """
        missing = f"{self.path}: has no array '{name}' of image '{image_id}'"
        if image_id not in self.attributes["shapes"] or name not in ARRAYS[self.kind]:
            raise UserError(missing)
        place = f"{self.path}: image '{image_id}', array '{name}'"
        try:
            array = self.root[f"images/{image_id}/{name}"]
        except (KeyError, FileNotFoundError) as error:
            raise UserError(missing) from error
        except Exception as error:  # JSON, and what Zarr makes of it
            reason = " ".join(str(error).split())[:160]
            raise UserError(f"{place}: its zarr.json cannot be read: {reason}") from error
        expected, found = self._form(image_id, name), _found_form(array)
        for key, value in expected.items():
            if found.get(key) != value:
                other = str(found.get(key))[:100]
                raise UserError(f"{place}: has the {key} {other}, expected {value}")
        assert isinstance(array, zarr.Array)
        return array

    def _form(self, image_id: str, name: str) -> dict[str, object]:
        """What the metadata of an array must say so that it is read as it was written."""
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
            "axes": AXES,
            "chunk keys": {"name": "default", "configuration": {"separator": "/"}},
            "storage transformers": [],
            "attributes": {},
        }

    def image_attributes(self, image_id: str) -> dict[str, Any]:
        """What the group of an image says: its digest, and checksums by ``ARRAY/c/0/ROW/COLUMN``.

        Raises:
            UserError: It cannot be read.

        """
        try:
            group = self.root[f"images/{image_id}"]
            return {} if isinstance(group, zarr.Array) else dict(group.attrs)
        except Exception as error:  # JSON, and what Zarr makes of it
            reason = " ".join(str(error).split())[:160]
            raise UserError(
                f"{self.path}: image '{image_id}': its zarr.json cannot be read: {reason}"
            ) from error

    def read(self, image_id: str, name: str, box: Box | None = None) -> NDArray[Any]:
        """Read an array (3, H, W), or the part of it in ``box``.

        Raises:
            UserError: A chunk is missing or damaged; names the image, the array and the chunk.

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
    """The same of an array that was opened; see ``Store._form``."""
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
            raise UserError(f"{path}: cannot be opened: {error}") from error
        except ValueError as error:  # a protocol that fsspec does not know
            raise UserError(f"{path}: is no URL of a store: {error}") from error
    if not Path(path).is_dir():
        raise UserError(f"{path}: there is no such store; run the stage that writes it first")
    return LocalStore(path, read_only=True)


def _chunks(array: zarr.Array[Any], box: Box) -> list[tuple[int, int, int]]:
    rows, columns = array.chunks[1:]
    return [
        (0, row, column)
        for row in range(box.top // rows, math.ceil(box.bottom / rows))
        for column in range(box.left // columns, math.ceil(box.right / columns))
    ]


def require_same_scale(*stores: Store) -> int:
    """The scale of stores that are used together.

    Raises:
        UserError: They differ; both values are named.

    """
    first = stores[0]
    for store in stores[1:]:
        if store.scale != first.scale:
            raise UserError(
                f"{first.path} has the scale {first.scale}, but {store.path} has {store.scale}"
            )
    return first.scale
