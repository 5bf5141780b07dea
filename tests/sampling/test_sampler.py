"""What draws LR images: one factory, and the law of each of its samplers."""

import numpy as np
import pytest
import torch
from conftest import World, calibration
from laws import UNLIKELY
from scipy.stats import kstest
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.sampling.sampler import Draw, make_sampler


def maps(level: float = 0.5, theta: float = 4 / 255) -> dict[str, Tensor]:
    mean = torch.full((1, 3, 64, 64), level, dtype=torch.float64)
    return {"mean": mean, "theta": torch.full_like(mean, theta)}


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_none_is_the_mean() -> None:
    sampler = make_sampler(Draw("none"))
    assert list(sampler.reads) == ["mean"]
    assert torch.equal(sampler.sample(maps(), seeded()), maps()["mean"])
    assert not sampler.theta(maps()).any()


@pytest.mark.parametrize(
    ("draw", "reads", "theta"),
    [
        (Draw("raw"), ["mean", "theta"], 4 / 255),
        (Draw("constant", 7 / 255), ["mean"], 7 / 255),
    ],
)
def test_samples_are_laplace(draw: Draw, reads: list[str], theta: float) -> None:
    sampler = make_sampler(draw)
    assert list(sampler.reads) == reads
    assert np.allclose(sampler.theta(maps()), theta)
    noise = (sampler.sample(maps(), seeded()) - 0.5).numpy().ravel() / theta
    assert kstest(noise, "laplace").pvalue > UNLIKELY
    assert kstest(noise * 1.3, "laplace").pvalue < UNLIKELY


def test_a_constant_without_a_size_is_the_calibrations(tiny: World) -> None:
    measured = calibration(tiny.maps, constant_theta_gray=3.0)
    asked = make_sampler(Draw("constant"), measured, tiny.maps)
    assert torch.equal(
        asked.sample(maps(), seeded()),
        make_sampler(Draw("constant", 3 / 255)).sample(maps(), seeded()),
    )


@pytest.mark.parametrize("draw", [Draw("calibrated"), Draw("constant")])
def test_a_calibration_that_is_needed(draw: Draw, tiny: World, tiny2: World) -> None:
    assert draw.calibrated
    with pytest.raises(UserError, match="no calibration was given"):
        make_sampler(draw)
    with pytest.raises(UserError, match="run the calibrate stage again"):
        make_sampler(draw, calibration(tiny2.maps), tiny.maps)


def test_what_needs_no_calibration() -> None:
    assert not any(draw.calibrated for draw in (Draw("none"), Draw("raw"), Draw("constant", 0.1)))


@pytest.mark.parametrize(
    ("theta", "constant", "words"),
    [
        ("huh", None, "one of raw, constant, calibrated, none, got 'huh'"),
        ("constant", -1.0, "must be positive, got -1.0"),
        ("constant", float("nan"), "must be positive, got nan"),
    ],
)
def test_no_such_draw(theta: str, constant: float | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Draw(theta, constant)  # type: ignore[arg-type]
