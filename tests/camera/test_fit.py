"""The search on piles that NumPy and SciPy made: the transfer is found."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scenes import Lens, eight_bit, leaves

from pipeline.camera.fit import (
    CHROMA_NOISE_ERROR,
    SHAPE,
    Camera,
    Search,
    chroma_noise,
    content,
    process,
    shaped,
)
from pipeline.camera.optics import Optics
from pipeline.camera.prediction import analytic, analytic_chroma
from pipeline.camera.spectra import BANDS, SECTORS, Measure, joined, rings
from pipeline.camera.synthesis import Synthesis
from pipeline.camera.windows import windows

Array = NDArray[np.float64]

SCALE, SIDE, IMAGES = 2, 64, 12
F = rings()
SEEN = F < 0.4


def rounded(images: torch.Tensor) -> torch.Tensor:
    return (images.clamp(0, 1) * 255).round() / 255


@lru_cache
def scene(seed: int) -> Array:
    return leaves(seed, 192)


@lru_cache
def synthesis() -> Synthesis:
    whole = (SIDE + 16) * SCALE
    images = [windows(eight_bit(scene(n)), n, whole, 4) for n in range(IMAGES)]
    return Synthesis(images, [str(n) for n in range(IMAGES)], SCALE, "gamma")


@lru_cache
def found(lens: Lens) -> tuple[Search, Camera]:
    """The camera that took other scenes than those of the HR images."""
    measure = Measure(SIDE)
    photographs = [lens.photograph(scene(100 + n), n) for n in range(IMAGES)]
    real = joined(
        measure.image(windows(one, n, SIDE, 9).pixels) for n, one in enumerate(photographs)
    )
    search = Search(real, synthesis(), measure, rounded, coloured=True)
    return search, search.run(4, lambda: None)


PLAIN = Lens(sigma=0.5)
LENSES = {
    "plain": (PLAIN, 0.06),
    "soft": (Lens(sigma=0.8), 0.05),
    "narrow": (Lens(sigma=0.2), 0.07),
    "turned": (Lens(sigma=0.4, long=2.0, angle=np.pi / 4), 0.06),
    "sharpened": (Lens(sigma=0.6, amount=1.0, radius=1.0), 0.16),
}
"""Lenses, and 1.3 to 3 times the root mean square error with twelve images and twelve others."""


@pytest.mark.parametrize("name", LENSES)
def test_the_transfer_is_found(name: str) -> None:
    lens, margin = LENSES[name]
    apart = found(lens)[1].luma(F)[SEEN] - lens.transfer(F)[SEEN]
    assert np.sqrt((apart**2).mean()) < margin
    without = np.sqrt(((1 - lens.transfer(F)[SEEN]) ** 2).mean())
    assert margin < without, "to say that nothing is blurred would not do"
    if lens.amount:
        assert found(lens)[1].luma(F).max() > 1.1, "only a sharpening does that"


@pytest.mark.parametrize("angle", [0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4])
def test_the_direction_of_the_blur_is_found(angle: float) -> None:
    optics = found(Lens(sigma=0.4, long=2.0, angle=angle))[1].optics
    turned = np.arctan2(optics.shear, optics.stretch) / 2
    assert abs(np.angle(np.exp(2j * (turned - angle)))) / 2 < 0.15  # radians
    truth = 0.4**2 * (2**2 - 1) / 2
    assert np.hypot(optics.stretch, optics.shear) == pytest.approx(truth, rel=0.3)


def test_the_interval_holds_the_fit_and_nearly_the_truth() -> None:
    search, camera = found(PLAIN)
    luma, chroma = search.interval(camera, F)
    assert luma.shape == chroma.shape == (60, len(F))
    low, middle, high = np.percentile(luma, (5, 50, 95), axis=0)
    assert np.abs(middle - camera.luma(F))[SEEN].max() < 0.1
    assert (low < camera.luma(F)).all()
    assert (camera.luma(F) < high).all()
    truth = PLAIN.transfer(F)
    assert ((low - 0.06 < truth) & (truth < high + 0.06))[SEEN].all()
    assert (high - low)[SEEN].max() < 0.5
    assert np.isfinite(chroma).all()


def test_the_prediction_is_the_transfer_by_its_definition() -> None:
    optics = Optics(blur=0.5, stretch=0.2, shear=-0.1, amount=0.7, log_radius=0.2, chroma=0.8)
    statistics = analytic(optics)
    count = len(F)
    assert statistics[:count] == pytest.approx(np.log(optics.radial_luma(F)), abs=1e-4)
    assert statistics[count : 2 * count] == pytest.approx(
        np.log(optics.radial_chroma(F) + 1e-6), abs=1e-9
    )
    for band, (low, high) in enumerate(BANDS):
        inside, logs = np.linspace(low, high, 5), []
        for k in range(SECTORS):
            turned = [k * np.pi / SECTORS + turn for turn in (-0.26, 0.0, 0.26)]
            logs.append(np.log(np.mean([optics.luma(inside, a) ** 2 for a in turned])) / 2)
        place = 2 * count + band * SECTORS
        expected = np.array(logs) - np.mean(logs)
        assert statistics[place : place + SECTORS] == pytest.approx(expected, abs=1e-6)


def test_many_smoothings_at_once_are_those_one_by_one() -> None:
    optics = Optics(blur=0.5, stretch=0.2, shear=-0.1, amount=0.7, log_radius=0.2, chroma=0.8)
    many = analytic_chroma(optics, np.array([0.8, 0.0]))
    assert many[0] == pytest.approx(analytic(optics)[len(F) : 2 * len(F)])
    assert many[1] == pytest.approx(np.log(optics.radial_lens(F)), abs=1e-4)


SIGNAL = np.linspace(1, 0.02, 2 * len(F) + 8)


@pytest.mark.parametrize(
    "covariance",
    [content(), process(F, SHAPE), chroma_noise(SIGNAL)],
    ids=["content", "process", "chroma noise"],
)
def test_the_covariances_are_symmetric_and_positive(covariance: Array) -> None:
    assert covariance == pytest.approx(covariance.T)
    least = np.linalg.eigvalsh(covariance).min()
    assert least > -1e-12 * np.trace(covariance)


def test_what_changes_contrast_or_slope_is_known_for_the_content() -> None:
    """A level and a slope cost far less than a change of one ring."""
    count = len(F)
    inverse = np.linalg.inv(content())
    level, slope, ring = (np.zeros(2 * count + 8) for _ in range(3))
    level[:count], slope[:count], ring[5] = 0.3, 0.1 * np.log(F / 0.1), 0.3
    cost = [float(change @ inverse @ change) for change in (level, slope, ring)]
    assert cost[0] < 0.02
    assert cost[1] == pytest.approx(1, rel=0.05)
    assert cost[2] > 50


def test_an_error_of_the_noise_of_colours_moves_their_amplitude_as_power_does() -> None:
    """Against the amplitude of signal and noise, with the noise drawn too strong or too weak."""
    count, signal = len(F), SIGNAL[len(F) : 2 * len(F)]
    error = CHROMA_NOISE_ERROR * np.random.default_rng(0).standard_normal((20_000, 1)) / 10
    moved = np.log(signal + (1 - signal) * (1 + error)) / 2
    expected = 100 * moved.var(axis=0)  # of errors ten times as large, without the curvature
    found = chroma_noise(SIGNAL)
    assert np.diag(found)[count : 2 * count] == pytest.approx(expected, rel=0.07)
    found[count : 2 * count, count : 2 * count] = 0
    assert not found.any(), "luma and directions are not concerned"


def test_a_shape_is_one_at_frequency_zero_and_between_its_rings() -> None:
    shape = np.linspace(0.1, -0.2, len(F))
    found_at = shaped(shape, np.array([0.0, F[0], F[-1], 0.7]))
    assert found_at == pytest.approx([1, np.exp(0.1), np.exp(-0.2), np.exp(-0.2)])
    middle = shaped(shape, np.array([(F[3] + F[4]) / 2]))
    assert middle == pytest.approx([np.exp((shape[3] + shape[4]) / 2)])
    near = process(np.array([1e-9, 0.2]), SHAPE)
    assert near[0, 0] == pytest.approx(0, abs=1e-12)
    assert near[1, 1] == pytest.approx(SHAPE**2 * (1 - np.exp(-4)), rel=1e-9)


def test_it_is_found_again() -> None:
    search, camera = found(PLAIN)
    again = Search(search.real, synthesis(), search.measure, rounded, coloured=True)
    assert again.run(4, lambda: None).optics == camera.optics


def test_without_colours_chroma_is_what_is_expected_of_it() -> None:
    search, _ = found(PLAIN)
    gray = Search(search.real, synthesis(), search.measure, rounded, coloured=False)
    camera = gray.run(2, lambda: None)
    assert camera.optics.chroma == pytest.approx(0.6, abs=1e-4)
    assert not camera.chroma_shape.any()
