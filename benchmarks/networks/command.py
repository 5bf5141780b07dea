"""The command that tries every network and writes the tables of ``docs/networks.md``.

Run: python -m benchmarks --networks --help
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import click

from benchmarks.gpu.command import environment
from benchmarks.gpu.results import MEASURED, Outcome, from_plain
from benchmarks.gpu.run import Part, Setting, run_parts
from benchmarks.networks.choices import choice
from benchmarks.networks.table import REFERENCE, row, write

PRELOAD = ("benchmarks.networks.trial",)
"""What all processes import."""
MEMORY = 12 * 1024
"""MiB of data that the process of a network may hold."""


def parts(names: list[str], what: str, limit: float) -> list[Part]:
    """The parts of a kind, ``steps`` or ``formats``."""
    function = f"benchmarks.networks.trial:{what}"
    return [Part(name, function, (name,), limit, memory=MEMORY) for name in names]


@click.command(epilog="Example: python -m benchmarks --networks --network SPAN")
@click.option("--networks", is_flag=True, expose_value=False, help="Chooses this command.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False, exists=True), required=True,
    default=Path("docs/networks.md"), show_default=True,
    help="The page whose tables are written anew; rows of other networks stay.",
)  # fmt: skip
@click.option(
    "--network", "chosen", multiple=True, metavar="NAME", help="Only these.  [default: all]"
)
@click.option(
    "--size", type=click.Choice(["paper", "tiny"]), default="paper", show_default=True,
    help="tiny proves that it runs.",
)  # fmt: skip
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Keep what is measured here; the next run goes on with what is missing.",
)  # fmt: skip
@click.option("--limit", type=float, default=420.0, show_default=True, help="Seconds of a part.")
def main(out: Path, chosen: tuple[str, ...], size: str, keep: Path | None, limit: float) -> None:
    """Try every SR network that spandrel opens: a training step, sizes, bfloat16, ONNX.

    Every network has processes of its own with limits of time and memory, so that a fault costs one
    row.  One thread, and seconds of the processor, so that little else disturbs.
    """
    environment("cpu")
    from benchmarks.hardware import processor
    from pipeline.srn.network import architectures

    known = architectures()
    if unknown := set(chosen) - set(known):
        raise click.UsageError(f"spandrel has no network {sorted(unknown)[0]}")
    names = [REFERENCE, *(name for name in chosen or known if name != REFERENCE)]
    machine = (
        f"{processor()}, one thread; torch {version('torch')}, spandrel {version('spandrel')}, "
        f"ONNX Runtime {version('onnxruntime')}."
    )
    found: dict[str, list[Outcome]] = {name: [] for name in names}

    def save(outcomes: list[Outcome]) -> None:
        found[outcomes[-1].part].append(outcomes[-1])
        tried = {name: ones for name, ones in found.items() if ones}
        rows = {name: row(name, choice(name, size), ones) for name, ones in tried.items()}
        write(out, rows, machine)

    begin = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        setting = Setting(size, "cpu", 1, keep or Path(scratch))
        setting.folder.mkdir(parents=True, exist_ok=True)
        for what in ("steps", "formats"):
            ready = [name for name in names if what == "steps" or found[name][0].results]
            _run(ready, what, setting, limit, save)
    click.echo(f"wrote {out} in {time.monotonic() - begin:.0f} s")
    sys.exit(0 if any(ones[0].state == MEASURED for ones in found.values()) else 1)


def _run(
    names: list[str], what: str, setting: Setting, limit: float,
    save: Callable[[list[Outcome]], None],
) -> None:  # fmt: skip
    """Run the parts of a kind that were not measured before."""

    def kept(name: str) -> Path:
        return setting.folder / f"{name}.{what}.json"

    def keep(outcomes: list[Outcome]) -> None:
        if (last := outcomes[-1]).state == MEASURED:
            kept(last.part).write_text(json.dumps(last.plain()))
        save(outcomes)

    for name in names:
        if kept(name).exists():
            plain = json.loads(kept(name).read_text())
            results = [from_plain(one) for one in plain["results"]]
            save([Outcome(name, plain["state"], plain["seconds"], results)])
    left = [name for name in names if not kept(name).exists()]
    run_parts(parts(left, what, limit), setting, limit * len(left), PRELOAD, keep)
