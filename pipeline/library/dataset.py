"""Samples of the degradation as a data set of PyTorch, for trainers that know nothing of maps."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from pipeline.base.errors import UserError
from pipeline.crops.batches import Demand
from pipeline.crops.memory import MachineSettings, Memory, allowed
from pipeline.library.stream import PLAIN, RAW, sample_stream
from pipeline.sampling.sampler import Draw
from pipeline.train_srn.streams import Pair, SampleStream

MOST_WORKERS = 1024
"""Largest number of workers of one DataLoader."""
SEEDS = 1_000_003
"""Distance of the seeds of passes with different numbers of workers."""


@dataclass(frozen=True)
class _Worker:
    """One of the processes in which a DataLoader iterates over a data set."""

    number: int
    count: int

    @classmethod
    def current(cls) -> "_Worker | None":
        """None outside of a worker."""
        info = get_worker_info()
        return None if info is None else cls(info.id, info.num_workers)


class SampleDataset(IterableDataset[Pair]):
    """Pairs of an LR and an HR crop, LR freshly drawn from mean and theta; for a ``DataLoader``.

    Every pass over it gives ``crops_per_image`` crops of every image; crops and noise are drawn
    anew in every pass.  The workers of a DataLoader share the crops of a pass, so that none comes
    twice.  The content of a pass depends on the seed, its number and the number of workers alone.
    Of several processes that train together each takes its own part: ``Demand(shares=PROCESSES,
    own=(NUMBER,))``.

    An item is a ``Pair`` of ``lr`` (3, S, S) and ``hr`` (3, scale S, scale S), float32 in [0, 1];
    LR samples reach beyond it unless they are calibrated.  The DataLoader sets the batch size.

    Args:
        hr: Store of kind hr.
        maps: Store of kind maps, exported from that HR store.
        patch: S, side of an LR crop in pixels.
        draw: Source of the noise, see ``sample_stream``.
        calibration: File of the calibrate stage, for ``Draw("calibrated")``.
        demand: How many crops; ``batch_size`` are drawn at a time.  Workers share its memory.

    Raises:
        UserError: See ``sample_stream``; or, in a worker, the device is not the CPU.
        ValueError: The patch is not positive.

    """

    def __init__(
        self,
        hr: Path | str,
        maps: Path | str,
        patch: int,
        draw: Draw = RAW,
        calibration: Path | str | None = None,
        demand: Demand = PLAIN,
    ) -> None:
        self.hr, self.maps, self.patch = hr, maps, patch
        self.draw, self.calibration, self.demand = draw, calibration, demand
        self._epochs = _shared(torch.zeros(MOST_WORKERS, MOST_WORKERS, dtype=torch.int32))
        """Number of the next pass, by the number of workers and the worker, in shared memory.

        Each number of workers has passes of its own, so that all workers of a pass agree."""
        with self._open(demand):  # so that errors are raised here, not in a worker
            pass

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._epochs = _shared(self._epochs)  # a copy is in memory of its own

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next pass, from 0; for a training that is resumed.

        Raises:
            ValueError: It is negative.

        """
        if epoch < 0:
            raise ValueError(f"epoch must not be negative, got {epoch}")
        self._epochs.fill_(epoch)

    def __iter__(self) -> Iterator[Pair]:
        """Begin a pass; its threads end with it."""
        worker = _Worker.current()
        if worker is None:
            return self._pass(self._next(_Worker(0, 1)), self.demand)
        demand = replace(self.demand, seed=self.demand.seed + SEEDS * (worker.count - 1))
        return self._pass(self._next(worker), _part(demand, worker))

    def _next(self, worker: _Worker) -> int:
        """Number of the pass that a worker begins, among those with as many workers."""
        epoch = int(self._epochs[worker.count - 1, worker.number])
        self._epochs[worker.count - 1, worker.number] = epoch + 1
        return epoch

    def _pass(self, epoch: int, demand: Demand) -> Iterator[Pair]:
        """Crops of an epoch that lie in the shares of the demand, in order."""
        with self._open(demand) as stream:
            schedule = stream.schedule
            first = epoch * schedule.crops_per_epoch
            end = first + schedule.crops_per_epoch
            for step in range(first // schedule.batch_size, -(-end // schedule.batch_size)):
                for share in demand.own:
                    start = step * schedule.batch_size + share * demand.batch_size
                    inside = range(max(first - start, 0), min(end - start, demand.batch_size))
                    if inside:
                        lr, hr = stream.batch(step, share)
                        yield from (Pair(lr[place], hr[place]) for place in inside)

    def _open(self, demand: Demand) -> SampleStream:
        return sample_stream(self.hr, self.maps, self.patch, self.draw, self.calibration, demand)


def _shared(numbers: Tensor) -> Tensor:
    """The same numbers, in memory that forked and spawned processes see."""
    return numbers.share_memory_()  # type: ignore[no-untyped-call, no-any-return]


def _part(demand: Demand, worker: _Worker) -> Demand:
    """A worker's part of the demand of its process: each share is divided among the workers.

    Raises:
        UserError: The device is not the CPU.

    """
    if demand.device.type != "cpu":
        raise UserError(
            f"a worker of a DataLoader cannot draw on {demand.device}; let Demand name the CPU, or "
            "set num_workers to 0"
        )
    room, count = demand.memory, worker.count
    memory = allowed(MachineSettings(), demand.device, count)
    return replace(
        demand,
        shares=demand.shares * count,
        own=tuple(share * count + worker.number for share in demand.own),
        memory=memory if room is None else Memory(room.device // count, room.host // count),
    )
