"""The training step: nothing is worked out twice or read back, and what its switches change."""

import copy
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import MACHINE, PLENTY, World, compact, dsn_settings, srn_settings
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.base.errors import UserError
from pipeline.optimisation.settings import StepSettings
from pipeline.train_dsn.train import DsnMaterial, DsnTrainer
from pipeline.train_srn.train import SrnMaterial, SrnTrainer, open_stream
from pipeline.training.adversarial import discriminate, discriminator_loss, generator_loss
from pipeline.training.discriminators import UNetDiscriminator, VGGDiscriminator
from pipeline.training.learner import (
    Average,
    Learner,
    make_accelerator,
)

Array = NDArray[np.float64]
Trainer = SrnTrainer | DsnTrainer


def srn_trainer(tiny: World, **changes: object) -> SrnTrainer:
    settings = srn_settings(**changes)
    accelerator = make_accelerator()
    stream = open_stream(
        SrnMaterial(tiny.hr, tiny.maps), settings, settings.demand(accelerator, PLENTY)
    )
    return SrnTrainer(stream, compact(), settings, accelerator)


def dsn_trainer(tiny: World, **changes: object) -> DsnTrainer:
    return DsnTrainer(DsnMaterial(tiny.hr, tiny.lr), dsn_settings(**changes), MACHINE)


def dsn_trainer_in_turn(tiny: World, **changes: object) -> DsnTrainer:
    return dsn_trainer(tiny, discriminator_first=True, **changes)


TRAINERS = [srn_trainer, dsn_trainer]


def curve(trainer: Trainer, steps: int) -> dict[str, Array]:
    """The terms of some steps."""
    terms = [trainer.step(step) for step in range(steps)]
    return {name: np.array([of[name].item() for of in terms]) for name in terms[0]}


