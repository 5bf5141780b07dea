"""The shape of the project: dvc.yaml against the code, the layers, the homes of the libraries."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
STAGES = ["demo", "prepare", "train_dsn", "export", "calibrate", "audit", "train_srn", "evaluate"]


def load(name: str) -> dict[str, Any]:
    content = YAML(typ="safe", pure=True).load((ROOT / name).read_text())
    assert isinstance(content, dict)
    return content


DVC = load("dvc.yaml")
PARAMS = load("params.yaml")


def modules() -> list[str]:
    return sorted(
        str(path.relative_to(ROOT))
        for folder in ("pipeline", "stages")
        for path in (ROOT / folder).rglob("*.py")
    )


def imported(file: str) -> Iterator[str]:
    """Dotted names a file imports, at its top or inside functions."""
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def project_imports(file: str) -> set[str]:
    """Files of the project that a file imports, packages' own ``__init__`` left out."""
    candidates = {f"{name.replace('.', '/')}.py" for name in imported(file)}
    return {name for name in candidates if name in modules()}


def closure(file: str) -> set[str]:
    seen, waiting = {file}, [file]
    while waiting:
        new = project_imports(waiting.pop()) - seen
        seen |= new
        waiting += new
    return seen


def paths(entries: list[Any]) -> set[str]:
    return {next(iter(entry)) if isinstance(entry, dict) else str(entry) for entry in entries}


def sections(entries: list[Any]) -> set[tuple[str, str]]:
    """Files and sections that a stage's ``params`` name; a plain name is of ``params.yaml``."""
    found: set[tuple[str, str]] = set()
    for entry in entries:
        of = entry if isinstance(entry, dict) else {"params.yaml": [entry]}
        found |= {(file, name) for file, names in of.items() for name in names}
    return found


def substituted(text: str) -> str:
    for name, folder in PARAMS["folders"].items():
        text = text.replace("${folders." + name + "}", folder)
    return text


def test_the_stages_are_the_commands() -> None:
    assert list(DVC["stages"]) == STAGES
    from stages.cli import COMMANDS

    for stage in STAGES:
        command = stage.replace("_", "-")
        assert command in COMMANDS
        assert DVC["stages"][stage]["cmd"].split()[:2] == ["usrdu", command]
        assert (ROOT / "stages" / f"{stage}.py").exists()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_every_module_it_imports(stage: str) -> None:
    deps = paths(DVC["stages"][stage]["deps"])
    code = {path for path in deps if path.endswith(".py")}
    assert code == closure(f"stages/{stage}.py")


def test_the_template_of_the_page_is_a_dependency() -> None:
    templates = {str(path.relative_to(ROOT)) for path in (ROOT / "pipeline").rglob("*.jinja")}
    assert templates
    assert templates <= paths(DVC["stages"]["audit"]["deps"])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_its_section(stage: str) -> None:
    assert stage in PARAMS
    assert stage in paths(DVC["stages"][stage]["params"])


@pytest.mark.parametrize("stage", STAGES)
def test_the_sections_a_stage_reads_are_its_params(stage: str) -> None:
    """Every ``load_section(FILE, NAME, ...)`` in the command names a declared section."""
    tree = ast.parse((ROOT / "stages" / f"{stage}.py").read_text())
    read = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "load_section":
            file, section = ast.unparse(node.args[0]), node.args[1]
            if isinstance(section, ast.Constant):
                name = str(section.value)
            else:
                name = {
                    "f'architectures.{arch}'": "architectures.${item.arch}",
                    "settings.camera": "${demo.camera}",
                }[ast.unparse(section)]
            read.add(({"params": "params.yaml", "cameras": "cameras.yaml"}[file], name))
    read.discard(("params.yaml", "machine"))  # it changes no result
    assert read == sections(DVC["stages"][stage]["params"])


@pytest.mark.parametrize("stage", STAGES)
def test_every_path_of_a_command_is_a_dependency_or_an_output(stage: str) -> None:
    entry = DVC["stages"][stage]
    deps, outs = paths(entry["deps"]), paths(entry["outs"]) | paths(entry["metrics"])
    words = entry["cmd"].split()
    named = {word for word in words if "/" in word or word.startswith("${folders")}
    assert named
    for path in named:
        inside = any(out == path or out.startswith(f"{path}/") for out in outs)
        assert path in deps or inside, path
    for path in deps - named:
        assert path.endswith((".py", ".jinja")), path


