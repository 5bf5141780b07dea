"""Stage ``train_dsn``."""

import logging
from pathlib import Path

import click

from pipeline.base.params import Params
from stages.options import (  # fmt: skip
    FILE,
    FOLDER,
    STORE,
    folder_of,
    params_option,
    plain_errors,
    report,
    weights_of,
    work_option,
    write_json,
)


@click.command(
    "train-dsn",
    epilog="Example: usrdu train-dsn --hr data/prepare/hr.zarr --lr data/prepare/lr.zarr "
    "--out data/train_dsn",
)
@click.option("--hr", type=STORE, required=True, help="Store of HR images.")
@click.option("--lr", type=STORE, required=True, help="Store of real LR images.")
@click.option(
    "--kernels", type=click.Path(path_type=Path),
    help="Blur kernel (.npy, .mat, .png) or a folder of them, for train_dsn.reference: kernels.  "
    "[default: folders.kernels of the settings]",
)  # fmt: skip
@click.option(
    "--camera", type=FILE,
    help="The camera's passport, for train_dsn.reference or prior_scale_gray: camera.",
)  # fmt: skip
@click.option("--out", type=FOLDER, required=True, help="Folder for the results.")
@click.option("--metrics", type=FILE, help="JSON file for the metrics.  [default: in OUT]")
@click.option(
    "--start", type=FILE,
    help="Checkpoint of another run of the same networks to go on from, after a divergence.",
)  # fmt: skip
@params_option("train_dsn", "folders", "machine")
@work_option
@plain_errors
def command(
    hr: Path | str,
    lr: Path | str,
    kernels: Path | None,
    camera: Path | None,
    out: Path,
    metrics: Path | None,
    start: Path | None,
    params: Params,
    work: Path,
) -> None:
    """Learn the camera's degradation from unpaired HR and LR images.

    Writes dsn.safetensors, contact_sheet.png, curves.csv and metrics.json.  During the training the
    latest contact sheet and curves are in a folder of WORK/train_dsn.  After an interruption the
    same command continues from the last checkpoint.  With epochs: 0 there is no training: mean and
    theta are those of the camera's passport.
    """
    from pipeline.base.settings import load_section
    from pipeline.crops.memory import MachineSettings
    from pipeline.runs.description import Places
    from pipeline.stores.reader import Store
    from pipeline.train_dsn.settings import TrainDsnSettings
    from pipeline.train_dsn.train import DsnMaterial, train_dsn
    from pipeline.training.learner import leave

    settings = load_section(params, "train_dsn", TrainDsnSettings)
    machine = load_section(params, "machine", MachineSettings)
    click.echo(f"train_dsn: {settings!r}")
    if settings.reference == "kernels":
        kernels = folder_of(params, "kernels", kernels)
    files = weights_of(params, "train_dsn")
    material = DsnMaterial(Store(hr, "hr"), Store(lr, "lr"), kernels, camera)
    result = train_dsn(material, settings, machine, Places(out, work / "train_dsn", start))
    leave()
    if result is None:  # of several processes, this is not the main one
        return
    metrics = metrics or out / "metrics.json"
    result |= {"files": files}
    write_json(metrics, result)
    report(result, out / "dsn.safetensors", out / "contact_sheet.png", out / "curves.csv", metrics)
    if result["warning"]:
        logging.getLogger(__name__).warning("%s", result["warning"])
