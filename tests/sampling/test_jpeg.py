"""JPEG in torch against the files that Pillow writes and reads, and its transform against SciPy."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from scipy.fft import dctn
from skimage.data import chelsea
from torch import Tensor

from pipeline.images.io import write_jpeg
from pipeline.sampling.jpeg import TO_YCBCR, Jpeg, JpegTables, cosines, tables_of_quality

Planes = Literal["4:4:4", "4:2:2", "4:2:0"]
Pixels = NDArray[np.uint8]


def cat(height: int, width: int) -> Pixels:
    """A part of a colour photograph, (3, H, W)."""
    pixels = np.asarray(chelsea())[60 : 60 + height, 100 : 100 + width]
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


def filed(path: Path, image: Pixels, quality: int, planes: Planes) -> tuple[Pixels, JpegTables]:
    """What Pillow reads from the file of an image, and the tables in it."""
    write_jpeg(path, image, quality, planes)
    with Image.open(path) as file:
        steps = file.quantization  # type: ignore[attr-defined]
        tables = JpegTables(luma=list(steps[0]), chroma=list(steps[1]), subsampling=planes)
        return np.moveaxis(np.asarray(file), -1, 0), tables


def compressed(tables: JpegTables, image: Pixels) -> NDArray[np.float64]:
    """Gray levels of one image after compression."""
    result = Jpeg(tables)(torch.from_numpy(image)[None].float() / 255)
    return np.asarray(torch.round(result[0].double() * 255))


def plain(step: int = 1, subsampling: Planes = "4:4:4") -> JpegTables:
    return JpegTables(luma=[step] * 64, chroma=[step] * 64, subsampling=subsampling)


@pytest.mark.parametrize("planes", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("size", [(96, 128), (61, 83), (62, 90)])
def test_as_pillow_decodes_the_file(
    tmp_path: Path, size: tuple[int, int], quality: int, planes: Planes
) -> None:
    """Libjpeg computes in integers: a coefficient on a border may fall to its other side.

    The mean difference is 0.08 to 0.45 gray levels; what the JPEG itself loses is 1.8 to 6.3.
    """
    image = cat(*size)
    expected, tables = filed(tmp_path / "a.jpg", image, quality, planes)
    found = compressed(tables, image)
    assert found.shape == image.shape
    lost = np.abs(image - expected.astype(np.float64)).mean()
    wrong = np.abs(found - expected).mean()
    assert wrong < min(0.5, lost / 4)


@pytest.mark.parametrize("planes", ["4:4:4", "4:2:2", "4:2:0"])
def test_the_last_rows_and_columns_are_as_good_as_the_rest(tmp_path: Path, planes: Planes) -> None:
    """Libjpeg repeats the last pixel of a colour plane, not what it padded the plane with."""
    edge, everywhere = [], []
    for side in (50, 52, 54, 57, 60, 62):
        image = cat(side, side)
        expected, tables = filed(tmp_path / "a.jpg", image, 30, planes)
        error = np.abs(compressed(tables, image) - expected)
        edge += [*error[:, -1].ravel(), *error[:, :, -1].ravel()]
        everywhere += [*error.ravel()]
    assert np.mean(edge) < 1.5 * np.mean(everywhere) + 0.05


@pytest.mark.parametrize("planes", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 90), (17, 240, 128)])
def test_a_flat_image(tmp_path: Path, colour: tuple[int, int, int], planes: Planes) -> None:
    image = np.broadcast_to(np.array(colour, np.uint8)[:, None, None], (3, 19, 21)).copy()
    for quality in (30, 75, 95):
        expected, tables = filed(tmp_path / "a.jpg", image, quality, planes)
        assert np.abs(compressed(tables, image) - expected).max() <= 1


@pytest.mark.parametrize("planes", ["4:4:4", "4:2:2", "4:2:0"])
def test_a_batch_is_its_images(planes: Planes) -> None:
    images = torch.from_numpy(np.stack([cat(40, 56), cat(40, 56)[:, ::-1].copy()])).float() / 255
    jpeg = Jpeg(plain(20, planes))
    both = jpeg(images)
    assert torch.equal(both, torch.cat([jpeg(images[:1]), jpeg(images[1:])]))
    assert not torch.equal(both[0], both[1])


def test_the_transform_is_that_of_scipy() -> None:
    block = np.random.default_rng(0).normal(size=(8, 8))
    table = cosines().numpy()
    expected = np.asarray(dctn(block, norm="ortho"))
    np.testing.assert_allclose(table @ block @ table.T, expected, atol=1e-6)


def test_quantisation_of_a_gray_block_by_scipy() -> None:
    """Gray has no colour: what is left of a block is its rounded transform."""
    rng = np.random.default_rng(1)
    gray = rng.integers(40, 215, (8, 8), dtype=np.uint8)
    steps = rng.integers(5, 60, 64)
    tables = JpegTables(luma=steps.tolist(), chroma=[3] * 64, subsampling="4:4:4")
    table = steps.reshape(8, 8)
    coefficients = np.round(np.asarray(dctn(gray - 128.0, norm="ortho")) / table) * table
    cosines = np.asarray(dctn(np.eye(8), axes=[0], norm="ortho"))
    expected = np.clip(np.round(cosines.T @ coefficients @ cosines + 128), 0, 255)
    found = compressed(tables, np.stack([gray] * 3))
    np.testing.assert_array_equal(found, np.stack([expected] * 3))


def test_results_are_8_bit_values() -> None:
    found = Jpeg(plain(30))(torch.rand(2, 3, 17, 9, generator=torch.Generator().manual_seed(0)))
    assert found.dtype == torch.float32 and found.min() >= 0 and found.max() <= 1
    assert (found * 255 - (found * 255).round()).abs().max() < 1e-4


def test_the_grid_starts_at_the_top_left() -> None:
    """What is right of and below a whole block does not change it."""
    image = torch.from_numpy(cat(32, 48)).float()[None] / 255
    jpeg = Jpeg(plain(40))
    assert torch.equal(jpeg(image)[..., :16, :24], jpeg(image[..., :16, :24]))
    assert not torch.equal(jpeg(image)[..., 3:, 3:], jpeg(image[..., 3:, 3:]))


def test_the_colour_planes_are_those_of_jfif() -> None:
    """From the weights of red and blue in the brightness (ITU-R BT.601)."""
    red, blue = 0.299, 0.114
    luma = np.array([red, 1 - red - blue, blue])
    cb = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
    cr = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
    np.testing.assert_allclose(TO_YCBCR, np.stack([luma, cb, cr]), atol=1e-8)


@pytest.mark.parametrize("change", [{"luma": [1] * 63}, {"chroma": []}, {"subsampling": "4:1:1"}])
def test_tables_are_checked(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(change))):
        JpegTables.model_validate({**plain().model_dump(), **change})


def test_the_image_given_is_not_changed() -> None:
    image: Tensor = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    before = image.clone()
    Jpeg(plain(30, "4:2:0"))(image)
    assert torch.equal(image, before)


@pytest.mark.parametrize("quality", [1, 10, 30, 49, 50, 51, 77, 95, 100])
def test_tables_of_a_quality_are_those_of_pillow(tmp_path: Path, quality: int) -> None:
    _, expected = filed(tmp_path / "a.jpg", cat(16, 16), quality, "4:2:0")
    assert tables_of_quality(quality, "4:2:0") == expected


@pytest.mark.parametrize("quality", [0, 101])
def test_qualities_that_are_none(quality: int) -> None:
    with pytest.raises(ValueError, match=f"quality must be 1 to 100, got {quality}"):
        tables_of_quality(quality, "4:2:0")


@pytest.mark.parametrize("planes", ["4:4:4", "4:2:2", "4:2:0"])
def test_images_with_tables_of_their_own(planes: Planes) -> None:
    """Bit by bit what each gets alone."""
    tables = [tables_of_quality(quality, planes) for quality in (30, 60, 95)]
    images = torch.stack([torch.from_numpy(cat(33, 40)).float() / 255 / k for k in (1, 2, 1, 3)])
    choice = [2, 0, 1, 0]
    found = Jpeg(tables)(images, torch.tensor(choice))
    for one, index, result in zip(images, choice, found, strict=True):
        assert torch.equal(Jpeg(tables[index])(one[None])[0], result)


def test_half_rows_are_half_columns_turned() -> None:
    """4:4:0 is what 4:2:2 is for the image that lies on its side."""
    image = torch.from_numpy(cat(35, 50)).float()[None] / 255
    steps = torch.arange(64).reshape(8, 8) + 10
    lying = JpegTables(luma=[9] * 64, chroma=steps.flatten().tolist(), subsampling="4:2:2")
    upright = JpegTables(luma=[9] * 64, chroma=steps.T.flatten().tolist(), subsampling="4:4:0")
    found = Jpeg(upright)(image)
    apart = (found - Jpeg(lying)(image.mT).mT).abs() * 255
    assert (apart > 0.5).float().mean() < 0.01  # the transform rounds in another order
    assert ((found - Jpeg(lying)(image)).abs() * 255).mean() > 1


def test_tables_that_do_not_belong_together() -> None:
    for tables in ([], [plain(1, "4:4:4"), plain(1, "4:2:0")]):
        with pytest.raises(ValueError, match="one size of the colour planes"):
            Jpeg(tables)
