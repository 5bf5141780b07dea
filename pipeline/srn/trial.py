"""The trial of a built SR network: it works, and a file of its weights opens as the same network.

A file of weights holds tensors and their names alone.  What spandrel cannot read off them, such as
the ``img_range`` of SwinIR, it takes from its defaults.
"""

import copy
from collections.abc import Mapping

import torch
from spandrel import ImageModelDescriptor, ModelLoader
from torch import Tensor, nn

from pipeline.base.errors import UserError, one_line
from pipeline.base.seeding import generator

SIDE = 64
"""Side in LR pixels of the image on which both networks are compared.  Some options, such as the
``category_size`` of ATD, have no effect on a small one."""
OTHER_SIZE = (19, 26)
"""Height and width in LR pixels of an image unlike any crop."""
CLOSE = 1e-3
"""Largest difference of two networks that count as one, beside the spread of their output.  The
same network on the same machine gives the same bits; convolutions in another order give 1e-6."""


def require_same_from_file(network: nn.Module, chosen: str, scale: int, side: int) -> None:
    """Check that a network works, and that its weights open as the same network.

    Args:
        network: The built network; it is not changed.
        chosen: Its architecture and options, for messages.
        scale: SR pixels per LR pixel.
        side: Side of the crops of the training in LR pixels.

    Raises:
        UserError: It fails on crops of this side or on images of another, its output is no RGB
            image at the scale, spandrel cannot open its weights, or what it opens gives other
            images.  The message names the option that the weights do not hold.

    """
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        # networks may draw, and opening draws random weights
        torch.manual_seed(0)
        perturbed = _perturbed(network)
        sr = _output(perturbed, _image(side, side), chosen)
        _require_enlarged(sr, side, scale, chosen)
        opened = _opened(perturbed, chosen)
        if opened.scale != scale:
            raise UserError(
                f"{chosen} at the scale {scale} would be opened from its file as one of the scale "
                f"{opened.scale}; choose another architecture"
            )
        if (channels := (opened.input_channels, opened.output_channels)) != (3, 3):
            raise UserError(
                f"{chosen} would be opened from its file as a network from {channels[0]} channels "
                f"to {channels[1]}, not from RGB to RGB"
            )
        unit = opened.size_requirements.multiple_of
        large = -(-max(SIDE, opened.size_requirements.minimum) // unit) * unit
        lr = _image(large, large)
        sr = _output(perturbed, lr, chosen)
        again = _output(opened.model.eval(), lr, chosen)
        if not (_close(sr, again) and _close(sr.clamp(0, 1), opened(lr.clone()))):
            raise UserError(_reason(perturbed, opened.model, lr, chosen))
        _require_any_size(opened, chosen)


@torch.no_grad()
def _perturbed(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode with other weights, none of them zero, so that all have an effect.

    The noise of a weight is 0.5 over the root of its number of inputs, that of other parameters
    0.1, so that values neither vanish nor explode from layer to layer.
    """
    network = copy.deepcopy(network).eval()
    source = generator(0, "trial", 1)
    for parameter in network.parameters():
        inputs = parameter.shape[1:].numel() if parameter.ndim > 1 else 25
        noise = torch.randn(parameter.shape, generator=source)
        parameter.add_(0.5 / max(inputs, 1) ** 0.5 * noise)
    return network


def _image(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=generator(0, "trial"))


def _output(network: nn.Module, lr: Tensor, chosen: str) -> Tensor:
    try:
        sr = network(lr.clone())
    except Exception as error:  # the networks raise many types
        size = f"{lr.shape[2]}x{lr.shape[3]}"
        raise UserError(
            f"{chosen} cannot be built: it fails on {size} LR pixels: {one_line(error, 200)}"
        ) from error
    if not isinstance(sr, Tensor) or sr.ndim != 4:
        raise UserError(f"{chosen} cannot be trained: it gives no single image")
    return sr


def _require_enlarged(sr: Tensor, side: int, scale: int, chosen: str) -> None:
    if sr.shape[1] != 3:
        raise UserError(f"{chosen} gives images of {sr.shape[1]} channels, not RGB")
    height, width = sr.shape[2:]
    if (height, width) != (side * scale, side * scale):
        raise UserError(f"{chosen} enlarges by {width / side:g}, not by the scale {scale}")


def _opened(network: nn.Module, chosen: str) -> ImageModelDescriptor[nn.Module]:
    state = {name: value.clone() for name, value in network.state_dict().items()}
    try:
        opened = ModelLoader(device="cpu").load_from_state_dict(state)
    except Exception as error:  # spandrel's loaders raise many types
        raise UserError(
            f"{chosen}: no program could open its file: {one_line(error, 200)}"
        ) from error
    if not isinstance(opened, ImageModelDescriptor):
        raise UserError(f"{chosen} is no network from an image to an image")
    return opened


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    bound = CLOSE * float(one.std())
    return torch.allclose(one, other, rtol=0, atol=bound, equal_nan=True)


def _reason(network: nn.Module, opened: nn.Module, lr: Tensor, chosen: str) -> str:
    """Why the opened network is another one than the built one."""
    built = _options(network)
    if type(network) is not type(opened):
        return f"{chosen} would be opened from its file as another network, {_kind(opened)}"
    for option, value in _options(opened).items():
        if built.get(option) != value and _matters(network, option, value, lr):
            return (
                f"{chosen}: a file of weights does not hold the option '{option}', here "
                f"{built.get(option)!r}, and would be opened with {value!r}; set it to that"
            )
    return (
        f"{chosen}: a file of its weights does not hold all of it, so it opens as another network"
    )


def _matters(network: nn.Module, option: str, value: object, lr: Tensor) -> bool:
    """Whether the network with another value of an option gives other images."""
    try:
        other = type(network)(**{**_options(network), option: value}).eval()
        other.load_state_dict(network.state_dict())
        return not _close(network(lr.clone()), other(lr.clone()))
    except Exception:  # it does not even fit the weights
        return True


def _options(network: nn.Module) -> Mapping[str, object]:
    """The arguments of the constructor, as spandrel keeps them in each of its networks."""
    options: Mapping[str, object] = getattr(network, "hyperparameters", {})
    return options


def _kind(network: nn.Module) -> str:
    return type(network).__name__


def _require_any_size(opened: ImageModelDescriptor[nn.Module], chosen: str) -> None:
    """Check that images of another size than the crops can be enlarged."""
    height, width = OTHER_SIZE
    try:
        sr = opened(_image(height, width))
    except Exception as error:  # the networks raise many types
        raise UserError(
            f"{chosen} cannot enlarge images of any size: it fails on {height}x{width} LR pixels: "
            f"{one_line(error, 200)}"
        ) from error
    if sr.shape[2:] != (height * opened.scale, width * opened.scale):
        raise UserError(f"{chosen} gives an image of the wrong size on {height}x{width} LR pixels")
