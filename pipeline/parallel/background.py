"""Reading ahead and writing behind in threads, while the caller computes.

Order, values and errors are those of a plain loop.  Each thread holds one more item in memory.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Semaphore
from typing import Any, TypeVar

T = TypeVar("T")

END = object()
"""Marks the end of the items."""
ABORTED = object()
"""Marks that the caller failed before the end of the items."""


class WritingAbortedError(Exception):
    """Raised in the writing thread if the caller fails, so that it removes incomplete files."""


@contextmanager
def read_ahead(items: Iterable[T]) -> Iterator[Iterator[T]]:
    """Compute the next item in a thread while the caller uses the last one.

    Args:
        items: An iterable whose ``next`` takes time; the thread calls it once for every item.

    Yields:
        An iterator over the same items.  An error of an item is raised in its place.  At the end of
        the block the thread has ended; an item that it had begun is completed and dropped.

    """
    source = iter(items)
    with ThreadPoolExecutor(1, "read-ahead") as thread:

        def given() -> Iterator[T]:
            coming = thread.submit(next, source, END)
            while (item := coming.result()) is not END:
                coming = thread.submit(next, source, END)
                yield item  # type: ignore[misc]

        yield given()


@contextmanager
def write_behind(consume: Callable[[Iterator[T]], object]) -> Iterator[Callable[[T], None]]:
    """Consume items in a thread while the caller computes the next one.

    Args:
        consume: Called once with an iterator over all items.  If the block fails, the iterator
            raises ``WritingAbortedError``, so that context managers in ``consume`` clean up.

    Yields:
        ``put(item)``, which waits until the items before it were consumed.  An error of ``consume``
        is raised by the next ``put`` or at the end of the block.  Then the thread has ended.

    """
    queue: SimpleQueue[Any] = SimpleQueue()
    ready = Semaphore(1)

    def items() -> Iterator[T]:
        while (item := queue.get()) is not END:
            if item is ABORTED:
                raise WritingAbortedError
            yield item
            ready.release()

    with ThreadPoolExecutor(1, "write-behind") as thread:
        done = thread.submit(consume, items())
        done.add_done_callback(lambda _: ready.release())

        def put(item: T) -> None:
            ready.acquire()
            if done.done():
                ready.release()
                done.result()
                raise RuntimeError("an item was put after the consumer had returned")
            queue.put(item)

        try:
            yield put
        except BaseException:
            queue.put(ABORTED)
            raise
        queue.put(END)
        done.result()
