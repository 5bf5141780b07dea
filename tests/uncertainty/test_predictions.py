"""Predictions whose law is known, against pairs and against flat areas."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from small_stores import write

from pipeline.images.io import Image
from pipeline.stores.reader import Store
from pipeline.uncertainty.flat_areas import score_flat_areas
from pipeline.uncertainty.pairs import BETWEEN, EDGES, FLAT, score_pairs
from pipeline.uncertainty.results import Results, Scores, summed
from pipeline.uncertainty.sources import make_sources
from pipeline.uncertainty.tally import Tally, stratum_scores

Floats = NDArray[np.float64]
SIDE, IMAGES = 96, 6
THETA = 5.0
"""Gray levels."""


def clean(number: int) -> Floats:
    """A mean (3, 96, 96) of soft waves, in gray levels from 40 to 215."""
    random = np.random.default_rng(number)
    place = np.arange(SIDE) / SIDE
    waves = [np.sin(2 * np.pi * (random.uniform(1, 3) * place + random.random())) for _ in range(6)]
    rows = np.array([np.add.outer(waves[2 * i], waves[2 * i + 1]) for i in range(3)])
    return 127.5 + rows * 43


def pairs(folder: Path, noise: Callable[[np.random.Generator, Floats], Floats]) -> Store:
    images = {}
    for number in range(IMAGES):
        mean = clean(number)
        lr = np.clip(np.rint(mean + noise(np.random.default_rng(number), mean)), 0, 255)
        hr = np.full((3, 4 * SIDE, 4 * SIDE), number, np.uint8)  # the double of the DSN knows it
        images[f"i{number}"] = {"hr": hr, "lr": lr.astype(np.uint8)}
    return write(folder / "val.zarr", "val", images)


def degrade(hr: Image) -> dict[str, NDArray[np.float32]]:
    """Stands for a DSN that knows the mean of every image, and says THETA everywhere."""
    mean = (clean(int(hr[0, 0, 0])) / 255).astype(np.float32)
    return {"mean": mean, "theta": np.full_like(mean, THETA / 255)}


def score(val: Store) -> Scores:
    return summed(score_pairs(val, degrade, make_sources(None, None)))


def test_a_right_prediction_covers_what_it_says_everywhere(tmp_path: Path) -> None:
    found = score(pairs(tmp_path, lambda random, mean: random.laplace(0, THETA, mean.shape)))
    for name, stratum in found["raw"].items():
        if stratum.values < 5000:
            continue
        for level, share in (("50%", 0.5), ("90%", 0.9), ("99%", 0.99)):
            margin = 8 * (share * (1 - share) / stratum.values) ** 0.5
            assert stratum.coverage[level].share == pytest.approx(share, abs=margin), (name, level)
    whole = found["raw"]["all"]
    assert whole.negative_log_likelihood == pytest.approx(np.log(2 * THETA) + 1, abs=0.03)
    assert whole.crps == pytest.approx(0.75 * THETA, rel=0.03)  # E|x| - E|x - x'| / 2
    assert whole.width == pytest.approx(2 * THETA * np.log(10), rel=0.07)  # of 99 draws
    assert max(abs(rank - 1) for rank in whole.ranks) < 0.15
    gaussian = found["raw, Gaussian"]["all"].negative_log_likelihood
    assert gaussian is not None and gaussian > np.log(2 * THETA) + 1.06


def test_half_the_theta_is_seen_with_its_size(tmp_path: Path) -> None:
    """The 90 % interval of L(0, b / 2) holds 1 - 10^-1/2 of L(0, b): it ends at b / 2 log 10."""
    val = pairs(tmp_path, lambda random, mean: random.laplace(0, 2 * THETA, mean.shape))
    whole = score(val)["raw"]["all"].coverage["90%"]
    assert whole.share == pytest.approx(1 - 10**-0.5, abs=0.02)


def test_a_theta_that_lacks_at_edges_is_named(tmp_path: Path) -> None:
    def noise(random: np.random.Generator, mean: Floats) -> Floats:
        slope = np.abs(np.gradient(mean, axis=2)).mean(axis=0)
        wide = np.where(slope > np.quantile(slope, 0.8), 3 * THETA, THETA)
        return random.laplace(0, 1, mean.shape) * wide

    found = score(pairs(tmp_path, noise))
    strata = found["raw"]
    assert strata[FLAT].coverage["90%"].share == pytest.approx(0.9, abs=0.02)
    assert strata[EDGES].coverage["90%"].share < 0.75
    assert (
        strata[FLAT].values + strata[BETWEEN].values + strata[EDGES].values < strata["all"].values
    )
    sentences = Results({}, {"pairs": found}).sentences
    assert any("raw: at edges" in sentence for sentence in sentences)


def noisy(folder: Path, scale: float) -> Store:
    """LR images of other scenes, six of which are flat on one side."""
    images = {}
    for number in range(IMAGES):
        random = np.random.default_rng(100 + number)
        image = clean(number + 50) + random.laplace(0, scale, (3, SIDE, SIDE))
        images[f"i{number}"] = {"image": np.clip(np.rint(image), 0, 255).astype(np.uint8)}
    return write(folder / "lr.zarr", "lr", images)


@pytest.mark.parametrize(("true", "share"), [(THETA, 0.9), (2 * THETA, 1 - 10**-0.5)])
def test_flat_areas_tell_the_noise_without_pairs(tmp_path: Path, true: float, share: float) -> None:
    """What is left of a value after its plane was taken out follows nearly the same law."""
    maps = {}
    for number in range(IMAGES):
        mean = (clean(number) / 255).astype(np.float16)
        maps[f"m{number}"] = {"mean": mean, "theta": np.full_like(mean, THETA / 255)}
    stored = write(tmp_path / "maps.zarr", "maps", maps)
    found = summed(score_flat_areas(noisy(tmp_path, true), stored, make_sources(None, None)))
    assert found["raw"]["all"].coverage["90%"].share == pytest.approx(share, abs=0.03)
    sentences = Results({}, {"flat areas": found}).sentences
    assert ("Farthest off:" in sentences[0]) == (true != THETA)
    assert "pairs (--val) show both" in sentences[-1]


def test_the_interval_is_that_of_the_mean_over_images() -> None:
    """Of forty images half are inside: a binomial share, deviation (0.25 / 40)^1/2."""
    images = [
        Tally(9, np.ones(20, np.int64), np.full(3, 9.0 * (i % 2)), np.ones(4)) for i in range(40)
    ]
    found = stratum_scores(images, np.random.default_rng(0))
    assert found is not None
    covered = found.coverage["50%"]
    assert covered.low is not None and covered.high is not None
    wide = 2 * 1.96 * (0.25 / 40) ** 0.5
    assert covered.share == 0.5
    assert covered.high - covered.low == pytest.approx(wide, rel=0.2)


def test_one_image_has_no_interval_and_no_values_no_scores() -> None:
    random = np.random.default_rng(0)
    one = Tally(4, np.ones(20, np.int64), np.array([2.0, 3.0, 4.0]), np.array([8.0, 4, 4, np.nan]))
    found = stratum_scores([one], random)
    assert found is not None
    assert found.coverage["90%"].share == 0.75
    assert found.coverage["90%"].low is None
    assert (found.crps, found.negative_log_likelihood) == (2, None)
    empty = Tally(0, np.zeros(20, np.int64), np.zeros(3), np.zeros(4))
    assert stratum_scores([empty], random) is None
