"""Noise estimated blind, on noise that is known: its variance, correlation and tails."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.base.seeding import generator
from pipeline.base.settings import load_section
from pipeline.demo.camera import Camera
from pipeline.demo.photographs import photograph
from pipeline.images.io import jpeg_round_trip
from pipeline.noise.estimate import (
    DARKEST,
    KNOTS,
    LAGS,
    ROUNDING,
    Blocks,
    Noise,
    _middle,
    cut_blocks,
    estimate_noise,
    join,
    plane_system,
    read_blocks,
    white_correlation,
)
from pipeline.prepare.prepare import noise_level
from pipeline.stores.reader import Store
from pipeline.writing.writer import StoreWriter

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

ALL = 10**9
CAMERAS = Path(__file__).parents[2] / "cameras.yaml"
GREEN_KEPT, OTHERS_KEPT = 5 / 8, 9 / 16
"""Variance that bilinear interpolation leaves of the noise on the sites."""


def areas(rng: np.random.Generator, side: int = 288, area: int = 36) -> Array:
    """Flat coloured areas, larger than blocks and not on their grid."""
    colours = rng.uniform(30, 225, (3, side // area, side // area))
    return np.asarray(colours.repeat(area, axis=1).repeat(area, axis=2))


def eight_bit(image: Array) -> Image:
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def blocks_of(images: Sequence[NDArray[np.generic]]) -> Blocks:
    return join([cut_blocks(image.astype(np.float64), ALL) for image in images])


def laplace(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Of variance one."""
    return rng.laplace(0, 1 / np.sqrt(2), shape)


def estimated(seed: int, law: str, black: float, white: float, images: int = 4) -> Noise:
    """The noise of flat areas, whose standard deviation is linear in the intensity."""
    rng = np.random.default_rng(seed)
    lr_images = []
    for _ in range(images):
        clean = areas(rng)
        unit = laplace(rng, clean.shape) if law == "laplace" else rng.normal(size=clean.shape)
        lr_images.append(eight_bit(clean + unit * (black + (white - black) * clean / 255)))
    return estimate_noise(blocks_of(lr_images))


# --- variance


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
@pytest.mark.parametrize(("black", "white"), [(1, 1), (8, 8), (4, 16), (12, 3)])
def test_variance_by_intensity(law: str, black: float, white: float) -> None:
    found = estimated(1, law, black, white)
    levels = np.arange(50, 210, 10.0)
    truth = np.sqrt((black + (white - black) * levels / 255) ** 2 + ROUNDING)
    deviation = np.sqrt(found.variance_at(np.stack([levels] * 3, axis=-1)))
    np.testing.assert_allclose(deviation, np.stack([truth] * 3, axis=-1), rtol=0.1)
    assert np.mean(deviation / truth[:, None]) == pytest.approx(1, abs=0.03)
    assert found.flat


def test_channels_have_their_own_variance() -> None:
    rng = np.random.default_rng(2)
    scale = np.array([3, 6, 12.0])[:, None, None]
    lr_images = [eight_bit(areas(rng) + rng.normal(size=(3, 288, 288)) * scale) for _ in range(3)]
    found = estimate_noise(blocks_of(lr_images))
    middle = np.sqrt(found.variance[:, 2:7].mean(axis=1))
    np.testing.assert_allclose(middle, scale.ravel(), rtol=0.05)


