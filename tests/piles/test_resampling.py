"""The period of an enlargement, in scenes and in a profile whose period is known."""

import numpy as np
import pytest
from discs import jpeg, noisy, resized, scene

from pipeline.piles.detail import luma_of
from pipeline.piles.resampling import Period, period_of


@pytest.mark.parametrize(
    ("factor", "cycles"), [(1.3, 1 - 1 / 1.3), (1.5, 1 / 3), (2, 1 / 2), (3, 1 / 3), (2.5, 2 / 5)]
)
def test_an_enlarged_scene(factor: float, cycles: float) -> None:
    """Of grain, as flat colours show no enlargement."""
    found = period_of(luma_of(resized(noisy(scene(3), 4), factor)))
    assert found is not None and found.strength > 6
    assert found.cycles == pytest.approx(cycles, abs=1 / 240)
    assert found.doubled == (factor == 2)
    if factor != 2:
        assert any(each == pytest.approx(factor, rel=0.03) for each in found.factors)


@pytest.mark.parametrize("seed", range(3))
def test_a_scene_as_it_was_taken(seed: int) -> None:
    for image in (scene(seed), resized(scene(seed, 480, 600), 0.6), jpeg(scene(seed), 80)):
        found = period_of(luma_of(image))
        assert found is not None and found.strength < 4.5 + found.doubled * 100


def test_factors_of_a_period() -> None:
    assert Period(9, 1 / 3).factors == (1.5, 3)
    assert Period(9, 0.2).factors == (1.25,)
    assert Period(9, 0.5).factors == (2,)


def test_small_images_say_nothing() -> None:
    assert period_of(np.zeros((239, 400), np.int16)) is None
    found = period_of(np.zeros((240, 400), np.int16))
    assert found is not None and found.strength < 4.5
