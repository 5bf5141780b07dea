"""PSNR, SSIM, HaarPSI and LPIPS under every protocol, each computed a second way."""

import math
import os
import urllib.error
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import lpips
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import convolve2d
from skimage import metrics
from torch import Tensor, nn
from torchvision.models import AlexNet_Weights, alexnet

from pipeline.base.errors import UserError
from pipeline.images.io import Image
from pipeline.reading.files import read_image
from pipeline.scores import full_reference
from pipeline.scores.full_reference import Lpips, haarpsi, psnr, score, ssim
from pipeline.scores.protocols import USRDU, Name, Protocol, protocol

CUT: dict[Name, int] = {"usrdu": 4, "rwsr2020": 0, "y": 3}
"""Border of every protocol at scale 3, another one than 4."""
every_protocol = pytest.mark.parametrize("name", list(CUT))

CONVOLUTIONS = {
    0: (64, 3, 11),
    3: (192, 64, 5),
    6: (384, 192, 3),
    8: (256, 384, 3),
    10: (256, 256, 3),
}
"""Index in ``alexnet().features``: outputs, inputs, side of the kernel."""


def picture(height: int, width: int, seed: int = 0) -> Image:
    """Smooth areas and noise, so that SSIM is far from 0 and 1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    smooth = [127 + 100 * np.sin(x / 7 + c) * np.cos(y / (5 + c)) for c in range(3)]
    return np.clip(np.stack(smooth) + rng.normal(0, 20, (3, height, width)), 0, 255).astype(
        np.uint8
    )


def seen(image: Image, name: Name) -> NDArray[np.float64]:
    """What a protocol sees (C, H, W); Y of BT.601 as published."""
    cut = CUT[name]
    inner = image[:, cut : image.shape[1] - cut, cut : image.shape[2] - cut].astype(np.float64)
    if name != "y":
        return inner
    red, green, blue = inner
    return np.stack([16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255])


# ---------------------------------------------------------------- PSNR


@pytest.mark.parametrize(("difference", "expected"), [(1, 48.1308), (5, 34.1514), (51, 13.9794)])
@pytest.mark.parametrize("name", ["usrdu", "rwsr2020"])
def test_psnr_by_hand(name: Name, difference: int, expected: float) -> None:
    """20 log10(255 / difference)."""
    hr = np.full((3, 20, 24), 100, np.uint8)
    one = protocol(name, 4)
    assert psnr(hr + np.uint8(difference), hr, one) == pytest.approx(expected, abs=1e-4)
    assert psnr(hr - np.uint8(difference), hr, one) == pytest.approx(expected, abs=1e-4)


def test_psnr_of_y_by_hand() -> None:
    """Gray levels are 219/255 as far apart in Y; green alone 128.553/255."""
    hr = np.full((3, 20, 24), 100, np.uint8)
    sr = hr + np.uint8(5)
    expected = 20 * math.log10(255 / (5 * 219 / 255))
    assert psnr(sr, hr, protocol("y", 4)) == pytest.approx(expected, abs=1e-9)
    sr = hr.copy()
    sr[1] += 51
    expected = 20 * math.log10(255 / (51 * 128.553 / 255))
    assert psnr(sr, hr, protocol("y", 4)) == pytest.approx(expected, abs=1e-9)


def test_psnr_of_one_pixel_by_hand() -> None:
    hr = np.zeros((3, 18, 13), np.uint8)  # 10 x 5 after the cut
    sr = hr.copy()
    sr[1, 4, 4] = 255
    assert psnr(sr, hr, USRDU) == pytest.approx(10 * math.log10(3 * 10 * 5), rel=1e-12)
    whole = protocol("rwsr2020", 4)
    assert psnr(sr, hr, whole) == pytest.approx(10 * math.log10(3 * 18 * 13), rel=1e-12)
    sr[:] = 255
    assert psnr(sr, hr, USRDU) == pytest.approx(0, abs=1e-12)


@every_protocol
def test_psnr_is_over_all_pixels_and_channels(name: Name) -> None:
    sr, hr = picture(25, 31, 1), picture(25, 31, 2)
    error = seen(sr, name) - seen(hr, name)
    expected = 10 * math.log10(255**2 / (error**2).mean())
    assert psnr(sr, hr, protocol(name, 3)) == pytest.approx(expected, abs=1e-9)


@every_protocol
def test_psnr_is_that_of_scikit_image(name: Name) -> None:
    sr, hr = picture(25, 31, 1), picture(25, 31, 2)
    expected = metrics.peak_signal_noise_ratio(seen(hr, name), seen(sr, name), data_range=255)
    assert psnr(sr, hr, protocol(name, 3)) == pytest.approx(expected, abs=1e-6)


# ---------------------------------------------------------------- SSIM


def reference_ssim(sr: Image, hr: Image, name: Name) -> float:
    """Wang et al. 2004 as in their ``ssim_index.m``, channel by channel, in float64.

    For ``rwsr2020`` the window is 7x7 and uniform, and variances are those of a sample of 49.
    """
    if name == "rwsr2020":
        window, sample = np.full((7, 7), 1 / 49), 49 / 48
    else:
        offset = np.arange(11) - 5
        window, sample = np.exp(-(offset[:, None] ** 2 + offset[None] ** 2) / (2 * 1.5**2)), 1.0
        window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def mean(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(convolve2d(x, window, mode="valid"))

    values = []
    for a, b in zip(seen(sr, name), seen(hr, name), strict=True):
        ma, mb = mean(a), mean(b)
        va, vb, cov = (
            sample * (mean(x * y) - mean(x) * mean(y)) for x, y in ((a, a), (b, b), (a, b))
        )
        index = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
        values.append(index.mean())
    return float(np.mean(values))


@pytest.mark.parametrize("size", [(19, 19), (24, 40), (61, 50)])
@every_protocol
def test_ssim_is_that_of_wang_2004(name: Name, size: tuple[int, int]) -> None:
    sr, hr = picture(*size, seed=3), picture(*size, seed=4)
    expected = reference_ssim(sr, hr, name)
    assert 0.1 < expected < 0.9
    assert ssim(sr, hr, protocol(name, 3)) == pytest.approx(expected, abs=1e-6)
    assert ssim(hr, sr, protocol(name, 3)) == pytest.approx(expected, abs=1e-6)


def test_ssim_of_the_challenge_is_the_default_of_scikit_image() -> None:
    """The organisers call it on (H, W, 3) uint8 with the channel axis and the range alone."""
    sr, hr = picture(40, 33, 3), picture(40, 33, 4)
    last = [np.moveaxis(image, 0, -1) for image in (hr, sr)]
    expected = metrics.structural_similarity(*last, channel_axis=2, data_range=255)
    assert ssim(sr, hr, protocol("rwsr2020", 4)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "a", "b"), [("usrdu", 50, 100), ("y", 16 + 50 * 219 / 255, 16 + 100 * 219 / 255)]
)
def test_ssim_of_constants_by_hand(name: Name, a: float, b: float) -> None:
    c1 = (0.01 * 255) ** 2
    sr, hr = np.full((3, 24, 24), 50, np.uint8), np.full((3, 24, 24), 100, np.uint8)
    expected = (2 * a * b + c1) / (a**2 + b**2 + c1)
    assert ssim(sr, hr, protocol(name, 4)) == pytest.approx(expected, abs=1e-9)


@every_protocol
def test_the_smallest_image_that_ssim_takes(name: Name) -> None:
    one = protocol(name, 3)
    side = 2 * CUT[name] + one.window_side
    image = picture(side, side)
    assert ssim(image, image, one) == pytest.approx(1)
    with pytest.raises(ValueError, match="win_size"):
        ssim(image[:, 1:], image[:, 1:], one)


# ---------------------------------------------------------------- HaarPSI


def same(image: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """MATLAB's ``conv2(..., 'same')``, whose middle of an even kernel is the later one."""
    first, (height, width) = len(kernel) // 2, image.shape
    return np.asarray(convolve2d(image, kernel)[first : first + height, first : first + width])


