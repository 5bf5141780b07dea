"""Settings: every way a params file can be wrong is one sentence that names file and key."""

import ast
import inspect
import re
from pathlib import Path
from typing import Literal, Self

import pytest
from pydantic import Field, ValidationError, model_validator

from pipeline.audit.histograms import AuditSettings
from pipeline.base.errors import UserError
from pipeline.base.params import load_yaml
from pipeline.base.settings import Settings, load_section
from pipeline.calibrate.settings import CalibrateSettings
from pipeline.camera.estimate import CameraSettings
from pipeline.crops.memory import MachineSettings
from pipeline.demo.camera import Camera
from pipeline.demo.demo import DemoSettings
from pipeline.demo.processor import Processor
from pipeline.evaluate.evaluate import EvaluateSettings
from pipeline.export.export import ExportSettings
from pipeline.prepare.prepare import PrepareSettings
from pipeline.sampling.calibration import Calibration
from pipeline.train_dsn.settings import TrainDsnSettings
from pipeline.train_srn.settings import Architecture, TrainSrnSettings
from pipeline.train_srn.terms import TERMS


class Stage(Settings):
    """A section as the stages have it."""

    steps: int = Field(ge=1)
    rate: float = Field(gt=0)
    precision: Literal["no", "bf16"]
    name: str | None
    high: int = 10

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.steps > self.high:
            raise ValueError("steps must not be above high")
        return self


GOOD = """\
stage:
  steps: 3
  rate: 1e-4
  precision: no
  name: null
"""


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(GOOD)
    return path


def fault(path: Path, content: str | bytes, section: str = "stage") -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        load_section(path, section, Stage)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_good(params: Path) -> None:
    stage = load_section(params, "stage", Stage)
    assert stage == Stage(steps=3, rate=0.0001, precision="no", name=None)
    assert isinstance(stage.rate, float)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("1.0e-4", 1e-4), ("2E3", 2000.0), ("0.5", 0.5), ("5", 5.0), (".5", 0.5)],
)
def test_numbers(params: Path, text: str, value: float) -> None:
    params.write_text(GOOD.replace("1e-4", text))
    assert load_section(params, "stage", Stage).rate == value


@pytest.mark.parametrize("word", ["no", "off", "yes", "on", "y", "~x", "1:30"])
def test_words_stay_words(params: Path, word: str) -> None:
    """In YAML 1.1, no is false and 1:30 is ninety."""
    params.write_text(GOOD.replace("null", word))
    assert load_section(params, "stage", Stage).name == word


WHOLE = "input should be a valid integer"
POSITIVE = "input should be greater than or equal to 1"
CHOICE = "input should be 'no' or 'bf16'"


def test_settings_are_frozen(params: Path) -> None:
    stage = load_section(params, "stage", Stage)
    with pytest.raises(ValidationError, match="frozen"):
        stage.steps = 4  # type: ignore[misc]
    assert stage.steps == 3
    assert hash(stage) == hash(Stage(steps=3, rate=1e-4, precision="no", name=None))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("steps: 3", "steps: 3\n  stepz: 4", "stage.stepz is not a known setting"),
        ("  steps: 3\n", "", "stage.steps is missing"),
        ("steps: 3", "steps: three", f"stage.steps: {WHOLE}, found 'three'"),
        ("steps: 3", "steps: '3'", f"stage.steps: {WHOLE}, found '3'"),
        ("steps: 3", "steps: 3.0", f"stage.steps: {WHOLE}, found 3.0"),
        ("steps: 3", "steps: true", f"stage.steps: {WHOLE}, found True"),
        ("steps: 3", "steps:", f"stage.steps: {WHOLE}, found None"),
        ("steps: 3", "steps: [3]", f"stage.steps: {WHOLE}, found [3]"),
        ("steps: 3", "steps: 0", f"stage.steps: {POSITIVE}, found 0"),
        ("1e-4", "-1", "stage.rate: input should be greater than 0, found -1"),
        ("1e-4", "fast", "stage.rate: input should be a valid number, found 'fast'"),
        ("1e-4", ".inf", "stage.rate: input should be a finite number, found inf"),
        ("1e-4", ".nan", "stage.rate: input should be a finite number, found nan"),
        ("precision: no", "precision: fp8", f"stage.precision: {CHOICE}, found 'fp8'"),
        ("precision: no", "precision: false", f"stage.precision: {CHOICE}, found False"),
        ("steps: 3", "steps: 11", "stage: steps must not be above high"),
    ],
)  # fmt: skip
def test_faults_of_a_key(params: Path, old: str, new: str, sentence: str) -> None:
    assert old in GOOD
    assert fault(params, GOOD.replace(old, new)) == sentence


