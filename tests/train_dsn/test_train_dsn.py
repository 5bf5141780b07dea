"""DSN training: the terms from their formulas, the switches, and runs from beginning to end.

The golden log, a few steps with every term on, is ``golden/train_dsn.csv``; after a wanted change
``pytest tests/train_dsn/test_train_dsn.py --rewrite-golden`` writes it anew.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import (
    MACHINE,
    CompareGolden,
    World,
    dsn_settings,
    names,
    picture,
    read_rows,
)
from crop_threads import crop_threads
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import load_file
from scipy.integrate import quad
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from pipeline.base.errors import UserError
from pipeline.base.settings import load_section
from pipeline.dsn.network import Degradation
from pipeline.images.filters import bicubic_downsample
from pipeline.reading.files import read_image
from pipeline.runs.description import Places
from pipeline.stores.reader import Store
from pipeline.train_dsn import train as module
from pipeline.train_dsn.losses import DsnLoss
from pipeline.train_dsn.monitor import DsnScores, Monitor
from pipeline.train_dsn.prior import with_prior
from pipeline.train_dsn.settings import TrainDsnSettings
from pipeline.train_dsn.train import DsnMaterial, DsnTrainer, train_dsn
from pipeline.training.learner import Learner
from pipeline.training.vgg import VGG19Features
from pipeline.writing.writer import StoreWriter
from stages.train_dsn import command

Array = NDArray[np.float64]
STEPS = 6
"""Two epochs of three images, two crops each, in batches of two."""


def images(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def heads(seed: int, *shape: int) -> Tensor:
    """Logarithms of scales in gray levels, as an ELU gives them: above -1."""
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return nn.functional.elu(1.5 * drawn)


def exact(tensor: Tensor) -> Array:
    return tensor.detach().double().numpy()


def eq2(distance: Array, log_scale: Array) -> float:
    """Eq. 2 (and 4) as printed, distance and scale in gray levels; the mean, in [0, 1] again."""
    scale = np.exp(log_scale)
    return float((scale * np.exp(-distance / scale) + distance - log_scale - 1).mean() / 255)


def kl_of_laplace(distance: float, scale: float, prior: float) -> float:
    """KL[L(distance, scale) || L(0, prior)] from its definition, by quadrature."""

    def integrand(x: float) -> float:
        log_p = -abs(x - distance) / scale - np.log(2 * scale)
        log_q = -abs(x) / prior - np.log(2 * prior)
        return float(np.exp(log_p) * (log_p - log_q))

    far = 40 * scale
    value, _ = quad(integrand, distance - far, distance + far, points=(0, distance), limit=200)
    return float(value)


# --- the terms


def test_content_is_eq2_for_a_prior_of_one_gray_level() -> None:
    loss = DsnLoss(dsn_settings(prior_scale_gray=1.0), None)
    mean, reference, log_theta_gray = (
        images(1, 2, 3, 9, 7),
        images(2, 2, 3, 9, 7),
        heads(3, 2, 3, 9, 7),
    )
    mean[0] = reference[0] + 0.003 * mean[0]  # near ones too
    expected = eq2(255 * np.abs(exact(mean) - exact(reference)), exact(log_theta_gray))
    assert loss.content(mean, log_theta_gray, reference).item() == pytest.approx(expected, rel=1e-5)


def test_content_vanishes_where_the_mean_is_the_reference_and_theta_the_prior() -> None:
    for prior in (1.0, 8.5):
        loss = DsnLoss(dsn_settings(prior_scale_gray=prior), None)
        image = images(1, 1, 3, 8, 8)
        log_theta_gray = torch.full_like(image, float(np.log(prior)))
        assert loss.content(image, log_theta_gray, image).item() == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("prior", [1.0, 0.7, 8.5])
def test_content_is_the_divergence_times_the_prior(prior: float) -> None:
    loss = DsnLoss(dsn_settings(prior_scale_gray=prior), None)
    mean, reference, log_theta_gray = (
        images(1, 1, 3, 2, 2),
        images(2, 1, 3, 2, 2),
        heads(3, 1, 3, 2, 2),
    )
    distance = 255 * np.abs(exact(mean) - exact(reference))
    divergences = [
        kl_of_laplace(d, theta, prior)
        for d, theta in zip(distance.flat, np.exp(exact(log_theta_gray)).flat, strict=True)
    ]
    expected = np.mean(divergences) * prior / 255
    assert loss.content(mean, log_theta_gray, reference).item() == pytest.approx(expected, rel=1e-4)


def test_content_without_theta_is_l1() -> None:
    loss = DsnLoss(dsn_settings(learn_theta=False), None)
    mean, reference = images(1, 2, 3, 9, 7), images(2, 2, 3, 9, 7)
    expected = np.abs(exact(mean) - exact(reference)).mean()
    for seed in (3, 4):  # whatever the head says
        found = loss.content(mean, heads(seed, 2, 3, 9, 7), reference)
        assert found.item() == pytest.approx(expected, rel=1e-6)


def low_passed(image: Array) -> Array:
    """5x5 Gaussian of sigma 5/6, its valid part."""
    blurred = gaussian_filter(image, 5 / 6, radius=2, axes=(2, 3), mode="constant")
    return np.asarray(blurred)[..., 2:-2, 2:-2]


def test_low_pass_content_is_that_of_the_released_code() -> None:
    """L1 of low-passed images, plus the terms with theta of the images; in gray levels, /255."""
    loss = DsnLoss(dsn_settings(content="low_pass"), None)
    mean, reference, log_theta_gray = (
        images(1, 2, 3, 9, 7),
        images(2, 2, 3, 9, 7),
        heads(3, 2, 3, 9, 7),
    )
    first, second, log = 255 * exact(mean), 255 * exact(reference), exact(log_theta_gray)
    distance, theta = np.abs(first - second), np.exp(log)
    expected = np.abs(low_passed(first) - low_passed(second)).mean()
    assert expected < 0.5 * distance.mean()  # it is another term
    found = DsnLoss(dsn_settings(content="low_pass", learn_theta=False), None)
    plain = found.content(mean, log_theta_gray, reference).item()
    assert plain == pytest.approx(expected / 255, rel=1e-5)
    expected += (theta * np.exp(-distance / theta) - log - 1).mean()
    told = loss.content(mean, log_theta_gray, reference).item()
    assert told == pytest.approx(expected / 255, rel=1e-5)


def test_perceptual_is_eq4_on_halved_features(vgg: VGG19Features) -> None:
    loss = DsnLoss(dsn_settings(perceptual_weight=0.01), vgg)
    mean, reference, log_sigma = (
        images(1, 2, 3, 32, 16),
        images(2, 2, 3, 32, 16),
        heads(3, 2, 512, 2, 1),
    )
    features = [0.5 * exact(vgg(image)) + 0.5 for image in (mean, reference)]
    distance = np.abs(features[0] - features[1])
    assert distance.shape == log_sigma.shape
    with_sigma = loss.perceptual(mean, log_sigma, reference).item()
    assert with_sigma == pytest.approx(eq2(255 * distance, exact(log_sigma)), rel=1e-5)
    without = loss.perceptual(mean, None, reference).item()
    assert without == pytest.approx(distance.mean(), rel=1e-5)
    assert with_sigma != pytest.approx(without, rel=1e-3)


# --- one step


class Spy:
    """What went through a network, call by call."""

    def __init__(self, network: nn.Module) -> None:
        self.inputs: list[Tensor] = []
        self.outputs: list[tuple[Tensor, ...]] = []
        network.register_forward_hook(self._see)

    def _see(self, _network: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        outputs = output if isinstance(output, tuple) else (output,)
        self.inputs.append(inputs[0].detach().clone())
        self.outputs.append(tuple(one.detach().clone() for one in outputs if one is not None))


def softplus(x: Array) -> Array:
    return np.asarray(np.logaddexp(0, x))


def high_pass(image: Array) -> Array:
    """0.5 + 0.5 (x - G(x)) pixel by pixel, from the 5x5 weights exp(-r^2 / (2 sigma^2))."""
    rows, columns = np.mgrid[-2:3, -2:3]
    window = np.exp(-(rows**2 + columns**2) / (2 * (5 / 6) ** 2))
    windows = np.lib.stride_tricks.sliding_window_view(image, (5, 5), (2, 3))
    blurred = (windows * window).sum(axis=(4, 5)) / window.sum()
    return np.asarray(0.5 + 0.5 * (image[..., 2:-2, 2:-2] - blurred))


def reduced(hr: Array, scale: int) -> Array:
    """(N, 3, H, W) by Pillow's antialiased bicubic filter, which has the same kernel."""
    height, width = hr.shape[2] // scale, hr.shape[3] // scale
    planes = hr.reshape(-1, *hr.shape[2:]).astype(np.float32)
    small = [
        np.asarray(Image.fromarray(p).resize((width, height), Image.Resampling.BICUBIC))
        for p in planes
    ]
    return np.stack(small).reshape(*hr.shape[:2], height, width).astype(np.float64)


