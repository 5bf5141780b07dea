"""What each of two processes does for ``test_processes``; started by torchrun, not by pytest.

Arguments: what to do, the folder of the stores, and the folder for everything that is written.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from conftest import MACHINE, compact, dsn_settings, srn_settings
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.runs.description import Places
from pipeline.stores.reader import Store
from pipeline.train_dsn.losses import DsnLoss
from pipeline.train_dsn.settings import TrainDsnSettings
from pipeline.train_dsn.train import DsnMaterial, train_dsn
from pipeline.train_srn.settings import TrainSrnSettings
from pipeline.train_srn.train import SrnMaterial, SrnTrainer, train_srn
from pipeline.training.learner import leave

RANK = int(os.environ.get("RANK", "-1"))
SRN: dict[str, dict[str, object]] = {
    "doubled": {"theta": "none"},
    "noise": {"theta": "raw", "clip_gradient": 0.05},
    "shares": {"theta": "raw", "accumulate": 2, "batch_size": 1},
    "validated": {"theta": "none", "validate_every": 2, "keep": "best"},
}
"""Trainings of two processes, by name."""
DSN: dict[str, dict[str, object]] = {
    "mean": {},
    "sample": {"adversarial_on": "sample"},
    "in turn": {"discriminator_first": True, "epoch_over": "lr", "epochs": 3, "accumulate": 2},
}
"""The same."""


def run_srn(stores: Path, folder: Path, settings: TrainSrnSettings) -> dict[str, object] | None:
    """One whole training."""
    material = SrnMaterial(
        Store(stores / "hr.zarr", "hr"),
        Store(stores / "maps.zarr", "maps"),
        val=Store(stores / "val.zarr", "val"),
    )
    places = Places(folder / "out", folder / "work")
    return train_srn(material, "mine", compact(), settings, MACHINE, places)


def run_dsn(stores: Path, folder: Path, settings: TrainDsnSettings) -> dict[str, object] | None:
    """One whole training."""
    material = DsnMaterial(Store(stores / "hr.zarr", "hr"), Store(stores / "lr.zarr", "lr"))
    return train_dsn(material, settings, MACHINE, Places(folder / "out", folder / "work"))


def at_step(number: int, happens: Callable[[], object]) -> Callable[[], None]:
    """Let something happen before a step of the SRN training; returns how to stop that."""
    step = SrnTrainer.step

    def watched(self: SrnTrainer, now: int) -> dict[str, Tensor]:
        if now == number:
            happens()
        return step(self, now)

    SrnTrainer.step = watched  # type: ignore[method-assign,assignment]
    return lambda: setattr(SrnTrainer, "step", step)


def trainings(stores: Path, folder: Path) -> None:
    """All of them; notes what came back, and which files appeared."""
    written: list[str] = []
    rename = Path.replace

    def noted(self: Path, target: Path) -> Path:
        written.append(str(target.relative_to(folder)))
        return rename(self, target)

    Path.replace = noted  # type: ignore[assignment,method-assign]
    results: dict[str, Any] = {}
    for name, changes in SRN.items():
        results[name] = run_srn(stores, folder / name, srn_settings(**changes))
    for name, changes in DSN.items():
        results[name] = run_dsn(stores, folder / name, dsn_settings(**changes))

    def interrupt() -> None:
        raise KeyboardInterrupt

    again = srn_settings(**SRN["doubled"])
    undo = at_step(2, interrupt)
    try:
        run_srn(stores, folder / "again", again)
    except KeyboardInterrupt:
        undo()
    made: list[int] = []
    undo = at_step(2, lambda: made.append(2))
    results["again"] = run_srn(stores, folder / "again", again)
    undo()
    results["made"] = made

    if RANK == 1:
        content = DsnLoss.content
        DsnLoss.content = lambda *given: content(*given) * float("nan")  # type: ignore[method-assign]
    try:
        run_dsn(stores, folder / "nan", dsn_settings())
    except UserError as error:
        results["error"] = str(error)
    (folder / f"results-{RANK}.json").write_text(json.dumps([results, written]))
    leave()


def death(stores: Path, folder: Path) -> None:
    """The other process dies in the middle of a training."""
    if RANK == 1:
        at_step(2, lambda: os._exit(9))
    run_srn(stores, folder / "death", srn_settings(epochs=200))


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"trainings": trainings, "death": death}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
