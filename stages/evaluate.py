"""Stage ``evaluate``."""

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
    write_json,
)


@click.command(
    "evaluate",
    epilog="Example: usrdu evaluate --val data/prepare/val.zarr "
    "--model data/train_srn/esrgan/srn.safetensors --out data/evaluate/esrgan",
)
@click.option("--val", type=STORE, required=True, help="Store of pairs, or of LR images.")
@click.option("--arch", metavar="NAME", help="Name of a trained network: the defaults below.")
@click.option(
    "--model", type=FILE,
    help="Any SR model file spandrel opens.  [default: data/train_srn/NAME/srn.safetensors]",
)  # fmt: skip
@click.option(
    "--out", type=FOLDER, help="Folder for tables and pictures.  [default: data/evaluate/NAME]"
)
@click.option("--metrics", type=FILE, help="JSON file for the metrics.  [default: in OUT]")
@params_option("evaluate", "folders")
@plain_errors
def command(
    val: Path | str,
    arch: str | None,
    model: Path | None,
    out: Path | None,
    metrics: Path | None,
    params: Params,
) -> None:
    """Score an SR model and bicubic upsampling on held-out images.

    Pairs are scored by PSNR, SSIM, HaarPSI and LPIPS under the protocols of the settings, and by
    NIQE.  A store of LR images without HR is scored by NIQE alone.  LPIPS needs AlexNet's ImageNet
    weights, NIQE a pristine model (see niqe-fit); without them the score is left out.

    The model's card, card.md and card.json, says what it was trained on and how it scored.
    """
    from pipeline.base.params import require_name
    from pipeline.base.settings import load_section
    from pipeline.evaluate.card import new_card
    from pipeline.evaluate.card_files import write_card
    from pipeline.evaluate.evaluate import EvaluateSettings, evaluate
    from pipeline.stores.reader import Store

    settings = load_section(params, "evaluate", EvaluateSettings)
    if arch is not None:
        require_name("--arch", arch)
        model = model or Path("data/train_srn", arch, "srn.safetensors")
        out = out or Path("data/evaluate", arch)
    if model is None or out is None:
        raise click.UsageError("Name the network by --arch, or by --model and --out.")
    metrics = metrics or out / "metrics.json"
    files = weights_of(params, "evaluate")
    store = Store(val, "val", "lr")
    result = evaluate(store, model, settings, out)
    cards = write_card(out / "card.md", new_card(model, result | {"val": store.digest}))
    result |= {"files": files}
    write_json(metrics, result)
    report(result, out / "images.csv", out / "side_by_side.png", *cards, metrics)
