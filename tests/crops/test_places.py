"""Crops: the laws of corners and turns, and where the pixels come from."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import World
from hypothesis import given
from hypothesis import strategies as st
from laws import UNLIKELY
from numpy.typing import NDArray
from scipy.stats import chisquare

from pipeline.base.boxes import Box
from pipeline.base.errors import UserError
from pipeline.base.seeding import generator
from pipeline.crops.places import Place, cut, draw_places, gather, require_crop
from pipeline.stores.reader import Store


def drawn(sizes: list[tuple[int, int]], crop: int, step: int = 0) -> list[Place]:
    return draw_places(sizes, crop, generator(0, "corners", step), generator(0, "turns", step))


def corners(sizes: list[tuple[int, int]], crop: int) -> list[tuple[int, int]]:
    return [(place.top, place.left) for place in drawn(sizes, crop)]


# --- draw_places


@pytest.mark.arithmetic
def test_corners_are_uniform() -> None:
    rows, columns, draws = 7, 4, 28_000
    counts = Counter(corners([(16 + rows - 1, 16 + columns - 1)] * draws, 16))
    cells = [counts.pop((row, column), 0) for row in range(rows) for column in range(columns)]
    assert not counts, "a corner outside of the image"
    assert chisquare(cells).pvalue > UNLIKELY


def test_a_crop_as_large_as_the_image_has_one_place() -> None:
    found = corners([(16, 16), (16, 18), (20, 16)] * 200, 16)
    assert set(found[::3]) == {(0, 0)}
    assert set(found[1::3]) == {(0, 0), (0, 1), (0, 2)}
    assert set(found[2::3]) == {(row, 0) for row in range(5)}


@pytest.mark.arithmetic
def test_turns_are_equally_often_each_of_the_eight_and_independent_of_the_corner() -> None:
    places = drawn([(17, 16)] * 16_000, 16)
    counts = Counter((place.top, *place[2:]) for place in places)
    assert len(counts) == 16
    assert chisquare(list(counts.values())).pvalue > UNLIKELY


def test_crops_that_are_not_turned_have_the_corners_of_others() -> None:
    sizes = [(17 + i, 30 - i) for i in range(9)]
    plain = draw_places(sizes, 16, generator(0, "corners", 0), None)
    assert [(place.top, place.left) for place in plain] == corners(sizes, 16)
    assert {place[2:] for place in plain} == {(False, False, False)}


def test_places_repeat_with_the_generators() -> None:
    sizes = [(1000, 2000)] * 5
    first, again, other = (drawn(sizes, 16, step) for step in (0, 0, 1))
    assert first == again != other


# --- cut and gather


def by_hand(
    image: NDArray[np.generic], place: Place, patch: int, finer: int
) -> NDArray[np.generic]:
    """One crop, pixel by pixel after the words of ``Place``."""
    side = patch * finer
    crop = image[:, place.top * finer :, place.left * finer :][:, :side, :side]
    if place.rows:
        crop = np.flip(crop, 1)
    if place.columns:
        crop = np.flip(crop, 2)
    return np.swapaxes(crop, 1, 2) if place.transposed else crop


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[Place], int]:
    """Sizes of images, places in them, and the side of the crops."""
    patch = draw(st.integers(1, 5))
    length = st.integers(patch, patch + 6)
    sizes = draw(st.lists(st.tuples(length, length), min_size=1, max_size=4))
    flags = [st.booleans()] * 3
    places = [
        Place(draw(st.integers(0, h - patch)), draw(st.integers(0, w - patch)), *map(draw, flags))
        for h, w in sizes
    ]
    return sizes, places, patch


@given(case=cases(), finer=st.sampled_from([1, 2, 4]), dtype=st.sampled_from(["u1", "f2"]))
def test_cut_and_gather_are_slicing_and_turning(
    case: tuple[list[tuple[int, int]], list[Place], int], finer: int, dtype: str
) -> None:
    sizes, places, patch = case
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (3, h * finer, w * finer)).astype(dtype) for h, w in sizes]
    expected = np.stack(
        [by_hand(image, place, patch, finer) for image, place in zip(images, places, strict=True)]
    )
    tensors = [torch.from_numpy(image) for image in images]
    found = cut(tensors, places, patch, finer)
    flat = torch.cat([torch.zeros(7, dtype=found.dtype), *(one.flatten() for one in tensors)])
    starts = np.cumsum([7, *(image.size for image in images)])[:-1].tolist()
    gathered = gather(flat, starts, sizes, places, patch, finer)
    for result in (found, gathered):
        assert result.numpy().dtype == np.dtype(dtype) and result.is_contiguous()
        assert np.array_equal(result.numpy(), expected)


def test_the_eight_turns_are_the_symmetries_of_the_square() -> None:
    image = np.arange(18).reshape(2, 3, 3)
    rotated = [np.rot90(image, quarter, axes=(1, 2)) for quarter in range(4)]
    symmetries = {one.tobytes() for one in [*rotated, *(np.flip(r, axis=2) for r in rotated)]}
    turns = [(bool(k & 1), bool(k & 2), bool(k & 4)) for k in range(8)]
    places = [Place(0, 0, *turn) for turn in turns]
    found = cut([torch.from_numpy(image)] * 8, places, 3)
    assert {np.ascontiguousarray(one).tobytes() for one in found.numpy()} == symmetries


# --- require_crop


def test_an_image_smaller_than_a_crop_is_named(tiny: World) -> None:
    require_crop(tiny.hr, 140, "section.patch")
    with pytest.raises(UserError) as caught:
        require_crop(tiny.hr, 144, "section.patch")
    message = str(caught.value)
    for part in (str(tiny.hr.path), "'castle'", "160x140", "144x144", "section.patch"):
        assert part in message


def lower_half(store: Store) -> Callable[[str], Box]:
    """The rows below the middle."""

    def part(image_id: str) -> Box:
        height, width = store.size(image_id)
        return Box(height // 2, height, 0, width)

    return part


def test_a_part_smaller_than_a_crop_is_named(tiny: World) -> None:
    part = lower_half(tiny.hr)
    require_crop(tiny.hr, 70, "section.patch", part)
    with pytest.raises(UserError) as caught:
        require_crop(tiny.hr, 71, "section.patch", part)
    small = [i for i in tiny.hr.ids if min(tiny.hr.size(i)[0] // 2, tiny.hr.size(i)[1]) < 71]
    named = ", ".join(
        f"'{i}' is {tiny.hr.size(i)[0] - tiny.hr.size(i)[0] // 2}x{tiny.hr.size(i)[1]}"
        for i in small
    )
    assert str(caught.value) == (
        f"{tiny.hr.path}: without the held-out parts {named}, smaller than a crop of 71x71; "
        "lower section.patch or leave them out (prepare.least_side)"
    )
