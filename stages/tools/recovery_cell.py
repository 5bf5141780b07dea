"""Command ``recovery-cell``: the commands of recovery/dvc.yaml, cell by cell."""

import shlex
from pathlib import Path

import click

from pipeline.base.errors import UserError
from pipeline.base.params import load_yaml, require_name
from stages.options import plain_errors

CAMERA = "data/recovery/{camera}"
RECIPE = f"{CAMERA}/recipes/{{recipe}}"
PLAN = "recovery/params.yaml"
SETTINGS = "--params params.yaml"
COMMON = f"{SETTINGS} --params {PLAN}:common"
OF_CAMERA = f"--params {PLAN}:cameras.{{camera}}"
SEED = "--set train_srn.seed={seed}"
STORES = f"--hr {CAMERA}/stores/hr.zarr --lr {CAMERA}/stores/lr.zarr"
ANCHOR = "{source}/{seed}"
SOURCE = "{recipe}/{source}/{seed}"

COMMANDS = {
    "photographs": f"demo --hr {{hr}} --scenes {{scenes}} --val {{val}} --out {CAMERA}/raw "
    f"--metrics {CAMERA}/raw.json {COMMON} {OF_CAMERA} --set demo.camera={{camera}}",
    "real_pairs": f"recovery-pairs --folder data/raw/real/{{camera}} --out {CAMERA}/raw",
    "prepare": f"prepare --hr {CAMERA}/raw/hr --lr {CAMERA}/raw/lr --val {CAMERA}/raw/val "
    f"--pairs {CAMERA}/raw/pairs --out {CAMERA}/stores --metrics {CAMERA}/prepare.json "
    f"{COMMON} {OF_CAMERA}",
    "camera": f"camera {STORES} --out {CAMERA}/passport --metrics {CAMERA}/camera.json "
    f"{SETTINGS} {OF_CAMERA}",
    "train_dsn": f"train-dsn {STORES} --camera {CAMERA}/passport/camera.json --out {RECIPE}/dsn "
    f"{COMMON} {OF_CAMERA} --params {PLAN}:recipes.{{recipe}}",
    "export": f"export --hr {CAMERA}/stores/hr.zarr --dsn {RECIPE}/dsn/dsn.safetensors "
    f"--maps {RECIPE}/maps.zarr --metrics {RECIPE}/export.json",
    "calibrate": f"calibrate --maps {RECIPE}/maps.zarr --lr {CAMERA}/stores/lr.zarr "
    f"--out {RECIPE}/calibration.json --metrics {RECIPE}/calibrate.json",
    "train_anchor": f"train-srn --arch recovery --hr {CAMERA}/stores/hr.zarr "
    f"--pairs {CAMERA}/stores/pairs.zarr --out {CAMERA}/srn/{ANCHOR} "
    f"{COMMON} --params {PLAN}:anchors.{{source}} {SEED}",
    "train_srn": f"train-srn --arch recovery --hr {CAMERA}/stores/hr.zarr "
    f"--maps {RECIPE}/maps.zarr --calibration {RECIPE}/calibration.json "
    f"--camera {CAMERA}/passport/camera.json --out {CAMERA}/srn/{SOURCE} "
    f"{COMMON} --params {PLAN}:sources.{{source}} {SEED}",
    "evaluate_anchor": f"evaluate --val {CAMERA}/stores/val.zarr "
    f"--model {CAMERA}/srn/{ANCHOR}/srn.safetensors --out {CAMERA}/pictures/{ANCHOR} "
    f"--metrics data/recovery/scores/{{camera}}/{ANCHOR}.json {COMMON}",
    "evaluate": f"evaluate --val {CAMERA}/stores/val.zarr "
    f"--model {CAMERA}/srn/{SOURCE}/srn.safetensors --out {CAMERA}/pictures/{SOURCE} "
    f"--metrics data/recovery/scores/{{camera}}/{SOURCE}.json {COMMON}",
}
"""By stage, a command of ``usrdu``; in braces the names of the cell, and folders of the plan."""


def words(stage: str, names: dict[str, str]) -> list[str]:
    """The command of a stage for one cell, word by word."""
    return [word.format(**names) for word in COMMANDS[stage].split()]


def _folders() -> dict[str, str]:
    """The folders of photographs that the plan names."""
    folders = load_yaml(Path(PLAN)).get("folders")
    for name in ("hr", "scenes", "val"):
        if not isinstance(folders, dict) or not isinstance(folders.get(name), str):
            raise UserError(f"{PLAN}: folders.{name} names no folder")
    return dict(folders)  # type: ignore[call-overload,no-any-return]


@click.command("recovery-cell", epilog="Example: usrdu recovery-cell prepare --camera compact")
@click.argument("stage", type=click.Choice(list(COMMANDS)))
@click.option("--camera", required=True, help="An entry of cameras in recovery/params.yaml.")
@click.option("--recipe", default="", help="An entry of recipes.")
@click.option("--source", default="", help="An entry of sources, or of anchors.")
@click.option("--seed", default=0, show_default=True, help="Seed of the SR network.")
@plain_errors
def command(stage: str, camera: str, recipe: str, source: str, seed: int) -> None:
    """Run a stage for one camera, recipe, source and seed of recovery/params.yaml.

    The files of the cell lie in data/recovery.  recovery/dvc.yaml calls this command; names reach
    it without a shell, which would take them apart.
    """
    from stages.cli import main

    cell = {"camera": camera, "recipe": recipe, "source": source}
    for name in filter(None, cell.values()):
        require_name(PLAN, name)
    given = words(stage, _folders() | cell | {"seed": str(seed)})
    click.echo(f"usrdu {shlex.join(given)}")
    main.main(given, prog_name="usrdu", standalone_mode=False)
