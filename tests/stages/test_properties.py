"""Properties that hold for any input: stores, tiles, ids and settings."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from ruamel.yaml import YAML

from pipeline.base.boxes import Box, tiles
from pipeline.base.errors import UserError
from pipeline.base.ids import is_safe_id, safe_id, unique_ids
from pipeline.base.params import load_lines, load_yaml
from pipeline.base.settings import load_section
from pipeline.prepare.prepare import PrepareSettings
from pipeline.stores import format
from pipeline.stores.format import Kind
from pipeline.stores.reader import Store
from pipeline.stores.verify import verify
from pipeline.writing.writer import StoreWriter

FEW = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])

sides = st.integers(1, 20)
shapes = st.tuples(st.just(3), sides, sides)
levels = shapes.flatmap(lambda shape: hnp.arrays(np.uint8, shape))
halves = shapes.flatmap(
    lambda shape: hnp.arrays(np.uint16, shape).map(lambda bits: bits.view(np.float16))
)
"""Any bits, infinities and NaN among them."""


def same(found: NDArray[Any], array: NDArray[Any]) -> bool:
    return found.dtype == array.dtype and found.tobytes() == np.ascontiguousarray(array).tobytes()


@FEW
@given(st.lists(levels, max_size=3), sides)
def test_a_store_gives_back_any_images(images: Sequence[NDArray[np.uint8]], side: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setitem(format.CHUNK, "lr", side)
        round_trip(Path(folder) / "a.zarr", "lr", [{"image": image} for image in images])


@FEW
@given(halves, sides)
def test_a_store_gives_back_any_maps(mean: NDArray[np.float16], side: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setitem(format.CHUNK, "maps", side)
        round_trip(Path(folder) / "a.zarr", "maps", [{"mean": mean, "theta": mean[:, ::-1]}])


def round_trip(path: Path, kind: Kind, images: Sequence[dict[str, NDArray[Any]]]) -> None:
    with StoreWriter(path, kind, 4, [f"i{number}" for number in range(len(images))]) as writer:
        for image_id, arrays in zip(writer.ids, images, strict=True):
            writer.add(image_id, arrays)
    store = Store(path, kind)
    for image_id, arrays in zip(store.ids, images, strict=True):
        for name, array in arrays.items():
            _, height, width = array.shape
            assert same(store.read(image_id, name), array)
            part = Box(height // 2, height, 0, (width + 1) // 2)
            assert same(store.read(image_id, name, part), array[part.slices])
    finite = all(np.isfinite(array).all() for arrays in images for array in arrays.values())
    assert (verify(path).faults == []) == finite


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 70))
def test_tiles_cover_every_pixel_once(height: int, width: int, size: int) -> None:
    count = np.zeros((1, height, width), np.int64)
    for box in tiles(height, width, size):
        part = count[box.slices]
        assert 1 <= part.shape[1] <= size and 1 <= part.shape[2] <= size
        part += 1
    assert (count == 1).all()


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 30), st.integers(1, 30),
       st.integers(0, 20), st.integers(1, 4))  # fmt: skip
def test_boxes(top: int, high: int, left: int, wide: int, halo: int, scale: int) -> None:
    box = Box(top, top + high, left, left + wide)
    assert box.times(scale).over(scale) == box
    grown = box.grown(halo, 60, 60)
    inner = box.within(grown)
    pixels = np.arange(3600).reshape(1, 60, 60)
    assert np.array_equal(pixels[grown.slices][inner.slices], pixels[box.slices])


names = st.text(min_size=1, max_size=300)


@given(names)
@example("\u1e70" * 100 + "a" * 300)
@example("__" + "a" * 300)
def test_any_name_becomes_a_safe_id(name: str) -> None:
    made = safe_id(name)
    assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", made) and len(made) <= 200
    assert is_safe_id(made)
    assert safe_id(f"{made}.png") == made


@given(st.lists(names, max_size=6))
def test_ids_differ_without_regard_to_case_or_are_refused(listed: list[str]) -> None:
    try:
        ids = unique_ids(listed)
    except UserError as error:
        assert "would both be called" in str(error)  # noqa: PT017
        assert len({safe_id(name).casefold() for name in listed}) < len(listed)
    else:
        assert ids == [safe_id(name) for name in listed]
        assert len({image_id.casefold() for image_id in ids}) == len(listed)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
junk = st.recursive(
    scalars | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)
keys = ["scale", "preset", "hr_from", "cleaning_factor", "more"]
sections = st.dictionaries(st.sampled_from(keys), junk | st.sampled_from([2, "none", "folder"]))


yamls = st.text("ab:-[]{}&*!|>#'\"%@?, \n\t01.~<=", max_size=40).map(str.encode)


def settings_or_sentence(path: Path) -> None:
    for load in (load_yaml, load_lines, lambda p: load_section(p, "prepare", PrepareSettings)):
        try:
            load(path)
        except UserError as error:
            assert str(error).startswith(str(path))  # noqa: PT017
            assert str(error).isprintable()  # noqa: PT017


@FEW
@given(st.fixed_dictionaries({"prepare": sections | junk}))
def test_any_params_are_settings_or_a_sentence(content: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        YAML(typ="safe", pure=True).dump(content, path)
        settings_or_sentence(path)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | yamls)
def test_any_bytes_are_settings_or_a_sentence(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_bytes(content)
        settings_or_sentence(path)
