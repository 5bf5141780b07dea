"""Checkpoints: the state of a training in one file, which appears only when it is complete."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from pipeline.base.errors import UserError, one_line
from pipeline.base.files import write_whole
from pipeline.stores.weights import SHA, digest_comment, require_whole


class Stateful(Protocol):
    """A module or optimiser."""

    def state_dict(self) -> dict[str, Any]:
        """The whole state, for a checkpoint."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Restore the state of a checkpoint."""


def save_state(path: Path, parts: Mapping[str, Stateful], progress: Mapping[str, Any]) -> None:
    """Write the state of a training into one file.

    Raises:
        UserError: The file cannot be written.

    """
    state = {name: part.state_dict() for name, part in parts.items()}
    buffer = io.BytesIO()
    torch.save({"parts": state, "progress": dict(progress)}, buffer)
    comment = digest_comment(buffer.getbuffer()[:-2])
    buffer.seek(-2, io.SEEK_END)  # the length of a comment, which is zero
    buffer.write(len(comment).to_bytes(2, "little") + comment)
    write_whole(path, buffer.getbuffer())


def load_state(path: Path, parts: Mapping[str, Stateful]) -> dict[str, Any] | None:
    """Restore the state of the parts and return the progress; None if there is no file.

    Raises:
        UserError: The file is damaged, is no checkpoint, or is one of other networks.

    """
    if not path.is_file():
        return None
    try:
        if require_whole(path) != SHA:
            raise ValueError("no checksum")
        saved = torch.load(path, map_location="cpu", weights_only=True)
        states, progress = saved["parts"], dict(saved["progress"])
    except Exception as error:  # torch raises many types on damaged files
        raise UserError(f"{path}: is damaged, or is no checkpoint of a training") from error
    try:
        for name, part in parts.items():
            part.load_state_dict(states[name])
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise UserError(
            f"{path}: is a checkpoint of other networks: {one_line(error, 160)}"
        ) from error
    return progress
