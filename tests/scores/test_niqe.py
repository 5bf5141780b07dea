"""NIQE: features and distance again by other means, known laws, invariances."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import inv
from scipy.signal import convolve2d
from scipy.spatial.distance import mahalanobis
from scipy.special import gammaln
from skimage import data

from pipeline.reading.files import read_image
from pipeline.scores.niqe import (
    block_features,
    enough,
    fit_aggd,
    moments,
    mscn,
    niqe,
    scale_features,
)
from pipeline.scores.niqe_model import NiqeModel, load_model

Array = NDArray[np.float64]
Image = NDArray[np.uint8]


def photograph(name: str) -> Image:
    return np.ascontiguousarray(np.moveaxis(getattr(data, name)(), -1, 0))


def noisy(image: Image, deviation: float) -> Image:
    noise = np.random.default_rng(0).normal(0, deviation, image.shape)
    return np.clip(np.round(image + noise), 0, 255).astype(np.uint8)


def model_of(mean: Array, covariance: Array) -> NiqeModel:
    return NiqeModel(mean, covariance, "made.safetensors", "")


# --- oracle: the paper and the release's steps, a block at a time


def reference_luma(image: Image) -> Array:
    """Y of BT.601, rounded, halves up, in whole numbers of 1/510000."""
    red, green, blue = image.astype(np.int64)
    y = 2 * (65481 * red + 128553 * green + 24966 * blue)
    return np.asarray(16 + (y + 255000) // 510000, dtype=np.float64)


def reference_mscn(plane: Array) -> Array:
    """With a 7x7 window at once, and the border repeated by ``np.pad``."""
    rows, columns = np.mgrid[-3:4, -3:4]
    window = np.exp(-(rows**2 + columns**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    padded = np.pad(plane, 3, mode="edge")
    mean = convolve2d(padded, window, mode="valid")
    variance = convolve2d(padded**2, window, mode="valid") - mean**2
    return np.asarray((plane - mean) / (np.sqrt(np.abs(variance)) + 1))


def reference_half(plane: Array) -> Array:
    """Keys' kernel at 1/4, 3/4, 5/4 and 7/4 by hand, stretched twice, the border mirrored."""
    side = np.array([0.8671875, 0.2265625, -0.0703125, -0.0234375]) / 2
    taps = np.concatenate([side[::-1], side])
    padded = np.pad(plane, 3, mode="symmetric")
    full = convolve2d(convolve2d(padded, taps[:, None], "valid"), taps[None], "valid")
    return np.asarray(full[::2, ::2])


def reference_fit(values: Array) -> tuple[float, float, float]:
    """Every shape of the release's table in turn, its ratio by logarithms of Gamma."""
    shapes = np.linspace(0.2, 10, 9801)
    ratios = np.exp(2 * gammaln(2 / shapes) - gammaln(1 / shapes) - gammaln(3 / shapes))
    negative, positive = values[values < 0], values[values > 0]
    left, right = np.sqrt((negative**2).mean()), np.sqrt((positive**2).mean())
    g = left / right
    share = np.abs(values).mean() ** 2 / (values**2).mean()
    wanted = share * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
    shape = shapes[np.argmin((ratios - wanted) ** 2)]
    unit = np.exp((gammaln(1 / shape) - gammaln(3 / shape)) / 2)
    return float(shape), float(left * unit), float(right * unit)


def reference_block(block: Array) -> list[float]:
    """18 features of a block of MSCN coefficients; neighbours around the edge by ``np.take``."""
    shape, left, right = reference_fit(block.ravel())
    found = [shape, (left + right) / 2]
    rows, columns = np.indices(block.shape)
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        neighbour = block[(rows - down) % len(block), (columns - across) % len(block)]
        shape, left, right = reference_fit((block * neighbour).ravel())
        mean = (right - left) * np.exp(gammaln(2 / shape) - gammaln(1 / shape))
        found += [shape, float(mean), left, right]
    return found


