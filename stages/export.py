"""Stage ``export``."""

from pathlib import Path

import click

from pipeline.base.params import Params
from stages.options import (  # fmt: skip
    FILE,
    FOLDER,
    STORE,
    params_option,
    plain_errors,
    report,
    work_option,
    write_json,
)


@click.command(
    "export",
    epilog="Example: usrdu export --hr data/prepare/hr.zarr --dsn data/train_dsn/dsn.safetensors "
    "--maps data/export/maps.zarr --metrics data/export/metrics.json",
)
@click.option("--hr", type=STORE, required=True, help="Store of HR images.")
@click.option("--dsn", type=FILE, required=True, help="Weights of the DSN.")
@click.option("--maps", type=FOLDER, required=True, help="Store to write.")
@click.option("--metrics", type=FILE, required=True, help="JSON file for the metrics.")
@click.option(
    "--scheduler",
    help="Address of a dask.distributed scheduler, or slurm:N, N jobs of Slurm; else this process.",
)
@params_option("export")
@work_option
@plain_errors
def command(
    hr: Path | str,
    dsn: Path,
    maps: Path,
    metrics: Path,
    scheduler: str | None,
    params: Params,
    work: Path,
) -> None:
    """Write mean and theta of every HR image into maps.zarr.

    Images may have any size.  An interrupted export continues where it stopped.

    By default everything runs in this process, which is fastest with one device.  With several
    devices, on one or more machines, start a dask scheduler and one worker per device, and give its
    address (--scheduler tcp://HOST:8786).  Workers must see all files under the same paths.
    """
    from pipeline.base.settings import load_section
    from pipeline.export.export import ExportSettings, export
    from pipeline.stores.reader import Store

    settings = load_section(params, "export", ExportSettings)
    result = export(Store(hr, "hr"), dsn, settings, maps, scheduler, work / "export")
    write_json(metrics, result)
    report(result, maps, metrics)
