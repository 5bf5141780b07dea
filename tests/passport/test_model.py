"""The camera's model against NumPy and SciPy in float64."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from doubles import gaussian_kernel, plain_passport
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.images.light import to_encoded, to_linear
from pipeline.passport.model import CameraModel

Array = NDArray[np.float64]

BT601 = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.299 / 1.772, -0.587 / 1.772, 0.5],
        [0.5, -0.587 / 1.402, -0.114 / 1.402],
    ]
)
"""From RGB to luma and the two colour differences, by its definition."""


def image(height: int = 48, width: int = 72, seed: int = 0) -> Array:
    """Soft and hard structure in (3, H, W), in [0, 1]."""
    noise = np.random.default_rng(seed).random((3, height, width))
    soft = ndimage.gaussian_filter(noise, (0, 3, 3)) - 0.5
    return np.clip(0.5 + 6 * soft + 0.2 * (noise - 0.5), 0, 1)


def run(model: CameraModel, hr: Array) -> Array:
    return np.asarray(model(torch.from_numpy(hr)[None])[0].numpy())


def reduced(plane: Array, kernel: Array, scale: int) -> Array:
    """Correlation, mirrored borders, every scale-th pixel, in float64."""
    rows, columns = kernel.shape
    top, left = (rows - scale) // 2, (columns - scale) // 2
    wide = np.pad(plane, ((top, top), (left, left)), mode="symmetric")
    seen = np.lib.stride_tricks.sliding_window_view(wide, kernel.shape)
    return np.asarray(np.einsum("hwij,ij->hw", seen, kernel)[::scale, ::scale])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_kernels_are_applied_to_luma_and_to_colour_differences(scale: int) -> None:
    passport = plain_passport(scale)
    luma, chroma = np.array(passport.luma_kernel), np.array(passport.chroma_kernel)
    hr = image()
    planes = np.einsum("cd,dhw->chw", BT601, hr)
    kernels = (luma / luma.sum(), *[chroma / chroma.sum()] * 2)
    small = np.stack([reduced(p, k, scale) for p, k in zip(planes, kernels, strict=True)])
    expected = np.einsum("cd,dhw->chw", np.linalg.inv(BT601), small)
    assert run(CameraModel(passport), hr) == pytest.approx(expected, abs=1e-6)


def test_a_kernel_of_one_pixel_of_the_sensor_is_a_mean() -> None:
    box = np.full((4, 4), 1 / 16).tolist()
    model = CameraModel(plain_passport(luma_kernel=box, chroma_kernel=box))
    hr = image()
    expected = hr.reshape(3, 12, 4, 18, 4).mean(axis=(2, 4))
    assert run(model, hr) == pytest.approx(expected, abs=1e-6)
    assert model.halo == 0


def test_a_kernel_narrower_than_an_lr_pixel_leaves_pixels_out() -> None:
    box = np.full((2, 2), 1 / 4).tolist()
    model = CameraModel(plain_passport(luma_kernel=box, chroma_kernel=box))
    hr = image()
    expected = hr.reshape(3, 12, 4, 18, 4)[:, :, 1:3, :, 1:3].mean(axis=(2, 4))
    assert run(model, hr) == pytest.approx(expected, abs=1e-6)


def test_sides_need_not_be_equal() -> None:
    kernel = gaussian_kernel(12, 3.0)[3:9]
    kernel = kernel / kernel.sum()
    model = CameraModel(plain_passport(luma_kernel=kernel.tolist(), chroma_kernel=kernel.tolist()))
    hr = image()
    expected = np.stack([reduced(plane, kernel, 4) for plane in hr])
    assert run(model, hr) == pytest.approx(expected, abs=1e-6)


def test_light_is_averaged_where_it_is_linear() -> None:
    """Half black, half white: half of the light, which is encoded as 0.735."""
    box = np.full((4, 4), 1 / 16).tolist()
    model = CameraModel(plain_passport(light="linear", luma_kernel=box, chroma_kernel=box))
    hr = np.zeros((3, 8, 8))
    hr[:, :, ::2] = 1
    assert run(model, hr) == pytest.approx(1.055 * 0.5 ** (1 / 2.4) - 0.055, abs=1e-6)
    assert run(model, hr) == pytest.approx(0.7353569, abs=1e-6)
    gamma = CameraModel(plain_passport(luma_kernel=box, chroma_kernel=box))
    assert run(gamma, hr) == pytest.approx(0.5, abs=1e-6)


def test_there_is_no_negative_light() -> None:
    kernel = 3 * gaussian_kernel(12, 1.0) - 2 * gaussian_kernel(12, 2.0)
    model = CameraModel(plain_passport(light="linear", luma_kernel=kernel.tolist()))
    hr = np.zeros((3, 32, 32))
    hr[:, :, 16:] = 1
    made = run(model, hr)
    assert made.min() == 0 and made.max() > 1.01


def test_the_curve_is_that_of_srgb() -> None:
    """Values of the table of the standard: 8 bits and light."""
    encoded = torch.tensor([0.0, 0.04045, 0.5, 188 / 255, 1.0], dtype=torch.float64)
    light = [0.0, 0.04045 / 12.92, 0.21404114, 0.50288646, 1.0]
    assert to_linear(encoded).tolist() == pytest.approx(light, abs=1e-7)
    assert to_encoded(to_linear(encoded)).tolist() == pytest.approx(encoded.tolist(), abs=1e-6)


@pytest.mark.parametrize("radius", [0.6, 1.3])
def test_sharpening_is_an_unsharp_mask_of_luma(radius: float) -> None:
    plain = plain_passport()
    sharp = plain_passport(sharpening={"amount": 0.8, "radius": radius})
    before = run(CameraModel(plain), image())
    luma = np.einsum("d,dhw->hw", BT601[0], before)
    taps = math.ceil(3 * radius)
    smooth = ndimage.gaussian_filter(luma, radius, radius=taps, mode="reflect")
    expected = before + 0.8 * (luma - smooth)
    assert run(CameraModel(sharp), image()) == pytest.approx(expected, abs=1e-6)


def test_denoising_takes_weak_detail_and_spares_edges() -> None:
    plain, hr = plain_passport(), image()
    denoised = plain_passport(denoising={"threshold_gray": 4.0, "kept": 0.2})
    before, after = run(CameraModel(plain), hr), run(CameraModel(denoised), hr)
    luma = np.einsum("d,dhw->hw", BT601[0], before)
    detail = luma - ndimage.gaussian_filter(luma, 1.0, radius=3, mode="reflect")
    share = 0.2 + 0.8 * detail**2 / (detail**2 + (4 / 255) ** 2)
    assert after == pytest.approx(before + detail * share - detail, abs=1e-6)
    assert share.min() < 0.25 and share.max() > 0.8


BOTH: dict[str, Any] = {
    "light": "linear",
    "sharpening": {"amount": 0.7, "radius": 1.2},
    "denoising": {"threshold_gray": 6.0, "kept": 0.3},
}


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_constant_images_stay_constant(level: float) -> None:
    hr = np.full((3, 32, 32), level)
    hr[1] *= 0.5
    made = run(CameraModel(plain_passport(**BOTH)), hr)
    assert made == pytest.approx(hr[:, ::4, ::4], abs=2e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("changes", [{}, BOTH])
def test_a_tile_with_its_halo_equals_the_whole(scale: int, changes: dict[str, Any]) -> None:
    model = CameraModel(plain_passport(scale, **changes))
    hr = image(60 * scale, 70 * scale)
    whole, halo = run(model, hr), model.halo
    assert halo % scale == 0
    for top, left in ((20, 30), (0, 50), (50, 0)):
        rows = max(scale * top - halo, 0), min(scale * (top + 10) + halo, hr.shape[1])
        columns = max(scale * left - halo, 0), min(scale * (left + 10) + halo, hr.shape[2])
        tile = run(model, hr[:, slice(*rows), slice(*columns)])
        down, right = top - rows[0] // scale, left - columns[0] // scale
        inner = tile[:, down : down + 10, right : right + 10]
        expected = whole[:, top : top + 10, left : left + 10]
        assert np.abs(inner - expected).max() < 1e-12


def test_the_halo_is_no_larger_than_needed() -> None:
    """A pixel that lies as far outside as the halo's last LR pixel changes the area."""
    model = CameraModel(plain_passport(**BOTH))
    hr = torch.from_numpy(image(240, 240))[None].requires_grad_()
    model(hr)[0, :, 30, 30].sum().backward()
    assert hr.grad is not None
    rows = torch.nonzero(hr.grad[0].abs().sum(dim=(0, 2)))
    assert 120 - model.halo <= int(rows.min()) < 120 - model.halo + 4
    assert 124 + model.halo - 4 <= int(rows.max()) < 124 + model.halo