def test_every_fault_is_named_at_once(params: Path) -> None:
    message = fault(params, "stage:\n  steps: 0\n  rate: x\n  precision: no\n  extra: 1\n")
    for key in ("stage.steps: ", "stage.rate: ", "stage.name is missing", "stage.extra is not"):
        assert key in message
    assert message.count("; ") == 3


@pytest.mark.parametrize("section", ["other", "stag", "stage.steps.more", "stage.inner", ""])
def test_missing_section(params: Path, section: str) -> None:
    assert fault(params, GOOD, section) == f"the section '{section}' is missing"


@pytest.mark.parametrize("value", ["4", "text", "[1, 2]", ""])
def test_section_that_is_no_mapping(params: Path, value: str) -> None:
    message = fault(params, f"stage: {value}\n")
    found = {"4": "4", "text": "'text'", "[1, 2]": "[1, 2]", "": "None"}[value]
    assert message == f"stage must be a mapping of settings, found {found}"


def test_nested_section(params: Path) -> None:
    nested = "outer:\n  first: {steps: 3, rate: 0.1, precision: bf16, name: x}\n"
    params.write_text(nested)
    assert load_section(params, "outer.first", Stage).steps == 3
    message = fault(params, nested.replace("3", "0"), "outer.first")
    assert message == f"outer.first.steps: {POSITIVE}, found 0"
    assert fault(params, nested, "outer.second") == "the section 'outer.second' is missing"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("stage: [1, 2", "line 1: "),
        ("stage:\n  a: 1\n b: 2\n", "line 3: "),
        ("\tstage: 1", "line 1: "),
        ("stage: {a: 1}}", "line 1: "),
        ("a: b: c", "line 1: "),
        ("*nowhere", "line 1: aliases, such as *nowhere, are not taken"),
        (b"stage: \xff\xfe", "can't decode byte 0xff"),
        ("stage: \x00", "special characters are not allowed"),
        ("a: 1\nb: !!python/object:os.system x\n", "line 2: could not determine a constructor"),
        ("--- 1\n--- 2\n", "line 2: expected a single document"),
    ],
)
def test_not_yaml(params: Path, content: str | bytes, words: str) -> None:
    message = fault(params, content)
    assert message.startswith("is not valid YAML: ")
    assert words in message


def test_duplicate_key(params: Path) -> None:
    message = fault(params, GOOD + "  steps: 4\n")
    assert message.startswith("is not valid YAML: line 6: ")
    assert 'duplicate key "steps"' in message
    assert "http" not in message


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "NoneType"),
        ("# x\n", "NoneType"),
        ("- a\n- b\n", "list"),
        ("text", "str"),
        ("3", "int"),
    ],
)
def test_not_a_mapping(params: Path, content: str, found: str) -> None:
    assert fault(params, content) == f"must be a mapping of sections, found {found}"


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_section(tmp_path / "none.yaml", "stage", Stage)
    expected = f"{tmp_path / 'none.yaml'}: cannot be read: No such file or directory"
    assert str(caught.value) == expected
    with pytest.raises(UserError) as caught:
        load_yaml(tmp_path)
    assert str(caught.value) == f"{tmp_path}: cannot be read: Is a directory"


def test_load_yaml(params: Path) -> None:
    assert load_yaml(params) == {
        "stage": {"steps": 3, "rate": 0.0001, "precision": "no", "name": None}
    }


def test_the_params_of_the_project_are_read_as_meant() -> None:
    params = load_yaml(Path(__file__).parents[2] / "params.yaml")
    for section in ("train_dsn", "train_srn"):
        stage = params[section]
        assert isinstance(stage, dict)
        assert isinstance(stage["learning_rate"], float)
        assert isinstance(stage["precision"], str)


# --- the knobs of the project

