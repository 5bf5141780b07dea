"""Signatures of images without noise, with Gaussian, Laplace and correlated noise of known law."""

import itertools
import math
from functools import reduce
from operator import add

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage, stats

from pipeline.noise.estimate import ROUNDING
from pipeline.noise.signature import (
    BIN,
    BINS,
    FREQUENCIES,
    HALF,
    RADII,
    Signature,
    cut,
    high_pass_values,
    signature,
    spectral_distance,
    spectrum,
    wasserstein,
)

Floats = NDArray[np.float64]
SIZE = 512


def noise(deviation: float, seed: int, size: int = SIZE) -> Floats:
    """A gray image with white Gaussian noise."""
    return 128 + deviation * np.random.default_rng(seed).normal(size=(3, size, size))


def correlated(deviation: float, seed: int) -> Floats:
    """Gaussian noise, every pixel the mean of two neighbours in a row, made louder again."""
    white = np.random.default_rng(seed).normal(size=(3, SIZE, SIZE + 1))
    return 128 + deviation * (white[..., 1:] + white[..., :-1]) / math.sqrt(2)


def gauss_taps() -> Floats:
    """The 5x5 Gaussian of sigma 5/6, from its formula."""
    line = np.exp(-(np.arange(-2, 3) ** 2) / (2 * (5 / 6) ** 2))
    taps: Floats = np.outer(line, line) / line.sum() ** 2
    return taps


def gain(share: float = 0.0) -> float:
    """Standard deviation that the high-pass leaves of Gaussian noise of deviation one.

    ``share`` is how far two neighbours in a row are correlated.
    """
    taps = -gauss_taps()
    taps[2, 2] += 1
    return math.sqrt(float(np.sum(taps**2) + 2 * share * np.sum(taps[:, 1:] * taps[:, :-1])))


def raw(image: Floats) -> Floats:
    """High-pass values (3, n) of an image, by SciPy."""
    low = ndimage.correlate(image, gauss_taps()[None])
    return np.asarray((image - low)[:, 2:-2, 2:-2].reshape(3, -1))


def same(first: Signature, second: Signature) -> None:
    np.testing.assert_array_equal(first.high_pass, second.high_pass)
    np.testing.assert_allclose(first.power, second.power, rtol=1e-12)
    assert first.windows == second.windows


# ---------------------------------------------------------------- signature


def test_signature_shape_and_dtype() -> None:
    found = signature(noise(5, 0, 50).astype(np.float32))
    assert found.high_pass.shape == (3, BINS) and found.high_pass.dtype == np.int64
    assert found.power.shape == (3, RADII) and found.power.dtype == np.float64
    assert found.windows == 9
    assert (found.high_pass.sum(axis=1) == 46 * 46).all()


def test_histogram_is_that_of_scipy() -> None:
    image = noise(6, 1, 40)
    edges = (np.arange(BINS + 1) - HALF - 0.5) * BIN
    found = signature(image).high_pass
    for channel, values in zip(found, raw(image), strict=True):
        np.testing.assert_array_equal(channel, np.histogram(values, edges)[0])


def test_no_8_bit_image_is_beyond_the_ends() -> None:
    # the largest value there is: one white pixel on black, 255 (1 - centre of the Gaussian)
    image = np.zeros((3, 5, 5))
    image[:, 2, 2] = 255
    assert 255 * (1 - gauss_taps()[2, 2]) < 197 < HALF * BIN
    index = np.flatnonzero(signature(image).high_pass[0])
    assert (index - HALF) * BIN == pytest.approx(255 * (1 - gauss_taps()[2, 2]), abs=BIN / 2)


def test_the_ends_hold_what_lies_beyond() -> None:
    image = np.zeros((3, 5, 5))
    image[0, 2, 2], image[1, 2, 2] = 1e6, -1e6
    found = signature(image).high_pass
    assert found[0, -1] == 1 and found[1, 0] == 1 and found[2, HALF] == 1


