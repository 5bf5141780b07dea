"""Unpaired crops: of which pixels, and how two sets share memory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import World, demand
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import UserError
from pipeline.crops.memory import Memory
from pipeline.stores.reader import Store
from pipeline.train_dsn.data import UnpairedCrops, split
from pipeline.writing.writer import StoreWriter


def test_crops_are_of_the_images_and_of_what_trainings_may_see(tmp_path: Path) -> None:
    """LR pixels are their columns: none of the right quarter may appear, all others must."""
    rng = np.random.default_rng(0)
    with StoreWriter(tmp_path / "hr.zarr", "hr", 4, ["a", "b"]) as writer:
        for name in ("a", "b"):
            writer.add(name, {"image": rng.integers(100, 200, (3, 80, 64), np.uint8)})
    with StoreWriter(tmp_path / "lr.zarr", "lr", 4, ["c"]) as writer:
        columns = np.broadcast_to(np.arange(40, dtype=np.uint8), (3, 24, 40))
        writer.add("c", {"image": np.ascontiguousarray(columns)})
    stores = Store(tmp_path / "hr.zarr", "hr"), Store(tmp_path / "lr.zarr", "lr")
    crops = UnpairedCrops(*stores, 64, demand(1, 4, crops_per_image=8))
    seen = set()
    for step in range(20):
        hr, lr = crops.batch(step)
        assert hr.shape == (4, 3, 64, 64) and lr.shape == (4, 3, 16, 16)
        assert hr.dtype == lr.dtype == torch.float32
        assert hr.min() >= 100 / 255 and hr.max() < 200 / 255
        seen |= set((lr * 255).round().flatten().tolist())
    assert seen == set(range(30))
    assert crops.waited > 0 and "hr.zarr: 2 images" in str(crops) and "lr.zarr" in str(crops)


def test_the_piles_have_places_of_their_own(tiny: World) -> None:
    first, again, other = (UnpairedCrops(tiny.hr, tiny.lr, 64, demand(s, 2)) for s in (3, 3, 4))
    for a, b, c in zip(first.batch(2), again.batch(2), other.batch(2), strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)


def test_too_large_a_crop_is_refused(tiny: World, tiny2: World) -> None:
    with pytest.raises(UserError, match="smaller than a crop of 144x144; lower train_dsn.hr_patch"):
        UnpairedCrops(tiny.hr, tiny.lr, 144, demand(0))
    with pytest.raises(UserError, match="without the held-out parts .* a crop of 32x32"):
        UnpairedCrops(tiny.hr, tiny.lr, 128, demand(0))
    with pytest.raises(UserError, match="has the scale 4, but .* has 2"):
        UnpairedCrops(tiny.hr, tiny2.lr, 64, demand(0))


def test_batches_do_not_depend_on_memory(tiny: World) -> None:
    plenty = UnpairedCrops(tiny.hr, tiny.lr, 64, demand(3, 1, window=1))
    little = Memory(0, 150 * 1024)
    rolling = UnpairedCrops(tiny.hr, tiny.lr, 64, demand(3, 1, window=1, memory=little))
    assert "rolling window" in str(rolling) and "rolling window" not in str(plenty)
    for step in range(6):
        for one, other in zip(plenty.batch(step), rolling.batch(step), strict=True):
            assert torch.equal(one, other)


@given(*[st.integers(0, 10**6)] * 3)
def test_memory_is_shared_so_that_what_fits_is_held(room: int, first: int, second: int) -> None:
    shares = split(room, first, second)
    assert sum(shares) == room and min(shares) >= 0
    smaller, larger = sorted((first, second))
    held = sorted(zip((first, second), shares, strict=True))
    if smaller <= room // 2:
        assert held[0][1] == smaller
    if first + second <= room and smaller <= room // 2:
        assert held[1][1] >= larger
