"""The best weights: the least by hand, whatever is not a number, and after a checkpoint."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from pipeline.runs.best import BestWeights

NAN = math.nan


def new() -> BestWeights[dict[str, float]]:
    return BestWeights(lambda scores: scores["value"], dict, dict)


def after(values: Sequence[float]) -> BestWeights[dict[str, float]]:
    best, weights = new(), torch.zeros(2)
    for at, value in enumerate(values):
        weights += 1  # as an optimiser does: in place
        best.update(at, {"value": value}, {"w": weights})
    return best


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0, 1.0, 2.0], 1),
        ([3.0, 1.0, 1.0], 1),  # the first of equals
        ([NAN, 5.0, 7.0], 1),
        ([5.0, NAN, 7.0], 0),
        ([NAN, NAN], 0),
        ([-math.inf, -9.0], 0),
    ],
)
def test_the_least_is_the_best(values: list[float], expected: int, tmp_path: Path) -> None:
    best = after(values)
    assert best.at == expected and best.weights["w"].tolist() == [expected + 1] * 2
    assert best.latest == pytest.approx({"value": values[-1]}, nan_ok=True)
    torch.save(best.state_dict(), tmp_path / "state.pt")
    again = new()
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert again.at == expected and torch.equal(again.weights["w"], best.weights["w"])
    assert again.scores == pytest.approx({"value": values[expected]}, nan_ok=True)


def test_before_the_first_scores_there_are_none() -> None:
    again = new()
    again.load_state_dict(new().state_dict())
    assert (again.at, again.scores, again.latest, again.weights) == (None, None, None, {})
