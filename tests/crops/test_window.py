"""The window: the right images, each read as often as it must be, within the budget."""

import threading
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.base.errors import UserError
from pipeline.crops.schedule import BatchShape, Schedule
from pipeline.crops.window import CropSource, Window


class Library:
    """Images that say which they are, and a count of how often each was read."""

    def __init__(self, sizes: Sequence[tuple[int, int]]) -> None:
        self.sizes, self.reads, self.lock = list(sizes), Counter[int](), threading.Lock()

    def read(self, image: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
        with self.lock:
            self.reads[image] += 1
        height, width = self.sizes[image]
        return [np.full((3, height, width), image, np.uint8)]

    @property
    def source(self) -> CropSource:
        return CropSource("the library", self.sizes, (1,), (torch.uint8,), self.read)


def check(window: Window, schedule: Schedule, steps: Sequence[int], shares: Sequence[int]) -> int:
    """Every batch has its images; returns the most bytes that were held."""
    most = 0
    for step in steps:
        chosen = schedule.batch(step)
        for share in shares:
            first = share * schedule.share_size
            images = window.images(step, share)
            most = max(most, window.bytes)
            assert set(images) == set(chosen[first : first + schedule.share_size])
            for image, (pixels,) in images.items():
                assert (pixels == image).all()
    return most


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    numbers = [draw(st.integers(1, most)) for most in (12, 3, 5, 6, 3)]
    images, crops, batch, window, shares = numbers
    return Schedule(images, crops, BatchShape(batch, shares), 3, "test", window)


@settings(deadline=None)  # it has threads, and a busy machine lets them wait
@given(schedules(), st.integers(0, 40), st.integers(0, 3), st.data())
def test_a_rolling_window_stays_within_the_budget(
    schedule: Schedule, first: int, slack: int, data: st.DataObject
) -> None:
    lengths = st.integers(1, 4)
    sizes = [(data.draw(lengths), data.draw(lengths)) for _ in range(schedule.images)]
    source = Library(sizes).source
    largest = sorted((source.bytes(image) for image in range(len(sizes))), reverse=True)
    group, batch = schedule.largest_group, schedule.batch_size
    budget = sum(largest[:group]) + (batch + slack) * largest[0]
    shares = range(batch // schedule.share_size)
    window = Window(source, schedule, shares, budget)
    assert check(window, schedule, range(first, first + 25), shares) <= budget
    window.close()


@settings(deadline=None)
@given(schedules(), st.integers(0, 40), st.booleans(), st.data())
def test_one_share_of_a_batch_has_its_images(
    schedule: Schedule, first: int, rolling: bool, data: st.DataObject
) -> None:
    """Also where a group, or what is left of it, has no image for the share."""
    source = Library([(4, 4)] * schedule.images).source
    count = schedule.batch_size // schedule.share_size
    share = data.draw(st.integers(0, count - 1))
    budget = 48 * (schedule.largest_group + schedule.batch_size) if rolling else None
    window = Window(source, schedule, (share,), budget)
    check(window, schedule, range(first, first + 25), (share,))
    with pytest.raises(ValueError, match=rf"expected a share of \({share},\), got {count}"):
        window.images(first, count)
    window.close()


def test_a_window_that_starts_later_reads_nothing_of_the_steps_before() -> None:
    library = Library([(4, 4)] * 20)
    schedule = Schedule(20, 1, BatchShape(2), 0, "test", window=2)
    window = Window(library.source, schedule, (0,), 4 * 48)
    window.images(1, 0)
    assert window.bytes <= 4 * 48
    window.close()
    before = {schedule.image(position) for position in range(2)}
    assert not before & set(library.reads)


def test_every_image_is_read_once_per_epoch() -> None:
    library = Library([(4, 4)] * 24)
    schedule = Schedule(24, 6, BatchShape(4), 0, "test", window=4)
    window = Window(library.source, schedule, (0,), 20 * 48)
    check(window, schedule, range(3 * 36), (0,))
    assert set(library.reads.values()) <= {3, 4}  # the next epoch is read ahead
    assert sum(library.reads.values()) <= 3 * 24 + 20


def test_what_stays_is_read_once_and_only_when_it_is_needed() -> None:
    library = Library([(4, 4)] * 100)
    schedule = Schedule(100, 2, BatchShape(2), 0, "test", window=10)
    window = Window(library.source, schedule, (0,), None)
    window.images(0, 0)
    assert sum(library.reads.values()) <= 40, "the start must not read everything"
    check(window, schedule, range(300), (0,))
    assert library.reads == dict.fromkeys(range(100), 1)
    assert window.bytes == 100 * 48


def test_what_is_forgotten_is_given_without_arrays_and_not_read_again() -> None:
    library = Library([(4, 4)] * 3)
    schedule = Schedule(3, 4, BatchShape(3), 0, "test")
    window = Window(library.source, schedule, (0,), None)
    seen = []
    for step in range(8):
        for image, arrays in window.images(step, 0).items():
            if arrays:
                seen.append(image)
                window.forget(image)
    assert sorted(seen) == [0, 1, 2] and window.bytes == 0
    assert library.reads == {0: 1, 1: 1, 2: 1}


def test_any_step_can_follow() -> None:
    library = Library([(4, 4)] * 30)
    schedule = Schedule(30, 2, BatchShape(4), 0, "test", window=5)
    window = Window(library.source, schedule, (0,), 20 * 48)
    assert check(window, schedule, [0, 1, 2, 0, 1, 50, 51, 7, 3, 3, 4], (0,)) <= 20 * 48


def test_a_share_reads_its_own_images_only() -> None:
    library = Library([(4, 4)] * 40)
    schedule = Schedule(40, 1, BatchShape(2, 4), 0, "test", window=8)
    window = Window(library.source, schedule, (2,), 40 * 48)
    check(window, schedule, range(5), (2,))
    window.close()
    own = {schedule.image(p) for p in range(40) if schedule.share(p) == 2}
    ahead = {schedule.image(p) for p in range(40, 200) if schedule.share(p) == 2}
    assert own <= set(library.reads) <= own | ahead and len(own) == 10


def test_a_budget_that_is_too_small_is_refused() -> None:
    source = Library([(10, 10)] * 4 + [(20, 20)]).source
    schedule = Schedule(5, 1, BatchShape(1), 0, "test", window=2)
    assert schedule.largest_group == 2
    Window(source, schedule, (0,), 1200 + 300 + 1200)
    with pytest.raises(UserError) as caught:
        Window(source, schedule, (0,), 1200 + 300 + 1200 - 1)
    for part in ("the library: 2 images", "machine.memory", "window"):
        assert part in str(caught.value)


def test_a_fault_while_reading_reaches_the_batch_that_needs_the_image() -> None:
    library = Library([(4, 4)] * 20)

    def read(image: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
        if image == 7:
            raise UserError("image 7 is damaged")
        return library.read(image)

    schedule = Schedule(20, 1, BatchShape(1), 0, "test")
    window = Window(
        CropSource("x", library.sizes, (1,), (torch.uint8,), read), schedule, (0,), None
    )
    order = [schedule.image(position) for position in range(20)]
    for step in range(order.index(7)):
        window.images(step, 0)
    with pytest.raises(UserError, match="image 7 is damaged"):
        window.images(order.index(7), 0)


def test_sizes_in_memory() -> None:
    sizes = [(2, 3), (5, 4)]
    source = CropSource(
        "x", sizes, (1, 4, 1), (torch.float16, torch.uint8, torch.float16), lambda _: []
    )
    assert [source.values(1, array) for array in range(3)] == [60, 960, 60]
    assert source.bytes(0) == 3 * 2 * 3 * (2 + 16 + 2)
