"""Stage ``prepare``."""

from pathlib import Path

import click

from stages.options import FILE, FOLDER, params_option, plain_errors, report, write_json


@click.command(
    "prepare",
    epilog="Example: usrdu prepare --hr data/raw/demo/hr --lr data/raw/demo/lr "
    "--val data/raw/demo/val --out data/prepare --metrics data/prepare/metrics.json",
)
@click.option("--hr", type=FOLDER, required=True, help="Folder of sharp HR images.")
@click.option("--lr", type=FOLDER, required=True, help="Folder of real LR images, unpaired.")
@click.option(
    "--val", type=FOLDER, required=True,
    help="Folder with hr and lr in it, pairs of the same name; one without them means no pairs.",
)  # fmt: skip
@click.option("--out", type=FOLDER, required=True, help="Folder for hr.zarr, lr.zarr, val.zarr.")
@click.option("--metrics", type=FILE, required=True, help="JSON file for the metrics.")
@params_option
@plain_errors
def command(hr: Path, lr: Path, val: Path, out: Path, metrics: Path, params: Path) -> None:
    """Decode HR, real LR and validation images once, into stores.

    PNG, JPEG, TIFF, WebP and BMP; 8 and 16 bit; grey, RGB and RGBA (alpha is dropped with a
    warning); the EXIF orientation is applied.  HR images are cropped to a multiple of the scale.
    """
    from pipeline import prepare
    from pipeline.settings import load_section
    from pipeline.stores import Store

    scale = load_section(params, "prepare", prepare.PrepareSettings).scale
    prepare.prepare_hr(hr, scale, out / "hr.zarr")
    prepare.prepare_lr(lr, scale, out / "lr.zarr")
    prepare.prepare_val(val, scale, out / "val.zarr")
    result = prepare.describe(
        Store(out / "hr.zarr", "hr"), Store(out / "lr.zarr", "lr"), Store(out / "val.zarr", "val")
    )
    write_json(metrics, result)
    report(result, out / "hr.zarr", out / "lr.zarr", out / "val.zarr", metrics)
