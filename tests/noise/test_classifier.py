"""The two-sample classifier on sets of known noise; its interval against SciPy and by hand.

The sets are NumPy's, the same everywhere; what the network makes of them hangs on the last digit.
Of equal laws every test window is a fair coin, whatever the network: the limits follow from it.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from laws import STANDARD_ERRORS
from numpy.typing import NDArray
from scipy import stats

from pipeline.base.seeding import generator
from pipeline.noise import classifier
from pipeline.noise.classifier import (
    Accuracy,
    balanced_accuracy,
    classifier_accuracy,
    turned,
    wilson,
    windows,
)
from pipeline.noise.texture_network import TextureNetwork

Floats = NDArray[np.float64]
Windows = list[Floats]


def white(deviation: float, seed: int, images: int = 20, each: int = 20) -> Windows:
    """Windows of flat 8-bit images with white Gaussian noise."""
    rng = np.random.default_rng(seed)
    draws = 128 + deviation * rng.normal(size=(images, each, 3, 16, 16))
    return list(np.round(draws))


def correlated(deviation: float, seed: int) -> Windows:
    """The same with noise that two neighbours in a row share, of the same variance."""
    draws = np.random.default_rng(seed).normal(size=(20, 20, 3, 16, 17))
    return list(np.round(128 + deviation * (draws[..., 1:] + draws[..., :-1]) / math.sqrt(2)))


def laplace(deviation: float, seed: int, images: int, each: int) -> Windows:
    draws = np.random.default_rng(seed).laplace(size=(images, each, 3, 16, 16))
    return list(np.round(128 + deviation * draws / math.sqrt(2)))


# ---------------------------------------------------------------- windows


def test_windows_are_cut_out_of_the_image() -> None:
    image = np.random.default_rng(0).uniform(0, 255, (3, 70, 90))
    found = windows(image, 5, generator(0, "test"))
    assert found.shape == (5, 3, 16, 16) and found.dtype == np.float64
    every = [image[:, i : i + 16, j : j + 16] for i in range(0, 64, 16) for j in range(0, 80, 16)]
    places = [[np.array_equal(one, window) for one in every].index(True) for window in found]
    assert len(set(places)) == 5


def test_windows_are_of_the_flattest_quarter() -> None:
    image = np.full((3, 128, 128), 100.0)
    image[:, 32:] += 50 * (np.arange(96)[:, None] // 4 % 2)  # stripes in the lower six eighths
    image += np.random.default_rng(0).normal(0, 10, image.shape)
    for seed in range(3):
        found = windows(image, 10, generator(seed, "test"))
        assert found.mean(axis=(1, 2, 3)).max() < 110
    more = windows(image, 30, generator(0, "test"))  # more than the quarter holds
    assert more.shape[0] == 30 and (more.mean(axis=(1, 2, 3)) < 110).sum() == 16


def test_the_choice_does_not_depend_on_the_noise() -> None:
    """The windows taken have, after the high-pass, nearly the noise of all."""
    image = 100 + np.random.default_rng(0).normal(0, 10, (3, 1024, 1024))
    found = windows(image, 1024, generator(0, "test"))
    fine = np.diff(found, axis=-1)
    assert fine.std() == pytest.approx(10 * math.sqrt(2), rel=0.01)


def test_windows_are_drawn_by_the_generator_alone() -> None:
    image = np.random.default_rng(0).uniform(0, 255, (3, 160, 160))
    first = windows(image, 6, generator(0, "test"))
    np.testing.assert_array_equal(windows(image, 6, generator(0, "test")), first)
    assert not np.array_equal(windows(image, 6, generator(1, "test")), first)


@pytest.mark.parametrize(("size", "count"), [((15, 40), 0), ((16, 16), 1), ((40, 33), 4)])
def test_windows_of_small_images(size: tuple[int, int], count: int) -> None:
    found = windows(np.zeros((3, *size)), 10, generator(0, "test"))
    assert found.shape == (count, 3, 16, 16)


# ---------------------------------------------------------------- what is found


def chance(*counts: int) -> float:
    """How far the accuracy of coins may be from one half, by the test windows of each class."""
    return STANDARD_ERRORS * 0.5 * math.sqrt(sum(1 / n for n in counts)) / len(counts)


@pytest.mark.arithmetic
def test_the_same_law_is_not_told_apart() -> None:
    found = [classifier_accuracy(white(6, 2 * s), white(6, 2 * s + 1), s) for s in range(4)]
    assert np.mean([one.accuracy for one in found]) == pytest.approx(0.5, abs=chance(800, 800))
    for one in found:
        assert one.accuracy == pytest.approx(0.5, abs=chance(200, 200))
        assert one.low < one.accuracy < one.high
        assert one.windows == 400


@pytest.mark.arithmetic
def test_noise_halved_is_found() -> None:
    found = classifier_accuracy(white(10, 0), white(5, 1), 0)
    assert found.accuracy > 0.97 and found.low > 0.9
    assert found.low <= found.accuracy <= found.high <= 1


@pytest.mark.arithmetic
def test_correlation_is_found() -> None:
    found = classifier_accuracy(white(8, 0), correlated(8, 1), 0)
    assert found.accuracy > 0.97 and found.low > 0.9


@pytest.mark.arithmetic
def test_the_law_of_the_noise_is_found() -> None:
    found = classifier_accuracy(white(8, 0, 20, 50), laplace(8, 1, 20, 50), 0)
    assert found.accuracy > 0.8 and found.low > 0.75


@pytest.mark.arithmetic
def test_content_that_the_high_pass_removes_is_not_seen() -> None:
    dark = white(6, 0)
    bright = [each + 80 for each in white(6, 1)]
    found = classifier_accuracy(dark, bright, 0)
    assert found.accuracy == pytest.approx(0.5, abs=chance(200, 200))


@pytest.mark.arithmetic
def test_classes_of_different_size_are_balanced() -> None:
    found = classifier_accuracy(white(6, 0, 40, 20), white(6, 1, 6, 20), 0)
    assert found.windows == 400 + 60
    assert found.accuracy == pytest.approx(0.5, abs=chance(400, 60))  # always "real": 0.87 of all


@pytest.mark.arithmetic
def test_images_without_noise_are_told_from_noise() -> None:
    found = classifier_accuracy(white(0, 0), white(3, 1), 0)
    assert found.accuracy == 1 and 0.98 < found.low < 1 and found.high == 1
    equal = classifier_accuracy(white(0, 0), white(0, 1), 0)
    assert equal.accuracy == 0.5 and equal.low < 0.5 < equal.high


# ---------------------------------------------------------------- how it is done


@pytest.mark.arithmetic
def test_the_same_seed_gives_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = white(6, 0, 4, 10), white(5, 1, 4, 10)
    learned: list[torch.Tensor] = []

    class Noted(TextureNetwork):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            learned.append(self.flat)

    monkeypatch.setattr(classifier, "TextureNetwork", Noted)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = classifier_accuracy(real, generated, 0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert classifier_accuracy(real, generated, 0) == first
    classifier_accuracy(real, generated, 1)
    one, again, other = learned  # an accuracy of 40 windows is often that of another network
    assert torch.equal(one, again) and not torch.equal(one, other)


@pytest.mark.arithmetic
def test_no_image_is_in_both_halves() -> None:
    """Images of the same law, each with one loud pattern of its own: a test image is unknown.

    So every test image is a coin; 38 of 40 or more fall right once in a thousand million runs.
    """
    across = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        pattern = rng.normal(0, 20, (16, 1, 3, 16, 16))
        lr_sets = [
            list(128 + each + rng.normal(0, 2, (8, 20, 3, 16, 16)))
            for each in (pattern[:8], pattern[8:])
        ]
        across.append(classifier_accuracy(lr_sets[0], lr_sets[1], seed).accuracy)
    assert np.mean(across) < 38 / 40
    within = classifier_accuracy(
        lr_sets[0][:1], lr_sets[1][:1], 0
    )  # single images: windows are split
    assert within.accuracy > 0.9 and within.windows == 20


def test_images_without_windows_do_not_count() -> None:
    empty = np.zeros((0, 3, 16, 16))
    real, generated = white(6, 0, 4, 10), white(6, 1, 4, 10)
    found = classifier_accuracy([*real, empty], [empty, *generated], 0)
    assert found == classifier_accuracy(real, generated, 0)


def test_a_class_needs_two_windows() -> None:
    good = white(6, 0, 2, 2)
    with pytest.raises(ValueError, match="generated: at least two windows are needed, got 0"):
        classifier_accuracy(good, [], 0)
    with pytest.raises(ValueError, match="real: at least two windows are needed, got 1"):
        classifier_accuracy([good[0][:1]], good, 0)
    assert classifier_accuracy([good[0]], [good[1]], 0).windows == 2


def test_turned_gives_all_eight_ways() -> None:
    batch = torch.arange(9.0).reshape(1, 1, 3, 3)
    ways = {tuple(turned(batch, way).flatten().tolist()) for way in range(8)}
    plain = np.arange(9.0).reshape(3, 3)
    turns = [np.rot90(side, times) for side in (plain, plain.T) for times in range(4)]
    assert ways == {tuple(turn.ravel()) for turn in turns}


# ---------------------------------------------------------------- the interval


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (7, 10), (50, 100), (300, 300)])
def test_wilson_is_that_of_scipy(hits: int, trials: int) -> None:
    expected = stats.binomtest(hits, trials).proportion_ci(method="wilson")
    assert wilson(hits / trials, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_interval_of_independent_windows_is_wilson() -> None:
    hits, counts = np.array([70.0]), np.array([100.0])
    found = balanced_accuracy([hits, hits], [counts, counts])
    assert found == Accuracy(0.7, *wilson(0.7, 200), 200)


def test_interval_of_alike_windows_is_students() -> None:
    # images of 10 windows, all right or all wrong: a t test on two groups of 8 images
    shares = [np.array([0, 1, 1, 0, 1, 1, 1, 1.0]), np.array([1, 0, 0, 1, 0, 1, 0, 1.0])]
    found = balanced_accuracy([10 * each for each in shares], [np.full(8, 10.0)] * 2)
    error = math.sqrt(sum(stats.sem(each) ** 2 for each in shares)) / 2
    reach = stats.t.ppf(0.975, 14) * error
    assert found.accuracy == 0.625
    assert (found.low, found.high) == pytest.approx((0.625 - reach, 0.625 + reach), abs=1e-12)


def test_interval_of_two_test_images_has_one_degree_of_freedom() -> None:
    # one class of two images, 9 and 7 of 10 windows; one of a single image, 8 of 10
    hits = [np.array([9.0, 7.0]), np.array([8.0])]
    found = balanced_accuracy(hits, [np.full(2, 10.0), np.full(1, 10.0)])
    reach = math.tan(math.pi * 0.475) * 0.1 / 2  # the quantile of Cauchy's law, t of one degree
    assert found.accuracy == pytest.approx(0.8)
    assert found.low == pytest.approx(0.8 - reach, abs=1e-12)
    assert found.high == 1


def test_interval_covers_the_truth() -> None:
    """Images that differ in how well they are recognised, around one half."""
    rng = np.random.default_rng(0)
    counts = [np.full(6, 20.0)] * 2
    covered = 0
    for _ in range(500):
        hits = [rng.binomial(20, rng.beta(2, 2, 6)).astype(np.float64) for _ in range(2)]
        found = balanced_accuracy(hits, counts)
        covered += found.low <= 0.5 <= found.high
    assert 0.92 < covered / 500 < 0.99
