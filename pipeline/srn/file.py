"""Files of SR models, of this project or of any kind that spandrel reads; no code in them runs."""

import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from spandrel import ImageModelDescriptor, ModelLoader, canonicalize_state_dict
from torch import Tensor, nn

from pipeline.base.errors import UserError, one_line
from pipeline.srn.outside import registered
from pipeline.stores.weights import require_finite, require_whole

SRN_FORMAT = "usrdu-srn"
"""Mark of an SRN weights file."""

SrModel: TypeAlias = ImageModelDescriptor[nn.Module]
"""An SR network as spandrel opened it, with its scale and the sizes it accepts."""


def open_model(path: Path) -> SrModel:
    """Open a model file of any kind spandrel knows, in evaluation mode on the CPU.

    Files are read without running code from them.  The network works on a copy of its input, and
    raises ``UserError`` if its output is not finite.

    Raises:
        UserError: The file is missing or damaged, its weights are not finite, or it is no SR model
            from three channels to three.

    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such model file")
    require_whole(path)
    try:
        state = ModelLoader(device="cpu").load_state_dict_from_file(path)
    except Exception as error:  # spandrel's loaders raise many types
        raise _not_a_model(path, error) from error
    return open_state(state, path)


def open_state(state: Mapping[str, Tensor], path: Path) -> SrModel:
    """Like ``open_model``, from tensors that were read from ``path``."""
    registered()  # networks of installed packages are opened too
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the code of the architectures
            model = ModelLoader(device="cpu").load_from_state_dict(dict(state))
    except Exception as error:  # spandrel's loaders raise many types
        raise _not_a_model(path, error) from error
    require_finite(path, state, indices=True)
    return _checked(path, model)


def unwrapped(content: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors of a model file without the wrappers and prefixes that programs put around them.

    Examples are ``params_ema``, ``params``, ``state_dict``, and ``module.`` before every name.
    """
    return dict(canonicalize_state_dict(_named(content)))


def keep_input(network: nn.Module) -> nn.Module:
    """Give a network a copy of its input from now on: RCAN, for one, multiplies it in place.

    Returns:
        The same network; the keys of its state stay.

    """
    network.register_forward_pre_hook(_copied)
    return network


def _copied(network: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    del network
    return tuple(value.clone() if isinstance(value, Tensor) else value for value in inputs)


def _require_finite_output(path: Path, network: nn.Module, inputs: object, output: object) -> None:
    del network, inputs
    if torch.compiler.is_exporting() or not isinstance(output, Tensor):
        return
    if not bool(output.isfinite().all()):
        raise UserError(f"{path}: its network gives values that are not finite")


def _named(content: Mapping[Any, Any]) -> dict[str, Any]:
    """The same content with a string for every key, as spandrel expects; optimisers use numbers."""
    return {
        str(key): _named(value) if isinstance(value, Mapping) else value
        for key, value in content.items()
    }


def _not_a_model(path: Path, error: Exception) -> UserError:
    reason = one_line(error, 200)
    return UserError(f"{path}: is not a model that spandrel can open: {reason}")


def _checked(path: Path, model: object) -> SrModel:
    if (
        not isinstance(model, ImageModelDescriptor)
        or model.input_channels != 3
        or model.output_channels != 3
    ):
        raise UserError(f"{path}: is not a super-resolution model for RGB images")
    keep_input(model.model)
    model.model.register_forward_hook(partial(_require_finite_output, path))
    return model.eval()
