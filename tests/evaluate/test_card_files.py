"""Cards as files: what people and Hugging Face read, and what an author filled in."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from test_card import TRAINED, save_model

from pipeline.evaluate.card import Format, for_file, new_card
from pipeline.evaluate.card_files import beside, card_of, markdown, read_card, write_card

MEASURES = {"psnr": 25.0, "ssim": 0.5}
SCORES: dict[str, Any] = {
    "images": 2,
    "val": "4" * 64,
    "protocols": {
        "usrdu": {
            "border": 4, "colour": "RGB, 8 bit", "ssim": "Gaussian", "bicubic": MEASURES,
            "model": {"psnr": math.inf, "ssim": 0.75},
        },
    },
    "niqe": {"model_sha256": "5" * 64, "bicubic": 6.5, "model": 4.25},
}  # fmt: skip


def front(text: str) -> dict[str, Any]:
    _, yaml, _ = text.split("---\n", 2)
    found = YAML(typ="safe", pure=True).load(yaml)
    assert isinstance(found, dict)
    return found


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_model(tmp_path / "data" / "train_srn" / "compact" / "srn.safetensors", TRAINED)


def test_the_markdown(model: Path) -> None:
    text = markdown(new_card(model, SCORES))
    said = front(text)
    assert "license" not in said  # a comment is no licence
    assert "# license: to fill in" in text and "Licence: to fill in. Author: to fill in." in text
    assert said["library_name"] == "spandrel" and said["pipeline_tag"] == "image-to-image"
    assert said["tags"][0] == "super-resolution"
    ((result,),) = [one["results"] for one in said["model-index"]]
    assert [one["value"] for one in result["metrics"]] == [0.75]  # the infinite one is left out
    assert "| usrdu: RGB, 8 bit, border 4, SSIM Gaussian | psnr | 25 | not finite |" in text
    assert "| usrdu: RGB, 8 bit, border 4, SSIM Gaussian | ssim | 0.5 | 0.75 |" in text
    assert "| pristine model 55555555 | niqe | 6.5 | 4.25 |" in text
    for sentence in TRAINED["camera"]:
        assert f"- {sentence}\n" in text
    assert "- digest of maps: " + "2" * 64 in text and "- steps: 30" in text
    assert "spandrel 0.1.0 or later" in text and "- theta: camera" in text


def test_the_step_that_validation_chose(tmp_path: Path) -> None:
    chosen = TRAINED | {"chosen": {"step": 20, "by": "psnr"}}
    text = markdown(new_card(save_model(tmp_path / "srn.safetensors", chosen)))
    assert "- kept step: 20, the best on validation images by psnr" in text


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    text = markdown(new_card(save_model(tmp_path / "a.pth")))
    assert not any(head in text for head in ("## Camera", "## Training", "## Scores", "None"))
    assert "model-index" not in front(text)


def test_the_files_and_what_an_author_filled_in(model: Path, tmp_path: Path) -> None:
    card = new_card(model, SCORES)
    place = tmp_path / "card.md"
    assert write_card(place, card) == [place, tmp_path / "card.json"]
    saved = json.loads((tmp_path / "card.json").read_text(), parse_constant=lambda _: 1 / 0)
    assert saved["usrdu"]["scores"]["protocols"]["usrdu"]["model"]["psnr"] is None
    filled = saved | {"license": "CC-BY-4.0", "author": ["ann", "bob"], "date": "2026-01-31"}
    filled["scale"] = 7  # not the author's
    (tmp_path / "card.json").write_text(json.dumps(filled))
    write_card(place, card)
    again = read_card(tmp_path / "card.json")
    assert again is not None and again["scale"] == 4
    assert (again["license"], again["author"]) == ("CC-BY-4.0", ["ann", "bob"])
    text = place.read_text()
    assert front(text)["license"] == "cc-by-4.0" and "to fill in" not in text
    assert "Licence: CC-BY-4.0. Author: ann, bob. Date: 2026-01-31." in text


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"usrdu": 1}', '{"usrdu": {}}', "\xff"])
def test_what_is_no_card(content: str, tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text(content, encoding="latin-1")
    assert read_card(path) is None
    assert read_card(tmp_path / "none.json") is None


def test_a_card_is_found_by_the_file_it_is_of(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert card_of(model) is None
    evaluated = tmp_path / "data" / "evaluate" / "compact" / "card.md"
    write_card(evaluated, new_card(model, SCORES))
    found = card_of(model)
    assert found is not None and found["usrdu"]["scores"]["images"] == 2
    write_card(beside(model), new_card(model))  # nearer, without scores
    found = card_of(model)
    assert found is not None and "scores" not in found["usrdu"]
    beside(model).with_suffix(".json").unlink()
    save_model(model, TRAINED | {"steps": 31})  # trained anew: the scores are of another file
    with caplog.at_level("INFO"):
        assert card_of(model) is None
    assert "is the card of another file" in caplog.text


def test_the_card_of_an_onnx_file(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"123")
    text = markdown(for_file(new_card(model), path, Format("float16", "any", 0.066)))
    assert "- Precision: float16" in text and "- File: a.onnx, 3 bytes" in text
    assert "- Checked: at most 0.066 gray levels from torch in float32" in text
    assert "- Opens with: ONNX Runtime" in text
    assert beside(path).name == "a.onnx.card.md"
