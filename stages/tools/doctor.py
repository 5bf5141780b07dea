"""The command ``doctor``; no stage of the pipeline, but what a bug report should say."""

import sys
from pathlib import Path

import click

from stages.options import FOLDER, params_file_option, plain_errors


@click.command("doctor", epilog="Example: usrdu doctor --data data")
@click.option(
    "--data", type=FOLDER, default="data", show_default=True, help="Folder the stages write to."
)
@params_file_option
@plain_errors
def command(data: Path, params: Path) -> None:
    """Print versions, devices, memory, disk and what is missing; paste it into a bug report.

    The output holds no user, no host, and only those paths that are in the params file.  The exit
    status is 1 if something that the pipeline needs is missing.
    """
    from pipeline.tools.doctor import examine

    report = examine(params, data)
    width = max(map(len, report.facts))
    for name, value in report.facts.items():
        click.echo(f"{name.ljust(width)}  {value}")
    for remark in report.remarks:
        click.echo(f"note: {remark}")
    for lack in report.missing:
        click.echo(f"MISSING: {lack}")
    if report.missing:
        sys.exit(1)
    click.echo("nothing that the pipeline needs is missing")
