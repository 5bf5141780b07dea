"""Stores that are being written: images are added to them, by one process or many.

A store has its name only when it is complete; until then it is ``PATH.partial``.  Stores are
written to local folders only; they can be read from more places.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import BitRound
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

from pipeline.base.errors import UserError
from pipeline.stores.format import (
    ARRAYS,
    CHUNK,
    DTYPE,
    LARGEST,
    Kind,
    array_attributes,
    array_axes,
    content_order,
)

ERROR_FLOOR = 3 * 2.0**-26
"""Largest error below 2^-14, where values of float16 are 2^-24 apart, for any mantissa bits.

A value is rounded twice.  Between mantissas that are 2^-25 apart the first rounding moves it by up
to 2^-26, perhaps to the middle between two values of float16; the second moves it by up to 2^-25,
perhaps the same way.  Closer mantissas move it less; those 2^-24 apart or more are values of
float16, so the error is that of the mantissa alone.
"""


def round_mantissa(array: NDArray[np.float32], keep_bits: int) -> NDArray[np.float16]:
    """Round to ``keep_bits`` mantissa bits (1 to 10) and store as float16.

    For magnitudes up to 2^15 the error is at most 2^-(keep_bits + 1) of the value, or
    ``ERROR_FLOOR`` where that is more, which it is below 2^-14 (0.016 gray levels) only.
    """
    codec = BitRound(keepbits=keep_bits)
    rounded = codec.decode(codec.encode(np.ascontiguousarray(array, dtype=np.float32)))
    return np.asarray(rounded).view(np.float32).reshape(array.shape).astype(np.float16)


def partial_path(path: Path) -> Path:
    """The path of a store that is not complete."""
    return path.with_name(path.name + ".partial")


class PartialStore:
    """A store that a ``StoreWriter`` has begun under ``PATH.partial``.

    Any process that sees the folder may write images into it, each image by one of them at a time.

    Args:
        path: The store.
        kind: Its kind.

    Raises:
        UserError: There is no partial store, or it is not visible from this machine.

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
            dimension_names=array_axes(self.kind, name),
            attributes=array_attributes(self.kind, name),
            fill_value=0,
            overwrite=True,
            config={"write_empty_chunks": True},
        )

    def finish(self, image_id: str, digest: str) -> None:
        """Mark an image as complete.

        Args:
            image_id: Id of the image.
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


def _last_bytes(path: Path) -> str:
    """The last four bytes of a chunk, its CRC-32C, in hexadecimal."""
    with path.open("rb") as file:
        file.seek(-4, 2)
        return file.read().hex()
