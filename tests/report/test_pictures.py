"""Pictures: a colour says a value again, pixels are kept, and small pictures are small."""

from base64 import b64decode

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.images.drawing import theta_palette
from pipeline.report.pictures import ROUND, ColourScale, lossless, lossy


def decoded(uri: str) -> NDArray[np.uint8]:
    """(3, H, W) of a data URI."""
    head, content = uri.split(",")
    assert head == "data:image/webp;base64"
    return np.moveaxis(iio.imread(b64decode(content), extension=".webp"), -1, 0)


@pytest.mark.parametrize("highest", [0.013, 0.9, 1.0, 1.01, 7.3, 23.9, 400.0])
def test_a_scale_ends_at_a_round_number_just_above(highest: float) -> None:
    found = ColourScale.over(np.linspace(0, highest, 100_001)).highest
    quantile = 0.995 * highest
    assert quantile * (1 - 1e-9) <= found <= 1.5 * quantile * (1 + 1e-9)
    mantissa = found / 10.0 ** np.floor(np.log10(found) + 1e-9)
    assert min(abs(mantissa - end) for end in ROUND) < 1e-9


def test_a_scale_of_nothing_or_of_zeros_ends_at_one() -> None:
    assert ColourScale.over(np.zeros(0)).highest == 1
    assert ColourScale.over(np.zeros(9)).highest == 1


def test_a_value_is_read_off_its_colour() -> None:
    """What the script does: the place of a colour among 256, none of which comes twice."""
    scale = ColourScale(8.0)
    levels = np.random.default_rng(3).uniform(0, 9, (20, 30))
    places = {bytes(colour): place for place, colour in enumerate(theta_palette())}
    assert len(places) == 256
    assert [bytes.fromhex(scale.colours[i : i + 6]) for i in range(0, 6 * 256, 6)] == list(places)
    found = decoded(lossless(scale.picture(levels)))
    values = np.array([places[bytes(pixel)] for pixel in found.reshape(3, -1).T]) / 255 * 8
    assert np.abs(values.reshape(levels.shape) - np.minimum(levels, 8)).max() <= 8 / 255 / 2 + 1e-9


def test_pixels_of_a_lossless_picture_are_kept() -> None:
    image = np.random.default_rng(4).integers(0, 256, (3, 17, 23), dtype=np.uint8)
    assert np.array_equal(decoded(lossless(image)), image)
    unit = torch.from_numpy(image).float() / 255
    assert np.array_equal(decoded(lossless(unit)), image)


def test_a_lossy_picture_is_smaller_and_alike() -> None:
    y, x = np.indices((64, 80))
    smooth = np.stack([120 + 60 * np.sin(x / 9), 90 + y, 200 - x]).astype(np.float64)
    image = (smooth + np.random.default_rng(5).normal(0, 4, smooth.shape)).round().astype(np.uint8)
    found = lossy(image)
    assert len(found) < len(lossless(image)) / 3
    assert np.sqrt(np.mean((decoded(found).astype(float) - smooth) ** 2)) < 6
