"""The command: parts, their limits, and the files.

Run: python -m benchmarks --gpu --help
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import click

from benchmarks.gpu.results import Outcome, tables
from benchmarks.gpu.run import Part, Setting, run_parts

MEASURE = "benchmarks.gpu.measure:measure"
PRELOAD = (
    "benchmarks.gpu.measure", "torchvision", "spandrel.architectures", "accelerate",
    "torch.utils.flop_counter",
)  # fmt: skip
"""What most parts import."""
COMPILED = "bf16, channels_last, compiled"
STEP_WAYS = ("float32", "TF32 convolutions", "bf16", "bf16, channels_last")
UPSCALE_WAYS = (
    "whole image, TF32 convolutions", "tiles, float32", "tiles, TF32 convolutions", "tiles, bf16",
    "tiles in batches of 4, bf16", "tiles in batches of 4, bf16, channels_last",
)  # fmt: skip


def parts() -> list[Part]:
    """All parts, the least important and longest last."""

    def part(name: str, what: str, *arguments: object, limit: float = 45.0) -> Part:
        return Part(name, MEASURE, (what, *arguments), limit)

    found = [
        part("card", "card"),
        part("data", "data", limit=75.0),
        part("law of the draws", "law"),
        part("speed of the draws", "speed"),
        part("crops, released code's way", "released"),
        part("crops, resident", "resident", False),
        part("crops, resident, large batch", "resident", True),
    ]
    for network in ("DSN", "SRN"):
        found += [part(f"{network} step, {way}", "step", network, way) for way in STEP_WAYS]
    found += [
        part("export, whole image", "plain_export"),
        part("export", "exported", 1),
        part("export, batches of 8", "exported", 8),
    ]
    found += [part(f"upscale, {way}", "upscaled", way) for way in UPSCALE_WAYS]
    for network, limit in (("DSN", 150.0), ("SRN", 210.0)):
        name = f"{network} step, {COMPILED}"
        found.append(Part(name, MEASURE, ("step", network, COMPILED), limit, least=40.0))
    return found


@click.command(epilog="Example: python -m benchmarks --gpu --out gpu-results")
@click.option("--gpu", is_flag=True, expose_value=False, help="Chooses this command.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False),
    help="Folder for gpu.json and gpu.md, which are written after every part.",
)  # fmt: skip
@click.option(
    "--budget", type=click.FloatRange(min=1), default=480.0, show_default=True,
    help="Seconds for everything; parts for which no time is left are named.",
)  # fmt: skip
@click.option(
    "--size", type=click.Choice(["paper", "tiny"]), default="paper", show_default=True,
    help="tiny proves that the parts run, on a CPU too.",
)  # fmt: skip
@click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option(
    "--part", "chosen", multiple=True, metavar="WORDS",
    help="Only the parts whose names begin so, and the data.  [default: all]",
)  # fmt: skip
def main(
    out: Path | None, budget: float, size: str, device: str, rounds: int, chosen: tuple[str, ...]
) -> None:
    """Measure one GPU in a few minutes: draws, batches, training steps, export, upscaling.

    Every part runs in a process of its own with a limit of time, so that what goes wrong costs one
    part.  The exit status is 1 if a part failed, or a law was not met.
    """
    begin = time.monotonic()
    environment(device)
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise click.UsageError("torch finds no GPU; --device cpu --size tiny runs without one")
    wanted = [
        one for one in parts() if not chosen or one.name == "data" or one.name.startswith(chosen)
    ]

    def written(outcomes: list[Outcome]) -> None:
        if out is not None:
            write(out, outcomes, time.monotonic() - begin)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        setting = Setting(size, device, rounds, Path(folder) / "data")
        left = budget - (time.monotonic() - begin)
        outcomes = run_parts(wanted, setting, left, PRELOAD, written)
    click.echo(tables(outcomes))
    sys.exit(0 if all(outcome.good for outcome in outcomes) else 1)


def environment(device: str) -> None:
    """Set what all processes inherit, before any of them imports torch."""
    # So that asking for a GPU does not touch it, and processes can be forked afterwards.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    os.environ.setdefault("TQDM_DISABLE", "1")  # a line tells when a part begins and ends
    # Processes end without cleaning up; what they leave, Python's tracker removes and mentions.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(os.cpu_count() or 1))
    if device == "cpu":
        os.environ |= {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}


def write(out: Path, outcomes: list[Outcome], seconds: float) -> None:
    """Write ``gpu.json`` and ``gpu.md``."""
    out.mkdir(parents=True, exist_ok=True)
    plain = {"seconds": seconds, "parts": [outcome.plain() for outcome in outcomes]}
    (out / "gpu.json").write_text(json.dumps(plain, indent=1) + "\n")
    (out / "gpu.md").write_text(tables(outcomes) + "\n")
