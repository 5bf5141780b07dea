"""The command ``degrade``; no stage of the pipeline, but its LR images for other trainings."""

from pathlib import Path

import click

from stages.options import FILE, FOLDER, STORE, plain_errors, report


@click.command(
    "degrade",
    epilog="Example: usrdu degrade data/raw/demo/hr data/pairs/lr --hr-out data/pairs/hr "
    "--samples 2 --dsn data/train_dsn/dsn.safetensors "
    "--calibration data/calibrate/calibration.json",
)
@click.argument("places", metavar="[HR_FOLDER] OUT", nargs=-1, required=True, type=FOLDER)
@click.option("--dsn", type=FILE, help="DSN that degrades the images of HR_FOLDER.")
@click.option("--maps", type=STORE, help="Store of mean and theta, instead of HR_FOLDER and DSN.")
@click.option(
    "--samples", type=click.IntRange(min=1), default=1, show_default=True,
    help="LR images of every HR image, in OUT/sample_000, OUT/sample_001, ...",
)  # fmt: skip
@click.option(
    "--theta", type=click.Choice(["raw", "camera", "calibrated", "none"]),
    help="Scale of the noise: the DSN's; camera, the same with the correlation, tails and JPEG of "
    "the passport that the DSN carries; that of the calibration; or none: the mean, in OUT/mean.  "
    "[default: calibrated with --calibration, else raw]",
)  # fmt: skip
@click.option("--calibration", type=FILE, help="Calibration, written by usrdu calibrate.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the noise.")
@click.option("--hr-out", type=FOLDER, help="Folder for HR as PNG, cropped to a multiple of scale.")
@click.option(
    "--tile", type=click.IntRange(min=16), default=128, show_default=True,
    help="Side of a tile in LR pixels; lower it when memory runs out.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace an earlier result.")
@plain_errors
def command(
    places: tuple[Path, ...],
    dsn: Path | None,
    maps: Path | str | None,
    samples: int,
    theta: str | None,
    calibration: Path | None,
    seed: int,
    hr_out: Path | None,
    tile: int,
    overwrite: bool,
) -> None:
    """Write sampled LR images of a folder of HR images as 8-bit PNG files of the same names.

    BasicSR, traiNNer-redux and neosr read the pairs with dataroot_gt: HR_OUT and
    dataroot_lq: OUT/sample_000.

    For one seed an image has the same noise, whatever other images there are.  A calibration names
    the maps it was made for.  With --maps this is checked; with --dsn only the scale is.
    """
    if len(places) != (1 if maps else 2):
        raise click.UsageError("name HR_FOLDER and OUT, or OUT alone with --maps")
    if (dsn is None) == (maps is None):
        raise click.UsageError("name either --dsn, for HR_FOLDER, or --maps")
    if maps is not None and hr_out is not None:
        raise click.UsageError("--hr-out needs HR_FOLDER: a store of maps holds no HR images")

    from pipeline.stores.reader import Store
    from pipeline.tools.degrade import (
        DegradeSettings,
        HrFolder,
        MapsSource,
        Output,
        StoredMaps,
        degrade,
    )

    theta = theta or ("calibrated" if calibration else "raw")
    settings = DegradeSettings.model_validate({"samples": samples, "theta": theta, "seed": seed})
    source: MapsSource
    if maps is not None:
        source = StoredMaps(Store(maps, "maps"))
    else:
        assert dsn is not None
        source = HrFolder(places[0], dsn, tile)
    result = degrade(source, settings, Output(places[-1], hr_out, overwrite), calibration)
    report(result, *([hr_out] if hr_out else []), *(places[-1] / name for name in settings.folders))
