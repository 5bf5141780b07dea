"""The DSN on a camera's passport: the loss with a prior per pixel, the start, and no training."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import World, dsn_settings, names, read_rows
from doubles import plain_passport
from ruamel.yaml import YAML
from scipy.integrate import quad
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.crops.memory import MachineSettings
from pipeline.dsn.file import load_dsn
from pipeline.dsn.network import DSN
from pipeline.export.degrader import Degrader
from pipeline.images.filters import bicubic_downsample
from pipeline.images.io import to_float
from pipeline.passport.model import CameraModel
from pipeline.passport.passport import Passport, write_passport
from pipeline.runs.description import Places
from pipeline.sampling.laplace import scale_terms, scaled_divergence
from pipeline.stores.weights import load_weights, save_weights
from pipeline.train_dsn.losses import DsnLoss
from pipeline.train_dsn.train import DsnMaterial, DsnTrainer, train_dsn
from stages.cli import main

MACHINE = MachineSettings(memory="auto", checkpoint_every=2)
OF_CAMERA: dict[str, Any] = {"reference": "camera", "prior_scale_gray": "camera"}


@pytest.fixture
def camera(tmp_path: Path) -> Path:
    path = tmp_path / "camera.json"
    write_passport(path, passport())
    return path


def passport(jpeg: object = None) -> Passport:
    sharpening = {"amount": 0.5, "radius": 1.0}
    return plain_passport(light="linear", sharpening=sharpening, jpeg=jpeg)


def trainer(tiny: World, camera: Path, **changes: object) -> DsnTrainer:
    settings = dsn_settings(**{**OF_CAMERA, **changes})
    return DsnTrainer(DsnMaterial(tiny.hr, tiny.lr, camera=camera), settings, MACHINE)


def hr_crop(tiny: World, side: int = 64) -> Tensor:
    return to_float(tiny.hr.read(tiny.hr.ids[0], "image"))[None, :, :side, :side]


def quadrature(distance: float, theta: float, prior: float) -> float:
    """KL[L(distance, theta) || L(0, prior)] from its definition."""

    def integrand(x: float) -> float:
        log_p = -abs(x - distance) / theta - np.log(2 * theta)
        log_q = -abs(x) / prior - np.log(2 * prior)
        return float(np.exp(log_p) * (log_p - log_q))

    far = 40 * theta
    value, _ = quad(integrand, distance - far, distance + far, points=(0, distance), limit=200)
    return float(value)


# --- Eq. 2 with a prior per pixel


def test_the_divergence_times_the_prior_of_every_pixel() -> None:
    rng = np.random.default_rng(0)
    distance, theta, prior = (rng.uniform(low, 12, 60) for low in (0, 0.3, 0.3))
    expected = [
        b * quadrature(d, s, b) / 255 for d, s, b in zip(distance, theta, prior, strict=True)
    ]
    found = scaled_divergence(
        torch.from_numpy(distance / 255),
        torch.from_numpy(np.log(theta / 255)),
        torch.from_numpy(prior / 255),
    )
    assert found.numpy() == pytest.approx(np.array(expected), rel=1e-5, abs=1e-9)


def test_it_vanishes_at_the_camera_and_nowhere_else() -> None:
    prior = torch.rand(40, generator=torch.Generator().manual_seed(1)).double() / 20 + 1e-3
    nothing = torch.zeros_like(prior)
    assert scaled_divergence(nothing, prior.log(), prior).abs().max() < 1e-12
    assert scaled_divergence(nothing, prior.log() + 0.1, prior).min() > 0
    assert scaled_divergence(nothing + 1e-3, prior.log(), prior).min() > 0


@pytest.mark.parametrize("prior", [1.0, 7.5])
@pytest.mark.parametrize("content", ["full_band", "low_pass"])
def test_a_constant_prior_per_pixel_is_the_number(prior: float, content: str) -> None:
    """The same loss, and the same gradients of mean and theta."""
    loss = DsnLoss(dsn_settings(prior_scale_gray=prior, content=content), None)
    source = torch.Generator().manual_seed(2)
    reference = torch.rand(2, 3, 9, 7, generator=source).double()
    found = []
    for scale in (None, torch.full_like(reference, prior / 255)):
        mean = reference + 0.02 * torch.randn(reference.shape, generator=source.manual_seed(3))
        log_theta = torch.randn(reference.shape, generator=source).double()
        mean, log_theta = mean.double().requires_grad_(), log_theta.requires_grad_()
        value = loss.content(mean, log_theta, reference, scale)
        found.append((value, *torch.autograd.grad(value, (mean, log_theta))))
    for number, per_pixel in zip(*found, strict=True):
        assert per_pixel.detach().numpy() == pytest.approx(number.detach().numpy(), rel=1e-9)


def test_a_prior_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"distance is \(3,\) but prior_scale is \(1,\)"):
        scale_terms(torch.ones(3), torch.zeros(3), torch.ones(1))


# --- the network


def test_the_untrained_dsn_is_the_passport(tiny: World, camera: Path) -> None:
    model, hr = CameraModel(passport()), hr_crop(tiny)
    maps = trainer(tiny, camera).maps(hr)
    assert torch.equal(maps["mean"], model(hr))
    expected = model.noise_scale(model(hr))
    assert maps["theta"].detach().numpy() == pytest.approx(expected.numpy(), rel=1e-5)


def test_the_first_step_has_no_content_loss(tiny: World, camera: Path) -> None:
    terms = trainer(tiny, camera).step(0)
    assert abs(terms["kl"].item()) < 1e-8


def test_mean_and_theta_are_residuals(tiny: World, camera: Path) -> None:
    """What the heads say is added to the mean, and multiplied with the noise scale."""
    dsn, hr = trainer(tiny, camera).dsn, hr_crop(tiny)
    before = dsn.maps(hr)
    with torch.no_grad():
        for head, value in ((dsn.mean_head, 0.125), (dsn.log_theta_head[-2], 0.5)):
            dict(head.named_parameters())["bias"].fill_(value)
    after = dsn.maps(hr)
    assert torch.allclose(after["mean"], before["mean"] + 0.125, atol=1e-6)
    assert torch.allclose(after["theta"], before["theta"] * np.exp(0.5), rtol=1e-5)


def test_both_heads_learn(tiny: World, camera: Path) -> None:
    made = trainer(tiny, camera, adversarial_on="sample", adversarial_weight=1.0)
    for step in range(2):
        made.step(step)
    for head in (made.dsn.mean_head, made.dsn.log_theta_head[-2]):
        assert all(bool(parameter.abs().max() > 0) for parameter in head.parameters())


def test_only_the_reference_is_the_camera(tiny: World, camera: Path) -> None:
    """The mean is a residual; theta is the paper's."""
    made, hr = trainer(tiny, camera, prior_scale_gray=2.0), hr_crop(tiny)
    assert made.dsn.camera is not None and not made.dsn.camera_theta
    assert torch.equal(made.maps(hr)["mean"], CameraModel(passport())(hr))
    assert made.prior(hr) is None and made.loss.prior == 2 / 255


