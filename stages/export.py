"""Stage ``export``."""

from pathlib import Path

import click

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
@click.option("--scheduler", help="Address of a dask.distributed scheduler; else this process.")
@params_option
@work_option
@plain_errors
def command(
    hr: Path | str,
    dsn: Path,
    maps: Path,
    metrics: Path,
    scheduler: str | None,
    params: Path,
    work: Path,
) -> None:
    """Write mean and theta of every HR image into maps.zarr.

    Images of any size; an interrupted export goes on where it stopped.

    By default everything runs in this process: with one device nothing is faster.  With more, also
    of several machines, start a scheduler and one worker for each, which must see all files under
    the same paths, and name it (--scheduler tcp://HOST:8786); an image is one task.
    """
    from pipeline.base.settings import load_section
    from pipeline.export.export import ExportSettings, export
    from pipeline.stores.reader import Store

    settings = load_section(params, "export", ExportSettings)
    result = export(Store(hr, "hr"), dsn, settings, maps, scheduler, work / "export")
    write_json(metrics, result)
    report(result, maps, metrics)
