"""Samples compressed with one kind of JPEG, or with one drawn for each."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import chisquare
from torch import Tensor

from pipeline.images.io import Subsampling, jpeg_round_trip
from pipeline.sampling.calibrated import CalibratedSampler
from pipeline.sampling.compression import Compressor, JpegMixture
from pipeline.sampling.jpeg import Jpeg, tables_of_quality

KINDS = [
    tables_of_quality(30, "4:2:0"),
    tables_of_quality(60, "4:4:4"),
    tables_of_quality(90, "4:2:0"),
]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int, side: int = 16) -> Tensor:
    return torch.rand(1, 3, side, side, generator=seeded(1)).expand(count, -1, -1, -1)


def kinds_of(found: Tensor, like: Tensor) -> list[int]:
    """Which of ``KINDS`` every image got; 3 for none."""
    made = [Jpeg(tables)(like[:1])[0] for tables in KINDS] + [like[0]]
    return [[torch.equal(one, kind) for kind in made].index(True) for one in found]


def test_one_kind_is_jpeg_itself_and_draws_nothing() -> None:
    for like in (images(3), images(3).double()):
        generator = seeded(2)
        found = Compressor(KINDS[0])(like, generator)
        assert torch.equal(found, Jpeg(KINDS[0])(like).to(like.dtype))
        assert torch.equal(generator.get_state(), seeded(2).get_state())


@pytest.mark.parametrize("shares", [[0.2, 0.3, 0.5], [0.1, 0.25, 0.15]])
def test_kinds_are_drawn_by_their_shares(shares: list[float]) -> None:
    """A chi-square test that fails once in ten million."""
    like = images(4000, 8)
    found = kinds_of(Compressor(JpegMixture(tables=KINDS, shares=shares))(like, seeded(3)), like)
    counts = np.bincount(found, minlength=4)
    expected = np.array([*shares, 1 - sum(shares)]) * len(found)
    some = expected > 1e-6
    assert not counts[~some].any()
    assert chisquare(counts[some], expected[some]).pvalue > 1e-7


def test_draws_repeat_by_the_seed() -> None:
    compress = Compressor(JpegMixture(tables=KINDS, shares=[0.4, 0.3, 0.3]))
    like = images(30)
    first = compress(like, seeded(4))
    assert torch.equal(first, compress(like, seeded(4)))
    assert not torch.equal(first, compress(like, seeded(5)))
    assert torch.equal(like, images(30))  # what was given is not changed


def test_a_sampler_draws_them_too() -> None:
    class Source:
        scale = 4
        jpeg = JpegMixture(tables=KINDS, shares=[0.4, 0.3, 0.3])

        def __init__(self) -> None:
            from pipeline.camera.exposure import NO_NOISE

            self.noise = NO_NOISE

    like = images(40)
    found = CalibratedSampler(Source()).sample({"mean": like}, seeded(6))
    assert set(kinds_of(found, like)) == {0, 1, 2}


def test_noise_is_that_of_the_files() -> None:
    """The levels of noise of samples are those of images that Pillow compressed."""
    rng, side, count = np.random.default_rng(5), 128, 60
    qualities: list[tuple[int, Subsampling]] = [(30, "4:2:0"), (60, "4:4:4"), (90, "4:2:2")]
    noisy = rng.normal(128, 8, (20, 3, side, side)).round().clip(0, 255).astype(np.uint8)
    real = [
        np.mean([jpeg_round_trip(one, *quality).std() for one in noisy]) for quality in qualities
    ]
    tables = [tables_of_quality(*quality) for quality in qualities]
    mixture = JpegMixture(tables=tables, shares=[1 / 3] * 3)
    like = torch.from_numpy(rng.normal(128, 8, (count, 3, side, side))).float().round() / 255
    found = Compressor(mixture)(like, seeded(8)).mul(255).std(dim=(1, 2, 3)).numpy()
    nearest = np.abs(np.log(found / np.array(real)[:, None])).argmin(axis=0)
    for number, level in enumerate(real):
        own = found[nearest == number]
        assert len(own) >= 4  # of 60, 20 expected; fewer once in a million runs
        assert own.mean() == pytest.approx(level, rel=0.06)
    assert max(real) > 1.2 * min(real)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"shares": [0.5, 0.5]}, "3 tables have 2 shares"),
        ({"shares": [0.5, 0.5, 0.1]}, "more than 1"),
        ({"shares": [0.5, 0.5, 0.0]}, "greater than 0"),
        ({"tables": [], "shares": []}, "at least 1 item"),
    ],
)
def test_mixtures_are_checked(change: dict[str, object], fault: str) -> None:
    good = JpegMixture(tables=KINDS, shares=[0.5, 0.25, 0.25]).model_dump()
    with pytest.raises(ValidationError, match=fault):
        JpegMixture.model_validate({**good, **change})