def reference_features(image: Image) -> Array:
    height, width = image.shape[1] // 96 * 96, image.shape[2] // 96 * 96
    plane = reference_luma(image)[:height, :width]
    scales = (reference_mscn(plane), 96), (reference_mscn(reference_half(plane)), 48)
    return np.array(
        [
            [
                feature
                for coefficients, side in scales
                for feature in reference_block(
                    coefficients[row * side : (row + 1) * side, column * side : (column + 1) * side]
                )
            ]
            for row in range(height // 96)
            for column in range(width // 96)
        ]
    )


@pytest.mark.parametrize("name", ["chelsea", "coffee"])
def test_features_are_those_of_the_release(name: str) -> None:
    image = photograph(name)[:, :230, :310]  # 2 x 3 blocks, and a rest that is cut
    expected = reference_features(image)
    found, _ = block_features(image)
    assert found.shape == (6, 36)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def test_niqe_is_the_mahalanobis_distance() -> None:
    """With SciPy's inverse, which is the pseudo-inverse where there is one."""
    pristine = np.concatenate([block_features(photograph(n))[0] for n in ("astronaut", "rocket")])
    assert len(pristine) > 36
    mean, covariance = pristine.mean(axis=0), np.cov(pristine.T)
    image = noisy(photograph("chelsea")[:, :200, :300], 4)
    features = reference_features(image)
    between = inv((covariance + np.cov(features.T)) / 2)
    expected = mahalanobis(features.mean(axis=0), mean, between)
    assert 1 < expected < 100
    assert niqe(image, model_of(mean, covariance)) == pytest.approx(expected, rel=1e-5)


def test_niqe_by_hand() -> None:
    """Covariances that add up to twice a multiple of one leave the Euclidean distance."""
    image = photograph("chelsea")
    mean, covariance = moments(block_features(image)[0])
    model = model_of(mean, 2 * 25 * np.eye(36) - covariance)
    assert niqe(image, model) == pytest.approx(0, abs=1e-12)
    away = np.zeros(36)
    away[[3, 20]] = 3, 4
    model = model_of(mean + away, 2 * 25 * np.eye(36) - covariance)
    assert niqe(image, model) == pytest.approx(5 / 5, rel=1e-9)


def test_niqe_with_few_blocks_uses_the_pseudo_inverse() -> None:
    """Features that vary neither in the model nor in the image do not count."""
    image = photograph("chelsea")[:, :96, :192]
    mean, covariance = moments(block_features(image)[0])
    assert np.linalg.matrix_rank(covariance) == 1
    (direction,) = np.linalg.eigh(covariance)[1][:, -1:].T
    variance = np.linalg.eigvalsh(covariance)[-1]
    outside = np.linalg.qr(np.stack([direction, np.ones(36)], axis=1))[0][:, 1]
    model = model_of(mean + 0.5 * direction + outside, covariance)
    assert niqe(image, model) == pytest.approx(0.5 / np.sqrt(variance), rel=1e-6)


# --- AGGD


@pytest.mark.parametrize(
    ("shape", "left", "right"),
    [(2.0, 1.0, 1.0), (1.0, 0.3, 0.3), (0.6, 0.5, 1.5), (1.5, 2.0, 0.7), (4.0, 1.0, 1.2)],
)
def test_aggd_parameters_are_recovered(shape: float, left: float, right: float) -> None:
    """``(|x| / scale)^shape`` is Gamma(1 / shape); sides are as likely as their scales are long."""
    rng = np.random.default_rng(0)
    size = (3, 400_000)
    magnitude = rng.gamma(1 / shape, size=size) ** (1 / shape)
    negative = rng.random(size) < left / (left + right)
    values = np.where(negative, -left, right) * magnitude
    for found, expected in zip(fit_aggd(values), (shape, left, right), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0.03)


def test_aggd_of_named_laws() -> None:
    """A Gaussian is shape 2 and scale sigma sqrt(2), a Laplace law shape 1 and its own scale."""
    rng = np.random.default_rng(1)
    values = np.stack([rng.normal(0, 3, 400_000), rng.laplace(0, 3, 400_000)])
    shape, left, right = fit_aggd(values)
    np.testing.assert_allclose(shape, [2, 1], rtol=0.02)
    np.testing.assert_allclose(left, [3 * np.sqrt(2), 3], rtol=0.02)
    np.testing.assert_allclose(right, [3 * np.sqrt(2), 3], rtol=0.02)


def test_aggd_ends_of_the_table() -> None:
    """Two equal sides of one magnitude are flatter than any shape; a lone outlier sharper."""
    outliers = np.zeros((1, 1000))
    outliers[0, :2] = -1, 1
    shape, left, right = fit_aggd(np.tile([-1.0, 1.0], (1, 500)))
    unit = np.exp((gammaln(0.1) - gammaln(0.3)) / 2)
    assert shape == 10 and left == right == pytest.approx(unit)
    assert fit_aggd(outliers)[0] == 0.2


def test_aggd_scales_with_its_values_and_mirrors() -> None:
    values = np.random.default_rng(2).laplace(0.2, 1, (4, 500))
    shape, left, right = fit_aggd(values)
    larger, mirrored = fit_aggd(7 * values), fit_aggd(-values)
    np.testing.assert_array_equal(larger[0], shape)
    np.testing.assert_allclose(larger[1:], [7 * left, 7 * right])
    np.testing.assert_array_equal(mirrored[0], shape)
    np.testing.assert_allclose(mirrored[1:], [right, left])


def test_aggd_without_one_side() -> None:
    values = np.array([[0.0, 0, 0, 0], [0, 1, 2, 3], [0, -1, -2, -3]])
    shape, left, right = fit_aggd(values)
    np.testing.assert_array_equal(shape, 0.2)
    np.testing.assert_array_equal(np.isnan(left), [True, True, False])
    np.testing.assert_array_equal(np.isnan(right), [True, False, True])


# --- coefficients and blocks


@pytest.mark.parametrize("level", range(0, 256, 5))
def test_flat_areas_are_exactly_zero(level: int) -> None:
    coefficients, deviation = mscn(np.full((20, 30), level * 219 / 255 + 16))
    assert not coefficients.any()
    np.testing.assert_allclose(deviation, 0, atol=1e-5)


def test_mscn_of_an_impulse_by_hand() -> None:
    plane = np.zeros((21, 21))
    plane[10, 10] = 100
    centre = 1 / np.exp(-(np.arange(-3, 4) ** 2) / 2 / (7 / 6) ** 2).sum()
    weight = centre**2
    coefficients, deviation = mscn(plane)
    sigma = 100 * np.sqrt(weight - weight**2)
    assert deviation[10, 10] == pytest.approx(sigma)
    assert coefficients[10, 10] == pytest.approx((100 - 100 * weight) / (sigma + 1))
    assert not coefficients[:, :7].any() and not coefficients[:, 14:].any()


def test_features_of_a_mirrored_image() -> None:
    """Blocks change places, and so do the two diagonals; photographs with burnt-out areas too."""
    levels = photograph("astronaut")[:, :288, :288].astype(np.int64)
    image = np.clip(levels * 2 - 150, 0, 255).astype(np.uint8)
    assert (image == 0).mean() > 0.1 and (image == 255).mean() > 0.05
    found, _ = block_features(image)
    mirrored, _ = block_features(np.ascontiguousarray(image[:, :, ::-1]))
    expected = found.reshape(3, 3, 2, 18)[:, ::-1]
    order = [*range(10), 14, 15, 16, 17, 10, 11, 12, 13]
    np.testing.assert_allclose(
        mirrored.reshape(3, 3, 2, 18), expected[..., order], rtol=1e-6, atol=2e-3
    )


def test_features_of_independent_blocks_know_their_neighbours() -> None:
    """Products of neighbours lean to the side on which neighbours are alike."""
    noise = np.random.default_rng(0).normal(size=(2, 96, 96))
    rows = noise + np.roll(noise, 1, axis=2)
    means = scale_features(np.concatenate([noise, rows]))[:, 3::4]
    assert (np.abs(means[:2]) < 0.1).all()
    assert (means[2:, 0] > 0.5).all() and (np.abs(means[2:, 1:]) < 0.15).all()


def test_sharpness_is_the_mean_deviation_of_a_block() -> None:
    image = photograph("coffee")[:, :200, :200]
    plane = reference_luma(image)[:192, :192]
    _, deviation = mscn(plane)
    expected = [deviation[r : r + 96, c : c + 96].mean() for r in (0, 96) for c in (0, 96)]
    np.testing.assert_allclose(block_features(image)[1], expected)


def test_the_rest_beyond_whole_blocks_does_not_count() -> None:
    image = photograph("chelsea")[:, :250, :300].copy()
    before, _ = block_features(image)
    image[:, 192:] = 0
    image[:, :, 288:] = 255
    after, _ = block_features(image)
    np.testing.assert_array_equal(before, after)


# --- means and covariances


def test_moments_with_features_that_are_missing() -> None:
    features = np.array([[1.0, 2], [3, 6], [5, np.nan]])
    mean, covariance = moments(features)
    np.testing.assert_allclose(mean, [3, 4])  # of all that are there
    np.testing.assert_allclose(covariance, [[2, 4], [4, 8]])  # of the two whole rows


def test_moments_of_a_single_whole_row() -> None:
    mean, covariance = moments(np.array([[1.0, 2], [3, np.nan]]))
    np.testing.assert_allclose(mean, [2, 2])
    assert np.isnan(covariance).all() and covariance.shape == (2, 2)


# --- whole images


@pytest.fixture(scope="module")
def model() -> NiqeModel:
    """Of two photographs, the others of the tests being other ones."""
    found = np.concatenate([block_features(photograph(n))[0] for n in ("astronaut", "rocket")])
    return model_of(found.mean(axis=0), np.cov(found.T))


def test_noise_makes_it_worse(model: NiqeModel) -> None:
    image = photograph("coffee")
    values = [niqe(noisy(image, deviation), model) for deviation in (0, 8, 16, 32)]
    assert values == sorted(values) and values[-1] > 1.5 * values[0]


def test_blur_makes_it_worse(model: NiqeModel) -> None:
    image = photograph("chelsea")
    blurred = np.stack([convolve2d(plane, np.ones((5, 5)) / 25, "same", "symm") for plane in image])
    assert niqe(np.round(blurred).astype(np.uint8), model) > 1.3 * niqe(image, model)


def test_an_image_without_texture_has_none(model: NiqeModel) -> None:
    assert np.isnan(niqe(np.full((3, 200, 200), 90, np.uint8), model))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((95, 400), False), ((191, 191), False), ((96, 192), True), ((192, 96), True)],
)
def test_two_blocks_are_needed(size: tuple[int, int], expected: bool, model: NiqeModel) -> None:
    assert enough(*size) == expected
    image = np.tile(photograph("coffee")[:, :200, :200], (1, 1, 2))[:, : size[0], : size[1]]
    if expected:
        assert niqe(image, model) > 0
    else:
        with pytest.raises(ValueError, match="two blocks of 96x96"):
            niqe(image, model)


KNOWN = ("USRDU_NIQE_MODEL", "USRDU_NIQE_BABOON")


@pytest.mark.skipif(
    not all(name in os.environ for name in KNOWN),
    reason=f"{' and '.join(KNOWN)} do not name the 2013 release's model and baboon.png",
)
def test_the_well_known_figure() -> None:
    model, picture = (Path(os.environ[name]) for name in KNOWN)
    assert niqe(read_image(picture), load_model(model)) == pytest.approx(5.7296, abs=1e-3)
