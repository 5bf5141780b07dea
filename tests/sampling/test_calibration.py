"""The calibration file, and the law of what is drawn with it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import World, calibration
from laws import STANDARD_ERRORS, UNLIKELY
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.sampling.calibrated import CalibratedSampler, noise_filter
from pipeline.sampling.calibration import (
    CALIBRATION_FORMAT,
    Calibration,
    load_calibration,
    read_calibration,
    require_calibration,
)
from pipeline.sampling.jpeg import Jpeg, JpegTables

Array = NDArray[np.float64]

TABLES = JpegTables(luma=[9] * 64, chroma=[17] * 64, subsampling="4:2:0")


def made(**changes: object) -> Calibration:
    plain: dict[str, object] = {
        "format": CALIBRATION_FORMAT,
        "scale": 4,
        "maps_digest": "m",
        "lr_digest": "l",
        "fault": None,
        "variance_gray": [[25.0] * 9, [49.0] * 9, [100.0] * 9],
        "noise_filter": None,
        "laplace_share": 1.0,
        "jpeg": None,
        "constant_theta_gray": 5.0,
    }
    return Calibration.model_validate({**plain, **changes})


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gray(side: int = 200, level: float = 0.5) -> Tensor:
    return torch.full((2, 3, side, side), level)


def correlation_of(kernels: Array) -> Array:
    """(3, 3, 13, 13) of y_c(p) = sum of kernels[c, e, u] e(p + u), of unit variance; by loops.

    E y_c(p) y_d(p + s) is the sum over e and u of kernels[c, e, u] kernels[d, e, u - s].
    """
    side = kernels.shape[-1]
    reach, found = side - 1, np.zeros((3, 3, 2 * side - 1, 2 * side - 1))
    for c, d, e in np.ndindex(3, 3, 3):
        for y, x in np.ndindex(side, side):
            for v, u in np.ndindex(side, side):
                product = kernels[c, e, y, x] * kernels[d, e, v, u]
                found[c, d, y - v + reach, x - u + reach] += product
    power = np.sqrt(found[range(3), range(3), reach, reach])
    return np.asarray(found / power[:, None, None, None] / power[None, :, None, None])


def inner(correlation: Array, reach: int) -> Array:
    """The lags up to ``reach``."""
    middle = correlation.shape[-1] // 2
    near = slice(middle - reach, middle + reach + 1)
    return correlation[:, :, near, near]


def random_target(seed: int) -> Array:
    """Correlation (3, 3, 7, 7) of a random filter of 3x3 pixels; it ends within two pixels."""
    rng = np.random.default_rng(seed)
    taps = 0.12 * rng.normal(size=(3, 3, 3, 3))
    taps[range(3), range(3), 1, 1] += 1
    return np.asarray(np.pad(correlation_of(taps), [(0, 0), (0, 0), (1, 1), (1, 1)]))


# --- the filter


@pytest.mark.parametrize("seed", range(3))
def test_filter_gives_the_target(seed: int) -> None:
    """Its kernels are cut at three pixels, so the target is met up to what lies beyond."""
    target = random_target(seed)
    kernels = noise_filter(target)
    assert kernels.shape == (3, 3, 7, 7)
    assert np.abs(target).max() > 0.999 and np.sort(np.abs(target).ravel())[-4] > 0.15
    np.testing.assert_allclose(inner(correlation_of(kernels), 3), target, atol=0.01)
    np.testing.assert_allclose((kernels**2).sum(axis=(1, 2, 3)), 1, rtol=1e-12)


def test_filter_is_exact_where_its_root_is_short() -> None:
    """A symmetric, positive filter of 3x3 pixels is the root of its own square: it comes back."""
    rng = np.random.default_rng(3)
    own, other = 0.04 * rng.normal(size=(2, 3, 3))
    taps = np.zeros((3, 3, 3, 3))
    for c in range(3):  # the channels change places in a ring, so all have the same power
        taps[c, c] = own + own[::-1, ::-1]
        taps[c, c, 1, 1] += 1
        taps[c, (c + 1) % 3] = other
        taps[c, (c + 2) % 3] = other[::-1, ::-1]
    taps /= np.sqrt((taps[0] ** 2).sum())
    target = np.pad(correlation_of(taps), [(0, 0), (0, 0), (1, 1), (1, 1)])
    found = noise_filter(target)
    np.testing.assert_allclose(found[:, :, 2:5, 2:5], taps, atol=1e-9)
    np.testing.assert_allclose(inner(correlation_of(found), 3), target, atol=1e-9)


def test_filter_of_independent_noise_is_one_pixel() -> None:
    target = np.zeros((3, 3, 7, 7))
    target[range(3), range(3), 3, 3] = 1
    np.testing.assert_allclose(noise_filter(target), target, atol=1e-12)


def test_filter_of_a_correlation_that_no_noise_has() -> None:
    """Neighbours cannot be correlated by -0.9 in a row: the nearest comes out, of variance one."""
    target = np.zeros((3, 3, 7, 7))
    target[range(3), range(3), 3, 3] = 1
    target[range(3), range(3), 3, 2] = target[range(3), range(3), 3, 4] = -0.9
    found = noise_filter(target)
    np.testing.assert_allclose((found**2).sum(axis=(1, 2, 3)), 1, rtol=1e-12)
    neighbour = inner(correlation_of(found), 3)[0, 0, 3, 4]
    assert -0.75 < neighbour < -0.5


# --- theta


def test_theta_is_interpolated_as_by_numpy() -> None:
    rng = np.random.default_rng(4)
    variance = rng.uniform(1, 200, (3, 9))
    sampler = CalibratedSampler(made(variance_gray=variance.tolist()))
    mean = torch.from_numpy(rng.uniform(-0.2, 1.2, (2, 3, 20, 30)))
    mean[0, 0, 0, :9] = torch.arange(9) / 8
    expected = np.empty(mean.shape)
    for c in range(3):
        at = np.interp(mean[:, c].numpy(), np.linspace(0, 1, 9), variance[c])
        expected[:, c] = np.sqrt(at / 2) / 255
    found = sampler.theta({"mean": mean})
    assert found.dtype == mean.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(sampler.theta({"mean": mean.float()}), expected, rtol=1e-5)


def test_theta_with_another_number_of_intensities() -> None:
    sampler = CalibratedSampler(made(variance_gray=[[0, 8], [2, 2], [18, 0]]))
    mean = torch.tensor([0.0, 0.25, 1.0]).expand(1, 3, 1, 3)
    expected = np.sqrt(np.array([[0, 1, 4], [1, 1, 1], [9, 6.75, 0]])) / 255
    np.testing.assert_allclose(sampler.theta({"mean": mean})[0, :, 0], expected, rtol=1e-5)


# --- samples


@pytest.mark.arithmetic
def test_sample_is_laplace() -> None:
    mean = gray()
    drawn = CalibratedSampler(made()).sample({"mean": mean}, seeded())
    assert drawn.shape == mean.shape and drawn.dtype == mean.dtype
    for c, deviation in enumerate((5, 7, 10)):
        noise = ((drawn - mean)[:, c].double() * 255).numpy().ravel()
        theta = deviation / math.sqrt(2)
        assert abs(noise.mean()) < STANDARD_ERRORS * deviation / math.sqrt(noise.size)
        bound = STANDARD_ERRORS * math.sqrt(5 / noise.size)  # fourth moment 24, variance 2
        assert (noise**2).mean() == pytest.approx(2 * theta**2, rel=bound)
        assert stats.kstest(noise, stats.laplace(0, theta).cdf).pvalue > UNLIKELY


@pytest.mark.arithmetic
@pytest.mark.parametrize("share", [0.0, 0.5, 0.8, 1.0])
def test_tails_by_the_share_of_laplace(share: float) -> None:
    """The fourth cumulant of a L(0, 1) + Gaussian is 12 a^4, over the variance 2 squared.

    Standard errors of square and kurtosis are those of Laplace draws, which are the largest.
    """
    calibration = made(variance_gray=[[100.0] * 9] * 3, laplace_share=share)
    drawn = CalibratedSampler(calibration).sample({"mean": gray(400)}, seeded(1))
    noise = ((drawn.double() - 0.5) * 255).numpy().ravel()
    spread = STANDARD_ERRORS / math.sqrt(noise.size)
    assert (noise**2).mean() == pytest.approx(100, rel=spread * math.sqrt(5))
    excess = (noise**4).mean() / (noise**2).mean() ** 2 - 3
    assert excess == pytest.approx(3 * share**4, abs=spread * math.sqrt(1188))  # 0.21
    if share == 0:
        assert stats.kstest(noise[::10], stats.norm(0, 10).cdf).pvalue > UNLIKELY


@pytest.mark.arithmetic
def test_sample_is_correlated_by_its_filter() -> None:
    """Also between channels, in the right direction, up to the border."""
    kernels = noise_filter(random_target(5))
    calibration = made(noise_filter=kernels.tolist(), variance_gray=[[100.0] * 9] * 3)
    drawn = CalibratedSampler(calibration).sample({"mean": gray(300)}, seeded(2))
    noise = (drawn.double() - 0.5).numpy() * 255
    expected = inner(correlation_of(kernels), 3)
    for c, d in np.ndindex(3, 3):
        for j, k in np.ndindex(7, 7):
            dy, dx = j - 3, k - 3
            here = noise[:, c, 3:-3, 3:-3]
            there = noise[:, d, 3 + dy : 297 + dy, 3 + dx : 297 + dx]
            assert (here * there).mean() / 100 == pytest.approx(expected[c, d, j, k], abs=0.04)
    strips = CalibratedSampler(calibration).sample(
        {"mean": torch.full((60, 3, 8, 500), 0.5)}, seeded(3)
    )
    border = (strips.double()[..., [0, -1], :] - 0.5).numpy() * 255
    assert (border**2).mean() == pytest.approx(100, rel=0.05)  # 8 standard errors


@pytest.mark.arithmetic
def test_sample_is_cut_to_the_unit_interval() -> None:
    sampler = CalibratedSampler(made(variance_gray=[[400.0] * 9] * 3))
    for level in (0.0, 1.0):
        drawn = sampler.sample({"mean": gray(50, level)}, seeded(3))
        assert drawn.min() >= 0 and drawn.max() <= 1
        assert (drawn == level).double().mean() == pytest.approx(0.5, abs=0.03)


def test_sample_is_compressed_like_the_files() -> None:
    mean = gray(37)
    drawn = CalibratedSampler(made(jpeg=TABLES)).sample({"mean": mean}, seeded(4))
    plain = CalibratedSampler(made()).sample({"mean": mean}, seeded(4))
    assert torch.equal(drawn, Jpeg(TABLES)(plain))
    assert not torch.equal(drawn, plain)


@pytest.mark.arithmetic
@pytest.mark.parametrize("share", [0.7, 1.0])
@pytest.mark.parametrize("filtered", [False, True])
def test_sample_repeats_with_its_generator_alone(share: float, filtered: bool) -> None:
    kernels = noise_filter(random_target(6)).tolist() if filtered else None
    sampler = CalibratedSampler(made(laplace_share=share, noise_filter=kernels))
    mean = gray(20)
    before = torch.get_rng_state()
    first = sampler.sample({"mean": mean}, seeded(5))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(sampler.sample({"mean": mean}, seeded(5)), first)
    assert not torch.equal(sampler.sample({"mean": mean}, seeded(6)), first)
    assert torch.equal(mean, gray(20))


def test_sample_keeps_double_precision() -> None:
    kernels = noise_filter(random_target(7)).tolist()
    sampler = CalibratedSampler(made(noise_filter=kernels, jpeg=TABLES))
    assert sampler.sample({"mean": gray(20).double()}, seeded()).dtype == torch.float64


# --- the file


def written(path: Path, calibration: Calibration) -> Path:
    path.write_text(json.dumps(calibration.model_dump()), encoding="utf-8")
    return path


def one_sentence(error: UserError, path: Path) -> str:
    text = str(error)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text


def test_a_file_comes_back(tmp_path: Path) -> None:
    kernels = noise_filter(random_target(8)).tolist()
    calibration = made(noise_filter=kernels, jpeg=TABLES, laplace_share=0.3)
    assert load_calibration(written(tmp_path / "c.json", calibration)) == calibration


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    with pytest.raises(UserError, match="cannot be read: No such file or directory") as caught:
        load_calibration(path)
    one_sentence(caught.value, path)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "EOF"),
        (b'{"format": "usrdu-calib', "Invalid JSON"),
        (b"[]", "should be an object"),
        (b"{}", "format"),
        (b"\xff\xfe", "utf-8"),
    ],
)
def test_a_damaged_file(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not a calibration of this version") as caught:
        load_calibration(path)
    assert word.lower() in one_sentence(caught.value, path).lower()


@pytest.mark.parametrize(
    ("key", "value"),
    [("format", "usrdu-calibration-0"), ("laplace_share", 1.5), ("scale", "4"), ("more", 1)],
)
def test_a_file_of_another_version(tmp_path: Path, key: str, value: object) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({**made().model_dump(), key: value}))
    with pytest.raises(UserError, match=key) as caught:
        load_calibration(path)
    one_sentence(caught.value, path)


def test_a_file_of_an_older_version_says_what_to_do(tmp_path: Path) -> None:
    path, older = tmp_path / "c.json", made().model_dump()
    older |= {"format": "usrdu-calibration-1", "variance": older.pop("variance_gray")}
    path.write_text(json.dumps(older))
    with pytest.raises(UserError, match=r"format: .*; run the calibrate stage again$") as caught:
        load_calibration(path)
    one_sentence(caught.value, path)


def test_a_file_that_says_why_there_is_none(tmp_path: Path) -> None:
    calibration = made(fault="only 3 blocks", variance_gray=[])
    path = written(tmp_path / "c.json", calibration)
    assert read_calibration(path) == calibration
    with pytest.raises(UserError, match="could not be measured: only 3 blocks") as caught:
        load_calibration(path)
    one_sentence(caught.value, path)


# --- what it belongs to


def test_a_calibration_of_these_maps_is_accepted(tiny: World) -> None:
    require_calibration(calibration(tiny.maps), tiny.maps)


def test_a_calibration_of_other_maps_is_refused_with_both_digests(tiny: World) -> None:
    other = calibration(tiny.maps, maps_digest="0123456789abcdef")
    with pytest.raises(UserError) as caught:
        require_calibration(other, tiny.maps, Path("c.json"))
    assert str(caught.value) == (
        f"c.json was made for maps with the digest 0123456789ab, but {tiny.maps.path} has "
        f"{tiny.maps.digest[:12]}; run the calibrate stage again"
    )
    with pytest.raises(UserError, match="the calibration was made for maps"):
        require_calibration(other, tiny.maps)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"variance_gray": [[4.0, 9.0], [9.0, 30.0]]}, r"3 by at least 2 numbers, found \(2, 2\)"),
        ({"variance_gray": [[4.0], [9.0], [1.0]]}, r"found \(3, 1\)"),
        ({"variance_gray": []}, r"found \(0,\)"),
        ({"variance_gray": [[4.0, 9.0], [9.0], [1.0, 2.0]]}, "inhomogeneous"),
        ({"noise_filter": [[[[1.0]] * 3] * 3] * 3}, r"odd squares, found \(3, 3, 3, 1\)"),
        ({"noise_filter": [[[[1.0, 0.0]] * 2] * 3] * 3}, r"odd squares, found \(3, 3, 2, 2\)"),
        ({"noise_filter": [[[[1.0]]] * 3] * 2}, r"odd squares, found \(2, 3, 1, 1\)"),
    ],
)
def test_a_file_of_another_shape_is_refused(
    changes: dict[str, object], fault: str, tiny: World, tmp_path: Path
) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(calibration(tiny.maps).model_dump() | changes))
    with pytest.raises(UserError, match=fault) as caught:
        read_calibration(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
