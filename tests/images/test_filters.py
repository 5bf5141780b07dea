"""Filters against float64 NumPy and SciPy; the bicubic kernel from its definition."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.signal import convolve2d
from torch import Tensor

from pipeline.images.filters import (
    bicubic_downsample,
    bicubic_resize,
    bicubic_upsample,
    gaussian_blur,
    gaussian_window,
    gradient_map,
    gradient_map_l1,
    high_pass,
    low_pass,
    mirrored,
)

Floats = NDArray[np.float64]


def picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(shape))


def keys(t: float) -> float:
    """Cubic convolution, a = -1/2 (Keys 1981), from its three branches."""
    t = abs(t)
    if t <= 1:
        return 1 - 2.5 * t**2 + 1.5 * t**3
    return 2 - 4 * t + 2.5 * t**2 - 0.5 * t**3 if t <= 2 else 0.0


def imresize_matrix(length: int, out_length: int) -> Floats:
    """MATLAB's imresize along one axis, as a dense matrix (out_length, length).

    One-based, as in MATLAB: output x has its centre at u = x/scale + (1 - 1/scale)/2.
    """
    scale = out_length / length
    stretch = min(scale, 1.0)
    mirror = [*range(length), *reversed(range(length))]
    matrix = np.zeros((out_length, length))
    for x in range(1, out_length + 1):
        u = x / scale + 0.5 * (1 - 1 / scale)
        reach = math.ceil(2 / stretch) + 1
        for k in range(math.floor(u) - reach, math.ceil(u) + reach + 1):
            weight = stretch * keys(stretch * (u - k))
            matrix[x - 1, mirror[(k - 1) % (2 * length)]] += weight
    normalised: Floats = matrix / matrix.sum(axis=1, keepdims=True)
    return normalised


def imresize(image: Floats, height: int, width: int) -> Floats:
    rows = imresize_matrix(image.shape[-2], height)
    columns = imresize_matrix(image.shape[-1], width)
    resized: Floats = rows @ image @ columns.T
    return resized


# ---------------------------------------------------------------- bicubic


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(5, 7), (6, 1), (2, 9)])
def test_downsample_is_imresize(scale: int, size: tuple[int, int]) -> None:
    image = picture(2, 3, size[0] * scale, size[1] * scale)
    found = bicubic_downsample(image, scale)
    assert found.shape == (2, 3, *size) and found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), imresize(image.numpy(), *size), atol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(5, 7), (6, 1), (2, 9)])
def test_upsample_is_imresize(scale: int, size: tuple[int, int]) -> None:
    image = picture(2, 3, *size)
    found = bicubic_upsample(image, scale)
    expected = imresize(image.numpy(), size[0] * scale, size[1] * scale)
    assert found.shape == (2, 3, size[0] * scale, size[1] * scale)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("size", [(7, 30), (40, 8), (17, 23)])
def test_resize_is_imresize_at_uneven_factors(size: tuple[int, int]) -> None:
    image = picture(3, 17, 23, seed=1)
    found = bicubic_resize(image, *size)
    np.testing.assert_allclose(found.numpy(), imresize(image.numpy(), *size), atol=1e-12)


def test_downsample_in_float32() -> None:
    image = picture(1, 3, 20, 28, seed=2)
    found = bicubic_downsample(image.float(), 4)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), imresize(image.numpy(), 5, 7), atol=1e-6)


W025, W075, W125, W175 = 0.8671875, 0.2265625, -0.0703125, -0.0234375
"""The kernel at 1/4, 3/4, 5/4 and 7/4, by hand; they add up to one."""


@pytest.mark.parametrize("axis", [-1, -2])
def test_rows_by_hand(axis: int) -> None:
    small, large = torch.zeros(1, 5, dtype=torch.float64), torch.zeros(1, 12, dtype=torch.float64)
    small[0, 2] = large[0, 5] = 1
    up = [0, W175, W125, W075, W025, W025, W075, W125, W175, 0]
    down = [0, W125 / 2, W025 / 2, W075 / 2, W175 / 2, 0]
    for row, expected in ((small, up), (large, down)):
        image = row if axis == -1 else row.T
        shape = (1, len(expected)) if axis == -1 else (len(expected), 1)
        found = bicubic_resize(image[None], *shape).flatten()
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-15)


THIRDS = [1, 7 / 9, 1 / 3, 0, -2 / 27, -1 / 27]
"""The kernel at 0, 1/3, ... 5/3, by hand: 1.5 t^3 - 2.5 t^2 + 1, then its outer branch."""
EIGHTHS = [n / 1024 for n in (987, 745, 399, 93, -49, -75, -45, -7)]
"""The kernel at 1/8, 3/8, ... 15/8, by hand."""


def one(length: int, place: int) -> Tensor:
    """A row with a single one."""
    return torch.eye(length, dtype=torch.float64)[place][None, None]


def assert_row(found: Tensor, expected: list[float]) -> None:
    np.testing.assert_allclose(found.flatten().numpy(), expected, atol=1e-15)


def test_scale_3_by_hand() -> None:
    """LR pixel i has its centre at 3 i + 1; the kernel is stretched, and a third as high."""
    assert_row(bicubic_resize(one(15, 7), 1, 5), [0, 0, 1 / 3, 0, 0])
    assert_row(bicubic_resize(one(15, 8), 1, 5), [0, -2 / 81, 7 / 27, 1 / 9, -1 / 81])
    up = [*THIRDS[5:0:-1], *THIRDS]
    assert_row(bicubic_resize(one(5, 2), 1, 15), [0, 0, *up, 0, 0])


def test_scale_4_by_hand() -> None:
    """LR pixel i has its centre at 4 i + 3/2."""
    down = [-7 / 4096, 93 / 4096, 987 / 4096, -49 / 4096, 0]
    assert_row(bicubic_resize(one(20, 9), 1, 5), down)
    assert_row(bicubic_resize(one(5, 2), 1, 20), [0, 0, *EIGHTHS[::-1], *EIGHTHS, 0, 0])


def test_borders_of_scales_3_and_4_by_hand() -> None:
    """The first pixel is there twice: at 0, and mirrored at -1."""
    assert_row(bicubic_resize(one(15, 0), 1, 5), [10 / 27, -1 / 27, 0, 0, 0])
    assert_row(bicubic_resize(one(20, 0), 1, 5), [1144 / 4096, -120 / 4096, 0, 0, 0])
    up = [10 / 9, 1, 19 / 27, 8 / 27, 0, -2 / 27, -1 / 27]
    assert_row(bicubic_resize(one(5, 0), 1, 15), [*up, *[0] * 8])


def test_mirrored_positions() -> None:
    found = mirrored(torch.arange(-7, 10), 3).tolist()
    assert found == [0, 0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1, 2, 2]


def test_edges_are_mirrored_by_hand() -> None:
    # doubled, the first output lies at -1/4: inputs -2, -1, 0, 1 are mirrored to 1, 0, 0, 1
    row = torch.tensor([[[1.0, 0, 0, 0, 0]]], dtype=torch.float64)
    found = bicubic_resize(row, 1, 10)[0, 0]
    assert found[0].item() == pytest.approx(W025 + W075, abs=1e-15)
    assert found[1].item() == pytest.approx(W025 + W125, abs=1e-15)
    assert found[2].item() == pytest.approx(W075 + W175, abs=1e-15)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_constants_and_ramps_are_kept(scale: int) -> None:
    flat = torch.full((1, 3, 6 * scale, 5 * scale), 0.3, dtype=torch.float64)
    for resized in (bicubic_downsample(flat, scale), bicubic_upsample(flat, scale)):
        torch.testing.assert_close(resized, torch.full_like(resized, 0.3), atol=1e-14, rtol=0)
    length = 12 * scale
    y, x = np.mgrid[0:length, 0:length] + 0.5  # positions of pixel centres
    ramp = torch.from_numpy(2 * x - 3 * y)
    for resized, factor in (
        (bicubic_downsample(ramp, scale), 1 / scale),
        (bicubic_upsample(ramp, scale), float(scale)),
    ):
        y, x = (np.mgrid[0 : resized.shape[0], 0 : resized.shape[1]] + 0.5) / factor
        border = 2 * max(1, scale) + 1
        inside = slice(border if factor > 1 else 2, -border if factor > 1 else -2)
        found = resized.numpy()[inside, inside]
        assert found.size > 30
        np.testing.assert_allclose(found, (2 * x - 3 * y)[inside, inside], atol=1e-10)


@pytest.mark.parametrize(("height", "width"), [(9, 8), (8, 9), (7, 7)])
def test_downsample_refuses_sizes_off_the_scale(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"{height}x{width} is not a multiple of the scale 4"):
        bicubic_downsample(torch.zeros(1, 3, height, width), 4)


# ---------------------------------------------------------------- Gaussian


@pytest.mark.parametrize(("size", "sigma"), [(5, 5 / 6), (11, 1.5), (4, 1.0)])
def test_gaussian_window_is_a_gaussian(size: int, sigma: float) -> None:
    x = [i - (size - 1) / 2 for i in range(size)]
    weights = np.array([math.exp(-0.5 * (v / sigma) ** 2) for v in x])
    window = gaussian_window(size, sigma)
    assert window.dtype == torch.float64 and window.shape == (size,)
    np.testing.assert_allclose(window.numpy(), weights / weights.sum(), rtol=1e-14)


@pytest.mark.parametrize(("size", "sigma"), [(5, 5 / 6), (9, 2.0), (4, 1.0)])
def test_gaussian_blur_is_a_valid_convolution(size: int, sigma: float) -> None:
    image = picture(2, 3, 11, 14, seed=3)
    x = np.arange(size) - (size - 1) / 2
    kernel = np.exp(-(x[:, None] ** 2 + x[None] ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    found = gaussian_blur(image, size, sigma)
    assert found.shape == (2, 3, 12 - size, 15 - size)
    for n in range(2):
        for c in range(3):
            expected = convolve2d(image[n, c].numpy(), kernel, mode="valid")
            np.testing.assert_allclose(found[n, c].numpy(), expected, atol=1e-14)


@pytest.mark.parametrize("size", [5, 9])
def test_low_pass_is_a_gaussian_of_a_sixth_of_its_size(size: int) -> None:
    image, cut = picture(2, 3, 13, 16, seed=7), size // 2
    low = ndimage.gaussian_filter(
        image.numpy(), size / 6, radius=size // 2, axes=(2, 3), mode="constant"
    )
    found = low_pass(image, size)
    np.testing.assert_allclose(found.numpy(), low[..., cut:-cut, cut:-cut], atol=1e-14)


def test_high_pass_is_that_of_scipy() -> None:
    image = picture(2, 3, 9, 13, seed=4)
    low = ndimage.gaussian_filter(image.numpy(), 5 / 6, radius=2, axes=(2, 3), mode="constant")
    expected = (0.5 + 0.5 * (image.numpy() - low))[..., 2:-2, 2:-2]
    found = high_pass(image)
    assert found.shape == (2, 3, 5, 9)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-14)


def test_high_pass_is_half_on_flat_areas_and_stays_in_range() -> None:
    flat = high_pass(torch.full((1, 3, 8, 8), 0.9, dtype=torch.float64))
    torch.testing.assert_close(flat, torch.full_like(flat, 0.5), atol=1e-15, rtol=0)
    extreme = high_pass((picture(4, 3, 40, 40, seed=5) > 0.5).double())
    assert 0 <= extreme.min() < 0.2 and 0.8 < extreme.max() <= 1


@pytest.mark.parametrize("function", [high_pass, lambda image: gaussian_blur(image, 5, 5 / 6)])
def test_filters_gradcheck(function: Callable[[Tensor], Tensor]) -> None:
    image = picture(1, 2, 5, 6, seed=6).requires_grad_()
    assert torch.autograd.gradcheck(function, (image,), fast_mode=True)


# ---------------------------------------------------------------- zeros at the borders


def padded_low_pass(image: Tensor, size: int) -> Tensor:
    """The weights exp(-r^2 / (2 sigma^2)), sigma = size / 6, over an image with zeros around it."""
    place = torch.arange(size, dtype=torch.float64) - size // 2
    weights = torch.exp(-(place[:, None] ** 2 + place**2) / (2 * (size / 6) ** 2))
    height, width = image.shape[-2:]
    wider = torch.zeros(*image.shape[:2], height + size - 1, width + size - 1, dtype=torch.float64)
    wider[..., size // 2 : size // 2 + height, size // 2 : size // 2 + width] = image
    windows = wider.unfold(2, size, 1).unfold(3, size, 1)
    return (windows * weights).sum(dim=(-2, -1)) / weights.sum()


def padded_high_pass(image: Tensor) -> Tensor:
    return 0.5 + 0.5 * (image - padded_low_pass(image, 5))


def padded_gradients(image: Tensor, power: int) -> Tensor:
    """Rows and columns from the first to the last but one; zeros in the last row and column."""
    down, right = image.diff(dim=2)[..., :-1], image.diff(dim=3)[..., :-1, :]
    full = torch.zeros_like(image)
    full[..., :-1, :-1] = (down.abs() ** power + right.abs() ** power) ** (1 / power)
    return full


PADDED: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "low-pass 5x5": (lambda x: low_pass(x, 5, "zeros"), lambda x: padded_low_pass(x, 5)),
    "low-pass 9x9": (lambda x: low_pass(x, 9, "zeros"), lambda x: padded_low_pass(x, 9)),
    "high-pass": (lambda x: high_pass(x, "zeros"), padded_high_pass),
    "gradient map": (lambda x: gradient_map(x, "zeros"), lambda x: padded_gradients(x, 2)),
    "its L1 norm": (lambda x: gradient_map_l1(x, "zeros"), lambda x: padded_gradients(x, 1)),
}


@pytest.mark.parametrize("name", PADDED)
def test_zeros_at_the_borders(name: str) -> None:
    """Value and gradient of the released code's filters; sides of 64, as its LR crops have."""
    found_of, expected_of = PADDED[name]
    images = [picture(2, 3, 64, 64, seed=9).requires_grad_() for _ in range(2)]
    weights = picture(2, 3, 64, 64, seed=10) - 0.3
    found, expected = found_of(images[0]), expected_of(images[1])
    assert found.shape == (2, 3, 64, 64)
    assert float((found - expected).detach().abs().max()) < 1e-12
    (slope,) = torch.autograd.grad((weights * found).sum(), images[0])
    (wanted,) = torch.autograd.grad((weights * expected).sum(), images[1])
    assert float((slope - wanted).abs().max()) < 1e-12 < float(wanted.abs().max())


