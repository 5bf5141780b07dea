"""Stage ``audit``."""

from pathlib import Path

import click

from stages.options import FILE, FOLDER, params_option, plain_errors, report, write_json


@click.command(
    "audit",
    epilog="Example: usrdu audit --maps data/export/maps.zarr --hr data/prepare/hr.zarr "
    "--out data/audit/page --metrics data/audit/metrics.json",
)
@click.option("--maps", type=FOLDER, required=True, help="Store of mean and theta.")
@click.option("--hr", type=FOLDER, required=True, help="The HR images it was exported from.")
@click.option("--out", type=FOLDER, required=True, help="Folder for tables and page; replaced.")
@click.option("--metrics", type=FILE, required=True, help="JSON file for the metrics.")
@params_option
@plain_errors
def command(maps: Path, hr: Path, out: Path, metrics: Path, params: Path) -> None:
    """Tables, pictures and a page about maps.zarr.

    Writes images.csv, summary.json and index.html, one page without references to the outside: how
    theta is distributed, how it follows from the distance between mean and bicubic, and the images
    of the highest theta.
    """
    from pipeline.audit import audit
    from pipeline.settings import load_section
    from pipeline.stores import Store
    from pipeline.tally import AuditSettings

    settings = load_section(params, "audit", AuditSettings)
    click.echo(f"audit: {settings!r}")
    result = audit(Store(maps, "maps"), Store(hr, "hr"), settings, out)
    write_json(metrics, result)
    report(result, out / "images.csv", out / "summary.json", out / "index.html", metrics)
