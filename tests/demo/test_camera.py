"""The simulated cameras: blur, noise, mosaic and JPEG, each against another way to compute it."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from laws import STANDARD_ERRORS
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from scipy.ndimage import convolve, gaussian_filter
from scipy.stats import kurtosis, skew

from pipeline.base.errors import UserError
from pipeline.base.settings import load_section
from pipeline.demo.camera import Camera
from pipeline.demo.mosaic import interpolate_mosaic
from pipeline.demo.optics import blur_kernel

Array = NDArray[np.float64]
PLAIN: dict[str, object] = {
    "blur_along": 0.0,
    "blur_across": 0.0,
    "blur_angle": 0.0,
    "noise": "gaussian",
    "noise_at_black_gray": 2.0,
    "noise_at_white_gray": 8.0,
    "mosaic": False,
    "chroma_denoising": 0.0,
    "jpeg_quality": None,
    "jpeg_subsampling": "4:4:4",
}


def camera(**changes: object) -> Camera:
    """A camera with Gaussian noise and nothing else, but for the changes."""
    return Camera.model_validate({**PLAIN, **changes})


def source(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat(level: float, side: int = 512) -> torch.Tensor:
    """A clean image of one gray level."""
    return torch.full((3, side, side), level / 255)


def residual(taken: Camera, level: float, side: int = 512) -> Array:
    """Noise of a picture of a flat wall, in gray levels."""
    return taken.expose(flat(level, side), source()).astype(float) - level


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """An HR image with edges and slopes and no noise."""
    rough = np.random.default_rng(3).random((3, height, width))
    smooth = gaussian_filter(rough * 255, (0, 3, 3)) * 3 % 256
    return np.clip(smooth, 0, 255).astype(np.uint8)


# Settings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"blur_along": -1.0}, "blur_along"),
        ({"blur_across": -1.0}, "blur_across"),
        ({"blur_angle": math.nan}, "blur_angle"),
        ({"noise": "salt"}, "noise"),
        ({"noise_at_black_gray": -1.0}, "noise_at_black_gray"),
        ({"noise_at_white_gray": -1.0}, "noise_at_white_gray"),
        ({"chroma_denoising": 1.1}, "chroma_denoising"),
        ({"jpeg_quality": 0}, "jpeg_quality"),
        ({"jpeg_quality": 101}, "jpeg_quality"),
        ({"jpeg_subsampling": "4:1:1"}, "jpeg_subsampling"),
        ({"gain": 3}, "gain"),
        (
            {"noise": "poisson", "noise_at_white_gray": 1.5},
            "noise_at_white_gray is 1.5, below noise_at_black_gray \\(2.0\\), but photons only add",
        ),
        (
            {"blur_along": 3.0, "blur_across": 0.4, "blur_angle": 30.0},
            "blur_angle is 30.0 and the blur 0.4 pixels narrow",
        ),
    ],
)
def test_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        camera(**changes)


@pytest.mark.parametrize("name", PLAIN)
def test_no_setting_has_a_default(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name}\n  Field required"):
        Camera.model_validate({key: value for key, value in PLAIN.items() if key != name})


@pytest.mark.parametrize(
    "changes",
    [
        {"noise": "gaussian", "noise_at_white_gray": 1.0},
        {"noise": "laplace", "noise_at_white_gray": 1.0},
        {"noise": "poisson", "noise_at_white_gray": 2.0},
        {"blur_along": 3.0, "blur_across": 0.0, "blur_angle": -90.0},
        {"blur_along": 0.1, "blur_across": 0.1, "blur_angle": 30.0},
        {"blur_along": 3.0, "blur_across": 0.5, "blur_angle": 30.0},
    ],
)
def test_accepted(changes: dict[str, object]) -> None:
    camera(**changes)


def test_a_refusal_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    lines = [f"  {name}: {'null' if value is None else value}" for name, value in PLAIN.items()]
    text = "\n".join(["mine:", *lines]).replace("gaussian", "poisson").replace("8.0", "1.0")
    file.write_text(text.replace("False", "false"))
    with pytest.raises(UserError) as caught:
        load_section(file, "mine", Camera)
    assert str(caught.value) == (
        f"{file}: mine: noise_at_white_gray is 1.0, below noise_at_black_gray (2.0), "
        "but photons only add to the read noise"
    )


# Blur


def moments(kernel: Array) -> Array:
    """Second moments of a kernel about its middle: xx, xy, yy in square pixels."""
    radius = kernel.shape[0] // 2
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return np.array([(kernel * x * x).sum(), (kernel * x * y).sum(), (kernel * y * y).sum()])


def turned(along: float, across: float, angle: float) -> Array:
    """The same of a Gaussian: R diag(along^2, across^2) R^T, R a turn from x towards y."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    turn = np.array([[c, -s], [s, c]])
    covariance = turn @ np.diag([along**2, across**2]) @ turn.T
    return np.array([covariance[0, 0], covariance[0, 1], covariance[1, 1]])


