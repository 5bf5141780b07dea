"""The command ``piles``; no stage of the pipeline, but a look at images before they go in."""

from pathlib import Path

import click

from stages.options import FOLDER, plain_errors


@click.command(
    "piles",
    epilog="Example: usrdu piles data/raw/demo/hr data/raw/demo/lr --out piles",
)
@click.argument("hr", type=FOLDER)
@click.argument("lr", type=FOLDER)
@click.option(
    "--out", type=FOLDER,
    help="Folder for piles.md, piles.json, and a list of files of every kind of finding: "
    "hr_blurred.txt and so on, one file a line.",
)  # fmt: skip
@plain_errors
def command(hr: Path, lr: Path, out: Path | None) -> None:
    """Say what is wrong with a folder of sharp and one of real LR images.

    HR images: nowhere sharp, noisy, compressed as JPEG, also before they became a PNG.  LR images:
    of several cameras, by EXIF data, sizes or noise; or showing the scene of an HR image.  Both:
    enlarged before, over- or underexposed, without edges, copies of each other.

    Files are named and nothing is changed; the exit status is 0 whatever is found.  A list, copied
    beside its images as leave_out.txt, leaves them out of usrdu prepare.

    The same is part of usrdu prepare, whose piles.md has it.
    """
    from pipeline.piles.look import look_at_files
    from pipeline.piles.report import report_on, write_lists, write_report

    report = report_on({"HR": look_at_files(hr), "LR": look_at_files(lr)})
    for line in report.lines or ["nothing was found"]:
        click.echo(line)
    if out is not None:
        for path in [*write_report(report, out), *write_lists(report, out)]:
            click.echo(f"wrote {path}")
