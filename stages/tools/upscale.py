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
    help="Input pixels around a tile that are also seen, so that tiles meet without seams.",
)  # fmt: skip
@click.option(
    "--batch", type=click.IntRange(min=1), default=1, show_default=True,
    help="Tiles computed together; more may be faster on a GPU, not on a CPU.",
)  # fmt: skip
@click.option(
    "--precision", type=click.Choice(["float32", "bf16"]), default="float32", show_default=True,
    help="bf16 is faster on GPUs; float32 all the same if the first tile differs by more than "
    "2 gray levels.",
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

    IN is a file or a folder.  OUT is a folder, or for a single image a name ending in .png, .tif or
    .tiff.  The result may be larger than memory: it is written strip by strip.
    """
    from tqdm import tqdm

    from pipeline.tools.upscale import Tiling, plan, upscale

    pairs = plan(source, target)
    with tqdm(total=len(pairs), desc="upscale", unit="image") as bar:

        def written(path: Path, size: tuple[int, int]) -> None:
            bar.write(f"wrote {path} ({size[0]}x{size[1]})")
            bar.update()

        upscale(pairs, model, Tiling(tile, halo, batch, precision), written)
