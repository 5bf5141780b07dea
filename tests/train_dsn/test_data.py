"""Unpaired crops: of which pixels, and how two sets share memory."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from conftest import World, demand
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import UserError
from pipeline.crops.memory import Memory
from pipeline.stores.format import Kind
from pipeline.stores.reader import Store
from pipeline.train_dsn.data import CropRules, UnpairedCrops, split
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
    crops = UnpairedCrops(*stores, CropRules(64), demand(1, 4, crops_per_image=8))
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
    first, again, other = (
        UnpairedCrops(tiny.hr, tiny.lr, CropRules(64), demand(s, 2)) for s in (3, 3, 4)
    )
    for a, b, c in zip(first.batch(2), again.batch(2), other.batch(2), strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)


def test_an_epoch_over_the_real_images(tiny: World) -> None:
    """Two LR and three HR images: every LR image once in two crops, HR images as they fall."""
    over = {
        name: UnpairedCrops(tiny.hr, tiny.lr, CropRules(64, name), demand(3, 1))
        for name in ("hr", "lr")
    }
    assert [made.schedule.crops_per_epoch for made in over.values()] == [3, 2]
    schedules = [made.schedule for made in over["lr"].batches]
    assert schedules[1] is over["lr"].schedule
    chosen = [[schedule.image(place) for place in range(300)] for schedule in schedules]
    assert all(sorted(chosen[1][place : place + 2]) == [0, 1] for place in range(0, 300, 2))
    assert any(sorted(chosen[0][place : place + 3]) != [0, 1, 2] for place in range(0, 300, 3))
    assert set(chosen[0]) == {0, 1, 2}
    lr = [made.batch(5)[1] for made in over.values()]
    assert torch.equal(*lr)  # its places are those of an epoch over HR


def test_crops_that_are_not_turned(tmp_path: Path) -> None:
    """Pixels are 4 row + column: 1 to the right and 4 down, if nothing is turned."""
    ramp = np.add.outer(4 * np.arange(24), np.arange(32)).astype(np.uint8)
    kinds: list[tuple[Kind, int]] = [("hr", 4), ("lr", 1)]
    for kind, scale in kinds:
        image = np.broadcast_to(ramp.repeat(scale, 0).repeat(scale, 1), (3, 24 * scale, 32 * scale))
        with StoreWriter(tmp_path / f"{kind}.zarr", kind, 4, ["a"]) as writer:
            writer.add("a", {"image": np.ascontiguousarray(image)})
    stores = Store(tmp_path / "hr.zarr", "hr"), Store(tmp_path / "lr.zarr", "lr")
    for turned in (False, True):
        crops = UnpairedCrops(*stores, CropRules(64, turned=turned), demand(1, 16))
        hr, lr = crops.batch(0)
        wanted = []
        for images, side in ((hr, 4), (lr, 1)):
            gray = 255 * images[:, 0]
            right, down = gray[:, :, side:] - gray[:, :, :-side], gray[:, side:] - gray[:, :-side]
            wanted.append(
                bool(((right - 1).abs() < 0.01).all() and ((down - 4).abs() < 0.01).all())
            )
        assert wanted == [not turned] * 2


def test_too_large_a_crop_is_refused(tiny: World, tiny2: World) -> None:
    with pytest.raises(UserError, match="smaller than a crop of 144x144; lower train_dsn.hr_patch"):
        UnpairedCrops(tiny.hr, tiny.lr, CropRules(144), demand(0))
    with pytest.raises(UserError, match="without the held-out parts .* a crop of 32x32"):
        UnpairedCrops(tiny.hr, tiny.lr, CropRules(128), demand(0))
    with pytest.raises(UserError, match="has the scale 4, but .* has 2"):
        UnpairedCrops(tiny.hr, tiny2.lr, CropRules(64), demand(0))


@pytest.mark.parametrize("over", ["hr", "lr"])
def test_batches_do_not_depend_on_memory(over: Literal["hr", "lr"], tiny: World) -> None:
    rules, little = CropRules(64, over), Memory(0, 150 * 1024)
    plenty = UnpairedCrops(tiny.hr, tiny.lr, rules, demand(3, 1, window=1))
    rolling = UnpairedCrops(tiny.hr, tiny.lr, rules, demand(3, 1, window=1, memory=little))
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
