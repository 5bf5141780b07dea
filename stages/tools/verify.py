"""The command ``verify``; no stage of the pipeline, but a check of what the stages keep."""

import sys
from pathlib import Path

import click

from stages.options import STORE, plain_errors


@click.command(
    "verify",
    epilog="Example: usrdu verify data/prepare/hr.zarr data/export/maps.zarr "
    "data/train_dsn/dsn.safetensors",
)
@click.argument("places", metavar="STORE|FILE...", nargs=-1, required=True, type=STORE)
@plain_errors
def command(places: tuple[Path | str, ...]) -> None:
    """Check stores, weights and checkpoints against their checksums.

    Every chunk of a store is decoded.  Its checksums, shapes, types and digests are compared with
    the description at the root of the store; every fault names the image, the array and the chunk.
    A safetensors file or a checkpoint is compared with the SHA-256 in it, another PyTorch file with
    the CRC-32 of each of its parts.

    Every place is checked to its end; with any fault the exit status is 1.
    """
    from pipeline.stores.verify import verify

    faults = 0
    for place in places:
        found = verify(place)
        faults += len(found.faults)
        for sentence in found.faults or [f"{place}: whole ({found.checked})"]:
            click.echo(sentence)
    if faults:
        click.echo(f"{faults} faults", err=True)
        sys.exit(1)
