"""Loggers: read back, a resumed log is that of a straight run, and DVC and Git notice nothing."""

import csv
import logging
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from accelerate import Accelerator
from conftest import dsn_settings, srn_settings
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_loop import CHECKPOINT, LOG, STEPS, Held, KilledError, Toy

from pipeline.base.errors import UserError
from pipeline.crops.memory import LoggerKind, MachineSettings
from pipeline.images.io import write_png
from pipeline.runs import loggers
from pipeline.runs.description import Places, Training
from pipeline.runs.loggers import LogPlace, require_logger
from pipeline.runs.loop import TrainingLoop
from pipeline.train_dsn.train import train_dsn
from pipeline.train_srn.train import SrnMaterial, train_srn

Values = dict[str, list[tuple[int, float]]]
"""By name, what was logged at every step."""
KINDS: list[LoggerKind] = ["tensorboard", "dvclive"]


def grey(step: int, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, np.full((3, 4, 6), step, np.uint8))


def train(folder: Path, kind: LoggerKind, kill: int | None = None) -> TrainingLoop:
    """Like a run of a training; a kill leaves all that was logged until then."""
    place = LogPlace(kind, folder / "logs", "toy/one")
    training = Training("toy", folder / "work", STEPS, LOG, CHECKPOINT, log=place)
    toy = Toy()
    loop = TrainingLoop(training, toy.parts(), Accelerator(), Held())
    try:
        for step in loop:
            if step == kill:
                raise KilledError
            scores = {"score": None if step % 3 else float(step)}
            loop.record(step, toy.step(step), scores)
            if loop.shows(step):
                loop.show(step, {"sheet.png": lambda path, step=step: grey(step, path)})  # type: ignore[misc]
    except KilledError:
        pass
    finally:
        loop.close()  # what is not flushed at a checkpoint is on the disk as well
    return loop


def read(folder: Path, kind: LoggerKind) -> Values:
    """The log, by the means of those who read it."""
    log = folder / "logs" / "toy" / "one"
    if kind == "tensorboard":
        events = EventAccumulator(str(log)).Reload()
        names = events.Tags()["scalars"]
        return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in names}
    found: Values = {}
    for path in log.glob("plots/metrics/*/*.tsv"):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        values = [(int(row["step"]), float(row[path.stem])) for row in rows]
        found[f"{path.parent.name}/{path.stem}"] = values
    return found


def lasting(values: Values) -> Values:
    """What does not depend on the speed of the machine."""
    return {name: rows for name, rows in values.items() if not name.startswith("speed/")}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_logged(kind: LoggerKind, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    loop = train(tmp_path, kind)
    found = read(tmp_path, kind)
    names = {"loss", "twice", "score"}
    assert found.keys() == {
        *(f"curves/{name}" for name in names),
        "rates/optimiser",
        "speed/data_wait",
        "speed/steps_per_second",
    }
    for name in names:
        expected = {r["step"]: r[name] for r in loop.curves if r[name] is not None}
        assert len(found[f"curves/{name}"]) == len(expected)
        assert dict(found[f"curves/{name}"]) == pytest.approx(expected, rel=1e-6), name
    steps = [int(row["step"] or 0) for row in loop.curves]
    assert [step for step, _ in found["curves/loss"]] == steps == [2, 4, 6, 8, 10, 11]
    assert dict(found["rates/optimiser"]) == pytest.approx(dict.fromkeys(steps, 0.05))
    assert all(value > 0 for _, value in found["speed/steps_per_second"])
    (told,) = [line for line in caplog.messages if "logs into" in line]
    command = {"tensorboard": "tensorboard --logdir", "dvclive": "dvc plots show -x step"}[kind]
    assert f"{kind} logs into {tmp_path / 'logs/toy/one'}; to see it: {command}" in told


def test_pictures_are_logged(tmp_path: Path) -> None:
    """At every checkpoint and at the end; DVCLive keeps the last."""
    train(tmp_path, "tensorboard")
    events = EventAccumulator(str(tmp_path / "logs/toy/one"), {"images": 0}).Reload()
    pictures = events.Images("sheet")
    assert [picture.step for picture in pictures] == [3, 6, 9, 11]
    assert [(one.height, one.width) for one in pictures] == [(4, 6)] * 4
    train(tmp_path / "b", "dvclive")
    kept = tmp_path / "b/logs/toy/one/plots/images/sheet.png"
    assert kept.is_file()


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_log_is_that_of_a_straight_run(kind: LoggerKind, tmp_path: Path) -> None:
    """Killed before the first checkpoint, and after steps that are made again."""
    train(tmp_path / "straight", kind)
    for kill in (2, 8, None):
        loop = train(tmp_path / "killed", kind, kill)
        time.sleep(1.1 if kind == "tensorboard" else 0)  # its files are sorted by the second
    assert loop.first_step == 6
    straight, killed = (lasting(read(tmp_path / name, kind)) for name in ("straight", "killed"))
    assert killed == straight
    speed = read(tmp_path / "killed", kind)["speed/data_wait"]
    assert [step for step, _ in speed] == [2, 4, 6, 8, 10, 11]


@pytest.mark.parametrize("kind", KINDS)
def test_steps_without_a_logger_are_filled_in(kind: LoggerKind, tmp_path: Path) -> None:
    train(tmp_path / "straight", kind)
    for number, (kill, used) in enumerate([(4, kind), (7, "none"), (None, kind)]):
        time.sleep(1.1 if kind == "tensorboard" and number == 2 else 0)
        train(tmp_path / "switched", used, kill)
    straight, found = (read(tmp_path / name, kind) for name in ("straight", "switched"))
    for name in ("curves/loss", "curves/twice", "curves/score"):
        assert found[name] == straight[name]


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_says_of_no_step_that_is_not_in_the_log(
    kind: LoggerKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a kill -9 right after it leaves no gap."""
    seen: list[list[int]] = []

    def saved(*_: object) -> None:
        seen.append([step for step, _ in read(tmp_path, kind)["curves/loss"]])

    monkeypatch.setattr("pipeline.runs.loop.save_state", saved)
    train(tmp_path, kind)
    assert seen == [[2], [2, 4, 6], [2, 4, 6, 8], [2, 4, 6, 8, 10, 11]]


def test_dvclive_leaves_git_and_dvc_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in an experiment of DVC, in which ``Live.end`` would add its folder to Git."""
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    with Repo.init(str(tmp_path)):
        pass
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "all"], check=True)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "0" * 40)
    train(tmp_path / "data", "dvclive")
    status = subprocess.run(
        [*git, "status", "--porcelain"], check=True, capture_output=True, text=True
    )
    assert status.stdout == "?? data/\n"
    assert not [*tmp_path.rglob("dvc.yaml"), *(tmp_path / "data").rglob(".gitignore")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_logger_that_is_not_installed(
    kind: LoggerKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence with the command, before any work."""
    require_logger("none")
    require_logger(kind)
    monkeypatch.setattr(loggers, "find_spec", lambda _: None)
    require_logger("none")
    machine, places = MachineSettings(logger=kind), Places(tmp_path / "out", tmp_path / "work")
    wanted = rf"^machine.logger is {kind}, and .* pip install 'usrdu\[{kind}\]', or set it to none$"
    with pytest.raises(UserError, match=wanted):
        train_srn(SrnMaterial(), "mine", None, srn_settings(), machine, places)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=wanted):
        train_dsn(None, dsn_settings(), machine, places)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
