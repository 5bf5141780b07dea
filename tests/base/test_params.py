"""What a command line changes of a params file: typed like the file, and refused like it."""

import json
import re
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from pipeline.base.errors import UserError
from pipeline.base.params import Params, flat, load_lines, load_yaml, with_values
from pipeline.base.settings import Settings, load_section, load_value


class Stage(Settings):
    """A section as the stages have it."""

    steps: int = Field(ge=1)
    rate: float
    precision: Literal["no", "bf16"]
    name: str | None
    betas: list[float]


class Network(Settings):
    """An entry of a section of entries."""

    options: dict[str, object]


FILE = """\
stage:
  steps: 3
  rate: 0.5
  precision: bf16
  name: null
  betas: [0.9, 0.999]
networks:
  small: {options: {features: 4, blocks: 2}}
other:
  seed: 0
"""
CHANGES = """\
stage: {steps: 5}
recipes:
  fast:
    stage: {steps: 7, name: fast}
    networks: {small: {options: {features: 8}}, new: {options: {}}}
  typo: {stages: {steps: 7}}
  none: 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text(FILE)
    (tmp_path / "changes.yaml").write_text(CHANGES)
    (tmp_path / "whole.yaml").write_text("stage: {steps: 9}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def given(*values: str, overlays: tuple[str, ...] = ()) -> Params:
    return Params(Path("params.yaml"), overlays, values, ("stage", "networks"))


def stage(*values: str, overlays: tuple[str, ...] = ()) -> Stage:
    return load_section(given(*values, overlays=overlays), "stage", Stage)


@pytest.mark.usefixtures("folder")
def test_without_changes_it_is_the_file() -> None:
    assert stage() == load_section(Path("params.yaml"), "stage", Stage)
    assert str(given()) == "params.yaml"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("steps=12", 12),
        ("rate=2", 2.0),
        ("rate=1e-4", 0.0001),
        ("precision=no", "no"),
        ("name=null", None),
        ("name=", None),
        ("name=a=b", "a=b"),
        ("name='7'", "7"),
        ("betas=[0.5, 0.6]", [0.5, 0.6]),
    ],
)
def test_values_have_the_types_of_the_file(change: str, value: object) -> None:
    found = stage(f"stage.{change}")
    assert found == load_section(Path("params.yaml"), "stage", Stage).model_copy(
        update={change.split("=")[0]: value}
    )
    assert type(getattr(found, change.split("=")[0])) is type(value)


@pytest.mark.usefixtures("folder")
def test_the_last_change_of_a_value_counts() -> None:
    assert stage("stage.steps=8", "stage.steps=9").steps == 9


@pytest.mark.usefixtures("folder")
def test_nested_values() -> None:
    params = given("networks.small.options.features=16")
    assert load_section(params, "networks.small", Network).options == {"features": 16, "blocks": 2}
    assert load_value(params, "networks.small.options.features", int) == 16
    replaced = given("networks.small.options={features: 1}")
    assert load_section(replaced, "networks.small", Network).options == {"features": 1}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("stage.steps", "must be SECTION.KEY=VALUE"),
        ("stage=3", "must be SECTION.KEY=VALUE"),
        ("=3", "must be SECTION.KEY=VALUE"),
        ("stage..steps=3", "must be SECTION.KEY=VALUE"),
        ("stage.=3", "must be SECTION.KEY=VALUE"),
        ("stages.steps=3", "the sections that this command reads are: stage, networks"),
        ("other.seed=3", "the sections that this command reads are: stage, networks"),
        ("stage.steps.x=3", "params.yaml has no settings under 'stage.steps'"),
        ("networks.large.options=3", "params.yaml has no settings under 'networks.large'"),
        ("stage.steps=[", "is not valid YAML"),
        ("stage.steps=*a", "is not valid YAML"),
    ],
)
def test_changes_that_are_refused(change: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        stage(change)
    message = str(caught.value)
    assert message.startswith(f"--set {change}: {sentence}") and "\n" not in message


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("stage.step=3", "stage.step is not a known setting"),
        ("stage.steps=0", "stage.steps: input should be greater than or equal to 1, found 0"),
        ("stage.steps=1.5", "stage.steps: input should be a valid integer, found 1.5"),
        ("stage.steps=a", "stage.steps: input should be a valid integer, found 'a'"),
        ("stage.precision=half", "stage.precision: input should be 'no' or 'bf16', found 'half'"),
    ],
)
def test_settings_that_are_refused(change: str, sentence: str) -> None:
    """In the words for a params file; the command line stands before them."""
    with pytest.raises(UserError) as caught:
        stage(change)
    assert str(caught.value) == f"params.yaml with --set {change}: {sentence}"


@pytest.mark.usefixtures("folder")
def test_further_files_change_what_they_name() -> None:
    assert stage(overlays=("whole.yaml",)).steps == 9
    found = stage(overlays=("changes.yaml:recipes.fast",))
    assert (found.steps, found.name, found.rate) == (7, "fast", 0.5)
    both = ("changes.yaml:recipes.fast", "whole.yaml")
    assert (stage(overlays=both).steps, stage(overlays=both).name) == (9, "fast")
    assert stage("stage.steps=2", overlays=both).steps == 2
    params = given(overlays=("changes.yaml:recipes.fast",))
    assert load_section(params, "networks.small", Network).options == {"features": 8, "blocks": 2}
    assert load_section(params, "networks.new", Network).options == {}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [
        ("none.yaml", "none.yaml: cannot be read: No such file or directory"),
        ("none.yaml:a", "none.yaml: cannot be read: No such file or directory"),
        ("changes.yaml", "changes.yaml: params.yaml has no section 'recipes'"),
        ("changes.yaml:recipes.typo", "changes.yaml:recipes.typo: params.yaml has no section"),
        ("changes.yaml:recipes.slow", "changes.yaml: recipes.slow is missing, or is not a mapping"),
        ("changes.yaml:recipes.none", "changes.yaml: recipes.none is missing, or is not a mapping"),
        ("changes.yaml:recipes.none.x", "changes.yaml: recipes.none.x is missing, or is not a"),
    ],
)  # fmt: skip
def test_files_that_are_refused(overlay: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        stage(overlays=(overlay,))
    assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)


def test_a_file_may_have_a_colon_in_its_name(folder: Path) -> None:
    (folder / "a:b.yaml").write_text("stage: {steps: 4}\n")
    assert stage(overlays=("a:b.yaml",)).steps == 4
    (folder / "c:d.yaml").write_text("x: {stage: {steps: 6}}\n")
    assert stage(overlays=("c:d.yaml:x",)).steps == 6


@pytest.mark.usefixtures("folder")
def test_the_file_itself_is_not_changed() -> None:
    params = given("networks.small.options.features=16", overlays=("whole.yaml",))
    assert params.content["stage"] != given().content["stage"]
    assert Path("params.yaml").read_text() == FILE
    assert given().content == given().content


def test_flat_values_come_in_order_with_their_dotted_keys() -> None:
    content = {"n": 2, "a": {"b": {"c": [1]}, "d": "x"}, "e": {}, "f": None}
    assert list(flat(content)) == [("n", 2), ("a.b.c", [1]), ("a.d", "x"), ("f", None)]


def test_a_value_that_was_empty_is_written_with_a_space(tmp_path: Path) -> None:
    """DVC writes null as nothing behind the colon."""
    changed = with_values("a:\n  b:\n  c:  5 # x\n", {"a.b": 1.5, "a.c": 6})
    (tmp_path / "params.yaml").write_text(changed)
    assert load_yaml(tmp_path / "params.yaml") == {"a": {"b": 1.5, "c": 6}}
    assert "  b: 1.5" in changed.splitlines()


@pytest.mark.parametrize("text", ["a:\n  b: 1 # x\n  c:\n", "a:\n  c:\n  b: 1 # x\n"])
def test_an_empty_value_has_its_own_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    lines = {line.key: (line.value, line.comment) for line in load_lines(tmp_path / "params.yaml")}
    assert lines == {"a.b": (1, "x"), "a.c": (None, "")}


def test_merge_keys_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("a:\n  <<: {b: 1}\n")
    with pytest.raises(UserError, match="line 2: merge keys"):
        load_yaml(tmp_path / "params.yaml")


@pytest.mark.parametrize("name", ["esrgan", "x4-v2", "a_b", "2x", "-x", "X"])
def test_names_of_architectures(tmp_path: Path, name: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps({"architectures": {name: {}}}))
    assert Params(path).content == {"architectures": {name: {}}}


@pytest.mark.parametrize(
    "name", ["x4.v2", "a@b", "../evil", "a/b", "a b", "$(touch pwned)", "é", "", "a\n", "x;y", "'"]
)
def test_names_that_paths_and_commands_cannot_hold(tmp_path: Path, name: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps({"architectures": {"good": {}, name: {}}}))
    said = f"{path}: architectures: the name {name!r} is not possible; names are letters"
    with pytest.raises(UserError, match=re.escape(said)):
        _ = Params(path).content
