"""Command ``recovery``: not a stage of the pipeline, but a yardstick for it."""

from pathlib import Path

import click

from stages.options import FILE, FOLDER, params_option, plain_errors, write_json


@click.command("recovery", epilog="Example: usrdu recovery --camera laplace --out data/recovery")
@click.option(
    "--camera", "names", multiple=True, help="An entry of the cameras file.  [default: all]"
)
@click.option(
    "--recipe", "chosen", multiple=True, help="An entry of recovery.recipes.  [default: all]"
)
@click.option("--cameras", type=FILE, default="cameras.yaml", show_default=True, help="Cameras.")
@click.option("--out", type=FOLDER, required=True, help="Folder for the tables.")
@params_option
@click.option("--work", type=FOLDER, default="data/work/recovery", show_default=True)
@plain_errors
def command(
    names: tuple[str, ...],
    chosen: tuple[str, ...],
    cameras: Path,
    out: Path,
    params: Path,
    work: Path,
) -> None:
    """How much of the true camera's gain a learned degradation recovers.

    For every simulated camera the same small SR network is trained on bicubic LR images, on those
    of the DSN with several thetas, and on the true camera, with the same steps and several seeds.
    Writes recovery.md, recovery.csv, scores.csv and metrics.json; SRNs that an earlier run has
    finished are not trained again.
    """
    from pipeline.base.errors import UserError
    from pipeline.base.settings import changed, load_section, load_yaml
    from pipeline.calibrate.calibrate import CalibrateSettings
    from pipeline.crops.memory import MachineSettings
    from pipeline.demo.camera import Camera
    from pipeline.evaluate.evaluate import EvaluateSettings
    from pipeline.export.export import ExportSettings
    from pipeline.prepare.prepare import PrepareSettings
    from pipeline.recovery.recovery import Recipes, RecoverySettings, recover
    from pipeline.train_dsn.settings import TrainDsnSettings
    from pipeline.train_srn.settings import TrainSrnSettings

    settings = load_section(params, "recovery", RecoverySettings)
    for name in chosen:
        if name not in settings.recipes:
            known = ", ".join(settings.recipes)
            raise UserError(f"{params}: recovery.recipes.{name} is missing; there are: {known}")
    if chosen:
        kept = {name: settings.recipes[name] for name in chosen}
        settings = settings.model_copy(update={"recipes": kept})
    dsn = load_section(params, "train_dsn", TrainDsnSettings)
    srn = load_section(params, "train_srn", TrainSrnSettings)
    recipes = Recipes(
        load_section(params, "prepare", PrepareSettings).scale,
        settings,
        changed(srn, settings.train_srn, params, "recovery.train_srn"),
        {
            name: changed(dsn, changes, params, f"recovery.recipes.{name}")
            for name, changes in settings.recipes.items()
        },
        load_section(params, "export", ExportSettings),
        load_section(params, "calibrate", CalibrateSettings),
        load_section(params, "evaluate", EvaluateSettings).lpips_weights,
        load_section(params, "machine", MachineSettings),
    )
    seen = {name: load_section(cameras, name, Camera) for name in names or load_yaml(cameras)}
    click.echo(f"recovery: {', '.join(seen)} {recipes!r}")
    result = recover(seen, recipes, out, work)
    write_json(out / "metrics.json", result)
    click.echo((out / "recovery.md").read_text(encoding="utf-8"))
    for name in ("recovery.md", "recovery.csv", "scores.csv", "metrics.json"):
        click.echo(f"wrote {out / name}")