@pytest.mark.parametrize(
    ("height", "width", "values", "windows"),
    [(4, 40, 0, 0), (40, 4, 0, 0), (5, 15, 11, 0), (15, 40, 396, 0), (16, 33, 348, 2)],
)
def test_small_images(height: int, width: int, values: int, windows: int) -> None:
    found = signature(np.full((3, height, width), 7.0))
    assert (found.high_pass.sum(axis=1) == values).all()
    assert found.windows == windows
    np.testing.assert_allclose(found.power, 0, atol=1e-20)


def test_signatures_add_up_in_any_grouping() -> None:
    a, b, c = (signature(noise(s, s, 16 * s)) for s in (2, 3, 5))
    same((a + b) + c, a + (b + c))
    same(a + b, b + a)
    both = a + b
    np.testing.assert_array_equal(both.high_pass, a.high_pass + b.high_pass)
    np.testing.assert_allclose(spectrum(both), (4 * spectrum(a) + 9 * spectrum(b)) / 13, rtol=1e-12)


def test_two_images_added_are_one_pile() -> None:
    left, right = noise(4, 0, 64), noise(8, 1, 64)
    values = np.concatenate([raw(left), raw(right)], axis=1)
    found = signature(left) + signature(right)
    edges = (np.arange(BINS + 1) - HALF - 0.5) * BIN
    np.testing.assert_array_equal(found.high_pass[1], np.histogram(values[1], edges)[0])
    # windows do not overlap: an image of both side by side has the same ones
    joined = signature(np.concatenate([left, right], axis=2))
    np.testing.assert_allclose(found.power, joined.power, rtol=1e-12)
    assert found.windows == joined.windows == 32


def test_signature_refuses_bad_images() -> None:
    for shape in ((8, 8), (1, 8, 8), (8, 8, 3), (2, 3, 8, 8)):
        with pytest.raises(ValueError, match=r"must be \(3, H, W\), got"):
            signature(np.zeros(shape))
    image = np.zeros((3, 8, 8))
    image[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match="finite"):
        signature(image)


