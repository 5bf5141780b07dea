"""Files of weights and checkpoints of trainings; each appears only when it is complete.

Each carries a SHA-256 of its content, which reveals any changed bit: a safetensors file in its
metadata, a checkpoint in the comment of its ZIP archive.  PyTorch itself does not check the CRC-32
sums of the archive.
"""

import hashlib
import json
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.base.files import write_whole

CHECKSUM = "usrdu_sha256"
"""Metadata key of a safetensors file with the SHA-256 of the rest of the file."""
COMMENT = b"usrdu sha256 "
"""Start of the comment of a checkpoint; the digest of the bytes before the comment follows."""
SHA = "SHA-256 of its content"
"""Value that ``require_whole`` returns for files written here."""
ZIP = b"PK\x03\x04"
INDICES = (torch.int32, torch.int64, torch.bool)
"""Types of tables in an SR network that are no weights."""
LARGEST_HEADER = 10**8
"""Most bytes of the header of a safetensors file, as in the safetensors library."""


def save_weights(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, object]) -> None:
    """Write a safetensors file; ``metadata`` values are stored as JSON.

    The same arguments give the same bytes.  ``CHECKSUM`` is added to the metadata.

    Raises:
        UserError: The file cannot be written.

    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    described = {key: json.dumps(value) for key, value in metadata.items() if key != CHECKSUM}
    write_whole(path, _with_checksum(save(tensors, described)))


def load_weights(path: Path, format_name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a safetensors file written by ``save_weights``: tensors and metadata.

    Raises:
        UserError: It is missing, damaged, without a checksum, or its metadata does not name
            ``format_name``.

    """
    checked = require_whole(path)
    state, described = _load_safetensors(path)
    if described.get("format") != json.dumps(format_name):
        found = described.get("format", "no format")
        older = "; it is of an older version" if format_name.startswith(found.strip('"')) else ""
        raise UserError(f"{path}: is marked {found}, expected {format_name}{older}")
    if checked != SHA:
        raise UserError(f"{path}: carries no SHA-256, so it is damaged or of an older version")
    try:
        return state, {key: json.loads(text) for key, text in described.items()}
    except ValueError as error:
        raise UserError(f"{path}: its metadata are not those of {format_name}: {error}") from error


