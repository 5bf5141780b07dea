"""Windows lie inside the images and are drawn by a seed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scenes import write

from pipeline.camera.windows import seen, spread, usable, windows


def numbered(height: int, width: int) -> NDArray[np.uint8]:
    """An image whose values tell the place: the row in red, the column in green."""
    y, x = np.indices((height, width))
    return np.stack([y, x, np.zeros_like(y)]).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (24, 40), (50, 33)])
def test_windows_are_parts_of_the_image(height: int, width: int) -> None:
    image = numbered(height, width)
    found = windows(image, 0, 16, 100)
    corners = {
        (int(one[0, 0, 0] * 255 + 0.5), int(one[1, 0, 0] * 255 + 0.5)) for one in found.pixels
    }
    assert len(corners) == len(found.pixels), "no window twice"
    for one in found.pixels:
        y, x = int(one[0, 0, 0] * 255 + 0.5), int(one[1, 0, 0] * 255 + 0.5)
        expected = torch.from_numpy(image[:, y : y + 16, x : x + 16]).float() / 255
        assert torch.equal(one, expected)
    ends = {(0, 0), (height - 16, width - 16)}
    assert ends <= corners, "they reach from end to end"


def test_their_number_is_bounded_and_their_draw_is_seeded() -> None:
    image = numbered(80, 80)
    first, again, other = (windows(image, number, 16, 7).pixels for number in (0, 0, 1))
    assert len(first) == 7
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_held_out_part_of_real_lr_images_is_not_seen(tmp_path: Path) -> None:
    images = [numbered(40, 40), numbered(30, 60), numbered(40, 44)]
    lr, hr = write(tmp_path / "lr.zarr", "lr", images), write(tmp_path / "hr.zarr", "hr", images)
    assert seen(lr, "i0").shape == (40, 30)
    assert seen(hr, "i0").shape == (40, 40)
    assert usable(lr, 32) == ["i2"], "of 40 columns 30 are left, of 44 there are 33"
    assert usable(hr, 32) == ["i0", "i2"]


@pytest.mark.parametrize(("count", "limit"), [(1, 5), (5, 5), (100, 7), (7, 100), (6000, 192)])
def test_numbers_are_spread_evenly(count: int, limit: int) -> None:
    found = spread(count, limit)
    assert len(found) == min(count, limit) == len(set(found))
    assert found[0] == 0
    assert found[-1] == (count - 1 if min(count, limit) > 1 else 0)
    steps = np.diff(found)
    assert not len(steps) or steps.max() - steps.min() <= 1


def test_flat_and_gray_windows_are_known() -> None:
    gray = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).expand(2, 3, 8, 8)
    image = (gray[0] * 255).byte().numpy()
    assert windows(image, 0, 8, 1).gray
    assert not windows(image, 0, 8, 1).flat
    image = np.full((3, 20, 20), 7, np.uint8)
    image[1] = 9
    assert windows(image, 0, 8, 5).flat
    assert not windows(image, 0, 8, 5).gray