def test_gradients_go_through() -> None:
    model = CameraModel(plain_passport(**BOTH))
    hr = torch.from_numpy(image(16, 16)).mul(0.8).add(0.1)[None].requires_grad_()
    assert torch.autograd.gradcheck(model, (hr,), atol=1e-5)


def test_it_is_as_exact_in_mixed_precision() -> None:
    model, hr = CameraModel(plain_passport(**BOTH)), torch.from_numpy(image())[None].float()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(hr)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, model(hr))
    assert model(hr.bfloat16()).dtype == torch.float32


def test_it_saves_no_state_and_has_no_parameters() -> None:
    model = CameraModel(plain_passport())
    assert not model.state_dict() and not list(model.parameters())


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 3, 8, 9)])
def test_shapes_are_checked(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        CameraModel(plain_passport())(torch.zeros(shape))


def test_the_noise_scale_follows_the_intensity_of_every_channel() -> None:
    model = CameraModel(plain_passport())
    mean = torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2
    places = [0, 0.5, 1]
    tables = [[4.0, 16.0, 36.0], [2.0, 9.0, 25.0], [9.0, 25.0, 49.0]]
    for channel, table in enumerate(tables):
        variance = np.interp(mean[:, channel].numpy(), places, table)
        found = model.noise_scale(mean)[:, channel].numpy() * 255
        assert found == pytest.approx(np.sqrt(variance / 2), rel=1e-4)


def test_no_noise_is_less_than_that_of_rounding() -> None:
    noise = {"variance_gray": [[0.0, 0.0]] * 3, "noise_filter": None, "laplace_share": 1.0}
    found = CameraModel(plain_passport(noise=noise)).noise_scale(torch.zeros(1, 3, 2, 2))
    assert found.numpy() * 255 == pytest.approx(1 / np.sqrt(24), rel=1e-5)
