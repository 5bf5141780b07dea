"""The loop: killed anywhere it ends as if it had not been, and nothing broken is kept."""

import csv
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from conftest import read_rows
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim import Adam

from pipeline.base.errors import UserError
from pipeline.base.files import claim
from pipeline.base.seeding import generator
from pipeline.crops.schedule import BatchShape, Schedule
from pipeline.optimisation.optimisers import set_learning_rate
from pipeline.runs.checkpoints import Stateful, save_state
from pipeline.runs.description import Training
from pipeline.runs.loop import TrainingLoop, Waits

STEPS, LOG, CHECKPOINT = 11, 2, 3


class KilledError(Exception):
    """Stands for kill -9: nothing of the run is used after it."""


class Held:
    """Data that say where they are, of 4 steps an epoch."""

    def __init__(self, batch: int = 1, crops_per_image: int = 1) -> None:
        self.schedule = Schedule(4, crops_per_image, BatchShape(batch), 0, "toy")
        self.waited = 0.0

    def __str__(self) -> str:
        return "four images, in mind"

    def close(self) -> None:
        """It has no threads."""


class Toy:
    """A network with buffers, Adam, and steps that depend on their number."""

    def __init__(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.last = nn.Linear(8, 1)
            self.network = nn.Sequential(spectral_norm(nn.Linear(4, 8)), nn.ELU(), self.last)
        self.optimiser = Adam(self.network.parameters(), 0.05)

    def parts(self) -> dict[str, Stateful]:
        return {"network": self.network, "optimiser": self.optimiser}

    def step(self, step: int) -> dict[str, Tensor]:
        x = torch.randn(16, 4, generator=generator(0, "toy", step))
        loss = (self.network(x)[:, 0] - x.sum(1)).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss, "twice": 2 * loss}

    def bits(self) -> list[bytes]:
        return [value.numpy().tobytes() for value in self.network.state_dict().values()]


def begin(
    folder: Path,
    toy: Toy,
    steps: int = STEPS,
    checkpoint: int = CHECKPOINT,
    start: Path | None = None,
    held: Held | None = None,
) -> TrainingLoop:
    training = Training("toy", folder, steps, LOG, checkpoint, start)
    return TrainingLoop(training, toy.parts(), Accelerator(), held or Held())


def train(
    folder: Path, curves: Path, die: Callable[[int], bool] = lambda _: False
) -> tuple[list[bytes], list[int]]:
    """One process: the network at its end and the steps it made; ``die`` says before which."""
    toy, made = Toy(), []
    run = begin(folder, toy)
    for step in run:
        if die(step):
            raise KilledError
        terms = toy.step(step)
        made.append(step)
        run.record(step, terms)
    run.write_curves(curves)
    return toy.bits(), made


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], str]:
    folder = tmp_path_factory.mktemp("straight")
    network, made = train(folder / "work", folder / "curves.csv")
    assert made == list(range(STEPS))
    return network, (folder / "curves.csv").read_text()


