"""SR networks: any architecture of spandrel, built by name.

The networks are instances of spandrel's own classes.  So a network that is trained here opens in
every program that reads models through spandrel, such as chaiNNer and ComfyUI.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Mapping

import spandrel.architectures
import torch
from spandrel import Architecture, ModelLoader
from torch import nn

from pipeline.base.errors import UserError

SCALE_NAMES = ("scale", "upscale", "up_scale", "upscale_factor", "upscaling_factor")
"""Names of the scale in the constructors of spandrel's networks."""


def architectures() -> list[str]:
    """Names of the architectures that spandrel ships, such as ESRGAN, Compact or SwinIR."""
    modules = pkgutil.iter_modules(spandrel.architectures.__path__)
    return sorted(module.name for module in modules if not module.name.startswith("_"))


def build(name: str, scale: int, options: Mapping[str, object]) -> nn.Module:
    """Build an SR network with fresh weights from the global torch generator.

    Args:
        name: An architecture of spandrel, in any case.
        scale: Handed to the network under the name its constructor uses.
        options: Further keyword arguments of the constructor.

    Returns:
        A network from (N, 3, H, W) in [0, 1] to (N, 3, scale H, scale W).

    Raises:
        UserError: There is no such architecture, its constructor refuses the options or the scale,
            or spandrel would open its files at another scale.

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
    try:
        network = constructor(**arguments)
        with torch.no_grad():
            side = network.eval()(torch.zeros(1, 3, 64, 64)).shape[-1]
    except Exception as error:  # the constructors raise many types
        raise UserError(f"architecture '{name}' cannot be built: {error}") from error
    if side != 64 * scale:
        raise UserError(
            f"architecture '{name}' enlarges by {side / 64:g}, not by the scale {scale}"
        )
    _require_readable(network, name, scale)
    return network.train()


def _require_readable(network: nn.Module, name: str, scale: int) -> None:
    """Check that spandrel opens the weights at this scale; for ESRGAN at scale 3 it does not."""
    state = dict(network.state_dict())
    try:
        with torch.random.fork_rng(devices=[]):  # opening draws random weights
            found = ModelLoader(device="cpu").load_from_state_dict(state).scale
    except Exception as error:  # spandrel's loaders raise many types
        raise UserError(
            f"architecture '{name}': no program could open its file: {error}"
        ) from error
    if found != scale:
        raise UserError(
            f"architecture '{name}' at the scale {scale} would be opened from its file as one of "
            f"the scale {found}; choose another architecture"
        )


def _network_class(name: str) -> type[nn.Module]:
    module = importlib.import_module(f"spandrel.architectures.{name}")
    for exported in module.__all__:
        candidate = getattr(module, exported)
        if (
            inspect.isclass(candidate)
            and issubclass(candidate, nn.Module)
            and not issubclass(candidate, Architecture)
        ):
            return candidate
    raise UserError(f"architecture '{name}' of spandrel holds no network")