@pytest.mark.parametrize("angle", [0.0, 17.0, 45.0, 90.0, 150.0, -30.0])
@pytest.mark.parametrize(("along", "across"), [(1.0, 1.0), (2.0, 0.8), (0.8, 3.0)])
def test_moments_of_the_blur(along: float, across: float, angle: float) -> None:
    kernel = blur_kernel(along, across, angle).numpy()
    assert kernel.dtype == np.float64
    assert kernel.shape[0] == kernel.shape[1] and kernel.shape[0] % 2 == 1
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], rtol=1e-12)
    expected = turned(along, across, angle)
    np.testing.assert_allclose(moments(kernel), expected, atol=0.002 * max(along, across) ** 2)


def test_no_blur_is_a_single_one() -> None:
    for angle in (0.0, 30.0, 45.0):
        kernel = blur_kernel(0, 0, angle).numpy()
        np.testing.assert_array_equal(kernel, [[0, 0, 0], [0, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize(("angle", "axis"), [(0.0, 1), (90.0, 0), (180.0, 1)])
def test_blur_along_one_axis_only(angle: float, axis: int) -> None:
    kernel = blur_kernel(2.0, 0.0, angle).numpy()
    line = np.exp(-(np.arange(-8, 9) ** 2) / 8)
    assert kernel.sum(axis=1 - axis) == pytest.approx(line / line.sum())
    assert np.count_nonzero(kernel.sum(axis=axis)) == 1


@pytest.mark.parametrize("angle", [0.0, 30.0, 120.0])
def test_a_point_seen_through_the_lens(angle: float) -> None:
    """With one LR pixel per HR pixel the picture of a point is the blur, turned to the bottom."""
    point = np.zeros((3, 41, 41), np.uint8)
    point[:, 20, 20] = 255
    seen = camera(blur_along=3.0, blur_across=1.0, blur_angle=angle).clean(point, 1)
    assert seen.shape == (3, 41, 41) and seen.dtype == torch.float32
    for channel in seen.double().numpy():
        np.testing.assert_allclose(moments(channel), turned(3, 1, angle), atol=0.02)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.3])
def test_clean(sigma: float) -> None:
    """Blur against SciPy, bicubic downsampling against Pillow."""
    hr = picture(96, 128)
    seen = camera(blur_along=sigma, blur_across=sigma, blur_angle=20.0).clean(hr, 4)
    assert seen.shape == (3, 24, 32)
    assert 0 <= seen.min() and seen.max() <= 1  # noqa: SIM300
    agrees(seen, gaussian_filter(hr / 255, (0, sigma, sigma), mode="nearest", truncate=4))


def test_clean_with_a_turned_blur() -> None:
    hr = picture(96, 128)
    seen = camera(blur_along=2.0, blur_across=0.8, blur_angle=30.0).clean(hr, 4)
    c, s = math.cos(math.pi / 6), math.sin(math.pi / 6)
    y, x = np.mgrid[-8:9, -8:9]
    kernel = np.exp(-(((x * c + y * s) / 2) ** 2 + ((y * c - x * s) / 0.8) ** 2) / 2)
    agrees(seen, convolve(hr / 255, kernel[None] / kernel.sum(), mode="nearest"))


def agrees(seen: torch.Tensor, blurred: Array) -> None:
    """A clean view is what Pillow makes of the blurred HR image, 4 times smaller."""
    size = (blurred.shape[2] // 4, blurred.shape[1] // 4)
    pictures = [Image.fromarray(channel.astype(np.float32)) for channel in blurred]
    small = np.stack([np.asarray(one.resize(size, Image.Resampling.BICUBIC)) for one in pictures])
    inside = np.s_[:, 3:-3, 3:-3]  # Pillow cuts the kernel at the border, MATLAB mirrors
    difference = np.abs(seen.numpy()[inside] - np.clip(small, 0, 1)[inside])
    assert difference.max() < 0.1 / 255


def test_a_wall_stays_flat_to_the_border() -> None:
    hr = np.full((3, 32, 40), 180, np.uint8)
    seen = camera(blur_along=2.5, blur_across=1.0, blur_angle=40.0).clean(hr, 4)
    np.testing.assert_allclose(seen.numpy(), 180 / 255, rtol=1e-5)


def test_the_clean_view_does_not_overshoot() -> None:
    """Beside a sharp edge the bicubic kernel leaves [0, 1]; the sensor does not."""
    edge = np.zeros((3, 64, 64), np.uint8)
    edge[:, :, 30:] = 255
    seen = camera().clean(edge, 4)
    assert seen.min() == 0 and seen.max() == 1


# Noise


def deviation(noise: str, level: float) -> float:
    """Standard deviation in gray levels of the noise 2 at black, 8 at white."""
    share = level / 255
    return math.sqrt(4 + 60 * share) if noise == "poisson" else 2 + 6 * share


@pytest.mark.parametrize("noise", ["laplace", "gaussian", "poisson"])
def test_noise_deviation(noise: str) -> None:
    levels = [0.0, 51.0, 204.0, 255.0]
    found = camera(noise=noise).noise_deviation(torch.tensor(levels) / 255) * 255
    assert found.tolist() == pytest.approx([deviation(noise, level) for level in levels], rel=1e-5)


@pytest.mark.arithmetic
@pytest.mark.parametrize("level", [50, 128, 190])
@pytest.mark.parametrize("noise", ["laplace", "gaussian", "poisson"])
def test_law_of_the_noise(noise: str, level: int) -> None:
    """Mean, variance, skewness and excess kurtosis.

    Rounding to 8 bit adds 1/12 to the variance and nothing to the third and fourth cumulants.
    A photon adds 60/255 gray levels.  The standard errors are those of Laplace or Gaussian draws.
    """
    values = residual(camera(noise=noise), level)
    n = values.size
    plain = deviation(noise, level) ** 2
    variance = plain + 1 / 12
    excess = {"laplace": 3 * plain**2, "gaussian": 0, "poisson": (60 / 255) ** 3 * level}[noise]
    third = (60 / 255) ** 2 * level if noise == "poisson" else 0
    kappa = excess / variance**2
    assert abs(values.mean()) < STANDARD_ERRORS * math.sqrt(variance / n)
    assert values.var() == pytest.approx(variance, rel=STANDARD_ERRORS * math.sqrt((kappa + 2) / n))
    spread = (63, 1188) if noise == "laplace" else (6, 24)  # n times the variance of skew, kurtosis
    assert skew(values.ravel()) == pytest.approx(
        third / variance**1.5, abs=STANDARD_ERRORS * (spread[0] / n) ** 0.5
    )
    assert kurtosis(values.ravel()) == pytest.approx(
        kappa, abs=STANDARD_ERRORS * (spread[1] / n) ** 0.5
    )


@pytest.mark.arithmetic
@pytest.mark.parametrize("noise", ["laplace", "gaussian", "poisson"])
def test_the_noise_is_white(noise: str) -> None:
    values = residual(camera(noise=noise), 128)
    limit = STANDARD_ERRORS / math.sqrt(values.size)
    for other in (np.roll(values, 1, axis) for axis in (0, 1, 2)):
        assert abs((values * other).mean() / values.var()) < limit


@pytest.mark.parametrize("noise", ["laplace", "gaussian", "poisson"])
def test_the_noise_follows_the_brightness_of_its_pixel(noise: str) -> None:
    """Left dark, right bright, and the channels not alike."""
    clean = flat(60)
    clean[:, :, 256:] = 180 / 255
    clean[2] = 120 / 255
    values = camera(noise=noise).expose(clean, source()) - clean.numpy() * 255.0
    for part, level in ((values[:2, :, :256], 60), (values[:2, :, 256:], 180), (values[2], 120)):
        assert part.var() == pytest.approx(deviation(noise, level) ** 2 + 1 / 12, rel=0.03)


def test_poisson_without_photons_is_gaussian() -> None:
    values = residual(
        camera(noise="poisson", noise_at_black_gray=5.0, noise_at_white_gray=5.0), 128
    )
    assert values.var() == pytest.approx(
        25 + 1 / 12, rel=STANDARD_ERRORS * math.sqrt(2 / values.size)
    )
    assert kurtosis(values.ravel()) == pytest.approx(
        0, abs=STANDARD_ERRORS * math.sqrt(24 / values.size)
    )


@pytest.mark.parametrize("white", [math.nextafter(1, 2), 1 + 1e-12, 1 + 1e-9, 1 + 1e-6, 1 + 1e-3])
def test_more_photons_than_can_be_counted(white: float) -> None:
    """The next number after 1 means 1e20 photons; what is left is read noise."""
    values = residual(
        camera(noise="poisson", noise_at_black_gray=1.0, noise_at_white_gray=white), 240
    )
    assert abs(values.mean()) < STANDARD_ERRORS / math.sqrt(values.size)
    variance = 1 + (white**2 - 1) * 240 / 255 + 1 / 12
    assert values.var() == pytest.approx(variance, rel=STANDARD_ERRORS * math.sqrt(2 / values.size))


def test_poisson_at_black_is_a_number() -> None:
    """A NaN in red would spread to green and blue when the channels are averaged."""
    dark = camera(noise="poisson", noise_at_black_gray=0.0, chroma_denoising=1.0)
    assert (dark.expose(flat(0, 32), source()) == 0).all()
    clean = flat(128, 64)
    clean[0] = 0
    values = dark.expose(clean, source())[1:] - 128.0
    assert abs(values.mean()) < 1


def test_no_noise() -> None:
    clean = torch.arange(256).reshape(1, 16, 16).expand(3, -1, -1) / 255
    for noise in ("laplace", "gaussian", "poisson"):
        still = camera(noise=noise, noise_at_black_gray=0.0, noise_at_white_gray=0.0, mosaic=True)
        np.testing.assert_array_equal(still.expose(clean, source()), clean.numpy() * 255)


def test_quantisation() -> None:
    """Rounded to the nearest of 256 levels; what leaves them is cut off."""
    still = camera(noise_at_black_gray=0.0, noise_at_white_gray=0.0)
    clean = torch.tensor([0.0, 0.49, 0.51, 127.49, 127.51, 254.49, 254.51, 255.0]) / 255
    taken = still.expose(clean.expand(3, 1, -1), source())
    assert taken.dtype == np.uint8
    assert taken[0, 0].tolist() == [0, 0, 1, 127, 128, 254, 255, 255]
    loud = camera(noise_at_black_gray=60.0, noise_at_white_gray=60.0)
    black, white = (loud.expose(flat(level, 64), source()) for level in (0, 255))
    for taken, end in ((black, 0), (white, 255)):
        assert (taken == end).mean() == pytest.approx(0.5, abs=0.03)


def test_the_noise_comes_from_the_generator() -> None:
    for noise in ("laplace", "gaussian", "poisson"):
        taken = camera(noise=noise, mosaic=True, jpeg_quality=90)
        clean = flat(100, 32)
        torch.manual_seed(1)
        first = taken.expose(clean, source())
        torch.manual_seed(2)
        state = torch.get_rng_state()
        np.testing.assert_array_equal(taken.expose(clean, source()), first)
        assert torch.equal(torch.get_rng_state(), state)
        generator = source()
        taken.expose(clean, generator)
        assert (taken.expose(clean, generator) != first).any()
        assert (taken.expose(clean, source(8)) != first).any()
        assert torch.equal(clean, flat(100, 32))


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 8, 8), (3, 8)])
def test_shape_of_the_clean_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="clean must be \\(3, H, W\\), got "):
        camera().expose(torch.zeros(shape), source())


