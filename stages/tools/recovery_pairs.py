"""Command ``recovery-pairs``: the stage of recovery/dvc.yaml for real cameras."""

from pathlib import Path

import click

from stages.options import FOLDER, plain_errors, report


@click.command(
    "recovery-pairs",
    epilog="Example: usrdu recovery-pairs --folder data/raw/real/phone "
    "--out data/recovery/phone/raw",
)
@click.option(
    "--folder", type=FOLDER, required=True,
    help="Folder with pairs/ and val/, each with hr/ and lr/ of the same names; maybe lr/.",
)  # fmt: skip
@click.option("--out", type=FOLDER, required=True, help="Folder for the images; empty or new.")
@plain_errors
def command(folder: Path, out: Path) -> None:
    """Unpair the pairs of a real camera, to measure recovery on it.

    The first half of pairs/, by name, gives HR images, the second half LR images of other scenes.
    With a folder lr/ of further LR images all pairs give HR images.  The pairs of the HR images
    stay for the supervised training, those of val/ for the validation.
    """
    from pipeline.recovery.real_pairs import unpair

    report(unpair(folder, out), out)