def haar_coefficients(image: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Haar wavelets of Y: (3 scales, 2 directions, H/2, W/2); and means of 2x2 of I and Q."""
    yiq = np.array(
        [[0.2990, 0.5870, 0.1140], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]]
    )
    whole = np.einsum("cd,dhw->chw", yiq, image[:, 4:-4, 4:-4].astype(np.float64))
    height, width = whole.shape[1] // 2, whole.shape[2] // 2
    half = whole.reshape(3, height, 2, width, 2).mean((2, 4))
    found = []
    for side in (2, 4, 8):
        wavelet = np.ones((side, side)) / side
        wavelet[: side // 2] *= -1
        found.append([np.abs(same(half[0], one)) for one in (wavelet, wavelet.T)])
    chroma = [np.abs(same(one, np.ones((2, 2)) / 4)) for one in half[1:]]
    return np.array(found), np.array(chroma)


def reference_haarpsi(sr: Image, hr: Image) -> float:
    """Reisenhofer et al. 2018 with their constants, for even sides."""

    def similarity(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((2 * x * y + 30) / (x**2 + y**2 + 30))

    (a, chroma_a), (b, chroma_b) = haar_coefficients(sr), haar_coefficients(hr)
    local = similarity(a[:2], b[:2]).mean(axis=0)
    weights = np.maximum(a[2], b[2])
    local = np.concatenate([local, similarity(chroma_a, chroma_b).mean(axis=0)[None]])
    weights = np.concatenate([weights, weights.mean(axis=0)[None]])
    share = (weights / (1 + np.exp(-4.2 * local))).sum() / weights.sum()
    return float((np.log(share / (1 - share)) / 4.2) ** 2)


@pytest.mark.parametrize("size", [(40, 52), (70, 64)])
def test_haarpsi_is_that_of_reisenhofer_2018(size: tuple[int, int]) -> None:
    sr, hr = picture(*size, seed=3), picture(*size, seed=4)
    expected = reference_haarpsi(sr, hr)
    assert 0.1 < expected < 0.9
    assert haarpsi(sr, hr, USRDU) == pytest.approx(expected, abs=1e-5)
    assert haarpsi(hr, sr, USRDU) == pytest.approx(haarpsi(sr, hr, USRDU), abs=1e-6)


def test_haarpsi_falls_with_noise() -> None:
    hr, rng = picture(64, 60), np.random.default_rng(0)
    noise, found = rng.normal(size=hr.shape), [1.0]
    for deviation in (0, 2, 5, 12, 30):
        sr = np.clip(np.round(hr + deviation * noise), 0, 255).astype(np.uint8)
        found.append(haarpsi(sr, hr, USRDU))
    assert found[1] == pytest.approx(1, abs=1e-5)
    assert all(later < earlier for earlier, later in pairwise(found[1:]))
    assert 0 < found[-1] < 0.8


def test_haarpsi_does_not_see_the_border() -> None:
    hr, sr = picture(40, 44), picture(40, 44)
    for border in (sr[:, :4], sr[:, -4:], sr[:, :, :4], sr[:, :, -4:]):
        border[:] = 255 - border
    assert haarpsi(sr, hr, USRDU) == pytest.approx(1, abs=1e-5)
    sr[:, 4:8, 4:8] = 255 - sr[:, 4:8, 4:8]
    assert haarpsi(sr, hr, USRDU) < 0.999


# ---------------------------------------------------------------- both


@every_protocol
def test_identical_images(name: Name) -> None:
    image, one = picture(30, 30), protocol(name, 3)
    assert psnr(image, image.copy(), one) == math.inf
    assert ssim(image, image.copy(), one) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("name", "cut"), [("usrdu", 4), ("y", 3)])
def test_the_border_does_not_count(name: Name, cut: int) -> None:
    hr, sr, one = picture(30, 33), picture(30, 33), protocol(name, 3)
    for border in (sr[:, :cut], sr[:, -cut:], sr[:, :, :cut], sr[:, :, -cut:]):
        border[:] = 255 - border
    assert not np.array_equal(sr, hr)
    assert psnr(sr, hr, one) == math.inf and ssim(sr, hr, one) == pytest.approx(1, abs=1e-12)
    for row, column in ((cut, cut), (cut, -cut - 1), (-cut - 1, cut), (-cut - 1, -cut - 1)):
        changed = sr.copy()
        changed[:, row, column] ^= 255
        assert psnr(changed, hr, one) < 60 and ssim(changed, hr, one) < 1 - 1e-9


def test_every_pixel_counts_in_the_challenge() -> None:
    hr, one = picture(30, 33), protocol("rwsr2020", 3)
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        sr = hr.copy()
        sr[:, row, column] ^= 255
        assert psnr(sr, hr, one) < 60 and ssim(sr, hr, one) < 1 - 1e-9


# ---------------------------------------------------------------- LPIPS


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """The state dict of an AlexNet with random convolutions; its classifier takes no room."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}
    for index, (outputs, inputs, side) in CONVOLUTIONS.items():
        spread = (2 / (inputs * side**2)) ** 0.5
        shape = (outputs, inputs, side, side)
        state[f"features.{index}.weight"] = spread * torch.randn(shape, generator=generator)
        state[f"features.{index}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
    with torch.device("meta"):
        whole = alexnet().state_dict()
    assert set(state) == {name for name in whole if name.startswith("features")}
    for name in whole.keys() - state.keys():
        state[name] = torch.zeros(()).expand(whole[name].shape)
    return state


@pytest.fixture(scope="module")
def metric(weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Lpips:
    path = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    torch.save(weights, path)
    return Lpips(str(path))


def without_network(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("there is no network here")

    monkeypatch.setenv("TORCH_HOME", str(cache))
    monkeypatch.setattr("torch.hub.urlopen", refuse)


def assert_loaded(metric: Lpips, weights: dict[str, Tensor]) -> None:
    """Every slice of the lpips package ends before the next pooling and holds one convolution."""
    slices = [getattr(metric.network.net, f"slice{number}") for number in range(1, 6)]
    for part, index in zip(slices, CONVOLUTIONS, strict=True):
        (conv,) = [layer for layer in part if isinstance(layer, nn.Conv2d)]
        assert torch.equal(conv.weight, weights[f"features.{index}.weight"])
        assert conv.bias is not None
        assert torch.equal(conv.bias, weights[f"features.{index}.bias"])


def reference_lpips(sr: Image, hr: Image, weights: dict[str, Tensor], cut: int) -> float:
    """Zhang et al. 2018, version 0.1, on torchvision's AlexNet, in float64."""
    with torch.device("meta"):
        features = alexnet().features
    convolutions = {
        name.removeprefix("features."): value.double()
        for name, value in weights.items()
        if name.startswith("features")
    }
    features.load_state_dict(convolutions, assign=True)
    package = Path(lpips.__file__).parent
    linear = torch.load(package / "weights" / "v0.1" / "alex.pth", map_location="cpu")
    shift = torch.tensor([-0.030, -0.088, -0.188], dtype=torch.float64)[:, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450], dtype=torch.float64)[:, None, None]

    def unit_features(image: Image) -> list[Tensor]:
        inner = image[:, cut : image.shape[1] - cut, cut : image.shape[2] - cut]
        x = torch.from_numpy(inner.astype(np.float64)) / 127.5 - 1
        x, found = (x - shift) / scale, []
        for index, layer in enumerate(features):
            x = layer(x[None])[0]
            if index in (1, 4, 7, 9, 11):  # the ReLUs
                found.append(x / x.norm(dim=0, keepdim=True).clamp_min(1e-10))
        return found

    total = 0.0
    with torch.no_grad():
        for number, (a, b) in enumerate(zip(unit_features(sr), unit_features(hr), strict=True)):
            weight = linear[f"lin{number}.model.1.weight"].double()[0]
            total += float((weight * (a - b).square()).sum(dim=0).mean())
    return total


def test_lpips_puts_weights_in_their_layers(metric: Lpips, weights: dict[str, Tensor]) -> None:
    assert_loaded(metric, weights)
    assert not metric.network.training


@every_protocol
def test_lpips_is_that_of_zhang_2018(name: Name, metric: Lpips, weights: dict[str, Tensor]) -> None:
    """On the RGB image, also under ``y``, with the border of the protocol cut."""
    sr, hr, one = picture(72, 80, 5), picture(72, 80, 6), protocol(name, 3)
    expected = reference_lpips(sr, hr, weights, CUT[name])
    assert expected > 1e-3
    assert metric(sr, hr, one) == pytest.approx(expected, rel=1e-4)
    assert metric(hr, sr, one) == pytest.approx(expected, rel=1e-4)


def test_lpips_of_identical_images_is_zero(metric: Lpips) -> None:
    hr = picture(72, 72)
    assert metric(hr.copy(), hr, USRDU) == 0
    bordered = hr.copy()
    bordered[:, :4] = 0  # the border is cut
    assert metric(bordered, hr, USRDU) == 0
    bordered[:, 4] ^= 255
    assert metric(bordered, hr, USRDU) > 0


def test_lpips_imagenet_is_the_file_torchvision_downloads(
    weights: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_network(monkeypatch, tmp_path)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(weights, folder / AlexNet_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1])
    assert_loaded(Lpips("imagenet"), weights)


def test_lpips_without_network_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_network(monkeypatch, tmp_path)
    with pytest.raises(UserError, match="there is no network here") as raised:
        Lpips("imagenet")
    assert "'imagenet'" in str(raised.value)
    assert "name a state dict file, or 'none'" in str(raised.value)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda bias: bias[:1], r"features\.3\.bias has the shape \(1,\), expected \(192,\)"),
        (lambda bias: bias.reshape(-1, 1)[:, :0], "has the shape"),
        (lambda bias: bias / 0, r"tensor 'features\.3\.bias' holds values that are not finite"),
    ],
)
def test_lpips_refuses_weights_of_another_shape(
    harm: Callable[[Tensor], Tensor], words: str, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    """One value would be stretched over all channels."""
    path = tmp_path / "alexnet.pth"
    torch.save({**weights, "features.3.bias": harm(weights["features.3.bias"]).clone()}, path)
    with pytest.raises(UserError, match=words):
        Lpips(str(path))


def test_lpips_refuses_a_bad_file(weights: dict[str, Tensor], tmp_path: Path) -> None:
    text = tmp_path / "text.pth"
    text.write_text("no weights")
    partial = tmp_path / "partial.pth"
    torch.save({"features.0.weight": weights["features.0.weight"]}, partial)
    for path in (text, partial, tmp_path / "none.pth"):
        with pytest.raises(UserError, match="or 'none'") as raised:
            Lpips(str(path))
        assert f"'{path}'" in str(raised.value) and "\n" not in str(raised.value)


KNOWN_LPIPS = ("USRDU_ALEXNET", "USRDU_LPIPS_IMAGES")


@pytest.mark.skipif(
    not all(name in os.environ for name in KNOWN_LPIPS),
    reason=f"{' and '.join(KNOWN_LPIPS)} do not name AlexNet's weights and the authors' examples",
)
@pytest.mark.parametrize(("name", "expected"), [("ex_p0.png", 0.7219), ("ex_p1.png", 0.1376)])
def test_the_figures_of_the_authors_of_lpips(name: str, expected: float) -> None:
    """Those that their program prints for the examples it comes with."""
    weights, folder = os.environ[KNOWN_LPIPS[0]], Path(os.environ[KNOWN_LPIPS[1]])
    images = [read_image(folder / file) for file in ("ex_ref.png", name)]
    assert Lpips(weights)(images[0], images[1], protocol("rwsr2020", 4)) == pytest.approx(
        expected, abs=1e-4
    )


def test_protocols_of_one_border_share_what_they_see(
    metric: Lpips, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At scale 4 two of three protocols cut four pixels."""
    sr, hr = picture(90, 84, 5), picture(90, 84, 6)
    protocols = [protocol(name, 4) for name in CUT]
    expected = [
        {
            "psnr": psnr(sr, hr, one),
            "ssim": ssim(sr, hr, one),
            "haarpsi": haarpsi(sr, hr, one),
            "lpips": metric(sr, hr, one),
        }
        for one in protocols
    ]
    assert score(sr, hr, protocols, None)[0].keys() == {"psnr", "ssim", "haarpsi"}
    borders: list[int] = []

    def counted(sr: Image, hr: Image, one: Protocol) -> float:
        borders.append(one.border)
        return haarpsi(sr, hr, one)

    monkeypatch.setattr(full_reference, "haarpsi", counted)
    assert score(sr, hr, protocols, metric) == expected
    assert borders == [4, 0]
