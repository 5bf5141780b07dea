"""The DSN: its shape, and its numbers against a convolution written out in NumPy."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.dsn.network import DSN, MIN_LOG_THETA_GRAY, ResidualBlock, theta_from_log
from pipeline.training.vgg import VGG19Features

Floats = NDArray[np.float64]
Weights = dict[str, Floats]


def network(scale: int, features: int = 2, blocks: int = 1, gain: float = 1.2) -> DSN:
    """A DSN whose layers keep the size of a signal, biases included, in float64."""
    generator = torch.Generator().manual_seed(scale)
    dsn = DSN(scale, features, blocks).double()
    with torch.no_grad():
        for name, parameter in dsn.named_parameters():
            if name.startswith("log_sigma_head"):
                continue
            if parameter.ndim == 4:
                spread = gain / math.sqrt(parameter[0].numel())
                parameter.normal_(0, spread, generator=generator)
            else:
                parameter.uniform_(0.1, 0.4, generator=generator)
    return dsn


def picture(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).random(shape))


# ---------------------------------------------------------------- smoke, shape, exceptions


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shapes(scale: int) -> None:
    dsn = DSN(scale, features=4, blocks=1)
    mean, log_theta_gray, log_sigma = dsn(torch.rand(2, 3, 3 * scale, 5 * scale))
    assert mean.shape == log_theta_gray.shape == (2, 3, 3, 5)
    assert log_sigma is None
    with_sigma = dsn(torch.rand(1, 3, 16 * scale, 32 * scale), with_sigma=True)
    assert with_sigma.mean.shape == with_sigma.log_theta_gray.shape == (1, 3, 16, 32)
    assert with_sigma.log_sigma.shape == (1, 512, 1, 2)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_log_sigma_has_the_size_of_conv5_4_of_the_lr_image(scale: int) -> None:
    height, width = 16 * scale, 32 * scale
    log_sigma = DSN(scale, features=2, blocks=0)(torch.rand(1, 3, height, width), True).log_sigma
    features = VGG19Features("random")(torch.rand(1, 3, height // scale, width // scale))
    assert log_sigma.shape == features.shape


@pytest.mark.parametrize("scale", [0, 1, 5, 8])
def test_refuses_a_scale(scale: int) -> None:
    with pytest.raises(ValueError, match=f"scale must be 2, 3 or 4, got {scale}"):
        DSN(scale, features=2, blocks=1)


@pytest.mark.parametrize(
    ("shape", "with_sigma", "multiple"),
    [
        ((3, 8, 8), False, 4),
        ((1, 1, 8, 8), False, 4),
        ((1, 3, 10, 8), False, 4),
        ((1, 3, 8, 10), False, 4),
        ((1, 3, 32, 64), True, 64),
        ((1, 3, 64, 72), True, 64),
    ],
)
def test_refuses_a_shape(shape: tuple[int, ...], with_sigma: bool, multiple: int) -> None:
    dsn = DSN(4, features=2, blocks=1)
    with pytest.raises(ValueError, match=f"multiples of {multiple}, got") as raised:
        dsn(torch.zeros(shape), with_sigma)
    assert str(shape) in str(raised.value)


# ---------------------------------------------------------------- the layers


def layers(module: nn.Sequential) -> list[object]:
    """Convolutions as (inputs, outputs), everything else as its type."""
    found: list[object] = []
    for layer in module:
        if isinstance(layer, nn.Conv2d):
            padding = 0 if layer.stride == (3, 3) else 1
            assert layer.kernel_size == (3, 3) and layer.padding == (padding, padding)
            found.append((layer.in_channels, layer.out_channels, layer.stride[0]))
        else:
            found.append(type(layer))
    return found


def test_layers_of_the_published_network() -> None:
    dsn = DSN()
    assert layers(dsn.head) == [(3, 64, 1), nn.PReLU]
    assert len(dsn.blocks) == 8
    assert all(isinstance(block, ResidualBlock) for block in dsn.blocks)
    assert layers(dsn.down) == [(64, 64, 2), nn.PReLU] * 2
    assert layers(nn.Sequential(dsn.mean_head)) == [(64, 3, 1)]
    convolutions = [(64, 64, 1), (64, 64, 1), (64, 3, 1)]
    assert layers(dsn.log_theta_head) == [x for conv in convolutions for x in (conv, nn.ELU)]
    widths = [(64, 64, 1), (64, 128, 1), (128, 256, 1), (256, 512, 1)]
    pooled = [x for conv in widths for x in (conv, nn.ReLU, nn.MaxPool2d)]
    assert layers(dsn.log_sigma_head) == [*pooled, *[(512, 512, 1), nn.ELU] * 3]


@pytest.mark.parametrize("scale", [2, 3])
def test_one_strided_convolution_at_the_other_scales(scale: int) -> None:
    assert layers(DSN(scale, features=4, blocks=1).down) == [(4, 4, scale), nn.PReLU]


def test_parameter_count_by_hand() -> None:
    """Scale 2, 2 features, 1 block; a convolution has 9 * inputs * outputs + outputs numbers."""
    head = (9 * 3 * 2 + 2) + 1
    block = 2 * (9 * 2 * 2 + 2) + 1
    down = (9 * 2 * 2 + 2) + 1
    mean = 9 * 2 * 3 + 3
    theta = 2 * (9 * 2 * 2 + 2) + (9 * 2 * 3 + 3)
    sigma = 1_216 + 73_856 + 295_168 + 1_180_160 + 3 * 2_359_808
    count = sum(parameter.numel() for parameter in DSN(2, features=2, blocks=1).parameters())
    assert count == head + block + down + mean + theta + sigma == 8_630_187


# ---------------------------------------------------------------- numbers


def convolve(x: Floats, weights: Weights, name: str, stride: int = 1) -> Floats:
    """3x3 convolution of (C, H, W) with one pixel of zeros around."""
    kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    height, width = x.shape[1:]
    full = sum(
        np.einsum("oi,ihw->ohw", kernel[:, :, dy, dx], padded[:, dy : dy + height, dx : dx + width])
        for dy in range(3)
        for dx in range(3)
    )
    first = 1 if stride == 3 else 0  # the centre of three pixels, the first of two
    return np.asarray(full + bias[:, None, None])[:, first::stride, first::stride]


def prelu(x: Floats, weights: Weights, name: str) -> Floats:
    return np.asarray(np.where(x > 0, x, weights[f"{name}.weight"] * x))


def elu(x: Floats) -> Floats:
    return np.asarray(np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1))


def pool(x: Floats) -> Floats:
    channels, height, width = x.shape
    return np.asarray(x.reshape(channels, height // 2, 2, width // 2, 2).max(axis=(2, 4)))


def numpy_dsn(image: Floats, w: Weights, blocks: int, strides: list[int]) -> tuple[Floats, ...]:
    x = prelu(convolve(image, w, "head.0"), w, "head.1")
    for i in range(blocks):
        inner = prelu(convolve(x, w, f"blocks.{i}.conv1"), w, f"blocks.{i}.prelu")
        x = x + convolve(inner, w, f"blocks.{i}.conv2")
    for i, stride in enumerate(strides):
        x = prelu(convolve(x, w, f"down.{2 * i}", stride), w, f"down.{2 * i + 1}")
    mean = convolve(x, w, "mean_head")
    theta = sigma = x
    for i in (0, 2, 4):
        theta = elu(convolve(theta, w, f"log_theta_head.{i}"))
    for i in (0, 3, 6, 9):
        sigma = pool(np.maximum(convolve(sigma, w, f"log_sigma_head.{i}"), 0))
    for i in (12, 14, 16):
        sigma = elu(convolve(sigma, w, f"log_sigma_head.{i}"))
    return mean, theta, sigma


@pytest.mark.parametrize(("scale", "strides"), [(2, [2]), (3, [3]), (4, [2, 2])])
def test_forward_is_that_of_numpy(scale: int, strides: list[int]) -> None:
    dsn = network(scale, blocks=2)
    weights = {name: value.numpy() for name, value in dsn.state_dict().items()}
    image = picture(3, 16 * scale, 32 * scale)
    expected = numpy_dsn(image.numpy(), weights, blocks=2, strides=strides)
    with torch.no_grad():
        found = dsn(image[None], with_sigma=True)
    for name, tensor, array in zip(found._fields, found, expected, strict=True):
        assert np.ptp(array) > 1e-3, name
        np.testing.assert_allclose(tensor[0].numpy(), array, rtol=1e-9, atol=1e-11, err_msg=name)


def test_log_theta_stays_above_its_bound() -> None:
    for gain in (1.0, 30.0):
        dsn = network(4, features=4, gain=gain).float()
        with torch.no_grad():
            log_theta_gray = dsn(picture(2, 3, 32, 32).float()).log_theta_gray
        assert log_theta_gray.min() >= MIN_LOG_THETA_GRAY == -1
        assert theta_from_log(log_theta_gray).min().item() >= 0.3678 / 255
    # the bound is reached by the large weights, so it is the ELU that holds it
    assert log_theta_gray.min() < -0.999
    assert log_theta_gray.max() > 1


def test_theta_from_log() -> None:
    log_theta_gray = torch.tensor([-1.0, 0.0, math.log(10)], dtype=torch.float64)
    expected = torch.tensor([math.exp(-1) / 255, 1 / 255, 10 / 255], dtype=torch.float64)
    torch.testing.assert_close(theta_from_log(log_theta_gray), expected)


# ---------------------------------------------------------------- receptive field


def reach(scale: int, output: int, axis: int) -> tuple[int, int]:
    """HR pixels before and after an LR pixel's first HR pixel on which the output depends.

    ``output`` is the place in Degradation; the support of the gradient in float64 is exact, as no
    slope of PReLU or ELU is zero.
    """
    dsn, centre, pixels = network(scale, blocks=8), 24, 48 * scale
    shape = (1, 3, pixels, 2 * scale) if axis == 2 else (1, 3, 2 * scale, pixels)
    image = picture(*shape).requires_grad_()
    result = dsn(image)[output].select(axis, centre).sum()
    (slope,) = torch.autograd.grad(result, image)
    depends = (slope != 0).any(dim=1).any(dim=5 - axis - 1)[0].nonzero().flatten()
    return centre * scale - int(depends[0]), int(depends[-1]) - centre * scale


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize(
    ("scale", "output", "expected"), [(4, 0, 24), (4, 1, 32), (2, 0, 20), (2, 1, 24)]
)
def test_receptive_field(scale: int, output: int, expected: int, axis: int) -> None:
    """FACTS: 17 HR pixels + 1 + 2 for the strides, + 4 per convolution of a head (scale 4)."""
    assert reach(scale, output, axis) == (expected, expected)
    assert DSN(scale, 1, 8).halo == reach(scale, 1, axis)[0]


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize(("output", "expected"), [(0, (20, 22)), (1, (26, 28))])
def test_receptive_field_at_scale_3(output: int, expected: tuple[int, int], axis: int) -> None:
    """The LR pixel's three HR pixels, 17 more to either side, and 3 per convolution of a head.

    So its middle is the second of the three, as in bicubic downsampling.
    """
    before, after = reach(3, output, axis)
    assert (before, after) == expected
    assert after - before == 3 - 1  # as far from the first of the three as from the last
    assert DSN(3, 1, 8).halo == 30  # 28, rounded up to the scale


def test_pixels_beyond_the_halo_do_not_matter() -> None:
    dsn, centre = network(4, blocks=8), 24
    image = picture(1, 3, 192, 8)
    with torch.no_grad():
        before = dsn(image)
        for distance, matters in ((33, False), (32, True), (17, True)):
            for row in (centre * 4 - distance, centre * 4 + distance):
                changed = image.clone()
                changed[:, :, row] += 10
                after = dsn(changed)
                same = torch.equal(
                    after.log_theta_gray[:, :, centre], before.log_theta_gray[:, :, centre]
                )
                assert same is not matters


@pytest.mark.parametrize(
    ("scale", "blocks", "halo"),
    [(4, 8, 32), (2, 8, 24), (4, 9, 36), (4, 1, 20), (2, 1, 10), (3, 8, 30), (3, 1, 15)],
)
def test_the_halo_grows_with_the_blocks(scale: int, blocks: int, halo: int) -> None:
    """By hand: 1 + 2 blocks, + 1 (+ 2 at scale 4), + 3 scale; rounded up to the scale."""
    assert DSN(scale, 1, blocks).halo == halo
