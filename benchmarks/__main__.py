"""The command: every row, and the table.

Run: uv run --group bench python -m benchmarks --help
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.race import Line

ROWS = {
    "a": ("pairs", "batch_cost", "data of an SRN batch"),
    "b": ("pairs", "crops_per_second", "pairs of crops per second"),
    "c": ("steps", "steps", "training steps"),
    "d": ("exporting", "exporting", "export"),
    "e": ("auditing", "auditing", "audit"),
    "f": ("upscaling", "upscaling", "upscale"),
    "g": ("commands", "commands", "commands with nothing to do"),
    "h": ("many", "many", "100,000 images"),
    "i": ("long_run", "long_run", "long trainings"),
    "j": ("draws", "draws", "Laplace draws of a batch"),
    "k": ("waiting", "waiting", "evaluate, camera and calibrate"),
}
"""Module of ``benchmarks.rows``, function and description of each row."""


@click.command(
    epilog="Example: uv run --group bench python -m benchmarks --row a --row b --size small"
)
@click.option(
    "--row", "rows", type=click.Choice(list(ROWS)), multiple=True,
    help="; ".join(f"{letter}: {words}" for letter, (_, _, words) in ROWS.items()) + ".  Or all.",
)  # fmt: skip
@click.option(
    "--size", "size_name", type=click.Choice(["small", "paper", "tiny"]), default="small",
    show_default=True,
    help="small: the demo's networks, for two CPU cores; paper: the paper's, for a GPU; tiny: "
    "proves that the rows run.",
)  # fmt: skip
@click.option("--device", "device_name", help="cpu or cuda; the GPU if there is one.")
@click.option(
    "--rounds", type=click.IntRange(min=1), default=5, show_default=True,
    help="Turns of every side; rows of whole processes (d, e, f, h) take half as many, "
    "and row i is of one.",
)  # fmt: skip
@click.option(
    "--data", "folder", type=click.Path(path_type=Path),
    help="Keep the generated data here (about 1 GB), and take them from here next time.",
)  # fmt: skip
@click.option(
    "--repository", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where 'dvc repro' has run, for row g; otherwise a clone is made and runs tiny trainings.",
)  # fmt: skip
def main(
    rows: tuple[str, ...],
    size_name: str,
    device_name: str | None,
    rounds: int,
    folder: Path | None,
    repository: Path | None,
) -> None:
    """Print one Markdown table: ours against the alternatives, on the same data, in turns.

    With --gpu, everything that runs on one GPU in a few minutes instead; see --gpu --help.  With
    --networks, every SR network that spandrel opens; see --networks --help.
    """
    if device_name == "cpu":  # before torch is imported, and for the processes that are started
        os.environ |= {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    import torch

    from benchmarks.bench import Bench
    from benchmarks.data import Data
    from benchmarks.hardware import hardware
    from benchmarks.race import HEAD
    from benchmarks.sizes import SIZES

    found = "cuda" if torch.cuda.is_available() else "cpu"
    device, size = torch.device(device_name or found), SIZES[size_name]
    click.echo(f"Size {size.name}; {hardware(device)}; load at first {_load()}.\n\n{HEAD}")
    missed = []
    with tempfile.TemporaryDirectory() as scratch:
        data = Data(folder or Path(scratch) / "data", size)
        bench = Bench(size, device, rounds, data, Path(scratch), repository)
        for row in rows or ROWS:
            for line in _row(row, bench):
                click.echo(line)  # at once: what was measured outlives a row that fails
                if not line.met:
                    missed.append(f"{line.row}: {line.what}, {line.ours}")
    click.echo(f"\nMissed: {'; '.join(missed) or 'nothing'}.  Load in the end {_load()}.")


def _row(row: str, bench: "Bench") -> "Iterator[Line]":
    module, function, _ = ROWS[row]
    run: Callable[[Bench], Iterator[Line]] = getattr(
        import_module(f"benchmarks.rows.{module}"), function
    )
    return run(bench)


def _load() -> str:
    """Processes that wanted to run in the last minute, on average."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


if __name__ == "__main__":
    if "--gpu" in sys.argv:  # another table, with options of its own
        from benchmarks.gpu.command import main as one_gpu

        one_gpu()
    if "--networks" in sys.argv:
        from benchmarks.networks.command import main as networks

        networks()
    main()