def state(trainer: Trainer) -> dict[str, Tensor]:
    nets = (trainer.learner.network, trainer.discriminator_learner.network)
    return {
        f"{i}.{k}": v.clone() for i, net in enumerate(nets) for k, v in net.state_dict().items()
    }


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Mean absolute difference.

    Not the largest: Adam divides a gradient by its size, so a weight whose gradient is as small as
    the rounding of a sum goes another way.
    """
    return float(torch.cat([(one[name] - other[name]).flatten() for name in one]).abs().mean())


# --- the discriminator, once for both sides


def seeded(seed: int, *shape: int) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=source, dtype=torch.float64)


def gradients(network: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in network.parameters() if p.grad is not None]


@pytest.mark.parametrize("kind", [UNetDiscriminator(2), VGGDiscriminator(2, 16)])
def test_one_forward_gives_the_gradients_of_two(kind: nn.Module) -> None:
    """Beside the textbook's way: Eq. 9 through a frozen discriminator, then Eq. 10 on a new one.

    In float64; the power iteration of spectral norm stands still, so that both see equal weights.
    """
    judges = [copy.deepcopy(kind).double() for _ in range(2)]
    if isinstance(kind, UNetDiscriminator):
        judges = [judge.eval() for judge in judges]
    makers = [nn.Conv2d(3, 3, 3, padding=1).double() for _ in range(2)]
    makers[1].load_state_dict(makers[0].state_dict())
    image, real = seeded(0, 2, 3, 16, 16), seeded(1, 2, 3, 16, 16)

    fake = makers[0](image)
    judges[0].requires_grad_(False)
    loss = generator_loss(judges[0](fake.square()))
    total = F.l1_loss(fake, real) + 0.3 * loss
    total.backward()  # type: ignore[no-untyped-call]
    judges[0].requires_grad_(True)
    its_loss = discriminator_loss(judges[0](real), judges[0](fake.detach().square()))
    its_loss.backward()  # type: ignore[no-untyped-call]

    fake = makers[1](image)
    verdict = discriminate(lambda x: judges[1](x.square()), fake)
    assert not gradients(judges[1]) and not gradients(makers[1])
    torch.autograd.backward([F.l1_loss(fake, real), fake], [None, 0.3 * verdict.gradient])
    once = discriminator_loss(judges[1](real), verdict.logits)
    once.backward()  # type: ignore[no-untyped-call]
    assert not verdict.loss.requires_grad
    assert verdict.loss.item() == pytest.approx(loss.item(), rel=1e-12)
    assert once.item() == pytest.approx(its_loss.item(), rel=1e-12)
    for networks in (judges, makers):
        plain, ours = (gradients(network) for network in networks)
        assert len(plain) == len(ours) == len(list(networks[0].parameters()))
        for a, b in zip(plain, ours, strict=True):
            assert torch.allclose(a, b, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(
    ("trainer_of", "settings", "expected"),
    [
        (srn_trainer, {}, ["made", "judged", "judged"]),
        (dsn_trainer, {}, ["made", "judged", "judged"]),
        (dsn_trainer, {"discriminator_first": True}, ["made", "judged", "judged", "judged"]),
        (dsn_trainer, {"discriminator_first": True, "adversarial_weight": 0.0}, ["made"]),
    ],
)
def test_a_step_runs_every_network_as_often_as_it_must(
    trainer_of: Callable[..., Trainer],
    settings: dict[str, object],
    expected: list[str],
    tiny: World,
) -> None:
    calls: list[str] = []
    trainer = trainer_of(tiny, **settings)
    for name, learner in (("made", trainer.learner), ("judged", trainer.discriminator_learner)):
        learner.network.register_forward_hook(lambda *_, name=name: calls.append(name))
    trainer.step(0)
    assert calls == expected


# --- nothing is read back


READS = {
    "_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "nonzero_numpy", "argwhere",
    "masked_select", "unique_dim", "_unique2", "unique_consecutive", "bincount", "histc",
}  # fmt: skip
"""Operations of ATen that wait for the device, because their result or its shape is on the host."""
ON_HOST = {"item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__"}
"""Methods of a tensor that do."""


class ReadsOfAten(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operation that would wait for a GPU."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = found

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        del types
        name = func._schema.name.removeprefix("aten::")
        by_mask = name == "index" and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if name in READS or by_mask:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


class ReadsOfPython(TorchFunctionMode):
    """Notes what Python reads of a tensor, and what is copied to the device while it waits."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        del types
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        ours = not sys._getframe(1).f_globals["__name__"].startswith("torch.")
        moved = name == "to" and not all(isinstance(arg, torch.dtype) for arg in args[1:])
        moved = moved and ours  # clipping calls it for tensors that are there already
        if name in ON_HOST or (moved and not kwargs.get("non_blocking")):
            self.found.append(name)
        return func(*args, **kwargs)


def reads(work: Callable[[], object]) -> list[str]:
    found: list[str] = []
    with ReadsOfPython(found), ReadsOfAten(found):
        work()
    return found


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.sum().item(),
        lambda x: float(x.sum()),
        lambda x: bool((x > 0).all()),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.numpy(),
        lambda x: x[x > 0],
        lambda x: torch.equal(x, x),
        lambda x: x.nonzero(),
        lambda x: torch.arange(3.0).to(x),
        lambda x: torch.arange(3.0).to(x.device),
    ],
)
def test_reads_are_seen(read: Callable[[Tensor], object]) -> None:
    assert reads(lambda: read(torch.ones(3)))


def test_what_does_not_wait_is_let_through() -> None:
    x = torch.ones(3)
    assert (
        reads(lambda: x.to(torch.float64).sum() + x[1] + x.new_ones(3).to(x, non_blocking=True))
        == []
    )


@pytest.mark.parametrize(
    ("trainer_of", "first"), [(srn_trainer, False), (dsn_trainer, False), (dsn_trainer, True)]
)
def test_a_step_reads_nothing_back(
    trainer_of: Callable[..., Trainer], first: bool, tiny: World
) -> None:
    """With the optimiser that counts on the device; the batch is given."""
    extra: dict[str, object] = {"low_pass_weight": 0.1, "borders": "zeros"}
    if trainer_of is srn_trainer:
        extra["steps"] = 100  # the first picture of the progress is made later
    if trainer_of is dsn_trainer:
        extra = {"adversarial_on": "sample", "content": "low_pass", "borders": "zeros"}
        extra["discriminator_first"] = first
    trainer = trainer_of(
        tiny, fused=True, channels_last=True, accumulate=2, clip_gradient=1.0, **extra
    )
    source: Any = trainer.data
    batches = [source.batch(0, share) for share in range(2)]
    source.batch = lambda _step, share: batches[share]
    trainer.step(0)  # makes the optimiser's state
    assert reads(lambda: trainer.step(1)) == []


