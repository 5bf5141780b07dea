"""The command ``upscale``; no stage of the pipeline, but what it is for."""

from pathlib import Path

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
@plain_errors
def command(source: Path, target: Path, model: Path, tile: int, halo: int) -> None:
    """Super-resolve an image or a folder of images, of any size, into PNG files.

    IN is a file or a folder.  OUT is a folder, or for a single image a name ending in .png.
    """
    from tqdm import tqdm

    from pipeline.upscale import plan, upscale

    pairs = plan(source, target)
    for written, (height, width) in tqdm(
        upscale(pairs, model, tile, halo), "upscale", len(pairs), unit="image"
    ):
        tqdm.write(f"wrote {written} ({height}x{width})")
