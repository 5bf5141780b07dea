"""Loggers that show a training while it runs: TensorBoard and DVCLive, both of them optional.

A log is continued by a resumed run, and ends like that of a straight one: what was logged after the
checkpoint is taken back, and what the log lacks, since a part of the run had no logger, is filled
in from the curves of the checkpoint.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Protocol

from pipeline.base.errors import UserError
from pipeline.base.files import make_folder, write_whole
from pipeline.crops.memory import LoggerKind
from pipeline.images.io import read_written_png

Row = Mapping[str, float | None]
"""Values by name; one that is None is not logged."""

LOGGED = "logged_steps"
"""Name of the file in a log's folder that says up to which step the log is on the disk."""


class LogPlace(NamedTuple):
    """Where the log of a run is, and whose it is."""

    kind: LoggerKind
    root: Path
    """Folder of the logs of all runs; no command and no DVC deletes it."""
    run: str
    """Name of the run, a folder in it."""

    @property
    def folder(self) -> Path:
        """Folder of this log."""
        return self.root / self.run

    @property
    def opened_by(self) -> str:
        """What shows the log."""
        if self.kind == "tensorboard":
            return f"tensorboard --logdir {self.root}"
        return f"dvc plots show -x step {self.folder / 'plots'}"


class Logger(Protocol):
    """What is told of a training while it runs; steps count from 1."""

    def scalars(self, step: int, group: str, values: Row) -> None:
        """Log values after a step, as ``group/name``."""

    def picture(self, step: int, path: Path) -> None:
        """Log a PNG file under its name."""

    def flush(self, step: int) -> None:
        """Put all on the disk; a checkpoint after this step may then be written."""

    def close(self) -> None:
        """End the log."""


class NoLogger:
    """The logger that logs nothing."""

    def scalars(self, step: int, group: str, values: Row) -> None:
        """Do nothing."""

    def picture(self, step: int, path: Path) -> None:
        """Do nothing."""

    def flush(self, step: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class TensorBoardLogger:
    """Event files of TensorBoard.

    Args:
        folder: Folder of the log.
        begin: Steps of an earlier log that stay; later ones are taken back.

    """

    def __init__(self, folder: Path, begin: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder
        self._writer = SummaryWriter(str(folder), purge_step=begin + 1)

    def scalars(self, step: int, group: str, values: Row) -> None:
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def picture(self, step: int, path: Path) -> None:
        self._writer.add_image(path.stem, read_written_png(path), step)

    def flush(self, step: int) -> None:
        self._writer.flush()
        _note(self.folder, step)

    def close(self) -> None:
        self._writer.close()


class DvcLiveLogger:
    """Tables and pictures of DVCLive.

    It writes nothing to Git or DVC, does not watch the machine, and makes no page, which would load
    scripts from the network.  ``Live.end`` is not called: in
    an experiment of DVC it would add the folder to Git.

    Args:
        folder: Folder of the log.
        begin: Steps of an earlier log that stay; later ones are taken back.

    """

    def __init__(self, folder: Path, begin: int) -> None:
        from dvclive.live import Live

        self.folder = folder
        for table in folder.glob("plots/metrics/**/*.tsv"):
            _cut(table, begin)
        self._live = Live(
            str(folder),
            resume=begin > 0,
            report=None,
            save_dvc_exp=False,
            dvcyaml=False,
            cache_images=False,
            monitor_system=False,
        )

    def scalars(self, step: int, group: str, values: Row) -> None:
        self._live.step = step
        for name, value in values.items():
            if value is not None:
                self._live.log_metric(f"{group}/{name}", value)

    def picture(self, step: int, path: Path) -> None:
        """Log a PNG file; its last version is kept."""
        self._live.step = step
        self._live.log_image(path.name, path)

    def flush(self, step: int) -> None:
        self._live.sync()  # type: ignore[no-untyped-call]
        _note(self.folder, step)

    def close(self) -> None:
        self._live.sync()  # type: ignore[no-untyped-call]


LOGGERS: dict[str, Callable[[Path, int], Logger]] = {
    "tensorboard": TensorBoardLogger,
    "dvclive": DvcLiveLogger,
}


def require_logger(kind: LoggerKind) -> None:
    """Check that the package of a logger is installed.

    Raises:
        UserError: It is not.

    """
    if kind != "none" and find_spec(kind) is None:
        raise UserError(
            f"machine.logger is {kind}, and that package is not installed: pip install "
            f"'usrdu[{kind}]', or set it to none"
        )


def open_logger(place: LogPlace, first_step: int, curves: Sequence[Row]) -> Logger:
    """Begin a log, or go on with it.

    Args:
        place: Where it is.
        first_step: Steps that the run has made.
        curves: Their curves, each row with its ``step``.

    Raises:
        UserError: The folder cannot be written.

    """
    if place.kind == "none":
        return NoLogger()
    make_folder(place.folder)
    begin = min(_noted(place.folder), first_step)
    logger = LOGGERS[place.kind](place.folder, begin)
    for row in curves:
        if (step := int(row["step"] or 0)) > begin:
            logger.scalars(step, "curves", {k: v for k, v in row.items() if k != "step"})
    return logger


def _note(folder: Path, step: int) -> None:
    write_whole(folder / LOGGED, str(step).encode())


def _noted(folder: Path) -> int:
    """The step up to which a log is on the disk; 0 if that is not known."""
    try:
        return int((folder / LOGGED).read_text())
    except (OSError, ValueError):
        return 0


def _cut(table: Path, begin: int) -> None:
    """Delete the rows of a table that are of later steps, or were not written as a whole."""
    head, *rows = table.read_text(encoding="utf-8").splitlines(keepends=True)
    column = head.split("\t").index("step")
    kept = [row for row in rows if row.endswith("\n") and int(row.split("\t")[column]) <= begin]
    write_whole(table, "".join([head, *kept]).encode())
