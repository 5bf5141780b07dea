"""The U-Net discriminator: one logit per pixel at any size, spectral norm one; and ESRGAN's."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.training.discriminators import UNetDiscriminator, VGGDiscriminator

FEATURES = 4
WIDTHS = {
    "first": (3, 4, 3, 1),
    "down.0": (4, 8, 4, 2),
    "down.1": (8, 16, 4, 2),
    "down.2": (16, 32, 4, 2),
    "up.0": (32, 16, 3, 1),
    "up.1": (16, 8, 3, 1),
    "up.2": (8, 4, 3, 1),
    "last.0": (4, 4, 3, 1),
    "last.1": (4, 4, 3, 1),
    "logit": (4, 1, 3, 1),
}
"""Inputs, outputs, side of the kernel and stride of every convolution."""


def network() -> UNetDiscriminator:
    torch.manual_seed(0)
    return UNetDiscriminator(FEATURES)


def normalised(discriminator: nn.Module) -> dict[str, nn.Conv2d]:
    return {
        name: module
        for name, module in discriminator.named_modules()
        if isinstance(module, nn.Conv2d) and hasattr(module, "parametrizations")
    }


def raw_weight(module: nn.Conv2d) -> torch.Tensor:
    """Return the trained parameter behind a normalised weight."""
    return dict(module.named_parameters())["parametrizations.weight.original"]


def spectral_norm(weight: torch.Tensor) -> float:
    """Largest singular value of a convolution's weight as a matrix (outputs, rest)."""
    return float(torch.linalg.matrix_norm(weight.detach().double().flatten(1), ord=2))


def test_one_logit_per_pixel_at_every_size() -> None:
    discriminator = network().eval()
    with torch.no_grad():
        for size in range(8, 66):
            assert discriminator(torch.rand(1, 3, size, 73 - size)).shape == (1, 1, size, 73 - size)
        assert discriminator(torch.rand(3, 3, 65, 65)).shape == (3, 1, 65, 65)


def test_widths() -> None:
    found = {
        name: (module.in_channels, module.out_channels, module.kernel_size[0], module.stride[0])
        for name, module in network().named_modules()
        if isinstance(module, nn.Conv2d)
    }
    assert found == WIDTHS


def test_spectral_norm_is_one_after_training_steps() -> None:
    discriminator = network().train()
    convolutions = normalised(discriminator)
    assert len(convolutions) == 8
    assert not {"first", "logit"} & set(convolutions)
    with torch.no_grad():
        for number, module in enumerate(convolutions.values()):
            raw_weight(module).mul_(3.0 + number)
        for _ in range(60):
            discriminator(torch.rand(1, 3, 8, 8))
    discriminator.eval()
    for name, module in convolutions.items():
        assert spectral_norm(raw_weight(module)) > 1.5, name
        assert spectral_norm(module.weight) == pytest.approx(1, abs=0.01), name


def test_gradients_flow_to_all_parameters_and_to_the_image() -> None:
    discriminator, image = network(), torch.rand(2, 3, 17, 24, requires_grad=True)
    parameters = dict(discriminator.named_parameters())
    assert len(parameters) == 2 + 8 + 2  # weight and bias of two convolutions, eight weights
    loss = discriminator(image).square().sum()
    slopes = torch.autograd.grad(loss, (image, *parameters.values()))
    for name, slope in zip(("image", *parameters), slopes, strict=True):
        assert torch.isfinite(slope).all(), name
        assert slope.abs().max() > 0, name


def test_evaluation_does_not_change_it() -> None:
    discriminator, image = network().eval(), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(discriminator(image), discriminator(image))
    state = discriminator.state_dict()
    again = UNetDiscriminator(FEATURES).eval()
    again.load_state_dict(state)
    with torch.no_grad():
        assert torch.equal(again(image), discriminator(image))


Floats = NDArray[np.float64]


