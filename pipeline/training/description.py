"""The description of a training run, and the interfaces of its data and its trainer."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from accelerate import Accelerator
from torch import Tensor

from pipeline.base.files import make_folder
from pipeline.crops.schedule import Schedule
from pipeline.training.checkpoints import Stateful
from pipeline.training.precision import Precision


class Results(NamedTuple):
    """Files that a training writes."""

    weights: Path
    """The trained network, safetensors."""
    sheet: Path
    """Pictures of the same crops, PNG."""
    curves: Path
    """Terms and scores over the steps, CSV."""


@dataclass(frozen=True)
class Places:
    """Where a training reads and writes."""

    out: Path
    """Folder of the results."""
    work: Path
    """Folder for checkpoints and kept results; each run has a folder of its own in it."""
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
        return Results(self.out / weights, self.out / "contact_sheet.png", self.out / "curves.csv")


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

    def contact_sheet(self, path: Path) -> None:
        """Write pictures of crops, the same crops at every call."""

    def finish(self, weights: Path) -> Mapping[str, object]:
        """Write the weights after the last step; returns metrics beside those of the curves."""
