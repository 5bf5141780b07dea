"""Cards as files: JSON for catalogues, and the same as Markdown for people and Hugging Face."""

import json
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.base.files import strict_json, write_whole
from pipeline.base.hashes import file_hash
from pipeline.evaluate.card import OWN, TO_FILL_IN, Card, description

log = logging.getLogger(__name__)
TO_SAY = "to fill in"
"""Stands in the Markdown for what the author has to say."""


def write_card(path: Path, card: Card) -> list[Path]:
    """Write a card as Markdown, and as JSON beside it.

    What the author filled in, in an older JSON of this place, stays: author, licence, date, images.

    Args:
        path: The Markdown file.
        card: Result of ``new_card`` or ``for_file``.

    Returns:
        Both files.

    Raises:
        UserError: A file cannot be written.

    """
    data = path.with_suffix(".json")
    older = read_card(data)
    if older is not None:
        card = card | {key: older[key] for key in TO_FILL_IN if older.get(key)}
    write_whole(path, markdown(card).encode())
    write_whole(data, strict_json(card).encode())
    return [path, data]


def beside(model: Path) -> Path:
    """Place of the card of a model file: its name, with another ending behind it."""
    return model.with_name(f"{model.name}.card.md")


def read_card(path: Path) -> Card | None:
    """A card that this project wrote; None if the file is missing or is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = isinstance(content, dict) and isinstance(content.get(OWN), dict)
    return content if known and isinstance(content.get("resources"), list) else None


def card_of(model: Path) -> Card | None:
    """The card that was written for a model file: beside it, or by ``evaluate`` for ``train_srn``.

    A card of another file of that name, such as of an earlier training, is passed over.
    """
    folder = model.absolute().parent
    evaluated = folder.parent.parent / "evaluate" / folder.name / "card.json"
    places = [beside(model).with_suffix(".json"), folder / "card.json", evaluated]
    sha256 = file_hash(model)
    for place in places:
        card = read_card(place)
        if card is None:
            continue
        if any(one.get("sha256") == sha256 for one in card["resources"]):
            return card
        log.info("%s: is the card of another file than %s, and was not used", place, model)
    return None


def markdown(card: Mapping[str, Any]) -> str:
    """The card for people; its front matter is that of model cards on Hugging Face."""
    own = card[OWN]
    (resource,) = card["resources"]
    blocks = [
        "\n".join(_front(card)),
        f"# {card['name']}",
        " ".join(description({**own, "camera": None}, card["scale"])),
        f"Licence: {card['license'] or TO_SAY}. Author: {_said(card['author'])}. "
        f"Date: {card['date'] or TO_SAY}.",
        _list({
            "Network": f"{own['network']} {json.dumps(own['options'])}",
            "Opens with": f"spandrel {own['spandrel']} or later (chaiNNer, ComfyUI)"
            if resource["platform"] == "pytorch"
            else "ONNX Runtime (chaiNNer); input and output are float32 RGB in [0, 1]",
            "Scale": card["scale"],
            "Purpose": own["purpose"],
            "File": f"{own['file']['name']}, {resource['size']:,} bytes",
            "Precision": own["file"]["precision"],
            "SHA-256": resource["sha256"],
            **_checked(own["file"]),
        }),
    ]  # fmt: skip
    if own["camera"]:
        blocks.append("## Camera\n\n" + "\n".join(f"- {sentence}" for sentence in own["camera"]))
    if own["settings"]:
        facts = {f"digest of {name}": value for name, value in own["trained_on"].items()}
        if card.get("trainingIterations"):
            facts["steps"] = card["trainingIterations"]
        if chosen := own["chosen"]:
            kept = f"{chosen.get('step')}, the best on validation images by {chosen.get('by')}"
            facts["kept step"] = kept
        facts |= {"warm start": own["warm_start"]} if own["warm_start"] else {}
        blocks.append(f"## Training\n\n{_list(own['settings'] | facts)}")
    if own.get("scores"):
        blocks.append("## Scores\n\n" + "\n".join(_scores(own["scores"])))
    return "\n\n".join(blocks) + "\n"


def _front(card: Mapping[str, Any]) -> Iterator[str]:
    """YAML; values are quoted as JSON, which YAML reads."""
    yield "---"
    if card["license"]:
        yield f"license: {json.dumps(card['license'].lower())}"
    else:
        yield f"# license: {TO_SAY}; this line is a comment, and grants nothing"
    yield "library_name: spandrel"
    yield "pipeline_tag: image-to-image"
    yield f"tags: {json.dumps(['super-resolution', *card['tags']])}"
    if card[OWN].get("scores"):
        yield from _results(card["name"], card[OWN]["scores"])
    yield "---"


def _results(name: str, scores: Mapping[str, Any]) -> Iterator[str]:
    yield "model-index:"
    yield f"- name: {json.dumps(name)}"
    yield "  results:"
    yield "  - task: {type: image-to-image}"
    yield '    dataset: {type: own, name: "validation images"}'
    yield "    metrics:"
    for protocol, found in scores.get("protocols", {}).items():
        for measure, value in found["model"].items():
            shown = json.dumps(f"{measure}, protocol {protocol}")
            if value is not None and math.isfinite(value):
                yield f"    - {{type: {measure}, name: {shown}, value: {value:.6g}}}"


def _scores(scores: Mapping[str, Any]) -> Iterator[str]:
    """A table of the model beside bicubic upsampling, by protocol."""
    yield (
        f"Means over {scores['images']} validation images (digest {scores['val'][:16]}), measured "
        f"on {scores['file']} (SHA-256 {scores['sha256'][:16]})."
    )
    yield ""
    yield "| protocol | measure | bicubic | model |"
    yield "|---|---|--:|--:|"
    for name, found in scores.get("protocols", {}).items():
        words = f"{name}: {found['colour']}, border {found['border']}, SSIM {found['ssim']}"
        for measure, value in found["model"].items():
            figures = f"{_figure(found['bicubic'][measure])} | {_figure(value)}"
            yield f"| {words} | {measure} | {figures} |"
    if niqe := scores.get("niqe"):
        figures = f"{_figure(niqe['bicubic'])} | {_figure(niqe['model'])}"
        yield f"| pristine model {niqe['model_sha256'][:8]} | niqe | {figures} |"


def _figure(value: float | None) -> str:
    """A score; null in JSON is one that is not finite."""
    return "not finite" if value is None or not math.isfinite(value) else f"{value:.4g}"


def _checked(file: Mapping[str, Any]) -> dict[str, object]:
    """How an ONNX file was checked."""
    if "difference_gray" not in file:
        return {}
    difference = f"at most {file['difference_gray']:.2g} gray levels from torch in float32"
    return {"LR images": file["sizes"], "Checked": difference}


def _list(facts: Mapping[str, object]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _said(author: object) -> str:
    return ", ".join(author) if isinstance(author, list) else str(author or TO_SAY)