# Mosaic


def colour_of(row: int, column: int) -> int:
    """Which channel an RGGB site sees."""
    return [[0, 1], [1, 2]][row % 2][column % 2]


def interpolated(sites: Array) -> Array:
    """Every value the mean of the nearest sites of its colour, mirrored at the border."""
    _, height, width = sites.shape
    result = np.zeros_like(sites)
    rings = [[(0, 0)], [(0, 1), (1, 0), (0, -1), (-1, 0)], [(1, 1), (1, -1), (-1, 1), (-1, -1)]]
    for c in range(3):
        for i in range(height):
            for j in range(width):
                for ring in rings:
                    places = [(abs(i + di), abs(j + dj)) for di, dj in ring]
                    places = [
                        (min(y, 2 * height - 2 - y), min(x, 2 * width - 2 - x)) for y, x in places
                    ]
                    seen = [sites[c, y, x] for y, x in places if colour_of(y, x) == c]
                    if seen:
                        result[c, i, j] = np.mean(seen)
                        break
    return result


@pytest.mark.parametrize(("height", "width"), [(8, 10), (7, 9), (6, 5), (2, 2), (3, 2)])
def test_mosaic_against_a_loop(height: int, width: int) -> None:
    sites = np.random.default_rng(2).normal(size=(3, height, width))
    found = interpolate_mosaic(torch.from_numpy(sites))
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), interpolated(sites), atol=1e-14)


