"""Weights files of the authors' released code, and how their parameter names map to those here.

As released, the DSN file is ``{'gen': ..., 'dis': ...}``; the SRN file is
``{'params': ...}`` with the SRN under ``RRDBNet_U.`` and a copy of the DSN under ``RRDBNet_var.``.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor

from pipeline.base.errors import UserError, one_line
from pipeline.dsn.network import DSN
from pipeline.srn.file import unwrapped

ACCEPTED = "the authors' DSN or SRN file, or an SR model for RGB images that spandrel opens"
SRN_PREFIX, DSN_PREFIX = "RRDBNet_U.", "RRDBNet_var."

DSN_NAMES = {
    r"block_input\.": "head.",
    r"res_blocks\.": "blocks.",
    r"down_sample\.": "down.",
    r"block_output\.(0\.)?": "mean_head.",
    r"var\.": "log_theta_head.",
    r"per_var\.": "log_sigma_head.",
}
"""Prefixes of the authors' parameter names, as patterns, and the prefixes used here."""


class Recognised(NamedTuple):
    """The parameters in a file of weights, without wrappers and prefixes."""

    kind: Literal["dsn", "srn", "sr"]
    """The authors' DSN, the authors' SRN, or an SR network that spandrel may recognise."""
    sr: dict[str, Tensor] | None
    """Parameters of the SR network."""
    dsn: dict[str, Tensor] | None
    """Parameters of the DSN, by the authors' names."""


def recognise(content: Mapping[str, Any], path: Path) -> Recognised:
    """Recognise the content of a file by the names of its parameters.

    Args:
        content: See ``stores.weights.load_foreign``.
        path: Its file, for messages.

    Raises:
        UserError: It is not a mapping of tensors.  The message says what was found and what is
            accepted.

    """
    generator = content.get("gen")
    state = unwrapped(generator if isinstance(generator, Mapping) else content)
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise unknown(path, state)
    parts = {
        prefix: {name[len(prefix) :]: v for name, v in state.items() if name.startswith(prefix)}
        for prefix in (SRN_PREFIX, DSN_PREFIX)
    }
    if parts[SRN_PREFIX]:
        return Recognised("srn", parts[SRN_PREFIX], parts[DSN_PREFIX] or None)
    if any(name.startswith(("block_input.", "res_blocks.")) for name in state):
        return Recognised("dsn", None, state)
    return Recognised("sr", state, None)


def unknown(path: Path, content: Mapping[str, Any]) -> UserError:
    """The error for a file of unknown content."""
    names = [str(name) for name in content]
    found = f"{', '.join(names[:4])}{', ...' if len(names) > 4 else ''}" if names else "nothing"
    return UserError(f"{path}: holds {found}; accepted are {ACCEPTED}")


def dsn_from_authors(state: Mapping[str, Tensor], path: Path) -> DSN:
    """Build a DSN from the parameters of the authors' DSN.

    Width, number of blocks and scale are read off the tensors: one strided convolution per factor
    of two.  Both networks take HR in [0, 1] and give log theta in gray levels.

    Args:
        state: Parameters by the authors' names.
        path: Their file, for messages.

    Raises:
        UserError: The parameters do not fit such a network.

    """
    blocks = {int(found[1]) for name in state if (found := re.match(r"res_blocks\.(\d+)\.", name))}
    strided = [n for n, v in state.items() if n.startswith("down_sample.") and v.ndim == 4]
    first = state.get("block_input.0.weight")
    if first is None or not blocks or len(strided) not in (1, 2):
        raise UserError(
            f"{path}: the DSN in it has {len(blocks)} residual blocks and {len(strided)} strided "
            "convolutions; expected are an input convolution, blocks, and 1 (x2) or 2 (x4)"
        )
    dsn = DSN(2 ** len(strided), first.shape[0], len(blocks))
    try:
        dsn.load_state_dict({_our_name(name): value for name, value in state.items()})
    except RuntimeError as error:
        raise UserError(
            f"{path}: its DSN has other parameters than the authors': {one_line(error, 300)}"
        ) from error
    return dsn.eval()


def _our_name(name: str) -> str:
    """The name that a parameter of the authors' DSN has here; unknown names are kept."""
    for theirs, ours in DSN_NAMES.items():
        if found := re.match(theirs, name):
            return ours + name[found.end() :]
    return name
