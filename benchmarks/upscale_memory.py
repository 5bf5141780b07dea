"""Peak memory and time of ``usrdu upscale`` against image size.

Each size runs in a process of its own on one synthetic image with a tiny network of scale 4; the
row "imports" is what such a process needs before it reads anything.
Run: uv run python benchmarks/upscale_memory.py
"""

import tempfile
from pathlib import Path

import click
from children import measured, told

SCALE = 4


def child(folder: Path, side: int, ending: str) -> None:
    """Upscale one image of ``side`` x ``side`` pixels (0: none) and print time and peak memory."""
    import torch
    from safetensors.torch import save_file

    from pipeline.networks.srn import build
    from pipeline.upscale import Tiling, upscale

    if not side:
        told(None)
        return
    torch.manual_seed(0)
    network = build("Compact", SCALE, {"num_feat": 16, "num_conv": 2})
    save_file(network.state_dict(), folder / "model.safetensors")
    pairs = [(folder / f"{side}.png", folder / f"sr{side}{ending}")]
    tiling = Tiling(tile=256, halo=32)
    told(lambda: upscale(pairs, folder / "model.safetensors", tiling, lambda *_: None))


def write_image(folder: Path, side: int) -> None:
    """Write a PNG: noise over a gradient."""
    import numpy as np

    from pipeline.images import write_png

    rng = np.random.default_rng(0)
    image = rng.integers(0, 16, (3, side, side), dtype=np.uint8)
    image += np.linspace(0, 239, side).astype(np.uint8)
    write_png(folder / f"{side}.png", image)


@click.command()
@click.option("--side", "sides", type=int, multiple=True, default=(1000, 3000, 6000))
@click.option("--ending", type=click.Choice([".png", ".tif"]), default=".png", show_default=True)
@click.option("--child-folder", type=click.Path(path_type=Path), hidden=True)
def main(sides: tuple[int, ...], ending: str, child_folder: Path | None) -> None:
    """Print a table: input and SR image, seconds, SR megapixels per second, peak memory."""
    if child_folder is not None:
        child(child_folder, sides[0], ending)
        return
    click.echo("| input | SR image, MiB | seconds | SR MP/s | peak memory, MiB |")
    click.echo("|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as name:
        for side in (0, *sides):
            if side:
                write_image(Path(name), side)
            words = ("--side", side, "--ending", ending, "--child-folder", name)
            row = measured(__file__, *words)
            pixels = (side * SCALE) ** 2
            what = f"{side} x {side}" if side else "imports"
            speed = f"{pixels / 1e6 / row['seconds']:.1f}" if side else "-"
            cells = (what, f"{3 * pixels / 2**20:.0f}", f"{row['seconds']:.0f}", speed)
            click.echo(f"| {' | '.join(cells)} | {row['peak']:.0f} |")


if __name__ == "__main__":
    main()
