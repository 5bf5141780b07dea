"""The terms that other trainers have, each against NumPy and SciPy."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import srn_settings
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models import vgg16

from pipeline.base.errors import UserError
from pipeline.train_srn.dists import open_dists
from pipeline.train_srn.losses import SrnLoss
from pipeline.train_srn.terms import TERMS, Images, Term, artifact_map, local_variance

Array = NDArray[np.float64]


def pair(height: int, width: int, seed: int = 0) -> tuple[Array, Array]:
    """SR and HR images, (2, 3, H, W)."""
    source = np.random.default_rng(seed)
    hr = source.random((2, 3, height, width))
    return hr + source.normal(0, 0.1, hr.shape), hr


def images_of(sr: Array, hr: Array, averaged: Array | None = None) -> Images:
    images = Images(torch.from_numpy(sr), torch.from_numpy(hr))
    if averaged is None:
        return images
    return images._replace(averaged=lambda: torch.from_numpy(averaged))


def term_of(name: str, **changes: object) -> Term:
    settings = srn_settings(**{f"{name}_weight": 1.0}, **changes)
    return TERMS[name].make(settings, None)


def value(name: str, sr: Array, hr: Array) -> float:
    return term_of(name)(images_of(sr, hr)).item()


def test_charbonnier() -> None:
    sr, hr = pair(9, 12)
    assert value("charbonnier", sr, hr) == pytest.approx(np.hypot(sr - hr, 1e-3).mean(), rel=1e-12)
    assert value("charbonnier", hr, hr) == pytest.approx(1e-3)


def test_fft() -> None:
    sr, hr = pair(9, 12)
    found = (np.fft.fft2(image) / np.sqrt(9 * 12) for image in (sr, hr))
    one, other = found
    parts = np.abs((one - other).real), np.abs((one - other).imag)
    assert value("fft", sr, hr) == pytest.approx(np.mean(parts), rel=1e-12)


def zhao(x: Array, y: Array) -> float:
    """The loss of Zhao et al. of one channel of one patch of 31 pixels, at its centre."""
    offsets = np.arange(31) - 15
    moments = []
    for sigma in (0.5, 1, 2, 4, 8):
        squared = offsets[:, None] ** 2 + offsets[None] ** 2
        g = np.exp(-squared / (2 * sigma**2))
        g /= g.sum()
        mean = np.sum(g * x), np.sum(g * y)
        variance = np.sum(g * (x - mean[0]) ** 2), np.sum(g * (y - mean[1]) ** 2)
        moments.append((mean, variance, np.sum(g * (x - mean[0]) * (y - mean[1]))))
    cs = np.prod([(2 * cov + 9e-4) / (v[0] + v[1] + 9e-4) for _, v, cov in moments])
    a, b = moments[-1][0]
    luminance = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    return float(0.84 * (1 - luminance * cs) + 0.16 * np.sum(g * np.abs(x - y)))


def test_ms_ssim_patch_by_patch() -> None:
    sr, hr = pair(32, 33)
    found = [
        zhao(sr[n, c, i : i + 31, j : j + 31], hr[n, c, i : i + 31, j : j + 31])
        for n in range(2) for c in range(3) for i in range(2) for j in range(3)
    ]  # fmt: skip
    assert value("ms_ssim", sr, hr) == pytest.approx(np.mean(found), rel=1e-10)
    assert value("ms_ssim", hr, hr) == pytest.approx(0, abs=1e-12)


def test_ldl() -> None:
    """The variances by NumPy, window by window."""
    sr, hr = pair(10, 12)
    averaged = hr + np.random.default_rng(1).normal(0, 0.1, hr.shape)
    residual = np.abs(hr - sr).sum(axis=1)
    steady = np.abs(hr - averaged).sum(axis=1)
    expected = np.zeros_like(residual)
    for n in range(2):
        mirrored = np.pad(residual[n], 3, mode="reflect")
        whole = residual[n].var(ddof=1) ** 0.2
        for i, j in np.ndindex(10, 12):
            expected[n, i, j] = whole * mirrored[i : i + 7, j : j + 7].var(ddof=1)
    expected[residual < steady] = 0
    assert 0.1 < np.mean(expected == 0) < 0.9
    images = images_of(sr, hr, averaged)
    found = artifact_map(images.sr, torch.from_numpy(averaged), images.hr).numpy()[:, 0]
    assert found == pytest.approx(expected, rel=1e-9)
    loss = np.abs(expected[:, None] * (sr - hr)).mean()
    assert term_of("ldl")(images).item() == pytest.approx(loss, rel=1e-9)


def test_ldl_of_an_image_that_is_right_has_a_finite_gradient() -> None:
    """var(R)^(1/5) has none at 0."""
    hr = torch.full((1, 3, 16, 16), 0.5)
    sr = hr.clone().requires_grad_()
    torch.autograd.backward(term_of("ldl")(Images(sr, hr, lambda: hr)))
    assert sr.grad is not None and torch.isfinite(sr.grad).all()
    assert local_variance(hr[:, :1]).max() == 0


@pytest.mark.parametrize("name", ["charbonnier", "ms_ssim", "fft"])
def test_the_gradient_of_a_term(name: str) -> None:
    sr, hr = (image[:1, :1] for image in images_of(*pair(31, 31))[:2])
    along = torch.randn(sr.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    term = term_of(name)

    def at(t: Tensor) -> Tensor:
        return term(Images(sr + t * along, hr))

    assert torch.autograd.gradcheck(at, torch.zeros((), dtype=torch.float64, requires_grad=True))


def test_a_term_without_a_weight_is_not_made() -> None:
    loss = SrnLoss(srn_settings(content_weight=0.0, fft_weight=0.5, charbonnier_weight=2.0), None)
    assert loss.weights == {"content": 0.0, "charbonnier": 2.0, "fft": 0.5}
    images = images_of(*pair(16, 16))
    assert list(loss.terms(images.sr, images.hr)) == ["content", "charbonnier", "fft"]
    with pytest.raises(ValueError, match="averaged network"):
        SrnLoss(srn_settings(ldl_weight=1.0), None).terms(images.sr, images.hr)


# --- DISTS: with weights made here it is the formula, not a perceptual distance


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Files in the forms of piq's weights and of torchvision's ``vgg16``."""
    folder = tmp_path_factory.mktemp("dists")
    source = torch.Generator().manual_seed(0)
    shares = torch.rand(2, 1475, generator=source, dtype=torch.float64)
    shares = (shares / shares.sum()).float()[:, None, :, None, None]
    torch.save({"alpha": shares[0], "beta": shares[1]}, folder / "dists.pt")
    with torch.device("meta"):
        shapes = vgg16(weights=None).features.state_dict()
    state = {
        f"features.{name}": torch.randn(of.shape, generator=source) * (2 / of[0].numel()) ** 0.5
        if of.ndim > 1
        else torch.zeros(of.shape)
        for name, of in shapes.items()
    }
    torch.save(state, folder / "vgg16.pth")
    return folder / "dists.pt", folder / "vgg16.pth"


