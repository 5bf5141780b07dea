"""What a card says of a model, against the fields that OpenModelDB documents."""

import hashlib
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from spandrel import MAIN_REGISTRY

from pipeline.evaluate.card import Format, for_file, model_name, new_card
from pipeline.evaluate.spandrel_release import FIRST, least_version
from pipeline.srn.network import build
from pipeline.stores.weights import save_weights
from pipeline.train_srn.settings import TrainSrnSettings

SETTINGS = TrainSrnSettings(batch_size=4, lr_patch=12, accumulate=2, spectrum_weight=0.5)
TRAINED: dict[str, Any] = {
    "format": "usrdu-srn",
    "scale": 4,
    "architecture": {"network": "Compact", "options": {"num_feat": 4, "num_conv": 1}},
    "settings": SETTINGS.model_dump(mode="json"),
    "steps": 30,
    "trained_on": {"hr": "1" * 64, "maps": "2" * 64, "camera": "3" * 16},
    "images": 6,
    "camera": ["Blur of 0.80 LR pixels.", "JPEG compression, about quality 80 (4:2:0)."],
}


def save_model(path: Path, metadata: dict[str, Any] | None = None) -> Path:
    """A small Compact model."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build("Compact", 4, {"num_feat": 4, "num_conv": 1}, 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".pth":
        torch.save(network.state_dict(), path)
    else:
        save_weights(path, network.state_dict(), metadata or {})
    return path


def text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def number(value: object) -> bool:
    return isinstance(value, int) and value > 0


def texts(value: object) -> bool:
    return isinstance(value, list) and all(text(one) for one in value)


def resources(value: object) -> bool:
    assert isinstance(value, list)
    kinds = {("pytorch", "pth"), ("pytorch", "safetensors"), ("onnx", "onnx")}
    return all(
        set(one) == {"platform", "type", "size", "sha256", "urls"}
        and (one["platform"], one["type"]) in kinds
        and number(one["size"])
        and re.fullmatch("[0-9a-f]{64}", one["sha256"])
        and one["urls"] == []
        for one in value
    )


DOCUMENTED: dict[str, Callable[[object], Any]] = {
    "name": text, "tags": texts, "description": text, "architecture": text,
    "size": lambda value: value is None or texts(value),
    "scale": number, "inputChannels": number, "outputChannels": number, "resources": resources,
    "trainingIterations": number, "trainingBatchSize": number, "trainingHRSize": number,
    "trainingOTF": lambda value: isinstance(value, bool), "datasetSize": number,
    "images": lambda value: value == [],
}  # fmt: skip
"""The catalogue's fields and their types, from its schema."""
AUTHORS = ("author", "license", "date")
"""Fields that only the author knows."""


def test_the_fields_are_those_of_the_catalogue(tmp_path: Path) -> None:
    card = new_card(save_model(tmp_path / "compact" / "srn.safetensors", TRAINED))
    for name, check in DOCUMENTED.items():
        assert check(card[name]), name
    assert set(card) == {*DOCUMENTED, *AUTHORS, "usrdu"}
    assert {card[name] for name in AUTHORS} == {None}
    assert re.fullmatch(r"\d+x-[a-zA-Z0-9]+(?:-[a-zA-Z0-9]+)*", card["name"])
    assert card["name"] == "4x-compact" and card["architecture"] == "compact"
    assert set(card["tags"]) <= {"photo", "denoise", "jpeg", "deblur", "restoration"}
    found = {name: card[name] for name in DOCUMENTED if name.startswith("training")}
    assert found == {
        "trainingIterations": 30, "trainingBatchSize": 8, "trainingHRSize": 48, "trainingOTF": True,
    }  # fmt: skip


def test_what_only_this_project_knows(tmp_path: Path) -> None:
    path = save_model(tmp_path / "srn.safetensors", TRAINED)
    own = new_card(path, {"images": 2, "val": "4" * 64})["usrdu"]
    assert own["network"] == "Compact" and own["options"] == {"num_feat": 4, "num_conv": 1}
    assert own["camera"] == TRAINED["camera"] and own["trained_on"] == TRAINED["trained_on"]
    assert (own["settings"]["lr_from"], own["settings"]["theta"]) == ("maps", "camera")
    assert own["settings"]["spectrum_weight"] == 0.5
    assert "low_pass_weight" not in own["settings"]  # it is zero
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    scores = {"images": 2, "val": "4" * 64, "file": "srn.safetensors", "sha256": sha256}
    assert own["scores"] == scores


