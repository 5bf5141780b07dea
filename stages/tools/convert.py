"""The command ``convert``; no stage of the pipeline, but its door to other people's tools."""

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
@plain_errors
def command(source: Path, target: Path, dsn: Path | None) -> None:
    """Convert weights of other programs, and SR models for other programs.

    IN is the DSN or the SRN file of the authors' released code, or an SR model that spandrel opens,
    such as srn.safetensors of train-srn.  It is recognised by its content, not by its name; no code
    in it is run.

    OUT ends in .safetensors, .pth or .onnx.  A DSN becomes .safetensors, which usrdu export and
    usrdu degrade open.  An ONNX file is a single file for any batch, height and width.  Before it
    is written, ONNX Runtime is compared with torch.
    """
    from pipeline.tools.convert import convert

    result = convert(source, target, dsn)
    click.echo(f"{source} is {result.recognised}")
    if result.onnx is not None:
        click.echo(str(result.onnx))
    for path in result.written:
        click.echo(f"wrote {path}")