def test_the_inside_is_that_without_borders() -> None:
    image = picture(1, 3, 20, 24, seed=11)
    for cut, end, valid, full in (
        (2, -2, high_pass(image), high_pass(image, "zeros")),
        (4, -4, low_pass(image, 9), low_pass(image, 9, "zeros")),
        (0, -1, gradient_map(image), gradient_map(image, "zeros")),
        (0, -1, gradient_map_l1(image), gradient_map_l1(image, "zeros")),
    ):
        torch.testing.assert_close(full[..., cut:end, cut:end], valid, rtol=0, atol=1e-14)


def test_zeros_give_a_bright_ring() -> None:
    """Beside a row of zeros a quarter of the Gaussian is lost: 0.2603 of a flat image there."""
    seen = high_pass(torch.full((1, 3, 64, 64), 0.5, dtype=torch.float64), "zeros")
    torch.testing.assert_close(seen[..., 2:-2, 2:-2], torch.full((1, 3, 60, 60), 0.5).double())
    row = seen[0, 0, 0, 2:-2]
    edge = 0.5 + 0.5 * 0.5 * 0.26027
    torch.testing.assert_close(row, torch.full_like(row, edge), rtol=0, atol=1e-5)


# ---------------------------------------------------------------- gradient_map


def test_gradient_map_is_eq_11() -> None:
    image = picture(2, 3, 5, 6, seed=7)
    found = gradient_map(image)
    assert found.shape == (2, 3, 4, 5)
    for n, c, i, j in np.ndindex(2, 3, 4, 5):
        pixels = image[n, c].numpy()
        vector = [pixels[i + 1, j] - pixels[i, j], pixels[i, j + 1] - pixels[i, j]]
        assert found[n, c, i, j].item() == pytest.approx(math.hypot(*vector), rel=1e-12)


