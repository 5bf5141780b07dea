"""Files of weights and of interrupted trainings; each appears only when it is whole."""

import hashlib
import io
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipeline.errors import UserError
from pipeline.files import whole


class Stateful(Protocol):
    """A module or optimiser."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that must be kept."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take it back."""


def fingerprint(*parts: object) -> str:
    """A hash of JSON values, such as settings and digests of inputs; 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(path: Path) -> None:
    """Make a folder for results, before the work whose results go there begins.

    Raises:
        UserError: It cannot be made.

    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be made a folder: {error.strerror}") from error


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Write a file that appears only when it is whole; an old one stays if the writing fails.

    Raises:
        UserError: It cannot be written.

    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial:
            partial.write_bytes(data)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def save_weights(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, object]) -> None:
    """Write a safetensors file; ``metadata`` values are stored as JSON.

    The same arguments give the same bytes.

    Raises:
        UserError: The file cannot be written.

    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    described = {key: json.dumps(value) for key, value in metadata.items()}
    write_whole(path, _sorted_header(save(tensors, described)))


def load_weights(path: Path, format_name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a safetensors file written by ``save_weights``: tensors and metadata.

    Raises:
        UserError: It is missing, damaged, or its metadata does not name ``format_name``.

    """
    state, described = _load_safetensors(path)
    if described.get("format") != json.dumps(format_name):
        found = described.get("format", "no format")
        raise UserError(f"{path}: is marked {found}, expected {format_name}")
    return state, {key: json.loads(text) for key, text in described.items()}


def load_foreign(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a weights file of any origin: safetensors, or what ``torch.save`` wrote.

    Which of them it is, its content says, not its name.  Nothing in it is run.

    Returns:
        Tensors by name, of a PyTorch file perhaps in nested mappings, and the metadata of a
        safetensors file as they are.

    Raises:
        UserError: It is missing, damaged, of another kind, or holds more than data, which could be
            code.

    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such weights file")
    with path.open("rb") as file:
        if file.read(9)[8:] == b"{":
            return _load_safetensors(path)
    try:
        with warnings.catch_warnings(), path.open("rb") as file:  # by a name, torch would go by it
            warnings.simplefilter("ignore")  # remarks on files that are then refused
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types on damaged and on foreign files
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise UserError(
                f"{path}: holds more than tensors ({found[1]}), which could run code; it was not "
                "read"
            ) from error
        raise UserError(f"{path}: is neither a whole PyTorch nor a safetensors file") from error
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds no tensors by name but a {type(content).__name__}")
    return dict(content), {}


def _load_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise UserError(f"{path}: there is no such weights file")
    try:
        with safe_open(path, framework="pt") as file:
            described = file.metadata() or {}
            return {key: file.get_tensor(key) for key in file.keys()}, described  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: is not a whole safetensors file: {error}") from error


def save_state(path: Path, parts: Mapping[str, Stateful], progress: Mapping[str, Any]) -> None:
    """Write the state of an interrupted training in one file.

    Raises:
        UserError: The file cannot be written.

    """
    state = {name: part.state_dict() for name, part in parts.items()}
    buffer = io.BytesIO()
    torch.save({"parts": state, "progress": dict(progress)}, buffer)
    write_whole(path, buffer.getbuffer())


def load_state(path: Path, parts: Mapping[str, Stateful]) -> dict[str, Any] | None:
    """Give the parts their state back and return the progress; None if there is no file.

    Raises:
        UserError: The file is damaged.

    """
    if not path.is_file():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved["parts"][name])
        return dict(saved["progress"])
    except Exception as error:  # torch raises many types on damaged files
        raise UserError(f"{path}: is damaged; delete it to start the training again") from error


def _sorted_header(data: bytes) -> bytes:
    """A safetensors file with its metadata in order; the library's order is another every time."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]
