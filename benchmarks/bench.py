"""What every row is given."""

from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.data import Data
from benchmarks.sizes import Size


@dataclass(frozen=True)
class Bench:
    """The size, the place, and how often."""

    size: Size
    device: torch.device
    rounds: int
    data: Data
    scratch: Path
    """A folder that is removed at the end."""
    repository: Path | None
    """One in which ``dvc repro`` has run, or None: a clone is made, and run once."""

    @property
    def few(self) -> int:
        """Rounds of whole processes, which are slow and steady."""
        return max(self.rounds // 2, 1)
