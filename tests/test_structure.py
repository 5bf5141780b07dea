"""The shape of the project: dvc.yaml against the code, the layers, the homes of the libraries."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.tools.recovery_cell import words

ROOT = Path(__file__).parent.parent
STAGES = [
    "demo",
    "prepare",
    "camera",
    "train_dsn",
    "export",
    "calibrate",
    "audit",
    "train_srn",
    "evaluate",
]
PACKAGES = [
    "base", "images", "camera_files", "reading", "stores", "writing", "sampling", "noise",
    "comparison", "parallel", "crops", "optimisation", "training", "runs", "passport", "dsn", "srn",
    "scores", "demo",
    "piles", "prepare", "camera", "train_dsn", "export", "calibrate", "report", "audit",
    "uncertainty", "figures", "train_srn", "library", "evaluate", "tools", "recovery", "project",
    "run_page",
]  # fmt: skip
"""From the bottom up: a package imports itself and what stands before it."""
FACE = {"stages/options.py", "stages/messages.py", "stages/cli.py"}
"""How a command line is read and how figures are printed; they change no result."""
PLAIN = ("errors", "files", "hashes", "params")
"""Modules of ``pipeline/base`` that it may use."""


def load(name: str) -> dict[str, Any]:
    content = YAML(typ="safe", pure=True).load((ROOT / name).read_text())
    assert isinstance(content, dict)
    return content


DVC = load("dvc.yaml")
PARAMS = load("params.yaml")
RECOVERY = load("recovery/dvc.yaml")["stages"]
RECOVERY_PARAMS = load("recovery/params.yaml")
TABLE1 = load("recovery/table1/dvc.yaml")["stages"]
TABLE1_PARAMS = load("recovery/table1/params.yaml")
YARDSTICKS = {f"recovery {name}": entry for name, entry in RECOVERY.items()}
YARDSTICKS |= {f"table1 {name}": entry for name, entry in TABLE1.items()}
ENTRIES = DVC["stages"] | YARDSTICKS
"""The stages of all files."""


def modules() -> list[str]:
    return sorted(
        str(path.relative_to(ROOT))
        for folder in ("pipeline", "stages")
        for path in (ROOT / folder).rglob("*.py")
    )


MODULES = frozenset(modules())


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
    return {f"{name.replace('.', '/')}.py" for name in imported(file)} & MODULES


def closure(file: str) -> set[str]:
    seen, waiting = {file}, [file]
    while waiting:
        new = project_imports(waiting.pop()) - seen
        seen |= new
        waiting += new
    return seen


def paths(entries: list[Any]) -> set[str]:
    return {next(iter(entry)) if isinstance(entry, dict) else str(entry) for entry in entries}


def outputs(stage: str) -> set[str]:
    """Files and folders that a stage writes; plots and metrics are outputs of their own kinds."""
    entry = ENTRIES[stage]
    return paths(entry["outs"]) | paths(entry.get("plots", [])) | paths(entry.get("metrics", []))


PROGRAM = "python -m stages "
CELL = {name: f"${{item.{name}}}" for name in ("camera", "recipe", "reference", "dsn", "source")}
CELL |= {"row": "${item.row.name}", "seed": "${item.seed}"}
CELL |= {name: f"${{folders.{name}}}" for name in ("hr", "scenes", "val")}
OF_ARCH = {
    "train_srn": "--arch ${item.arch} --out data/train_srn/${item.arch}",
    "evaluate": "--arch ${item.arch} --model data/train_srn/${item.arch}/srn.safetensors "
    "--out data/evaluate/${item.arch} --metrics data/evaluate/${item.arch}/metrics.json",
}
"""What ``${item}`` stands for: the name as an option, and its defaults."""


def command(stage: str) -> str:
    """The words behind ``usrdu`` of a stage's command."""
    text: str = ENTRIES[stage]["cmd"]
    assert text.startswith(PROGRAM)
    assert not set(re.findall(r"[$][{][^}]*[}]", text)) - {"${item}"}, "values meet the shell"
    name = stage.removeprefix("recovery ").replace("table1 ", "table1_")
    if text == f"{PROGRAM}recovery-cell {name} ${{item}}":
        row = {key: f"${{item.row.{key}}}" for key in ("dsn", "source")}
        return " ".join(words(name, CELL | (row if "row" in ENTRIES[stage]["matrix"] else {})))
    return text.removeprefix(PROGRAM).replace("${item}", OF_ARCH.get(stage, "${item}"))


