"""``precision: auto``: measured once, kept after an interruption, and nothing else is touched."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import (
    MACHINE,
    World,
    compact,
    dsn_settings,
    srn_settings,
)
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from pipeline.runs.description import Places
from pipeline.train_dsn.monitor import DsnScores, Monitor
from pipeline.train_dsn.train import DsnMaterial, DsnTrainer, train_dsn
from pipeline.train_srn.train import SrnMaterial, SrnTrainer, train_srn
from pipeline.training import precision
from pipeline.training.learner import make_accelerator
from pipeline.training.precision import Format, Passes, Precision, Trial, run_in_bf16, speedup

CPU = torch.device("cpu")


class Clock:
    """Stands for the timer: says how long a trial step of a crop takes, and counts the steps."""

    def __init__(self, bf16: float, crop: float = 1e-3) -> None:
        self.speed: dict[Format, float] = {"no": 1.0, "bf16": bf16}
        self.crop, self.made = crop, list[tuple[Format, int]]()

    def __call__(self, trial: Trial, taken: Format) -> float:
        self.made.append((taken, trial.crops))
        return self.crop * trial.crops / self.speed[taken]


def times(monkeypatch: pytest.MonkeyPatch, bf16: float, crop: float = 1e-3) -> Clock:
    """Let bf16 be so many times as fast as float32."""
    clock = Clock(bf16, crop)
    monkeypatch.setattr(precision, "seconds", clock)
    return clock


def refused(*_: object) -> float:
    raise AssertionError("nothing is to be measured")


class Unsteady(nn.Module):
    """Has all that a run may change: running means, a power iteration, draws."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            spectral_norm(nn.Conv2d(3, 4, 3, padding=1)), nn.BatchNorm2d(4), nn.Dropout(0.5)
        )
        self.last = nn.Conv2d(4, 3, 1).requires_grad_(False)

    def forward(self, image: Tensor, twice: bool = False) -> tuple[Tensor, Tensor | None]:
        made = self.layers(image)
        return self.last(made), made.mean() if twice else None


def passes(*extra: Passes) -> list[Passes]:
    return [Passes(nn.Conv2d(3, 3, 3), 8), *extra]


# --- the measurement


def test_it_leaves_networks_and_generators_as_they_are() -> None:
    network, other = Unsteady(), nn.Conv2d(3, 3, 3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    drawn = torch.get_rng_state()
    found = speedup(
        [
            Passes(network, 8, times=2, options={"twice": True}),
            Passes(network, 8, backward=False),
            Passes(other, 8),
        ],
        CPU,
        2,
    )
    assert 0 < found < 1e3
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.training and "forward" not in vars(network)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_both_formats_run_forward_and_backward() -> None:
    """In a step of a network that runs twice with gradients, and one that runs once without."""
    trained, fixed = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3).requires_grad_(False)
    seen: list[tuple[str, torch.dtype, int]] = []
    gradients: list[torch.dtype] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        name = "trained" if any(one.requires_grad for one in module.parameters()) else "fixed"
        seen.append((name, output.dtype, len(inputs[0])))

    def note_gradient(_: nn.Module, __: object, outer: tuple[Tensor, ...] | Tensor) -> None:
        gradients.append(outer[0].dtype)

    for network in (trained, fixed):
        network.register_forward_hook(note)
        network.register_full_backward_hook(note_gradient)
    trial = Trial([Passes(trained, 8, 2), Passes(fixed, 8, backward=False)], CPU, 5)
    formats: dict[Format, torch.dtype] = {"no": torch.float32, "bf16": torch.bfloat16}
    for taken, dtype in formats.items():
        seen.clear()
        gradients.clear()
        trial.step(taken)
        assert seen == [("trained", dtype, 5)] * 2 + [("fixed", dtype, 5)]
        assert gradients == [dtype] * 2
    assert trained.weight.grad is None


def test_a_trial_step_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many crops as take a tenth of a second, at most those of a step; at least one."""
    for crop, crops, rounds in ((0.02, 5, 5), (1e-5, 16, 5), (0.3, 1, 3), (40.0, 1, 3)):
        clock = times(monkeypatch, 1.0, crop)
        assert speedup(passes(), CPU, 16) == pytest.approx(1.0)
        assert clock.made[:2] == [("no", 1)] * 2
        assert clock.made[2:] == [("no", crops), ("bf16", crops)] * (1 + rounds)


def test_the_fastest_of_each_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What else the machine does makes steps longer, not shorter."""
    found = iter([9.0, 0.1, 7.0, 8.0, 0.1, 0.3, 0.2, 0.05, 0.15, 0.09, 0.3, 0.06, 0.1, 0.05])
    monkeypatch.setattr(precision, "seconds", lambda *_: next(found))
    assert speedup(passes(), CPU, 1) == pytest.approx(0.1 / 0.05)


# --- the choice