@pytest.mark.parametrize("kill", range(STEPS))
def test_killed_before_any_step(
    kill: int, straight: tuple[list[bytes], str], tmp_path: Path
) -> None:
    work, curves = tmp_path / "work", tmp_path / "curves.csv"
    with pytest.raises(KilledError):
        train(work, curves, lambda step: step == kill)
    assert not curves.exists()
    network, made = train(work, curves)
    assert made == list(range(kill // CHECKPOINT * CHECKPOINT, STEPS))
    assert network == straight[0]
    assert curves.read_text() == straight[1]


def test_killed_again_and_again(straight: tuple[list[bytes], str], tmp_path: Path) -> None:
    work, curves = tmp_path / "work", tmp_path / "curves.csv"
    for kill in (2, 4, 5, 8, 10):
        with pytest.raises(KilledError):
            train(work, curves, lambda step, kill=kill: step == kill)  # type: ignore[misc]
    network, made = train(work, curves)
    assert made == [9, 10]
    assert network == straight[0]
    assert curves.read_text() == straight[1]


def test_a_run_says_where_it_begins_and_where_its_files_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    with pytest.raises(KilledError):
        train(tmp_path / "work", tmp_path / "curves.csv", lambda step: step == 7)
    train(tmp_path / "work", tmp_path / "curves.csv")
    first, second = (line for line in caplog.messages if "checkpoint, curves" in line)
    assert "toy: starts" in first and "toy: goes on at step 6" in second
    assert str(tmp_path / "work") in first and str(tmp_path / "work") in second


def test_killed_after_the_last_step(straight: tuple[list[bytes], str], tmp_path: Path) -> None:
    """All steps are made, but the results were not published: nothing is trained again."""
    train(tmp_path / "work", tmp_path / "lost.csv")
    network, made = train(tmp_path / "work", tmp_path / "curves.csv")
    assert made == []
    assert network == straight[0]
    assert (tmp_path / "curves.csv").read_text() == straight[1]


def test_killed_while_the_checkpoint_is_written(
    straight: tuple[list[bytes], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, curves = tmp_path / "work", tmp_path / "curves.csv"
    rename = Path.replace
    renamed: list[Path] = []

    def dying(self: Path, target: Path) -> Path:
        renamed.append(target)
        if [path.name for path in renamed].count("checkpoint.pt") == 2:
            raise KilledError
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        with pytest.raises(KilledError):
            train(work, curves)
    network, made = train(work, curves)
    assert made == list(range(3, STEPS))
    assert network == straight[0] and curves.read_text() == straight[1]


# --- curves


def test_curves_are_means_over_the_interval(tmp_path: Path) -> None:
    """Rows end at every second step, and at the end; not at a checkpoint."""
    toy = Toy()
    run = begin(tmp_path / "work", toy)
    terms = np.random.default_rng(0).normal(size=(STEPS, 2))
    for step in run:
        run.record(step, {"a": torch.tensor(terms[step, 0]), "b": torch.tensor(terms[step, 1])})
    ends = [2, 4, 6, 8, 10, 11]
    expected = [
        {"step": end, "a": part[:, 0].mean(), "b": part[:, 1].mean()}
        for start, end in zip([0, *ends], ends, strict=False)
        for part in [terms[start:end]]
    ]
    assert [list(row) for row in run.curves] == [["step", "a", "b"]] * len(ends)
    for row, wanted in zip(run.curves, expected, strict=True):
        assert row == pytest.approx(wanted, rel=1e-6)
    run.write_curves(tmp_path / "curves.csv")
    text = (tmp_path / "curves.csv").read_text()
    assert text == (tmp_path / "work" / "curves.csv").read_text()
    for written, wanted in zip(csv.DictReader(text.splitlines()), expected, strict=True):
        assert {key: float(value) for key, value in written.items()} == pytest.approx(
            wanted, rel=1e-5
        )


@pytest.mark.parametrize("often", [1, 2, 4, 5, 1000])
def test_the_checkpoints_change_no_curve(
    often: int, straight: tuple[list[bytes], str], tmp_path: Path
) -> None:
    """Killed in the middle of an interval, and gone on with, with other checkpoints."""
    work, curves = tmp_path / "work", tmp_path / "curves.csv"
    for kill, checkpoint in ((9, often), (STEPS, CHECKPOINT)):
        toy = Toy()
        run = begin(work, toy, checkpoint=checkpoint)
        for step in run:
            if step == kill:
                break
            run.record(step, toy.step(step), {"score": None if step % 3 else step})
        run.write_curves(curves)
    rows = read_rows(curves)
    assert [(row["step"], row["score"]) for row in rows] == [
        ("2", "0"), ("4", "3"), ("6", ""), ("8", "6"), ("10", "9"), ("11", ""),
    ]  # fmt: skip
    assert [{k: v for k, v in row.items() if k != "score"} for row in rows] == list(
        csv.DictReader(straight[1].splitlines())
    )
    assert toy.bits() == straight[0]


def test_terms_of_half_precision_and_with_gradients(tmp_path: Path) -> None:
    run = begin(tmp_path / "work", Toy(), steps=2)
    for step in run:
        half = torch.tensor(1.5, dtype=torch.bfloat16, requires_grad=True)
        run.record(step, {"half": half, "whole": torch.tensor(0.25)})
    assert run.curves == [{"step": 2, "half": 1.5, "whole": 0.25}]


def test_steps_beyond_a_million_are_written_in_full(tmp_path: Path) -> None:
    run = begin(tmp_path / "work", Toy())
    run.curves = [{"step": 1_234_567, "loss": 0.123456789}]
    run.write_curves(tmp_path / "curves.csv")
    assert read_rows(tmp_path / "curves.csv") == [{"step": "1234567", "loss": "0.123457"}]


def test_processes_that_do_not_see_one_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if another machine, without this folder, began afresh."""
    train(tmp_path / "work", tmp_path / "curves.csv")
    monkeypatch.setattr(Accelerator, "gather", lambda _, own: torch.cat([own, 0 * own]))
    with pytest.raises(UserError, match=r"would go on at the steps \[11, 0\]; their machines must"):
        begin(tmp_path / "work", Toy())


def test_the_folder_goes_when_the_run_is_closed(tmp_path: Path) -> None:
    toy = Toy()
    run = begin(tmp_path / "work" / "this", toy)
    (tmp_path / "work" / "other").mkdir(parents=True)
    for step in run:
        run.record(step, toy.step(step))
    assert (tmp_path / "work" / "this" / "checkpoint.pt").is_file()
    run.delete()
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["other"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    toy = Toy()
    run = begin(tmp_path / "file" / "work", toy)
    with pytest.raises(UserError, match="cannot be written"):  # noqa: PT012
        for step in run:
            run.record(step, toy.step(step))


def test_two_processes_with_the_same_run(tmp_path: Path) -> None:
    lock = claim(tmp_path / "work", tmp_path / "work")
    with pytest.raises(UserError, match="another process is at work on it"):
        next(iter(begin(tmp_path / "work", Toy())))
    lock.release()
    assert next(iter(begin(tmp_path / "work", Toy()))) == 0


# --- numbers that are not finite


def diverge(folder: Path, toy: Toy, at: int, value: float = float("nan")) -> None:
    """The loss is not finite from step ``at`` on, and so is its gradient."""
    run = begin(folder, toy)
    for step in run:
        terms = toy.step(step)
        if step >= at:
            terms["loss"] = terms["loss"] * value
            with torch.no_grad():
                toy.last.bias.fill_(value)
        run.record(step, {"fine": torch.tensor(1.0), **terms})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("at", range(STEPS))
def test_a_loss_that_is_not_finite_ends_the_run(at: int, value: float, tmp_path: Path) -> None:
    work = tmp_path / "work"
    with pytest.raises(UserError) as caught:
        diverge(work, Toy(), at, value)
    message = str(caught.value)
    assert "toy" in message and f"'loss' is {value} at step {at};" in message
    kept = at // CHECKPOINT * CHECKPOINT
    checkpoint = work / "checkpoint.pt"
    assert ("no checkpoint yet" in message) == (kept == 0)
    assert (f"--start {checkpoint}" in message) == (kept > 0) == checkpoint.exists()


def test_the_kept_checkpoint_is_the_last_good_one(
    straight: tuple[list[bytes], str], tmp_path: Path
) -> None:
    work, curves = tmp_path / "work", tmp_path / "curves.csv"
    with pytest.raises(UserError, match="'loss' is nan at step 7;"):
        diverge(work, Toy(), at=7)
    toy = Toy()
    run = begin(work, toy)
    assert run.first_step == 6 and run.curves[-1]["step"] == 6
    network, made = train(work, curves)
    assert made == list(range(6, STEPS)) and network == straight[0]


@pytest.mark.parametrize("where", ["network", "optimiser"])
def test_a_step_that_breaks_the_network_after_a_finite_loss(where: str, tmp_path: Path) -> None:
    """The gradient of a finite loss may be infinite; its step is never checkpointed."""
    toy = Toy()
    run = begin(tmp_path / "work", toy)
    with pytest.raises(UserError) as caught:  # noqa: PT012
        for step in run:
            run.record(step, toy.step(step))
            if step == 5:
                bias = toy.last.bias
                broken = bias if where == "network" else toy.optimiser.state[bias]["exp_avg"]
                with torch.no_grad():
                    broken.fill_(float("inf"))
    assert f"'{where}'" in str(caught.value) and "step 5" in str(caught.value)
    fresh = Toy()
    assert begin(tmp_path / "work", fresh).first_step == 3
    assert all(value.isfinite().all() for value in fresh.network.state_dict().values())


def test_the_rate_of_every_group() -> None:
    network = nn.Linear(2, 2)
    groups: list[dict[str, Any]] = [{"params": network.weight}, {"params": network.bias, "lr": 1.0}]
    optimiser = Adam(groups, 0.5)
    set_learning_rate(optimiser, 0.125)
    assert [group["lr"] for group in optimiser.param_groups] == [0.125, 0.125]


# --- waiting for data


def test_waits_are_shares_of_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock by hand: a step takes 2 s, of which it waits 1 s in the first epoch, then 0.5 s."""
    now, data = [100.0], Held()
    monkeypatch.setattr("pipeline.runs.loop.time.perf_counter", lambda: now[0])
    waits = Waits(data)
    seen = []
    for step in range(10):
        now[0] += 2
        data.waited += 1.0 if step < 4 else 0.5
        waits.note(step)
        seen.append(waits.latest)
    assert seen == [0, 0, 0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]
    assert waits.most == 0.5 and waits.whole == pytest.approx((4 + 6 * 0.5) / 20)


def test_a_run_says_where_its_data_are_and_what_they_cost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    train(tmp_path / "work", tmp_path / "curves.csv")
    said = caplog.messages
    assert said[1] == "toy: four images, in mind"
    assert said[-1] == "toy: waited for data 0.0% of the time, 0.0% in one epoch"


# --- going on from another run


@pytest.mark.parametrize(("at", "saved"), [(7, 6), (10, 9)])
def test_a_run_goes_on_from_the_checkpoint_of_another(at: int, saved: int, tmp_path: Path) -> None:
    """Diverged after a checkpoint: the other run has its state and curves, but a term less."""
    with pytest.raises(UserError) as caught:
        diverge(tmp_path / "first", Toy(), at)
    checkpoint = tmp_path / "first" / "checkpoint.pt"
    assert f"add --start {checkpoint}" in str(caught.value)
    toy = Toy()
    run = begin(tmp_path / "second", toy, start=checkpoint)
    steps = []
    for step in run:
        steps.append(step)
        run.record(step, toy.step(step))
    assert steps == list(range(saved, STEPS))
    assert [row["step"] for row in run.curves] == [2, 4, 6, 8, 10, 11]
    written = read_rows(tmp_path / "second" / "curves.csv")
    assert [row["fine"] for row in written] == ["1"] * (saved // 2) + [""] * (6 - saved // 2)
    straight = Toy()
    for step in range(STEPS):
        straight.step(step)
    assert toy.bits() == straight.bits()


def test_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such checkpoint"):
        begin(tmp_path / "work", Toy(), start=tmp_path / "nothing.pt")


@pytest.mark.parametrize("steps", [4, 6])
def test_a_checkpoint_that_leaves_no_step(steps: int, tmp_path: Path) -> None:
    """Its weights would be published as trained, after no step at all."""
    checkpoint = diverged_checkpoint(tmp_path)
    words = f"is at step 6, and this training ends at step {steps}, so no step is left"
    with pytest.raises(UserError, match=words):
        begin(tmp_path / "second", Toy(), steps=steps, start=checkpoint)


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (Held(batch=2), "take 1 of the 4 crops of an epoch, those of this training 2 of 4"),
        (Held(crops_per_image=3), "take 1 of the 4 crops of an epoch, those of this training 1 of"),
    ],
)
def test_a_checkpoint_of_other_steps(held: Held, words: str, tmp_path: Path) -> None:
    """Progress counts steps: six steps of another batch are another part of the training."""
    with pytest.raises(UserError, match=words):
        begin(tmp_path / "second", Toy(), start=diverged_checkpoint(tmp_path), held=held)


def test_a_checkpoint_that_does_not_say_what_a_step_is(tmp_path: Path) -> None:
    save_state(tmp_path / "old.pt", Toy().parts(), {"step": 3, "curves": [], "interval": []})
    with pytest.raises(UserError, match="is of an older version"):
        begin(tmp_path / "second", Toy(), start=tmp_path / "old.pt")


def diverged_checkpoint(folder: Path) -> Path:
    """The checkpoint, at step 6, of a run that diverged."""
    with pytest.raises(UserError):
        diverge(folder / "first", Toy(), at=7)
    return folder / "first" / "checkpoint.pt"
