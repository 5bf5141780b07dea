"""Spectra of waves and of noise, whose power is known."""

import math

import numpy as np
import pytest
import torch
from laws import STANDARD_ERRORS
from numpy.typing import NDArray

from pipeline.camera.spectra import BANDS, FAINT, LOW_RINGS, SECTORS, Measure, Spectra, edges, rings

Array = NDArray[np.float64]

SIDE = 64


def wave(f: float, angle: float, amplitude: float = 0.1) -> torch.Tensor:
    """A gray wave (1, 3, SIDE, SIDE) of a frequency in cycles per pixel, across a direction."""
    y, x = np.indices((SIDE, SIDE))
    values = 0.5 + amplitude * np.cos(2 * math.pi * f * (x * np.cos(angle) + y * np.sin(angle)))
    return torch.from_numpy(values).float().expand(1, 3, SIDE, SIDE).clone()


def unweighted(weighted: Array) -> Array:
    """The rings of one window before its weight, one over the root of its low power."""
    low = weighted[:LOW_RINGS].mean()  # = L / sqrt(L + FAINT) of the low power L
    power = (low**2 + np.sqrt(low**4 + 4 * FAINT * low**2)) / 2
    return np.asarray(weighted * np.sqrt(power + FAINT))


def luma_of(pixels: torch.Tensor) -> Array:
    return unweighted(Measure(SIDE).image(pixels).luma[0])


def cells(low: float, high: float) -> int:
    """Frequencies of the DFT in a ring."""
    f = np.fft.fftfreq(SIDE)
    radius = np.hypot(f[:, None], f[None, :])
    return int(((radius >= low) & (radius < high)).sum())


def test_the_rings_lie_side_by_side() -> None:
    assert (np.diff(edges()) > 0).all()
    assert rings()[0] > 0
    assert edges()[-1] <= 0.5
    assert rings() == pytest.approx(
        [(a + b) / 2 for a, b in zip(edges(), edges()[1:], strict=False)]
    )


@pytest.mark.parametrize("ring", [3, 7, 11])
def test_a_wave_lands_in_its_ring_with_its_power(ring: int) -> None:
    f = round(rings()[ring] * SIDE) / SIDE
    found = luma_of(wave(f, 0.0))
    assert found.argmax() == ring
    near = [ring - 1, ring, ring + 1]  # Hann's window spreads a wave over three frequencies
    total = sum(found[k] * cells(edges()[k], edges()[k + 1]) for k in near)
    assert total / SIDE**2 == pytest.approx(0.1**2 / 2, rel=1e-3), "Parseval: the mean square"
    assert np.delete(found, near).max() < 1e-6 * found[ring]


def test_white_noise_is_flat() -> None:
    """A ring's mean over n windows of its cells is Gamma distributed around the variance."""
    deviation, n = 0.05, 40
    values = np.random.default_rng(0).normal(0, deviation, (n, 1, SIDE, SIDE))
    pixels = torch.from_numpy(0.5 + values).float().expand(n, 3, SIDE, SIDE)
    found = np.mean([luma_of(one[None]) for one in pixels], axis=0)
    for k, (low, high) in enumerate(zip(edges(), edges()[1:], strict=False)):
        # half of the cells are conjugate to the others, and Hann's window correlates neighbours
        spread = math.sqrt(2 * 2.1 / (n * cells(low, high)))
        assert found[k] == pytest.approx(deviation**2, rel=STANDARD_ERRORS * spread)


@pytest.mark.parametrize("sector", range(SECTORS))
@pytest.mark.parametrize("band", range(len(BANDS)))
def test_a_wave_lands_in_its_direction(sector: int, band: int) -> None:
    f = sum(BANDS[band]) / 2
    angle = sector * math.pi / SECTORS
    found = Measure(SIDE).image(wave(f, angle)).sectors[0].reshape(len(BANDS), SECTORS)
    assert np.unravel_index(found.argmax(), found.shape) == (band, sector)
    rest = np.delete(found.ravel(), band * SECTORS + sector)
    assert rest.max() < 0.02 * found.max()


def test_colours_have_a_spectrum_of_their_own() -> None:
    pixels = wave(0.25, 0.0)
    pixels[:, 0] = 1 - pixels[:, 0]
    coloured, gray = Measure(SIDE).image(pixels), Measure(SIDE).image(wave(0.25, 0.0))
    luma, chroma = unweighted(coloured.luma[0]), unweighted(coloured.chroma[0])
    ring = int(np.argmin(np.abs(rings() - 0.25)))
    assert chroma.argmax() == ring
    wave_of = np.array([-1, 1, 1])  # in units of the amplitude; the planes are those of BT.601
    y = float(np.array([0.299, 0.587, 0.114]) @ wave_of)
    blue, red = (1 - y) / 1.772, (-1 - y) / 1.402
    assert chroma[ring] / luma[ring] == pytest.approx((blue**2 + red**2) / y**2, rel=1e-4)
    assert gray.chroma.max() < 1e-9


def spectra(images: int, seed: int = 0) -> Spectra:
    rng = np.random.default_rng(seed)
    count = len(rings())
    return Spectra(*(rng.uniform(0.5, 2, (images, n)) for n in (count, count, 8)))


def test_the_statistics_are_logarithms_of_amplitudes() -> None:
    pile = spectra(5)
    count = len(rings())
    found = pile.vector()
    assert found[:count] == pytest.approx(np.log(np.sqrt(pile.luma.mean(axis=0))))
    assert found[count : 2 * count] == pytest.approx(np.log(np.sqrt(pile.chroma.mean(axis=0))))
    directions = np.log(np.sqrt(pile.sectors.mean(axis=0))).reshape(2, 4)
    expected = directions - directions.mean(axis=1, keepdims=True)
    assert found[2 * count :] == pytest.approx(expected.ravel())
    assert pile.vector(np.array([1, 1])) == pytest.approx(
        Spectra(pile.luma[1:2], pile.chroma[1:2], pile.sectors[1:2]).vector()
    )


def test_the_covariance_is_that_of_a_mean_of_images() -> None:
    pile = spectra(60)
    found = np.sqrt(np.diag(pile.covariance(np.random.default_rng(1))))[: len(rings())]
    mean, deviation = pile.luma.mean(axis=0), pile.luma.std(axis=0)
    expected = deviation / np.sqrt(60) / mean / 2  # of half a logarithm, to first order
    assert found == pytest.approx(expected, rel=0.35)  # 200 draws: 5 % standard error
