"""The judge of the DSN: known noise is found, faults are put into words, the best epoch is kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.images.filters import bicubic_downsample
from pipeline.stores.reader import Store
from pipeline.train_dsn.monitor import BestEpoch, Judge, Judgement
from pipeline.writing.writer import StoreWriter

SIGMA = 8.0
"""Noise of the real images in gray levels."""


def judgement(**changes: Any) -> Judgement:
    plain: dict[str, Any] = {
        "wasserstein": 0.5,
        "noise_level": 9.0,
        "noise_level_real": 10.0,
        "noise_level_difference": 1.5,
        "theta_level": 9.0,
        "content_correlation": 0.99,
    }
    return Judgement(**{**plain, **changes})


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """Blocks of plain colour, and LR images of other blocks with Laplace noise."""
    folder, rng = tmp_path_factory.mktemp("judge"), np.random.default_rng(0)

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


def judge_of(stores: tuple[Store, Store]) -> Judge:
    return Judge(*stores, lambda hr: bicubic_downsample(hr, 4), 0)


def noisy(level: float, contrast: float = 1.0) -> Any:
    """A degradation: bicubic, and a theta whose noise has a deviation of so many gray levels."""

    def degrade(hr: Tensor) -> tuple[Tensor, Tensor]:
        mean = 0.5 + contrast * (bicubic_downsample(hr, 4) - 0.5)
        return mean, torch.full_like(mean, level / np.sqrt(2) / 255)

    return degrade


@pytest.mark.arithmetic
def test_the_noise_of_the_real_images_is_found_in_the_samples(
    stores: tuple[Store, Store],
) -> None:
    found = judge_of(stores).judge(noisy(SIGMA))
    assert found.noise_level_real == pytest.approx(SIGMA, rel=0.08)
    assert found.noise_level == pytest.approx(SIGMA, rel=0.08)
    assert found.theta_level == pytest.approx(SIGMA, rel=1e-6)
    assert found.content_correlation > 0.99
    assert found.warnings() == []


@pytest.mark.arithmetic
def test_the_right_noise_scores_better_than_half_and_double(stores: tuple[Store, Store]) -> None:
    judge = judge_of(stores)
    half, right, double = (judge.judge(noisy(SIGMA * f)).score for f in (0.5, 1, 2))
    assert right < 1.2  # 0.2 to 0.4 by the draw
    assert half > 2.5
    assert double > 5
    assert judge.judge(noisy(SIGMA)).score == right  # the same weights, the same judgement


@pytest.mark.arithmetic
def test_too_little_noise_and_a_collapse_are_put_into_words(stores: tuple[Store, Store]) -> None:
    judge = judge_of(stores)
    (quiet,) = judge.judge(noisy(SIGMA / 2)).warnings()
    assert "carry less noise than the real ones" in quiet
    assert "of 8." in quiet or "of 7." in quiet
    (collapsed,) = judge.judge(noisy(SIGMA, contrast=0.0)).warnings()
    assert "has collapsed" in collapsed


def test_the_score_is_the_distance_of_the_noise_levels_where_there_is_one() -> None:
    assert judgement().score == 1.5
    assert judgement(noise_level_real=None, noise_level_difference=None).score == 0.5
    assert judgement(noise_level_difference=None).score == float("inf")
    nothing = {"wasserstein": None, "noise_level_real": None, "noise_level_difference": None}
    assert judgement(**nothing).score == float("inf")
    assert judgement(wasserstein=None).score == 1.5
    assert judgement(content_correlation=0.4).score == float("inf")


def test_warnings_stand_at_their_thresholds() -> None:
    assert judgement(noise_level=7.6).warnings() == []
    assert len(judgement(noise_level=7.4).warnings()) == 1
    assert judgement(noise_level=None).warnings() == []
    (quiet,) = judgement(noise_level=None, theta_level=2.0).warnings()
    assert "(2.0 of 10.0 gray levels)" in quiet
    assert len(judgement(noise_level=1.0, content_correlation=0.49).warnings()) == 2


def test_the_best_epoch_keeps_its_weights(tmp_path: Path) -> None:
    best, weights = BestEpoch(), torch.zeros(3)
    for epoch, distance in enumerate((2.0, 0.7, 0.9)):
        weights += 1  # as an optimiser does: in place
        best.see(epoch, judgement(noise_level_difference=distance), {"w": weights})
    assert best.epoch == 1
    assert best.weights["w"].tolist() == [2, 2, 2]
    assert best.latest is not None and best.latest.noise_level_difference == 0.9
    torch.save(best.state_dict(), tmp_path / "state.pt")
    again = BestEpoch()
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert (again.epoch, again.judgement, again.latest) == (1, best.judgement, best.latest)
    assert again.weights["w"].tolist() == [2, 2, 2]