def module(stage: str) -> str:
    """The file of a stage's command."""
    name = command(stage).split()[0].replace("-", "_")
    return f"stages/{name}.py" if name in STAGES else f"stages/tools/{name}.py"


def code_deps(stage: str) -> set[str]:
    """Folders and files of code that a stage depends on."""
    deps = paths(ENTRIES[stage]["deps"])
    return {path for path in deps if path.startswith(("pipeline/", "stages/"))}


def runs_again(file: str) -> set[str]:
    """Stages that ``dvc repro`` runs again after an edit of a file of code."""
    return {
        stage
        for stage in STAGES
        if any(file == dep or file.startswith(f"{dep}/") for dep in code_deps(stage))
    }


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
        assert stage.replace("_", "-") in COMMANDS
        assert command(stage).split()[0] == stage.replace("_", "-")
        assert (ROOT / "stages" / f"{stage}.py").exists()


@pytest.mark.parametrize("stage", ENTRIES)
def test_what_a_stage_imports_lies_in_its_folders(stage: str) -> None:
    needed = closure(module(stage)) - FACE
    deps = code_deps(stage)
    for dep in deps:
        covered = {file for file in needed if file == dep or file.startswith(f"{dep}/")}
        assert covered, f"{stage} depends on {dep}, but imports nothing of it"
        needed -= covered
    assert not needed, f"{stage} imports these, but does not depend on them"


def test_code_is_named_by_folder() -> None:
    everything = [dep for stage in STAGES for dep in code_deps(stage)]
    assert len(everything) <= 86  # of 9 stages; camera_files, scores and runs are in two each
    for dep in [dep for stage in ENTRIES for dep in code_deps(stage)]:
        assert dep.startswith("stages/") or dep.removeprefix("pipeline/") in PACKAGES


def test_the_face_of_the_commands_changes_no_result() -> None:
    """It reads no image and computes nothing, so no stage depends on it."""
    for file in FACE:
        assert closure(file) <= FACE | {f"pipeline/base/{name}.py" for name in PLAIN}
        heavy = {"numpy", "torch", "zarr", "scipy", "pipeline.stores", "pipeline.sampling"}
        assert not heavy & {name.split(".")[0] for name in imported(file)}
        assert not runs_again(file)


def test_byte_code_is_no_code() -> None:
    ignored = (ROOT / ".dvcignore").read_text().splitlines()
    assert {"__pycache__/", "*.pyc"} <= set(ignored)


ALL = set(STAGES)
EDITS = {
    "pipeline/tools/doctor.py": set(),
    "pipeline/tools/strip_writer.py": set(),
    "pipeline/project/plan.py": set(),
    "pipeline/camera_files/raw.py": {"demo", "prepare"},
    "pipeline/tools/degrade.py": set(),
    "pipeline/recovery/table.py": set(),
    "pipeline/run_page/page.html.jinja": set(),
    "pipeline/__init__.py": set(),
    "pipeline/library/dataset.py": set(),
    "stages/options.py": set(),
    "stages/tools/upscale.py": set(),
    "pipeline/writing/writer.py": {"prepare", "export"},
    "pipeline/prepare/cleaning.py": {"prepare"},
    "pipeline/piles/faults.py": {"prepare"},
    "pipeline/demo/camera.py": {"demo"},
    "pipeline/camera/fit.py": {"camera"},
    "pipeline/train_dsn/train.py": {"train_dsn"},
    "pipeline/train_dsn/reference.py": {"train_dsn"},
    "pipeline/dsn/network.py": {"train_dsn", "export", "audit"},
    "pipeline/export/degrader.py": {"export"},
    "pipeline/calibrate/calibrate.py": {"calibrate"},
    "pipeline/noise/estimate.py": {"camera", "train_dsn", "calibrate", "audit"},
    "pipeline/audit/page.html.jinja": {"audit"},
    "pipeline/report/charts.py": {"audit"},
    "pipeline/report/script.js": {"audit"},
    "pipeline/train_srn/streams.py": {"train_srn"},
    "pipeline/srn/network.py": {"train_srn", "evaluate"},
    "pipeline/scores/niqe.py": {"train_srn", "evaluate"},
    "pipeline/evaluate/tiled.py": {"evaluate"},
    "pipeline/evaluate/card.py": {"evaluate"},
    "pipeline/crops/window.py": {"train_dsn", "train_srn"},
    "pipeline/optimisation/rates.py": {"train_dsn", "train_srn"},
    "pipeline/runs/loop.py": {"train_dsn", "train_srn"},
    "pipeline/sampling/calibration.py": ALL - {"prepare", "evaluate"},
    "pipeline/passport/passport.py": {"camera", "train_dsn", "export", "audit", "train_srn"},
    "pipeline/stores/reader.py": ALL - {"demo"},
    "pipeline/base/errors.py": ALL,
}
"""A file, and the stages that run again when it is edited."""