def test_mosaic_sees_one_colour_per_site() -> None:
    sites = torch.randn(3, 12, 12, generator=source())
    other = torch.randn(3, 12, 12, generator=source(8))
    for i in range(12):
        for j in range(12):
            other[colour_of(i, j), i, j] = sites[colour_of(i, j), i, j]
    assert torch.equal(interpolate_mosaic(other), interpolate_mosaic(sites))


@pytest.mark.parametrize("shape", [(3, 1, 8), (3, 8, 1), (1, 8, 8), (2, 3, 8, 8)])
def test_mosaic_of_a_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 2x2, got "):
        interpolate_mosaic(torch.zeros(shape))


def covariance(values: Array, down: int, right: int) -> float:
    """Mean product of values so far apart, all four phases of the mosaic alike."""
    _, height, width = values.shape
    one = values[:, : height - 2, : width - 2]
    other = values[:, down : height - 2 + down, right : width - 2 + right]
    return float((one * other).mean())


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        # Along one axis red is a, (a+b)/2, b, (b+c)/2, ...: mean variance 3/4, mean covariance of
        # neighbours 1/2, of seconds 1/8.  In two dimensions they multiply.
        (0, {(0, 0): 9 / 16, (0, 1): 3 / 8, (1, 0): 3 / 8, (1, 1): 1 / 4, (0, 2): 3 / 32}),
        (2, {(0, 0): 9 / 16, (0, 1): 3 / 8, (1, 0): 3 / 8, (1, 1): 1 / 4, (0, 2): 3 / 32}),
        # Green is a site, variance 1, or the mean of four, variance 1/4.  Neighbours are one of
        # each, the site among the four: 1/4.  Diagonally two means share two sites: 2/16; two
        # steps on they share one: 1/16; sites share nothing.
        (1, {(0, 0): 5 / 8, (0, 1): 1 / 4, (1, 0): 1 / 4, (1, 1): 1 / 16, (0, 2): 1 / 32}),
    ],
)
def test_covariance_of_the_mosaic(channel: int, expected: dict[tuple[int, int], float]) -> None:
    """White noise of variance one; the limit is 6 standard errors or more."""
    white = torch.randn(3, 1024, 1024, generator=source(), dtype=torch.float64)
    values = interpolate_mosaic(white)[channel : channel + 1].numpy()
    for (down, right), value in expected.items():
        assert covariance(values, down, right) == pytest.approx(value, abs=0.01)


