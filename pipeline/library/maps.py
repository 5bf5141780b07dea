"""Maps as a tree of xarray over dask arrays, for whoever computes with all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.delayed import delayed
from numpy.typing import NDArray

from pipeline.base.boxes import Box
from pipeline.base.errors import UserError
from pipeline.library.store import open_store
from pipeline.stores.format import ARRAYS, CHANNELS, CHUNK, array_attributes
from pipeline.stores.reader import Store

if TYPE_CHECKING:
    import xarray as xr

SIDE = CHUNK["maps"]
"""Of a block in LR pixels, at most."""


def open_maps(path: Path | str) -> "xr.DataTree":
    """Open a store of maps as a tree of dask arrays; nothing is read before it is computed.

    Images of one size are one data set, so that a store of ten thousand images opens at once and a
    formula is written once for all of them.  Every chunk is checked against its checksum when it is
    read, on whatever worker.

    Args:
        path: Folder of a store of kind maps, or a URL that fsspec reads; workers of a cluster must
            see it under the same path.

    Returns:
        A node ``HEIGHTxWIDTH`` for every size in LR pixels, in the order of the store.  Each has
        ``mean`` and ``theta``, (image, channel, row, column), float32 in the unit of the image,
        [0, 1], in chunks of one image and at most 1024x1024 pixels; the coordinate ``image`` is the
        id.  ``mean`` and the like of the tree reduce every node.

    Raises:
        UserError: The store is missing, damaged or of another kind, or xarray is not installed.

    """
    try:
        import xarray as xr
    except ImportError as error:
        raise UserError(
            "pipeline.open_maps needs xarray; install usrdu with its extra: usrdu[xarray]"
        ) from error
    store = open_store(path, "maps")
    by_size: dict[tuple[int, int], list[str]] = {}
    for image_id in store.ids:
        by_size.setdefault(store.size(image_id), []).append(image_id)
    nodes = {f"{h}x{w}": _data_set(store, ids, (h, w)) for (h, w), ids in by_size.items()}
    described = {"path": str(store.path), "digest": store.digest, "scale": store.scale}
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=described), **nodes}, name="maps")


def _data_set(store: Store, ids: Sequence[str], size: tuple[int, int]) -> "xr.Dataset":
    """The images of one size."""
    import xarray as xr

    axes = ("image", "channel", "row", "column")
    arrays = {}
    for name in ARRAYS["maps"]:
        about = array_attributes("maps", name)
        words = {key: about[key] for key in ("long_name", "units")}
        arrays[name] = (axes, _Stack(store, tuple(ids), name, size).lazy(), words)
    return xr.Dataset(arrays, {"image": list(ids), "channel": list(CHANNELS)})


@dataclass(frozen=True, eq=False)
class _Stack:
    """An array of images of one size; all tasks share one."""

    store: Store
    ids: tuple[str, ...]
    array: str
    size: tuple[int, int]

    def lazy(self) -> Any:
        """The dask array (image, channel, row, column); a block is a chunk of the store."""
        rows, columns = (
            tuple(min(SIDE, length - start) for start in range(0, length, SIDE))
            for length in self.size
        )
        place = (str(self.store.path), self.store.digest, self.array, self.size)
        name = f"{self.array}-{tokenize(*place)}"
        return da.map_blocks(  # type: ignore[no-untyped-call]
            _read_block,
            stack=delayed(self, name=f"stack-{name}", traverse=False),
            chunks=((1,) * len(self.ids), (3,), rows, columns),
            dtype=np.float32,
            meta=np.empty((0, 0, 0, 0), np.float32),
            name=name,
        )


def _read_block(stack: _Stack, block_id: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Read a block (1, 3, H, W); it is checked against its checksum."""
    image, _, row, column = block_id
    box = Box(
        row * SIDE,
        min((row + 1) * SIDE, stack.size[0]),
        column * SIDE,
        min((column + 1) * SIDE, stack.size[1]),
    )
    return np.asarray(stack.store.read(stack.ids[image], stack.array, box)[None], np.float32)