# --- the switches


@pytest.mark.arithmetic
@pytest.mark.parametrize("trainer_of", TRAINERS)
def test_bf16_is_near_float32_but_not_it(trainer_of: Callable[..., Trainer], tiny: World) -> None:
    """Eight bits of mantissa, 2^-9 a rounding: within 2 per cent over six steps."""
    exact = curve(trainer_of(tiny), 6)
    trainer = trainer_of(tiny, precision="bf16")  # in the same process, as recovery may
    rounded = curve(trainer, 6)
    for name, values in exact.items():
        assert rounded[name] == pytest.approx(values, rel=0.02), name
    assert not np.array_equal(rounded["total"], exact["total"])
    assert all(value.dtype == torch.float32 for value in state(trainer).values())


@pytest.mark.arithmetic
@pytest.mark.parametrize("trainer_of", TRAINERS)
@pytest.mark.parametrize("switch", ["channels_last", "fused"])
def test_channels_last_and_fused_change_nothing_but_rounding(
    switch: str, trainer_of: Callable[..., Trainer], tiny: World
) -> None:
    plain, fast = trainer_of(tiny), trainer_of(tiny, **{switch: True})
    expected, found = curve(plain, 4), curve(fast, 4)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-4), name
    assert apart(state(plain), state(fast)) < 1e-5
    if switch == "fused":
        assert (
            fast.learner.optimiser.defaults["fused"]
            and not plain.learner.optimiser.defaults["fused"]
        )
    else:
        weights = [p for p in fast.learner.network.parameters() if p.ndim == 4]
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)
        assert any(not p.is_contiguous() for p in weights)


@pytest.mark.arithmetic
@pytest.mark.parametrize("trainer_of", TRAINERS)
@pytest.mark.parametrize(("adversarial", "tolerance"), [(0.0, 1e-6), (0.01, 1e-4)])
def test_two_shares_are_one_batch_of_both(
    adversarial: float, tolerance: float, trainer_of: Callable[..., Trainer], tiny: World
) -> None:
    """The noise of a share is its own, so without noise; spectral norm iterates once a share."""
    more: dict[str, object] = {"adversarial_weight": adversarial, "learning_rate": 1e-4}
    if trainer_of is srn_trainer:
        more["theta"] = "none"
    whole, parts = trainer_of(tiny, batch_size=4, **more), trainer_of(tiny, accumulate=2, **more)
    before = state(whole)
    expected, found = curve(whole, 3), curve(parts, 3)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=10 * tolerance), name
    first = "0.body.0.weight" if trainer_of is srn_trainer else "0.head.0.weight"
    assert float((state(whole)[first] - before[first]).abs().max()) > 1e-4  # something was learned
    assert (
        apart({k: v for k, v in state(whole).items() if k.startswith("0.")}, state(parts))
        < 10 * tolerance
    )


@pytest.mark.arithmetic
@pytest.mark.parametrize("trainer_of", TRAINERS)
def test_clipping_scales_the_gradient_of_each_network(
    trainer_of: Callable[..., Trainer], tiny: World
) -> None:
    """To the largest L2 norm over all its parameters; a smaller one stays as it is."""
    free = trainer_of(tiny)
    free.step(0)
    for limit in (0.5, 2.0):
        for learner, name in (
            (free.learner, "learner"),
            (free.discriminator_learner, "discriminator_learner"),
        ):
            found = [g.numpy() for g in gradients(learner.network)]
            norm = float(np.sqrt(sum(np.sum(g.astype(np.float64) ** 2) for g in found)))
            cut = trainer_of(tiny, clip_gradient=limit * norm)
            cut.step(0)
            clipped = [g.numpy() for g in gradients(getattr(cut, name).network)]
            factor = min(limit, 1.0)
            for a, b in zip(found, clipped, strict=True):
                assert b == pytest.approx(factor * a, rel=1e-4, abs=1e-9)