def test_only_the_prior_is_the_camera(tiny: World, camera: Path) -> None:
    """It is the scale of the noise at the intensities of the reference, here bicubic."""
    made, hr = trainer(tiny, camera, reference="bicubic"), hr_crop(tiny)
    assert made.dsn.camera is None
    reference = made.draw_reference(0, hr)
    assert torch.equal(reference, bicubic_downsample(hr, 4))
    prior = made.prior(reference)
    assert prior is not None
    assert torch.equal(prior, CameraModel(passport()).noise_scale(reference))
    maps = made.learner(hr)
    expected = made.loss.content(maps.mean, maps.log_theta_gray, reference, prior)
    assert made.loss.terms(maps, reference, prior)["kl"].item() == expected.item()


def test_theta_that_is_not_learned_is_the_noise_of_the_camera(tiny: World, camera: Path) -> None:
    made, hr = trainer(tiny, camera, learn_theta=False, epochs=1), hr_crop(tiny)
    for step in range(made.steps):
        made.step(step)
    maps = made.maps(hr)
    expected = made.dsn.camera.noise_scale(made.dsn.camera(hr)) if made.dsn.camera else None
    assert expected is not None
    assert maps["theta"].detach().numpy() == pytest.approx(expected.numpy(), rel=1e-5)