@pytest.mark.parametrize("file", EDITS)
def test_an_edit_runs_these_stages_again(file: str) -> None:
    assert (ROOT / file).is_file()
    assert runs_again(file) == EDITS[file]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_its_section(stage: str) -> None:
    assert stage in PARAMS
    assert stage in paths(DVC["stages"][stage]["params"])


READERS = {"load_section", "load_value"}


@pytest.mark.parametrize("stage", STAGES)
def test_the_sections_a_stage_reads_are_its_params(stage: str) -> None:
    """Every ``load_section(FILE, NAME, ...)`` in the command names a declared section."""
    tree = ast.parse((ROOT / "stages" / f"{stage}.py").read_text())
    read = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in READERS:
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


@pytest.mark.parametrize("stage", ENTRIES)
def test_every_path_of_a_command_is_a_dependency_or_an_output(stage: str) -> None:
    entry = ENTRIES[stage]
    deps, outs = paths(entry["deps"]), outputs(stage)
    given = re.sub(r"--params \S+", "", command(stage)).split()
    named = {word for word in given if "/" in word or word.startswith("${folders")}
    assert named
    for path in named:
        inside = any(out == path or out.startswith(f"{path}/") for out in outs)
        assert path in deps or inside, path
    folders = {path for path in deps if path.startswith(("${folders.", "${common.folders."))}
    assert deps - named - folders == code_deps(stage)


def test_every_input_is_written_by_a_stage_or_given_by_the_user() -> None:
    written: set[str] = set()
    for stage in STAGES:
        entry = DVC["stages"][stage]
        for path in paths(entry["deps"]):
            if path in code_deps(stage):
                assert (ROOT / path).exists()
                continue
            place = substituted(path)
            if (ROOT / place / "README.md").is_file():  # stands for what the user does not have
                continue
            assert any(place == out or place.startswith(f"{out}/") for out in written), place
        written |= outputs(stage)


GIVEN = {*(f"${{folders.{name}}}" for name in ("hr", "scenes", "val")), "${common.folders.weights}"}
GIVEN.add("data/raw/real/${item.camera}")
"""Folders of the user that recovery reads."""


def test_the_yardsticks_read_what_they_write() -> None:
    def plain(entries: list[Any]) -> set[str]:
        return {path.replace(".row.", ".") for path in paths(entries)}  # a row names a DSN

    outs = {path for entry in YARDSTICKS.values() for path in plain(entry["outs"])}
    for name, entry in YARDSTICKS.items():
        assert entry["wdir"] == ("../.." if name.startswith("table1") else "..")
        for path in plain(entry["deps"]) - code_deps(name):
            places = (path.startswith(f"{out}/") or out.startswith(f"{path}/") for out in outs)
            assert path in GIVEN or path in outs or any(places), path
    for folder in RECOVERY_PARAMS["folders"].values():
        assert (ROOT / folder / "README.md").is_file()  # stands for what the user does not give


UNSET = {"recovery table", "recovery real_pairs", "table1 table"}
"""Those that read no settings."""


@pytest.mark.parametrize("name", sorted(YARDSTICKS.keys() - UNSET))
def test_a_cell_of_a_yardstick_depends_on_its_settings(name: str) -> None:
    """On those of the stage of its command, and on what its ``--params`` change of them."""
    stage = Path(module(name)).stem
    of_stage = {
        {"architectures.${item.arch}": "", "${demo.camera}": "${item.camera}"}.get(key, key)
        for _, key in sections(DVC["stages"][stage]["params"])
        if stage == "evaluate" or not key.startswith("evaluate.")  # no yardstick validates
    } - {""}
    read = {stage, *(["architectures"] if stage == "train_srn" else [])}
    for file, overlay in re.findall(r"--params (recovery/\S+):(\S+)", command(name)):
        if "item" in overlay:
            of_stage.add(overlay)
        else:
            of_stage |= {f"{overlay}.{key}" for key in read & load(file)[overlay].keys()}
    assert {key for _, key in sections(YARDSTICKS[name]["params"])} == of_stage


