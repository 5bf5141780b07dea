"""Small stores with known content, for the tests of reading and of writing."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.base.errors import UserError
from pipeline.stores.format import ARRAYS, Kind, seal
from pipeline.stores.reader import Store
from pipeline.writing.writer import StoreWriter

Array = NDArray[Any]
Contents = Mapping[str, Mapping[str, Array]]
KINDS: list[Kind] = ["hr", "lr", "val", "maps"]
PARTS = ("zarr.json", "c/0/0/0")
"""Files of an array of one chunk."""


def picture(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8)


def maps(seed: int, height: int, width: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    mean = rng.random((3, height, width)).astype(np.float16)
    return {"mean": mean, "theta": (mean / 50 + np.float16(0.01)).astype(np.float16)}


def contents(kind: Kind) -> dict[str, dict[str, Array]]:
    """Two images of different size for a store of every kind."""
    sizes = {"one": (8, 12), "two.b": (5, 7)}
    made: dict[str, dict[str, Array]] = {}
    for number, (image_id, (height, width)) in enumerate(sizes.items()):
        if kind == "maps":
            made[image_id] = maps(number, height, width)
        elif kind == "val":
            hr, lr = picture(number, height * 4, width * 4), picture(number + 9, height, width)
            made[image_id] = {"hr": hr, "lr": lr}
        else:
            made[image_id] = {"image": picture(number, height, width)}
    return made


def write(
    path: Path,
    kind: Kind,
    images: Contents,
    scale: int = 4,
    attributes: Mapping[str, object] | None = None,
) -> Store:
    with StoreWriter(path, kind, scale, list(images), attributes) as writer:
        for image_id, arrays in images.items():
            writer.add(image_id, arrays)
    return Store(path, kind)


def one(array: Array) -> dict[str, dict[str, Array]]:
    return {"a": {"image": array}}


def files(folder: Path) -> set[str]:
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return found - {"lock"}


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}


def require_whole_stores(folder: Path) -> None:
    """Every store in a folder that has its name can be read; one in a partial folder has not."""
    for path in folder.rglob("*.zarr"):
        if any(part.endswith(".partial") for part in path.parts):
            continue
        store = Store(path, *ARRAYS)
        for image_id in store.ids:
            for name in ARRAYS[store.kind]:
                store.read(image_id, name)


def make_older(path: Path) -> None:
    """Make a store, whole or begun, what versions before the attributes of arrays wrote."""
    shutil.rmtree(path / "channel")
    for file in path.glob("images/*/*/zarr.json"):
        content = json.loads(file.read_text())
        content |= {"attributes": {}, "dimension_names": ["channel", "row", "column"]}
        file.write_text(json.dumps(content, indent=2))
    root = root_json(path)
    described = root["attributes"]["usrdu"]
    described.pop("error_floor", None)
    if "seal" in described:
        described["seal"] = seal(described)
    (path / "zarr.json").write_text(json.dumps(root, indent=2))


def root_json(path: Path) -> dict[str, Any]:
    content = json.loads((path / "zarr.json").read_text())
    assert isinstance(content, dict)
    return content


def fault(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message