def test_every_input_is_written_by_a_stage_or_given_by_the_user() -> None:
    written: set[str] = set()
    for stage in STAGES:
        entry = DVC["stages"][stage]
        for path in paths(entry["deps"]):
            if path.endswith((".py", ".jinja")):
                assert (ROOT / path).exists()
                continue
            place = substituted(path)
            if (ROOT / place / "README.md").is_file():  # stands for what the user does not have
                continue
            assert any(place == out or place.startswith(f"{out}/") for out in written), place
        written |= paths(entry["outs"])


def test_changing_the_srn_retrains_no_dsn() -> None:
    upstream = {"demo", "prepare", "train_dsn", "export", "audit"}
    for stage in upstream:
        assert "pipeline/train_srn.py" not in paths(DVC["stages"][stage]["deps"])
        assert "pipeline/networks/srn.py" not in paths(DVC["stages"][stage]["deps"])
        assert "train_srn" not in paths(DVC["stages"][stage]["params"])
    srn = paths(DVC["stages"]["train_srn"]["deps"])
    assert not srn & {"pipeline/networks/dsn.py", "pipeline/degrader.py", "pipeline/train_dsn.py"}


def test_changing_how_stores_are_written_runs_only_what_writes_them() -> None:
    writing = {n for n in STAGES if "pipeline/store_writer.py" in paths(DVC["stages"][n]["deps"])}
    assert writing == {"demo", "prepare", "export"}


def test_plots_name_outputs() -> None:
    outs = {
        path.replace("${item.arch}", arch)
        for stage in STAGES
        for path in paths(DVC["stages"][stage]["outs"])
        for arch in PARAMS["architectures"]
    }
    for entry in DVC["plots"]:
        if isinstance(entry, str):
            assert entry in outs
        else:
            (plot,) = entry.values()
            assert set(plot["y"]) <= outs


LAYERS = [
    ["errors", "files", "overlap"],
    ["cluster"],
    ["settings", "seeding", "laplace", "filters", "losses", "tiling", "image_ids", "networks/dsn"],
    ["memory", "schedule", "store_format"],
    ["networks/discriminator", "networks/srn", "images", "perceptual", "checkpoints"],
    ["foreign", "onnx_file", "strips"],
    ["protocols", "niqe_model"],
    ["niqe"],
    ["stores", "store_writer"],
    ["pictures", "similarity", "inference", "training", "camera", "photographs"],
    ["recovery_table", "reference", "verify"],
    ["finished"],
    ["crops", "degrader", "tally", "agreement", "two_sample", "difference", "presets"],
    ["jpeg", "held_out", "cleaning", "noise", "calibration", "pile", "window"],
    ["batches", "learner"],
    ["unpaired", "stream", "judge", "audit_tables", "audit_tasks", "audit_charts", "audit_page"],
    ["audit_graph"],
]
"""From the bottom up; engines, which are not listed, stand above all of them."""


def test_the_layers_hold() -> None:
    level = {f"pipeline/{name}.py": i for i, names in enumerate(LAYERS) for name in names}
    for file in modules():
        for target in project_imports(file):
            if file.startswith("pipeline/"):
                assert target.startswith("pipeline/"), f"{file} imports {target}"
                if file in level:
                    assert level.get(target, 99) <= level[file], f"{file} imports {target}"


ENGINES = [*STAGES, "upscale", "niqe_fit", "degrade", "convert", "doctor"]


def test_engines_do_not_import_each_other() -> None:
    engines = {f"pipeline/{name}.py" for name in ENGINES}
    assert engines <= set(modules())
    for engine in engines:
        assert not project_imports(engine) & engines


def test_recovery_runs_the_engines_and_nothing_runs_it() -> None:
    engines = {f"pipeline/{name}.py" for name in ENGINES}
    assert project_imports("pipeline/recovery.py") & engines
    importers = [file for file in modules() if "pipeline/recovery.py" in project_imports(file)]
    assert importers == ["stages/recovery.py"]
    assert "recovery" not in DVC["stages"]


HOMES = {
    "click": {"stages"},
    "zarr": {"pipeline/stores.py", "pipeline/store_writer.py"},
    "numcodecs": {"pipeline/store_writer.py"},
    "fsspec": {"pipeline/stores.py"},
    "psutil": {"pipeline/memory.py", "pipeline/doctor.py"},
    "dask": {"pipeline/audit_graph.py"},
    "distributed": {"pipeline/cluster.py"},
    "jinja2": {"pipeline/audit_page.py"},
    "imageio": {"pipeline/images.py"},
    "imagecodecs": {"pipeline/images.py"},
    "tifffile": {"pipeline/images.py", "pipeline/strips.py"},
    "torchvision": {"pipeline/perceptual.py"},
    "lpips": {"pipeline/similarity.py"},
    "piq": {"pipeline/similarity.py"},
    "skimage": {"pipeline/similarity.py"},
    "spandrel": {"pipeline/networks/srn.py"},
    "safetensors": {"pipeline/checkpoints.py"},
    "scipy": {"pipeline/reference.py", "pipeline/niqe.py", "pipeline/niqe_model.py"},
    "onnx": {"pipeline/onnx_file.py"},
    "onnxruntime": {"pipeline/onnx_file.py"},
    "matplotlib": {"pipeline/pictures.py"},
    "ruamel": {"pipeline/settings.py"},
    "vl_convert": {"stages/plots_page.py"},
}


