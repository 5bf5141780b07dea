"""The held-out quarter: column by column, for every width."""

from pathlib import Path

import pytest

from pipeline.base.boxes import Box
from pipeline.stores.reader import Store
from pipeline.stores.split import held_out_box, training_box


class Sized(Store):
    """A store without data, of one image."""

    def __init__(self, height: int, width: int) -> None:
        self.path, self.ids, self.attributes = (
            Path("x"),
            ["a"],
            {"shapes": {"a": [3, height, width]}},
        )


@pytest.mark.parametrize("width", range(1, 41))
def test_the_two_parts_are_the_image(width: int) -> None:
    store = Sized(9, width)
    training, held_out = training_box(store, "a"), held_out_box(store, "a")
    columns = [*range(training.left, training.right), *range(held_out.left, held_out.right)]
    assert columns == list(range(width))
    assert {training.top, held_out.top} == {0} and {training.bottom, held_out.bottom} == {9}
    held = held_out.right - held_out.left
    assert held == sum(1 for column in range(width) if (column + 1) % 4 == 0)
    assert training.right > 0


def test_the_right_quarter_is_held_out() -> None:
    store = Sized(50, 100)
    assert training_box(store, "a") == Box(0, 50, 0, 75)
    assert held_out_box(store, "a") == Box(0, 50, 75, 100)