def features(image: Tensor, state: dict[str, Tensor]) -> list[Array]:
    """The image and VGG16's features before every pooling, which is L2 under a Hann window."""
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    window = torch.outer(*2 * [torch.tensor([0.25, 0.5, 0.25])])
    found, x = [image], (image - mean) / deviation
    for number in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28):
        if number in (5, 10, 17, 24):
            found.append(x)
            kernel = window.expand(x.shape[1], 1, 3, 3)
            squares = F.conv2d(x**2, kernel, stride=2, padding=1, groups=x.shape[1])
            x = squares.sqrt()
        weight, bias = (state[f"features.{number}.{part}"] for part in ("weight", "bias"))
        x = F.relu(F.conv2d(x, weight, bias, padding=1))
    return [one.double().numpy() for one in [*found, x]]


def test_dists_by_its_formula(files: tuple[Path, Path]) -> None:
    """Ding et al., from the features."""
    shares, state = (torch.load(path, weights_only=True) for path in files)
    sr, hr = (image.float() for image in images_of(*pair(32, 48))[:2])
    alpha, beta = (shares[name].double().numpy().ravel() for name in ("alpha", "beta"))
    texture, structure = [], []
    for x, y in zip(features(sr, state), features(hr, state), strict=True):
        a, b = (z.mean(axis=(2, 3)) for z in (x, y))
        variances = x.var(axis=(2, 3)) + y.var(axis=(2, 3))
        covariance = ((x - a[..., None, None]) * (y - b[..., None, None])).mean(axis=(2, 3))
        texture.append((2 * a * b + 1e-6) / (a**2 + b**2 + 1e-6))
        structure.append((2 * covariance + 1e-6) / (variances + 1e-6))
    similar = np.concatenate(texture, 1) @ alpha + np.concatenate(structure, 1) @ beta
    term = term_of("dists", dists_weights=str(files[0]), dists_vgg16=str(files[1]))
    sr.requires_grad_()
    found = term(Images(sr, hr))
    assert found.item() == pytest.approx(1 - similar.mean(), rel=1e-3)
    assert term(Images(hr, hr)).item() == pytest.approx(0, abs=1e-5)
    torch.autograd.backward(found)
    assert sr.grad is not None and sr.grad.abs().max() > 0 and torch.isfinite(sr.grad).all()


def swapped(files: tuple[Path, Path]) -> tuple[Path | None, Path | None]:
    return files[1], files[0]


@pytest.mark.parametrize(
    ("chosen", "fault"),
    [
        (swapped, "cannot be loaded"),
        (lambda files: (files[0], None), "go together"),
        (lambda files: (files[0], files[1].parent / "none.pth"), "none.pth"),
    ],
)
def test_files_that_do_not_fit(
    chosen: Callable[[tuple[Path, Path]], tuple[Path | None, Path | None]],
    fault: str,
    files: tuple[Path, Path],
) -> None:
    paths = (None if path is None else str(path) for path in chosen(files))
    with pytest.raises(UserError, match=fault) as raised:
        open_dists(*paths)
    assert "train_srn.dists_weights" in str(raised.value)


def test_what_is_downloaded_is_said_where_there_is_no_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offline(*_arguments: object, **_options: object) -> nn.Module:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    with pytest.raises(UserError, match=r"DISTS cannot be loaded \(no network\)"):
        open_dists(None, None)
