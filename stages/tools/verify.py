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

    Of a store every chunk is decoded, and checksums, shapes, types and digests are compared with
    what its root says; every fault names the image, the array and the chunk.  Of a safetensors file
    or a checkpoint the SHA-256 in it is compared, of other PyTorch files the CRC-32 of every part.

    Goes on to the end of all that was named, and exits with 1 if there was any fault.
    """
    from tqdm import tqdm

    from pipeline.stores.verify import described, verify

    faults = 0
    for place in places:
        before = faults
        for sentence in verify(place):
            tqdm.write(sentence)  # above the bar
            faults += 1
        if faults == before:
            click.echo(f"{place}: whole ({described(place)})")
    if faults:
        click.echo(f"{faults} faults", err=True)
        sys.exit(1)
