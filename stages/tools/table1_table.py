"""Command ``table1-table``: the last stage of recovery/table1/dvc.yaml."""

from dataclasses import asdict
from pathlib import Path

import click

from stages.options import FILE, FOLDER, plain_errors, report, write_json


@click.command(
    "table1-table",
    epilog="Example: usrdu table1-table --scores data/table1/scores --out recovery/table1",
)
@click.option("--scores", type=FOLDER, required=True, help="Folder of the scores of all cells.")
@click.option(
    "--plan", "planned", type=FILE, default="recovery/table1/params.yaml", show_default=True,
    help="File that names cameras, references, anchors, rows and seeds.",
)  # fmt: skip
@click.option("--out", type=FOLDER, required=True, help="Folder for the tables.")
@plain_errors
def command(scores: Path, planned: Path, out: Path) -> None:
    """Tabulate the rows of the paper's Table 1, and say which of its claims hold.

    Reads what 'usrdu evaluate' found for every SR network that the plan names; 'dvc repro
    recovery/table1/dvc.yaml' trains and scores those that are missing.  Writes table1.md,
    table1.csv and metrics.json.
    """
    from pipeline.recovery.cells import load_table1_plan, read_scores
    from pipeline.recovery.claims import claims_text, findings
    from pipeline.recovery.table import by_name, recovery_table, table_text, write_table

    plan = load_table1_plan(planned)
    read = read_scores(plan, scores)
    rows = recovery_table(read.scores)
    found = findings(read.scores)
    text = f"{table_text(rows)}\n{claims_text(found)}"
    claims = [asdict(one) | {"claim": one.claim.text, "verdict": one.verdict} for one in found]
    written, metrics = write_table(out, "table1", text, rows), out / "metrics.json"
    write_json(metrics, read.described(plan) | {"rows": by_name(rows), "claims": claims})
    click.echo(text)
    report({}, *written, metrics)
