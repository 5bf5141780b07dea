"""Protocols: what they cut and see, against hand-computed values and scikit-image."""

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import rgb2ycbcr

from pipeline.scores.protocols import USRDU, Name, luma, protocol


def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (3, 20, 30), dtype=np.uint8)


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((0, 0, 0), 16),
        ((255, 255, 255), 235),
        ((255, 0, 0), 81.481),
        ((0, 255, 0), 144.553),
        ((0, 0, 255), 40.966),
        ((51, 102, 204), 16 + 0.2 * 65.481 + 0.4 * 128.553 + 0.8 * 24.966),
    ],
)
def test_luma_by_hand(colour: tuple[int, int, int], expected: float) -> None:
    image = np.tile(np.array(colour, np.uint8)[:, None, None], (1, 2, 3))
    found = luma(image)
    assert found.shape == (2, 3) and found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_luma_is_that_of_scikit_image() -> None:
    image = picture()
    expected = rgb2ycbcr(np.moveaxis(image, 0, -1))[..., 0]
    np.testing.assert_allclose(luma(image), expected, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "scale", "border", "channels"),
    [("usrdu", 4, 4, 3), ("usrdu", 2, 4, 3), ("rwsr2020", 4, 0, 3), ("y", 4, 4, 1), ("y", 2, 2, 1)],
)
def test_what_a_protocol_sees(name: Name, scale: int, border: int, channels: int) -> None:
    image, one = picture(), protocol(name, scale)
    assert one.name == name and one.border == border
    shaved = one.shave(image)
    assert shaved.shape == (3, 20 - 2 * border, 30 - 2 * border) and shaved.dtype == np.uint8
    np.testing.assert_array_equal(shaved[:, 0, 0], image[:, border, border])
    np.testing.assert_array_equal(shaved[:, -1, -1], image[:, 19 - border, 29 - border])
    view = one.view(image)
    assert view.shape == (channels, *shaved.shape[1:]) and view.dtype == np.float64
    np.testing.assert_array_equal(view, luma(shaved)[None] if channels == 1 else shaved)


def test_the_authors_protocol_has_one_border_at_every_scale() -> None:
    assert protocol("usrdu", 2) == protocol("usrdu", 4) == USRDU


def test_a_protocol_describes_itself() -> None:
    said = {name: protocol(name, 3).describe() for name in ("usrdu", "rwsr2020", "y")}
    assert {name: one["border"] for name, one in said.items()} == {
        "usrdu": 4, "rwsr2020": 0, "y": 3,
    }  # fmt: skip
    assert [one["colour"][0] for one in said.values()] == ["R", "R", "Y"]
    assert ["7x7" in one["ssim"] for one in said.values()] == [False, True, False]
