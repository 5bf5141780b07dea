"""Mean and theta of an image in memory: those that the export writes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import picture
from doubles import write_dsn
from numpy.typing import NDArray

from pipeline import Degrader, UserError, degrade

IMAGE = picture(np.random.default_rng(0), 72, 88)


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dsn(tmp_path_factory.mktemp("dsn") / "dsn.safetensors")


def test_it_is_what_the_network_gives_for_the_whole_image(dsn: Path) -> None:
    degrader = Degrader.load(dsn)
    whole = degrader.whole(degrader_input(IMAGE))
    for found in (degrade(IMAGE, str(dsn)), degrade(IMAGE, degrader, tile=7)):
        assert sorted(found) == ["mean", "theta"]
        for name, values in found.items():
            assert values.dtype == np.float32 and values.shape == (3, 18, 22)
            np.testing.assert_allclose(values, whole[name].numpy(), atol=1e-5)


def degrader_input(image: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(image.astype(np.float32) / 255)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_float_image_is_not_rounded_to_levels(dsn: Path, dtype: type[np.floating]) -> None:
    image = np.random.default_rng(1).random((3, 24, 32)).astype(dtype)
    found = degrade(image, dsn)
    rounded = degrade(np.round(image.astype(np.float32) * 255).astype(np.uint8), dsn)
    expected = Degrader.load(dsn).whole(torch.from_numpy(image.astype(np.float32)))
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name].numpy(), atol=1e-6)
    assert np.abs(found["mean"] - rounded["mean"]).max() > 1e-4


def test_views_and_orders_of_memory_do_not_matter(dsn: Path) -> None:
    channels_last = np.ascontiguousarray(IMAGE.transpose(1, 2, 0)).transpose(2, 0, 1)
    reversed_twice = IMAGE[:, ::-1].copy()[:, ::-1]
    for image in (channels_last, reversed_twice):
        for name, values in degrade(image, dsn).items():
            np.testing.assert_array_equal(values, degrade(IMAGE, dsn)[name])


REFUSED: dict[str, tuple[NDArray[np.generic], str]] = {
    "channels last": (IMAGE.transpose(1, 2, 0), r"multiples of 4, got \(72, 88, 3\)"),
    "gray": (IMAGE[0], r"expected an image \(3, H, W\), .*, got \(72, 88\)"),
    "batch": (IMAGE[None], r"got \(1, 3, 72, 88\)"),
    "no multiple": (IMAGE[:, :70], r"H and W multiples of 4, got \(3, 70, 88\)"),
    "empty": (IMAGE[:, :0], r"got \(3, 0, 88\)"),
    "16 bit": (
        IMAGE.astype(np.uint16),
        "expected an image of uint8 or of a floating.*, got uint16",
    ),
    "levels": (IMAGE.astype(np.float32), r"expected values in \[0, 1\], got 2 to 252"),
    "negative": (IMAGE / 255 - 1, r"expected values in \[0, 1\], got -"),
    "not a number": (np.full((3, 8, 8), np.nan), r"expected values in \[0, 1\], got nan to nan"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_another_image_is_refused_in_a_sentence(name: str, dsn: Path) -> None:
    image, fault = REFUSED[name]
    with pytest.raises(ValueError, match=fault) as caught:
        degrade(image, dsn)
    assert "\n" not in str(caught.value)


def test_other_arguments_are_refused(dsn: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tile must be at least 1 LR pixel, got 0"):
        degrade(IMAGE, dsn, tile=0)
    with pytest.raises(UserError, match=r"none\.safetensors"):
        degrade(IMAGE, tmp_path / "none.safetensors")
