"""What draws LR images: one factory, and the law of each of its samplers."""

import numpy as np
import pytest
import torch
from conftest import World, calibration
from doubles import plain_passport
from laws import UNLIKELY
from scipy.stats import kstest
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.sampling.jpeg import tables_of_quality
from pipeline.sampling.noise_law import NoisyImages
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
        ("huh", None, "one of raw, camera, constant, calibrated, none, got 'huh'"),
        ("constant", -1.0, "must be positive, got -1.0"),
        ("constant", float("nan"), "must be positive, got nan"),
    ],
)
def test_no_such_draw(theta: str, constant: float | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Draw(theta, constant)  # type: ignore[arg-type]


# --- theta of the maps, noise of a camera

CORRELATED = np.zeros((3, 3, 3, 3))
CORRELATED[range(3), range(3), 1, 1] = 0.8
CORRELATED[range(3), range(3), 1, 2] = 0.6
TABLES = {"luma": [9] * 64, "chroma": [17] * 64, "subsampling": "4:2:0"}


def law(laplace_share: float = 1.0, correlated: bool = False) -> dict[str, object]:
    return {
        "variance_gray": [[4.0, 9.0, 50.0], [9.0, 30.0, 20.0], [60.0, 16.0, 4.0]],
        "noise_filter": CORRELATED.tolist() if correlated else None,
        "laplace_share": laplace_share,
    }


def test_camera_draws_with_the_theta_of_the_maps() -> None:
    sampler = make_sampler(Draw("camera"), camera=plain_passport(noise=law()))
    assert list(sampler.reads) == ["mean", "theta"]
    assert torch.equal(sampler.theta(maps()), maps()["theta"])
    noise = (sampler.sample(maps(), seeded()) - 0.5).numpy().ravel() / (4 / 255)
    assert kstest(noise, "laplace").pvalue > UNLIKELY
    assert kstest(noise * 1.3, "laplace").pvalue < UNLIKELY


@pytest.mark.parametrize("jpeg", [None, TABLES])
@pytest.mark.parametrize(("share", "correlated"), [(1.0, False), (0.4, True)])
def test_camera_and_calibration_of_one_law_draw_the_same(
    tiny: World, share: float, correlated: bool, jpeg: dict[str, object] | None
) -> None:
    """Where the maps' theta is that of the law, and both get the same random numbers."""
    noise = law(share, correlated)
    measured = make_sampler(Draw("calibrated"), calibration(tiny.maps, jpeg=jpeg, **noise))
    camera = make_sampler(Draw("camera"), camera=plain_passport(noise=noise, jpeg=jpeg))
    mean = torch.rand(2, 3, 24, 40, generator=seeded())
    of_law = {"mean": mean, "theta": measured.theta({"mean": mean})}
    drawn = camera.sample(of_law, seeded())
    assert torch.equal(drawn, measured.sample({"mean": mean}, seeded()))
    assert drawn.min() >= 0 and drawn.max() <= 1
    twice = {"mean": mean, "theta": 2 * of_law["theta"]}
    assert not torch.equal(camera.sample(twice, seeded()), drawn)


def test_a_passport_that_is_needed(tiny: World, tiny2: World) -> None:
    with pytest.raises(UserError, match="theta is camera, but no passport of a camera was given"):
        make_sampler(Draw("camera"))
    with pytest.raises(UserError, match=r"passport has the scale 4, but .*maps\.zarr has 2"):
        make_sampler(Draw("camera"), maps=tiny2.maps, camera=plain_passport())
    make_sampler(Draw("camera"), maps=tiny.maps, camera=plain_passport())


def test_a_gradient_goes_past_cut_and_jpeg() -> None:
    """The straight-through estimator: the values as drawn, the gradient of mean + eps theta."""
    images = NoisyImages(plain_passport(jpeg=tables_of_quality(60, "4:2:0")))
    plain = torch.rand(1, 3, 32, 32, generator=seeded())
    theta = torch.full_like(plain, 0.02)
    drawn = images.draw(plain, theta, seeded())
    mean, scale = plain.clone().requires_grad_(), theta.clone().requires_grad_()
    same = images.draw(mean, scale, seeded())
    torch.testing.assert_close(same, drawn, rtol=0, atol=1e-6)
    same.sum().backward()  # type: ignore[no-untyped-call]
    assert mean.grad is not None and scale.grad is not None
    assert (mean.grad == 1).all()
    gray, faint = torch.full_like(plain, 0.5), theta / 20  # nothing is cut
    eps = (NoisyImages(plain_passport()).draw(gray, faint, seeded()) - gray) / faint
    torch.testing.assert_close(scale.grad, eps, rtol=0, atol=1e-3)
