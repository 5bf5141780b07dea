"""The loop around both trainings: progress, curves, checkpoints, and the watch on the losses."""

import csv
import io
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from tqdm import tqdm

from pipeline.checkpoints import Stateful, load_state, save_state, write_whole
from pipeline.errors import UserError

Row = dict[str, float]
Decay = Annotated[float, Field(ge=0, lt=1)]
AdamBetas = Annotated[
    tuple[Decay, Decay], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)
]
"""Adam's two decay rates; a list in the params file."""


class TrainingRun:
    """A training that may be killed at any moment and goes on from its last checkpoint.

    Use: ``for step in run: run.record(step, terms)``.  The checkpoint holds the state of all parts
    and the curves, so that a resumed run ends with the files of a straight one.

    Args:
        name: Name of the stage, for the progress bar and for messages.
        folder: Where the checkpoint and the curves of this very run live; a run with other settings
            or inputs has another folder.
        parts: Networks and optimisers by name.
        total_steps: Length of the run.
        log_every: Steps per row of the curves, each the mean over the interval.
        checkpoint_every: Steps between checkpoints.

    Raises:
        UserError: The checkpoint is damaged.

    """

    def __init__(
        self,
        name: str,
        folder: Path,
        parts: Mapping[str, Stateful],
        total_steps: int,
        log_every: int,
        checkpoint_every: int,
    ) -> None:
        self.name, self.folder, self.parts = name, folder, parts
        self.total_steps, self.log_every = total_steps, log_every
        self.checkpoint_every = checkpoint_every
        self.checkpoint = folder / "checkpoint.pt"
        progress = load_state(self.checkpoint, parts) or {"step": 0, "curves": []}
        self.first_step: int = progress["step"]
        self.curves: list[Row] = progress["curves"]
        self._pending: list[tuple[int, Mapping[str, Tensor]]] = []

    def __iter__(self) -> Iterator[int]:
        """Yield the steps that are left; says where the run's files are."""
        start = f"goes on at step {self.first_step}" if self.first_step else "starts"
        tqdm.write(f"{self.name}: {start}; checkpoint, curves and pictures so far: {self.folder}")
        steps = range(self.first_step, self.total_steps)
        with tqdm(
            steps, self.name, self.total_steps, initial=self.first_step, unit="step", mininterval=1
        ) as bar:
            for step in bar:
                yield step
                last = step + 1 == self.total_steps
                if last or (step + 1) % self.log_every == 0:
                    bar.set_postfix({k: f"{v:.4g}" for k, v in self._log().items() if k != "step"})
                if last or (step + 1) % self.checkpoint_every == 0:
                    self._log()
                    self._require_finite_parts(step)
                    progress = {"step": step + 1, "curves": self.curves}
                    save_state(self.checkpoint, self.parts, progress)

    def record(self, step: int, terms: Mapping[str, Tensor]) -> None:
        """Take the scalar terms of a step; they stay on the device until the interval ends."""
        self._pending.append((step, {name: term.detach() for name, term in terms.items()}))

    def write_curves(self, path: Path) -> None:
        """Write the curves so far as CSV, one row per interval; without any just ``step``."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.curves[0].keys() if self.curves else ["step"])
        writer.writeheader()
        for row in self.curves:
            written: dict[str, object] = {key: f"{value:.6g}" for key, value in row.items()}
            writer.writerow({**written, "step": int(row["step"])})
        write_whole(path, text.getvalue().encode())

    def close(self) -> None:
        """Delete the folder: the results are published, there is nothing to go on with."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _log(self) -> Row:
        if not self._pending:
            return {}
        names = list(self._pending[0][1])
        values = torch.stack(
            [torch.stack([terms[name].float() for name in names]) for _, terms in self._pending]
        ).cpu()
        for (step, _), row in zip(self._pending, values, strict=True):
            for name, value in zip(names, row.tolist(), strict=True):
                if not math.isfinite(value):
                    raise self._diverged(f"the term '{name}' is {value} at step {step}")
        means = values.mean(dim=0).tolist()
        logged: Row = {"step": self._pending[-1][0] + 1, **dict(zip(names, means, strict=True))}
        self.curves.append(logged)
        self._pending.clear()
        self.write_curves(self.folder / "curves.csv")
        return logged

    def _require_finite_parts(self, step: int) -> None:
        """A finite loss can have a gradient that is not; its step must not reach a checkpoint."""
        for name, part in self.parts.items():
            if not all(bool(tensor.isfinite().all()) for tensor in _tensors(part.state_dict())):
                raise self._diverged(f"the state of '{name}' is no longer finite at step {step}")

    def _diverged(self, fault: str) -> UserError:
        kept = (
            f"the checkpoint {self.checkpoint} is kept"
            if self.checkpoint.exists()
            else "there was no checkpoint yet"
        )
        return UserError(f"{self.name}: {fault}; {kept}; a lower learning rate usually helps")


def _tensors(state: Any) -> Iterator[Tensor]:
    """All tensors in nested dicts and lists."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, Mapping):
        for value in state.values():
            yield from _tensors(value)
    elif isinstance(state, list):
        for value in state:
            yield from _tensors(value)


def adam(network: nn.Module, rate: float, betas: tuple[float, float]) -> Adam:
    """The optimiser of a network's parameters."""
    return Adam(network.parameters(), rate, betas)


def set_learning_rate(optimiser: Optimizer, rate: float) -> None:
    """Set the rate of every parameter group."""
    for group in optimiser.param_groups:
        group["lr"] = rate
