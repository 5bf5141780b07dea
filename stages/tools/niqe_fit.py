"""The command ``niqe-fit``: a pristine model of NIQE from photographs of one's own."""

from pathlib import Path

import click

from stages.options import FILE, FOLDER, plain_errors, report


@click.command(
    "niqe-fit", epilog="Example: usrdu niqe-fit data/raw/demo/hr --out data/niqe.safetensors"
)
@click.argument("folder", type=FOLDER)
@click.option("--out", type=FILE, required=True, help="Model file to write, safetensors.")
@plain_errors
def command(folder: Path, out: Path) -> None:
    """Fit a pristine model of NIQE on the sharp blocks of the photographs in FOLDER.

    The setting evaluate.niqe_model names the file.  Scores under one model compare only with each
    other.  The model file of the 2013 release, which the setting also accepts, gives the scores of
    the literature.
    """
    from pipeline.tools.niqe_fit import fit

    report(fit(folder, out), out)