@pytest.mark.parametrize(
    ("bf16", "taken", "sentence"),
    [
        (2.1, "bf16", "precision: bf16, 2.1 times as fast as float32 here"),
        (1.16, "bf16", "precision: bf16, 1.2 times as fast as float32 here"),
        (1.14, "no", "bf16 is 1.1 times as fast as float32 here, and 1.15 times is the least"),
        (0.2, "no", "precision: no, bf16 is 0.2 times as fast as float32 here"),
    ],
)
def test_bf16_is_taken_where_it_is_faster_by_a_margin(
    bf16: float, taken: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    times(monkeypatch, bf16)
    used = passes()
    made = Precision("auto", used, make_accelerator(), 4)
    assert made.taken is None and made.described == {}
    assert sentence in (made.settle(None) or "")
    assert made.taken == taken and made.described == {"precision": taken}
    rounded = used[0].network(torch.rand(1, 3, 8, 8))
    assert rounded.dtype == torch.float32
    bits = rounded.view(torch.int32) & 0xFFFF
    assert bool((bits == 0).all()) == (taken == "bf16")


@pytest.mark.parametrize("setting", ["no", "bf16"])
def test_what_the_settings_say_is_not_measured(
    setting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "seconds", refused)
    made = Precision(setting, passes(), make_accelerator(), 4)
    other: Format = "bf16" if setting == "no" else "no"
    assert made.settle(other) is None
    assert made.taken == setting and made.described == {}


def test_a_copy_of_a_network_in_bf16_runs_with_its_own_weights() -> None:
    network = nn.Conv2d(3, 3, 3)
    run_in_bf16(network, CPU)
    other = copy.deepcopy(network)
    nn.init.zeros_(other.weight)
    nn.init.ones_(other.bias)  # type: ignore[arg-type]
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(other(image), torch.ones(1, 3, 6, 6))
    assert not torch.equal(network(image), other(image))


# --- whole trainings

Run = Callable[..., dict[str, Any]]
SCORES = DsnScores(1.0, None, None, None, 1.0, 1.0)


def dsn_run(tiny: World, folder: Path, start: Path | None = None, **changes: object) -> Any:
    settings = dsn_settings(log_every=1, **changes)
    places = Places(folder / "out", folder / "work", start)
    return train_dsn(DsnMaterial(tiny.hr, tiny.lr), settings, MACHINE, places)


def srn_run(tiny: World, folder: Path, start: Path | None = None, **changes: object) -> Any:
    settings = srn_settings(log_every=1, **changes)
    places = Places(folder / "out", folder / "work", start)
    material = SrnMaterial(tiny.hr, tiny.maps)
    return train_srn(material, "mine", compact(), settings, MACHINE, places)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out pictures and scores, which take longer than the training."""
    for trainer in (DsnTrainer, SrnTrainer):
        monkeypatch.setattr(trainer, "contact_sheet", lambda _, path: path.write_bytes(b"none"))
    monkeypatch.setattr(Monitor, "score", lambda *_: SCORES)


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


def interrupted(run: Run, trainer: type, patch: pytest.MonkeyPatch, *arguments: Any) -> None:
    """As if Ctrl-C were pressed in the last step, after a checkpoint."""
    step = trainer.step  # type: ignore[attr-defined]

    def until(self: object, number: int) -> dict[str, Tensor]:
        if number == 5:
            raise KeyboardInterrupt
        made: dict[str, Tensor] = step(self, number)
        return made

    with patch.context() as inner:
        inner.setattr(trainer, "step", until)
        with pytest.raises(KeyboardInterrupt):
            run(*arguments, precision="auto")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("run", "trainer", "taken"),
    [(dsn_run, DsnTrainer, "bf16"), (srn_run, SrnTrainer, "bf16"), (srn_run, SrnTrainer, "no")],
    ids=["dsn, bf16", "srn, bf16", "srn, no"],
)
def test_the_choice_belongs_to_the_checkpoint(
    run: Run,
    trainer: type,
    taken: Format,
    tiny: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed and resumed, it is a straight run of the format taken at first, to the last bit.

    Its file says which, and finished results are not measured again.
    """
    straight, again = tmp_path / "straight", tmp_path / "again"
    plain = run(tiny, straight, precision=taken)
    times(monkeypatch, {"no": 0.2, "bf16": 2.0}[taken])
    interrupted(run, trainer, monkeypatch, tiny, again)
    monkeypatch.setattr(precision, "seconds", refused)
    metrics = run(tiny, again, precision="auto")
    assert metrics == {**plain, "precision": taken}
    assert results(again) == results(straight)
    assert run(tiny, again, precision="auto") == metrics


@pytest.mark.usefixtures("quick")
def test_a_start_from_another_run_keeps_its_format(
    tiny: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times(monkeypatch, 2.0)
    interrupted(srn_run, SrnTrainer, monkeypatch, tiny, tmp_path)
    (start,) = tmp_path.glob("work/*/checkpoint.pt")
    monkeypatch.setattr(precision, "seconds", refused)
    made = srn_run(tiny, tmp_path / "next", start, precision="auto", learning_rate=1e-4)
    assert made["precision"] == "bf16"


@pytest.mark.usefixtures("quick")
def test_measuring_changes_no_curve(tiny: World, tmp_path: Path) -> None:
    """With the true timer: the run is that of the format which it took."""
    made = dsn_run(tiny, tmp_path / "auto", precision="auto")
    plain = dsn_run(tiny, tmp_path / "plain", precision=made.pop("precision"))
    assert made == plain
    assert results(tmp_path / "auto") == results(tmp_path / "plain")


def test_without_a_step_nothing_is_measured(
    tiny: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "seconds", refused)
    monkeypatch.setattr(SrnTrainer, "contact_sheet", lambda _, path: path.write_bytes(b"none"))
    weights = tmp_path / "start" / "out" / "srn.safetensors"
    srn_run(tiny, tmp_path / "start", steps=1)
    untrained = compact(warm_start=str(weights), train=False)
    places = Places(tmp_path / "out", tmp_path / "work")
    settings = srn_settings(precision="auto")
    material = SrnMaterial(tiny.hr, tiny.maps)
    assert train_srn(material, "mine", untrained, settings, MACHINE, places) == {"step": 0}
