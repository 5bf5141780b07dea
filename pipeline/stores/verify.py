"""Verification of stores, weights and checkpoints against the checksums they carry."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from tqdm import tqdm

from pipeline.base.errors import UserError, one_line
from pipeline.stores.format import ARRAYS, CHANNELS, COORDINATE, content_digest, content_order
from pipeline.stores.reader import Store
from pipeline.stores.weights import all_finite, load_foreign, named_tensors, require_whole

COORDINATE_FILES = (f"{COORDINATE}/zarr.json", f"{COORDINATE}/c/0")
"""Files of the array that names the channels."""
LISTED = 5
"""Number of file names that a message lists."""


@dataclass(frozen=True)
class Verified:
    """The outcome of a verification."""

    checked: str
    """The contents of a store, or which checksum of a file was compared; empty if the place could
    not be opened."""
    faults: list[str]
    """A sentence for each fault."""


def verify(place: Path | str) -> Verified:
    """Check a store, a file of weights or a checkpoint; every chunk of a store is read.

    Args:
        place: A folder or a URL is a store, anything else a file.

    """
    try:
        if isinstance(place, Path) and not place.is_dir():
            checked = require_whole(place)
            _require_finite_file(place)
            return Verified(checked, [])
        store = Store(place, *ARRAYS)
    except UserError as error:
        return Verified("", [str(error)])
    chunks = len(store.attributes["checksums"])
    checked = f"{store.kind}, {len(store.ids)} images, {chunks} chunks, digest {store.digest[:12]}"
    return Verified(checked, list(_store_faults(store)))


def _require_finite_file(path: Path) -> None:
    """Check the numbers in a file of tensors; a file that holds other things is not opened."""
    try:
        content, _ = load_foreign(path)
    except UserError:
        return
    for name, tensor in named_tensors(content):
        if not all_finite(tensor):
            raise UserError(f"{path}: its tensor '{name}' holds values that are not finite")


def _store_faults(store: Store) -> Iterator[str]:
    digests: dict[str, str] = {}
    checksums: dict[str, dict[str, str]] = {image_id: {} for image_id in store.ids}
    for place, checksum in store.attributes["checksums"].items():
        image_id, _, chunk = place.partition("/")
        checksums.setdefault(image_id, {})[chunk] = checksum
    for image_id in tqdm(store.ids, f"verify {Path(str(store.path)).name}", unit="image"):
        yield from _image_faults(store, image_id, checksums[image_id], digests)
    known = len(digests) == len(store.ids)
    if known and content_digest(store.attributes, digests) != store.digest:
        yield f"{store.path}: the content of its images does not have the digest of the store"
    if fault := _coordinate_fault(store):
        yield f"{store.path}: the names of the channels, in {COORDINATE}, {fault}"
    if isinstance(store.path, Path):
        yield from _strays(store, store.path)


def _coordinate_fault(store: Store) -> str | None:
    """The fault of the array that names the channels; stores of older versions have none."""
    try:
        array = store.root.get(COORDINATE)
        if array is None:
            return None
        if not isinstance(array, zarr.Array):
            return "are a group, expected an array"
        axes: object = array.metadata.to_dict().get("dimension_names")
        found = np.asarray(array[...]).tolist()
    except Exception as error:  # of JSON, of Zarr, of codecs
        return f"cannot be read: {one_line(error)}"
    if axes != (COORDINATE,):
        return f"have the axes {axes}, expected {(COORDINATE,)}"
    return None if found == CHANNELS else f"are {found}, expected {CHANNELS}"


def _image_faults(
    store: Store, image_id: str, checksums: dict[str, str], digests: dict[str, str]
) -> Iterator[str]:
    """Faults of one image; if it can be read, its digest is added to ``digests``."""
    try:
        said = store.image_attributes(image_id)
    except UserError as error:
        yield str(error)
        said = None
    digest, faults = _content(store, image_id)
    yield from faults
    if digest is not None:
        digests[image_id] = digest
    if said is None:
        return
    if digest is not None and said.get("digest") != digest:
        yield f"{store.path}: image '{image_id}' does not have the digest that its zarr.json names"
    if said.get("checksums") != checksums:
        yield f"{store.path}: image '{image_id}': its zarr.json names other checksums than the root"


def _content(store: Store, image_id: str) -> tuple[str | None, list[str]]:
    """The digest of the present content of an image, or the faults of its arrays and chunks."""
    sizes, sides, faults = {}, [1], []
    for name in ARRAYS[store.kind]:
        try:
            array = store.array(image_id, name)
            sizes[name] = array.shape[1:]
            sides += array.chunks[1:]
        except UserError as error:
            faults.append(str(error))
    digest = hashlib.sha256()
    for name, box in content_order(sizes, max(sides)):
        try:
            values = np.ascontiguousarray(store.read(image_id, name, box))
        except UserError as error:
            faults.append(str(error))
            continue
        digest.update(values.tobytes())
        if not np.isfinite(values).all():
            place = f"the box at row {box.top}, column {box.left}"
            faults.append(
                f"{store.path}: image '{image_id}': its '{name}' is not finite in {place}"
            )
    return None if faults else digest.hexdigest(), faults


def store_files(store: Store) -> set[str]:
    """Names of all files of a store, relative to it; stores of older versions name no channels."""
    named = COORDINATE in store.root
    return _files(store) | set(COORDINATE_FILES if named else ())


def _files(store: Store) -> set[str]:
    """The same without the array that names the channels."""
    arrays = [f"images/{i}/{name}" for i in store.ids for name in ARRAYS[store.kind]]
    groups = ["", "images/", *(f"images/{image_id}/" for image_id in store.ids)]
    files = {f"{place}zarr.json" for place in groups} | {f"{a}/zarr.json" for a in arrays}
    return files | {f"images/{place}" for place in store.attributes["checksums"]}


def _strays(store: Store, folder: Path) -> Iterator[str]:
    """Files that do not belong to a store, and metadata that only other programs read."""
    expected = _files(store) | set(COORDINATE_FILES)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    if strange := sorted(found - expected):
        names = ", ".join(repr(name) for name in strange[:LISTED])
        yield f"{folder}: holds {len(strange)} files that are not its own: {names}"
    if "images/zarr.json" not in found:
        yield f"{folder}: its images/zarr.json is missing; other programs need it"
