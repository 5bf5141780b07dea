"""Conversion of weights files: the authors' into ours, SR models into files of other programs."""

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from pipeline.base.errors import UserError
from pipeline.base.files import write_whole
from pipeline.base.hashes import file_hash
from pipeline.dsn.network import DSN
from pipeline.dsn.network import FORMAT as DSN_FORMAT
from pipeline.srn import network as srn
from pipeline.stores.weights import load_foreign, save_weights
from pipeline.tools.onnx_file import Shape, largest_difference, to_onnx
from pipeline.tools.released_code import Recognised, dsn_from_authors, recognise, unknown

ENDINGS = (".safetensors", ".pth", ".onnx")
ONNX_BOUND = 1e-4
"""Largest difference from torch at which an ONNX file is written: a fortieth of a gray level."""
LEAST_SIDE = 16
"""Side of the smallest image on which an ONNX file is checked, in pixels."""


def convert(source: Path, target: Path, dsn_target: Path | None = None) -> Iterator[str]:
    """Convert a weights file; what it is, its content says, not its name.

    * The authors' DSN becomes a DSN of this project.
    * The authors' SRN, or any SR model that spandrel opens, this project's included, becomes an SR
      model under spandrel's parameter names: safetensors, a PyTorch file, or ONNX.

    Args:
        source: The file; nothing in it is run.
        target: Ends in ``.safetensors``, ``.pth`` or ``.onnx``; replaced if it exists.
        dsn_target: Where the copy of the DSN that the authors' SRN file holds goes, if anywhere.

    Yields:
        Sentences: what was recognised, and what was written.

    Raises:
        UserError: The source is missing, damaged, of unknown content, or holds more than data; it
            cannot become what is asked for; or a file cannot be written.

    """
    _require_places(source, target, dsn_target)
    content, described = load_foreign(source)
    if described.get("format") == json.dumps(DSN_FORMAT):
        raise UserError(
            f"{source}: is a DSN of this project already; usrdu export and usrdu degrade read it"
        )
    found = recognise(content, source)
    origin = {"file": source.name, "sha256": file_hash(source)}
    if found.kind == "dsn":
        if dsn_target is not None or target.suffix.lower() != ".safetensors":
            raise UserError(f"{source}: is a DSN alone; name one OUT that ends in .safetensors")
        dsn_target = target
    elif found.dsn is None and dsn_target is not None:
        raise UserError(f"{source}: holds no DSN that could be written to {dsn_target}")
    dsn = None if found.dsn is None else dsn_from_authors(found.dsn, source)
    model = None if found.sr is None else _open(found.sr, found.kind, source)
    yield f"{source} is {_words(found, dsn, model)}"
    if model is not None:
        yield from _write_sr(model, target, _metadata(model, described, origin))
    if dsn is not None and dsn_target is not None:
        _write_dsn(dsn, dsn_target, origin)
        yield f"wrote {dsn_target}"


def _require_places(source: Path, target: Path, dsn_target: Path | None) -> None:
    """No output is the input or the other output, and its ending says what it will be."""
    if target.suffix.lower() not in ENDINGS:
        raise UserError(f"{target}: must end in {', '.join(ENDINGS)}, which says what it will be")
    if dsn_target is not None and dsn_target.suffix.lower() != ".safetensors":
        raise UserError(f"{dsn_target}: must end in .safetensors")
    places = [source, target] if dsn_target is None else [source, target, dsn_target]
    if len({place.resolve() for place in places}) < len(places):
        raise UserError(f"{places[-1]} would overwrite {source}; name other outputs")


def _open(state: Mapping[str, torch.Tensor], kind: str, source: Path) -> srn.SrModel:
    try:
        return srn.open_state(state, source)
    except UserError as error:
        if kind == "sr":
            raise unknown(source, state) from error
        raise


def _words(found: Recognised, dsn: DSN | None, model: srn.SrModel | None) -> str:
    parts = []
    if model is not None:
        owner = "the authors' SRN" if found.kind == "srn" else "an SR model"
        named = ", ".join([model.architecture.name, *model.tags, f"x{model.scale}"])
        parts.append(f"{owner} ({named})")
    if dsn is not None:
        shape = _shape(dsn)
        parts.append(
            f"the authors' DSN ({shape['features']} features, {shape['blocks']} blocks, "
            f"x{dsn.scale})"
        )
    return " with a copy of ".join(parts)


def _shape(dsn: DSN) -> dict[str, int]:
    return {"features": dsn.mean_head.in_channels, "blocks": len(dsn.blocks)}


def _write_dsn(dsn: DSN, target: Path, origin: Mapping[str, str]) -> None:
    """The same file as train_dsn writes, without the settings of a training nobody here saw."""
    metadata = {
        "format": DSN_FORMAT,
        "scale": dsn.scale,
        "settings": {**_shape(dsn), "learn_theta": True, "prior_scale_gray": 1.0},
        "imported_from": origin,
    }
    save_weights(target, dsn.state_dict(), metadata)


def _metadata(
    model: srn.SrModel, described: Mapping[str, str], origin: Mapping[str, str]
) -> dict[str, object]:
    """What is written beside the weights; what a file of this project says is kept."""
    if described.get("format") == json.dumps(srn.FORMAT):
        return {key: json.loads(text) for key, text in described.items()}
    return {
        "format": srn.FORMAT,
        "scale": model.scale,
        "architecture": {"network": model.architecture.id},
        "imported_from": origin,
    }


def _write_sr(model: srn.SrModel, target: Path, metadata: Mapping[str, object]) -> Iterator[str]:
    state = {name: value.detach().clone() for name, value in model.model.state_dict().items()}
    srn.open_state(state, target)  # so will everybody else
    match target.suffix.lower():
        case ".safetensors":
            save_weights(target, state, metadata)
        case ".pth":
            buffer = io.BytesIO()
            torch.save({"params_ema": state}, buffer)
            write_whole(target, buffer.getbuffer())
        case _:
            yield "writing the graph and checking it, which takes a minute for a large network"
            data, words = _onnx(model, target)
            yield words
            write_whole(target, data)
    yield f"wrote {target}"


def _onnx(model: srn.SrModel, target: Path) -> tuple[bytes, str]:
    """The ONNX file, and a sentence on how well it agrees with torch.

    Raises:
        UserError: It cannot be made, or does not agree.

    """
    example, *shapes = _shapes(model)
    described = {
        "architecture": model.architecture.id,
        "scale": model.scale,
        "size_multiple": model.size_requirements.multiple_of,
        "channels": "RGB in [0, 1]",
    }
    data = to_onnx(model.model, example, described)
    difference = largest_difference(data, model.model, shapes)
    sizes = ", ".join("x".join(str(length) for length in shape) for shape in shapes)
    words = (
        f"ONNX Runtime differs from torch by at most {difference:.1e} on images of {sizes} "
        "(batch, rows, columns)"
    )
    if not difference <= ONNX_BOUND:
        raise UserError(f"{target}: was not written, since {words}; allowed are {ONNX_BOUND:g}")
    return data, words


def _shapes(model: srn.SrModel) -> list[Shape]:
    """The shape a graph is made from, and others on which it is checked, all allowed ones."""
    sizes = model.size_requirements
    unit = sizes.multiple_of
    low = -(-max(LEAST_SIDE, sizes.minimum) // unit) * unit
    shapes = [
        (2, low + unit, low + 2 * unit),
        (1, low, low),
        (2, low + 3 * unit, low + unit),
        (1, low + unit, low + 4 * unit),
        (1, 3 * low, 2 * low),
    ]
    return [(n, h, h if sizes.square else w) for n, h, w in shapes]
