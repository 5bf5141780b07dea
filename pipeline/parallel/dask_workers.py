"""The workers of a ``dask.distributed`` scheduler: connects to them and runs functions on them."""

import logging
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster, as_completed, get_worker, performance_report
from distributed.scheduler import KilledWorker

from pipeline.base.errors import UserError
from pipeline.base.files import whole

Item = TypeVar("Item")
Result = TypeVar("Result")

log = logging.getLogger(__name__)


SLURM = re.compile(r"slurm:([1-9][0-9]*)")
"""A scheduler of this process whose workers are so many jobs of Slurm."""


@contextmanager
def connected(scheduler: str) -> Iterator[Client]:
    """Connect to a scheduler; a warning is logged while it has no workers yet.

    Args:
        scheduler: Its address, such as ``tcp://host:8786``; or ``slurm:N``, see ``slurm_jobs``.

    Yields:
        The client.  It is not the default client of the process: a default client that failed would
        remain the default, and later calls would wait for it.

    Raises:
        UserError: No scheduler answers; see ``slurm_jobs``.

    """
    if found := SLURM.fullmatch(scheduler):
        with slurm_jobs(int(found[1])) as address, connected(address) as client:
            yield client
        return
    try:
        client = Client(scheduler, timeout="10s", set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise UserError(f"no dask scheduler answers at {scheduler}: {error}") from error
    with client:
        if not client.nthreads():  # type: ignore[no-untyped-call]
            log.warning("the dask scheduler at %s has no workers yet; waiting for them", scheduler)
        yield client


@contextmanager
def slurm_jobs(count: int) -> Iterator[str]:
    """A scheduler in this process, with jobs of Slurm as its workers until the block ends.

    What a job is (queue, account, time, cores, memory, further lines) says dask's configuration in
    its section ``jobqueue.slurm``, as dask-jobqueue documents it.

    Args:
        count: Number of jobs.

    Yields:
        The address of the scheduler.

    Raises:
        UserError: dask-jobqueue or Slurm is not installed, or the configuration does not suffice.

    """
    if find_spec("dask_jobqueue") is None:
        raise UserError("slurm needs dask-jobqueue: pip install 'usrdu[slurm]'")
    if shutil.which("sbatch") is None:
        raise UserError("slurm needs sbatch, and this machine has none; call it on a login node")
    from dask_jobqueue.slurm import SLURMCluster  # its import sets its configuration

    unset = [key for key in ("cores", "memory") if not dask.config.get(f"jobqueue.slurm.{key}")]
    if unset:
        raise UserError(
            f"a job of Slurm needs {' and '.join(unset)} in dask's configuration, such as "
            "DASK_JOBQUEUE__SLURM__CORES=4 and DASK_JOBQUEUE__SLURM__MEMORY=16GB in the environment"
        )
    with SLURMCluster() as cluster:
        log.info("jobs of Slurm, %d of this script:\n%s", count, cluster.job_script())
        cluster.scale(jobs=count)
        yield str(cluster.scheduler_address)


@contextmanager
def reported(scheduler: str | None, report: Path) -> Iterator[Client]:
    """Connect to a scheduler, and write dask's performance report when the block ends well.

    Args:
        scheduler: Its address; None: one in this process, with as many threads as dask would take.
        report: The HTML file, of the task stream, the profile and the memory of the workers.

    Yields:
        The client.

    Raises:
        UserError: Bokeh, which draws it, is not installed; no scheduler answers; or the file cannot
            be written.

    """
    if find_spec("bokeh") is None:
        raise UserError(
            f"{report}: a report needs bokeh; install usrdu with its extra: usrdu[report]"
        )
    report.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        partial = stack.enter_context(whole(report))
        if scheduler is None:
            local = stack.enter_context(_threads())
            scheduler = str(local.scheduler_address)
        client = stack.enter_context(connected(scheduler))
        stack.enter_context(client.as_current())
        inline = performance_report(str(partial), mode="inline")  # type: ignore[no-untyped-call]
        stack.enter_context(inline)
        yield client


def _threads() -> LocalCluster:
    """A cluster in this process, of as many threads as dask's own scheduler would take."""
    return LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=1,
        threads_per_worker=dask.config.get("num_workers", None) or CPU_COUNT,
        processes=False,
        dashboard_address=None,
        memory_limit=0,
    )


def map_on_workers(
    client: Client, function: Callable[[Item], Result], items: Sequence[Item]
) -> Iterator[Result]:
    """Call a function on the workers, once for every item.

    If the caller stops early or a call fails, calls that no worker has begun are cancelled, and the
    running calls are waited for.  If a worker dies, dask gives its calls to another worker.

    Args:
        client: See ``connected``.
        function: Importable on the workers; sent to them by pickle, as are items and results.
        items: Its arguments.

    Yields:
        The results, in the order in which they are complete.

    Raises:
        UserError: A call raised it; the worker's address is added.  Or several workers died while
            they worked on the same item.
        Exception: A call raised it.

    """
    futures: list[Any] = client.map(ErrorsNameWorker(function), items, pure=False)
    try:
        for future in as_completed(futures, loop=client.loop):  # type: ignore[no-untyped-call]
            yield future.result()
    except KilledWorker as error:
        raise UserError(f"dask workers died, perhaps for lack of memory: {error}") from error
    finally:
        _settle(client, [future for future in futures if not future.done()])


def _settle(client: Client, futures: Sequence[Any]) -> None:
    """Cancel the calls that no worker has begun, and wait for the others."""
    begun = {key for keys in client.processing().values() for key in keys}  # type: ignore[no-untyped-call]
    client.cancel([future for future in futures if future.key not in begun])  # type: ignore[no-untyped-call]
    for future in futures:
        if future.key in begun:
            future.exception()


@dataclass(frozen=True)
class ErrorsNameWorker:
    """A function whose ``UserError`` names the worker that raised it."""

    function: Callable[[Any], Any]

    def __call__(self, item: Any) -> Any:
        try:
            return self.function(item)
        except UserError as error:
            address = get_worker().address
            raise UserError(f"worker {address}: {error}") from error
