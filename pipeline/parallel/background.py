"""Reading ahead and writing behind, in a thread each, while the caller computes.

Order, values and errors are those of a plain loop; on either side one more item is in memory.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Semaphore
from typing import Any, TypeVar

T = TypeVar("T")

END = object()
"""Stands for: there are no more items."""
ABORTED = object()
"""Stands for: the items end before their time."""


class WritingAbortedError(Exception):
    """Raised in the writing thread when the caller fails, so that nothing half-written stays."""


@contextmanager
def read_ahead(items: Iterable[T]) -> Iterator[Iterator[T]]:
    """Make the next item in a thread of its own while the last one is used.

    Args:
        items: Their ``next`` takes time; the thread calls it, once for every item.

    Yields:
        The same items.  An error of theirs is raised where the item would be given.  When the block
        is left no thread is; an item that was begun is finished and dropped.

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
    """Run a function over items in a thread of its own while the next item is made.

    Args:
        consume: Called once with all items.  If the block fails, its iterator raises
            ``WritingAbortedError``, so that context managers in it clean up.

    Yields:
        ``put(item)``, which waits until the items before it were used.  An error of ``consume`` is
        raised by the next ``put`` or at the end of the block.  When the block is left no thread is.

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
                raise RuntimeError("more was put than is consumed")
            queue.put(item)

        try:
            yield put
        except BaseException:
            queue.put(ABORTED)
            raise
        queue.put(END)
        done.result()