@pytest.mark.arithmetic
def test_noise_of_a_camera_with_a_mosaic() -> None:
    """Its correlation between neighbours is 2/3 in red and blue, 2/5 in green."""
    values = residual(
        camera(mosaic=True, noise_at_black_gray=8.0, noise_at_white_gray=8.0), 128, 1024
    )
    for channel, variance, correlation in (
        (0, 9 / 16, 2 / 3),
        (1, 5 / 8, 2 / 5),
        (2, 9 / 16, 2 / 3),
    ):
        part = values[channel : channel + 1]
        assert part.var() == pytest.approx(64 * variance + 1 / 12, rel=0.02)
        for down, right in ((0, 1), (1, 0)):
            found = covariance(part, down, right) / (64 * variance)
            assert found == pytest.approx(correlation, abs=0.02)
    assert abs((values[0] * values[1]).mean()) < 0.5


# Chroma


def test_full_chroma_denoising_leaves_grey_noise() -> None:
    taken = camera(chroma_denoising=1.0, noise_at_white_gray=20.0)
    image = taken.expose(flat(128), source())
    np.testing.assert_array_equal(image[0], image[1])
    np.testing.assert_array_equal(image[0], image[2])
    variance = (2 + 18 * 128 / 255) ** 2 / 3 + 1 / 12
    assert image.var() == pytest.approx(
        variance, rel=STANDARD_ERRORS * math.sqrt(2 / image[0].size)
    )