def test_every_source_of_recovery_takes_as_many_steps() -> None:
    """As many, and of crops as many and as large, whatever the number of images and pairs."""
    common, anchors = RECOVERY_PARAMS["common"], RECOVERY_PARAMS["anchors"]
    of_all = PARAMS["train_srn"] | common["train_srn"]
    assert of_all["steps"] and of_all["validate_every"] == 0
    for name, changes in (anchors | RECOVERY_PARAMS["sources"]).items():
        own = of_all | changes["train_srn"]
        for key in ("steps", "epochs", "halve_every", "batch_size", "accumulate", "lr_patch"):
            assert own[key] == of_all[key], f"{name}: {key}"


def test_no_stage_before_it_reads_the_settings_of_the_srn() -> None:
    for stage in STAGES[: STAGES.index("train_srn")]:
        assert "train_srn" not in paths(DVC["stages"][stage]["params"])


def test_plots_follow_the_architectures() -> None:
    """What is plotted is an output of the stage that makes it, so that no network is named."""
    assert "plots" not in DVC
    plotted = {stage: paths(DVC["stages"][stage].get("plots", [])) for stage in STAGES}
    assert {stage for stage in STAGES if plotted[stage]} == {
        "camera",
        "train_dsn",
        "train_srn",
        "evaluate",
    }
    for stage in ("train_srn", "evaluate"):
        assert all("${item.arch}" in path for path in plotted[stage])


def test_packages_import_only_downwards() -> None:
    order = {package: level for level, package in enumerate(PACKAGES)}
    for file in modules():
        if not file.startswith("pipeline/") or file == "pipeline/__init__.py":
            continue
        for target in project_imports(file):
            assert target.startswith("pipeline/"), f"{file} imports {target}"
            above = order[target.split("/")[1]] > order[file.split("/")[1]]
            assert not above, f"{file} imports {target}"


def test_packages_are_small() -> None:
    found = {path.name for path in (ROOT / "pipeline").iterdir() if (path / "__init__.py").exists()}
    assert found == set(PACKAGES)
    for package in PACKAGES:
        inside = [file for file in modules() if file.startswith(f"pipeline/{package}/")]
        assert 2 <= len(inside) - 1 <= 9, package
    wide = [ROOT / "stages", ROOT / "benchmarks", ROOT / "benchmarks" / "rows"]
    for folder in [*wide, ROOT / "tests", *(ROOT / "tests").iterdir()]:
        modules_of = [path for path in folder.glob("*.py") if not path.name.startswith("__")]
        assert len(modules_of) <= 12, folder


def test_tests_mirror_the_packages() -> None:
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders == {*PACKAGES, "benchmarks", "stages", "docs"}


def test_nothing_of_the_library_runs_recovery() -> None:
    importers = {f for f in modules() if any("/recovery/" in t for t in project_imports(f))}
    assert all("recovery" in name or "table1" in name for name in importers)
    assert "recovery" not in DVC["stages"]


