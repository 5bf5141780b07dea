"""The workers of a ``dask.distributed`` scheduler: one way to reach them, one to hand out work."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from distributed import Client, as_completed, get_worker
from distributed.scheduler import KilledWorker

from pipeline.base.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

log = logging.getLogger(__name__)


@contextmanager
def connected(scheduler: str) -> Iterator[Client]:
    """Connect to a scheduler; a warning is logged while it has no workers yet.

    Args:
        scheduler: Its address, such as ``tcp://host:8786``.

    Yields:
        The client, which is never the default one of the process: a failed one would stay it, and
        later calls would wait for it.

    Raises:
        UserError: No scheduler answers.

    """
    try:
        client = Client(scheduler, timeout="10s", set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise UserError(f"no dask scheduler answers at {scheduler}: {error}") from error
    with client:
        if not client.nthreads():  # type: ignore[no-untyped-call]
            log.warning("the dask scheduler at %s has no workers yet; waiting for them", scheduler)
        yield client


def spread(
    client: Client, function: Callable[[Item], Result], items: Sequence[Item]
) -> Iterator[Result]:
    """Call a function on the workers, once for every item.

    When the caller stops early, or a call fails, the calls that no worker has yet are given up, and
    the others come to their end first, so that none is at work behind the caller's back.  Where a
    worker dies, dask gives its calls to another one.

    Args:
        client: See ``connected``.
        function: Importable on the workers; sent to them by pickle, as are items and results.
        items: Its arguments.

    Yields:
        The results, as they come.

    Raises:
        UserError: As a call raised it, with the worker's address before it; or workers died while
            they worked at one and the same item.
        Exception: Any other that a call raised.

    """
    futures: list[Any] = client.map(Named(function), items, pure=False)
    try:
        for future in as_completed(futures, loop=client.loop):  # type: ignore[no-untyped-call]
            yield future.result()
    except KilledWorker as error:
        raise UserError(f"dask workers died at their work, of memory perhaps: {error}") from error
    finally:
        _settle(client, [future for future in futures if not future.done()])


def _settle(client: Client, futures: Sequence[Any]) -> None:
    """Give up the calls that no worker has, and wait for the others."""
    begun = {key for keys in client.processing().values() for key in keys}  # type: ignore[no-untyped-call]
    client.cancel([future for future in futures if future.key not in begun])  # type: ignore[no-untyped-call]
    for future in futures:
        if future.key in begun:
            future.exception()


@dataclass(frozen=True)
class Named:
    """A function whose ``UserError`` says on which worker it was raised."""

    function: Callable[[Any], Any]

    def __call__(self, item: Any) -> Any:
        try:
            return self.function(item)
        except UserError as error:
            address = get_worker().address
            raise UserError(f"worker {address}: {error}") from error
