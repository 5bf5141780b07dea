"""Sharpness of edges of known blur, noise of known level."""

from math import erf, sqrt

import numpy as np
import pytest
from discs import blurred, noisy, scene
from scipy.special import erf as erf_of

from pipeline.piles.detail import (
    Luma,
    luma_of,
    noise_of,
    sharpness_of,
    slopes_of,
    tiles_of,
)


def test_luma_is_that_of_bt_601() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 40, 50), dtype=np.uint8)
    expected = np.einsum("c,chw->hw", [0.299, 0.587, 0.114], image.astype(float))
    assert np.abs(luma_of(image) - expected).max() < 1.1
    assert luma_of(np.full((3, 2, 2), 255, np.uint8)).tolist() == [[255, 255], [255, 255]]


def steps(sigma: float) -> Luma:
    """(1, 64, 64), a step from 60 to 200 in the middle between two pixels, blurred."""
    x = np.arange(64) - 31.5
    row = 130 + 70 * erf_of((x + np.zeros(1)) / (sqrt(2) * sigma))
    return np.tile(row.round().astype(np.int16), (1, 64, 1))


@pytest.mark.parametrize("sigma", [0.4, 0.7, 1.0])
def test_the_slope_of_a_blurred_step(sigma: float) -> None:
    """Of wider blur a part lies outside of the window."""
    best = slopes_of(steps(sigma), None).max()
    assert best == pytest.approx(erf(1 / (2 * sqrt(2) * sigma)), abs=0.02)
    turned = np.ascontiguousarray(steps(sigma).swapaxes(1, 2))
    assert slopes_of(turned, None).max() == best


def test_few_edges_say_nothing() -> None:
    assert sharpness_of(np.ones(199, np.float32)) is None
    assert sharpness_of(np.full(200, 0.5, np.float32)) == 0.5


@pytest.mark.parametrize("sigma", [4.0, 8.0])
def test_noise_where_it_is_calmest(sigma: float) -> None:
    """Half of the image is a checkerboard, which is not noise."""
    rng = np.random.default_rng(0)
    tiles = rng.normal(128, sigma, (8, 64, 64))
    tiles[:4, ::2] += 60
    found = noise_of(tiles.round().astype(np.int16))
    assert found == pytest.approx(0.93 * sigma, rel=0.06)


def test_noise_of_black_tiles_is_unknown() -> None:
    assert noise_of(np.zeros((4, 64, 64), np.int16)) is None


def test_tiles_are_sorted_by_their_detail() -> None:
    rng = np.random.default_rng(0)
    places = [(row, column) for row in range(8) for column in range(6)]
    spread = dict(zip(places, rng.permutation(48) + 1.0, strict=True))
    luma = np.zeros((8 * 64 + 9, 6 * 64 + 5), np.int16)
    for (row, column), level in spread.items():
        part = rng.normal(120, level, (64, 64)).clip(0, 255)
        luma[row * 64 : row * 64 + 64, column * 64 : column * 64 + 64] = part
    found = tiles_of(luma)
    assert found is not None and found.detailed.shape == found.calm.shape == (24, 64, 64)
    detailed, calm = (each.std((1, 2)).max() for each in found)
    assert calm == pytest.approx(24, rel=0.05) and detailed == pytest.approx(48, rel=0.06)
    assert found.detailed.std((1, 2)).min() == pytest.approx(25, rel=0.05)
    assert tiles_of(luma[:63]) is None


def test_a_background_out_of_focus_is_no_blurred_image() -> None:
    """Three quarters of the image are out of focus."""

    def sharpness(image: np.ndarray) -> float:
        tiles = tiles_of(luma_of(image))
        assert tiles is not None
        found = sharpness_of(slopes_of(tiles.detailed, noise_of(tiles.calm)))
        assert found is not None
        return found

    sharp = scene(1, 512, 768)
    portrait = blurred(sharp, 3)
    portrait[:, 128:384, 192:576] = sharp[:, 128:384, 192:576]
    assert sharpness(portrait) > 0.55
    assert sharpness(blurred(sharp, 1)) < 0.48
    assert sharpness(noisy(blurred(sharp, 2), 5)) < 0.48