# --- compiled


GRAD_IS_LOOKED_AT = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
"""The compiler looks for one and hides this warning, but not where warnings are errors."""


class Small(nn.Module):
    """A network of three channels, with a weight that is normed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 3, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        made: Tensor = F.leaky_relu(self.conv(image), 0.2)
        return made


def learner_of(settings: StepSettings) -> Learner:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Learner(Small(), 0.01, settings, make_accelerator())


@GRAD_IS_LOOKED_AT
def test_compiled_networks_learn_the_same(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By inductor, with the two gradients of a verdict; nothing of it gets into a checkpoint."""
    made = {}
    monkeypatch.chdir(tmp_path)
    for compiled in (False, True):
        settings = srn_settings(compile=compiled)
        maker, judge = learner_of(settings), learner_of(settings)
        image = seeded(0, 1, 3, 8, 8).float()
        for _ in range(2):
            for learner in (maker, judge):
                learner.start()
            sr = maker(image)
            verdict = discriminate(judge, sr)
            torch.autograd.backward([sr.square().mean(), sr], [None, verdict.gradient])
            torch.autograd.backward(discriminator_loss(judge(image), verdict.logits))
            for learner in (maker, judge):
                learner.update(1.0)
        made[compiled] = [learner.network.state_dict() for learner in (maker, judge)]
        average = Average(maker.network, 0.5)
        assert average.module.state_dict().keys() == Small().state_dict().keys()
        assert bool(maker.network._compiled_call_impl) == compiled
        assert not average.module._compiled_call_impl
    for eager, fast in zip(made[False], made[True], strict=True):
        assert eager.keys() == fast.keys() == Small().state_dict().keys()
        for name, value in eager.items():
            assert torch.allclose(fast[name], value, atol=1e-5), name
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@GRAD_IS_LOOKED_AT
@pytest.mark.parametrize("trainer_of", [*TRAINERS, dsn_trainer_in_turn])
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_compiled_trainings_are_the_eager_ones(
    precision: str,
    trainer_of: Callable[..., Trainer],
    tiny: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Traced and differentiated by the compiler, then run as they are: that takes seconds only."""
    plain = curve(trainer_of(tiny, precision=precision), 3)
    compile_with = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: compile_with(self, backend="aot_eager"))
    trainer = trainer_of(tiny, precision=precision, compile=True)
    keys = state(trainer).keys()
    found = curve(trainer, 3)
    for name, values in plain.items():
        assert found[name] == pytest.approx(values, rel=1e-4 if precision == "no" else 0.01), name
    assert state(trainer).keys() == keys == state(trainer_of(tiny, precision=precision)).keys()


def test_a_machine_that_cannot_compile_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def backend(_graph: object, _inputs: object) -> Callable[..., Any]:
        raise RuntimeError("no compiler was found")

    compile_with = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: compile_with(self, backend=backend))
    learner = learner_of(srn_settings(compile=True))
    with pytest.raises(UserError, match="compile is true, but .* here: .*no compiler"):
        learner(torch.zeros(1, 3, 8, 8))


# --- the average


def test_the_average_goes_on_where_it_stopped() -> None:
    """a_1 = w_1, a_k = d a_(k-1) + (1 - d) w_k, through a checkpoint in between."""
    network = nn.Linear(1, 1, bias=False)
    average, expected = Average(network, 0.75), 0.0
    for number, weight in enumerate((4.0, 8.0, -2.0, 1.0)):
        with torch.no_grad():
            network.weight.fill_(weight)
        average.update(network)
        expected = 0.75 * expected + 0.25 * weight if number else weight
        saved = copy.deepcopy(average.state_dict())
        average = Average(nn.Linear(1, 1, bias=False), 0.75)
        average.load_state_dict(saved)
        assert average.module.state_dict()["weight"].item() == pytest.approx(expected)
    none = Average(network, 0.0)
    none.update(network)
    none.update(network)
    assert none.module.state_dict()["weight"].item() == 1.0
