"""The loop of both trainings: progress, curves, checkpoints, and a check that losses are finite."""

import csv
import io
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim import Optimizer
from tqdm import tqdm

from pipeline.base.errors import UserError
from pipeline.base.files import claim, write_whole
from pipeline.runs.checkpoints import Stateful, load_state, save_state
from pipeline.runs.description import Data, Training
from pipeline.runs.loggers import Logger, NoLogger, open_logger
from pipeline.stores.weights import named_tensors
from pipeline.training.precision import Format, Precision

log = logging.getLogger(__name__)

CurveRow = dict[str, float | None]
"""A row of the curves: the step, then the mean of every term and score over an interval."""


@dataclass(frozen=True)
class _Step:
    """The outcome of a step, on the device."""

    step: int
    terms: Mapping[str, Tensor]
    scores: Mapping[str, float | None]


@dataclass(frozen=True)
class _Outcome:
    """The outcome of a step, kept until its interval ends."""

    step: int
    terms: dict[str, float]
    """Means over the processes."""
    scores: dict[str, float | None]


class TrainingLoop:
    """The steps of a training; after a kill it goes on from the last checkpoint.

    Use: ``for step in loop: loop.record(step, terms, scores)``.  The checkpoint holds the state of
    all parts, the curves and the interval that has begun, so that a resumed run ends with the files
    of a straight one, however often there is a checkpoint.  Of several processes all make the steps
    and read the checkpoint; the main one alone writes and reports.

    Args:
        training: The run.
        parts: Networks and optimisers by name.
        accelerator: Device and processes.
        data: The data of the steps.

    Raises:
        UserError: A checkpoint is damaged or of other parts, not all processes see it, or one of
            another run has other steps or leaves none to make.

    """

    def __init__(
        self,
        training: Training,
        parts: Mapping[str, Stateful],
        accelerator: Accelerator,
        data: Data,
    ) -> None:
        self.training, self.parts, self.data = training, parts, data
        self.accelerator, self.main = accelerator, accelerator.is_main_process
        self.checkpoint = training.folder / "checkpoint.pt"
        try:
            progress = load_state(self.checkpoint, parts)
        except UserError as error:
            raise UserError(f"{error}; delete it to start the training again") from error
        if progress is None and training.start is not None:
            progress = self._of_another_run(training.start)
        progress = progress or {"step": 0, "curves": [], "interval": []}
        self.first_step: int = progress["step"]
        self.precision: Format | None = progress.get("precision")
        self.curves: list[CurveRow] = progress["curves"]
        self._interval = [_Outcome(**outcome) for outcome in progress["interval"]]
        self._pending: list[_Step] = []
        self.logger: Logger = NoLogger()
        self._shown: CurveRow = {}
        for row in self.curves:
            self._note(row)
        found = self._of_all(torch.tensor([self.first_step])).tolist()
        if len(set(found)) > 1:
            raise UserError(
                f"{self.checkpoint}: the processes would go on at the steps {found}; "
                "their machines must share this folder"
            )

    def _of_another_run(self, start: Path) -> dict[str, Any]:
        """The progress of the checkpoint of another run; the parts get its state.

        Raises:
            UserError: There is none, its steps are not steps of this run, or no step is left.

        """
        progress = load_state(start, self.parts)
        if progress is None:
            raise UserError(f"{start}: there is no such checkpoint")
        if "batch" not in progress:
            raise UserError(f"{start}: is of an older version, and does not say how long a step is")
        theirs, ours = progress["batch"], self._batch()
        if theirs != ours:
            raise UserError(
                f"{start}: its steps take {theirs['crops']} of the {theirs['epoch']} crops of an "
                f"epoch, those of this training {ours['crops']} of {ours['epoch']}; choose images, "
                "crops_per_image, batch_size and accumulate that give the same"
            )
        if progress["step"] >= self.training.steps:
            raise UserError(
                f"{start}: is at step {progress['step']}, and this training ends at step "
                f"{self.training.steps}, so no step is left"
            )
        return progress

    def _batch(self) -> dict[str, int]:
        """What a step is, in crops."""
        schedule = self.data.schedule
        return {"crops": schedule.batch_size, "epoch": schedule.crops_per_epoch}

    def __iter__(self) -> Iterator[int]:
        """Yield the remaining steps.

        The log says where data and files are, and which share of the time the steps wait for data.
        """
        folder, total = self.training.folder, self.training.steps
        lock = claim(folder, folder) if self.main else None
        start = f"goes on at step {self.first_step}" if self.first_step else "starts"
        self._say(f"{start}; checkpoint, curves and pictures so far: {folder}")
        self._say(str(self.data))
        self._open_logger()
        waits, speed = Waits(self.data), Speed(self.first_step)
        with tqdm(
            range(self.first_step, total),
            self.training.name,
            total,
            initial=self.first_step,
            unit="step",
            mininterval=1,
            disable=not self.main,
        ) as bar:
            for step in bar:
                yield step
                waits.note(step)
                last = step + 1 == total
                if last or (step + 1) % self.training.log_every == 0:
                    self._log()
                    bar.set_postfix({**_shown(self._shown), "data wait": f"{waits.latest:.1%}"})
                    self._log_rates(step, {"data_wait": waits.latest, **speed.since(step)})
                if last or (step + 1) % self.training.checkpoint_every == 0:
                    self._save(step)
        if lock is not None:
            lock.release()
        self._say(f"waited for data {waits.whole:.1%} of the time, {waits.most:.1%} in one epoch")

    def _open_logger(self) -> None:
        """Begin the log of the run, or go on with it; only one process has one."""
        place = self.training.log
        if place is None or place.kind == "none" or not self.main:
            return
        self.logger = open_logger(place, self.first_step, self.curves)
        self._say(f"{place.kind} logs into {place.folder}; to see it: {place.opened_by}")

    def _log_rates(self, step: int, speed: Mapping[str, float]) -> None:
        """Log the learning rates and how fast the training is."""
        rates = {
            name: float(part.param_groups[0]["lr"])
            for name, part in self.parts.items()
            if isinstance(part, Optimizer)
        }
        self.logger.scalars(step + 1, "rates", rates)
        self.logger.scalars(step + 1, "speed", speed)

    def shows(self, step: int) -> bool:
        """Whether pictures are drawn after a step: at a checkpoint, and for a log at the end."""
        checkpoint = (step + 1) % self.training.checkpoint_every == 0
        logs = not isinstance(self.logger, NoLogger)
        return checkpoint or (logs and step + 1 == self.training.steps)

    def show(self, step: int, pictures: Mapping[str, Callable[[Path], None]]) -> None:
        """Draw the pictures so far into the folder of the run, and log them."""
        for name, draw in pictures.items():
            path = self.training.folder / name
            draw(path)
            self.logger.picture(step + 1, path)

    def settle(self, precision: Precision) -> None:
        """Take the number format of the checkpoint under ``auto``, or measure which is faster."""
        if sentence := precision.settle(self.precision):
            self._say(sentence)
        self.precision = precision.taken

    def _say(self, sentence: str) -> None:
        if self.main:
            log.info("%s: %s", self.training.name, sentence)

    def record(
        self,
        step: int,
        terms: Mapping[str, Tensor],
        scores: Mapping[str, float | None] | None = None,
    ) -> None:
        """Record the outcome of a step.

        Args:
            step: Its number.
            terms: Scalars by name; they stay on the device until the interval ends.
            scores: The same in all processes; None where there is no score.

        """
        kept = {name: term.detach() for name, term in terms.items()}
        self._pending.append(_Step(step, kept, scores or {}))

    def write_curves(self, path: Path) -> None:
        """Write the curves so far as CSV: a header, then one row per interval."""
        text = io.StringIO(newline="")
        columns = dict.fromkeys(key for row in self.curves for key in row)
        writer = csv.DictWriter(text, columns or ["step", "total"])
        writer.writeheader()
        for row in self.curves:
            writer.writerow({key: _written(key, value) for key, value in row.items()})
        write_whole(path, text.getvalue().encode())

    def close(self) -> None:
        """End the log."""
        self.logger.close()

    def delete(self) -> None:
        """Delete the folder: the results are written, and no run will resume from it."""
        if self.main:
            shutil.rmtree(self.training.folder, ignore_errors=True)
        self.accelerator.wait_for_everyone()

    def _save(self, step: int) -> None:
        """Write the checkpoint after a step."""
        self._fetch()
        self._require_finite_parts(step)
        if self.main:
            interval = [asdict(outcome) for outcome in self._interval]
            progress = {
                "step": step + 1,
                "batch": self._batch(),
                "precision": self.precision,
                "curves": self.curves,
                "interval": interval,
            }
            self.logger.flush(step + 1)
            save_state(self.checkpoint, self.parts, progress)

    def _log(self) -> None:
        """End the interval: a row of the curves is the mean over its steps."""
        self._fetch()
        if not self._interval:
            return
        latest = self._interval[-1]
        alike = [one for one in self._interval if one.terms.keys() == latest.terms.keys()]
        values = torch.tensor([list(one.terms.values()) for one in alike])
        means = values.mean(dim=0).tolist()
        logged: CurveRow = dict(zip(latest.terms, means, strict=True))
        for name in latest.scores:
            logged[name] = _mean([one.scores.get(name) for one in self._interval])
        self.curves.append({"step": latest.step + 1, **logged})
        self._note(logged)
        self._interval.clear()
        self.logger.scalars(latest.step + 1, "curves", logged)
        if self.main:
            self.write_curves(self.training.folder / "curves.csv")

    def _note(self, row: CurveRow) -> None:
        """Keep the latest value of every column for the progress bar."""
        self._shown |= {name: value for name, value in row.items() if value is not None}

    def _fetch(self) -> None:
        """Fetch and check the terms of the steps so far: one transfer from the device."""
        if not self._pending:
            return
        names, device = list(self._pending[0].terms), self.accelerator.device
        own = [[one.terms[name].to(device).float() for name in names] for one in self._pending]
        values = self._of_all(torch.stack([torch.stack(row) for row in own])[None])
        for one, rows in zip(self._pending, values.unbind(1), strict=True):
            for row in rows.tolist():
                for name, value in zip(names, row, strict=True):
                    if not math.isfinite(value):
                        raise self._diverged(f"the term '{name}' is {value} at step {one.step}")
        for one, means in zip(self._pending, values.mean(dim=0).tolist(), strict=True):
            terms = dict(zip(names, means, strict=True))
            self._interval.append(_Outcome(one.step, terms, dict(one.scores)))
        self._pending.clear()

    def _of_all(self, own: Tensor) -> Tensor:
        """Gather a tensor of all processes along the first axis, on the CPU.

        Every process gets the same values, so all processes go on or all of them stop.
        """
        gathered: Tensor = self.accelerator.gather(own.to(self.accelerator.device))
        return gathered.cpu()

    def _require_finite_parts(self, step: int) -> None:
        """Check the state of all parts: a finite loss can have a gradient that is not finite."""
        device = self.accelerator.device
        flags = []
        for part in self.parts.values():
            fine = [
                tensor.isfinite().all().to(device) for _, tensor in named_tensors(part.state_dict())
            ]
            flags.append(torch.stack([*fine, torch.tensor(True, device=device)]).all())
        everywhere = self._of_all(torch.stack(flags).int()[None]).amin(dim=0).tolist()
        for name, fine in zip(self.parts, everywhere, strict=True):
            if not fine:
                raise self._diverged(f"the state of '{name}' is no longer finite at step {step}")

    def _diverged(self, fault: str) -> UserError:
        kept = (
            f"to go on from the last checkpoint, lower the rate and add --start {self.checkpoint}"
            if self.checkpoint.exists()
            else "there was no checkpoint yet; a lower learning rate usually helps"
        )
        return UserError(f"{self.training.name}: {fault}; {kept}")


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are not None."""
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


def _shown(row: CurveRow) -> dict[str, str]:
    """A row of the curves for the progress bar."""
    return {k: f"{v:.4g}" for k, v in row.items() if k != "step" and v is not None}


def _written(key: str, value: float | None) -> str:
    """A cell of the curves; one without a value is empty."""
    if value is None:
        return ""
    return str(int(value)) if key == "step" else f"{value:.6g}"


class Speed:
    """How many steps a training makes in a second.

    Args:
        first_step: The step it starts at.

    """

    def __init__(self, first_step: int) -> None:
        self._since = (first_step - 1, time.perf_counter())

    def since(self, step: int) -> dict[str, float]:
        """Steps per second since the last call, by name."""
        (before, begin), self._since = self._since, (step, time.perf_counter())
        return {"steps_per_second": (step - before) / max(self._since[1] - begin, 1e-9)}


class Waits:
    """Shares of the time that a training waits for data.

    They are measured on the CPU.  A GPU that is still busy with the step before waits less.

    Args:
        data: The data of the steps.

    """

    def __init__(self, data: Data) -> None:
        self.data = data
        self._begin = self._epoch = (time.perf_counter(), data.waited)
        self.latest = 0.0
        """Share in the last complete epoch."""
        self.most = 0.0
        """Largest share of an epoch."""

    @property
    def whole(self) -> float:
        """Share since the start."""
        return self._share(self._begin)

    def note(self, step: int) -> None:
        """Record the end of a step."""
        schedule = self.data.schedule
        if schedule.epoch(step + 1) > schedule.epoch(step):
            self.latest = self._share(self._epoch)
            self.most = max(self.most, self.latest)
            self._epoch = time.perf_counter(), self.data.waited

    def _share(self, since: tuple[float, float]) -> float:
        begin, waited = since
        return (self.data.waited - waited) / max(time.perf_counter() - begin, 1e-9)
