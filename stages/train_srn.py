"""Stage ``train_srn``."""

from pathlib import Path

import click

from pipeline.base.params import Params
from stages.options import (  # fmt: skip
    FILE,
    FOLDER,
    STORE,
    params_option,
    plain_errors,
    report,
    weights_of,
    work_option,
    write_json,
)


@click.command(
    "train-srn",
    epilog="Example: usrdu train-srn --arch esrgan --hr data/prepare/hr.zarr "
    "--maps data/export/maps.zarr --calibration data/calibrate/calibration.json "
    "--out data/train_srn/esrgan",
)
@click.option("--arch", metavar="NAME", required=True, help="An entry of 'architectures'.")
@click.option("--hr", type=STORE, help="Store of HR images; not for lr_from: pairs.")
@click.option("--maps", type=STORE, help="Store of mean and theta, for lr_from: maps.")
@click.option("--calibration", type=FILE, help="Calibration of the maps, if theta needs one.")
@click.option(
    "--camera", type=FILE,
    help="The camera's passport, for theta: camera.  [default: that in the maps]",
)  # fmt: skip
@click.option("--pairs", type=STORE, help="Store of real pairs, for lr_from: pairs.")
@click.option("--val", type=STORE, help="Store of images to validate on, for validate_every.")
@click.option("--out", type=FOLDER, help="Folder for the results.  [default: data/train_srn/NAME]")
@click.option("--metrics", type=FILE, help="JSON file for the metrics.  [default: in OUT]")
@click.option(
    "--start", type=FILE,
    help="Checkpoint of another run of the same networks to go on from, after a divergence.",
)  # fmt: skip
@params_option("train_srn", "architectures", "evaluate", "folders", "machine")
@work_option
@plain_errors
def command(
    arch: str,
    hr: Path | str | None,
    maps: Path | str | None,
    calibration: Path | None,
    camera: Path | None,
    pairs: Path | str | None,
    val: Path | str | None,
    out: Path | None,
    metrics: Path | None,
    start: Path | None,
    params: Params,
    work: Path,
) -> None:
    """Train an SR network on sampled degradations.

    The noise of every crop of every step is drawn anew on the training device.  The setting lr_from
    also allows a training on bicubic LR images or on real pairs.  With validate_every the network
    is scored on VAL during the training, as the section evaluate says.  Writes contact_sheet.png,
    progress.png, curves.csv, metrics.json and srn.safetensors.  chaiNNer, ComfyUI and every other
    program that uses spandrel can open the last one.
    """
    from pipeline.base.settings import load_section, load_value
    from pipeline.crops.memory import MachineSettings
    from pipeline.passport.passport import read_passport
    from pipeline.runs.description import Places
    from pipeline.sampling.calibration import load_calibration
    from pipeline.scores.scorer import Names, ScoreSettings
    from pipeline.stores.reader import Store
    from pipeline.train_srn.noise_check import levels_of
    from pipeline.train_srn.settings import Architecture, TrainSrnSettings
    from pipeline.train_srn.train import SrnMaterial, train_srn
    from pipeline.training.learner import leave

    settings = load_section(params, "train_srn", TrainSrnSettings)
    machine = load_section(params, "machine", MachineSettings)
    architecture = load_section(params, f"architectures.{arch}", Architecture)
    click.echo(f"train_srn: {architecture!r} {settings!r}")
    out = out or Path("data/train_srn", arch)
    sections = ["train_srn", f"architectures.{arch}"]
    scoring = ScoreSettings()
    if settings.validate_every and val:
        scoring = ScoreSettings(
            protocols=load_value(params, "evaluate.protocols", Names)[:1],
            lpips_weights=load_value(params, "evaluate.lpips_weights", str),
            niqe_model=load_value(params, "evaluate.niqe_model", str),
        )
        sections.append("evaluate")
    files = weights_of(params, *sections)
    material = SrnMaterial(
        Store(hr, "hr") if hr else None,
        Store(maps, "maps") if maps else None,
        load_calibration(calibration) if calibration and settings.calibrated else None,
        Store(pairs, "val") if pairs else None,
        read_passport(camera) if camera and settings.camera else None,
        levels_of(calibration),
        Store(val, "val", "lr") if val and settings.validate_every else None,
        scoring,
    )
    result = train_srn(
        material, arch, architecture, settings, machine, Places(out, work / "train_srn", start)
    )
    leave()
    if result is None:  # of several processes, this is not the main one
        return
    metrics = metrics or out / "metrics.json"
    result |= {"files": files}
    write_json(metrics, result)
    names = ("srn.safetensors", "contact_sheet.png", "progress.png", "curves.csv")
    report(result, *(out / name for name in names), metrics)