def test_full_chroma_denoising_of_a_coloured_wall() -> None:
    """The noise is the same in all channels though the colours differ."""
    clean = flat(128, 64)
    clean[0], clean[2] = 60 / 255, 200 / 255
    noise = camera(chroma_denoising=1.0).expose(clean, source()) - (clean * 255).round().numpy()
    np.testing.assert_array_equal(noise[0], noise[1])
    np.testing.assert_array_equal(noise[0], noise[2])


@pytest.mark.arithmetic
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75])
def test_chroma_denoising(share: float) -> None:
    """Channels n_c become n_c + share (mean - n_c): variance and covariance by hand."""
    values = residual(camera(chroma_denoising=share, noise_at_white_gray=20.0), 128)
    plain = (2 + 18 * 128 / 255) ** 2
    variance = plain * ((1 - share) ** 2 + (2 * share * (1 - share) + share**2) / 3)
    between = plain * (2 * share * (1 - share) + share**2) / 3
    error = STANDARD_ERRORS * math.sqrt(2 / values[0].size)  # were the channels one
    assert values.var() == pytest.approx(variance + 1 / 12, rel=error)
    for one, other in ((0, 1), (1, 2), (0, 2)):
        found = (values[one] * values[other]).mean()
        assert found == pytest.approx(between, abs=error * variance)


def test_no_chroma_denoising_leaves_the_noise_alone() -> None:
    clean = flat(128, 64)
    noise = torch.empty_like(clean).normal_(generator=source()) * 5 / 255
    expected = ((clean + noise) * 255).round().numpy()
    taken = camera(noise_at_black_gray=5.0, noise_at_white_gray=5.0).expose(clean, source())
    np.testing.assert_allclose(taken, expected, atol=0)


# JPEG


@pytest.mark.parametrize(("subsampling", "code"), [("4:4:4", 0), ("4:2:0", 2)])
@pytest.mark.parametrize("quality", [40, 95])
def test_jpeg(quality: int, subsampling: str, code: int) -> None:
    """``expose`` is ``capture``, written and read by Pillow."""
    taken = camera(jpeg_quality=quality, jpeg_subsampling=subsampling)
    clean = taken.clean(picture(132, 180), 4)
    raw = taken.capture(clean, source())
    np.testing.assert_array_equal(raw, camera().expose(clean, source()))
    buffer = io.BytesIO()
    pixels = Image.fromarray(np.moveaxis(raw, 0, -1))
    pixels.save(buffer, "JPEG", quality=quality, subsampling=code)
    expected = np.moveaxis(np.asarray(Image.open(buffer)), -1, 0)
    found = taken.expose(clean, source())
    assert (found != raw).any()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("blur_along", 2.0),
        ("blur_across", 2.0),
        ("blur_angle", 70.0),
        ("noise", "laplace"),
        ("noise_at_black_gray", 3.0),
        ("noise_at_white_gray", 9.0),
        ("mosaic", True),
        ("chroma_denoising", 0.5),
        ("jpeg_quality", 80),
        ("jpeg_subsampling", "4:2:0"),
    ],
)
def test_every_setting_matters(setting: str, value: object) -> None:
    assert len(PLAIN) == 10
    plain = {"blur_along": 1.5, "blur_across": 0.8, "blur_angle": 20.0, "jpeg_quality": 90}
    hr = picture(64, 80)
    one, other = camera(**plain), camera(**{**plain, setting: value})
    clean = one.clean(hr, 2), other.clean(hr, 2)
    assert torch.equal(*clean) == (not setting.startswith("blur"))
    assert (one.expose(clean[0], source()) != other.expose(clean[1], source())).any()
