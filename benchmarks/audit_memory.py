"""Peak memory and time of ``usrdu audit`` against the number of images.

Each count runs in a process of its own on stores of small synthetic images; the row "imports" is
what such a process needs before it reads anything.  Run: uv run python benchmarks/audit_memory.py
"""

import tempfile
from pathlib import Path

import click
from children import measured, told

SCALE, SIDE = 4, 48
"""Sides of LR images in pixels; HR images are four times as large."""
REAL = 200
"""Real LR images, whatever the number of maps."""


def child(folder: Path, count: int) -> None:
    """Audit ``count`` images (0: none) and print time and peak memory."""
    from pipeline.audit import audit
    from pipeline.audit_graph import Inputs
    from pipeline.stores import Store
    from pipeline.tally import AuditSettings

    settings = AuditSettings(
        worst_images=6, bins=80, theta_limit=24.0, distance_limit=50.0, outlier_score=3.5
    )
    if not count:
        told(None)
        return
    inputs = Inputs(
        Store(folder / "maps.zarr", "maps"),
        Store(folder / "hr.zarr", "hr"),
        Store(folder / "lr.zarr", "lr"),
    )
    told(lambda: audit(inputs, settings, folder / "page"))


def write_stores(folder: Path, count: int) -> None:
    """Flat blocks with noise: HR images, their box means as maps, and real LR images."""
    import numpy as np

    from pipeline.stores import Store, StoreWriter

    rng = np.random.default_rng(0)

    def image(side: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
        blocks = rng.uniform(20, 235, (3, side // 12, side // 12)).repeat(12, 1).repeat(12, 2)
        return np.clip(blocks + rng.normal(0, 6, blocks.shape), 0, 255).astype(np.uint8)

    ids = [f"image{number:05}" for number in range(count)]
    dsn = {"learn_theta": True, "prior_scale": 1.0}
    with StoreWriter(folder / "lr.zarr", "lr", SCALE, ids[:REAL]) as lr:
        for image_id in ids[:REAL]:
            lr.add(image_id, {"image": image(SIDE)})
    with StoreWriter(folder / "hr.zarr", "hr", SCALE, ids) as hr:
        for image_id in ids:
            hr.add(image_id, {"image": image(SIDE * SCALE)})
    store = Store(folder / "hr.zarr", "hr")
    described = {"dsn_settings": dsn, "reference": "bicubic", "hr_digest": store.digest}
    with StoreWriter(folder / "maps.zarr", "maps", SCALE, ids, described) as maps:
        for image_id in ids:
            boxes = store.read(image_id, "image").reshape(3, SIDE, SCALE, SIDE, SCALE)
            mean = (boxes.mean((2, 4)) / 255).astype(np.float16)
            theta = rng.uniform(0.4, 6, mean.shape).astype(np.float16) / np.float16(255)
            maps.add(image_id, {"mean": mean, "theta": theta})


@click.command()
@click.option("--count", "counts", type=int, multiple=True, default=(100, 1000, 10_000))
@click.option("--child-folder", type=click.Path(path_type=Path), hidden=True)
def main(counts: tuple[int, ...], child_folder: Path | None) -> None:
    """Print a table: images, seconds, images per second, peak memory."""
    if child_folder is not None:
        child(child_folder, counts[0])
        return
    click.echo("| images | seconds | images/s | peak memory, MiB |\n|---|---|---|---|")
    for count in (0, *counts):
        with tempfile.TemporaryDirectory() as name:
            if count:
                write_stores(Path(name), count)
            row = measured(__file__, "--count", count, "--child-folder", name)
            what, speed = (
                (str(count), f"{count / row['seconds']:.0f}") if count else ("imports", "-")
            )
            click.echo(f"| {what} | {row['seconds']:.1f} | {speed} | {row['peak']:.0f} |")


if __name__ == "__main__":
    main()
