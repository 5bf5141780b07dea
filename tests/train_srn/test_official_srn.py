"""Steps of the SRN as the released code makes them, written out by hand in float64.

As ``tests/train_dsn/test_official_dsn.py``: filters, losses and optimisers are plain torch, from
the sentences about that code.
"""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import PLENTY, World, compact
from doubles import Features
from torch import Tensor

from pipeline.tools.profiles import find_profile, load_profile
from pipeline.train_srn import train as module
from pipeline.train_srn.settings import TrainSrnSettings
from pipeline.train_srn.streams import Pair
from pipeline.train_srn.train import SrnMaterial, SrnTrainer, open_stream
from pipeline.training.learner import make_accelerator

PROFILES = Path(__file__).parents[2] / "profiles"
STEPS = 3


def drawn(seed: int, side: int) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, side, side, generator=source, dtype=torch.float64)


PAIRS = [Pair(drawn(step, 16), drawn(10 + step, 64)) for step in range(STEPS)]


def low_pass(image: Tensor, padding: int) -> Tensor:
    """9x9, sigma 9/6, over an image with so many zeros around it."""
    place = torch.arange(-4.0, 5.0, dtype=torch.float64)
    weights = torch.exp(-(place[:, None] ** 2 + place**2) / (2 * 1.5**2))
    kernel = (weights / weights.sum()).expand(3, 1, 9, 9)
    return F.conv2d(F.pad(image, [padding] * 4), kernel, groups=3)


def gradients(image: Tensor, full: bool) -> Tensor:
    """|dx| + |dy|; at full size with zeros in the last row and column."""
    inner = image[..., :-1, :-1]
    found = (image[..., 1:, :-1] - inner).abs() + (image[..., :-1, 1:] - inner).abs()
    if not full:
        return found
    row = torch.zeros_like(found[..., :1, :])
    with_row = torch.cat([found, row], dim=-2)
    return torch.cat([with_row, torch.zeros_like(with_row[..., :1])], dim=-1)


def bce(logits: Tensor, real: bool) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


class ByHand:
    """Both networks with plain optimisers: 1 L1, 1 low-passed L1, 1 VGG, 0.1 GAN.

    The SRN learns against the discriminator of the step before.
    """

    def __init__(self, trainer: SrnTrainer, padded: bool) -> None:
        self.srn, self.judge = copy.deepcopy(trainer.network), copy.deepcopy(trainer.discriminator)
        self.features, self.padded = Features(16), padded
        self.adam, self.judge_adam = (
            torch.optim.Adam(network.parameters(), 5e-5, (0.9, 0.99))
            for network in (self.srn, self.judge)
        )

    def step(self, pair: Pair) -> dict[str, Tensor]:
        padding = 4 if self.padded else 0
        sr = self.srn(pair.lr)
        terms = {
            "content": (sr - pair.hr).abs().mean(),
            "low_pass": (low_pass(sr, padding) - low_pass(pair.hr, padding)).abs().mean(),
            "perceptual": (self.features(sr) - self.features(pair.hr)).abs().mean(),
            "adversarial": bce(self.judge(gradients(sr, self.padded)), True),
        }
        total = terms["content"] + terms["low_pass"] + terms["perceptual"]
        total = total + 0.1 * terms["adversarial"]
        self.adam.zero_grad()
        torch.autograd.backward(total, inputs=list(self.srn.parameters()))
        self.adam.step()
        real = bce(self.judge(gradients(pair.hr, self.padded)), True)
        loss = real + bce(self.judge(gradients(sr.detach(), self.padded)), False)
        self.judge_adam.zero_grad()
        torch.autograd.backward(loss)
        self.judge_adam.step()
        return {**terms, "total": total, "discriminator": loss}


def trainer_of(tiny: World, monkeypatch: pytest.MonkeyPatch, **changes: object) -> SrnTrainer:
    """A trainer in float64 that gets ``PAIRS``; spectral norm stands still."""
    monkeypatch.setattr(module, "VGG19Features", lambda _: Features(16))
    found = load_profile(find_profile(PROFILES, "official"))
    small = {"lr_patch": 16, "batch_size": 2, "discriminator_features": 2, "compile": False}
    plain = found.settings("train_srn", TrainSrnSettings)
    settings = plain.model_copy(update={**small, **changes})
    cpu = make_accelerator()
    stream = open_stream(SrnMaterial(tiny.hr, tiny.maps), settings, settings.demand(cpu, PLENTY))
    trainer = SrnTrainer(stream, compact(), settings, cpu)
    trainer.network.double()
    trainer.ema.module.double()
    trainer.discriminator.double().eval()
    monkeypatch.setattr(trainer.data, "batch", lambda step, _share=0: PAIRS[step])
    return trainer


def distance(trainer: SrnTrainer, by_hand: ByHand) -> float:
    """Largest relative difference of a term, a weight (in steps of Adam) or a gradient."""
    worst = 0.0
    for step in range(STEPS):
        found, expected = trainer.step(step), by_hand.step(PAIRS[step])
        assert found.keys() == expected.keys()
        pairs = [(found[name], value) for name, value in expected.items()]
        for ours, other in ((trainer.network, by_hand.srn), (trainer.discriminator, by_hand.judge)):
            for a, b in zip(ours.parameters(), other.parameters(), strict=True):
                assert a.grad is not None and b.grad is not None
                pairs += [(a / 5e-5, b / 5e-5), (a.grad, b.grad)]
        apart = [
            float((a - b).detach().abs().max() / (b.detach().abs().max() + 1e-12)) for a, b in pairs
        ]
        worst = max(worst, *apart)
    return worst


def test_the_steps_of_official_are_those_of_the_released_code(
    tiny: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(tiny, monkeypatch)
    assert distance(trainer, ByHand(trainer, padded=True)) < 1e-6
    assert distance(trainer, ByHand(trainer, padded=False)) > 1e-4


def test_borders_are_what_their_setting_says(tiny: World, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of(tiny, monkeypatch, borders="valid")
    assert distance(trainer, ByHand(trainer, padded=False)) < 1e-6


@pytest.mark.parametrize(
    ("changes", "side"),
    [({}, 63), ({"borders": "zeros"}, 64), ({"adversarial_on": "pixels"}, 64)],
)
def test_the_vgg_discriminator_fits_what_it_sees(
    changes: dict[str, object], side: int, tiny: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its fully connected layer has one size."""
    plain: dict[str, object] = {"borders": "valid", "discriminator": "vgg"}
    trainer = trainer_of(tiny, monkeypatch, **{**plain, **changes})
    seen: list[int] = []
    trainer.discriminator.register_forward_hook(
        lambda _n, given, _o: seen.append(given[0].shape[-1])
    )
    trainer.step(0)
    assert seen == [side, side]
