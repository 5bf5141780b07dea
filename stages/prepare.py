"""Stage ``prepare``."""

from pathlib import Path

import click

from pipeline.base.params import Params
from stages.options import (  # fmt: skip
    FILE,
    FOLDER,
    folder_of,
    params_option,
    plain_errors,
    report,
    work_option,
    write_json,
)


@click.command(
    "prepare",
    epilog="Example: usrdu prepare --hr data/raw/demo/hr --lr data/raw/demo/lr "
    "--val data/raw/demo/val --out data/prepare --metrics data/prepare/metrics.json",
)
@click.option(
    "--hr", type=FOLDER,
    help="Folder of sharp HR images; not read if prepare.hr_from is lr.  [default of these four: "
    "folders.hr of the settings, and so on]",
)  # fmt: skip
@click.option("--lr", type=FOLDER, help="Folder of real LR images, unpaired.")
@click.option(
    "--val", type=FOLDER,
    help="Folder with hr and lr in it, pairs of the same name, or lr alone; may be empty.",
)  # fmt: skip
@click.option(
    "--pairs", type=FOLDER,
    help="Folder with hr and lr in it, for a supervised training; may be empty.",
)  # fmt: skip
@click.option("--out", type=FOLDER, required=True, help="Folder for the stores.")
@click.option("--metrics", type=FILE, required=True, help="JSON file for the metrics.")
@params_option("prepare", "folders")
@work_option
@plain_errors
def command(
    hr: Path | None,
    lr: Path | None,
    val: Path | None,
    pairs: Path | None,
    out: Path,
    metrics: Path,
    params: Params,
    work: Path,
) -> None:
    """Decode HR, real LR and validation images once, into stores.

    Files may be PNG, JPEG, TIFF, WebP, BMP, HEIC, AVIF, JPEG XL or JPEG 2000, of 8 or 16 bit, grey,
    RGB, RGBA or CMYK, or raw photographs, which are developed; among real LR images they may be
    video clips, of which prepare.frames_per_clip frames are drawn evenly.  An alpha channel is
    dropped with a warning.  Colours are converted to sRGB as the profile of a file says, and its
    orientation is applied.  Files that are not read are counted and named.  HR images are cropped
    to a multiple of the scale.

    With prepare.lr_size: enlarged real LR images have the size of HR images, and are reduced by the
    scale.  If prepare.preset names a data set, a folder may be the root of that data set as it was
    unpacked.  If prepare.hr_from is lr or both, HR images are made from the real LR images.

    Images smaller than the crops of the trainings are refused, all at once; prepare.least_side
    leaves them out.

    Files that a text file leave_out.txt beside them names, one a line, are left out.

    Writes hr.zarr, lr.zarr, pairs.zarr, and val.zarr, which is of kind lr without references; and
    what is wrong with the HR and the LR images, in piles.md and piles.json (see usrdu piles).
    """
    from pipeline.base.settings import load_section
    from pipeline.prepare.prepare import Folders, PrepareSettings, prepare
    from pipeline.prepare.sizes import crops_of

    settings = load_section(params, "prepare", PrepareSettings)
    click.echo(f"prepare: {settings!r}")
    crops = crops_of(params.content, settings.scale)
    given = {"hr": hr, "lr": lr, "val": val, "pairs": pairs}
    folders = Folders(**{name: folder_of(params, name, path) for name, path in given.items()})
    result = prepare(folders, settings, out, work / "prepare", crops)
    write_json(metrics, result)
    stores = (out / f"{name}.zarr" for name in ("hr", "lr", "val", "pairs"))
    report(result, *stores, out / "piles.md", out / "piles.json", metrics)
