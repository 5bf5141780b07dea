"""Windows of like content, and the bootstrap over images, against known laws."""

import numpy as np
import pytest

from pipeline.noise.matching import (
    REPLICATES,
    RINGS,
    Content,
    content,
    draws,
    like_windows,
    match,
    ring_power,
    standard_error,
    strata,
)


def test_white_noise_has_its_variance_in_every_ring() -> None:
    windows = 128 + 5 * np.random.default_rng(0).normal(size=(6000, 16, 16))
    found = ring_power(windows.astype(np.float32)).mean(axis=0)
    np.testing.assert_allclose(found, 25, rtol=0.03)


def test_a_wave_is_in_its_ring() -> None:
    place = np.arange(16)
    for ring, frequency in enumerate(RINGS):
        wave = 20 * np.cos(2 * np.pi * frequency * place + 0.3)
        for window in (np.tile(wave, (16, 1)), np.tile(wave, (16, 1)).T):
            assert int(ring_power(window[None].astype(np.float32))[0].argmax()) == ring


def test_the_plane_of_a_window_has_no_power() -> None:
    y, x = np.indices((16, 16))
    assert ring_power((90 + 3 * y - 2 * x)[None].astype(np.float32)) == pytest.approx(0, abs=1e-4)


def test_the_content_of_images_adds_up() -> None:
    random = np.random.default_rng(1)
    first, other = (random.uniform(0, 255, (3, *size)) for size in ((48, 64), (70, 33)))
    a, b = content(first, 100, 7), content(other, 3, 2)
    both = a + b
    assert list(both.windows) == [12, 3] and list(both.blocks) == [7, 2]
    assert list(both.images()) == [0] * 12 + [1] * 3
    assert list(both.images_of_blocks()) == [0] * 7 + [1] * 2
    np.testing.assert_array_equal(both.of(np.array([False, True])).power, b.power)
    one = both.of_one_image()
    assert list(one.windows) == [15] and list(one.blocks) == [9]
    luma = np.tensordot([0.299, 0.587, 0.114], first[:, 16:32, 48:64], 1)
    np.testing.assert_allclose(a.power[7], ring_power(luma[None].astype(np.float32))[0], rtol=1e-3)
    small = content(first[:, :15], 100, 0)
    assert small.power.shape == (0, 8) and list(small.windows) == [0]


def confounded(seed: int, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Contrast, value and image of 4000 parts: the value is 3 times the contrast, and noise."""
    random = np.random.default_rng(seed)
    contrast = np.where(random.uniform(size=4000) < share, 0.0, 1.0) + random.uniform(0, 0.2, 4000)
    return contrast, 3 * contrast + random.normal(0, 0.1, 4000), np.repeat(np.arange(40), 100)


def test_weights_take_the_difference_of_content_away() -> None:
    """Two sets with other shares of content have one mean under the weights."""
    sets = [confounded(0, 0.3), confounded(1, 0.7)]
    assert abs(sets[0][1].mean() - sets[1][1].mean()) > 1
    cells = strata([each[0] for each in sets], 8)
    weights = match(cells, [each[2] for each in sets], (40, 40))
    means = [row @ each[1] for row, each in zip(weights, sets, strict=True)]
    assert means[0].shape == (REPLICATES + 1,)
    assert abs(means[0][0] - means[1][0]) < 0.03
    for row, cell in zip(weights, cells, strict=True):
        np.testing.assert_allclose(row.sum(axis=1), 1)
        shares = np.bincount(cell, row[0], 8)
        np.testing.assert_allclose(shares, np.bincount(cells[0], weights.real[0], 8), atol=1e-12)


def test_a_cell_of_one_set_alone_has_no_weight() -> None:
    cells = [np.array([0, 0, 1, 1]), np.array([1, 1, 2, 2])]
    images = [np.arange(4), np.arange(4)]
    weights = match(cells, images, (4, 4))
    np.testing.assert_allclose(weights.real[0], [0, 0, 0.5, 0.5])
    np.testing.assert_allclose(weights.other[0], [0.5, 0.5, 0, 0])
    with pytest.raises(ValueError, match="nothing alike"):
        match([np.zeros(2, int), np.ones(2, int)], [np.arange(2)] * 2, (2, 2))


def test_the_standard_error_is_that_of_means_of_images() -> None:
    """Parts of one image are alike: the error is that of the images, as theory says."""
    random = np.random.default_rng(2)
    means = random.normal(0, 1, 60)
    found = standard_error(draws(60, 0) @ means / 60, 60)
    assert found == pytest.approx(1 / np.sqrt(60), rel=0.45)
    assert standard_error(draws(3, 0) @ means[:3] / 3, 3) is None
    assert (draws(60, 0).sum(axis=1) == 60).all() and (draws(60, 0)[0] == 1).all()


def test_the_classifier_sees_windows_of_like_content() -> None:
    """Dark flat windows on one side, and bright contrasty ones on the other, are left out."""
    random = np.random.default_rng(3)

    def windows(levels: np.ndarray, spread: np.ndarray) -> np.ndarray:
        coarse = random.normal(0, 1, (len(levels), 3, 4, 4)) * spread[:, None, None, None]
        every = levels[:, None, None, None] + coarse.repeat(4, -1).repeat(4, -2)
        return np.asarray(np.clip(every, 0, 255), dtype=np.uint8)

    real = [windows(random.uniform(40, 120, 50), random.uniform(1, 9, 50)) for _ in range(8)]
    other = [windows(random.uniform(80, 200, 50), random.uniform(5, 30, 50)) for _ in range(8)]
    kept = like_windows(real, other)
    counts = [sum(len(each) for each in part) for part in kept]
    assert counts[0] == counts[1] and 30 < counts[0] < 300
    before, after = (
        abs(np.concatenate(a).mean() - np.concatenate(b).mean()) for a, b in ((real, other), kept)
    )
    assert after < before / 2.5
    assert len(kept[0]) == len(real)
    empty = like_windows([], other)
    assert empty[0] == [] and len(empty[1]) == 8


def test_content_is_small() -> None:
    found = content(np.zeros((3, 1024, 1024)), 300, 0)
    assert isinstance(found, Content) and found.power.nbytes == 300 * 32
