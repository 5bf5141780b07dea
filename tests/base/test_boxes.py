"""Tiles: every operation on boxes against masks of pixels, painted one by one."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.base.boxes import Box, Tile, batches, tiles

SIZES = [(1, 1), (1, 9), (9, 1), (5, 5), (6, 10), (10, 6), (7, 13), (16, 16), (17, 33)]
BOXES = [Box(0, 1, 0, 1), Box(0, 7, 0, 9), Box(2, 3, 4, 9), Box(6, 7, 8, 9), Box(1, 6, 0, 2)]
"""Boxes in an image of 7 rows and 9 columns."""


def mask(box: Box, height: int = 7, width: int = 9) -> NDArray[np.bool_]:
    """The pixels of a box, asked one by one."""
    return np.array(
        [
            [box.top <= y < box.bottom and box.left <= x < box.right for x in range(width)]
            for y in range(height)
        ]
    )


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("size", [1, 2, 5, 16, 100])
def test_every_pixel_once(height: int, width: int, size: int) -> None:
    covered = np.zeros((height, width), int)
    previous: tuple[int, int] | None = None
    for box in tiles(height, width, size):
        assert 0 <= box.top < box.bottom <= height
        assert 0 <= box.left < box.right <= width
        assert box.bottom - box.top <= size and box.right - box.left <= size
        assert previous is None or previous < (box.top, box.left)  # row by row
        previous = box.top, box.left
        covered += mask(box, height, width)
    assert (covered == 1).all()


def test_number_of_tiles() -> None:
    assert list(tiles(5, 3, 2)) == [
        Box(0, 2, 0, 2), Box(0, 2, 2, 3),
        Box(2, 4, 0, 2), Box(2, 4, 2, 3),
        Box(4, 5, 0, 2), Box(4, 5, 2, 3),
    ]  # fmt: skip
    assert list(tiles(4, 4, 4)) == [Box(0, 4, 0, 4)]


@pytest.mark.parametrize("lengths", [(0, 5, 2), (5, 0, 2), (5, 5, 0), (-1, 5, 2), (5, 5, -2)])
def test_lengths_that_make_no_sense(lengths: tuple[int, int, int]) -> None:
    height, width, size = lengths
    with pytest.raises(ValueError, match=f"cannot cut {height}x{width} into tiles of {size}"):
        list(tiles(height, width, size))


@pytest.mark.parametrize("box", BOXES)
def test_slices(box: Box) -> None:
    image = np.arange(3 * 7 * 9).reshape(3, 7, 9)
    inside = image[box.slices]
    assert inside.shape == (3, box.bottom - box.top, box.right - box.left)
    np.testing.assert_array_equal(inside.reshape(3, -1), image[:, mask(box)])


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_times(box: Box, scale: int) -> None:
    finer = mask(box).repeat(scale, axis=0).repeat(scale, axis=1)
    np.testing.assert_array_equal(mask(box.times(scale), 7 * scale, 9 * scale), finer)


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_over(box: Box, scale: int) -> None:
    finer = Box(box.top * scale, box.bottom * scale, box.left * scale, box.right * scale)
    np.testing.assert_array_equal(
        mask(finer.over(scale)), mask(finer, 7 * scale, 9 * scale)[::scale, ::scale]
    )


@pytest.mark.parametrize("edge", range(4))
def test_over_refuses_what_is_no_multiple(edge: int) -> None:
    edges = [4, 8, 4, 8]
    edges[edge] += 1
    with pytest.raises(ValueError, match="does not lie on multiples of 4"):
        Box(*edges).over(4)


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("halo", [0, 1, 3, 20])
def test_grown(box: Box, halo: int) -> None:
    """A pixel belongs to it if one of the box is at most ``halo`` rows and columns away."""
    rows, columns = np.nonzero(mask(box))
    near = [
        [(np.maximum(abs(rows - y), abs(columns - x)) <= halo).any() for x in range(9)]
        for y in range(7)
    ]
    np.testing.assert_array_equal(mask(box.grown(halo, 7, 9)), near)
    grown = box.grown(halo, 7, 9)
    assert grown.top >= 0 and grown.left >= 0 and grown.bottom <= 7 and grown.right <= 9


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("halo", [0, 2, 20])
def test_within(box: Box, halo: int) -> None:
    """The box is found again in what was cut out around it."""
    image = np.arange(3 * 7 * 9).reshape(3, 7, 9)
    outer = box.grown(halo, 7, 9)
    np.testing.assert_array_equal(image[outer.slices][box.within(outer).slices], image[box.slices])


def test_a_box_is_a_value() -> None:
    assert Box(1, 2, 3, 4) == (1, 2, 3, 4)
    assert len({Box(1, 2, 3, 4), Box(1, 2, 3, 4).times(1), Box(1, 2, 3, 5)}) == 2
    with pytest.raises(AttributeError):
        Box(1, 2, 3, 4).top = 5  # type: ignore[misc]


# --- batches


def planned(height: int, width: int, size: int, halo: int) -> list[Tile]:
    return [Tile(area, area.grown(halo, height, width)) for area in tiles(height, width, size)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_batches_keep_the_order_and_one_shape(height: int, width: int, size: int) -> None:
    all_tiles = planned(height, width, 3, 1)
    found = list(batches(iter(all_tiles), size))
    assert [tile for batch in found for tile in batch] == all_tiles
    for batch in found:
        assert 1 <= len(batch) <= size
        assert len({tile.outer.shape for tile in batch}) == 1


def test_batches_by_hand() -> None:
    """One row of 6 tiles; those at the ends are read with one halo, those between with two."""
    lengths = [len(batch) for batch in batches(planned(2, 12, 2, 1), 3)]
    assert lengths == [1, 3, 1, 1]
    assert [len(batch) for batch in batches(planned(2, 12, 2, 0), 4)] == [4, 2]


def test_batches_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="batches of 0"):
        list(batches([], 0))


@pytest.mark.parametrize("box", BOXES)
def test_shape(box: Box) -> None:
    assert box.shape == mask(box)[box.slices[1:]].shape
