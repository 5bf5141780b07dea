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
    from pipeline.base.settings import load_section
    from pipeline.camera.estimate import CameraSettings, estimate_camera
    from pipeline.camera.picture import draw_passport
    from pipeline.passport.passport import write_passport
    from pipeline.stores.reader import Store

    settings = load_section(params, "camera", CameraSettings)
    passport, result = estimate_camera(Store(hr, "hr"), Store(lr, "lr"), settings)
    out.mkdir(parents=True, exist_ok=True)
    write_passport(out / "camera.json", passport)
    draw_passport(out / "camera.png", passport)
    write_json(metrics, result)
    report(result, out / "camera.json", metrics)
