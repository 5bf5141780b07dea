"""Command ``recovery-table``: the last stage of recovery/dvc.yaml."""

from pathlib import Path

import click

from stages.options import FILE, FOLDER, plain_errors, report, write_json


@click.command(
    "recovery-table",
    epilog="Example: usrdu recovery-table --scores data/recovery/scores --out recovery",
)
@click.option("--scores", type=FOLDER, required=True, help="Folder of the scores of all cells.")
@click.option(
    "--plan", "planned", type=FILE, default="recovery/params.yaml", show_default=True,
    help="File that names cameras, recipes, anchors, sources and seeds.",
)  # fmt: skip
@click.option("--out", type=FOLDER, required=True, help="Folder for the tables.")
@plain_errors
def command(scores: Path, planned: Path, out: Path) -> None:
    """Tabulate how much of the true camera's gain a learned degradation recovers.

    Reads what 'usrdu evaluate' found for every SR network that the plan names; 'dvc repro
    recovery/dvc.yaml' trains and scores those that are missing.  Writes recovery.md, recovery.csv
    and metrics.json, in PSNR, HaarPSI, and LPIPS where evaluate.lpips_weights names a file.
    """
    from pipeline.recovery.cells import load_plan, read_scores
    from pipeline.recovery.table import by_name, recovery_table, table_text, write_table

    plan = load_plan(planned)
    found = read_scores(plan, scores)
    rows = recovery_table(found.scores)
    text = table_text(rows)
    written, metrics = write_table(out, "recovery", text, rows), out / "metrics.json"
    write_json(metrics, found.described(plan) | {"cells": by_name(rows)})
    click.echo(text)
    report({}, *written, metrics)