def test_mixed_precision_leaves_the_camera_exact(tiny: World, camera: Path) -> None:
    made, hr = trainer(tiny, camera), hr_crop(tiny)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = made.dsn.maps(hr)
    exact = made.dsn.maps(hr)
    for name in ("mean", "theta"):
        assert torch.allclose(mixed[name], exact[name], rtol=1e-6)


def test_a_camera_of_another_scale() -> None:
    with pytest.raises(ValueError, match="scale must be that of the camera, 2, got 4"):
        DSN(4, 2, 1, CameraModel(plain_passport(2)))
    with pytest.raises(ValueError, match="camera_theta needs a camera"):
        DSN(4, 2, 1, None, camera_theta=True)


# --- no training


def run(tiny: World, camera: Path, folder: Path, **changes: object) -> dict[str, Any]:
    settings = dsn_settings(**{**OF_CAMERA, "epochs": 0, **changes})
    material = DsnMaterial(tiny.hr, tiny.lr, camera=camera)
    metrics = train_dsn(material, settings, MACHINE, Places(folder, folder / "work"))
    assert metrics is not None
    return metrics


@pytest.mark.parametrize("keep", ["last", "best"])
def test_maps_straight_from_the_passport(
    tiny: World, camera: Path, tmp_path: Path, keep: str
) -> None:
    metrics = run(tiny, camera, tmp_path / "out", keep=keep, perceptual_weight=0.01)
    found = ["contact_sheet.png", "curves.csv", "dsn.safetensors", "work"]
    assert names(tmp_path / "out") == found
    assert read_rows(tmp_path / "out" / "curves.csv") == []
    assert (tmp_path / "out" / "curves.csv").read_text() == "step,total\n"
    assert metrics["step"] == 0 and metrics["kept_epoch"] is None
    assert metrics["prior_scale_gray"] == "camera" and metrics["content_correlation"] > 0.99
    path = tmp_path / "out" / "dsn.safetensors"
    camera.unlink()
    description = load_dsn(path).description
    assert description.passport == passport()
    assert (description.features, description.blocks) == (1, 1)  # nothing to compute
    degrader, image = Degrader.load(path), tiny.hr.read(tiny.hr.ids[0], "image")
    hr, model = to_float(image)[None], CameraModel(passport())
    tiled = degrader.tiled(image, 12)
    assert tiled["mean"] == pytest.approx(model(hr)[0].numpy(), abs=1e-6)
    scale = model.noise_scale(model(hr))[0].numpy()
    assert tiled["theta"] == pytest.approx(scale, rel=1e-4)


def test_the_halo_is_the_larger_of_both() -> None:
    wide = CameraModel(plain_passport(sharpening={"amount": 1.0, "radius": 6.0}))
    assert wide.halo > DSN(4, 2, 1).halo
    assert DSN(4, 2, 1, wide).halo == wide.halo
    near = CameraModel(plain_passport(luma_kernel=[[0.25] * 2] * 2, chroma_kernel=[[0.25] * 2] * 2))
    assert DSN(4, 2, 1, near).halo == DSN(4, 2, 1).halo


@pytest.mark.parametrize(
    "changes",
    [{"reference": "bicubic"}, {"prior_scale_gray": 1.0}, {"reference": "kernels"}],
)
def test_without_a_training_both_must_be_the_cameras(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="epochs is 0, which needs a reference and a prior"):
        dsn_settings(**{**OF_CAMERA, "epochs": 0, **changes})


