"""The schedule: every image equally often, any step by itself, groups and shares."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import UNLIKELY
from scipy.stats import chisquare

from pipeline.crops.schedule import BatchShape, DrawnSchedule, Schedule

SCHEDULES = [(1, 1, 1), (3, 2, 4), (5, 3, 4), (2, 1, 7), (7, 1, 3), (4, 5, 20)]
"""Images, crops per image, batch size: batches within, across and over several epochs."""


@pytest.mark.parametrize(("images", "crops", "batch"), SCHEDULES)
def test_every_epoch_visits_every_image_equally_often(images: int, crops: int, batch: int) -> None:
    schedule = Schedule(images, crops, BatchShape(batch), seed=1, purpose="test")
    length = images * crops
    steps = math.lcm(length, batch) // batch * 3
    visited = [image for step in range(steps) for image in schedule.batch(step)]
    assert len(visited) == steps * batch and len(visited) % length == 0
    for start in range(0, len(visited), length):
        assert Counter(visited[start : start + length]) == dict.fromkeys(range(images), crops)


@pytest.mark.parametrize(("images", "crops", "batch"), SCHEDULES)
def test_steps_and_epochs_are_those_of_counting(images: int, crops: int, batch: int) -> None:
    schedule = Schedule(images, crops, BatchShape(batch), seed=1, purpose="test")
    length = images * crops
    for epochs in (1, 2, 5):
        steps = schedule.steps(epochs)
        assert (steps - 1) * batch < epochs * length <= steps * batch
    epoch_of_crop = [crop // length for crop in range(40 * batch)]
    assert [schedule.epoch(step) for step in range(40)] == epoch_of_crop[::batch]


def test_order_depends_on_epoch_seed_and_purpose() -> None:
    def order(seed: int, purpose: str, epoch: int) -> list[int]:
        return Schedule(20, 1, BatchShape(20), seed, purpose).batch(epoch)

    orders = [order(1, "a", 0), order(1, "a", 1), order(2, "a", 0), order(1, "b", 0)]
    assert len({tuple(one) for one in orders}) == 4
    assert list(range(20)) not in orders
    assert order(1, "a", 1) == order(1, "a", 1)


def test_any_step_can_be_the_first() -> None:
    straight = Schedule(5, 3, BatchShape(4), seed=9, purpose="test")
    batches = [straight.batch(step) for step in range(30)]
    for step in (29, 0, 13, 12, 7):
        assert Schedule(5, 3, BatchShape(4), seed=9, purpose="test").batch(step) == batches[step]
    assert [straight.batch(step) for step in reversed(range(30))] == batches[::-1]


# --- groups


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    numbers = [draw(st.integers(1, most)) for most in (9, 4, 7, 9, 3)]
    images, crops, batch, window, shares = numbers
    return Schedule(images, crops, BatchShape(batch, shares), 3, "test", window)


@given(schedules())
def test_groups_divide_every_epoch_and_hold_no_more_images_than_asked(schedule: Schedule) -> None:
    groups: dict[int, list[int]] = {}
    for position in range(3 * schedule.crops_per_epoch):
        groups.setdefault(schedule.group(position), []).append(position)
    assert list(groups) == list(range(len(groups)))
    for group, positions in groups.items():
        visits = list(schedule.visits(group))
        assert visits == [(position, schedule.image(position)) for position in positions]
        counts = Counter(image for _, image in visits)
        assert set(counts.values()) == {schedule.crops_per_image}
        assert len(counts) <= schedule.largest_group
    for epoch in range(3):
        start = epoch * schedule.crops_per_epoch
        images = [schedule.image(start + place) for place in range(schedule.crops_per_epoch)]
        assert set(Counter(images).values()) == {schedule.crops_per_image}


@given(schedules())
def test_the_largest_group_is_within_the_window_and_groups_are_even(schedule: Schedule) -> None:
    sizes = [b - a for a, b in zip(schedule.starts, schedule.starts[1:], strict=False)]
    assert sum(sizes) == schedule.images and min(sizes) >= max(sizes) - 1
    assert schedule.largest_group == max(sizes)


def test_a_window_is_not_exceeded_and_used() -> None:
    for images, window, groups in ((10, 4, 3), (8, 4, 2), (9, 4, 3), (3, 4, 1), (4, 4, 1)):
        schedule = Schedule(images, 2, BatchShape(3), 0, "test", window)
        assert len(schedule.starts) - 1 == groups and schedule.largest_group <= window


def test_a_window_that_holds_all_images_changes_nothing() -> None:
    plain = Schedule(5, 3, BatchShape(4), 9, "test")
    same = Schedule(5, 3, BatchShape(4), 9, "test", window=5)
    assert [plain.batch(step) for step in range(20)] == [same.batch(step) for step in range(20)]


def test_images_of_every_epoch_are_grouped_anew() -> None:
    schedule = Schedule(12, 2, BatchShape(3), 1, "test", window=4)
    epochs = [
        [frozenset(image for _, image in schedule.visits(3 * epoch + k)) for k in range(3)]
        for epoch in range(4)
    ]
    assert len({tuple(groups) for groups in epochs}) == 4


# --- shares


@pytest.mark.parametrize("shares", [1, 2, 3])
def test_shares_are_the_parts_of_a_larger_batch(shares: int) -> None:
    whole = Schedule(7, 3, BatchShape(2 * shares), 1, "test", window=3)
    parts = Schedule(7, 3, BatchShape(2, shares), 1, "test", window=3)
    assert parts.batch_size == whole.batch_size == 2 * shares
    assert [parts.batch(step) for step in range(12)] == [whole.batch(step) for step in range(12)]
    assert (parts.steps(4), parts.epoch(9)) == (whole.steps(4), whole.epoch(9))
    owners = [parts.share(position) for position in range(2 * 2 * shares)]
    assert owners == 2 * [share for share in range(shares) for _ in range(2)]


# --- drawn with replacement


def drawn(window: int | None = None, images: int = 6) -> DrawnSchedule:
    return DrawnSchedule(images, 2, BatchShape(4), 1, "test", window)


@pytest.mark.parametrize("window", [None, 2])
def test_drawn_images_are_equally_likely_and_neighbours_independent(window: int | None) -> None:
    """Whatever the groups; the image before says nothing, where one group holds all."""
    schedule = drawn(window)
    epochs = 1000
    images = np.array([schedule.image(place) for place in range(12 * epochs)])
    if window is None:
        pairs = np.histogram2d(images[::2], images[1::2], bins=6)[0]
        assert chisquare(pairs.ravel()).pvalue > UNLIKELY
        often = Counter(Counter(epoch.tolist())[0] for epoch in images.reshape(epochs, 12))
        assert often[0] > 0.07 * epochs  # (5/6)^12 = 0.11 leave image 0 out
    firsts = np.bincount(images.reshape(epochs, 12)[:, 0], minlength=6)
    assert chisquare(firsts).pvalue > UNLIKELY


@pytest.mark.parametrize("window", [None, 2])
def test_drawn_images_are_a_function_of_the_step(window: int | None) -> None:
    straight = drawn(window)
    batches = [straight.batch(step) for step in range(30)]
    for step in (29, 0, 13, 12):
        assert drawn(window).batch(step) == batches[step]
    for group in range(4):
        visits = list(straight.visits(group))
        assert visits == [(place, straight.image(place)) for place, _ in visits]
        assert len({image for _, image in visits}) <= straight.largest_group


def test_drawn_epochs_have_the_length_of_others() -> None:
    plain = Schedule(6, 2, BatchShape(4), 1, "test")
    assert [drawn().epoch(step) for step in range(40)] == [plain.epoch(step) for step in range(40)]
    assert drawn().steps(7) == plain.steps(7)


def test_a_pass_over_2650_images_in_batches_of_16() -> None:
    """The released code drops the rest of an epoch, 165 steps each; here batches span its end."""
    lr, hr = (Schedule(images, 1, BatchShape(16), 0, "test", 256) for images in (2650, 800))
    assert (lr.steps(500), hr.steps(500)) == (82_813, 25_000)
    assert lr.epoch(41_406) == 249 and lr.epoch(41_407) == 250
