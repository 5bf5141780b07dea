"""Stores of any kind, opened by their paths; to read them needs no torch."""

from pathlib import Path

from pipeline.stores.format import ARRAYS, Kind
from pipeline.stores.reader import Store


def open_store(path: Path | str, kind: Kind | None = None) -> Store:
    """Open a store for reading.

    Args:
        path: Its folder, or a URL that fsspec reads, such as ``s3://bucket/maps.zarr``.
        kind: What it must hold: ``hr``, ``lr``, ``val`` or ``maps``; None: any of them.

    Returns:
        The store.  ``store.ids`` names its images in order; ``store.read(image_id, name)`` gives an
        array (3, H, W): ``image`` of hr and lr and both sides of val as uint8, 0..255; ``mean`` and
        ``theta`` of maps as float16 in the unit of the image, [0, 1].

    Raises:
        UserError: It is missing, damaged or of another kind.

    """
    where = path if "://" in str(path) else Path(path)
    return Store(where, *(ARRAYS if kind is None else (kind,)))
