"""Peak memory and time of ``usrdu export`` against image size.

Each size runs in a process of its own on one synthetic image; the row "imports" is what such a
process needs before it reads anything.  Run: uv run python benchmarks/export_memory.py
"""

import tempfile
from pathlib import Path

import click
from children import measured, told

FEATURES, BLOCKS = 16, 8


def child(folder: Path, side: int) -> None:
    """Export one image of ``side`` x ``side`` pixels (0: none) and print time and peak memory."""
    import torch

    from pipeline.checkpoints import save_weights
    from pipeline.export import ExportSettings, export
    from pipeline.networks.dsn import DSN, FORMAT
    from pipeline.stores import Store

    if not side:
        told(None)
        return
    torch.manual_seed(0)
    dsn = DSN(4, FEATURES, BLOCKS)
    described = {"features": FEATURES, "blocks": BLOCKS, "learn_theta": True}
    metadata = {"format": FORMAT, "scale": 4, "settings": described}
    save_weights(folder / "dsn.safetensors", dsn.state_dict(), metadata)
    settings = ExportSettings(tile=128, batch=1, mean_keep_bits=10, theta_keep_bits=7)
    hr, weights = Store(folder / f"{side}.zarr", "hr"), folder / "dsn.safetensors"
    told(lambda: export(hr, weights, settings, folder / f"maps{side}.zarr"))


def write_image(folder: Path, side: int) -> None:
    """Write an HR store with one image: noise over a gradient."""
    import numpy as np

    from pipeline.stores import StoreWriter

    rng = np.random.default_rng(0)
    image = rng.integers(0, 64, (3, side, side), dtype=np.uint8)
    image += np.linspace(0, 190, side).astype(np.uint8)
    with StoreWriter(folder / f"{side}.zarr", "hr", 4, ["image"]) as writer:
        writer.add("image", {"image": image})


@click.command()
@click.option("--side", "sides", type=int, multiple=True, default=(1000, 3000, 10000))
@click.option("--child-folder", type=click.Path(path_type=Path), hidden=True)
def main(sides: tuple[int, ...], child_folder: Path | None) -> None:
    """Print a table: image, megapixels, seconds, megapixels per second, peak memory."""
    if child_folder is not None:
        child(child_folder, sides[0])
        return
    click.echo("| HR image | seconds | MP/s | peak memory, MiB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for side in (0, *sides):
            if side:
                write_image(Path(name), side)
            row = measured(__file__, "--side", side, "--child-folder", name)
            what = f"{side} x {side}" if side else "imports"
            speed = f"{side**2 / 1e6 / row['seconds']:.2f}" if side else "-"
            click.echo(f"| {what} | {row['seconds']:.1f} | {speed} | {row['peak']:.0f} |")


if __name__ == "__main__":
    main()