def test_theta_that_is_neither_learned_nor_of_the_reference() -> None:
    with pytest.raises(ValueError, match="learn_theta is false and prior_scale_gray is camera"):
        dsn_settings(learn_theta=False, prior_scale_gray="camera")


# --- the passport as an input


def test_another_passport_starts_afresh(tiny: World, camera: Path) -> None:
    first = trainer(tiny, camera)
    assert first.key(None) == trainer(tiny, camera).key(None)
    write_passport(camera, passport(jpeg={"luma": [9] * 64, "chroma": [9] * 64,
                                          "subsampling": "4:2:0"}))  # fmt: skip
    assert trainer(tiny, camera).key(None) != first.key(None)


def test_a_passport_that_is_not_used_is_not_read(tiny: World, camera: Path) -> None:
    plain = DsnTrainer(DsnMaterial(tiny.hr, tiny.lr), dsn_settings(), MACHINE)
    camera.write_text("no passport")
    material = DsnMaterial(tiny.hr, tiny.lr, camera=camera)
    with_file = DsnTrainer(material, dsn_settings(), MACHINE)
    assert with_file.key(None) == plain.key(None)
    assert with_file.describe().passport is None


def test_no_passport_or_one_of_another_scale(tiny: World, tiny2: World, camera: Path) -> None:
    with pytest.raises(UserError, match=r"camera, but no passport was given \(--camera\)"):
        DsnTrainer(DsnMaterial(tiny.hr, tiny.lr), dsn_settings(**OF_CAMERA), MACHINE)
    with pytest.raises(UserError, match=r"camera\.json has the scale 4, but the stores have 2"):
        trainer(tiny2, camera)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"passport": None}, "the passport is missing"),
        ({"scale": 2}, "its passport has the scale 4, not 2"),
        ({"passport": {"scale": 4}}, "passport"),
        ({"prior_scale_gray": -1.0}, "prior_scale_gray"),
        ({"prior_scale_gray": "film"}, "prior_scale_gray"),
    ],
)
def test_a_file_whose_passport_is_damaged(
    tiny: World, camera: Path, tmp_path: Path, changes: dict[str, object], fault: str
) -> None:
    run(tiny, camera, tmp_path / "out")
    path = tmp_path / "out" / "dsn.safetensors"
    state, metadata = load_weights(path, "usrdu-dsn-2")
    save_weights(path, state, metadata | changes)
    with pytest.raises(UserError, match=rf"do not fit its description: .*{fault}"):
        load_dsn(path)


def test_a_file_without_a_passport_is_one_of_before(tmp_path: Path, tiny: World) -> None:
    """It has no such key, so files of both ages open in code of both ages."""
    settings = dsn_settings(epochs=1)
    train_dsn(DsnMaterial(tiny.hr, tiny.lr), settings, MACHINE, Places(tmp_path / "o", tmp_path))
    path = tmp_path / "o" / "dsn.safetensors"
    assert "passport" not in load_weights(path, "usrdu-dsn-2")[1]
    assert load_dsn(path).network.camera is None


def test_command(tiny: World, camera: Path, tmp_path: Path) -> None:
    content = {
        "train_dsn": dsn_settings(**OF_CAMERA, epochs=0).model_dump(mode="json"),
        "machine": MACHINE.model_dump(),
    }
    YAML(typ="safe", pure=True).dump(content, tmp_path / "params.yaml")
    words = ["train-dsn", "--hr", str(tiny.hr.path), "--lr", str(tiny.lr.path)]
    words += ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    words += ["--params", str(tmp_path / "params.yaml")]
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == 1 and "no passport was given (--camera)" in refused.output
    result = CliRunner().invoke(main, [*words, "--camera", str(camera)])
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["prior_scale_gray"] == "camera" and metrics["kept_epoch"] is None
