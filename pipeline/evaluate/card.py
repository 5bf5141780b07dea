"""The card of a model as JSON: the fields of OpenModelDB, and what only this project knows.

OpenModelDB is the catalogue from which users of chaiNNer take models.  What an author has to say is
null in the card (author, licence, date), and the catalogue refuses it until it is filled in.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from pipeline.base.hashes import file_hash
from pipeline.evaluate.spandrel_release import least_version
from pipeline.srn.file import SRN_FORMAT, SrModel, open_model
from pipeline.stores.weights import load_foreign

Card = dict[str, Any]
OWN = "usrdu"
"""Key of what OpenModelDB does not know; it reads no unknown keys."""
TO_FILL_IN = ("author", "license", "date", "images")
"""Fields that nobody but the author can fill in."""
CATALOGUE = {"SwiftSRGAN": "swift-srgan"}
"""Names of OpenModelDB that are not spandrel's in small letters."""
ENDINGS: Mapping[str, Literal["pytorch", "onnx"]] = {
    "safetensors": "pytorch", "pth": "pytorch", "onnx": "onnx",
}  # fmt: skip
"""Platforms of files by ending; others are PyTorch's."""
KEPT = (
    "lr_from", "theta", "lr_patch", "batch_size", "accumulate", "learning_rate", "halve_every",
    "ema_decay", "discriminator", "adversarial_on", "precision", "seed",
)  # fmt: skip
"""Settings that a card shows, beside the weights of losses that are not zero."""


LR_FROM = {
    "maps": "LR images are samples of a degradation that was learned from unpaired HR and real LR "
    "images (USR-DU)",
    "bicubic": "LR images are HR images, downsampled by a bicubic filter",
    "generic": "LR images are HR images, degraded at random without regard to a camera",
    "pairs": "LR images are the real ones of pairs",
}
"""Where the LR images of a training came from."""


class Described(BaseModel):
    """The metadata of an SRN file, as far as a card shows them; what is missing is not known."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    architecture: dict[str, Any] = {}
    """Entry of the section ``architectures``."""
    settings: dict[str, Any] = {}
    """The section ``train_srn``; empty if it is not that of this version."""
    steps: int = 0
    """Steps of the training."""
    chosen: dict[str, Any] | None = None
    """Step whose weights were kept, and the score that chose it, with ``keep: best``."""
    images: int = 0
    """HR images, or pairs."""
    trained_on: dict[str, str] = {}
    """Digests by name."""
    camera: list[str] | None = None
    """The camera's passport in sentences."""
    imported_from: dict[str, str] | None = None
    """Name and SHA-256 of the file that it was converted from."""

    @field_validator("settings")
    @classmethod
    def _of_this_version(cls, settings: dict[str, Any]) -> dict[str, Any]:
        numbers = (settings.get(name) for name in ("batch_size", "accumulate", "lr_patch"))
        known = settings.get("lr_from") in LR_FROM and all(isinstance(one, int) for one in numbers)
        return settings if known else {}


def described_by(metadata: Mapping[str, object]) -> Described:
    """What the metadata of a file say; nothing if they are not those of an SRN of this project."""
    if metadata.get("format") != SRN_FORMAT:
        return Described()
    try:
        return Described.model_validate(metadata)
    except ValidationError:
        return Described()


@dataclass(frozen=True)
class Format:
    """What kind of file a model was written to."""

    precision: Literal["float32", "float16"] = "float32"
    """Of weights and arithmetic."""
    sizes: str = "any"
    """LR images that it takes, in words."""
    difference_gray: float | None = None
    """Largest difference from the network in torch, in gray levels; None: it is the network."""


def new_card(path: Path, scores: Mapping[str, object] | None = None) -> Card:
    """The card of a model file, from what it holds.

    Args:
        path: Any file that spandrel opens; one of this project says how it was trained.
        scores: Metrics of ``evaluate``, and the digest of the validation images as ``val``.

    Raises:
        UserError: See ``open_model``.

    """
    metadata: dict[str, object] = {}
    if path.suffix.lower() == ".safetensors":
        metadata = {key: _loaded(text) for key, text in load_foreign(path)[1].items()}
    card = opened_card(open_model(path), metadata, path)
    if scores:
        card[OWN] |= {"scores": {**scores, "file": path.name, "sha256": file_hash(path)}}
    return card


