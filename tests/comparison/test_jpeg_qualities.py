"""Qualities of JPEG files, read off their pixels."""

import io
from collections.abc import Sequence
from functools import reduce
from operator import add

import numpy as np
import pytest
import torch
from drawn_scenes import Camera, camera_set, photograph, scene
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from scipy.fft import dctn, idctn

from pipeline.comparison.compression import (
    at_like_compression,
    equivalent_quality,
    qualities,
    quantisation_power,
)
from pipeline.comparison.compression import (
    common_steps as steps_of,
)
from pipeline.noise.statistics import Allowance, LrStatistics, lr_statistics
from pipeline.sampling.jpeg import cosines, tables_of_quality

WALLS = [scene("walls", seed) for seed in range(4)]


def statistics(images: Sequence[NDArray[np.uint8]]) -> LrStatistics:
    allowance, generator = Allowance.of(len(images)), torch.Generator()
    return reduce(add, [lr_statistics(image, allowance, generator) for image in images])


def test_the_qualities_of_mixed_files_are_found() -> None:
    """No two files have one table; one is not compressed."""
    cameras = [Camera(quality=quality) for quality in (95, 85, 60)] + [Camera()]
    assert list(qualities(camera_set(cameras, WALLS, 0))) == [95, 85, 60, 100]


def test_a_table_that_no_quality_has_is_found() -> None:
    """Steps that all files share are seen; their quality is that of steps of like size."""
    table = [5] * 64
    images = []
    for seed, sharp in enumerate(WALLS):
        file = io.BytesIO()
        pixels = photograph(Camera(), sharp, seed).transpose(1, 2, 0)
        Image.fromarray(pixels).save(file, "JPEG", qtables=[table, table], subsampling=0)
        opened = Image.open(file)
        assert isinstance(opened, JpegImageFile) and list(opened.quantization[0]) == table
        images.append(np.ascontiguousarray(np.asarray(opened).transpose(2, 0, 1)))
    expected = equivalent_quality(np.full(49, 5.0))
    found = qualities(statistics(images))
    assert len(found) == 4 and found == pytest.approx(expected, abs=1)
    assert equivalent_quality(
        np.array(tables_of_quality(80, "4:4:4").luma).reshape(8, 8)[1:, 1:].ravel()
    ) == pytest.approx(80, abs=1)


def test_images_without_detail_have_no_quality() -> None:
    flat = [np.full((3, 64, 64), 90, np.uint8)] * 2
    assert len(qualities(statistics(flat))) == 0


def test_sets_of_one_quality_are_compared_as_they_are() -> None:
    first, other = (camera_set([Camera(quality=90)], WALLS[:2], seed) for seed in (0, 1))
    found = (qualities(first), qualities(other))
    assert at_like_compression(first, other, found) == (first, other)


def test_the_set_of_better_quality_is_compressed_again() -> None:
    """In luma, against SciPy; in flat blocks, whose planes are noise."""
    fine, coarse = (camera_set([Camera(quality=q)], WALLS[:2], 0) for q in (None, 75))
    found = (qualities(fine), qualities(coarse))
    first, other = at_like_compression(fine, coarse, found)
    table = np.array(tables_of_quality(75, "4:4:4").luma).reshape(8, 8)
    weights = np.array([0.299, 0.587, 0.114])
    luma = np.tensordot(weights, fine.blocks.residual[5].astype(np.float64), 1)
    again = np.rint(idctn(np.rint(dctn(luma, norm="ortho") / table) * table, norm="ortho"))
    y, x = np.indices((8, 8)).reshape(2, -1)
    planes = np.stack([np.ones(64), y, x], axis=1)
    plane = planes @ np.linalg.lstsq(planes, again.ravel(), rcond=None)[0]
    for channel in first.blocks.residual[5]:
        np.testing.assert_allclose(channel.ravel(), again.ravel() - plane, atol=1e-3)
    expected = np.tensordot(weights, coarse.blocks.residual[5].astype(np.float64), 1)
    np.testing.assert_allclose(other.blocks.residual[5][1], expected, atol=1e-3)
    assert first.noise is fine.noise and other.noise is coarse.noise


def test_the_power_of_quantisation_is_that_of_rounding_to_steps() -> None:
    """Waves of noise far above the steps: the error of compression has the power, ring by ring."""
    assert not quantisation_power(np.array([])).any()
    assert not quantisation_power(np.array([100.0, 90, 100])).any()
    found = quantisation_power(np.array([50.0, 50]))
    table = np.array(tables_of_quality(50, "4:4:4").luma, dtype=float).reshape(8, 8)
    assert found[0] == pytest.approx((table[0, 1] ** 2 + table[1, 0] ** 2 + table[1, 1] ** 2) / 36)
    assert (np.diff(found[:6]) > 0).all()


def test_coefficients_are_those_of_the_whole_block() -> None:
    """Frequencies along both axes do not see the plane that a block is less of."""
    block = np.random.default_rng(4).normal(0, 9, (8, 8))
    basis = cosines()[1:].numpy()
    y, x = np.indices((8, 8))
    expected = dctn(block, norm="ortho")[1:, 1:]
    assert basis @ (block - 3 - 0.7 * y + 2 * x) @ basis.T == pytest.approx(expected)


def test_steps_are_those_of_the_table() -> None:
    """Every step is read off the images of a JPEG file, as its table says."""
    random = np.random.default_rng(3)
    image = np.clip(128 + random.normal(0, 25, (512, 512, 3)), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=85, subsampling=0)
    opened = Image.open(file)
    assert isinstance(opened, JpegImageFile)
    table = np.array(opened.quantization[0]).reshape(8, 8)[1:, 1:].ravel()
    found = steps_of(statistics([np.asarray(opened).transpose(2, 0, 1)]))
    told = ~np.isnan(found)
    assert told.mean() > 0.7 and np.array_equal(found[told], table[told])
    plain = steps_of(statistics([image.transpose(2, 0, 1)]))
    assert np.array_equal(plain, np.ones(49))