def test_the_choice_of_flat_blocks_does_not_bias() -> None:
    """Everything is flat: the blocks of the quietest neighbours have the noise of all."""
    ratios, naive = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        noise = rng.normal(0, 8, (3, 400, 400))
        blocks = cut_blocks(128 + noise, ALL)
        order = np.argsort(blocks.surroundings.mean(axis=1))[: len(blocks) // 10]
        own = (blocks.residual.astype(np.float64) ** 2).sum(axis=(2, 3)) / 61
        ratios.append(own[order].mean() / 64)
        naive.append(np.sort(own.mean(axis=1))[: len(own) // 10].mean() / 64)
    assert np.mean(ratios) == pytest.approx(1, abs=0.01)
    assert np.mean(naive) < 0.85  # as it would be by their own variance


def test_middle_of_skew_variances() -> None:
    """A sample variance of n degrees of freedom is Gamma; its median is 1/3 of 2/n too low."""
    for freedom in (20, 61):
        variances = 7 * np.random.default_rng(14).chisquare(freedom, 400_000) / freedom
        assert np.median(variances) < 7 * (1 - 0.5 / freedom)
        assert _middle(variances) == pytest.approx(7, rel=0.003)
        variances[:20_000] = 900  # edges
        assert _middle(variances) == pytest.approx(7, rel=0.03)
    assert _middle(np.array([-3.0, -2, -1])) == 0


def test_flat_images_as_a_whole() -> None:
    found = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        lr_images = [eight_bit(128 + rng.normal(0, 8, (3, 320, 320)))]
        blocks = blocks_of(lr_images)
        found.append(estimate_noise(blocks).deviation(blocks))
    assert np.mean(found) == pytest.approx(np.sqrt(64 + ROUNDING), rel=0.015)


def test_images_without_noise_have_that_of_rounding() -> None:
    rng = np.random.default_rng(3)
    for lr_images in ([areas(rng) for _ in range(2)], [eight_bit(areas(rng)) for _ in range(2)]):
        found = estimate_noise(blocks_of(lr_images))
        np.testing.assert_allclose(found.variance, ROUNDING, rtol=1e-6)
        np.testing.assert_array_equal(found.correlation, white_correlation())


def test_variance_at_is_linear_between_the_knots() -> None:
    variance = np.random.default_rng(4).uniform(1, 9, (3, len(KNOTS)))
    noise = Noise(variance, white_correlation(), 0, True)
    level = np.array([[0, 31.875, 255], [15.9375, 100, 300]])
    expected = [
        [variance[0, 0], variance[1, 1], variance[2, 8]],
        [
            (variance[0, 0] + variance[0, 1]) / 2,
            variance[1, 3] + (100 - KNOTS[3]) / 31.875 * (variance[1, 4] - variance[1, 3]),
            variance[2, 8],
        ],
    ]
    np.testing.assert_allclose(noise.variance_at(level), expected)
    rest, around = np.zeros((2, 3, 8, 8), np.float32), np.zeros((2, 3), np.float32)
    blocks = Blocks(level.astype(np.float32), rest, around)
    assert noise.deviation(blocks) == pytest.approx(np.sqrt(np.mean(expected)), rel=1e-5)


# --- correlation and tails


def test_white_noise_has_no_correlation() -> None:
    found = estimated(5, "gaussian", 8, 8).correlation
    np.testing.assert_allclose(found, white_correlation(), atol=0.06)
    np.testing.assert_allclose(found[range(3), range(3), LAGS, LAGS], 1, atol=1e-12)


def by_hand(taps: Array) -> Array:
    """Correlation (3, 3, 7, 7) of white noise e after y_c(p) = sum of taps[c, e, u] e(p + u).

    Loop by loop: of c at p with d at p + (dy, dx).
    """
    side = taps.shape[-1]
    found = np.zeros((3, 3, 7, 7))
    for c, d, e in np.ndindex(3, 3, 3):
        for y, x in np.ndindex(side, side):
            for j, k in np.ndindex(7, 7):
                v, u = y - (j - 3), x - (k - 3)
                if 0 <= v < side and 0 <= u < side:
                    found[c, d, j, k] += taps[c, e, y, x] * taps[d, e, v, u]
    power = np.sqrt(found[range(3), range(3), 3, 3])
    return np.asarray(found / power[:, None, None, None] / power[None, :, None, None])


def filtered(rng: np.random.Generator, taps: Array, side: int) -> Array:
    """Noise of unit variance, made by the loops of ``by_hand``."""
    width = taps.shape[-1]
    white = rng.normal(size=(3, side + width, side + width))
    made = np.zeros((3, side, side))
    for c, e, y, x in np.ndindex(taps.shape):
        made[c] += taps[c, e, y, x] * white[e, y : y + side, x : x + side]
    return np.asarray(made / np.sqrt((taps**2).sum(axis=(1, 2, 3)))[:, None, None])


def smear() -> Array:
    """A mean of neighbours along the rows, one channel a pixel late, and common gray noise."""
    taps = np.zeros((3, 3, 3, 3))
    taps[range(3), range(3), 1, 1] = 1
    taps[range(3), range(3), 1, 2] = 0.6
    taps[1, 0, 0, 1] = 0.5  # green follows red, the row above
    taps[2, 0, 1, 1] = 0.5
    return taps


def test_correlation_of_a_known_filter() -> None:
    rng, taps = np.random.default_rng(6), smear()
    lr_images = [eight_bit(areas(rng) + 9 * filtered(rng, taps, 288)) for _ in range(5)]
    blocks = blocks_of(lr_images)
    found, expected = estimate_noise(blocks), by_hand(taps)
    near, truth = found.correlation[..., 1:6, 1:6], expected[..., 1:6, 1:6]
    assert truth[0, 0, 2, 3] == pytest.approx(0.6 / 1.36)
    np.testing.assert_allclose(near, truth, atol=0.07)
    assert np.sqrt(np.mean((found.correlation - expected) ** 2)) < 0.03
    assert found.deviation(blocks) == pytest.approx(9, rel=0.05)


def test_the_correlation_swaps_with_its_channels() -> None:
    rng = np.random.default_rng(7)
    lr_images = [eight_bit(areas(rng) + 9 * filtered(rng, smear(), 288)) for _ in range(2)]
    found = estimate_noise(blocks_of(lr_images)).correlation
    np.testing.assert_allclose(found, found.swapaxes(0, 1)[:, :, ::-1, ::-1], atol=1e-9)


@pytest.mark.parametrize(("law", "excess"), [("gaussian", 0), ("laplace", 3)])
def test_excess_kurtosis(law: str, excess: float) -> None:
    """A block without its plane is a little more Gaussian: 0.91 of the excess is left."""
    assert estimated(8, law, 8, 8).excess_kurtosis == pytest.approx(excess * 0.91, abs=0.3)


def test_what_a_plane_takes_along() -> None:
    """Exact algebra: the covariance matrix of a block, without its plane by least squares."""
    rng = np.random.default_rng(9)
    covariance = by_hand(rng.normal(size=(3, 3, 3, 3)))[0, 0]
    y, x = (axis.ravel() for axis in np.mgrid[:8, :8])
    full = np.zeros((64, 64))
    for p, q in np.ndindex(64, 64):
        dy, dx = y[q] - y[p], x[q] - x[p]
        if max(abs(dy), abs(dx)) <= LAGS:
            full[p, q] = covariance[dy + LAGS, dx + LAGS]
    plane = np.stack([np.ones(64), y, x], axis=1)
    rest = np.eye(64) - plane @ np.linalg.lstsq(plane, np.eye(64), rcond=None)[0]
    left = rest @ full @ rest.T
    sums = np.zeros((7, 7))
    for p, q in np.ndindex(64, 64):
        dy, dx = y[q] - y[p], x[q] - x[p]
        if max(abs(dy), abs(dx)) <= LAGS:
            sums[dy + LAGS, dx + LAGS] += left[p, q]
    np.testing.assert_allclose(plane_system() @ covariance.ravel(), sums.ravel(), atol=1e-9)
    assert np.linalg.cond(plane_system()) < 1e3


# --- texture


def seen(camera: Camera, names: Sequence[str], captures: int = 1) -> tuple[list[Image], Array]:
    """LR images of photographs by a camera, and the true variances (3, n) of their pixels."""
    lr_images, variances = [], []
    for number, name in enumerate(names):
        clean = camera.clean(photograph(name, 4), 4)
        for k in range(captures):
            lr_images.append(camera.expose(clean, generator(k, "test/noise", number)))
            deviation = camera.noise_deviation(clean).double().numpy() * 255
            variances.append(deviation.reshape(3, -1) ** 2)
    kept = np.ones(3)
    if camera.mosaic:
        kept = np.array([OTHERS_KEPT, GREEN_KEPT, OTHERS_KEPT])
        third = camera.chroma_denoising / 3
        kept = (1 - 3 * third + third) ** 2 * kept + third**2 * (kept.sum() - kept)
    return lr_images, np.concatenate(variances, axis=1) * kept[:, None]


@pytest.mark.arithmetic
@pytest.mark.parametrize(("name", "textbook"), [("laplace", 1.6), ("poisson", 1.3)])
def test_texture_is_not_taken_for_noise(name: str, textbook: float) -> None:
    """Grass and gravel from edge to edge, under noise of 10 gray levels, not a flat area.

    Standard deviation over the truth: here 0.99 (laplace) and 1.01 (poisson, behind a soft lens);
    by the median of the diagonal Haar coefficients 1.73 and 1.80, and 1.35 and 1.45.
    """
    camera = load_section(CAMERAS, name, Camera)
    lr_images, variance = seen(camera, ("grass.png", "gravel.png"))
    blocks, truth = blocks_of(lr_images), np.sqrt(variance.mean())
    found = estimate_noise(blocks)
    assert not found.flat
    np.testing.assert_array_equal(found.correlation, white_correlation())
    assert found.deviation(blocks) == pytest.approx(truth, rel=0.2)
    channels = np.sqrt(found.variance_at(blocks.level).mean(axis=0))
    np.testing.assert_allclose(channels, np.sqrt(variance.mean(axis=1)), rtol=0.2)
    expected, spread = (3, 1.5) if name == "laplace" else (0, 0.8)
    assert found.excess_kurtosis == pytest.approx(expected, abs=spread)
    assert min(noise_level(image) for image in lr_images) > textbook * truth


@pytest.mark.arithmetic
def test_texture_among_flat_areas() -> None:
    """The camera mosaic, whose noise is correlated: 1.15 of the truth; Haar 0.46 to 1.52."""
    camera = load_section(CAMERAS, "mosaic", Camera)
    lr_images, variance = seen(camera, ("grass.png", "gravel.png", "brick.png", "camera.png"))
    blocks = blocks_of(lr_images)
    found = estimate_noise(blocks)
    assert found.flat
    assert found.deviation(blocks) == pytest.approx(np.sqrt(variance.mean()), rel=0.2)
    assert found.correlation[range(3), range(3), LAGS, LAGS + 1].min() > 0.3


@pytest.mark.arithmetic
def test_gray_texture_from_edge_to_edge_is_refused() -> None:
    """What a JPEG with halved colour planes leaves of the noise is gray, as the grass is."""
    camera = load_section(CAMERAS, "laplace", Camera)
    lr_images, _ = seen(camera, ("grass.png", "gravel.png"))
    small = [jpeg_round_trip(image, 30, "4:2:0") for image in lr_images]
    with pytest.raises(ValueError, match="textured from edge to edge, alike in all channels"):
        estimate_noise(blocks_of(small))


# --- blocks


@pytest.mark.parametrize("level", [5.0, 250.0])
def test_black_and_white_are_left_out(level: float) -> None:
    image = level + np.random.default_rng(10).normal(size=(3, 200, 200))
    with pytest.raises(ValueError, match="only 0 blocks of 8x8 pixels are neither black nor white"):
        estimate_noise(cut_blocks(image, ALL))


def test_too_few_blocks() -> None:
    image = 100 + np.random.default_rng(11).normal(0, 5, (3, 64, 64))
    with pytest.raises(ValueError, match="only 36 blocks"):
        estimate_noise(cut_blocks(image, ALL))
    image[0, :32] = DARKEST - 6
    with pytest.raises(ValueError, match="only 18 blocks"):
        estimate_noise(cut_blocks(image, ALL))


def test_blocks_by_hand() -> None:
    """Mean, residual and neighbours of every inner block, by least squares."""
    image = np.random.default_rng(12).uniform(0, 255, (3, 43, 38))
    blocks = cut_blocks(image, ALL)
    y, x = (axis.ravel() for axis in np.mgrid[:8, :8])
    plane = np.stack([np.ones(64), y, x], axis=1)

    def residual(c: int, row: int, column: int) -> Array:
        part = image[c, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8].ravel()
        return np.asarray(part - plane @ np.linalg.lstsq(plane, part, rcond=None)[0])

    inner = [(row, column) for row in (1, 2, 3) for column in (1, 2)]
    assert len(blocks) == len(inner)
    for n, (row, column) in enumerate(inner):
        for c in range(3):
            part = image[c, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8]
            assert blocks.level[n, c] == pytest.approx(part.mean(), rel=1e-5)
            expected = residual(c, row, column)
            np.testing.assert_allclose(blocks.residual[n, c].ravel(), expected, atol=1e-3)
            near = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
            around = np.mean([(residual(c, *place) ** 2).sum() / 61 for place in near])
            assert blocks.surroundings[n, c] == pytest.approx(around, rel=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (7, 90), (16, 300), (23, 23)])
def test_images_too_small_for_an_inner_block(size: tuple[int, int]) -> None:
    assert len(cut_blocks(np.zeros((3, *size)), ALL)) == 0


@pytest.mark.parametrize("limit", [1, 7, 16, 31, 32, 64, 100, 256, 1000])
def test_blocks_are_spread_evenly(limit: int) -> None:
    """32 x 32 inner blocks, each with its place as its level."""
    y, x = np.mgrid[:34, :34].repeat(8, axis=1).repeat(8, axis=2)
    image = np.stack([y, x, y + x]).astype(np.float64)
    blocks = cut_blocks(image, limit)
    assert len(blocks) == limit
    if limit < 16:
        return
    quarters = 2 * (blocks.level[:, 0] > 16.5) + (blocks.level[:, 1] > 16.5)
    share = np.bincount(quarters.astype(int), minlength=4) / limit
    assert share.min() > 0.15 and share.max() < 0.35
    for axis in (0, 1):  # not always the same rows or columns
        assert len(np.unique(blocks.level[:, axis])) >= min(limit, 32) / 2


def test_a_store_gives_its_blocks(tmp_path: Path) -> None:
    """Of real images what is not held out, of maps the means in gray levels."""
    rng = np.random.default_rng(13)
    images = {"a": rng.integers(0, 256, (3, 60, 100), np.uint8), "b": areas(rng).astype(np.uint8)}
    with StoreWriter(tmp_path / "lr.zarr", "lr", 4, list(images)) as writer:
        for name, image in images.items():
            writer.add(name, {"image": image})
    found = read_blocks(Store(tmp_path / "lr.zarr", "lr"), ALL)
    expected = blocks_of([images["a"][..., :75], images["b"][..., :216]])
    np.testing.assert_array_equal(found.residual, expected.residual)
    with StoreWriter(tmp_path / "maps.zarr", "maps", 4, list(images)) as writer:
        for name, image in images.items():
            mean = (image / 255).astype(np.float16)
            writer.add(name, {"mean": mean, "theta": np.ones_like(mean)})
    maps = Store(tmp_path / "maps.zarr", "maps")
    found = read_blocks(maps, ALL)
    np.testing.assert_allclose(found.level, blocks_of(list(images.values())).level, atol=0.1)
    assert len(read_blocks(maps, 20)) == 20
