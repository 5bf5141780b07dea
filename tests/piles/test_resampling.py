"""The period of an enlargement, in scenes and in a profile whose period is known."""

import numpy as np
import pytest
from discs import jpeg, noisy, resized, scene

from pipeline.piles.detail import luma_of
from pipeline.piles.resampling import Period, periods_of


@pytest.mark.parametrize(
    ("factor", "cycles"), [(1.3, 1 - 1 / 1.3), (1.5, 1 / 3), (2, 1 / 2), (3, 1 / 3), (2.5, 2 / 5)]
)
def test_an_enlarged_scene(factor: float, cycles: float) -> None:
    """Of grain, as flat colours show no enlargement."""
    periods = periods_of(luma_of(resized(noisy(scene(3), 4), factor)))
    assert periods is not None and periods.blocks < 3
    found = periods.strongest
    assert found.strength > 6
    assert found.cycles == pytest.approx(cycles, abs=1 / 240)
    assert found.doubled == (factor == 2)
    if factor != 2:
        assert any(each == pytest.approx(factor, rel=0.03) for each in found.factors)


@pytest.mark.parametrize("seed", range(3))
def test_a_scene_as_it_was_taken(seed: int) -> None:
    for image in (scene(seed), resized(scene(seed, 480, 600), 0.6), jpeg(scene(seed), 80)):
        periods = periods_of(luma_of(image))
        assert periods is not None
        assert periods.strongest.strength < 4.5 or periods.strongest.doubled


@pytest.mark.parametrize("start", [0, 3])
@pytest.mark.parametrize("quality", [20, 60])
def test_blocks_are_told_from_an_enlargement(quality: int, start: int) -> None:
    """Wherever they start."""
    plain = noisy(scene(4), 2)
    for image, found in ((plain, False), (jpeg(plain, quality), True)):
        periods = periods_of(luma_of(image[:, start:, start:]))
        assert periods is not None
        assert (periods.blocks > 4) == found
        assert periods.strongest.doubled or periods.strongest.strength < 4.5


def test_factors_of_a_period() -> None:
    assert Period(9, 1 / 3).factors == (1.5, 3)
    assert Period(9, 0.2).factors == (1.25,)
    assert Period(9, 0.5).factors == (2,)


def test_small_images_say_nothing() -> None:
    assert periods_of(np.zeros((239, 400), np.int16)) is None
    found = periods_of(np.zeros((240, 400), np.int16))
    assert found is not None and max(found.blocks, found.strongest.strength) < 4