def opened_card(model: SrModel, metadata: Mapping[str, object], path: Path) -> Card:
    """The card of a model that was opened already.

    Args:
        model: The model.
        metadata: Those of its file; those of other programs say nothing here.
        path: Its file.

    """
    return for_file(_catalogue(model, described_by(metadata), model_name(path)), path)


def _loaded(text: str) -> object:
    """A value of the metadata of a safetensors file; other programs write no JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def model_name(path: Path) -> str:
    """A name for a model: that of its file, or of its folder if the file is ``srn``."""
    stem = path.absolute().parent.name if path.stem == "srn" else path.stem
    plain = re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-")
    return re.sub(r"^\d+x-?", "", plain) or "model"


def for_file(card: Mapping[str, Any], path: Path, kind: Format | None = None) -> Card:
    """The same card for another file of the same model."""
    ending = path.suffix.lower().removeprefix(".")
    resource = {
        "platform": ENDINGS.get(ending, "pytorch"),
        "type": ending,
        "size": path.stat().st_size,
        "sha256": file_hash(path),
        "urls": [],
    }
    kind = kind or Format()
    file: dict[str, object] = {"precision": kind.precision, "sizes": kind.sizes}
    if kind.difference_gray is not None:
        file |= {"difference_gray": kind.difference_gray}
    return {
        **card,
        "resources": [resource],
        OWN: {**card[OWN], "file": {"name": path.name, **file}},
    }


def _catalogue(model: SrModel, described: Described, name: str) -> Card:
    own = _own(model, described)
    network = str(model.architecture.id)
    card: Card = {
        "name": f"{model.scale}x-{name}",
        "author": None,
        "license": None,
        "tags": _tags(described),
        "description": " ".join(description(own, model.scale)),
        "date": None,
        "architecture": CATALOGUE.get(network, network.lower()),
        "size": list(model.tags) or None,
        "scale": model.scale,
        "inputChannels": model.input_channels,
        "outputChannels": model.output_channels,
        "resources": [],
        "images": [],
    }
    if described.steps:
        card["trainingIterations"] = described.steps
    if settings := described.settings:
        card["trainingBatchSize"] = settings["batch_size"] * settings["accumulate"]
        card["trainingHRSize"] = settings["lr_patch"] * model.scale
        card["trainingOTF"] = settings["lr_from"] in ("maps", "generic")
    if described.images:
        card["datasetSize"] = described.images
    return card | {OWN: own}


def _own(model: SrModel, described: Described) -> dict[str, Any]:
    """What OpenModelDB has no field for."""
    settings = described.settings
    shown = {key: settings[key] for key in KEPT if key in settings}
    shown |= {key: value for key, value in settings.items() if key.endswith("_weight") and value}
    return {
        "network": str(model.architecture.id),
        "options": described.architecture.get("options", {}),
        "purpose": model.purpose,
        "spandrel": least_version(str(model.architecture.id)),
        "size_multiple": model.size_requirements.multiple_of,
        "smallest_size": max(model.size_requirements.minimum, 1),
        "camera": described.camera,
        "trained_on": described.trained_on,
        "settings": shown,
        "chosen": described.chosen,
        "warm_start": described.architecture.get("warm_start"),
        "imported_from": described.imported_from,
    }


def _tags(described: Described) -> list[str]:
    """Of OpenModelDB, where they follow from the training."""
    settings = described.settings
    if not settings:
        return []
    found = ["photo"]
    sampled = settings["lr_from"] == "maps" and settings.get("theta") != "none"
    if sampled or settings["lr_from"] == "generic":
        found.append("denoise")
    compressed = any(one.startswith("JPEG compression") for one in described.camera or ())
    if compressed or settings["lr_from"] == "generic":
        found.append("jpeg")
    return found


def description(own: Mapping[str, Any], scale: int) -> list[str]:
    """What a model is, in sentences."""
    sentences = [f"Super-resolution by {scale} of RGB images ({own['network']})."]
    settings = own["settings"]
    if settings:
        theta = f", theta: {settings.get('theta')}" if settings["lr_from"] == "maps" else ""
        sentences.append(f"{LR_FROM[settings['lr_from']]}{theta}.")
    else:
        if own["imported_from"]:
            sentences.append(f"Converted from {own['imported_from'].get('file')}.")
        sentences.append("How it was trained is not known.")
    if own["camera"]:
        sentences.append(f"The camera: {' '.join(own['camera'])}")
    return sentences
