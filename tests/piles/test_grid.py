"""The grid of an earlier JPEG compression, in photographs that Pillow compressed."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.data import astronaut, camera, chelsea, coffee

from pipeline.piles.grid import Grid, find_grid

Pixels = NDArray[np.uint8]
PHOTOGRAPHS: dict[str, Callable[[], Any]] = {
    "astronaut": astronaut, "camera": camera, "chelsea": chelsea, "coffee": coffee,
}  # fmt: skip


def photograph(name: str, noise: float) -> Pixels:
    """(H, W, 3), half as large, so that no older grid is in it."""
    full = Image.fromarray(np.asarray(PHOTOGRAPHS[name]())).convert("RGB")
    half = np.asarray(full.resize((full.width // 2, full.height // 2), Image.Resampling.LANCZOS))
    noisy = half + np.random.default_rng(0).normal(0, noise, half.shape)
    return np.asarray(noisy.round().clip(0, 255), dtype=np.uint8)


def compressed(image: Pixels, quality: int, subsampling: str) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(buffer))


def grid(image: Pixels) -> Grid | None:
    return find_grid(np.moveaxis(image, -1, 0))


@pytest.mark.parametrize("quality", [50, 90, 97])
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_it_is_found_where_it_starts(name: str, quality: int) -> None:
    image = compressed(photograph(name, 3.0), quality, "4:2:0")
    for row, column in ((0, 0), (3, 6)):
        assert grid(image[row:, column:]) == (-row % 8, -column % 8)


@pytest.mark.parametrize("noise", [0.0, 4.0])
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_without_a_grid(name: str, noise: float) -> None:
    image = photograph(name, noise)
    assert grid(image) is None
    again = Image.fromarray(compressed(image, 90, "4:2:0"))  # a grid that was resized is none
    assert grid(np.asarray(again.resize((again.width * 3 // 4, again.height * 3 // 4)))) is None


def test_images_that_are_drawn() -> None:
    rng = np.random.default_rng(0)
    assert grid(np.full((100, 100, 3), 77, np.uint8)) is None
    squares = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    assert grid(squares) is None
    assert grid(rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)) is None


def test_small_images_say_nothing() -> None:
    image = compressed(photograph("coffee", 3.0), 50, "4:4:4")
    assert grid(image[:56, :56]) == (0, 0)
    assert grid(image[:55]) is None
