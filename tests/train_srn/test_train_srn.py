"""SRN training: the terms of Eq. 12, the moving average, warm starts, and runs from end to end.

The golden log, a few steps with every term on, is ``golden/train_srn.csv``; after a wanted change
``pytest tests/train_srn/test_train_srn.py --rewrite-golden`` writes it anew.
"""

import ast
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner, Result
from conftest import (
    MACHINE,
    PLENTY,
    CompareGolden,
    World,
    calibration,
    compact,
    names,
    picture,
    read_rows,
    srn_settings,
)
from crop_threads import crop_threads
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter
from spandrel import ImageModelDescriptor, ModelLoader
from torch import Tensor, nn

from pipeline.base.errors import UserError
from pipeline.reading.files import read_image
from pipeline.runs.description import Places
from pipeline.sampling.calibration import Calibration
from pipeline.sampling.sampler import Draw, make_sampler
from pipeline.stores.reader import Store
from pipeline.train_srn import train as module
from pipeline.train_srn.settings import Architecture, TrainSrnSettings
from pipeline.train_srn.streams import SampleStream
from pipeline.train_srn.terms import block_spectra
from pipeline.train_srn.train import SrnMaterial, SrnTrainer, open_stream, train_srn
from pipeline.training.learner import Learner, make_accelerator
from pipeline.training.vgg import VGG19Features
from pipeline.writing.writer import StoreWriter
from stages.train_srn import command

Array = NDArray[np.float64]
STEPS = 6
"""Two epochs of three images, two crops each, in batches of two."""

ESRGAN = Architecture(
    network="ESRGAN", options={"num_filters": 8, "num_blocks": 1}, warm_start=None, train=True
)


def trainer_of(
    hr: Store,
    maps: Store,
    architecture: Architecture,
    settings: TrainSrnSettings,
    measured: Calibration | None = None,
) -> SrnTrainer:
    accelerator = make_accelerator()
    stream = open_stream(
        SrnMaterial(hr, maps, measured), settings, settings.demand(accelerator, PLENTY)
    )
    return SrnTrainer(stream, architecture, settings, accelerator)


def exact(tensor: Tensor) -> Array:
    return tensor.detach().double().numpy()


# --- one step


