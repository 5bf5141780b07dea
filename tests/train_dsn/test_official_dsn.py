"""Steps of the DSN as the released code makes them, written out by hand in float64.

The oracle is plain torch: its filters, losses and optimisers come from the sentences about that
code (docs/released_code.md), not from ``pipeline``.  The networks are those of the trainer, because
they are not in question; a small one stands for VGG19.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import MACHINE, World
from doubles import Features
from torch import Tensor, nn

from pipeline.tools.profiles import find_profile, load_profile
from pipeline.train_dsn import train as module
from pipeline.train_dsn.settings import TrainDsnSettings
from pipeline.train_dsn.train import DsnMaterial, DsnTrainer

PROFILES = Path(__file__).parents[2] / "profiles"
STEPS = 2
SMALL = {
    "features": 4, "blocks": 1, "discriminator_features": 2, "hr_patch": 64, "compile": False,
}  # fmt: skip
Filter = Callable[[Tensor], Tensor]
State = dict[str, Tensor]


def drawn(seed: int, *shape: int) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=source, dtype=torch.float64)


@dataclass(frozen=True)
class Batch:
    """What a step gets: HR images, real LR images, and the clean LR images."""

    hr: Tensor
    real: Tensor
    clean: Tensor


BATCHES = [
    Batch(drawn(i, 4, 3, 64, 64), drawn(10 + i, 4, 3, 16, 16), drawn(20 + i, 4, 3, 16, 16))
    for i in range(STEPS)
]


# --- by hand


def gaussian(image: Tensor, padding: int) -> Tensor:
    """5x5, sigma 5/6, over an image with so many zeros around it."""
    place = torch.arange(-2.0, 3.0, dtype=torch.float64)
    weights = torch.exp(-(place[:, None] ** 2 + place**2) / (2 * (5 / 6) ** 2))
    kernel = (weights / weights.sum()).expand(3, 1, 5, 5)
    return F.conv2d(F.pad(image, [padding] * 4), kernel, groups=3)


def full_high_pass(image: Tensor) -> Tensor:
    return 0.5 + 0.5 * (image - gaussian(image, 2))


def valid_high_pass(image: Tensor) -> Tensor:
    return 0.5 + 0.5 * (image[..., 2:-2, 2:-2] - gaussian(image, 0))


def of_scale(distance: Tensor, log_scale: Tensor) -> Tensor:
    """The terms of Eq. 2 with the scale, in gray levels."""
    scale = log_scale.exp()
    return (scale * torch.exp(-distance / scale) - log_scale - 1).mean()


class ByHand:
    """Both networks with plain optimisers, and the released code's step.

    The weights are 100, 1 and 1.  Distances are in gray levels, the losses divided by 255.
    """

    def __init__(self, trainer: DsnTrainer, high_pass: Filter, first: bool) -> None:
        self.dsn, self.judge = copy.deepcopy(trainer.dsn), copy.deepcopy(trainer.discriminator)
        self.features = Features(512) if trainer.with_sigma else None
        self.high_pass, self.first = high_pass, first
        adam = [
            torch.optim.Adam(network.parameters(), 5e-5, (0.9, 0.999))
            for network in (self.dsn, self.judge)
        ]
        self.dsn_adam, self.judge_adam = adam

    def bce(self, logits: Tensor, real: bool) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))

    def see(self, image: Tensor) -> Tensor:
        logits: Tensor = self.judge(self.high_pass(image))
        return logits

    def step(self, batch: Batch) -> dict[str, Tensor]:
        mean, log_theta, log_sigma = self.dsn(batch.hr, with_sigma=bool(self.features))
        if self.first:
            discriminator = self.learn_to_tell(mean, batch.real)
        low = (gaussian(255 * mean, 0) - gaussian(255 * batch.clean, 0)).abs().mean()
        kl = (low + of_scale(255 * (mean - batch.clean).abs(), log_theta)) / 255
        terms = {"kl": kl, "adversarial": self.bce(self.see(mean), True)}
        total = 100 * kl + terms["adversarial"]
        if self.features:
            ours, clean = (0.5 * self.features(image) + 0.5 for image in (mean, batch.clean))
            distance = 255 * (ours - clean).abs()
            terms["kl_perceptual"] = (distance.mean() + of_scale(distance, log_sigma)) / 255
            total = total + terms["kl_perceptual"]
        self.dsn_adam.zero_grad()
        learned = [value for value in self.dsn.parameters() if value.requires_grad]
        torch.autograd.backward(total, inputs=learned)
        if not self.first:
            discriminator = self.learn_to_tell(mean, batch.real)
        self.dsn_adam.step()
        return {**terms, "total": total, "discriminator": discriminator}

    def learn_to_tell(self, fake: Tensor, real: Tensor) -> Tensor:
        loss = self.bce(self.see(real), True) + self.bce(self.see(fake.detach()), False)
        self.judge_adam.zero_grad()
        torch.autograd.backward(loss)
        self.judge_adam.step()
        return loss


# --- the trainer


def official(**changes: object) -> TrainDsnSettings:
    found = load_profile(find_profile(PROFILES, "official"))
    return found.settings("train_dsn", TrainDsnSettings).model_copy(update={**SMALL, **changes})


def trainer_of(
    tiny: World, settings: TrainDsnSettings, monkeypatch: pytest.MonkeyPatch
) -> DsnTrainer:
    """A trainer in float64 that gets ``BATCHES``; spectral norm stands still."""
    monkeypatch.setattr(module, "VGG19Features", lambda _: Features(512))
    trainer = DsnTrainer(DsnMaterial(tiny.hr, tiny.lr), settings, MACHINE)
    trainer.dsn.double()
    trainer.discriminator.double().eval()
    size = settings.batch_size

    def part(share: int) -> slice:
        return slice(share * size, (share + 1) * size)

    def batch(step: int, share: int = 0) -> tuple[Tensor, Tensor]:
        return BATCHES[step].hr[part(share)], BATCHES[step].real[part(share)]

    def clean(step: int, _hr: Tensor, share: int = 0) -> Tensor:
        return BATCHES[step].clean[part(share)]

    monkeypatch.setattr(trainer.data, "batch", batch)
    monkeypatch.setattr(trainer, "draw_reference", clean)
    return trainer


def both(dsn: nn.Module, judge: nn.Module) -> State:
    """Weights and their gradients by name; Adam moves a weight by up to 5e-5 a step."""
    found = {}
    for kind, network in (("dsn", dsn), ("judge", judge)):
        learned = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
        for name, value in learned:
            assert value.grad is not None
            found[f"{kind}.{name}"] = value.detach().clone() / 5e-5
            found[f"{kind}.{name}.grad"] = value.grad.clone()
    return found


def apart(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """Largest difference, relative to the largest value of a tensor."""
    largest = {name: value.detach().abs().max() + 1e-12 for name, value in expected.items()}
    return max(
        float((value - expected[name]).detach().abs().max() / largest[name])
        for name, value in found.items()
    )


def compared(trainer: DsnTrainer, by_hand: ByHand) -> Sequence[float]:
    """How far terms and networks are apart after every step."""
    distances = []
    for step in range(STEPS):
        terms = trainer.step(step)
        expected = by_hand.step(BATCHES[step])
        del terms["theta_mean"]
        assert terms.keys() == expected.keys()
        networks = [
            both(of.dsn, judge)
            for of, judge in ((trainer, trainer.discriminator), (by_hand, by_hand.judge))
        ]
        distances += [apart(terms, expected), apart(*networks)]
    return distances


def test_the_steps_of_official_are_those_of_the_released_code(
    tiny: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(tiny, official(batch_size=4), monkeypatch)
    assert max(compared(trainer, ByHand(trainer, full_high_pass, first=True))) < 1e-6


@pytest.mark.parametrize(
    ("settings", "high_pass", "first"),
    [
        ({"batch_size": 2, "accumulate": 2}, full_high_pass, True),
        ({"discriminator_first": False}, full_high_pass, False),
        ({"borders": "valid"}, valid_high_pass, True),
    ],
)
def test_order_and_borders_are_what_their_settings_say(
    settings: dict[str, object],
    high_pass: Filter,
    first: bool,
    tiny: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without VGG19; two shares are the batch of both."""
    plain: dict[str, object] = {"batch_size": 4, "perceptual_weight": 0.0}
    trainer = trainer_of(tiny, official(**{**plain, **settings}), monkeypatch)
    assert max(compared(trainer, ByHand(trainer, high_pass, first))) < 1e-6


