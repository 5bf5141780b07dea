"""Stage ``calibrate``."""

from pathlib import Path

import click

from pipeline.base.params import Params
from stages.options import FILE, STORE, params_option, plain_errors, report, write_json


@click.command(
    "calibrate",
    epilog="Example: usrdu calibrate --maps data/export/maps.zarr --lr data/prepare/lr.zarr "
    "--out data/calibrate/calibration.json --metrics data/calibrate/metrics.json",
)
@click.option("--maps", type=STORE, required=True, help="Store of mean and theta.")
@click.option("--lr", type=STORE, required=True, help="Store of real LR images.")
@click.option("--out", type=FILE, required=True, help="Calibration file to write.")
@click.option("--metrics", type=FILE, required=True, help="JSON file for the metrics.")
@params_option("calibrate")
@plain_errors
def command(maps: Path | str, lr: Path | str, out: Path, metrics: Path, params: Params) -> None:
    """Measure how much noise the samples need to agree with the real LR images.

    The noise of the real LR images is estimated blindly: its variance by intensity and channel, its
    correlation and its tails.  The noise of the means is subtracted.  The maps are not changed.
    """
    from pipeline.base.settings import load_section
    from pipeline.calibrate.calibrate import calibrate
    from pipeline.calibrate.settings import CalibrateSettings
    from pipeline.stores.reader import Store

    settings = load_section(params, "calibrate", CalibrateSettings)
    calibration, result = calibrate(Store(maps, "maps"), Store(lr, "lr"), settings)
    write_json(out, calibration.model_dump())
    write_json(metrics, result)
    report(result, out, metrics)
