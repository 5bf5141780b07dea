"""The description of a training run, and the interfaces of its data and its trainer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from accelerate import Accelerator
from torch import Tensor

from pipeline.base.files import make_folder
from pipeline.crops.memory import LoggerKind
from pipeline.crops.schedule import Schedule
from pipeline.runs.checkpoints import Stateful
from pipeline.runs.loggers import LogPlace
from pipeline.training.precision import Precision


@dataclass(frozen=True)
class Results:
    """Files that a training writes."""

    weights: Path
    """The trained network, safetensors."""
    curves: Path
    """Terms and scores over the steps, CSV."""
    pictures: Path
    """Folder of the pictures, which ``Trainer.pictures`` names."""


@dataclass(frozen=True)
class Places:
    """Where a training reads and writes."""

    out: Path
    """Folder of the results."""
    work: Path
    """Folder for checkpoints and kept results; each run has a folder of its own in it.  Loggers
    write to the folder ``logs`` beside it."""
    start: Path | None = None
    """Checkpoint of another run of the same networks to go on from, after a divergence."""

    def results(self, weights: str) -> Results:
        """The files in the folder of the results, which is made.

        Args:
            weights: Name of the file of weights.

        Raises:
            UserError: The folder cannot be made.

        """
        make_folder(self.out)
        return Results(self.out / weights, self.out / "curves.csv", self.out)

    def log(self, kind: LoggerKind, name: str, key: str) -> LogPlace:
        """Where a run is logged.

        Args:
            kind: The logger.
            name: Name of the stage and network.
            key: The run's own name.

        """
        return LogPlace(kind, self.work.parent / "logs", f"{name}/{key}")


@dataclass(frozen=True)
class Training:
    """A run of a training."""

    name: str
    """Name of the stage, for the progress bar and for messages."""
    folder: Path
    """Folder of the checkpoint and the curves of this run; a run with other settings or inputs has
    another folder."""
    steps: int
    """Length of the run."""
    log_every: int
    """Steps per row of the curves, each the mean over the interval."""
    checkpoint_every: int
    """Steps between checkpoints and contact sheets."""
    start: Path | None = None
    """Checkpoint of another run of the same parts to go on from, if this one has none."""
    log: LogPlace | None = None
    """Where the run is logged; None: nowhere."""


class Data(Protocol):
    """The data of a training; ``str`` of it says where the images are held."""

    @property
    def schedule(self) -> Schedule:
        """Which images make the batch of a step; the rate is halved by its epochs."""

    @property
    def waited(self) -> float:
        """Seconds that the steps have waited for data so far."""

    def close(self) -> None:
        """End its threads."""


class Trainer(Protocol):
    """The networks of a training, and one step of it."""

    @property
    def accelerator(self) -> Accelerator:
        """Device and processes."""

    @property
    def precision(self) -> Precision:
        """Number format of the networks."""

    @property
    def data(self) -> Data:
        """The data of the steps."""

    @property
    def parts(self) -> Mapping[str, Stateful]:
        """The content of a checkpoint by name: networks, optimisers and other state."""

    def step(self, step: int) -> Mapping[str, Tensor]:
        """Train for one step; returns scalar terms by name, on the device."""

    def score(self, step: int) -> Mapping[str, float | None]:
        """The latest scores of the networks after a step; None where a score is unknown."""

    @property
    def pictures(self) -> Mapping[str, Callable[[Path], None]]:
        """What draws a picture as PNG, by the name of the file; the same crops at every call."""

    def finish(self, weights: Path) -> Mapping[str, object]:
        """Write the weights after the last step; returns metrics beside those of the curves."""