class Spy:
    """What went through a network, call by call."""

    def __init__(self, network: nn.Module) -> None:
        self.inputs: list[Array] = []
        self.outputs: list[Array] = []
        network.register_forward_hook(self._see)

    def _see(self, _network: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.inputs.append(exact(inputs[0].clone()))
        self.outputs.append(exact(output.clone()))


def softplus(x: Array) -> Array:
    return np.asarray(np.logaddexp(0, x))


def gradient_map(image: Array, norm: str) -> Array:
    """Eq. 11: the L2 norm of the two forward differences, or the released code's L1 norm."""
    down = np.diff(image, axis=2)[:, :, :, :-1]
    right = np.diff(image, axis=3)[:, :, :-1, :]
    return np.hypot(down, right) if norm == "l2" else np.abs(down) + np.abs(right)


@pytest.mark.parametrize(
    ("judged", "norm", "discriminator"),
    [("gradient", "l2", "unet"), ("pixels", "l2", "vgg"), ("gradient", "l1", "vgg")],
)
def test_the_terms_of_a_step_and_their_sum(
    judged: str,
    norm: str,
    discriminator: str,
    tiny: World,
    vgg: VGG19Features,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Eq. 9 to 12 again from what the networks saw and said."""
    monkeypatch.setattr(module, "VGG19Features", lambda _: vgg)
    settings = srn_settings(
        content_weight=0.9,
        low_pass_weight=0.7,
        spectrum_weight=0.4,
        perceptual_weight=0.05,
        adversarial_weight=0.3,
        adversarial_on=judged,
        gradient_norm=norm,
        discriminator=discriminator,
    )
    trainer = trainer_of(tiny.hr, tiny.maps, compact(), settings)
    network, judge = Spy(trainer.network), Spy(trainer.discriminator)
    terms = {name: value.item() for name, value in trainer.step(1).items()}
    lr, hr = trainer.data.batch(1)
    (sr,) = network.outputs
    assert np.array_equal(network.inputs[0], exact(lr))
    assert sr.shape == (2, 3, 64, 64) == tuple(hr.shape)
    with torch.no_grad():
        pair = torch.from_numpy(sr).float(), hr
        features = [exact(vgg(image)) for image in pair]
        spectra = [exact(block_spectra(image)) for image in pair]
    low = [
        gaussian_filter(image, 1.5, radius=4, axes=(2, 3), mode="constant")[..., 4:-4, 4:-4]
        for image in (sr, exact(hr))
    ]
    expected = {
        "content": np.abs(sr - exact(hr)).mean(),
        "low_pass": np.abs(low[0] - low[1]).mean(),
        "spectrum": np.abs(spectra[0] - spectra[1]).mean(),
        "perceptual": np.abs(features[0] - features[1]).mean(),
    }
    seen = [sr, exact(hr)]  # the SR image once, for both networks
    if judged == "gradient":
        seen = [gradient_map(image, norm) for image in seen]
        assert seen[0].shape == (2, 3, 63, 63)
    assert judge.outputs[0].shape == ((2, 1) if discriminator == "vgg" else (2, 1, 63, 63))
    assert len(judge.inputs) == 2
    for found, wanted in zip(judge.inputs, seen, strict=True):
        assert np.abs(found - wanted).max() < 1e-6
    expected["adversarial"] = softplus(-judge.outputs[0]).mean()  # -log D(fake)
    expected["discriminator"] = (
        softplus(-judge.outputs[1]).mean() + softplus(judge.outputs[0]).mean()
    )
    weights = {"content": 0.9, "low_pass": 0.7, "spectrum": 0.4}
    weights |= {"perceptual": 0.05, "adversarial": 0.3}
    expected["total"] = sum(weight * expected[name] for name, weight in weights.items())
    assert terms == pytest.approx(expected, rel=1e-4)


def test_every_term_drives_the_network(
    tiny: World, vgg: VGG19Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient of Eq. 12 is the weighted sum of the gradients of its terms."""
    monkeypatch.setattr(module, "VGG19Features", lambda _: vgg)

    def gradient(content: float, perceptual: float, adversarial: float) -> Array:
        settings = srn_settings(
            content_weight=content, perceptual_weight=perceptual, adversarial_weight=adversarial
        )
        trainer = trainer_of(tiny.hr, tiny.maps, compact(), settings)
        trainer.step(0)
        parts = [p.grad for p in trainer.network.parameters()]
        return np.concatenate([exact(part).ravel() for part in parts if part is not None])

    first = gradient(1, 0, 0)
    second, third = gradient(1, 1, 0) - first, gradient(1, 0, 1) - first
    assert min(np.abs(one).max() for one in (first, second, third)) > 1e-3
    expected = 0.9 * first + 0.5 * second + 0.3 * third
    assert gradient(0.9, 0.5, 0.3) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_zero_weights_switch_terms_off(tiny: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_weights: str) -> VGG19Features:
        pytest.fail("VGG19 was built")

    monkeypatch.setattr(module, "VGG19Features", refused)
    settings = srn_settings(perceptual_weight=0.0, adversarial_weight=0.0)
    trainer = trainer_of(tiny.hr, tiny.maps, compact(), settings)
    judge = Spy(trainer.discriminator)
    terms = trainer.step(0)
    assert terms.keys() == {"content", "total"} and not judge.inputs
    assert terms["content"].item() == terms["total"].item()


def test_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(ValidationError, match="perceptual_weight are all zero"):
        srn_settings(content_weight=0.0, perceptual_weight=0.0)
    srn_settings(content_weight=0.0, perceptual_weight=1.0)
    srn_settings(content_weight=0.0, low_pass_weight=1.0)


def test_theta_none_trains_on_the_mean(tiny: World) -> None:
    raw, none = (
        trainer_of(tiny.hr, tiny.maps, compact(), srn_settings(theta=theta))
        for theta in ("raw", "none")
    )
    seen = [Spy(trainer.network) for trainer in (raw, none)]
    raw.step(0)
    none.step(0)
    assert not np.array_equal(seen[0].inputs[0], seen[1].inputs[0])
    mean = none.data.batch(0).lr
    assert np.array_equal(seen[1].inputs[0], exact(mean))
    levels = exact(mean) * 65536
    assert np.array_equal(levels, np.round(levels))  # float16 values, no noise on them


def test_the_constant_theta_is_in_gray_levels(tiny: World) -> None:
    """Each setting gives the same draws, times its scale."""
    noise = {}
    for levels in (1.0, 4.0):
        settings = srn_settings(theta="constant", constant_theta_gray=levels, batch_size=4)
        cpu = make_accelerator()
        made = open_stream(SrnMaterial(tiny.hr, tiny.maps), settings, settings.demand(cpu, PLENTY))
        without = srn_settings(theta="none", batch_size=4)
        plain = open_stream(SrnMaterial(tiny.hr, tiny.maps), without, without.demand(cpu, PLENTY))
        noise[levels] = exact(made.batch(0).lr) - exact(plain.batch(0).lr)
    assert noise[4.0] == pytest.approx(4 * noise[1.0], abs=1e-6)
    assert 255 * np.abs(noise[1.0]).mean() == pytest.approx(1, rel=0.1)  # E|eps| = 1


def test_no_constant_theta_asks_the_calibration(tiny: World) -> None:
    asking = srn_settings(theta="constant", constant_theta_gray=None)
    measured = calibration(tiny.maps, constant_theta_gray=3.0)
    told = srn_settings(theta="constant", constant_theta_gray=3.0)
    cpu = make_accelerator()
    one = open_stream(
        SrnMaterial(tiny.hr, tiny.maps, measured), asking, asking.demand(cpu, PLENTY)
    ).batch(0)
    other = open_stream(SrnMaterial(tiny.hr, tiny.maps), told, told.demand(cpu, PLENTY)).batch(0)
    assert torch.equal(one.lr, other.lr)
    with pytest.raises(UserError, match="constant and has no value, but no calibration"):
        open_stream(SrnMaterial(tiny.hr, tiny.maps), asking, asking.demand(cpu, PLENTY))
    not_asked = srn_settings(constant_theta_gray=None)
    open_stream(SrnMaterial(tiny.hr, tiny.maps), not_asked, not_asked.demand(cpu, PLENTY))


def test_calibrated_trains_on_calibrated_samples(tiny: World) -> None:
    settings, measured = srn_settings(theta="calibrated"), calibration(tiny.maps)
    trainer = trainer_of(tiny.hr, tiny.maps, compact(), settings, measured)
    seen = Spy(trainer.network)
    trainer.step(0)
    wanted = settings.demand(trainer.accelerator, PLENTY)
    expected = SampleStream(
        tiny.hr, tiny.maps, 16, make_sampler(Draw("calibrated"), measured, tiny.maps), wanted
    ).batch(0)
    assert np.array_equal(seen.inputs[0], exact(expected.lr))


def test_rates_halve_every_so_many_epochs(tiny: World) -> None:
    settings = srn_settings(
        halve_every=2, learning_rate=0.008, discriminator_learning_rate=0.016, batch_size=3
    )
    trainer = trainer_of(tiny.hr, tiny.maps, compact(), settings)  # 6 crops an epoch, 2 steps
    for step, count in {0: 0, 3: 0, 4: 1, 7: 1, 8: 2, 13: 3}.items():
        trainer.step(step)
        for optimiser, rate in (
            (trainer.learner.optimiser, 0.008),
            (trainer.discriminator_learner.optimiser, 0.016),
        ):
            assert [group["lr"] for group in optimiser.param_groups] == [rate * 0.5**count]


# --- the moving average


def weights(network: nn.Module) -> dict[str, Array]:
    return {name: exact(value.clone()) for name, value in network.state_dict().items()}


def test_the_average_is_the_recursion(tiny: World) -> None:
    """a_1 = w_1, a_k = 0.7 a_(k-1) + 0.3 w_k."""
    trainer = trainer_of(tiny.hr, tiny.maps, compact(), srn_settings(learning_rate=0.01))
    expected: dict[str, Array] = {}
    for step in range(5):
        trainer.step(step)
        now = weights(trainer.network)
        expected = {k: 0.7 * expected.get(k, v) + 0.3 * v for k, v in now.items()}
        found = weights(trainer.ema.module)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-5, abs=1e-7)
    first = weights(trainer.network)["body.0.weight"]
    assert np.abs(first - expected["body.0.weight"]).max() > 1e-3  # it lags behind


# --- warm start


def new_style(filters: int, blocks: int, seed: int) -> dict[str, Tensor]:
    """Random weights of RRDBNet for a scale of 4, in the keys of BasicSR and Real-ESRGAN."""
    shapes = {"conv_first": (filters, 3), "conv_last": (3, filters)}
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        shapes[name] = (filters, filters)
    for block in range(blocks):
        for dense in (1, 2, 3):
            for conv in range(1, 6):
                outputs = filters if conv == 5 else 32
                name = f"body.{block}.rdb{dense}.conv{conv}"
                shapes[name] = (outputs, filters + 32 * (conv - 1))
    source = torch.Generator().manual_seed(seed)
    state = {}
    for name, (outputs, inputs) in shapes.items():
        state[f"{name}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=source) / 20
        state[f"{name}.bias"] = torch.randn(outputs, generator=source) / 20
    return state


def rrdbnet(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """ESRGAN's generator (Wang et al. 2018) from its description, in the keys above."""

    def conv(name: str, image: Tensor) -> Tensor:
        return F.conv2d(image, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)

    def leaky(image: Tensor) -> Tensor:
        return F.leaky_relu(image, 0.2)

    def dense(name: str, image: Tensor) -> Tensor:
        seen = [image]
        for number in range(1, 5):
            seen.append(leaky(conv(f"{name}.conv{number}", torch.cat(seen, 1))))
        return image + 0.2 * conv(f"{name}.conv5", torch.cat(seen, 1))

    first = features = conv("conv_first", x)
    for block in range(len({name.split(".")[1] for name in state if name.startswith("body.")})):
        through = features
        for number in (1, 2, 3):
            through = dense(f"body.{block}.rdb{number}", through)
        features = features + 0.2 * through
    features = first + conv("conv_body", features)
    for name in ("conv_up1", "conv_up2"):
        features = leaky(conv(name, F.interpolate(features, scale_factor=2, mode="nearest")))
    return conv("conv_last", leaky(conv("conv_hr", features)))


def starting_from(path: Path, architecture: Architecture = ESRGAN) -> Architecture:
    return Architecture.model_validate({**architecture.model_dump(), "warm_start": str(path)})


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_warm_start_from_an_esrgan_file(wrapped: bool, tiny: World, tmp_path: Path) -> None:
    """Plain, and under ``params_ema`` as Real-ESRGAN's trainer writes it."""
    state = new_style(8, 1, seed=1)
    torch.save({"params_ema": state} if wrapped else state, tmp_path / "x4.pth")
    cold = trainer_of(tiny.hr, tiny.maps, ESRGAN, srn_settings())
    warm = trainer_of(tiny.hr, tiny.maps, starting_from(tmp_path / "x4.pth"), srn_settings())
    lr, _ = warm.data.batch(0)
    with torch.no_grad():
        expected = rrdbnet(state, lr)
        assert torch.allclose(warm.network(lr), expected, atol=1e-6)
        assert torch.allclose(warm.ema.module(lr), expected, atol=1e-6)
        assert not torch.allclose(cold.network(lr), expected, atol=1e-2)
    given = sorted(value.numpy().tobytes() for value in state.values())
    found = sorted(value.numpy().tobytes() for value in warm.network.state_dict().values())
    assert found == given  # bit by bit


def test_warm_starts_that_do_not_fit(tiny: World, tmp_path: Path) -> None:
    torch.save(new_style(8, 2, seed=1), tmp_path / "deeper.pth")
    torch.save(new_style(16, 1, seed=1), tmp_path / "wider.pth")
    torch.save({"nothing": torch.ones(3)}, tmp_path / "else.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "wider.pth").read_bytes()[:999])
    for name, reason in (
        ("deeper.pth", "does not fit the architecture"),
        ("wider.pth", "does not fit the architecture"),
        ("else.pth", "is not a model that spandrel can open"),
        ("cut.pth", "is neither a whole PyTorch nor a safetensors file"),
        ("none.pth", "there is no such model file"),
    ):
        with pytest.raises(UserError, match=reason) as caught:
            trainer_of(tiny.hr, tiny.maps, starting_from(tmp_path / name), srn_settings())
        assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)
    torch.save(new_style(8, 1, seed=1), tmp_path / "esrgan.pth")
    with pytest.raises(UserError, match="does not fit the architecture"):
        trainer_of(
            tiny.hr, tiny.maps, starting_from(tmp_path / "esrgan.pth", compact()), srn_settings()
        )


# --- what it is trained on


def test_only_the_material_that_is_used_counts(tiny: World) -> None:
    """Another calibration or other maps change nothing for who does not ask them."""
    given = SrnMaterial(tiny.hr, tiny.maps, calibration(tiny.maps), tiny.val)
    maps = given.used(srn_settings(theta="raw"))
    assert maps == SrnMaterial(tiny.hr, tiny.maps)
    assert given.used(srn_settings(theta="calibrated")) == replace(given, pairs=None)
    assert given.used(srn_settings(lr_from="bicubic", theta="calibrated")) == SrnMaterial(tiny.hr)
    assert given.used(srn_settings(lr_from="generic")) == SrnMaterial(tiny.hr)
    assert given.used(srn_settings(lr_from="pairs")) == SrnMaterial(pairs=tiny.val)
    assert maps.digests() == {"hr": tiny.hr.digest, "maps": tiny.maps.digest}
    needs = {"maps": "hr", "bicubic": "hr", "generic": "hr", "pairs": "pairs"}
    for wanted, lacking in needs.items():
        with pytest.raises(UserError, match=f"lr_from needs the store --{lacking}"):
            SrnMaterial().used(srn_settings(lr_from=wanted))


@pytest.mark.usefixtures("no_sheets")
@pytest.mark.parametrize("lr_from", ["bicubic", "generic", "pairs"])
def test_a_run_without_maps(lr_from: str, tiny: World, tmp_path: Path) -> None:
    before = crop_threads()
    result = run(tiny, srn_settings(lr_from=lr_from, theta="calibrated"), tmp_path, compact())
    assert not crop_threads() - before
    crops = {"bicubic": 3, "generic": 3, "pairs": 2}[lr_from] * 2 * 2
    assert result["step"] == crops // 2
    assert names(tmp_path / "out") == ["curves.csv", "srn.safetensors"]
    with safe_open(tmp_path / "out" / "srn.safetensors", "pt") as file:
        on = json.loads(file.metadata()["trained_on"])
    pairs = {"pairs": tiny.val.digest}
    assert on == (pairs if lr_from == "pairs" else {"hr": tiny.hr.digest})


def test_steps_do_not_depend_on_the_number_of_images(tiny: World) -> None:
    """The epochs are equal parts of them: 7 steps in 3 epochs, the rate halved after each."""
    material = SrnMaterial(tiny.hr, pairs=tiny.val)
    for lr_from in ("bicubic", "pairs"):
        settings = srn_settings(lr_from=lr_from, steps=7, epochs=3, halve_every=1)
        accelerator = make_accelerator()
        demand = settings.demand(accelerator, PLENTY)
        with closing(open_stream(material.used(settings), settings, demand)) as stream:
            trainer = SrnTrainer(stream, compact(), settings, accelerator)
            assert trainer.steps == 7
            rates = []
            for step in range(7):
                trainer.step(step)
                rates.append(trainer.learner.optimiser.param_groups[0]["lr"])
        halvings = [0, 0, 0, 1, 1, 2, 2]
        assert rates == pytest.approx([settings.learning_rate / 2**k for k in halvings])


def test_an_architecture_that_is_not_trained(tiny: World, tmp_path: Path) -> None:
    """Its warm start goes through, so that the next stage scores it like the others."""
    state = new_style(8, 1, seed=1)
    torch.save({"params": state}, tmp_path / "x4.pth")
    idle = starting_from(tmp_path / "x4.pth").model_copy(update={"train": False})
    assert run(tiny, srn_settings(), tmp_path, idle) == {"step": 0}
    assert names(tmp_path / "out") == [
        "contact_sheet.png",
        "curves.csv",
        "progress.png",
        "srn.safetensors",
    ]
    found = ModelLoader(device="cpu").load_from_file(tmp_path / "out" / "srn.safetensors")
    image = torch.rand(1, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(found.model(image), rrdbnet(state, image), atol=1e-6)


# --- whole runs


def run(
    tiny: World,
    settings: TrainSrnSettings,
    folder: Path,
    architecture: Architecture = ESRGAN,
    measured: Calibration | None = None,
) -> dict[str, Any]:
    material = SrnMaterial(tiny.hr, tiny.maps, measured, tiny.val)
    places = Places(folder / "out", folder / "work")
    metrics = train_srn(material, "mine", architecture, settings, MACHINE, places)
    assert metrics is not None
    return metrics


@pytest.fixture
def no_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the drawing, which takes longer than the training."""
    for name in ("contact_sheet", "draw_progress"):
        monkeypatch.setattr(SrnTrainer, name, lambda _self, _path: None)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps that are made, as they are made."""
    made: list[int] = []
    original = SrnTrainer.step

    def counted(self: SrnTrainer, step: int) -> dict[str, Tensor]:
        made.append(step)
        return original(self, step)

    monkeypatch.setattr(SrnTrainer, "step", counted)
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


FULL: dict[str, object] = {"perceptual_weight": 0.01, "log_every": 1}


@pytest.fixture(scope="module")
def golden_run(tiny: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SrnTrainer]:
    """A whole run with every term on; its folder and its trainer."""
    folder = tmp_path_factory.mktemp("golden_srn")
    trainers: list[SrnTrainer] = []

    def kept(*arguments: object) -> SrnTrainer:
        trainers.append(SrnTrainer(*arguments))  # type: ignore[arg-type]
        return trainers[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SrnTrainer", kept)
        metrics = run(tiny, srn_settings(**FULL), folder)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder, trainers[0]


@pytest.mark.arithmetic
def test_golden_log(golden_run: tuple[Path, SrnTrainer], compare_golden: CompareGolden) -> None:
    compare_golden("train_srn", golden_run[0] / "out" / "curves.csv")


def test_results_of_a_run(golden_run: tuple[Path, SrnTrainer], tiny: World) -> None:
    folder, _ = golden_run
    assert names(folder / "out") == [
        "contact_sheet.png",
        "curves.csv",
        "progress.png",
        "srn.safetensors",
    ]
    (left,) = names(folder / "work")
    assert left.endswith(".finished")  # nothing is left to go on with
    assert min(read_image(folder / "out" / "contact_sheet.png").shape[1:]) > 200
    rows = read_rows(folder / "out" / "curves.csv")
    assert [int(row["step"]) for row in rows] == list(range(1, STEPS + 1))
    terms = ["content", "perceptual", "adversarial", "total", "discriminator"]
    assert list(rows[0]) == ["step", *terms]
    metrics = json.loads((folder / "metrics.json").read_text())
    last = {key: float(value) for key, value in rows[-1].items()}
    assert metrics == pytest.approx(last, rel=1e-5)
    with safe_open(folder / "out" / "srn.safetensors", framework="np") as file:
        described = {key: json.loads(value) for key, value in file.metadata().items()}
    assert len(described.pop("usrdu_sha256")) == 64
    assert described == {
        "format": "usrdu-srn",
        "scale": 4,
        "architecture": ESRGAN.model_dump(),
        "settings": srn_settings(**FULL).model_dump(mode="json"),
        "trained_on": {"hr": tiny.hr.digest, "maps": tiny.maps.digest},
        "steps": STEPS,
        "images": len(tiny.hr.ids),
        "camera": None,
    }


def test_spandrel_opens_the_averaged_weights(golden_run: tuple[Path, SrnTrainer]) -> None:
    folder, trainer = golden_run
    model = ModelLoader(device="cpu").load_from_file(folder / "out" / "srn.safetensors")
    assert isinstance(model, ImageModelDescriptor)
    assert (model.architecture.id, model.scale, model.input_channels) == ("ESRGAN", 4, 3)
    average, last = trainer.ema.module.state_dict(), trainer.network.state_dict()
    opened = model.model.state_dict()
    assert opened.keys() == average.keys()
    assert all(torch.equal(opened[name], average[name]) for name in average)
    assert not all(torch.equal(opened[name], last[name]) for name in last)
    lr = trainer.pictured.lr
    with torch.no_grad():
        expected = trainer.ema.module(lr).clamp(0, 1)
        assert torch.allclose(model(lr), expected, atol=1e-6)


@pytest.mark.usefixtures("no_sheets")
def test_spandrel_opens_compact_and_there_is_nothing_else_in_the_file(
    tiny: World, tmp_path: Path
) -> None:
    run(tiny, srn_settings(), tmp_path, compact())
    path = tmp_path / "out" / "srn.safetensors"
    model = ModelLoader(device="cpu").load_from_file(path)
    assert isinstance(model, ImageModelDescriptor)
    assert (model.architecture.id, model.scale, model.input_channels) == ("Compact", 4, 3)
    state = model.model.state_dict()
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == set(state)
        assert all(torch.equal(file.get_tensor(name), state[name]) for name in state)


@pytest.mark.arithmetic
def test_an_interrupted_run_ends_like_a_straight_one(
    golden_run: tuple[Path, SrnTrainer],
    tiny: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[int],
) -> None:
    """Interrupted in the last step, after the network but before the average was updated."""
    with monkeypatch.context() as patch:
        interrupt(patch, at=5)
        with pytest.raises(KeyboardInterrupt):
            run(tiny, srn_settings(**FULL), tmp_path)
    assert names(tmp_path / "out") == []
    metrics = run(tiny, srn_settings(**FULL), tmp_path)
    assert steps == [0, 1, 2, 3, 4, 5, 4, 5]
    assert metrics == json.loads((golden_run[0] / "metrics.json").read_text())
    for name in ("srn.safetensors", "curves.csv", "contact_sheet.png", "progress.png"):
        straight = golden_run[0] / "out" / name
        assert (tmp_path / "out" / name).read_bytes() == straight.read_bytes(), name


FREE: dict[str, object] = {"optimiser": "schedulefree", "schedule": "constant", "warm_up": 2}
FREE |= {"ema_decay": 0.0, "ldl_weight": 0.5, "log_every": 1}


@pytest.mark.usefixtures("no_sheets")
@pytest.mark.parametrize(
    "changes",
    [
        FREE,
        pytest.param({"optimiser": "adamw", "schedule": "cosine"}, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_ends_like_a_straight_one_whatever_optimises(
    changes: dict[str, object],
    tiny: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[int],
) -> None:
    settings = srn_settings(**changes)
    straight = run(tiny, settings, tmp_path / "straight", compact())
    with monkeypatch.context() as patch:
        interrupt(patch, at=3)
        with pytest.raises(KeyboardInterrupt):
            run(tiny, settings, tmp_path / "again", compact())
    steps.clear()
    assert run(tiny, settings, tmp_path / "again", compact()) == straight
    assert steps == [2, 3, 4, 5]
    for name in ("srn.safetensors", "curves.csv"):
        files = [
            (tmp_path / run_of / "out" / name).read_bytes() for run_of in ("straight", "again")
        ]
        assert files[0] == files[1], name


def test_the_schedule_free_average_is_what_is_written_and_drawn(
    tiny: World, tmp_path: Path
) -> None:
    """X of y = (1 - beta) z + beta x, where z is the optimiser's and y the weights to train on."""
    trainer = trainer_of(tiny.hr, tiny.maps, compact(), srn_settings(**FREE))
    for step in range(3):
        trainer.step(step)
    trainer.finish(tmp_path / "srn.safetensors")
    written = load_file(tmp_path / "srn.safetensors")
    state = trainer.learner.optimiser.state
    for name, y in trainer.network.named_parameters():
        z = state[y]["z"]
        x = (y.detach() - (1 - 0.9) * z) / 0.9
        assert torch.allclose(written[name], x, atol=1e-6), name
        assert torch.equal(written[name], trainer.ema.module.state_dict()[name])
        assert not torch.equal(written[name], y)


@pytest.mark.usefixtures("no_sheets")
def test_other_settings_networks_maps_or_calibrations_start_afresh(
    tiny: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[int]
) -> None:
    settings = srn_settings(theta="calibrated")
    measured = calibration(tiny.maps)
    with monkeypatch.context() as patch:
        interrupt(patch, at=3)
        with pytest.raises(KeyboardInterrupt):
            run(tiny, settings, tmp_path, compact(), measured)
    steps.clear()
    described = {"hr_digest": tiny.hr.digest}
    with StoreWriter(tmp_path / "m.zarr", "maps", 4, tiny.maps.ids, described) as writer:
        for image_id in tiny.maps.ids:
            mean = tiny.maps.read(image_id, "mean")
            writer.add(image_id, {"mean": mean, "theta": np.full_like(mean, 0.01)})
    other = World(tiny.hr, tiny.lr, tiny.val, Store(tmp_path / "m.zarr", "maps"))
    wider = compact(options={"num_feat": 5, "num_conv": 1})
    run(tiny, settings.model_copy(update={"ema_decay": 0.8}), tmp_path, compact(), measured)
    run(tiny, settings, tmp_path, wider, measured)
    run(other, settings, tmp_path, compact(), calibration(other.maps))
    run(tiny, settings, tmp_path, compact(), calibration(tiny.maps, laplace_share=0.5))
    assert steps == 4 * list(range(STEPS))
    steps.clear()
    run(tiny, settings, tmp_path, compact(), measured)  # the first one is still there
    assert steps == [2, 3, 4, 5]


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
    settings = srn_settings(perceptual_weight=0.01, perceptual_weights=str(file))
    file.write_bytes(b"one")
    with monkeypatch.context() as patch:
        interrupt(patch, at=3)
        with pytest.raises(KeyboardInterrupt):
            run(tiny, settings, tmp_path, compact())
    for content, made in ((b"two", list(range(STEPS))), (b"one", [2, 3, 4, 5])):
        file.write_bytes(content)
        steps.clear()
        run(tiny, settings, tmp_path, compact())
        assert steps == made


@pytest.mark.arithmetic
def test_it_learns_to_enlarge(tmp_path: Path) -> None:
    """A tiny network on noise-free pairs: nearer to the HR image after 150 steps."""
    with StoreWriter(tmp_path / "hr.zarr", "hr", 2, ["x"]) as writer:
        image = picture(np.random.default_rng(0), 80, 80)
        writer.add("x", {"image": image})
    hr = Store(tmp_path / "hr.zarr", "hr")
    with StoreWriter(tmp_path / "m.zarr", "maps", 2, ["x"], {"hr_digest": hr.digest}) as writer:
        mean = image.reshape(3, 40, 2, 40, 2).mean((2, 4)) / 255
        theta = np.full_like(mean, 0.02)
        writer.add("x", {"mean": mean.astype(np.float16), "theta": theta.astype(np.float16)})
    settings = srn_settings(learning_rate=0.005, halve_every=100, adversarial_weight=0.0)
    trainer = trainer_of(hr, Store(tmp_path / "m.zarr", "maps"), compact(), settings)
    losses = [trainer.step(step)["content"].item() for step in range(150)]
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:5])


# --- what it does not know


def project_imports(path: Path) -> set[str]:
    """Modules of the project that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.split(".")[0] in ("pipeline", "stages")}


def transitive(start: str) -> set[str]:
    """Modules of the project that are loaded along with one."""
    root = Path(__file__).parents[2]
    waiting, seen = {start}, set[str]()
    while waiting:
        name = waiting.pop()
        path = root / (name.replace(".", "/") + ".py")
        if path.is_file() and name not in seen:
            seen.add(name)
            waiting |= project_imports(path)
    return seen


def test_the_dsn_is_never_opened() -> None:
    """Maps are all it needs; a change of the DSN must not train the SRN again."""
    loaded = transitive("stages.train_srn")
    assert {
        "pipeline.train_srn.train",
        "pipeline.train_srn.streams",
        "pipeline.srn.network",
    } <= loaded
    assert not loaded & {
        "pipeline.dsn.network",
        "pipeline.export.degrader",
        "pipeline.train_dsn.train",
        "pipeline.export.export",
    }
    assert "pipeline.dsn.network" in transitive("stages.export")  # so the search finds it


# --- the command

NO_CONSTANT: dict[str, object] = {"theta": "constant", "constant_theta_gray": None}


def call(tiny: World, folder: Path, arch: str = "mine", *more: object, **changes: object) -> Result:
    content = {
        "train_srn": {**srn_settings().model_dump(), **changes},
        "machine": MACHINE.model_dump(),
        "architectures": {
            "mine": compact().model_dump(),
            "strange": {**compact().model_dump(), "network": "NoSuchNet"},
            "wrong": {**compact().model_dump(), "options": {"num_feats": 3}},
            "lacking": {"options": {}, "train": True},
            "idle": {**compact().model_dump(), "train": False},
        },
    }
    params = folder / "params.yaml"
    params.write_text(json.dumps(content))  # JSON is YAML
    arguments: list[object] = ["--arch", arch, "--hr", tiny.hr.path, "--maps", tiny.maps.path]
    arguments += ["--out", folder / "out", "--work", folder / "work", "--params", params, *more]
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
    found = ["contact_sheet.png", "curves.csv", "metrics.json", "progress.png", "srn.safetensors"]
    assert names(tmp_path / "out") == found
    for name in found:
        assert f"wrote {tmp_path / 'out' / name}" in result.output
    assert "learning_rate=0.001" in result.output and "Compact" in result.output
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["step"] == STEPS


@pytest.mark.usefixtures("no_sheets")
@pytest.mark.parametrize("changes", [{"theta": "calibrated"}, NO_CONSTANT])
def test_command_with_a_calibration(
    changes: dict[str, object], tiny: World, tmp_path: Path, steps: list[int]
) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(calibration(tiny.maps).model_dump_json())
    result = call(tiny, tmp_path, "mine", "--calibration", path, **changes)
    assert result.exit_code == 0, result.output
    assert steps == list(range(STEPS))


@pytest.mark.parametrize(
    ("of", "changes", "parts"),
    [
        (None, {"theta": "calibrated"}, ["theta is calibrated", "no calibration was given"]),
        (None, NO_CONSTANT, ["has no value", "no calibration was given"]),
        ("other", {"theta": "calibrated"}, ["maps.zarr", "run the calibrate stage again"]),
        ("fault", {"theta": "calibrated"}, ["calibration.json", "too little"]),
        ("fault", NO_CONSTANT, ["calibration.json", "too little"]),
    ],
)
def test_command_without_the_right_calibration(
    of: str | None,
    changes: dict[str, object],
    parts: list[str],
    tiny: World,
    tiny2: World,
    tmp_path: Path,
) -> None:
    more: list[object] = []
    if of:
        measured = (
            calibration(tiny2.maps)
            if of == "other"
            else calibration(tiny.maps, fault="too little", variance_gray=[])
        )
        path = tmp_path / "calibration.json"
        path.write_text(measured.model_dump_json())
        more = ["--calibration", path]
    message = one_sentence(call(tiny, tmp_path, "mine", *more, **changes))
    for part in parts:
        assert part in message
    assert not (tmp_path / "out").exists()


def test_a_calibration_that_is_not_asked_is_not_opened(tiny: World, tmp_path: Path) -> None:
    """So that a run with the paper's theta does not depend on it."""
    (tmp_path / "calibration.json").write_text("damaged")
    more = ["--calibration", tmp_path / "calibration.json"]
    assert call(tiny, tmp_path, "mine", *more).exit_code == 0
    refused = call(tiny, tmp_path, "mine", *more, theta="calibrated")
    assert refused.exit_code == 1 and "calibration.json: is not a calibration" in refused.output


@pytest.mark.usefixtures("no_sheets")
def test_command_interrupted(
    tiny: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[int]
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, at=3)
        result = call(tiny, tmp_path)
    assert result.exit_code == 130
    assert "interrupted; the same command goes on" in result.output
    assert call(tiny, tmp_path).exit_code == 0
    assert steps == [0, 1, 2, 3, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("arch", "changes", "parts"),
    [
        ("yours", {}, ["the section 'architectures.yours' is missing"]),
        ("strange", {}, ["architecture 'NoSuchNet' is unknown", "ESRGAN"]),
        ("wrong", {}, ["architecture 'Compact' has no option 'num_feats'", "num_feat"]),
        ("lacking", {}, ["architectures.lacking.network is missing"]),
        ("mine", {"beta": 1}, ["train_srn.beta is not a known setting"]),
        ("mine", {"theta": "cooked"}, ["train_srn.theta", "'cooked'"]),
        ("mine", {"lr_patch": 36}, ["'castle' is 40x35", "36x36", "train_srn.lr_patch"]),
        (
            "mine",
            {"content_weight": 0.0},
            ["train_srn: content_weight, low_pass_weight, ", " and perceptual_weight are all zero"],
        ),
        ("idle", {}, ["architectures.idle: train is false, but there is no warm_start"]),
        ("mine", {"adam_betas": [0.9]}, ["train_srn.adam_betas"]),
        ("mine", {"adam_betas": [0.9, 1.0]}, ["train_srn.adam_betas.1", "less than 1"]),
        ("mine", {"lr_from": "pairs"}, ["lr_from needs the store --pairs"]),
    ],
)
def test_command_with_mistakes(
    arch: str, changes: dict[str, object], parts: list[str], tiny: World, tmp_path: Path
) -> None:
    message = one_sentence(call(tiny, tmp_path, arch, **changes))
    for part in parts:
        assert part in message
    assert names(tmp_path) == ["params.yaml"]


def test_command_where_the_results_cannot_go(tiny: World, tmp_path: Path, steps: list[int]) -> None:
    """Said before the training, not after it."""
    (tmp_path / "file").write_text("mine")
    message = one_sentence(call(tiny, tmp_path, "mine", "--out", tmp_path / "file" / "out"))
    assert str(tmp_path / "file" / "out") in message
    assert steps == [] and names(tmp_path) == ["file", "params.yaml"]