def test_the_terms_of_a_step_and_their_sum(
    tiny: World, vgg: VGG19Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eq. 2, 4, 5, 6 and 7 again from what the networks saw and said."""
    monkeypatch.setattr(module, "VGG19Features", lambda _: vgg)
    weights = {"kl_weight": 0.9, "perceptual_weight": 0.05, "adversarial_weight": 0.3}
    trainer = DsnTrainer(DsnMaterial(tiny.hr, tiny.lr), dsn_settings(**weights), MACHINE)
    dsn, judge = Spy(trainer.dsn), Spy(trainer.discriminator)
    terms = {name: value.item() for name, value in trainer.step(1).items()}
    hr, real = trainer.data.batch(1)
    assert torch.equal(dsn.inputs[0], hr)
    mean, log_theta_gray, log_sigma = dsn.outputs[0]
    inner = np.s_[..., 2:-2, 2:-2]  # Pillow treats the border of the image otherwise
    with torch.no_grad():
        reference = bicubic_downsample(hr, 4)
        features = [0.5 * exact(vgg(image)) for image in (mean, reference)]
    assert np.abs(exact(reference) - reduced(exact(hr), 4))[inner].max() < 1e-3
    expected = {
        "kl": eq2(255 * np.abs(exact(mean) - exact(reference)), exact(log_theta_gray)),
        "kl_perceptual": eq2(255 * np.abs(features[0] - features[1]), exact(log_sigma)),
        "theta_mean": np.exp(exact(log_theta_gray)).mean(),
    }
    seen = [high_pass(exact(image)) for image in (mean, real)]  # the mean once, for both
    assert len(judge.inputs) == 2
    for found, wanted in zip(judge.inputs, seen, strict=True):
        assert np.abs(exact(found) - wanted).max() < 1e-5
    logits = [exact(output[0]) for output in judge.outputs]
    expected["adversarial"] = softplus(-logits[0]).mean()  # -log D(fake)
    expected["discriminator"] = softplus(-logits[1]).mean() + softplus(logits[0]).mean()
    expected["total"] = (
        0.9 * expected["kl"] + 0.05 * expected["kl_perceptual"] + 0.3 * expected["adversarial"]
    )
    assert terms == pytest.approx(expected, rel=1e-4)


def test_every_term_drives_the_network(
    tiny: World, vgg: VGG19Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient of Eq. 7 is the weighted sum of the gradients of its terms."""
    monkeypatch.setattr(module, "VGG19Features", lambda _: vgg)

    def gradient(kl: float, perceptual: float, adversarial: float) -> Array:
        settings = dsn_settings(
            kl_weight=kl, perceptual_weight=perceptual, adversarial_weight=adversarial
        )
        trainer = DsnTrainer(DsnMaterial(tiny.hr, tiny.lr), settings, MACHINE)
        trainer.step(0)
        parts = [p.grad for p in [*trainer.dsn.head.parameters(), *trainer.dsn.down.parameters()]]
        return np.concatenate([exact(part).ravel() for part in parts if part is not None])

    first = gradient(1, 0, 0)
    second, third = gradient(1, 100, 0) - first, gradient(1, 0, 1000) - first
    assert min(np.abs(one).max() for one in (first, second, third)) > 1e-2
    expected = 0.9 * first + 0.5 * second + 0.3 * third
    assert gradient(0.9, 50, 300) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def parameters(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.named_parameters()}


def changed(network: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """Names, up to the first dot, of the parts of a network that are not as they were."""
    now = parameters(network)
    return {name.split(".")[0] for name in now if not torch.equal(now[name], before[name])}


TRUNK = {"head", "blocks", "down", "mean_head"}
EVERYTHING = {*TRUNK, "log_theta_head", "log_sigma_head"}


@pytest.mark.parametrize(
    ("settings", "trained", "terms"),
    [
        ({}, EVERYTHING, {"kl", "kl_perceptual", "adversarial", "discriminator"}),
        ({"learn_theta": False}, EVERYTHING - {"log_theta_head"}, None),
        ({"learn_sigma": False}, EVERYTHING - {"log_sigma_head"}, None),
        (
            {"perceptual_weight": 0.0},
            EVERYTHING - {"log_sigma_head"},
            {"kl", "adversarial", "discriminator"},
        ),
        ({"adversarial_weight": 0.0}, EVERYTHING, {"kl", "kl_perceptual"}),
    ],
)
def test_switches(
    settings: dict[str, object],
    trained: set[str],
    terms: set[str] | None,
    tiny: World,
    vgg: VGG19Features,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a setting switches off leaves no term and moves no parameter."""
    asked: list[str] = []

    def built(weights: str) -> VGG19Features:
        asked.append(weights)
        return vgg

    monkeypatch.setattr(module, "VGG19Features", built)
    chosen = dsn_settings(**{"perceptual_weight": 0.01, "batch_size": 1, **settings})
    trainer = DsnTrainer(DsnMaterial(tiny.hr, tiny.lr), chosen, MACHINE)
    assert (trainer.loss.vgg is vgg) == (asked == ["random"]) == (chosen.perceptual_weight > 0)
    before = parameters(trainer.dsn), parameters(trainer.discriminator), parameters(vgg)
    made = trainer.step(0)
    assert changed(trainer.dsn, before[0]) == trained
    assert bool(changed(trainer.discriminator, before[1])) == (chosen.adversarial_weight > 0)
    assert not changed(vgg, before[2])
    if terms:
        assert made.keys() == {*terms, "total", "theta_mean"}


def test_zero_perceptual_weight_builds_no_vgg(tiny: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_weights: str) -> VGG19Features:
        pytest.fail("VGG19 was built")

    monkeypatch.setattr(module, "VGG19Features", refused)
    assert DsnTrainer(DsnMaterial(tiny.hr, tiny.lr), dsn_settings(), MACHINE).loss.vgg is None


def test_theta_that_is_not_learned_is_the_prior(tiny: World) -> None:
    trainer = DsnTrainer(
        DsnMaterial(tiny.hr, tiny.lr),
        dsn_settings(learn_theta=False, prior_scale_gray=2.5),
        MACHINE,
    )
    maps = trainer.maps_of(Degradation(heads(0, 1, 3, 4, 4), heads(1, 1, 3, 4, 4), None))
    assert torch.equal(maps["theta"], torch.full((1, 3, 4, 4), 2.5 / 255))
    assert trainer.step(0)["theta_mean"].item() == pytest.approx(2.5)
    statistics = trainer.statistics(2)
    for name in ("theta_mean", "theta_min", "theta_max"):
        assert statistics[name] == pytest.approx(2.5)


def test_rates_halve_every_so_many_epochs(tiny: World) -> None:
    settings = dsn_settings(
        halve_every=2, learning_rate=0.008, discriminator_learning_rate=0.016, batch_size=3
    )
    trainer = DsnTrainer(
        DsnMaterial(tiny.hr, tiny.lr), settings, MACHINE
    )  # 6 crops an epoch, 2 steps
    halvings = {0: 0, 3: 0, 4: 1, 7: 1, 8: 2, 13: 3}
    for step, count in halvings.items():
        trainer.step(step)
        for optimiser, rate in (
            (trainer.learner.optimiser, 0.008),
            (trainer.discriminator_learner.optimiser, 0.016),
        ):
            assert [group["lr"] for group in optimiser.param_groups] == [rate * 0.5**count]


def test_batches_are_crops_of_the_scheduled_images(tiny: World) -> None:
    trainer = DsnTrainer(DsnMaterial(tiny.hr, tiny.lr), dsn_settings(batch_size=5), MACHINE)
    hr, real = trainer.data.batch(0)
    assert hr.shape == (5, 3, 64, 64) and real.shape == (5, 3, 16, 16)
    assert not torch.equal(hr, trainer.data.batch(1)[0])
    again = DsnTrainer(
        DsnMaterial(tiny.hr, tiny.lr), dsn_settings(batch_size=5), MACHINE
    ).data.batch(0)
    assert torch.equal(hr, again[0]) and torch.equal(real, again[1])


@pytest.mark.arithmetic
def test_statistics_are_those_of_the_samples(tiny: World) -> None:
    trainer = DsnTrainer(DsnMaterial(tiny.hr, tiny.lr), dsn_settings(), MACHINE)
    with torch.no_grad():
        outputs = [trainer.dsn(trainer.data.batch(step)[0]) for step in range(3)]
    theta = np.exp(np.concatenate([exact(output.log_theta_gray) for output in outputs]))
    found = trainer.statistics(3)
    assert found["theta_mean"] == pytest.approx(theta.mean(), rel=1e-5)
    assert found["theta_min"] == pytest.approx(theta.min(), rel=1e-5)
    assert found["theta_max"] == pytest.approx(theta.max(), rel=1e-5)

    def spread(batches: list[Array]) -> float:
        stds = [np.sqrt(np.mean((2 * (high_pass(b) - 0.5)) ** 2)) for b in batches]
        return float(np.mean(stds) * 255)

    mean = [exact(output.mean) for output in outputs]
    real = [exact(trainer.data.batch(step)[1]) for step in range(3)]
    assert found["high_pass_spread_mean"] == pytest.approx(spread(mean), rel=1e-4)
    assert found["high_pass_spread_real"] == pytest.approx(spread(real), rel=1e-4)
    rng = np.random.default_rng(0)
    noisy = [
        m + rng.laplace(size=m.shape) * np.exp(exact(output.log_theta_gray)) / 255
        for m, output in zip(mean, outputs, strict=True)
    ]
    assert found["high_pass_spread_sample"] == pytest.approx(spread(noisy), rel=0.05)
    assert found["high_pass_spread_sample"] > 1.01 * found["high_pass_spread_mean"]


# --- what is refused


def test_a_loss_without_content_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="kl_weight must be positive"):
        dsn_settings(kl_weight=0.0)
    with pytest.raises(UserError, match="kl_weight must be positive") as caught:
        load_section(params(tmp_path, kl_weight=0.0), "train_dsn", TrainDsnSettings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("patch", "multiple"), [(96, 64), (32, 64), (65, 64)])
def test_a_patch_that_vgg_cannot_halve(patch: int, multiple: int, tiny: World) -> None:
    with pytest.raises(UserError) as caught:
        DsnTrainer(DsnMaterial(tiny.hr, tiny.lr), dsn_settings(hr_patch=patch), MACHINE)
    assert f"hr_patch is {patch}" in str(caught.value)
    assert f"multiple of {multiple}" in str(caught.value)


def test_a_patch_at_scale_two(tiny2: World) -> None:
    trainer = DsnTrainer(DsnMaterial(tiny2.hr, tiny2.lr), dsn_settings(hr_patch=32), MACHINE)
    assert [part.shape[-1] for part in trainer.data.batch(0)] == [32, 16]
    trainer.step(0)


def test_stores_of_two_scales(tiny: World, tiny2: World) -> None:
    with pytest.raises(UserError) as caught:
        DsnTrainer(DsnMaterial(tiny.hr, tiny2.lr), dsn_settings(), MACHINE)
    assert f"{tiny.hr.path} has the scale 4, but {tiny2.lr.path} has 2" in str(caught.value)


def test_real_images_smaller_than_a_crop(tiny: World, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "lr.zarr", "lr", 4, ["small"]) as writer:
        writer.add("small", {"image": picture(np.random.default_rng(0), 40, 15)})
    with pytest.raises(UserError) as caught:
        DsnTrainer(DsnMaterial(tiny.hr, Store(tmp_path / "lr.zarr", "lr")), dsn_settings(), MACHINE)
    for part in ("without the held-out parts 'small' is 40x12", "16x16", "train_dsn.hr_patch"):
        assert part in str(caught.value)


# --- whole runs


def run(
    tiny: World, settings: TrainDsnSettings, folder: Path, kernels: Path | None = None
) -> dict[str, Any]:
    material = DsnMaterial(tiny.hr, tiny.lr, kernels)
    metrics = train_dsn(material, settings, MACHINE, Places(folder, folder / "work"))
    assert metrics is not None
    return metrics


@pytest.fixture
def no_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the drawing, which takes longer than the training."""
    monkeypatch.setattr(DsnTrainer, "contact_sheet", lambda _self, _path: None)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps that are made, as they are made."""
    made: list[int] = []
    original = DsnTrainer.step

    def counted(self: DsnTrainer, step: int) -> dict[str, Tensor]:
        made.append(step)
        return original(self, step)

    monkeypatch.setattr(DsnTrainer, "step", counted)
    return made


def interrupt(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """As if Ctrl-C were pressed while a step is made, between the two networks."""
    original, updates = Learner.update, [0]

    def interrupted(self: Learner, decay: float) -> None:
        updates[0] += 1
        if updates[0] == 2 * (at + 1):
            raise KeyboardInterrupt
        original(self, decay)

    monkeypatch.setattr(Learner, "update", interrupted)


@pytest.fixture(scope="module")
def golden_run(
    tiny: World, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A whole run with every term on; its folder and its metrics."""
    folder = tmp_path_factory.mktemp("golden_dsn")
    settings = dsn_settings(perceptual_weight=0.01, log_every=1)
    return folder, run(tiny, settings, folder)


@pytest.mark.arithmetic
def test_golden_log(golden_run: tuple[Path, dict[str, Any]], compare_golden: CompareGolden) -> None:
    compare_golden("train_dsn", golden_run[0] / "curves.csv")


def test_results_of_a_run(golden_run: tuple[Path, dict[str, Any]], tiny: World) -> None:
    folder, metrics = golden_run
    assert names(folder) == ["contact_sheet.png", "curves.csv", "dsn.safetensors", "work"]
    (left,) = names(folder / "work")
    assert left.endswith(".finished")  # nothing is left to go on with
    assert min(read_image(folder / "contact_sheet.png").shape[1:]) > 200
    rows = read_rows(folder / "curves.csv")
    assert [int(row["step"]) for row in rows] == list(range(1, STEPS + 1))
    losses = {"kl", "kl_perceptual", "adversarial", "total", "theta_mean", "discriminator"}
    scores = {"wasserstein", "noise_level_difference"}
    assert rows[0].keys() == {"step", *losses, *scores}
    spreads = {f"high_pass_spread_{name}" for name in ("mean", "sample", "real")}
    judged = {"noise_level", "noise_level_real", "theta_level", "content_correlation"}
    judged |= {"noise_fault", "noise_ratio"}
    kept = {"kept", "kept_epoch", "warning"}
    thetas = {"theta_min", "theta_max", "prior_scale_gray"}
    assert metrics.keys() == {"step", *losses, *thetas, *spreads, *scores, *judged, *kept}
    assert (metrics["kept"], metrics["kept_epoch"], metrics["prior_scale_gray"]) == ("last", 1, 1.0)
    assert metrics["total"] == pytest.approx(float(rows[-1]["total"]), rel=1e-4)
    assert metrics["theta_min"] <= metrics["theta_mean"] <= metrics["theta_max"]
    with safe_open(folder / "dsn.safetensors", framework="np") as file:
        described = {key: json.loads(value) for key, value in file.metadata().items()}
        trunk = file.get_tensor("head.0.weight")
    assert len(described.pop("usrdu_sha256")) == 64
    assert trunk.shape == (4, 3, 3, 3)
    settings = dsn_settings(perceptual_weight=0.01, log_every=1)
    assert described == {
        "format": "usrdu-dsn-2",
        "scale": 4,
        "features": 4,
        "blocks": 1,
        "learned_theta": True,
        "prior_scale_gray": 1.0,
        "reference": "bicubic",
        "hr_digest": tiny.hr.digest,
        "lr_digest": tiny.lr.digest,
        "training": settings.model_dump(mode="json"),
        "imported_from": None,
    }


@pytest.mark.arithmetic
def test_an_interrupted_run_ends_like_a_straight_one(
    golden_run: tuple[Path, dict[str, Any]],
    tiny: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[int],
) -> None:
    """Interrupted in step 4 of 6, after the DSN but before the discriminator was updated."""
    settings = dsn_settings(perceptual_weight=0.01, log_every=1)
    with monkeypatch.context() as patch:
        interrupt(patch, at=5)
        with pytest.raises(KeyboardInterrupt):
            run(tiny, settings, tmp_path)
    assert names(tmp_path) == ["work"]
    (kept,) = (tmp_path / "work").iterdir()
    assert names(kept) == ["checkpoint.pt", "contact_sheet.png", "curves.csv", "lock"]
    metrics = run(tiny, settings, tmp_path)
    assert steps == [0, 1, 2, 3, 4, 5, 4, 5]
    assert metrics == golden_run[1]
    for name in ("dsn.safetensors", "curves.csv", "contact_sheet.png"):
        assert (tmp_path / name).read_bytes() == (golden_run[0] / name).read_bytes(), name


@pytest.mark.usefixtures("no_sheets")
def test_an_interrupted_run_over_the_real_images_ends_like_a_straight_one(
    tiny: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[int]
) -> None:
    """Two LR images, so an epoch has two steps of two crops; the discriminator was updated.

    The scores are made up, which saves most of the time.
    """
    made_up = DsnScores(1.0, None, None, None, 1.0, 1.0)
    monkeypatch.setattr(Monitor, "score", lambda *_: made_up)
    settings = dsn_settings(
        epoch_over="lr", turn_crops=False, discriminator_first=True, borders="zeros", log_every=1
    )
    straight = run(tiny, settings, tmp_path / "straight")
    assert straight["step"] == 4
    with monkeypatch.context() as patch:
        interrupt(patch, at=3)
        with pytest.raises(KeyboardInterrupt):
            run(tiny, settings, tmp_path / "again")
    steps.clear()
    assert run(tiny, settings, tmp_path / "again") == straight
    assert steps == [2, 3]
    for name in ("dsn.safetensors", "curves.csv"):
        files = [(tmp_path / run_of / name).read_bytes() for run_of in ("straight", "again")]
        assert files[0] == files[1], name


FREE: dict[str, object] = {"optimiser": "schedulefree", "schedule": "constant", "log_every": 1}


@pytest.mark.usefixtures("no_sheets")
@pytest.mark.parametrize("keep", ["last", pytest.param("best", marks=pytest.mark.slow)])
def test_the_schedule_free_average_is_scored_and_written(
    keep: str, tiny: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[int]
) -> None:
    """After a kill too; the first score, after one step, is the best here."""
    seen: list[dict[str, Tensor]] = []

    def score(_monitor: Monitor, maps: Any) -> DsnScores:
        trainer: DsnTrainer = maps.__self__
        seen.append({name: value.clone() for name, value in trainer.dsn.state_dict().items()})
        steps_made = trainer.learner.optimiser.param_groups[0]["k"]
        return DsnScores(float(steps_made), None, None, None, 1.0, 1.0)

    monkeypatch.setattr(Monitor, "score", score)
    monkeypatch.setattr(DsnTrainer, "statistics", lambda *_: {})
    settings = dsn_settings(**FREE, keep=keep, epochs=1)
    straight = run(tiny, settings, tmp_path / "straight")
    written = load_file(tmp_path / "straight" / "dsn.safetensors")
    for name, value in seen[0 if keep == "best" else -1].items():
        assert torch.equal(written[name], value), name
    with monkeypatch.context() as patch:
        interrupt(patch, at=2)
        with pytest.raises(KeyboardInterrupt):
            run(tiny, settings, tmp_path / "again")
    steps.clear()
    assert run(tiny, settings, tmp_path / "again")["total"] == straight["total"]
    assert steps == [2]
    files = [(tmp_path / of / "dsn.safetensors").read_bytes() for of in ("straight", "again")]
    assert files[0] == files[1]


@pytest.mark.usefixtures("no_sheets")
def test_other_settings_or_stores_start_afresh(
    tiny: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[int]
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, at=3)
        with pytest.raises(KeyboardInterrupt):
            run(tiny, dsn_settings(), tmp_path)
    assert steps == [0, 1, 2, 3]
    run(tiny, dsn_settings(learning_rate=0.002), tmp_path)
    assert steps[4:] == list(range(STEPS))
    with StoreWriter(tmp_path / "lr.zarr", "lr", 4, ["x"]) as writer:
        writer.add("x", {"image": picture(np.random.default_rng(0), 20, 24)})
    other = World(tiny.hr, Store(tmp_path / "lr.zarr", "lr"), tiny.val, tiny.maps)
    run(other, dsn_settings(), tmp_path)
    assert steps[4 + STEPS :] == list(range(STEPS))
    run(tiny, dsn_settings(), tmp_path)  # the first one is still there
    assert steps[4 + 2 * STEPS :] == [2, 3, 4, 5]


# --- kernels


KERNELS = dsn_settings(reference="kernels")


def write_kernels(path: Path, *sides: int) -> Path:
    """Boxes: at scale 4 the one of 4x4 gives the means of 4x4 pixels."""
    path.mkdir(exist_ok=True)
    for side in sides:
        np.save(path / f"box{side}.npy", np.ones((side, side)))
    return path


def test_the_mean_is_compared_with_the_blurred_image(tiny: World, tmp_path: Path) -> None:
    kernels = write_kernels(tmp_path / "k", 4)
    trainer = DsnTrainer(DsnMaterial(tiny.hr, tiny.lr, kernels), KERNELS, MACHINE)
    dsn = Spy(trainer.dsn)
    terms = trainer.step(1)
    hr, (mean, log_theta_gray) = exact(trainer.data.batch(1)[0]), dsn.outputs[0][:2]
    reference = hr.reshape(2, 3, 16, 4, 16, 4).mean(axis=(3, 5))
    expected = eq2(255 * np.abs(exact(mean) - reference), exact(log_theta_gray))
    assert terms["kl"].item() == pytest.approx(expected, rel=1e-5)


def test_every_step_draws_its_kernels(tiny: World, tmp_path: Path) -> None:
    kernels = write_kernels(tmp_path / "k", 4, 12)
    trainer = DsnTrainer(DsnMaterial(tiny.hr, tiny.lr, kernels), KERNELS, MACHINE)
    hr = trainer.data.batch(0)[0]
    first, second = (trainer.draw_reference(step, hr) for step in (0, 0))
    assert torch.equal(first, second)
    seen = {trainer.draw_reference(step, hr)[0].sum().item() for step in range(12)}
    assert len(seen) == 2  # the crop, blurred by one kernel or the other
    assert set(trainer.reference.description) == {"kernels", "sha256"}  # type: ignore[call-overload]


@pytest.mark.usefixtures("no_sheets")
def test_other_kernels_start_afresh(
    tiny: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[int]
) -> None:
    """Other ones in the same place; the same ones elsewhere go on."""
    kernels = write_kernels(tmp_path / "k", 4)
    with monkeypatch.context() as patch:
        interrupt(patch, at=3)
        with pytest.raises(KeyboardInterrupt):
            run(tiny, KERNELS, tmp_path, kernels)
    np.save(kernels / "box4.npy", np.eye(4))
    steps.clear()
    run(tiny, KERNELS, tmp_path, kernels)
    assert steps == list(range(STEPS))
    steps.clear()
    run(tiny, KERNELS, tmp_path, write_kernels(tmp_path / "elsewhere", 4))
    assert steps == [2, 3, 4, 5]
    with safe_open(tmp_path / "dsn.safetensors", framework="np") as file:
        described = json.loads(file.metadata()["reference"])
    assert described["kernels"] == ["box4.npy"]


@pytest.mark.usefixtures("no_sheets")
def test_other_weights_of_vgg_in_the_same_file_start_afresh(
    tiny: World,
    vgg: VGG19Features,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[int],
) -> None:
    monkeypatch.setattr(module, "VGG19Features", lambda _: vgg)
    file = tmp_path / "vgg19.pth"
    settings = dsn_settings(perceptual_weight=0.01, perceptual_weights=str(file))
    file.write_bytes(b"one")
    with monkeypatch.context() as patch:
        interrupt(patch, at=3)
        with pytest.raises(KeyboardInterrupt):
            run(tiny, settings, tmp_path)
    file.write_bytes(b"two")
    steps.clear()
    run(tiny, settings, tmp_path)
    assert steps == list(range(STEPS))
    file.write_bytes(b"one")
    steps.clear()
    run(tiny, settings, tmp_path)
    assert steps == [2, 3, 4, 5]


@pytest.mark.usefixtures("no_sheets")
def test_a_diverging_run_publishes_nothing(
    tiny: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = DsnLoss.content
    calls = [0]

    def broken(self: DsnLoss, *images: Tensor) -> Tensor:
        calls[0] += 1
        return content(self, *images) * (float("nan") if calls[0] > 4 else 1)

    monkeypatch.setattr(DsnLoss, "content", broken)
    before = crop_threads()
    with pytest.raises(UserError, match="train_dsn: the term 'kl' is nan at step 4;"):
        run(tiny, dsn_settings(), tmp_path)
    assert not crop_threads() - before
    assert names(tmp_path) == ["work"]
    monkeypatch.setattr(DsnLoss, "content", content)
    run(tiny, dsn_settings(), tmp_path)
    with safe_open(tmp_path / "dsn.safetensors", framework="np") as file:
        assert all(np.isfinite(file.get_tensor(key)).all() for key in file.keys())  # noqa: SIM118


@pytest.mark.arithmetic
def test_the_mean_learns_the_reference(tiny: World) -> None:
    """From nothing past the best constant towards bicubic, on crops it was not trained on."""
    settings = dsn_settings(adversarial_weight=0.0, features=8, learning_rate=0.01, halve_every=20)
    trainer = DsnTrainer(DsnMaterial(tiny.hr, tiny.lr), settings, MACHINE)
    hr, _ = trainer.data.batch(1000)
    reference = reduced(exact(hr), 4)

    def distance() -> float:
        with torch.no_grad():
            return float(np.abs(exact(trainer.dsn(hr).mean) - reference).mean())

    before, constant = distance(), np.abs(reference - np.median(reference)).mean()
    for step in range(80):
        trainer.step(step)
    assert distance() < 0.3 * before  # 0.12; other first weights 0.10 to 0.26
    assert distance() < 0.9 * constant  # 0.33; other first weights 0.27 to 0.87


# --- the command


def params(folder: Path, **changes: object) -> Path:
    path = folder / "params.yaml"
    content = {**dsn_settings().model_dump(), **changes}
    sections = {"train_dsn": content, "machine": MACHINE.model_dump()}
    path.write_text(json.dumps(sections))  # JSON is YAML
    return path


def call(tiny: World, folder: Path, *more: str, **changes: object) -> Result:
    arguments = ["--hr", tiny.hr.path, "--lr", tiny.lr.path, "--out", folder / "out"]
    arguments += ["--work", folder / "work", "--params", params(folder, **changes), *more]
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def one_sentence(result: Result) -> str:
    """The message of a user mistake: exit status 1, one line, no traceback."""
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert result.output.endswith(f"{line}\n") and "Traceback" not in result.output
    return line


def test_command(tiny: World, tmp_path: Path) -> None:
    result = call(tiny, tmp_path)
    assert result.exit_code == 0, result.output
    found = ["contact_sheet.png", "curves.csv", "dsn.safetensors", "metrics.json"]
    assert names(tmp_path / "out") == found
    for name in found:
        assert f"wrote {tmp_path / 'out' / name}" in result.output
    assert "learning_rate=0.001" in result.output  # the settings are said
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["step"] == STEPS


@pytest.mark.usefixtures("no_sheets")
def test_command_interrupted(
    tiny: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[int]
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, at=3)
        result = call(tiny, tmp_path)
    assert result.exit_code == 130
    assert "interrupted; the same command goes on" in result.output
    assert names(tmp_path / "out") == []
    assert call(tiny, tmp_path).exit_code == 0
    assert steps == [0, 1, 2, 3, 2, 3, 4, 5]


def test_command_with_images_smaller_than_a_crop(tiny: World, tmp_path: Path) -> None:
    message = one_sentence(call(tiny, tmp_path, hr_patch=192))
    assert "'bridge' is 144x152" in message and "192x192" in message and "hr_patch" in message
    assert names(tmp_path) == ["params.yaml"]


def test_command_with_an_unknown_setting(tiny: World, tmp_path: Path) -> None:
    message = one_sentence(call(tiny, tmp_path, learning_rat=0.1))
    assert "params.yaml: train_dsn.learning_rat is not a known setting" in message
    assert names(tmp_path) == ["params.yaml"]


def test_command_with_kernels(tiny: World, tmp_path: Path) -> None:
    kernels = tmp_path / "k"
    message = one_sentence(call(tiny, tmp_path, reference="kernels"))
    assert "folders.kernels names no folder; name it there, or by --kernels" in message
    message = one_sentence(call(tiny, tmp_path, "--kernels", str(kernels), reference="kernels"))
    assert f"{kernels}: there is no such kernel file or folder" in message
    file = write_kernels(kernels, 5) / "box5.npy"
    np.save(kernels / "bad.npy", np.zeros((3, 3)))
    message = one_sentence(call(tiny, tmp_path, "--kernels", str(kernels), reference="kernels"))
    assert f"{kernels / 'bad.npy'}: is no blur kernel: its values add up to 0" in message
    assert names(tmp_path) == ["k", "params.yaml"]
    result = call(tiny, tmp_path, "--kernels", str(file), reference="kernels")
    assert result.exit_code == 0, result.output
    (tmp_path / "out" / "dsn.safetensors").unlink()
    assert call(tiny, tmp_path, "--kernels", str(kernels)).exit_code == 0  # bicubic: not read


def test_command_where_the_results_cannot_go(tiny: World, tmp_path: Path) -> None:
    """Said before the training, not after it."""
    (tmp_path / "file").write_text("mine")
    message = one_sentence(call(tiny, tmp_path, "--out", str(tmp_path / "file" / "out")))
    assert str(tmp_path / "file" / "out") in message
    assert names(tmp_path) == ["file", "params.yaml"]


# --- what the discriminator sees, the prior, and the epoch that is kept


def test_only_a_sample_lets_the_discriminator_teach_theta(tiny: World) -> None:
    for shown, taught in (("mean", False), ("sample", True)):
        settings = dsn_settings(adversarial_on=shown)
        trainer = DsnTrainer(DsnMaterial(tiny.hr, tiny.lr), settings, MACHINE)
        mean = torch.full((1, 3, 16, 16), 0.5, requires_grad=True)
        log_theta_gray = torch.ones(1, 3, 16, 16, requires_grad=True)
        maps = trainer.maps_of(Degradation(mean, log_theta_gray, None))
        total = trainer.draw(maps, 0).square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        assert mean.grad is not None and bool(mean.grad.abs().min() > 0)
        assert (log_theta_gray.grad is not None) == taught


@pytest.mark.arithmetic
def test_a_shown_sample_has_the_law_of_eq8(tiny: World) -> None:
    trainer = DsnTrainer(
        DsnMaterial(tiny.hr, tiny.lr), dsn_settings(adversarial_on="sample"), MACHINE
    )
    mean = torch.full((1, 3, 200, 200), 0.5)
    log_theta_gray = torch.full_like(mean, float(np.log(3.0)))
    maps = trainer.maps_of(Degradation(mean, log_theta_gray, None))
    eps = (trainer.draw(maps, 1) - mean) * 255
    assert eps.abs().mean().item() == pytest.approx(3, rel=0.02)
    assert eps.std().item() == pytest.approx(3 * np.sqrt(2), rel=0.03)
    other = (trainer.draw(maps, 2) - mean) * 255
    assert not torch.equal(eps, other)


def test_an_estimated_prior_is_the_noise_of_the_real_images(tiny: World, tmp_path: Path) -> None:
    """Flat images with Gaussian noise of 10 gray levels: a Laplace scale of 10 / sqrt(2)."""
    rng = np.random.default_rng(0)
    with StoreWriter(tmp_path / "lr.zarr", "lr", 4, ["flat"]) as writer:
        noise = rng.normal(0, 10, (3, 160, 300))
        levels = np.linspace(60, 190, 300)[None, None] + noise
        writer.add("flat", {"image": levels.round().astype(np.uint8)})
    lr = Store(tmp_path / "lr.zarr", "lr")
    settings = with_prior(dsn_settings(prior_scale_gray="estimated"), lr)
    assert settings.prior_scale_gray == pytest.approx(10 / np.sqrt(2), rel=0.05)
    assert (
        DsnTrainer(
            DsnMaterial(tiny.hr, lr), dsn_settings(prior_scale_gray="estimated"), MACHINE
        ).settings
        == settings
    )


def test_a_prior_that_cannot_be_estimated(tiny: World, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "lr.zarr", "lr", 4, ["small"]) as writer:
        writer.add("small", {"image": picture(np.random.default_rng(0), 24, 24)})
    with pytest.raises(
        UserError, match=r"noise cannot be estimated: .*train_dsn\.prior_scale_gray"
    ):
        DsnTrainer(
            DsnMaterial(tiny.hr, Store(tmp_path / "lr.zarr", "lr")),
            dsn_settings(prior_scale_gray="estimated"),
            MACHINE,
        )


def test_the_best_epoch_is_written(
    tiny: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scores are made up: the first epoch is the best, after half of the training."""
    made_up = iter([5.0, 1.0, 3.0, 3.0])

    def score(self: Monitor, maps_of: object) -> DsnScores:
        del self, maps_of
        return DsnScores(next(made_up), None, None, None, 1.0, 1.0)

    monkeypatch.setattr(Monitor, "score", score)
    metrics = run(tiny, dsn_settings(keep="best"), tmp_path / "best")
    assert (metrics["kept"], metrics["kept_epoch"], metrics["wasserstein"]) == ("best", 0, 1.0)
    trainer = DsnTrainer(DsnMaterial(tiny.hr, tiny.lr), dsn_settings(), MACHINE)
    for step in range(trainer.schedule.steps(1)):
        trainer.step(step)
    with safe_open(tmp_path / "best" / "dsn.safetensors", framework="pt") as file:
        for key, value in trainer.dsn.state_dict().items():
            assert torch.equal(file.get_tensor(key), value)