def test_cut_keeps_rows_and_channels() -> None:
    image = np.random.default_rng(0).random((3, 37, 50))
    found = cut(image)
    assert found.shape == (6, 3, 16, 16)
    for number, (row, column) in enumerate(itertools.product(range(2), range(3))):
        expected = image[:, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        np.testing.assert_array_equal(found[number], expected)


def test_high_pass_values_are_in_gray_levels() -> None:
    image = noise(9, 3, 20)
    found = high_pass_values(image[None])
    assert found.shape == (1, 3, 16, 16)
    np.testing.assert_allclose(found[0].reshape(3, -1), raw(image), atol=1e-10)


# ---------------------------------------------------------------- wasserstein


@pytest.mark.parametrize("deviation", [0.0, 0.3, 4.0, 9.0])
def test_wasserstein_is_that_of_the_values(deviation: float) -> None:
    first, second = noise(5, 0, 96), noise(deviation, 1, 96)
    found = wasserstein(signature(first), signature(second))
    expected = [
        stats.wasserstein_distance(a, b) for a, b in zip(raw(first), raw(second), strict=True)
    ]
    assert found.shape == (3,)
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_wasserstein_within_its_bound_where_binning_hurts_most() -> None:
    rng = np.random.default_rng(0)
    for deviation in (0.01, 0.1, 0.2):
        first, second = deviation * rng.normal(size=(2, 3, 40, 40)) + 100
        found = wasserstein(signature(first), signature(second))
        for channel in range(3):
            expected = stats.wasserstein_distance(raw(first)[channel], raw(second)[channel])
            assert abs(found[channel] - expected) <= BIN


@pytest.mark.parametrize(("first", "second"), [(10.0, 5.0), (6.0, 5.5), (3.0, 12.0)])
def test_wasserstein_of_gaussian_noise(first: float, second: float) -> None:
    # sorted values are in proportion, so W1 = |s1 - s2| E|z|
    expected = abs(first - second) * gain() * math.sqrt(2 / math.pi)
    found = wasserstein(signature(noise(first, 0)), signature(noise(second, 1)))
    np.testing.assert_allclose(found, expected, atol=0.06)


def test_wasserstein_of_laplace_noise_halved() -> None:
    # the same law at half the scale: W1 is half of E|high-pass value|
    draws = 128 + np.random.default_rng(0).laplace(0, 6, (3, SIZE, SIZE))
    other = 128 + np.random.default_rng(1).laplace(0, 3, (3, SIZE, SIZE))
    expected = np.abs(raw(draws)).mean(axis=1) / 2
    found = wasserstein(signature(draws), signature(other))
    np.testing.assert_allclose(found, expected, rtol=0.02)


def test_wasserstein_is_a_distance() -> None:
    lr_sets = [signature(noise(s, i, 128)) for i, s in enumerate((2.0, 4.0, 7.0))]
    for a in lr_sets:
        assert (wasserstein(a, a) == 0).all()
        for b, c in itertools.product(lr_sets, repeat=2):
            np.testing.assert_array_equal(wasserstein(a, b), wasserstein(b, a))
            assert (wasserstein(a, c) <= wasserstein(a, b) + wasserstein(b, c) + 1e-12).all()


def test_wasserstein_does_not_count_the_size_of_the_pile() -> None:
    a, b = signature(noise(5, 0, 64)), signature(noise(2, 1, 64))
    np.testing.assert_allclose(wasserstein(a + a + a, b), wasserstein(a, b), rtol=1e-12)


def test_wasserstein_needs_values() -> None:
    good, empty = signature(noise(1, 0, 32)), signature(np.zeros((3, 4, 4)))
    for pair in ((good, empty), (empty, good)):
        with pytest.raises(ValueError, match="without high-pass values"):
            wasserstein(*pair)


# ---------------------------------------------------------------- spectrum, spectral_distance


def test_white_noise_has_its_variance_at_every_frequency() -> None:
    lr_set = reduce(add, (signature(noise(6, seed)) for seed in range(2)))
    np.testing.assert_allclose(spectrum(lr_set).mean(axis=0), 36, rtol=0.03)


def test_spectrum_of_correlated_noise() -> None:
    # the mean of two neighbours: v (1 + cos(2 pi f)) along the rows' direction; the Hann window
    # spreads a frequency over its neighbours, which keeps a cosine up to the factor of its lag
    found = spectrum(signature(correlated(6, 0))).mean(axis=0)
    hann = np.cos(np.pi * (np.arange(16) - 7.5) / 16) ** 2
    lag = float(hann[1:] @ hann[:-1] / (hann @ hann))
    frequency = np.fft.fftfreq(16, 1 / 16)
    radius = np.rint(np.hypot(frequency, frequency[:, None]))
    power = np.broadcast_to(36 * (1 + lag * np.cos(2 * np.pi * frequency / 16)), (16, 16))
    expected = [power[radius == r].mean() for r in range(1, 12)]
    np.testing.assert_allclose(found[1:], expected[1:], rtol=0.05)


def test_a_plane_has_no_power() -> None:
    rows, columns = np.mgrid[:32, :48]
    image = np.stack([3 + 2 * rows, 200 - columns, rows + 0.5 * columns]).astype(np.float64)
    np.testing.assert_allclose(spectrum(signature(image)), 0, atol=1e-20)


@pytest.mark.parametrize("place", [2, 5, 8])
def test_a_wave_is_at_its_frequency(place: int) -> None:
    wave = np.cos(2 * np.pi * FREQUENCIES[place - 1] * np.arange(64))
    image = np.broadcast_to(100 + 10 * wave, (3, 64, 64))
    assert (spectrum(signature(image)).argmax(axis=1) == place - 1).all()


def test_frequencies_are_cycles_per_pixel() -> None:
    assert FREQUENCIES[0] == 1 / 16 and FREQUENCIES[7] == 0.5
    assert FREQUENCIES[-1] - 1 / 32 < math.sqrt(0.5) < FREQUENCIES[-1] + 1 / 32


def test_spectral_distance_of_noise_halved() -> None:
    found = spectral_distance(signature(noise(10, 0)), signature(noise(5, 1)))
    assert found == pytest.approx(20 * math.log10(2), abs=0.1)


def test_spectral_distance_by_hand() -> None:
    counts = np.ones((3, BINS), dtype=np.int64)
    first = Signature(counts, np.full((3, RADII), 20.0), 2)
    power = np.full((3, RADII), 40.0)
    power[1] = 400.0  # 10 against 100: 10 dB in one channel of three
    second = Signature(counts, power, 4)
    assert spectral_distance(first, second) == pytest.approx(10 / math.sqrt(3))
    assert spectral_distance(second, first) == spectral_distance(first, second)


def test_spectral_distance_without_noise() -> None:
    flat = signature(np.full((3, 32, 32), 90.0))
    rounded = signature(np.round(noise(10, 0)) + 0.0)
    assert spectral_distance(flat, flat) == 0
    tiny = signature(noise(0.1, 2, 64))  # a power of 0.01, below that of the rounding
    assert spectral_distance(flat, tiny) == 0
    expected = 10 * math.log10((100 + ROUNDING) / ROUNDING)
    assert spectral_distance(flat, rounded) == pytest.approx(expected, abs=0.1)


def test_rounding_has_the_power_of_the_floor() -> None:
    ramp = np.random.default_rng(0).uniform(0, 255, (3, SIZE, SIZE))
    power = spectrum(signature(np.round(ramp) - ramp))
    np.testing.assert_allclose(power.mean(axis=0), ROUNDING, rtol=0.05)


def test_spectrum_needs_windows() -> None:
    good, empty = signature(noise(1, 0, 32)), signature(np.zeros((3, 15, 15)))
    with pytest.raises(ValueError, match="without windows"):
        spectrum(empty)
    with pytest.raises(ValueError, match="without windows"):
        spectral_distance(good, empty)


# ---------------------------------------------------------------- what the scores find


def test_the_same_camera_twice() -> None:
    first, second = signature(noise(6, 0)), signature(noise(6, 1))
    assert (wasserstein(first, second) < 0.05).all()
    assert spectral_distance(first, second) < 0.25


def test_correlation_is_found_by_the_spectrum() -> None:
    white, other = signature(noise(6, 0)), signature(correlated(6, 1))
    assert spectral_distance(white, other) > 1.5
    # the high-pass lets less of it through
    expected = 6 * (gain() - gain(0.5)) * math.sqrt(2 / math.pi)
    np.testing.assert_allclose(wasserstein(white, other), expected, atol=0.05)


def test_the_law_is_found_by_the_histogram_alone() -> None:
    gaussian = signature(noise(6, 0))
    draws = np.random.default_rng(1).laplace(0, 6 / math.sqrt(2), (3, SIZE, SIZE))
    laplace = signature(128 + draws)
    assert (wasserstein(gaussian, laplace) > 0.2).all()
    assert spectral_distance(gaussian, laplace) < 0.35


def test_8_bit_images_are_computed_in_float32() -> None:
    """A bin changes only for values that lie on its edge within the rounding."""
    image = np.random.default_rng(11).integers(0, 256, (3, 200, 300), dtype=np.uint8)
    short, long = signature(image), signature(image.astype(np.float64))
    moved = np.abs(np.cumsum(short.high_pass - long.high_pass, axis=1)).sum()
    assert moved < 1e-3 * image.size
    np.testing.assert_allclose(short.power, long.power, rtol=1e-6)