def test_gradient_map_l1_is_the_sum_of_both_differences() -> None:
    image = picture(2, 3, 6, 7, seed=8)
    down = np.abs(np.diff(image.numpy(), axis=2)[:, :, :, :-1])
    right = np.abs(np.diff(image.numpy(), axis=3)[:, :, :-1])
    found = gradient_map_l1(image)
    assert found.shape == (2, 3, 5, 6)
    np.testing.assert_allclose(found.numpy(), down + right, rtol=1e-13)
    one = torch.tensor([[[[1.0, 5.0], [4.0, 0.0]]]])
    assert gradient_map_l1(one).item() == 7  # 3 down, 4 to the right
    assert gradient_map(one).item() == 5


def test_gradient_map_by_hand() -> None:
    image = torch.tensor([[0.0, 4.0, 4.0], [3.0, 9.0, 4.0]])
    torch.testing.assert_close(gradient_map(image), torch.tensor([[5.0, 5.0]]))


def test_gradient_map_has_zero_gradient_on_flat_images() -> None:
    image = torch.full((1, 3, 6, 6), 0.4, requires_grad=True)
    gradients = gradient_map(image)
    assert torch.equal(gradients, torch.zeros(1, 3, 5, 5))
    (slope,) = torch.autograd.grad(gradients.sum(), image)
    assert torch.equal(slope, torch.zeros_like(image))


def test_gradient_map_has_no_nan_beside_an_edge() -> None:
    image = torch.zeros(1, 1, 4, 6, dtype=torch.float64)
    image[..., 3:] = 1
    image.requires_grad_()
    gradients = gradient_map(image)
    expected = torch.zeros(3, 5, dtype=torch.float64)
    expected[:, 2] = 1
    assert torch.equal(gradients[0, 0], expected)
    (slope,) = torch.autograd.grad(gradients.sum(), image)
    by_hand = torch.zeros(4, 6, dtype=torch.float64)
    by_hand[:3, 2], by_hand[:3, 3] = -1, 1
    assert torch.equal(slope[0, 0], by_hand)


def test_gradient_map_gradcheck() -> None:
    assert torch.autograd.gradcheck(gradient_map, (picture(1, 2, 4, 5, seed=8).requires_grad_(),))