@pytest.mark.parametrize("name", ["4x_Foreign_v2.pth", "4x_Foreign_v2.safetensors"])
def test_a_model_of_unknown_origin(name: str, tmp_path: Path) -> None:
    card = new_card(save_model(tmp_path / name))
    assert card["name"] == "4x-Foreign-v2" and card["scale"] == 4
    assert card["tags"] == [] and "How it was trained is not known." in card["description"]
    assert not any(key.startswith(("training", "dataset")) for key in card)
    assert card["usrdu"]["settings"] == {} and card["usrdu"]["camera"] is None


@pytest.mark.parametrize(
    "metadata",
    [
        {"format": "usrdu-srn", "settings": {"seed": 5}},
        {"format": "usrdu-srn", "settings": {"lr_from": "moon"}},
        {"format": "usrdu-srn", "settings": 3, "camera": "x"},
        {"format": "other", "settings": TRAINED["settings"]},
        {},
    ],
)
def test_metadata_of_another_version_say_nothing(metadata: dict[str, Any], tmp_path: Path) -> None:
    card = new_card(save_model(tmp_path / "a.safetensors", metadata))
    assert card["usrdu"]["settings"] == {} and card["tags"] == []


@pytest.mark.parametrize(
    ("lr_from", "theta", "camera", "tags", "otf"),
    [
        ("maps", "none", None, ["photo"], True),
        ("maps", "raw", None, ["photo", "denoise"], True),
        ("maps", "camera", ["No JPEG compression."], ["photo", "denoise"], True),
        ("generic", "raw", None, ["photo", "denoise", "jpeg"], True),
        ("bicubic", "camera", None, ["photo"], False),
        ("pairs", "camera", None, ["photo"], False),
    ],
)
def test_tags_follow_from_the_training(
    lr_from: str, theta: str, camera: object, tags: list[str], otf: bool, tmp_path: Path
) -> None:
    settings = TRAINED["settings"] | {"lr_from": lr_from, "theta": theta}
    changed = TRAINED | {"settings": settings, "camera": camera}
    card = new_card(save_model(tmp_path / "srn.safetensors", changed))
    assert (card["tags"], card["trainingOTF"]) == (tags, otf)


def test_the_card_of_another_file(tmp_path: Path) -> None:
    card = new_card(save_model(tmp_path / "srn.safetensors", TRAINED))
    other = tmp_path / "a.onnx"
    other.write_bytes(b"12345")
    moved = for_file(card, other, Format("float16", "64x64 alone", 0.25))
    assert moved["resources"] == [{
        "platform": "onnx", "type": "onnx", "size": 5, "urls": [],
        "sha256": hashlib.sha256(b"12345").hexdigest(),
    }]  # fmt: skip
    assert moved["usrdu"]["file"] == {
        "name": "a.onnx", "precision": "float16", "sizes": "64x64 alone", "difference_gray": 0.25,
    }  # fmt: skip
    unchanged = {key: value for key, value in moved.items() if key not in ("resources", "usrdu")}
    assert unchanged == {key: card[key] for key in unchanged}
    assert card["resources"][0]["type"] == "safetensors"  # the first one stays


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("train_srn/esrgan/srn.safetensors", "esrgan"),
        ("models/2x-My Net (3).pth", "My-Net-3"),
        ("models/4x.pth", "model"),
    ],
)
def test_names(path: str, name: str) -> None:
    assert model_name(Path(path)) == name


def test_every_network_has_a_least_version() -> None:
    """Versions are in order and not above the installed one; a newer network needs that."""
    names = [name for networks in FIRST.values() for name in networks]
    assert len(names) == len(set(names))
    assert set(names) <= {str(one.architecture.id) for one in MAIN_REGISTRY}
    assert least_version("ESRGAN") == "0.1.0" and least_version("RCAN") == "0.4.1"
    assert least_version("NoSuchNet") == version("spandrel")
