"""Differences of sets of LR images, against what was put into them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from doubles import Simulated, simulated_set

from pipeline.comparison.differences import Figure, Pair, blur, collapse, jpeg, outliers
from pipeline.noise.estimate import Noise, white_correlation
from pipeline.noise.statistics import Allowance, LrStatistics, lr_statistics


def textured(seed: int, blurred: float = 0.0) -> LrStatistics:
    """An image of a Gaussian power law and rounding, without other noise; blurred exactly."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.fftfreq(512))
    amplitude = np.exp(-2 * np.pi**2 * (0.7**2 + blurred**2) * frequency**2)
    drawn = np.fft.fft2(random.normal(0, 60, (3, 512, 512))) * amplitude
    image = np.clip(np.rint(128 + np.fft.ifft2(drawn).real), 0, 255).astype(np.uint8)
    counted = lr_statistics(image, Allowance(1, 4000, 1, 1024), torch.Generator())
    quiet = Noise(np.full((3, 9), 1 / 12), white_correlation(), 0.0, True)
    return replace(counted, measured=quiet)


@pytest.mark.parametrize("width", [0.3, 0.7])
def test_a_blur_is_found_with_its_size(width: float) -> None:
    more = blur(Pair(textured(1), textured(2, width))).value
    assert more == pytest.approx(width, rel=0.2)
    less = blur(Pair(textured(2, width), textured(1))).value
    assert less is not None and more is not None and less == pytest.approx(-more, rel=0.1)
    none = blur(Pair(textured(1), textured(3))).value
    assert none is not None and abs(none) < 0.15


def test_noise_is_no_blur() -> None:
    """Noise of another level and correlation is subtracted from the spectra."""
    real = simulated_set(Simulated(), 0)
    for camera in (Simulated(noise=0.6), Simulated(correlated=False)):
        found = blur(Pair(real, simulated_set(camera, 2))).value
        assert found is not None and abs(found) < 0.3


def test_images_without_detail_show_no_quantisation() -> None:
    flat = lr_statistics(
        np.full((3, 64, 64), 90, np.uint8), Allowance(1, 400, 1), torch.Generator()
    )
    why = "the images have too little detail to show quantisation"
    assert jpeg(Pair(flat, flat)) == Figure(None, why)


def test_collapse_is_the_correlation_of_the_blocks() -> None:
    first, other = simulated_set(Simulated(), 0), textured(1)
    same = collapse(first, first)
    assert (
        same.value == pytest.approx(0, abs=1e-9)
        and "correlates with bicubic by 1.000" in same.words
    )
    assert collapse(first, other).value is None  # blocks of other places
    constant = replace(first.blocks, level=np.full_like(first.blocks.level, 50))
    assert collapse(first, replace(first, blocks=constant)).value == 1


def test_few_images_have_no_outliers() -> None:
    assert outliers(19, 5).value is None
    assert outliers(1, 0).words == "1 image cannot show which is unlike the others"
    assert outliers(20, 5) == Figure(0.25, "5 of 20 images")
