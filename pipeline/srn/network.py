"""SR networks: any architecture of spandrel or of an installed package, built by name.

The networks are instances of spandrel's own classes.  So a network that is trained here opens in
every program that reads models through spandrel, such as chaiNNer and ComfyUI.
"""

import inspect
import sys
import warnings
from collections.abc import Mapping

from spandrel import Architecture
from torch import nn

from pipeline.base.errors import UserError, one_line
from pipeline.srn.file import SrModel, keep_input
from pipeline.srn.outside import registered
from pipeline.srn.trial import require_same_from_file

SCALE_NAMES = ("scale", "upscale", "up_scale", "upscale_factor", "upscaling_factor")
"""Names of the scale in the constructors of spandrel's networks."""


def architectures() -> list[str]:
    """Names of the architectures that spandrel opens, such as ESRGAN, Compact or SwinIR.

    Those that installed packages registered are among them; see ``outside``.
    """
    return sorted(registered())


def build(name: str, scale: int, options: Mapping[str, object], side: int = 64) -> nn.Module:
    """Build an SR network with fresh weights from the global torch generator.

    A file of weights holds no options; spandrel reads them off the names and shapes of the tensors,
    and takes the default of what it cannot see.  So the network is compared, with perturbed
    weights, with the one that spandrel opens from these weights.

    Args:
        name: An architecture of spandrel or of an installed package, in any case.
        scale: Handed to the network under the name its constructor uses.
        options: Further keyword arguments of the constructor.
        side: Side of the crops of the training in LR pixels.

    Returns:
        A network from (N, 3, H, W) in [0, 1] to (N, 3, scale H, scale W), which leaves its input as
        it is.

    Raises:
        UserError: There is no such architecture, its constructor refuses the options or the scale,
            it fails on crops of this side or on images of another, or the network that is opened
            from its weights is another one.

    """
    known = {known.lower(): known for known in architectures()}
    if name.lower() not in known:
        raise UserError(
            f"architecture '{name}' is unknown; spandrel has {', '.join(known.values())}"
        )
    constructor = _network_class(known[name.lower()])
    parameters = inspect.signature(constructor).parameters
    arguments = dict(options)
    for scale_name in SCALE_NAMES:
        if scale_name in parameters:
            arguments.setdefault(scale_name, scale)
            break
    unknown = [option for option in arguments if option not in parameters]
    if unknown:
        raise UserError(
            f"architecture '{name}' has no option '{unknown[0]}'; it has {', '.join(parameters)}"
        )
    chosen = _in_words(name, options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the code of the architectures
        try:
            network = keep_input(constructor(**arguments))
        except Exception as error:  # the constructors raise many types
            raise UserError(f"{chosen} cannot be built: {one_line(error, 200)}") from error
        require_same_from_file(network, chosen, scale, side)
    return network.train()


def options_of(model: SrModel) -> dict[str, object]:
    """The options with which ``build`` makes the network of a file, as far as they are no defaults.

    The scale is none of them.
    """
    parameters = inspect.signature(type(model.model)).parameters
    given: Mapping[str, object] = getattr(model.model, "hyperparameters", {})
    return {
        name: value
        for name, value in given.items()
        if name not in SCALE_NAMES and name in parameters and parameters[name].default != value
    }


def _in_words(name: str, options: Mapping[str, object]) -> str:
    given = ", ".join(f"{option}: {value}" for option, value in options.items())
    return f"architecture '{name}' with {given}" if given else f"architecture '{name}'"


def _network_class(name: str) -> type[nn.Module]:
    """The network among what the module of the architecture exports, as spandrel's modules do."""
    module = sys.modules[type(registered()[name]).__module__]
    for exported in getattr(module, "__all__", ()):
        candidate = getattr(module, exported)
        if (
            inspect.isclass(candidate)
            and issubclass(candidate, nn.Module)
            and not issubclass(candidate, Architecture)
        ):
            return candidate
    raise UserError(
        f"architecture '{name}' cannot be trained: its module {module.__name__} names no network "
        "in __all__"
    )
