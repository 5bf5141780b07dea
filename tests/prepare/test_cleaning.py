"""HR images from real LR images: Pillow's kernel, the law of the noise, the held-out part."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage
from scipy.ndimage import uniform_filter

from pipeline.base.errors import UserError
from pipeline.images.io import Image
from pipeline.images.reduction import reduce_image
from pipeline.prepare.cleaning import cleaned_hr
from pipeline.stores.reader import Store
from pipeline.writing.writer import StoreWriter


def noise(height: int, width: int, seed: int = 1) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal((3, height, width))


def image_of(values: NDArray[np.float64]) -> Image:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def squared_weights(factor: int) -> float:
    """Sum of the squared weights of one row, from Keys' kernel in exact numbers."""

    def keys(t: Fraction) -> Fraction:
        t = abs(t)
        if t <= 1:
            return Fraction(3, 2) * t**3 - Fraction(5, 2) * t**2 + 1
        return -Fraction(1, 2) * t**3 + Fraction(5, 2) * t**2 - 4 * t + 2 if t < 2 else Fraction(0)

    centre = Fraction(factor - 1, 2)
    weights = [keys((i - centre) / factor) for i in range(-2 * factor, 3 * factor)]
    return float(sum(weight**2 for weight in weights) / sum(weights) ** 2)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_clean_is_what_pillow_makes(factor: int) -> None:
    """Inside, as Pillow does not mirror at the borders."""
    image = np.random.default_rng(2).integers(0, 256, (3, 30 * factor, 24 * factor), dtype=np.uint8)
    found = reduce_image(image, factor)
    assert found.shape == (3, 30, 24) and found.dtype == np.uint8
    for channel, small in zip(image, found, strict=True):
        plane = PillowImage.fromarray(channel.astype(np.float32))
        resized = np.asarray(plane.resize((24, 30), PillowImage.Resampling.BICUBIC))
        expected = resized.clip(0, 255)
        np.testing.assert_allclose(small[2:-2, 2:-2], expected[2:-2, 2:-2], atol=0.501)


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_law_of_the_noise(factor: int) -> None:
    """In two dimensions the root of the squares' sum is the sum in one."""
    sigma = 20.0
    expected = np.hypot(sigma * squared_weights(factor), 1 / 12**0.5)
    found = reduce_image(image_of(128 + sigma * noise(150 * factor, 150 * factor)), factor)
    assert found[:, 2:-2, 2:-2].std() == pytest.approx(expected, rel=0.02)


def test_law_of_the_noise_in_the_docstring() -> None:
    assert reduce_image.__doc__ is not None
    for factor, words in (
        (2, "0.404 s for the factor 2"),
        (3, "0.272 s for 3"),
        (4, "0.204 s for 4"),
    ):
        assert words in " ".join(reduce_image.__doc__.split())
        assert float(words.split()[0]) == pytest.approx(squared_weights(factor), abs=5e-4)


def test_correlated_noise_goes_down_less() -> None:
    wide = uniform_filter(noise(400, 400), size=(0, 3, 3)) * 3
    independent, correlated = (
        reduce_image(image_of(128 + 20 * values), 2).std() for values in (noise(400, 400), wide)
    )
    assert wide.std() == pytest.approx(1, rel=0.02)
    assert correlated > 1.5 * independent


@pytest.mark.parametrize("level", [0, 77, 255])
def test_clean_keeps_flat_images_and_clamps(level: int) -> None:
    image = np.full((3, 20, 20), level, np.uint8)
    assert (reduce_image(image, 2) == level).all()
    image[:, :, 10:] = 255 - level  # the kernel overshoots beyond 0 and 255
    assert {reduce_image(image, 2)[0, 5, 0], reduce_image(image, 2)[0, 5, -1]} == {
        level,
        255 - level,
    }


@pytest.mark.parametrize(
    ("size", "expected"), [((9, 12), (3, 4)), ((11, 14), (3, 4)), ((3, 3), (1, 1))]
)
def test_what_does_not_divide_is_cut(size: tuple[int, int], expected: tuple[int, int]) -> None:
    image = np.random.default_rng(3).integers(0, 256, (3, *size), dtype=np.uint8)
    height, width = (3 * length for length in expected)
    np.testing.assert_array_equal(
        reduce_image(image, 3), reduce_image(image[:, :height, :width], 3)
    )
    assert reduce_image(image, 3).shape == (3, *expected)


@pytest.mark.parametrize("size", [(1, 9), (9, 1)])
def test_clean_of_too_little(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"{size[0]}x{size[1]} cannot be made 2 times smaller"):
        reduce_image(np.zeros((3, *size), np.uint8), 2)


def store(path: Path, image: Image, scale: int = 4) -> Store:
    with StoreWriter(path, "lr", scale, ["a"]) as writer:
        writer.add("a", {"image": image})
    return Store(path, "lr")


def test_no_held_out_pixel_is_seen(tmp_path: Path) -> None:
    """Whatever the right quarter holds; and the columns before it are all used."""
    first = np.random.default_rng(4).integers(0, 256, (3, 50, 97), dtype=np.uint8)
    second = first.copy()
    second[:, :, 97 - 24 :] = 0
    found, again = (
        cleaned_hr(Path("a.png"), store(tmp_path / name, image), "a", 2)
        for name, image in (("1.zarr", first), ("2.zarr", second))
    )
    np.testing.assert_array_equal(found, again)
    assert found.shape == (3, 24, 36)  # 50 / 2 and 73 // 2, to a multiple of the scale
    np.testing.assert_array_equal(found, reduce_image(first[:, :, :73], 2)[:, :24, :36])


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("factor", [2, 5])
def test_the_smallest_image(tmp_path: Path, scale: int, factor: int) -> None:
    least = scale * factor
    width = next(w for w in range(99) if w - w // 4 == least)
    image = np.full((3, least, width), 9, np.uint8)
    found = cleaned_hr(Path("a.png"), store(tmp_path / "a.zarr", image, scale), "a", factor)
    assert found.shape == (3, scale, scale)
    for cut in (image[:, 1:], image[:, :, 2:]):
        few = store(tmp_path / f"{cut.shape}.zarr", cut, scale)
        with pytest.raises(UserError) as caught:
            cleaned_hr(Path("x/a.png"), few, "a", factor)
        seen = f"{cut.shape[1]}x{cut.shape[2] - cut.shape[2] // 4}"
        assert str(caught.value) == (
            f"x/a.png: is {seen} without its held-out part, too small to be an HR image after "
            f"cleaning by {factor} at the scale {scale}"
        )
