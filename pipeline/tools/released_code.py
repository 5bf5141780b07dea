"""Weights files of the authors' released code, and how their parameter names map to those here.

As released, the DSN file is ``{'gen': ..., 'dis': ...}``; the SRN file is
``{'params': ...}`` with the SRN under ``RRDBNet_U.`` and a copy of the DSN under ``RRDBNet_var.``.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from pipeline.base.errors import UserError, one_line
from pipeline.dsn.network import DSN
from pipeline.srn.file import unwrapped
from pipeline.stores.weights import require_finite

ACCEPTED = "the authors' DSN or SRN file, or an SR model for RGB images that spandrel opens"
SRN_PREFIX, DSN_PREFIX = "RRDBNet_U.", "RRDBNet_var."
LOG_SIGMA = "log_sigma_head."
"""Prefix of the parameters that only one of the authors' two generators has."""
BLOCKS = 8
"""Residual blocks of the DSN in the authors' files."""

DSN_NAMES = {
    r"block_input\.": "head.",
    r"res_blocks\.": "blocks.",
    r"down_sample\.": "down.",
    r"block_output\.(0\.)?": "mean_head.",
    r"var\.": "log_theta_head.",
    r"per_var\.": LOG_SIGMA,
}
"""Prefixes of the authors' parameter names, as patterns, and the prefixes used here."""

log = logging.getLogger(__name__)


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
        UserError: It is not a mapping of tensors, or the authors' SRN file holds others beside
            their two networks.  The message says what was found and what is accepted.

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
        if strange := [name for name in state if not name.startswith((SRN_PREFIX, DSN_PREFIX))]:
            raise _unknown_parameters(path, "SRN file", strange)
        return Recognised("srn", parts[SRN_PREFIX], parts[DSN_PREFIX] or None)
    if any(name.startswith(("block_input.", "res_blocks.")) for name in state):
        return Recognised("dsn", None, state)
    return Recognised("sr", state, None)


def unknown(path: Path, content: Mapping[str, Any]) -> UserError:
    """The error for a file of unknown content."""
    names = [str(name) for name in content]
    found = f"{', '.join(names[:4])}{', ...' if len(names) > 4 else ''}" if names else "nothing"
    return UserError(f"{path}: holds {found}; accepted are {ACCEPTED}")


def require_all_used(state: Mapping[str, Tensor], opened: nn.Module, path: Path) -> None:
    """Check that spandrel has left out no parameter of the authors' SRN.

    Args:
        state: Parameters by the authors' names.
        opened: The network that spandrel made of them.
        path: Their file, for messages.

    Raises:
        UserError: There are more than the network has.

    """
    used = list(opened.state_dict().values())
    if len(used) == len(state):
        return
    strange = [
        name
        for name, value in state.items()
        if not any(value.shape == one.shape and torch.equal(value.to(one), one) for one in used)
    ]
    raise _unknown_parameters(path, "SRN", strange or list(state)[-1:])


def _unknown_parameters(path: Path, network: str, names: Sequence[str]) -> UserError:
    shown = f"{', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"
    return UserError(f"{path}: its {network} has other parameters than the authors': {shown}")


def dsn_from_authors(state: Mapping[str, Tensor], path: Path) -> DSN:
    """Build a DSN from the parameters of the authors' DSN.

    Width, number of blocks and scale are read off the tensors: one strided convolution per factor
    of two.  Both networks take HR in [0, 1] and give log theta in gray levels.  Their program has
    two generators.  That without ``per_var`` learned with sigma = 1, so here its log sigma is zero.
    Other than the eight blocks of their files are reported, as blocks may be missing.

    Args:
        state: Parameters by the authors' names.
        path: Their file, for messages.

    Raises:
        UserError: The parameters do not fit such a network, are not finite, or two names in the
            file mean one parameter.

    """
    require_finite(path, state)
    blocks = {int(found[1]) for name in state if (found := re.match(r"res_blocks\.(\d+)\.", name))}
    strided = [n for n, v in state.items() if n.startswith("down_sample.") and v.ndim == 4]
    first = state.get("block_input.0.weight")
    if first is None or not blocks or len(strided) not in (1, 2):
        raise UserError(
            f"{path}: the DSN in it has {len(blocks)} residual blocks and {len(strided)} strided "
            "convolutions; expected are an input convolution, blocks, and 1 (x2) or 2 (x4)"
        )
    if len(blocks) != BLOCKS:
        log.warning(
            "%s: its DSN has %d residual blocks, the authors' files have %d",
            path, len(blocks), BLOCKS,
        )  # fmt: skip
    dsn = DSN(2 ** len(strided), first.shape[0], len(blocks))
    ours = _by_our_names(state, path)
    if not any(name.startswith(LOG_SIGMA) for name in ours):
        ours |= {
            name: torch.zeros_like(value)
            for name, value in dsn.state_dict().items()
            if name.startswith(LOG_SIGMA)
        }
    try:
        dsn.load_state_dict(ours)
    except RuntimeError as error:
        raise UserError(
            f"{path}: its DSN has other parameters than the authors': {one_line(error, 300)}"
        ) from error
    return dsn.eval()


def _by_our_names(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    theirs: dict[str, str] = {}
    for name in state:
        if theirs.setdefault(ours := _our_name(name), name) != name:
            raise UserError(f"{path}: {theirs[ours]} and {name} are two names of one parameter")
    return {ours: state[name] for ours, name in theirs.items()}


def _our_name(name: str) -> str:
    """The name that a parameter of the authors' DSN has here; unknown names are kept."""
    for theirs, ours in DSN_NAMES.items():
        if found := re.match(theirs, name):
            return ours + name[found.end() :]
    return name
