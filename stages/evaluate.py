"""Stage ``evaluate``."""

from pathlib import Path

import click

from pipeline.base.params import Params
from stages.options import FILE, FOLDER, STORE, params_option, plain_errors, report, write_json


@click.command(
    "evaluate",
    epilog="Example: usrdu evaluate --val data/prepare/val.zarr "
    "--model data/train_srn/esrgan/srn.safetensors --out data/evaluate/esrgan "
    "--metrics data/evaluate/esrgan.json",
)
@click.option("--val", type=STORE, required=True, help="Store of pairs, or of LR images.")
@click.option("--model", type=FILE, required=True, help="Any SR model file spandrel opens.")
@click.option("--out", type=FOLDER, required=True, help="Folder for tables and pictures.")
@click.option("--metrics", type=FILE, required=True, help="JSON file for the metrics.")
@params_option("evaluate")
@plain_errors
def command(val: Path | str, model: Path, out: Path, metrics: Path, params: Params) -> None:
    """Score an SR model and bicubic upsampling on held-out images.

    Pairs are scored by PSNR, SSIM, HaarPSI and LPIPS under the protocols of the settings, and by
    NIQE.  A store of LR images without HR is scored by NIQE alone.  LPIPS needs AlexNet's ImageNet
    weights, NIQE a pristine model (see niqe-fit); without them the score is left out.
    """
    from pipeline.base.settings import load_section
    from pipeline.evaluate.evaluate import EvaluateSettings, evaluate
    from pipeline.stores.reader import Store

    settings = load_section(params, "evaluate", EvaluateSettings)
    result = evaluate(Store(val, "val", "lr"), model, settings, out)
    write_json(metrics, result)
    report(result, out / "images.csv", out / "side_by_side.png", metrics)
