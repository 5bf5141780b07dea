"""Copies in other sizes and qualities, against scenes that differ."""

from itertools import pairwise

import numpy as np
import pytest
from discs import blurred, jpeg, noisy, resized, scene

from pipeline.piles.copies import Thumbnail, find_copies, thumbnail_of
from pipeline.piles.detail import luma_of


def thumbnail(image: np.ndarray) -> Thumbnail:
    return thumbnail_of(luma_of(image))


def test_copies_are_grouped() -> None:
    first, second = scene(0), scene(1)
    images = [
        first, second, resized(first, 0.25), jpeg(second, 40), scene(2), noisy(first, 10),
        blurred(resized(second, 0.5), 1),
    ]  # fmt: skip
    assert find_copies([thumbnail(image) for image in images]) == [[0, 2, 5], [1, 3, 6]]


def test_scenes_and_flat_images_are_no_copies() -> None:
    flat = [np.full((3, 50, 60), 10 * level, np.uint8) for level in range(5)]
    scenes = [scene(seed, 100, 120) for seed in range(12)]
    assert find_copies([thumbnail(image) for image in [*flat, *scenes]]) == []
    assert find_copies([]) == []


def test_a_thumbnail_is_the_means_of_blocks() -> None:
    """Of an image of 64x72 each block is 2x2 pixels; the bits say where the means of 8x8 rise."""
    luma = np.random.default_rng(0).integers(0, 256, (64, 72)).astype(np.int16)
    means = luma.reshape(32, 2, 36, 2).mean((1, 3))
    found = thumbnail_of(luma)
    centred = means - means.mean()
    np.testing.assert_allclose(found.pixels, centred / np.sqrt((centred**2).sum()), atol=1e-4)
    coarse = luma.reshape(8, 8, 9, 8).mean((1, 3))
    rises = "".join("1" if b > a else "0" for row in coarse for a, b in pairwise(row))
    assert found.bits == int(rises, 2)


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (33, 37), (700, 20)])
def test_images_of_any_size(shape: tuple[int, int]) -> None:
    found = thumbnail_of(np.arange(shape[0] * shape[1], dtype=np.int16).reshape(shape) % 251)
    assert np.isfinite(found.pixels).all()
    assert np.square(found.pixels.astype(float)).sum() == pytest.approx(1, abs=0.01) or not (
        found.pixels.any()
    )


def test_a_long_pile_of_copies_is_one_group() -> None:
    """More than a block of hashes, and copies in different blocks."""
    rng = np.random.default_rng(0)
    others = [
        Thumbnail(np.zeros((32, 36), np.float16), int(bits))
        for bits in rng.integers(0, 2**63, 1500, dtype=np.uint64)
    ]
    copy = thumbnail(scene(5, 100, 120))
    pile = [copy, *others, copy, copy]
    assert find_copies(pile) == [[0, 1501, 1502]]
