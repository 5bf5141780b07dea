"""The learning rate over the steps of a training, by hand."""

from math import sqrt

import pytest
from conftest import dsn_settings, srn_settings
from pydantic import ValidationError

from pipeline.optimisation.rates import Moment, cosine_factor, halving_factor, warm_up_factor


def test_the_cosine_at_its_quarters() -> None:
    middle = (1 + sqrt(0.5)) / 2, (1 - sqrt(0.5)) / 2
    expected = [1, 0.1 + 0.9 * middle[0], 0.55, 0.1 + 0.9 * middle[1], 0.1, 0.1]
    found = [cosine_factor(step, 80, 0.1) for step in (0, 20, 40, 60, 80, 99)]
    assert found == pytest.approx(expected, rel=1e-12)
    assert cosine_factor(-3, 80, 0.1) == 1 and cosine_factor(0, 0, 0.1) == pytest.approx(0.1)


def test_the_warm_up_is_linear() -> None:
    assert [warm_up_factor(step, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert [warm_up_factor(step, 0) for step in range(2)] == [1, 1]


def test_halvings() -> None:
    assert [halving_factor(epoch, 3) for epoch in (0, 2, 3, 5, 6)] == [1, 1, 0.5, 0.5, 0.25]


@pytest.mark.parametrize("settings_of", [srn_settings, dsn_settings])
def test_both_trainings_have_every_schedule(settings_of: type) -> None:
    moments = [Moment(step, step // 2, 10) for step in (0, 1, 2, 6, 10)]

    def factors(**changes: object) -> list[float]:
        settings = settings_of(halve_every=2, **changes)
        return [settings.rate_factor(moment) for moment in moments]

    assert factors() == [1, 1, 1, 0.5, 0.25]
    assert factors(warm_up=4) == [0.25, 0.5, 0.75, 0.5, 0.25]
    assert factors(schedule="constant", warm_up=2) == [0.5, 1, 1, 1, 1]
    cosine = factors(schedule="cosine", warm_up=2, least_rate=0.2)
    assert cosine == pytest.approx([0.5, 1, 1, 0.6, 0.2])


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"weight_decay": 0.1}, "weight_decay needs the optimiser adamw or schedulefree"),
        ({"optimiser": "schedulefree"}, "schedulefree needs schedule: constant"),
        (
            {"optimiser": "schedulefree", "schedule": "constant", "adam_betas": [0.0, 0.9]},
            "adam_betas above 0",
        ),
        ({"schedule": "cosine", "least_rate": 1.0}, "least_rate"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, object], fault: str) -> None:
    for settings_of in (srn_settings, dsn_settings):
        with pytest.raises(ValidationError, match=fault):
            settings_of(**changes)


def test_two_averages_are_refused() -> None:
    changes: dict[str, object] = {"optimiser": "schedulefree", "schedule": "constant"}
    with pytest.raises(ValidationError, match="which needs ema_decay: 0"):
        srn_settings(**changes, ema_decay=0.9)
    srn_settings(**changes, ema_decay=0.0, ldl_weight=1.0)
    with pytest.raises(ValidationError, match="ldl_weight needs averaged weights"):
        srn_settings(ema_decay=0.0, ldl_weight=1.0)
