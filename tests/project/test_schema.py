"""The JSON schemas of the settings, which editors read."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pipeline.base.params import load_yaml
from pipeline.project.schema import FILES, names_at, schema_of, schema_text
from pipeline.project.sections import CamerasFile, ParamsFile
from pipeline.tools.profiles import find_profile, load_profile, take

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "docs/schema"
PARAMS = schema_of(ParamsFile)


def faults(content: Any, schema: dict[str, Any] = PARAMS) -> list[str]:
    found = Draft202012Validator(schema).iter_errors(content)
    return sorted(".".join(map(str, error.absolute_path)) for error in found)


@pytest.mark.parametrize("name", FILES)
def test_the_schemas_are_current(name: str) -> None:
    current = (SCHEMAS / name).read_text() == schema_text(FILES[name])
    assert current, f"docs/schema/{name} is old: run usrdu params schema, and commit what it wrote"


@pytest.mark.parametrize("name", ["params", "cameras"])
def test_the_files_name_their_schemas(name: str) -> None:
    first = (ROOT / f"{name}.yaml").read_text().splitlines()[0]
    assert first == f"# yaml-language-server: $schema=docs/schema/{name}.json"
    assert (SCHEMAS / f"{name}.json").is_file()


@pytest.mark.parametrize("profile", sorted(path.stem for path in (ROOT / "profiles").iterdir()))
def test_every_profile_fits_the_schema(profile: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    take(path, load_profile(find_profile(ROOT / "profiles", profile)))
    schema = json.loads((SCHEMAS / "params.json").read_text())
    Draft202012Validator.check_schema(schema)
    assert faults(load_yaml(path), schema) == []


def test_the_cameras_fit_the_schema() -> None:
    schema = schema_of(CamerasFile)
    Draft202012Validator.check_schema(schema)
    cameras: Any = load_yaml(ROOT / "cameras.yaml")
    assert faults(cameras, schema) == []
    cameras["phone"].pop("noise")
    cameras["compact"]["mosaic"] = True  # its processor makes the noise
    cameras["jpeg"]["jpeg_quality"] = 101
    assert faults(cameras, schema) == ["compact", "jpeg.jpeg_quality", "phone"]


def test_what_the_settings_refuse_the_schema_refuses() -> None:
    content: Any = load_yaml(ROOT / "params.yaml")
    content["train_srn"] |= {"lr_patch": 7, "theta": "cameras", "epochs": "54", "learn": 1}
    content["prepare"]["scale"] = 5
    content["machine"]["memory"] = -1
    content["architectures"]["a b"] = {"network": "Compact"}
    del content["folders"]["hr"]
    wrong = faults(content)
    assert wrong == [
        "architectures", "folders", "machine.memory", "prepare.scale",
        "train_srn", "train_srn.epochs", "train_srn.lr_patch", "train_srn.theta",
    ]  # fmt: skip


def test_a_setting_is_described_with_its_range_and_its_default() -> None:
    srn = PARAMS["$defs"]["TrainSrnSettings"]["properties"]
    assert srn["lr_patch"] == {
        "default": 16,
        "description": "Side of an LR crop in pixels.",
        "minimum": 8,
        "type": "integer",
    }
    assert srn["discriminator"]["enum"] == ["unet", "vgg"]
    for kind in PARAMS["$defs"].values():
        for name, field in kind["properties"].items():
            assert field.get("description") or "$ref" in field, name


def test_names_are_found_behind_references_and_alternatives() -> None:
    assert "learn_theta" in names_at(PARAMS, ("train_dsn",))
    assert names_at(PARAMS, ("architectures", "any")) == [
        "network", "options", "train", "warm_start",
    ]  # fmt: skip
    assert "fill_factor" in names_at(schema_of(CamerasFile), ("phone", "processor"))
    assert names_at(PARAMS, ("train_dsn", "epochs")) == []
