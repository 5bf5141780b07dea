"""The optics against integrals, sums and the definition of the DFT."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.camera.optics import Optics, dirichlet, gaussian, kernel, on_grid

Array = NDArray[np.float64]

F = np.linspace(0, 0.7, 8)
LENS = Optics(blur=0.4, stretch=0.15, shear=0.1, amount=0.8, log_radius=-0.2, chroma=0.9)


def frequencies(size: int) -> Array:
    """Those of the DFT, in cycles per pixel."""
    return np.asarray(np.fft.fftfreq(size), np.float64)


def sampled(optics: Optics) -> tuple[Array, Array, Array]:
    """The Gaussian of the lens, sampled finely in LR pixels, with its places."""
    place = np.arange(-6, 6, 0.05)
    y, x = np.meshgrid(place, place, indexing="ij")
    covariance = np.array(
        [
            [optics.blur - optics.stretch, optics.shear],
            [optics.shear, optics.blur + optics.stretch],
        ]
    )  # of (y, x)
    at = np.stack([y, x], axis=-1)
    values = np.exp(-np.einsum("...i,ij,...j", at, np.linalg.inv(covariance), at) / 2)
    return values / values.sum(), y, x


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 2, 2.5])
def test_the_lens_is_the_integral_of_its_gaussian(angle: float) -> None:
    values, y, x = sampled(LENS)
    for f in F:
        fy, fx = f * math.sin(angle), f * math.cos(angle)
        expected = (values * np.cos(2 * math.pi * (fy * y + fx * x))).sum()
        found = LENS.blurred(np.array(fy), np.array(fx))
        assert float(found) == pytest.approx(expected, abs=1e-9)


def test_an_ellipse_that_cannot_be_is_made_the_narrowest_that_can() -> None:
    wrong = Optics(blur=0.2, stretch=3.0, shear=0.0, amount=0.0, log_radius=0.0, chroma=0.0)
    along = wrong.blurred(np.array(0.0), F)
    across = wrong.blurred(F, np.array(0.0))
    assert along == pytest.approx(gaussian(F, 0.2 * 1.98))
    assert across == pytest.approx(gaussian(F, 0.2 * 0.02))
    dot = Optics(blur=0.0, stretch=0.0, shear=0.0, amount=0.0, log_radius=0.0, chroma=0.0)
    assert dot.blurred(F, F) == pytest.approx(np.ones(8))


def test_luma_in_a_direction_is_lens_pixel_and_unsharp_mask() -> None:
    angle = 0.7
    fy, fx = F[1:] * math.sin(angle), F[1:] * math.cos(angle)
    pixel = np.sin(math.pi * fx) / (math.pi * fx) * np.sin(math.pi * fy) / (math.pi * fy)
    low_pass = np.exp(-2 * math.pi**2 * math.exp(-0.2) ** 2 * F[1:] ** 2)
    expected = LENS.blurred(fy, fx) * pixel * (1 + 0.8 * (1 - low_pass))
    assert LENS.luma(F[1:], angle) == pytest.approx(expected, rel=1e-12)


def test_the_radial_transfer_is_the_root_of_the_mean_power() -> None:
    angles = np.arange(720) * math.pi / 720
    power = np.mean([LENS.luma(F, angle) ** 2 for angle in angles], axis=0)
    assert LENS.radial_luma(F) == pytest.approx(np.sqrt(power), abs=2e-3)
    lens = np.mean([LENS.lens(F * np.sin(a), F * np.cos(a)) ** 2 for a in angles], axis=0)
    smooth = np.exp(-2 * math.pi**2 * 0.9 * F**2)
    assert LENS.radial_chroma(F) == pytest.approx(np.sqrt(lens) * smooth, abs=2e-3)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_dirichlet_kernel_is_the_dft_of_a_box(scale: int) -> None:
    f = np.array([*np.linspace(-0.5, 0.5, 21), 1 / scale])
    place = np.arange(scale) - (scale - 1) / 2
    expected = np.cos(2 * math.pi * f[:, None] * place).mean(axis=1)
    assert dirichlet(f, scale) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("chroma", [False, True])
def test_the_kernel_is_the_blurred_pixel(scale: int, chroma: bool) -> None:
    """Directly: the Gaussian of lens and chroma, summed over the HR pixels of the LR pixel."""
    side = 8 * scale + scale % 2
    found = np.array(kernel(on_grid(LENS, frequencies(256), scale, chroma), side), np.float64)
    assert found.shape == (side, side)
    assert found.sum() == pytest.approx(1, abs=1e-12)
    more = LENS.chroma if chroma else 0.0
    covariance = scale**2 * np.array(
        [
            [LENS.blur - LENS.stretch + more, LENS.shear],
            [LENS.shear, LENS.blur + LENS.stretch + more],
        ]
    )
    place = np.arange(side) - (side - 1) / 2
    box = np.arange(scale) - (scale - 1) / 2
    y = (place[:, None] - box)[:, None, :, None]
    x = (place[:, None] - box)[None, :, None, :]
    inverse = np.linalg.inv(covariance)
    form = inverse[0, 0] * y**2 + inverse[1, 1] * x**2 + 2 * inverse[0, 1] * y * x
    direct = np.exp(-form / 2).sum(axis=(2, 3))
    assert found == pytest.approx(direct / direct.sum(), abs=2e-3 * found.max())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_kernel_lies_on_the_centre_of_the_lr_pixel_and_has_the_transfer(scale: int) -> None:
    narrow = Optics(blur=0.3, stretch=0.1, shear=0.05, amount=0.0, log_radius=0.0, chroma=0.0)
    side = 10 * scale
    values = np.array(kernel(on_grid(narrow, frequencies(256), scale, False), side), np.float64)
    place = np.arange(side) - (side - 1) / 2
    assert float(values.sum(axis=1) @ place) == pytest.approx(0, abs=1e-6)
    assert float(values.sum(axis=0) @ place) == pytest.approx(0, abs=1e-6)
    f = frequencies(64)
    wave = np.exp(-2j * math.pi * f[:, None] * place)
    transfer = on_grid(narrow, f, scale, False)
    inside = np.abs(f) < 0.49  # there, an even kernel has no sample of its own
    found = (wave @ values @ wave.T)[np.ix_(inside, inside)]
    assert np.abs(found - transfer[np.ix_(inside, inside)]).max() < 2e-3
