"""Crops: the laws of schedule, corners and turns, and where the pixels come from."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import HR_SIZES, World, picture
from numpy.typing import NDArray
from scipy.stats import chisquare

from pipeline.crops import ImagePool, Schedule, offsets, require_crop, turn
from pipeline.errors import UserError
from pipeline.seeding import generator
from pipeline.stores import Store
from pipeline.tiling import Box

LIKELY = 1e-3
"""A p-value below it refutes a law; seeds are fixed, so a test that passed once always passes."""

SCHEDULES = [(1, 1, 1), (3, 2, 4), (5, 3, 4), (2, 1, 7), (7, 1, 3), (4, 5, 20)]
"""Images, crops per image, batch size: batches within, across and over several epochs."""


def symmetries(image: NDArray[np.generic]) -> list[NDArray[np.generic]]:
    """The eight symmetries of a (C, S, S) image: four rotations, plain and mirrored."""
    rotated = [np.rot90(image, quarter, axes=(1, 2)) for quarter in range(4)]
    return [*rotated, *(np.flip(one, axis=2) for one in rotated)]


def which_symmetry(image: NDArray[np.generic], turned: NDArray[np.generic]) -> int:
    (index,) = [k for k, one in enumerate(symmetries(image)) if np.array_equal(one, turned)]
    return index


# --- Schedule


@pytest.mark.parametrize(("images", "crops", "batch"), SCHEDULES)
def test_every_epoch_visits_every_image_equally_often(images: int, crops: int, batch: int) -> None:
    schedule = Schedule(images, crops, batch, seed=1, purpose="test")
    length = images * crops
    steps = math.lcm(length, batch) // batch * 3
    visited = [image for step in range(steps) for image in schedule.batch(step)]
    assert len(visited) == steps * batch and len(visited) % length == 0
    for start in range(0, len(visited), length):
        assert Counter(visited[start : start + length]) == dict.fromkeys(range(images), crops)


@pytest.mark.parametrize(("images", "crops", "batch"), SCHEDULES)
def test_steps_and_epochs_are_those_of_counting(images: int, crops: int, batch: int) -> None:
    schedule = Schedule(images, crops, batch, seed=1, purpose="test")
    length = images * crops
    for epochs in (1, 2, 5):
        steps = schedule.steps(epochs)
        assert (steps - 1) * batch < epochs * length <= steps * batch
    epoch_of_crop = [crop // length for crop in range(40 * batch)]
    assert [schedule.epoch(step) for step in range(40)] == epoch_of_crop[::batch]


def test_order_depends_on_epoch_seed_and_purpose() -> None:
    def order(seed: int, purpose: str, epoch: int) -> list[int]:
        return Schedule(20, 1, 20, seed, purpose).batch(epoch)

    orders = [order(1, "a", 0), order(1, "a", 1), order(2, "a", 0), order(1, "b", 0)]
    assert len({tuple(one) for one in orders}) == 4
    assert list(range(20)) not in orders
    assert order(1, "a", 1) == order(1, "a", 1)


def test_any_step_can_be_the_first() -> None:
    straight = Schedule(5, 3, 4, seed=9, purpose="test")
    batches = [straight.batch(step) for step in range(30)]
    for step in (29, 0, 13, 12, 7):
        assert Schedule(5, 3, 4, seed=9, purpose="test").batch(step) == batches[step]
    assert [straight.batch(step) for step in reversed(range(30))] == batches[::-1]


# --- offsets


def test_corners_are_uniform() -> None:
    rows, columns, draws = 7, 4, 28_000
    corners = offsets([(16 + rows - 1, 16 + columns - 1)] * draws, 16, generator(0, "test"))
    counts = Counter(corners)
    cells = [counts.pop((row, column), 0) for row in range(rows) for column in range(columns)]
    assert not counts, "a corner outside of the image"
    assert chisquare(cells).pvalue > LIKELY


def test_a_crop_as_large_as_the_image_has_one_place() -> None:
    sizes = [(16, 16), (16, 18), (20, 16)] * 200
    corners = offsets(sizes, 16, generator(0, "test"))
    assert set(corners[::3]) == {(0, 0)}
    assert set(corners[1::3]) == {(0, 0), (0, 1), (0, 2)}
    assert set(corners[2::3]) == {(row, 0) for row in range(5)}


def test_corners_repeat_with_the_generator() -> None:
    sizes = [(1000, 2000)] * 5
    first, again, other = (offsets(sizes, 16, generator(0, "test", step)) for step in (0, 0, 1))
    assert first == again != other


# --- turn


def test_turns_are_the_eight_symmetries_alike_and_equally_often() -> None:
    count = 4000
    large = (
        torch.arange(2 * 36).reshape(1, 2, 6, 6) + 100 * torch.arange(count)[:, None, None, None]
    )
    small = torch.arange(9.0).reshape(1, 1, 3, 3).expand(count, -1, -1, -1)
    turned_large, turned_small = turn([large, small], generator(0, "test"))
    assert turned_large.dtype == large.dtype and turned_small.shape == small.shape
    found = [
        (which_symmetry(a.numpy(), b.numpy()), which_symmetry(c.numpy(), d.numpy()))
        for a, b, c, d in zip(large, turned_large, small, turned_small, strict=True)
    ]
    assert all(one == other for one, other in found)
    counts = Counter(one for one, _ in found)
    assert chisquare([counts[k] for k in range(8)]).pvalue > LIKELY


# --- require_crop


def test_an_image_smaller_than_a_crop_is_named(tiny: World) -> None:
    require_crop(tiny.hr, 140, "section.patch")
    with pytest.raises(UserError) as caught:
        require_crop(tiny.hr, 144, "section.patch")
    message = str(caught.value)
    for part in (str(tiny.hr.path), "'castle'", "160x140", "144x144", "section.patch"):
        assert part in message


def lower_half(store: Store) -> Callable[[str], Box]:
    """The rows below the middle."""

    def part(image_id: str) -> Box:
        height, width = store.size(image_id)
        return Box(height // 2, height, 0, width)

    return part


def test_a_part_smaller_than_a_crop_is_named(tiny: World) -> None:
    part = lower_half(tiny.hr)
    require_crop(tiny.hr, 70, "section.patch", part)
    with pytest.raises(UserError) as caught:
        require_crop(tiny.hr, 71, "section.patch", part)
    assert "'ships' without its held-out part is 70x140, smaller than a crop of 71x71" in str(
        caught.value
    )


# --- ImagePool


def test_a_pool_of_parts_holds_nothing_else(tiny: World) -> None:
    pool = ImagePool.load(tiny.hr, lower_half(tiny.hr))
    assert pool.path == tiny.hr.path
    for image_id, held in zip(tiny.hr.ids, pool.images, strict=True):
        whole = tiny.hr.read(image_id, "image")
        assert np.array_equal(held.numpy(), whole[:, whole.shape[1] // 2 :])


def test_crops_are_parts_of_the_chosen_images(tiny: World) -> None:
    pool = ImagePool.load(tiny.hr)
    chosen, size = [2, 0, 1, 1, 0, 2, 2, 1], 24
    crops = pool.crops(chosen, size, generator(0, "test"))
    assert crops.shape == (8, 3, size, size) and crops.dtype == torch.float32
    levels = (crops.double() * 255).numpy()
    assert np.abs(levels - np.round(levels)).max() < 1e-4
    for index, crop in zip(chosen, np.round(levels).astype(np.uint8), strict=True):
        whole = tiny.hr.read(list(HR_SIZES)[index], "image")
        windows = np.lib.stride_tricks.sliding_window_view(whole[0], (size, size))
        places = [
            (symmetry, row, column)
            for symmetry, one in enumerate(symmetries(crop))
            for row, column in np.argwhere((windows == one[0]).all((2, 3)))
        ]
        ((symmetry, row, column),) = places
        part = whole[:, row : row + size, column : column + size]
        assert np.array_equal(part, symmetries(crop)[symmetry])


def test_a_pool_repeats_with_the_generator() -> None:
    rng = np.random.default_rng(0)
    pool = ImagePool(Path("here"), [picture(rng, 60, 70), picture(rng, 50, 40)])
    first, again, other = (pool.crops([0, 1], 16, generator(0, "x", step)) for step in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.min() >= 0 and first.max() <= 1
