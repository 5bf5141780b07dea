"""Inference in tiles against the whole image at once, and against SciPy."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import correlate
from torch import Tensor

from pipeline.base.boxes import Box
from pipeline.evaluate.tiled import (
    Tiling,
    enlarge,
    enlarge_strips,
    enlarge_tiles,
    in_bf16,
    largest_difference,
    on_device,
)
from pipeline.srn.file import open_state
from pipeline.srn.network import build

CPU = torch.device("cpu")
SCALE = 3
KERNEL = np.random.default_rng(1).integers(-3, 4, (2, 5, 5))
"""Two layers of 5x5: an output pixel sees 4 LR pixels to every side."""
SUBPIXEL = np.arange(SCALE**2).reshape(SCALE, SCALE)
FIELD = 4


def picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(2).integers(0, 256, (3, height, width), dtype=np.uint8)


def toy(lr: Tensor) -> Tensor:
    """Two convolutions in whole numbers, modulo 200, then ``SCALE`` times larger.

    Float32 holds the whole numbers exactly, and every fault of one pixel is seen.
    """
    levels = (lr * 255).round()
    for kernel in KERNEL:
        weight = torch.from_numpy(kernel).to(levels)[None, None].expand(3, 1, 5, 5)
        levels = F.conv2d(levels, weight, padding=2, groups=3)
    levels = levels.remainder(200).repeat_interleave(SCALE, -1).repeat_interleave(SCALE, -2)
    pattern = torch.from_numpy(SUBPIXEL).repeat(lr.shape[-2], lr.shape[-1])
    return (levels + pattern) / 255


def oracle(lr: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The toy network on the whole image, in integers."""
    layers = []
    for channel in lr.astype(np.int64):
        for kernel in KERNEL:
            channel = correlate(channel, kernel, mode="constant")
        layers.append(np.kron(channel % 200, np.ones((SCALE, SCALE), int)))
    return np.stack(layers) + np.tile(SUBPIXEL, lr.shape[1:])