def load_foreign(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a weights file of any origin, safetensors or a file of ``torch.save``.

    The format is recognised by its content, not by its name.  No code in it is run.

    Returns:
        Tensors by name, which in a PyTorch file may be nested mappings, and the raw metadata of a
        safetensors file.

    Raises:
        UserError: It is missing, damaged, of another format, or holds objects that could run code.

    """
    require_whole(path)
    if _starts(path)[8:] == b"{":
        return _load_safetensors(path)
    try:
        with (
            warnings.catch_warnings(),
            path.open("rb") as file,
        ):  # torch trusts the ending
            warnings.simplefilter("ignore")  # about files that are then refused
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


def require_whole(path: Path) -> str:
    """Check a file of weights, or a checkpoint, against the checksums it carries.

    Returns:
        Which checksums were compared, for a message.

    Raises:
        UserError: There is no such file, its content has changed, or it is a decompression bomb.

    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such weights file")
    start = _starts(path)
    if start[8:] == b"{":
        return _check_safetensors(path)
    return _check_zip(path) if start.startswith(ZIP) else "it carries no checksums"


def require_finite(place: Path | str, content: object, *, indices: bool = False) -> None:
    """Check that tensors are numbers that a network can work with.

    Args:
        place: Their file, for messages.
        content: Tensors by name, also in nested mappings and lists.
        indices: Whether integers are allowed where they are no weights, as in the buffers of an SR
            network: vectors of any type, tables of indices of 32 or 64 bits, and masks.  Else all
            tensors are of a floating type.

    Raises:
        UserError: A tensor is of another type, such as int8, or holds an infinity or NaN.

    """
    for name, tensor in named_tensors(content):
        if tensor.is_floating_point():
            if not all_finite(tensor):
                raise UserError(f"{place}: its tensor '{name}' holds values that are not finite")
        elif not (indices and (tensor.ndim < 2 or tensor.dtype in INDICES)):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(f"{place}: its tensor '{name}' is of type {kind}, expected float32")


def all_finite(tensor: Tensor) -> bool:
    """Whether a tensor of any type holds neither an infinity nor NaN."""
    return not tensor.is_floating_point() or bool(tensor.float().isfinite().all())


def named_tensors(content: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors in nested mappings and lists, each with the path of keys that leads to it."""
    if isinstance(content, Tensor):
        yield name, content
    parts: Iterable[tuple[object, object]] = ()
    if isinstance(content, Mapping):
        parts = content.items()
    elif isinstance(content, list | tuple):
        parts = enumerate(content)
    for key, value in parts:
        yield from named_tensors(value, f"{name}.{key}" if name else str(key))


def _starts(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(9)


def _check_safetensors(path: Path) -> str:
    data = path.read_bytes()
    try:
        header, body = _opened(data)
        metadata = header.get("__metadata__", {})
        if CHECKSUM not in metadata:
            return "it carries no checksums"
        found = metadata[CHECKSUM]
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: is not a whole safetensors file: {error}") from error
    if found != json.dumps(_content_hash(header, body)):
        raise UserError(f"{path}: is not a whole safetensors file: its content has another SHA-256")
    return SHA


def _check_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.comment.startswith(COMMENT):
                data = memoryview(path.read_bytes())[: -len(archive.comment) - 2]
                if digest_comment(data) == archive.comment:
                    return SHA
                raise UserError(f"{path}: is damaged: its content has another SHA-256")
            size = sum(entry.file_size for entry in archive.infolist())
            if size > 2 * path.stat().st_size:  # torch compresses nothing
                raise UserError(f"{path}: would grow to {size} bytes when read; it was not read")
            if damaged := archive.testzip():
                raise UserError(f"{path}: is damaged: its part {damaged!r} has another CRC-32")
    except UserError:
        raise
    except Exception as error:  # zipfile raises many types on damaged files
        raise UserError(f"{path}: is neither a whole PyTorch nor a safetensors file") from error
    return "CRC-32 of every part"


def digest_comment(data: bytes | memoryview) -> bytes:
    """The comment of a checkpoint: the SHA-256 of all before it."""
    return COMMENT + hashlib.sha256(data).hexdigest().encode()


def _load_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file that ``require_whole`` has checked; it is mapped, not read."""
    try:
        with safe_open(path, framework="pt") as file:
            described = file.metadata() or {}
            described.pop(CHECKSUM, None)
            return {key: file.get_tensor(key) for key in file.keys()}, described  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: is not a whole safetensors file: {error}") from error


def _with_checksum(data: bytes) -> bytes:
    """A safetensors file with its checksum and its metadata sorted, as they come unordered."""
    header, body = _opened(data)
    metadata = {**header["__metadata__"], CHECKSUM: json.dumps(_content_hash(header, body))}
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def _opened(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Header and tensors of a safetensors file.

    Raises:
        ValueError: It is truncated, or its header is not JSON.

    """
    length = int.from_bytes(data[:8], "little")
    if length > min(len(data) - 8, LARGEST_HEADER):
        raise ValueError(f"its header would have {length} bytes")
    return json.loads(data[8 : 8 + length]), memoryview(data)[8 + length :]


def _content_hash(header: Mapping[str, Any], body: memoryview) -> str:
    """SHA-256 of the header and tensors of a safetensors file, without the checksum itself."""
    metadata = {k: v for k, v in header["__metadata__"].items() if k != CHECKSUM}
    text = json.dumps({**header, "__metadata__": metadata}, sort_keys=True)
    content = hashlib.sha256(text.encode())
    content.update(body)
    return content.hexdigest()