def convolve(x: Floats, kernel: Floats, stride: int, bias: Floats | float = 0.0) -> Floats:
    """Convolution of (C, H, W) with one pixel of zeros around."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[2:], axis=(1, 2))
    full = np.einsum("chwyx,ocyx->ohw", windows[:, ::stride, ::stride], kernel)
    return np.asarray(full + np.reshape(bias, (-1, 1, 1)))


def bilinear(length: int, out_length: int) -> Floats:
    """Linear interpolation between pixel centres as a matrix; beyond the outer ones constant."""
    centre = (np.arange(out_length) + 0.5) * length / out_length - 0.5
    distance = np.abs(np.clip(centre, 0, length - 1)[:, None] - np.arange(length))
    return np.asarray(np.maximum(0, 1 - distance))


def leaky(x: Floats) -> Floats:
    return np.asarray(np.where(x > 0, x, 0.2 * x))


def test_forward_is_that_of_numpy() -> None:
    discriminator, (height, width) = network().double().eval(), (19, 24)
    image = torch.rand(1, 3, height, width, dtype=torch.float64)
    with torch.no_grad():
        found = discriminator(image)[0].numpy()
        modules = dict(discriminator.named_modules())
        kernel = {name: modules[name].weight.numpy() for name in WIDTHS}
    bias = {name: modules[name].bias.detach().numpy() for name in ("first", "logit")}
    levels = [leaky(convolve(image[0].numpy(), kernel["first"], 1, bias["first"]))]
    for i in range(3):
        levels.append(leaky(convolve(levels[-1], kernel[f"down.{i}"], 2)))
    x = levels[3]
    for i, level in enumerate((levels[2], levels[1], levels[0])):
        rows, columns = (bilinear(x.shape[k], level.shape[k]) for k in (1, 2))
        x = leaky(convolve(rows @ x @ columns.T, kernel[f"up.{i}"], 1)) + level
    for i in range(2):
        x = leaky(convolve(x, kernel[f"last.{i}"], 1))
    expected = convolve(x, kernel["logit"], 1, bias["logit"])
    assert expected.shape == (1, height, width) and np.ptp(expected) > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_gradcheck() -> None:
    discriminator = network().double().eval().requires_grad_(False)
    image = torch.rand(1, 3, 9, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(discriminator, (image,), atol=1e-8, rtol=1e-4)


# --- ESRGAN's discriminator


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("side", "left"), [(128, 4), (127, 7), (64, 4), (63, 7), (8, 4)])
def test_vgg_has_esrgans_layers(side: int, left: int) -> None:
    """Counted from the description: widths 64 to 512, 3x3 and strided 4x4, batch norm, 100, 1."""
    halvings = {4: 5, 7: 4}[left] - {128: 0, 127: 0, 64: 1, 63: 1, 8: 4}[side]
    widths = [64, 128, 256, 512, 512][:halvings]
    count, before = 64 * 3 * 9 + 64, 64
    for number, width in enumerate(widths):
        if number:
            count += before * width * 9 + 2 * width
        count += width * width * 16 + 2 * width
        before = width
    count += before * left * left * 100 + 100 + 101
    assert parameters(VGGDiscriminator(64, side)) == count
    if side == 128:
        assert count == 14_499_401  # as ESRGAN's authors' network for 128 pixels


def test_vgg_gives_one_logit_per_image_and_sees_all_of_it() -> None:
    torch.manual_seed(0)
    discriminator = VGGDiscriminator(2, 33)
    image = torch.rand(3, 3, 33, 33, requires_grad=True)
    logits = discriminator(image)
    assert logits.shape == (3, 1)
    logits.sum().backward()
    assert image.grad is not None
    assert (image.grad.abs().sum((0, 1))[:32, :32] > 0).all()
    for name, parameter in discriminator.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_vgg_refuses_images_too_small_to_halve() -> None:
    with pytest.raises(ValueError, match="at least 8x8 pixels, got 7x7"):
        VGGDiscriminator(2, 7)