HOMES = {
    "click": {"stages"},
    "zarr": {"pipeline/stores", "pipeline/writing"},
    "numcodecs": {"pipeline/writing"},
    "fsspec": {"pipeline/stores", "pipeline/library"},
    "psutil": {"pipeline/crops", "pipeline/tools", "pipeline/project"},
    "bokeh": {"pipeline/parallel"},
    "dask": {"pipeline/parallel", "pipeline/audit", "pipeline/library"},
    "distributed": {"pipeline/parallel"},
    "dask_jobqueue": {"pipeline/parallel"},
    "jinja2": {"pipeline/report"},
    "imageio": {"pipeline/images", "pipeline/reading"},
    "imageio_ffmpeg": {"pipeline/camera_files"},
    "imagecodecs": {"pipeline/images", "pipeline/reading"},
    "pi_heif": {"pipeline/reading"},
    "rawpy": {"pipeline/camera_files"},
    "tifffile": {"pipeline/camera_files", "pipeline/reading", "pipeline/tools"},
    "torchvision": {"pipeline/training"},
    "lpips": {"pipeline/scores"},
    "piq": {"pipeline/scores", "pipeline/train_srn"},
    "schedulefree": {"pipeline/optimisation"},
    "skimage": {"pipeline/scores"},
    "spandrel": {"pipeline/srn"},
    "safetensors": {"pipeline/stores"},
    "scipy": {
        "pipeline/noise",
        "pipeline/camera",
        "pipeline/train_dsn",
        "pipeline/uncertainty",
        "pipeline/figures",
        "pipeline/scores",
        "pipeline/recovery",
    },
    "tensorboard": {"pipeline/runs"},
    "dvclive": {"pipeline/runs"},
    "onnx": {"pipeline/tools"},
    "onnxruntime": {"pipeline/tools"},
    "matplotlib": {"pipeline/images", "pipeline/camera"},
    "ruamel": {"pipeline/base", "pipeline/project"},
    "vl_convert": {"stages/tools"},
    "xarray": {"pipeline/library"},
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


OTHERS = ["upscale", "degrade", "convert", "niqe_fit", "recovery_table", "plots_page", "verify"]
OTHERS += ["doctor", "piles", "uncertainty", "recovery_cell", "recovery_pairs", "table1_table"]
OTHERS += ["params", "params show", "params use", "params check", "params schema", "init"]
OTHERS += ["report", "copy"]


@pytest.mark.parametrize("stage", [*STAGES, *OTHERS])
def test_help_shows_an_example(stage: str) -> None:
    from click.testing import CliRunner

    from stages.cli import main

    words = stage.replace("_", "-").split()
    shown = CliRunner().invoke(main, [*words, "--help"])
    assert shown.exit_code == 0
    assert f"Example: usrdu {' '.join(words)} " in shown.output


def test_the_params_files_fit_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    from pipeline.audit.histograms import AuditSettings
    from pipeline.base.params import Params
    from pipeline.base.settings import Settings, load_section
    from pipeline.calibrate.settings import CalibrateSettings
    from pipeline.camera.estimate import CameraSettings
    from pipeline.crops.memory import MachineSettings
    from pipeline.demo.demo import DemoSettings
    from pipeline.evaluate.evaluate import EvaluateSettings
    from pipeline.export.export import ExportSettings
    from pipeline.prepare.prepare import PrepareSettings
    from pipeline.train_dsn.settings import TrainDsnSettings
    from pipeline.train_srn.settings import Architecture, TrainSrnSettings

    kinds: dict[str, type[Settings]] = {
        "demo": DemoSettings,
        "prepare": PrepareSettings,
        "train_dsn": TrainDsnSettings,
        "export": ExportSettings,
        "calibrate": CalibrateSettings,
        "camera": CameraSettings,
        "audit": AuditSettings,
        "train_srn": TrainSrnSettings,
        "evaluate": EvaluateSettings,
        "machine": MachineSettings,
        **{f"architectures.{name}": Architecture for name in PARAMS["architectures"]},
    }
    assert set(kinds) - {n for n in kinds if "." in n} == {*STAGES, "machine"}
    path = ROOT / "params.yaml"
    for section, kind in kinds.items():
        load_section(path, section, kind)
    groups = {
        "recovery": ("cameras", "recipes", "anchors", "sources"),
        "recovery/table1": ("references", "dsns", "sources"),
    }
    for folder, names in groups.items():
        file, network = f"{folder}/params.yaml", f"architectures.{Path(folder).name}"
        for group in names:
            for name in load(file)[group]:
                params = Params(path, (f"{file}:common", f"{file}:{group}.{name}"))
                for section, settings in (kinds | {network: Architecture}).items():
                    load_section(params, section, settings)


def test_the_cameras_of_recovery_are_there() -> None:
    assert set(RECOVERY_PARAMS["simulated"]) <= set(CAMERAS)
    assert set(RECOVERY_PARAMS["simulated"] + RECOVERY_PARAMS["real"]) == {
        *RECOVERY_PARAMS["cameras"]
    }


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
    from pipeline.base.settings import load_section
    from pipeline.demo.camera import Camera

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
