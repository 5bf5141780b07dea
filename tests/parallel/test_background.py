"""Reading ahead and writing behind: order, errors, how far ahead, and that no thread is left."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.base.files import whole
from pipeline.parallel.background import WritingAbortedError, read_ahead, write_behind


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


class Made:
    """Items that are made one by one; says which, and lets a test wait for them."""

    def __init__(self, count: int, fails_at: int | None = None) -> None:
        self.made: list[int] = []
        self.threads: set[str] = set()
        self.changed = threading.Condition()
        self.count, self.fails_at = count, fails_at

    def __iter__(self) -> Iterator[int]:
        for number in range(self.count):
            if number == self.fails_at:
                raise ValueError(f"item {number}")
            with self.changed:
                self.made.append(number)
                self.threads.add(threading.current_thread().name)
                self.changed.notify_all()
            yield number

    def wait(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.made) >= count, 60)


# --- reading


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_all_items_in_order(count: int) -> None:
    with read_ahead(range(count)) as items:
        assert list(items) == list(range(count))


def test_one_item_is_made_ahead_and_no_more() -> None:
    source = Made(9)
    with read_ahead(source) as items:
        for number in items:
            if number < 8:
                source.wait(number + 2)
            assert source.made == list(range(min(number + 2, 9)))
    assert source.threads == {"read-ahead_0"}


def test_nothing_is_made_before_the_first_is_wanted() -> None:
    source = Made(3)
    with read_ahead(source):
        pass
    assert source.made == []


def read(source: Made, found: list[int], stop: int = 100) -> None:
    """Read items; Ctrl-C at one of them."""
    with read_ahead(source) as items:
        for number in items:
            if number == stop:
                raise KeyboardInterrupt
            found.append(number)


def test_an_error_comes_where_its_item_would() -> None:
    found: list[int] = []
    with pytest.raises(ValueError, match="item 2"):
        read(Made(5, fails_at=2), found)
    assert found == [0, 1]


def test_the_consumer_stops_early() -> None:
    source = Made(100)
    with read_ahead(source) as items:
        assert next(items) == 0
    assert len(source.made) <= 2
    with pytest.raises(KeyboardInterrupt):
        read(source, [], stop=3)


# --- writing


def gathered(into: list[int]) -> Callable[[Iterator[int]], None]:
    return lambda items: into.extend(items)


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_all_are_written_in_order(count: int) -> None:
    found: list[int] = []
    with write_behind(gathered(found)) as put:
        for number in range(count):
            put(number)
    assert found == list(range(count))


def test_one_item_waits_while_one_is_written() -> None:
    """The second put waits until the first item is used up: two items are alive, never three."""
    used, may_go, second_put = threading.Event(), threading.Event(), threading.Event()
    names: set[str] = set()

    def slow(items: Iterator[int]) -> None:
        names.add(threading.current_thread().name)
        for number in items:
            if number == 0:
                used.set()
                assert may_go.wait(10)
                assert not second_put.is_set()

    with write_behind(slow) as put:
        put(0)  # returns at once
        assert used.wait(10)
        threading.Timer(0.05, may_go.set).start()
        put(1)
        second_put.set()
        assert may_go.is_set()
    assert names == {"write-behind_0"}


def failing(items: Iterator[int]) -> None:
    for number in items:
        if number == 1:
            raise OSError(28, "No space left on device")


def write(
    consume: Callable[[Iterator[int]], object],
    count: int,
    error: type[BaseException] | None = None,
) -> None:
    """Put so many items, and then fail."""
    with write_behind(consume) as put:
        for number in range(count):
            put(number)
        if error is not None:
            raise error("mine")


def test_an_error_of_the_writer_is_raised_by_the_next_put() -> None:
    put_so_far = []

    def numbers() -> Iterator[int]:
        for number in range(100):
            put_so_far.append(number)
            yield number

    def put_all() -> None:
        with write_behind(failing) as put:
            for number in numbers():
                put(number)

    with pytest.raises(OSError, match="No space left"):
        put_all()
    assert put_so_far == [0, 1, 2]


def test_an_error_at_the_last_item_is_raised_at_the_end() -> None:
    with pytest.raises(OSError, match="No space left"):
        write(failing, 2)


def test_an_error_before_the_first_item() -> None:
    def broken(_: Iterator[int]) -> None:
        raise ValueError("at once")

    with pytest.raises(ValueError, match="at once"), write_behind(broken):
        pass


def test_more_than_is_wanted_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="after the consumer had returned"):
        write(next, 3)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_when_the_caller_fails_nothing_half_written_stays(
    error: type[BaseException], tmp_path: Path
) -> None:
    seen: list[type[BaseException]] = []

    def to_file(items: Iterator[int]) -> None:
        with whole(tmp_path / "numbers") as partial, partial.open("w") as file:
            try:
                for number in items:
                    file.write(str(number))
            except WritingAbortedError as fault:
                seen.append(type(fault))
                raise

    with pytest.raises(error):
        write(to_file, 2, error)
    assert seen == [WritingAbortedError]
    assert list(tmp_path.iterdir()) == []


def test_the_callers_error_goes_before_that_of_the_writer() -> None:
    with pytest.raises(ValueError, match="mine"):
        write(failing, 2, ValueError)