def test_every_library_has_its_home() -> None:
    for file in modules():
        for name in imported(file):
            homes = HOMES.get(name.split(".")[0])
            if homes is not None:
                assert any(file.startswith(home) for home in homes), f"{file} imports {name}"


def test_the_library_knows_no_command_line_and_no_environment() -> None:
    for file in modules():
        if file.startswith("pipeline/"):
            text = (ROOT / file).read_text()
            assert "os.environ" not in text
            assert "sys.argv" not in text
            assert not {"click", "argparse", "os"} & {n.split(".")[0] for n in imported(file)}, file


def test_help_imports_no_heavy_library() -> None:
    script = (
        "import sys; from stages.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'zarr', 'dask', 'numpy', 'matplotlib', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "train-dsn" in done.stdout


OTHERS = ["upscale", "degrade", "convert", "niqe_fit", "recovery", "plots_page", "verify"]
OTHERS += ["doctor"]
OTHERS += ["params", "params show", "params use"]


@pytest.mark.parametrize("stage", [*STAGES, *OTHERS])
def test_help_shows_an_example(stage: str) -> None:
    from click.testing import CliRunner

    from stages.cli import main

    words = stage.replace("_", "-").split()
    shown = CliRunner().invoke(main, [*words, "--help"])
    assert shown.exit_code == 0
    assert f"Example: usrdu {' '.join(words)} " in shown.output


def test_the_params_file_fits_the_settings() -> None:
    from pipeline.calibrate import CalibrateSettings
    from pipeline.demo import DemoSettings
    from pipeline.evaluate import EvaluateSettings
    from pipeline.export import ExportSettings
    from pipeline.memory import MachineSettings
    from pipeline.prepare import PrepareSettings
    from pipeline.recovery import RecoverySettings
    from pipeline.settings import Settings, changed, load_section
    from pipeline.tally import AuditSettings
    from pipeline.train_dsn import TrainDsnSettings
    from pipeline.train_srn import Architecture, TrainSrnSettings

    kinds: dict[str, type[Settings]] = {
        "demo": DemoSettings,
        "prepare": PrepareSettings,
        "train_dsn": TrainDsnSettings,
        "export": ExportSettings,
        "calibrate": CalibrateSettings,
        "audit": AuditSettings,
        "train_srn": TrainSrnSettings,
        "evaluate": EvaluateSettings,
        "recovery": RecoverySettings,
        "machine": MachineSettings,
        **{f"architectures.{name}": Architecture for name in PARAMS["architectures"]},
    }
    assert set(kinds) - {n for n in kinds if "." in n} == {*STAGES, "recovery", "machine"}
    path = ROOT / "params.yaml"
    for section, kind in kinds.items():
        load_section(path, section, kind)
    recovery = load_section(path, "recovery", RecoverySettings)
    dsn = load_section(path, "train_dsn", TrainDsnSettings)
    srn = load_section(path, "train_srn", TrainSrnSettings)
    changed(srn, recovery.train_srn, path, "recovery.train_srn")
    for name, changes in recovery.recipes.items():
        changed(dsn, changes, path, f"recovery.recipes.{name}")


def test_every_line_of_the_params_file_is_explained() -> None:
    section = ""
    for line in (ROOT / "params.yaml").read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            section = line.split(":")[0]
        explained = section == "architectures" or line.strip().endswith("seed: 0")
        if line.startswith("  ") and not explained and "seed:" not in line:
            assert "#" in line, line


CAMERAS = load("cameras.yaml")


@pytest.mark.parametrize("name", CAMERAS)
def test_every_entry_of_the_cameras_file_is_a_camera(name: str) -> None:
    from pipeline.camera import Camera
    from pipeline.settings import load_section

    assert "." not in name
    load_section(ROOT / "cameras.yaml", name, Camera)


def test_the_demo_uses_a_camera_of_the_file() -> None:
    assert PARAMS["demo"]["camera"] in CAMERAS


def test_every_camera_is_explained() -> None:
    lines = (ROOT / "cameras.yaml").read_text().splitlines()
    tops = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert [line.split(":")[0] for line in tops] == list(CAMERAS)
    for line in tops:
        assert "#" in line, line
