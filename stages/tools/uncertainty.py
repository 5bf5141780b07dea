"""The command ``uncertainty``; no stage of the pipeline, but a check of its maps."""

from pathlib import Path

import click

from stages.options import FILE, FOLDER, STORE, plain_errors


@click.command(
    "uncertainty",
    epilog="Example: usrdu uncertainty --maps data/export/maps.zarr --lr data/prepare/lr.zarr "
    "--calibration data/calibrate/calibration.json --dsn data/train_dsn/dsn.safetensors "
    "--val data/prepare/val.zarr --out data/uncertainty",
)
@click.option("--maps", type=STORE, required=True, help="Store of mean and theta.")
@click.option("--lr", type=STORE, required=True, help="Store of real LR images, unpaired.")
@click.option("--calibration", type=FILE, help="Calibration of these maps.")
@click.option("--dsn", type=FILE, help="The DSN of the maps, with --val.")
@click.option("--val", type=STORE, help="Store of pairs, whose LR images are predicted.")
@click.option("--out", type=FOLDER, required=True, help="Folder for the scores; replaced.")
@plain_errors
def command(
    maps: Path | str,
    lr: Path | str,
    calibration: Path | None,
    dsn: Path | None,
    val: Path | str | None,
    out: Path,
) -> None:
    """Check the uncertainty: do real LR images fall where theta says they will.

    Side by side stand the theta of the maps under a Laplace and under a Gaussian law, with the
    noise of the camera's passport if the maps carry it, and that of a calibration.  Each predicts
    every value of an LR image.  Scored are the coverage of its 50, 90 and 99 % intervals, ranks,
    CRPS, sharpness and, where there is a closed form, the likelihood.

    With pairs, by intensity, gradient and channel.  Without, for the noise in flat areas alone.
    Writes scores.csv, scores.json and scores.png.
    """
    from pipeline.stores.reader import Store
    from pipeline.uncertainty.uncertainty import Inputs, score_uncertainty

    pairs = None if val is None else Store(val, "val", "lr")
    inputs = Inputs(Store(maps, "maps"), Store(lr, "lr"), dsn, pairs, calibration)
    results = score_uncertainty(inputs, out)
    for sentence in results.sentences:
        click.echo(f"  {sentence}")
    for path in sorted(out.iterdir()):
        click.echo(f"wrote {path}")
