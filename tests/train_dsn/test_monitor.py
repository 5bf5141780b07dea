"""The monitor of the DSN: known noise is found, faults are named, the best epoch is kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.images.filters import bicubic_downsample
from pipeline.stores.reader import Store
from pipeline.train_dsn.monitor import BestEpoch, DsnScores, Monitor
from pipeline.writing.writer import StoreWriter

SIGMA = 8.0
"""Noise of the real images in gray levels."""


def scores(**changes: Any) -> DsnScores:
    plain: dict[str, Any] = {
        "wasserstein": 0.5,
        "noise_level": 9.0,
        "noise_level_real": 10.0,
        "noise_level_difference": 1.5,
        "theta_level": 9.0,
        "content_correlation": 0.99,
    }
    return DsnScores(**{**plain, **changes})


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """Blocks of plain colour, and LR images of other blocks with Laplace noise."""
    folder, rng = tmp_path_factory.mktemp("monitor"), np.random.default_rng(0)

    def plain(side: int, block: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        colours = rng.uniform(50, 200, (3, side // block, side // block))
        return colours.repeat(block, axis=1).repeat(block, axis=2)

    with StoreWriter(folder / "hr.zarr", "hr", 4, ["a", "b", "c", "d"]) as writer:
        for name in "abcd":
            writer.add(name, {"image": plain(256, 128).astype(np.uint8)})
    with StoreWriter(folder / "lr.zarr", "lr", 4, ["x", "y"]) as writer:
        for name in "xy":
            image = plain(256, 32)
            image = image + rng.laplace(0, SIGMA / np.sqrt(2), image.shape)
            writer.add(name, {"image": np.clip(np.round(image), 0, 255).astype(np.uint8)})
    return Store(folder / "hr.zarr", "hr"), Store(folder / "lr.zarr", "lr")


def monitor_of(stores: tuple[Store, Store]) -> Monitor:
    return Monitor(*stores, lambda hr: bicubic_downsample(hr, 4), 0)


def noisy(level: float, contrast: float = 1.0) -> Any:
    """A degradation: bicubic, and a theta whose noise has a deviation of so many gray levels."""

    def maps_of(hr: Tensor) -> dict[str, Tensor]:
        mean = 0.5 + contrast * (bicubic_downsample(hr, 4) - 0.5)
        return {"mean": mean, "theta": torch.full_like(mean, level / np.sqrt(2) / 255)}

    return maps_of


@pytest.mark.arithmetic
def test_the_noise_of_the_real_images_is_found_in_the_samples(
    stores: tuple[Store, Store],
) -> None:
    found = monitor_of(stores).score(noisy(SIGMA))
    assert found.noise_level_real == pytest.approx(SIGMA, rel=0.08)
    assert found.noise_level == pytest.approx(SIGMA, rel=0.08)
    assert found.theta_level == pytest.approx(SIGMA, rel=1e-6)
    assert found.content_correlation > 0.99
    assert found.warnings() == []


@pytest.mark.arithmetic
def test_the_right_noise_scores_better_than_half_and_double(stores: tuple[Store, Store]) -> None:
    monitor = monitor_of(stores)
    half, right, double = (monitor.score(noisy(SIGMA * f)).score for f in (0.5, 1, 2))
    assert right < 1.2  # 0.2 to 0.4 by the draw
    assert half > 2.5
    assert double > 5
    assert monitor.score(noisy(SIGMA)).score == right  # the same weights, the same scores


@pytest.mark.arithmetic
def test_too_little_noise_and_a_collapse_are_put_into_words(stores: tuple[Store, Store]) -> None:
    monitor = monitor_of(stores)
    (quiet,) = monitor.score(noisy(SIGMA / 2)).warnings()
    assert "the samples carry 0.5" in quiet or "the samples carry 0.4" in quiet
    assert "against 8." in quiet or "against 7." in quiet
    assert (
        "train_srn.theta: calibrated, or constant with train_srn.constant_theta_gray: 5." in quiet
    )
    (collapsed,) = monitor.score(noisy(SIGMA, contrast=0.0)).warnings()
    assert "has collapsed" in collapsed


def test_the_score_is_the_distance_of_the_noise_levels_where_there_is_one() -> None:
    assert scores().score == 1.5
    assert scores(noise_level_real=None, noise_level_difference=None).score == 0.5
    assert scores(noise_level_difference=None).score == float("inf")
    nothing = {"wasserstein": None, "noise_level_real": None, "noise_level_difference": None}
    assert scores(**nothing).score == float("inf")
    assert scores(wasserstein=None).score == 1.5
    assert scores(content_correlation=0.4).score == float("inf")


def test_warnings_stand_at_their_thresholds() -> None:
    for level in (6.7, 13.3):
        assert scores(noise_level=level).warnings() == []
    for level in (6.6, 13.4):
        assert len(scores(noise_level=level).warnings()) == 1
    assert scores(noise_level=None).warnings() == []
    (quiet,) = scores(noise_level=None, theta_level=2.0).warnings()
    assert "0.20 times" in quiet and "(2.0 against 10.0 gray levels)" in quiet
    assert len(scores(noise_level=1.0, content_correlation=0.49).warnings()) == 2


def test_the_best_epoch_keeps_its_weights(tmp_path: Path) -> None:
    best, weights = BestEpoch(), torch.zeros(3)
    for epoch, distance in enumerate((2.0, 0.7, 0.9)):
        weights += 1  # as an optimiser does: in place
        best.update(epoch, scores(noise_level_difference=distance), {"w": weights})
    assert best.at == 1
    assert best.weights["w"].tolist() == [2, 2, 2]
    assert best.latest is not None and best.latest.noise_level_difference == 0.9
    torch.save(best.state_dict(), tmp_path / "state.pt")
    again = BestEpoch()
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert (again.at, again.scores, again.latest) == (1, best.scores, best.latest)
    assert again.weights["w"].tolist() == [2, 2, 2]
