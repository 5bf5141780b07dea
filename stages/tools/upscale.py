"""The command ``upscale``; no stage of the pipeline, but what it is for."""

from pathlib import Path
from typing import Literal

import click

from stages.options import FILE, plain_errors


@click.command(
    "upscale",
    epilog="Example: usrdu upscale data/raw/demo/val/lr upscaled "
    "--model data/train_srn/compact/srn.safetensors",
)
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--model", type=FILE, required=True, help="Any SR model file spandrel opens.")
@click.option(
    "--tile", type=click.IntRange(min=16), default=256, show_default=True,
    help="Side of a tile in input pixels; lower it when memory runs out.",
)  # fmt: skip
@click.option(
    "--halo", type=click.IntRange(min=0), default=32, show_default=True,
    help="Input pixels around a tile that the network also sees, so that no seams appear.",
)  # fmt: skip
@click.option(
    "--batch", type=click.IntRange(min=1), default=1, show_default=True,
    help="Tiles computed together; more may be faster on a GPU, not on a CPU.",
)  # fmt: skip
@click.option(
    "--precision", type=click.Choice(["float32", "bf16"]), default="float32", show_default=True,
    help="bf16 is faster on GPUs.  If the first tile then differs by more than 2 gray levels, "
    "float32 is used all the same.",
)  # fmt: skip
@plain_errors
def command(
    source: Path,
    target: Path,
    model: Path,
    tile: int,
    halo: int,
    batch: int,
    precision: Literal["float32", "bf16"],
) -> None:
    """Super-resolve an image or a folder of images, of any size, into PNG files.

    IN is a file or a folder.  OUT is a folder; for a single image it may also be a file name ending
    in .png, .tif or .tiff.  The result may be larger than memory, as it is written strip by strip.

    A result has the channels and the depth of its input: 16 bit stays 16 bit, grey stays grey, and
    alpha is enlarged.  EXIF data and resolution are copied; the EXIF orientation is applied.

    Images that cannot be read are listed at the end, with exit status 1; the others are written.
    """
    from pipeline.evaluate.tiled import Tiling
    from pipeline.tools.upscale import plan, upscale

    upscale(plan(source, target), model, Tiling(tile, halo, batch), precision)