SIZES = [(1, 1), (1, 30), (30, 1), (7, 5), (16, 16), (17, 33), (40, 23)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("tile", [7, 16, 64])
def test_tiles_equal_the_whole(height: int, width: int, tile: int) -> None:
    lr = picture(height, width)
    for halo in (FIELD, FIELD + 3):
        sr = enlarge(toy, lr, SCALE, Tiling(tile, halo), CPU)
        assert sr.dtype == np.uint8
        np.testing.assert_array_equal(sr, oracle(lr))


def test_tiles_of_one_pixel() -> None:
    lr = picture(6, 5)
    np.testing.assert_array_equal(enlarge(toy, lr, SCALE, Tiling(1, FIELD), CPU), oracle(lr))


@pytest.mark.parametrize("halo", range(FIELD))
def test_a_smaller_halo_shows(halo: int) -> None:
    lr = picture(40, 23)
    assert (enlarge(toy, lr, SCALE, Tiling(8, halo), CPU) != oracle(lr)).any()
    np.testing.assert_array_equal(enlarge(toy, lr, SCALE, Tiling(40, halo), CPU), oracle(lr))


def test_the_network_sees_no_more_than_a_tile_and_its_halo() -> None:
    seen: list[Tensor] = []

    def watched(lr: Tensor) -> Tensor:
        assert torch.is_inference_mode_enabled()
        seen.append(lr)
        return toy(lr)

    lr = picture(40, 23)
    enlarge(watched, lr, SCALE, Tiling(8, 4), CPU)
    assert len(seen) == 5 * 3
    for image in seen:
        assert image.shape[:2] == (1, 3)
        assert max(image.shape[2:]) <= 8 + 2 * 4
        assert image.dtype == torch.float32 and image.min() >= 0 and image.max() <= 1
    np.testing.assert_array_equal(seen[0][0].numpy(), lr[:, :12, :12] / np.float32(255))


def test_tiles_cover_the_result_once() -> None:
    lr = picture(11, 23)
    covered = np.zeros((33, 69), int)
    for box, pixels in enlarge_tiles(toy, lr, SCALE, Tiling(5, FIELD), CPU):
        assert isinstance(box, Box)
        assert pixels.shape == (3, box.bottom - box.top, box.right - box.left)
        covered[box.slices[1:]] += 1
        np.testing.assert_array_equal(pixels, oracle(lr)[box.slices])
    assert (covered == 1).all()


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 5), (40, 61)])
def test_batches_equal_the_whole(batch: int, height: int, width: int) -> None:
    seen: list[int] = []

    def watched(lr: Tensor) -> Tensor:
        seen.append(len(lr))
        return toy(lr)

    lr = picture(height, width)
    covered = np.zeros((3, height * SCALE, width * SCALE), int)
    for box, pixels in enlarge_tiles(watched, lr, SCALE, Tiling(7, FIELD, batch), CPU):
        covered[box.slices] = pixels
    np.testing.assert_array_equal(covered, oracle(lr))
    assert max(seen) == min(batch, 7 if width == 61 else 1)  # 9 tiles in a row, 7 of one shape


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_strips_are_the_image_from_top_to_bottom(height: int, width: int, batch: int) -> None:
    lr = picture(height, width)
    strips = list(enlarge_strips(toy, lr, SCALE, Tiling(7, FIELD, batch), CPU))
    heights = [7 * SCALE] * (height // 7) + [height % 7 * SCALE] * (height % 7 > 0)
    assert [strip.shape for strip in strips] == [(3, h, width * SCALE) for h in heights]
    np.testing.assert_array_equal(np.concatenate(strips, axis=1), oracle(lr))


def test_a_strip_is_computed_when_it_is_wanted() -> None:
    seen: list[Tensor] = []

    def watched(lr: Tensor) -> Tensor:
        seen.append(lr)
        return toy(lr)

    strips = enlarge_strips(watched, picture(40, 23), SCALE, Tiling(8, 4), CPU)
    next(strips)
    assert len(seen) <= 3 + 1  # of 15; the tile that says the row is over


def test_bf16_rounds_convolutions() -> None:
    convolution = torch.nn.Conv2d(3, 3, 1, bias=False)
    torch.nn.init.dirac_(convolution.weight)
    lr = torch.tensor([0.5, 1 / 3, 0.999])[None, :, None, None]
    with torch.inference_mode():
        found = in_bf16(convolution, CPU)(lr).flatten().float()
    # 8 significant bits: 1/3 = 171 / 512 rounded up, 0.999 becomes 1
    np.testing.assert_array_equal(found.numpy(), [0.5, 171 / 512, 1.0])
    assert largest_difference(convolution, in_bf16(convolution, CPU), lr) == pytest.approx(
        255 * max(171 / 512 - 1 / 3, 0.001), abs=1e-4
    )


def test_the_largest_difference_is_that_of_what_is_written() -> None:
    lr = torch.tensor([[[[-3.0, 0.2, 0.5, 4.0]]]])
    assert largest_difference(lambda x: x, lambda x: x * 1.1, lr) == pytest.approx(0.05 * 255)
    assert np.isnan(largest_difference(lambda x: x, lambda x: x * torch.nan, lr))


def test_a_network_gets_the_layout_of_its_device() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build("Compact", 2, {"num_feat": 8, "num_conv": 1}).eval()
    opened = open_state(network.state_dict(), Path("x"))
    device = on_device(opened)
    layout = torch.channels_last if device.type == "cpu" else torch.contiguous_format
    weights = [p for p in opened.model.parameters() if p.ndim == 4]
    assert weights and all(p.is_contiguous(memory_format=layout) for p in weights)
    lr = torch.from_numpy(picture(9, 12))[None] / 255
    with torch.inference_mode():
        torch.testing.assert_close(opened(lr.to(device)).cpu(), network(lr).clamp(0, 1))


def test_values_outside_are_clamped() -> None:
    def loud(lr: Tensor) -> Tensor:
        return (lr * 4 - 1.5).repeat_interleave(2, -1).repeat_interleave(2, -2)

    lr = picture(6, 9)
    levels = np.clip(lr.astype(float) * 4 - 1.5 * 255, 0, 255)
    expected = levels.repeat(2, axis=1).repeat(2, axis=2)
    sr = enlarge(loud, lr, 2, Tiling(4, 0), CPU)
    assert np.abs(sr - expected).max() <= 0.51
    assert sr.min() == 0 and sr.max() == 255


@pytest.fixture
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        yield


@pytest.mark.usefixtures("seeded")
def test_esrgan_in_tiles() -> None:
    network = build("ESRGAN", 4, {"num_filters": 16, "num_blocks": 1}).eval()
    lr = picture(61, 50)
    with torch.inference_mode():
        raw = network(torch.from_numpy(lr)[None] / 255)
    middle, spread = raw.mean(), raw.std()

    def contrasty(image: Tensor) -> Tensor:
        """Random weights give a flat grey; stretched, it fills the range."""
        stretched: Tensor = 0.5 + (network(image) - middle) / (6 * spread)
        return stretched

    with torch.inference_mode():
        whole = contrasty(torch.from_numpy(lr)[None] / 255)[0].numpy() * 255
    assert whole.std() > 30
    tiled = enlarge(contrasty, lr, 4, Tiling(24, 32), CPU)
    assert np.abs(tiled - np.clip(whole, 0, 255)).max() <= 1
    seams = enlarge(contrasty, lr, 4, Tiling(24, 0), CPU)
    assert np.abs(seams - np.clip(whole, 0, 255)).max() > 1
