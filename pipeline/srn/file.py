"""Files of SR models, of this project or of any kind that spandrel reads; no code in them runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from spandrel import ImageModelDescriptor, ModelLoader, canonicalize_state_dict
from torch import Tensor, nn

from pipeline.base.errors import UserError, one_line
from pipeline.stores.weights import require_whole

SRN_FORMAT = "usrdu-srn"
"""Mark of an SRN weights file."""

SrModel: TypeAlias = ImageModelDescriptor[nn.Module]
"""An SR network as spandrel opened it, with its scale and the sizes it accepts."""


def open_model(path: Path) -> SrModel:
    """Open a model file of any kind spandrel knows, in evaluation mode on the CPU.

    Files are read without running code from them.

    Raises:
        UserError: The file is missing, damaged, or no SR model for three channels.

    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such model file")
    require_whole(path)
    try:
        model = ModelLoader(device="cpu").load_from_file(path)
    except Exception as error:  # spandrel's loaders raise many types
        raise _not_a_model(path, error) from error
    return _checked(path, model)


def open_state(state: Mapping[str, Tensor], path: Path) -> SrModel:
    """Like ``open_model``, from tensors that were read from ``path``."""
    try:
        model = ModelLoader(device="cpu").load_from_state_dict(dict(state))
    except Exception as error:  # spandrel's loaders raise many types
        raise _not_a_model(path, error) from error
    return _checked(path, model)


def unwrapped(content: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors of a model file without the wrappers and prefixes that programs put around them.

    Examples are ``params_ema``, ``params``, ``state_dict``, and ``module.`` before every name.
    """
    return dict(canonicalize_state_dict(_named(content)))


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
    if not isinstance(model, ImageModelDescriptor) or model.input_channels != 3:
        raise UserError(f"{path}: is not a super-resolution model for RGB images")
    return model.eval()
