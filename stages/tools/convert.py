"""The command ``convert``; no stage of the pipeline, but its door to other people's tools."""

import re
from pathlib import Path

import click

from stages.options import FILE, plain_errors


@click.command(
    "convert",
    epilog="Example: usrdu convert data/train_srn/compact/srn.safetensors data/compact.onnx",
)
@click.argument("source", metavar="IN", type=FILE)
@click.argument("target", metavar="OUT", type=FILE)
@click.option("--dsn", type=FILE, help="Also write the DSN that the authors' SRN file holds.")
@click.option(
    "--size", metavar="HxW",
    help="Rows and columns of the only LR images that the ONNX file takes, one at a time; for "
    "networks such as SwinIR and HAT, which are not exact at any size.  [default: any size]",
)  # fmt: skip
@click.option("--half", is_flag=True, help="Weights and arithmetic of the ONNX file in float16.")
@plain_errors
def command(source: Path, target: Path, dsn: Path | None, size: str | None, half: bool) -> None:
    """Convert weights of other programs, and SR models for other programs.

    IN is the DSN or the SRN file of the authors' released code, or an SR model that spandrel opens,
    such as srn.safetensors of train-srn.  It is recognised by its content, not by its name; no code
    in it is run.

    OUT ends in .safetensors, .pth or .onnx.  A DSN becomes .safetensors, which usrdu export and
    usrdu degrade open.  An ONNX file is a single file for any batch, height and width, or with
    --size for one.  Before it is written, ONNX Runtime is compared with torch; with --half they may
    differ by 2 gray levels, else by 1/40.  The model's card is written beside OUT.
    """
    sides = _sides(size)

    from pipeline.tools.convert import OnnxForm, convert

    result = convert(source, target, dsn, OnnxForm(sides, half))
    click.echo(f"{source} is {result.recognised}")
    if result.onnx is not None:
        click.echo(str(result.onnx))
    for path in result.written:
        click.echo(f"wrote {path}")


def _sides(size: str | None) -> tuple[int, int] | None:
    if size is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size)
    if found is None:
        raise click.BadParameter(f"'{size}' is not like 128x128", param_hint="--size")
    return int(found[1]), int(found[2])