@pytest.mark.parametrize(("high_pass", "first"), [(full_high_pass, False), (valid_high_pass, True)])
def test_another_order_and_other_borders_are_told_apart(
    high_pass: Filter, first: bool, tiny: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The discriminator moves by its rate of 5e-5 a step, so its order shows least."""
    trainer = trainer_of(tiny, official(batch_size=4, perceptual_weight=0.0), monkeypatch)
    assert max(compared(trainer, ByHand(trainer, high_pass, first))) > 1e-5


def test_the_low_pass_of_the_content_has_no_padding(
    tiny: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``borders`` is about what the discriminator sees; Eq. 2 has the valid part in both cases."""
    terms = [
        trainer_of(
            tiny, official(batch_size=4, perceptual_weight=0.0, borders=kind), monkeypatch
        ).step(0)
        for kind in ("valid", "zeros")
    ]
    assert torch.equal(terms[0]["kl"], terms[1]["kl"])
    assert not torch.equal(terms[0]["adversarial"], terms[1]["adversarial"])


def test_epoch_and_rate_are_those_of_the_real_images(tiny: World) -> None:
    """Two LR and three HR images in batches of two: an epoch is one step; halved after 250."""
    settings = official(batch_size=2, perceptual_weight=0.0)
    trainer = DsnTrainer(DsnMaterial(tiny.hr, tiny.lr), settings, MACHINE)
    assert trainer.steps == 500
    for step, rate in ((249, 5e-5), (250, 2.5e-5), (499, 2.5e-5)):
        trainer.step(step)
        for learner in (trainer.learner, trainer.discriminator_learner):
            assert [group["lr"] for group in learner.optimiser.param_groups] == [rate]
