"""Conversion of weights files: the authors' into ours, SR models into files of other programs."""

import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.base.errors import UserError
from pipeline.base.files import write_whole
from pipeline.base.hashes import file_hash
from pipeline.dsn.file import DSN_FORMAT, DsnDescription, save_dsn
from pipeline.dsn.network import DSN
from pipeline.evaluate.card import Format, for_file, opened_card
from pipeline.evaluate.card_files import beside, card_of, write_card
from pipeline.srn.file import SRN_FORMAT, SrModel, open_state
from pipeline.stores.weights import load_foreign, require_finite, save_weights
from pipeline.tools.onnx_file import Shape, in_half, largest_difference, to_onnx
from pipeline.tools.released_code import (
    Recognised,
    dsn_from_authors,
    recognise,
    require_all_used,
    unknown,
)

ENDINGS = (".safetensors", ".pth", ".onnx")
ONNX_BOUND = 1e-4
"""An ONNX file that differs more from torch is not written.  This is 1/40 of a gray level."""
HALF_BOUND = 2 / 255
"""The same in half precision, two gray levels: float16 has steps of 1/16 gray level near one, and
errors of many layers add up."""
SIDE = 16
"""Side of the images on which a network is tried, in pixels, if it takes smaller ones."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnnxCheck:
    """How well an ONNX file agrees with torch."""

    difference: float
    """Largest difference of a value of the SR images, in the unit of the image."""
    shapes: Sequence[Shape]
    """Batch, height and width of the LR images; the smallest image that the file takes is one."""

    def __str__(self) -> str:
        sizes = ", ".join("x".join(str(length) for length in shape) for shape in self.shapes)
        return (
            f"ONNX Runtime differs from torch by at most {self.difference:.1e} on images of "
            f"{sizes} (batch, rows, columns), {255 * self.difference:.2g} gray levels"
        )


@dataclass(frozen=True)
class OnnxForm:
    """What kind of ONNX file is written."""

    size: tuple[int, int] | None = None
    """Height and width of the only LR images that the file takes, one at a time; None: any."""
    half: bool = False
    """Whether it computes in float16."""

    @property
    def bound(self) -> float:
        """Largest difference from torch, in the unit of the image."""
        return HALF_BOUND if self.half else ONNX_BOUND


ANY = OnnxForm()
"""Images of any size, float32."""


@dataclass(frozen=True)
class Converted:
    """What a conversion did."""

    recognised: str
    """The kind of network in the source, for people."""
    onnx: OnnxCheck | None
    """None if no ONNX file was written."""
    written: Sequence[Path]


def convert(
    source: Path, target: Path, dsn_target: Path | None = None, form: OnnxForm = ANY
) -> Converted:
    """Convert a weights file.  Its kind is recognised by its content, not by its name.

    * The authors' DSN becomes a DSN of this project.
    * The authors' SRN, or any SR model that spandrel opens, such as one of this project, becomes an
      SR model under spandrel's parameter names: safetensors, a PyTorch file, or ONNX.  Its card is
      written beside it: the one that the source has, or a new one.

    Args:
        source: The file; no code in it is run.
        target: Ends in ``.safetensors``, ``.pth`` or ``.onnx``; replaced if it exists.
        dsn_target: File for the copy of the DSN in the authors' SRN file; None: it is not written.
        form: The kind of ONNX file.

    Raises:
        UserError: The source is missing, damaged, of unknown content, or holds more than data; its
            weights or the images that it gives are not finite; it cannot be converted to the format
            of the target; or a file cannot be written.

    """
    _require_places(source, target, dsn_target)
    if form != ANY and target.suffix.lower() != ".onnx":
        raise UserError(f"{target}: a fixed size and half precision are for files in .onnx")
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
    recognised, written, check = _words(found, dsn, model), [], None
    if model is not None:
        metadata = _metadata(model, described, origin)
        check = _write_sr(model, target, metadata, form)
        card = card_of(source) or opened_card(model, metadata, source)
        card = for_file(card, target, _format(form, check))
        written += [target, *write_card(beside(target), card)]
    if dsn is not None and dsn_target is not None:
        _write_dsn(dsn, dsn_target, origin)
        written.append(dsn_target)
    return Converted(recognised, check, written)


def _require_places(source: Path, target: Path, dsn_target: Path | None) -> None:
    """Check that no output is the input or the other output, and that the endings are known."""
    if target.suffix.lower() not in ENDINGS:
        raise UserError(f"{target}: must end in {', '.join(ENDINGS)}, which says what it will be")
    if dsn_target is not None and dsn_target.suffix.lower() != ".safetensors":
        raise UserError(f"{dsn_target}: must end in .safetensors")
    places = [source, target] if dsn_target is None else [source, target, dsn_target]
    if len({place.resolve() for place in places}) < len(places):
        raise UserError(f"{places[-1]} would overwrite {source}; name other outputs")


def _open(state: Mapping[str, torch.Tensor], kind: str, source: Path) -> SrModel:
    require_finite(source, state, indices=True)
    try:
        model = open_state(state, source)
    except UserError as error:
        if kind == "sr":
            raise unknown(source, state) from error
        raise
    if kind == "srn":
        require_all_used(state, model.model, source)
    with torch.random.fork_rng(devices=[]):
        model(torch.full((1, 3, SIDE, SIDE), 0.5))  # refuses what is not finite
    return model


def _words(found: Recognised, dsn: DSN | None, model: SrModel | None) -> str:
    parts = []
    if model is not None:
        owner = "the authors' SRN" if found.kind == "srn" else "an SR model"
        named = ", ".join([model.architecture.name, *model.tags, f"x{model.scale}"])
        parts.append(f"{owner} ({named})")
    if dsn is not None:
        parts.append(
            f"the authors' DSN ({dsn.mean_head.in_channels} features, {len(dsn.blocks)} blocks, "
            f"x{dsn.scale})"
        )
    return " with a copy of ".join(parts)


def _write_dsn(dsn: DSN, target: Path, origin: Mapping[str, str]) -> None:
    """The same file as train_dsn writes, without the settings of a training nobody here saw."""
    description = DsnDescription(
        scale=dsn.scale,
        features=dsn.mean_head.in_channels,
        blocks=len(dsn.blocks),
        learned_theta=True,
        prior_scale_gray=1.0,
        reference="unknown",
        imported_from=dict(origin),
    )
    save_dsn(target, dsn, description)


def _metadata(
    model: SrModel, described: Mapping[str, str], origin: Mapping[str, str]
) -> dict[str, object]:
    """The metadata of the SR model; those of a file of this project are kept."""
    if described.get("format") == json.dumps(SRN_FORMAT):
        return {key: json.loads(text) for key, text in described.items()}
    return {
        "format": SRN_FORMAT,
        "scale": model.scale,
        "architecture": {"network": model.architecture.id},
        "imported_from": origin,
    }


def _write_sr(
    model: SrModel, target: Path, metadata: Mapping[str, object], form: OnnxForm
) -> OnnxCheck | None:
    state = {name: value.detach().clone() for name, value in model.model.state_dict().items()}
    open_state(state, target)  # as every other program will
    match target.suffix.lower():
        case ".safetensors":
            save_weights(target, state, metadata)
        case ".pth":
            buffer = io.BytesIO()
            torch.save({"params_ema": state}, buffer)
            write_whole(target, buffer.getbuffer())
        case _:
            log.info("writing the graph and checking it takes a minute for a large network")
            data, check = _onnx(model, target, form)
            write_whole(target, data)
            return check
    return None


def _format(form: OnnxForm, check: OnnxCheck | None) -> Format:
    """What the card says of the file."""
    if check is None:
        return Format()
    sizes = "any" if form.size is None else "{}x{} alone, one at a time".format(*form.size)
    return Format("float16" if form.half else "float32", sizes, 255 * check.difference)


def _onnx(model: SrModel, target: Path, form: OnnxForm) -> tuple[bytes, OnnxCheck]:
    """The content of the ONNX file, and how well it agrees with torch.

    Raises:
        UserError: The exporter fails, the network does not take the size, or the difference exceeds
            the bound of the form.

    """
    fixed = None if form.size is None else _require_size(model, target, form.size)
    example, *shapes = _shapes(model) if fixed is None else (fixed, fixed)
    smallest = min(min(shape.height, shape.width) for shape in shapes)
    described = {
        "architecture": model.architecture.id,
        "scale": model.scale,
        "size_multiple": model.size_requirements.multiple_of,
        "smallest_size": smallest,
        "fixed_size": "no" if fixed is None else f"{fixed.height}x{fixed.width}",
        "precision": "float16" if form.half else "float32",
        "channels": "RGB in [0, 1]",
    }
    data = to_onnx(model.model, example, described, fixed is None)
    if form.half:
        data = in_half(data)
    check = OnnxCheck(largest_difference(data, model.model, shapes), shapes)
    if not check.difference <= form.bound:
        hint = "" if fixed else "; a file of one fixed size (--size) may be exact"
        hint = (
            "; a layer needs more than float16, so convert it without --half" if form.half else hint
        )
        raise UserError(f"{target}: was not written: {check}; the limit is {form.bound:.2g}{hint}")
    return data, check


def _shapes(model: SrModel) -> list[Shape]:
    """The shape that the graph is traced with, then those on which it is checked.

    The first ones of these have the smallest side that the network takes: on a smaller image
    ``usrdu upscale`` pads, and an ONNX file gives something else.
    """
    sizes = model.size_requirements
    unit, least = sizes.multiple_of, _least_side(model)
    low = -(-max(SIDE, least) // unit) * unit
    shapes = [
        (2, low + unit, low + 2 * unit),
        (1, least, least),
        (1, least, low + unit),
        (2, low + unit, least),
        (1, low, low),
        (2, low + 3 * unit, low + unit),
        (1, low + unit, low + 4 * unit),
        (1, 3 * low, 2 * low),
    ]
    return [Shape(n, h, h if sizes.square else w) for n, h, w in shapes]


def _least_side(model: SrModel) -> int:
    """The smallest side of an image that the network takes without padding."""
    unit = model.size_requirements.multiple_of
    side: int = -(-max(model.size_requirements.minimum, 1) // unit) * unit
    return side


def _require_size(model: SrModel, target: Path, size: tuple[int, int]) -> Shape:
    """The shape of one image of a size; the network must take it without padding."""
    unit, least = model.size_requirements.multiple_of, _least_side(model)
    if min(size) < least or any(length % unit for length in size):
        multiple = f"multiples of {unit}, " if unit > 1 else ""
        raise UserError(
            f"{target}: was not written: the sides of an image must be {multiple}at least {least}"
        )
    return Shape(1, *size)
