"""Stage ``camera``."""

from pathlib import Path

import click

from pipeline.base.params import Params
from stages.options import FILE, FOLDER, STORE, params_option, plain_errors, report, write_json


@click.command(
    "camera",
    epilog="Example: usrdu camera --hr data/prepare/hr.zarr --lr data/prepare/lr.zarr "
    "--out data/camera --metrics data/camera/metrics.json",
)
@click.option("--hr", type=STORE, required=True, help="Store of HR images.")
@click.option("--lr", type=STORE, required=True, help="Store of real LR images, unpaired.")
@click.option("--out", type=FOLDER, required=True, help="Folder for camera.json and camera.png.")
@click.option("--metrics", type=FILE, required=True, help="JSON file for the metrics.")
@params_option("camera")
@plain_errors
def command(hr: Path | str, lr: Path | str, out: Path, metrics: Path, params: Params) -> None:
    """Read the camera's passport off sharp images and real LR images that are not paired.

    The passport holds the blur with its sharpening, the noise and the compression.  It is found by
    analysis by synthesis: a small physical camera is fitted so that what it makes of the HR images
    has the spectra of the real LR images.
    """
    from pipeline.base.files import make_folder, whole
    from pipeline.base.settings import load_section
    from pipeline.camera.estimate import CameraSettings, passport_or_fault
    from pipeline.camera.picture import draw_passport
    from pipeline.passport.passport import write_passport
    from pipeline.stores.reader import Store

    settings = load_section(params, "camera", CameraSettings)
    make_folder(out)
    make_folder(metrics.parent)
    passport, result = passport_or_fault(Store(hr, "hr"), Store(lr, "lr"), settings)
    file, picture = out / "camera.json", out / "camera.png"
    with whole(file) as new_file, whole(picture) as new_picture, whole(metrics) as new_metrics:
        write_passport(new_file, passport)
        draw_passport(new_picture, passport)
        write_json(new_metrics, result)
    report(result, file, picture, metrics)
