"""Command ``recovery-cell``: the commands of recovery/dvc.yaml and of its Table 1, cell by cell."""

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
PASSPORT = f"{CAMERA}/passport/camera.json"
TABLE1 = "data/table1/{camera}"
TABLE1_PLAN = "recovery/table1/params.yaml"
TABLE1_COMMON = f"{SETTINGS} --params {TABLE1_PLAN}:common"
OF_SOURCE = f"--params {TABLE1_PLAN}:sources.{{source}}"
ROW = "{row}/{seed}"
SCORES, TABLE1_SCORES = (f"data/{name}/scores/{{camera}}" for name in ("recovery", "table1"))


def _evaluate(place: str, cell: str, scores: str, common: str) -> str:
    """The scores of a cell whose SR network lies in a place, and its pictures beside it."""
    return (
        f"evaluate --val {CAMERA}/stores/val.zarr --model {place}/srn/{cell}/srn.safetensors "
        f"--out {place}/pictures/{cell} --metrics {scores}/{cell}.json {common}"
    )


COMMANDS = {
    "photographs": f"demo --hr {{hr}} --scenes {{scenes}} --val {{val}} --out {CAMERA}/raw "
    f"--metrics {CAMERA}/raw.json {COMMON} {OF_CAMERA} --set demo.camera={{camera}}",
    "real_pairs": f"recovery-pairs --folder data/raw/real/{{camera}} --out {CAMERA}/raw",
    "prepare": f"prepare --hr {CAMERA}/raw/hr --lr {CAMERA}/raw/lr --val {CAMERA}/raw/val "
    f"--pairs {CAMERA}/raw/pairs --out {CAMERA}/stores --metrics {CAMERA}/prepare.json "
    f"{COMMON} {OF_CAMERA}",
    "camera": f"camera {STORES} --out {CAMERA}/passport --metrics {CAMERA}/camera.json "
    f"{SETTINGS} {OF_CAMERA}",
    "train_dsn": f"train-dsn {STORES} --camera {PASSPORT} --out {RECIPE}/dsn "
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
    f"--camera {PASSPORT} --out {CAMERA}/srn/{SOURCE} "
    f"{COMMON} --params {PLAN}:sources.{{source}} {SEED}",
    "evaluate_anchor": _evaluate(CAMERA, ANCHOR, SCORES, COMMON),
    "evaluate": _evaluate(CAMERA, SOURCE, SCORES, COMMON),
    "table1_train_dsn": f"train-dsn {STORES} --camera {PASSPORT} "
    f"--out {TABLE1}/{{reference}}/dsn/{{dsn}} {TABLE1_COMMON} {OF_CAMERA} "
    f"--params {TABLE1_PLAN}:references.{{reference}} --params {TABLE1_PLAN}:dsns.{{dsn}}",
    "table1_export": f"export --hr {CAMERA}/stores/hr.zarr "
    f"--dsn {TABLE1}/{{reference}}/dsn/{{dsn}}/dsn.safetensors "
    f"--maps {TABLE1}/{{reference}}/maps/{{dsn}}.zarr "
    f"--metrics {TABLE1}/{{reference}}/maps/{{dsn}}.json",
    "table1_train_anchor": f"train-srn --arch table1 --hr {CAMERA}/stores/hr.zarr "
    f"--pairs {CAMERA}/stores/pairs.zarr --out {TABLE1}/srn/{ANCHOR} "
    f"{TABLE1_COMMON} {OF_SOURCE} {SEED}",
    "table1_train_srn": f"train-srn --arch table1 --hr {CAMERA}/stores/hr.zarr "
    f"--maps {TABLE1}/{{reference}}/maps/{{dsn}}.zarr --out {TABLE1}/{{reference}}/srn/{ROW} "
    f"{TABLE1_COMMON} {OF_SOURCE} {SEED}",
    "table1_evaluate_anchor": _evaluate(TABLE1, ANCHOR, TABLE1_SCORES, TABLE1_COMMON),
    "table1_evaluate": _evaluate(
        f"{TABLE1}/{{reference}}", ROW, f"{TABLE1_SCORES}/{{reference}}", TABLE1_COMMON
    ),
}
"""By stage, a command of ``usrdu``; in braces the names of the cell, and folders of the plan.
Those of recovery/table1/dvc.yaml begin with ``table1_``."""


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
@click.argument("stage", type=click.Choice(list(COMMANDS)), metavar="STAGE")
@click.option("--camera", required=True, help="An entry of cameras in recovery/params.yaml.")
@click.option("--recipe", default="", help="An entry of recipes.")
@click.option(
    "--reference", default="", help="An entry of references in recovery/table1/params.yaml."
)
@click.option("--dsn", "--row.dsn", "dsn", default="", help="An entry of dsns there.")
@click.option("--row", "--row.name", "row", default="", help="A row there.")
@click.option(
    "--source", "--row.source", "source", default="", help="An entry of sources, or of anchors."
)
@click.option("--seed", default=0, show_default=True, help="Seed of the SR network.")
@plain_errors
def command(stage: str, seed: int, **names: str) -> None:
    """Run a stage for one cell of recovery/params.yaml or recovery/table1/params.yaml.

    The files of the cell lie in data/recovery and data/table1.  The dvc.yaml beside the plan calls
    this command; names reach it without a shell, which would take them apart.
    """
    from stages.cli import main

    for name in filter(None, names.values()):
        require_name(PLAN, name)
    given = words(stage, _folders() | names | {"seed": str(seed)})
    click.echo(f"usrdu {shlex.join(given)}")
    main.main(given, prog_name="usrdu", standalone_mode=False)
