"""Stage ``export``."""

from pathlib import Path

import click

from stages.options import FILE, FOLDER, STORE, params_option, plain_errors, report, write_json


@click.command(
    "export",
    epilog="Example: usrdu export --hr data/prepare/hr.zarr --dsn data/train_dsn/dsn.safetensors "
    "--maps data/export/maps.zarr --metrics data/export/metrics.json",
)
@click.option("--hr", type=STORE, required=True, help="Store of HR images.")
@click.option("--dsn", type=FILE, required=True, help="Weights of the DSN.")
@click.option("--maps", type=FOLDER, required=True, help="Store to write.")
@click.option("--metrics", type=FILE, required=True, help="JSON file for the metrics.")
@params_option
@plain_errors
def command(hr: Path | str, dsn: Path, maps: Path, metrics: Path, params: Path) -> None:
    """Write mean and theta of every HR image into maps.zarr.

    Images of any size; an interrupted export goes on where it stopped.
    """
    from pipeline.export import ExportSettings, export
    from pipeline.settings import load_section
    from pipeline.stores import Store

    settings = load_section(params, "export", ExportSettings)
    result = export(Store(hr, "hr"), dsn, settings, maps)
    write_json(metrics, result)
    report(result, maps, metrics)
