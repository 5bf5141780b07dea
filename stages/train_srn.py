"""Stage ``train_srn``."""

from pathlib import Path

import click

from stages.options import (  # fmt: skip
    FILE,
    FOLDER,
    params_option,
    plain_errors,
    report,
    work_option,
    write_json,
)


@click.command(
    "train-srn",
    epilog="Example: usrdu train-srn --arch esrgan --hr data/prepare/hr.zarr "
    "--maps data/export/maps.zarr --calibration data/calibrate/calibration.json "
    "--out data/train_srn/esrgan",
)
@click.option("--arch", required=True, help="An entry of the section 'architectures'.")
@click.option("--hr", type=FOLDER, required=True, help="Store of HR images.")
@click.option("--maps", type=FOLDER, required=True, help="Store of mean and theta.")
@click.option("--calibration", type=FILE, help="Calibration of the maps, if theta needs one.")
@click.option("--out", type=FOLDER, required=True, help="Folder for the results.")
@click.option("--metrics", type=FILE, help="JSON file for the metrics.  [default: in OUT]")
@params_option
@work_option
@plain_errors
def command(
    arch: str,
    hr: Path,
    maps: Path,
    calibration: Path | None,
    out: Path,
    metrics: Path | None,
    params: Path,
    work: Path,
) -> None:
    """Train an SR network on sampled degradations.

    Every crop of every step gets a fresh Laplace draw on the training device.  Writes
    srn.safetensors, which chaiNNer, ComfyUI and everything else that uses spandrel can open,
    contact_sheet.png, curves.csv and metrics.json.
    """
    from pipeline.calibration import load_calibration
    from pipeline.settings import load_section
    from pipeline.stores import Store
    from pipeline.train_srn import Architecture, TrainSrnSettings, train_srn

    settings = load_section(params, "train_srn", TrainSrnSettings)
    architecture = load_section(params, f"architectures.{arch}", Architecture)
    click.echo(f"train_srn: {architecture!r} {settings!r}")
    asked = settings.theta == "calibrated" or (
        settings.theta == "constant" and settings.constant_theta is None
    )
    measured = load_calibration(calibration) if calibration and asked else None
    stores = Store(hr, "hr"), Store(maps, "maps")
    result = train_srn(*stores, arch, architecture, settings, measured, work / "train_srn", out)
    metrics = metrics or out / "metrics.json"
    write_json(metrics, result)
    report(result, out / "srn.safetensors", out / "contact_sheet.png", out / "curves.csv", metrics)
