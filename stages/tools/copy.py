"""The command ``copy``; no stage of the pipeline, but the way of stores to a bucket and back."""

from pathlib import Path

import click

from stages.options import STORE, plain_errors


@click.command(
    "copy", epilog="Example: usrdu copy data/prepare/hr.zarr s3://bucket/prepare/hr.zarr"
)
@click.argument("source", metavar="STORE", type=STORE)
@click.argument("target", metavar="TO", type=STORE)
@plain_errors
def command(source: Path | str, target: Path | str) -> None:
    """Copy a finished store into a bucket, out of one, or into another folder.

    TO is the store's new place: a folder, or a URL that fsspec writes.  s3:// needs the extra
    usrdu[s3]; keys and endpoint come from the environment or ~/.aws, as for every program of AWS.

    Nothing opens at TO until everything is there: the root zarr.json is written last.  The same
    command goes on with a copy that was interrupted.  At the end every chunk is read back.
    """
    from pipeline.library.copying import copy_store

    copied = copy_store(source, target)
    already = f", {copied.there} were there" if copied.there else ""
    click.echo(f"wrote {copied.files} files{already}")
    click.echo(f"{target}: whole ({copied.checked})")