ROOT = Path(__file__).parents[2]
SECTIONS: dict[str, type[Settings]] = {
    "machine": MachineSettings,
    "demo": DemoSettings,
    "prepare": PrepareSettings,
    "camera": CameraSettings,
    "train_dsn": TrainDsnSettings,
    "export": ExportSettings,
    "calibrate": CalibrateSettings,
    "train_srn": TrainSrnSettings,
    "evaluate": EvaluateSettings,
    "audit": AuditSettings,
}
"""Every section that has defaults."""
KINDS: list[type[Settings]] = [*SECTIONS.values(), Architecture]
KNOBS = [(kind, name) for kind in KINDS for name in kind.model_fields]


@pytest.mark.parametrize("section", SECTIONS)
def test_the_params_file_shows_every_default(section: str) -> None:
    """A default stands in the class, where a notebook finds it, and in the file, for people."""
    kind = SECTIONS[section]
    shown = load_yaml(ROOT / "params.yaml")[section]
    assert isinstance(shown, dict) and shown.keys() == kind.model_fields.keys()
    assert load_section(ROOT / "params.yaml", section, kind) == kind()


def test_no_other_section_has_settings() -> None:
    others = {"profile", "folders", "architectures"}
    assert load_yaml(ROOT / "params.yaml").keys() == SECTIONS.keys() | others


def sources(kind: type[Settings]) -> list[str]:
    """Dotted names of the modules in which fields of a settings class are defined."""
    return [base.__module__ for base in kind.__mro__ if base.__module__.startswith("pipeline.")]


def reads(field: str, kind: type[Settings]) -> list[str]:
    """Files of code that read an attribute of the name, and know the class or one it extends."""
    modules = [name for name in sources(kind) if name != "pipeline.base.settings"]
    found = []
    for file in [*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "stages").rglob("*.py")]:
        text = file.read_text()
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        knows = name in modules or any(f"from {module} import" in text for module in modules)
        if knows and any(
            isinstance(node, ast.Attribute)
            and node.attr == field
            and isinstance(node.ctx, ast.Load)
            and ast.unparse(node.value).split(".")[-1] in OWNERS
            for node in ast.walk(ast.parse(text))
        ):
            found.append(name)
    return found


OWNERS = {"self", "settings", "machine", "architecture"}
"""What settings are called where they are read."""


@pytest.mark.parametrize(("kind", "field"), KNOBS)
def test_every_knob_is_read_by_some_code(kind: type[Settings], field: str) -> None:
    term = field.removesuffix("_weight")
    if kind is TrainSrnSettings and term in TERMS:  # SrnLoss asks weight_of for each of them
        settings = TrainSrnSettings.model_validate({field: 0.25, "ema_decay": 0.5})
        assert settings.weight_of(term) == 0.25
    else:
        assert reads(field, kind)


def docstring(kind: type[Settings], field: str) -> str:
    """The string under a field, in the class or one it extends."""
    for base in kind.__mro__:
        if not base.__module__.startswith("pipeline."):
            continue
        (tree,) = ast.parse(inspect.getsource(base)).body
        assert isinstance(tree, ast.ClassDef)
        for node, following in zip(tree.body, tree.body[1:], strict=False):
            named = isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == field
            if named and isinstance(following, ast.Expr):
                assert isinstance(following.value, ast.Constant)
                return str(following.value.value)
    return ""


UNITS = re.compile(
    r"GiB|pixels?|channels|gray levels|blocks|crops|shares|images|tiles|epochs?|steps?|rounds|bits"
    r"|rate|factor|weight|norm|decay|bins|deviations|seed|from 0 to 1",
    re.IGNORECASE,
)


@pytest.mark.parametrize(("kind", "field"), KNOBS)
def test_every_knob_is_explained_with_its_unit(kind: type[Settings], field: str) -> None:
    words = docstring(kind, field)
    assert words.endswith(".")
    if re.search(r"\b(int|float)\b", str(kind.model_fields[field].annotation)):
        assert UNITS.search(words), words


@pytest.mark.parametrize("kind", [*KINDS, Camera, Processor, Calibration])
def test_what_is_in_gray_levels_says_so_in_its_name(kind: type[Settings]) -> None:
    for field in kind.model_fields:
        assert ("gray level" in docstring(kind, field)) == field.endswith("_gray"), field


def test_settings_of_a_notebook() -> None:
    settings = TrainDsnSettings(epochs=3)
    assert (settings.epochs, settings.features) == (3, 16)
    with pytest.raises(ValidationError, match="epoch\n  Extra inputs are not permitted"):
        TrainDsnSettings(epoch=3)  # type: ignore[call-arg]
    assert Architecture(network="Compact").options == {}
