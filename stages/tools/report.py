"""The command ``report``: the page of a run."""

from pathlib import Path

import click

from stages.options import FILE, FOLDER, params_file_option, plain_errors


@click.command("report", epilog="Example: usrdu report --out data/report/index.html")
@click.option(
    "--data", type=FOLDER, default="data", show_default=True, help="Folder of what stages wrote."
)
@click.option(
    "--out", type=FILE, default="data/report/index.html", show_default=True, help="The page."
)
@click.option(
    "--profiles",
    type=FOLDER,
    default="profiles",
    show_default=True,
    help="Folder of the profiles, NAME.yaml each.",
)
@params_file_option
@plain_errors
def command(data: Path, out: Path, profiles: Path, params: Path) -> None:
    """Gather what 'dvc repro' made into one page that one can send to a colleague.

    It holds the images and what is wrong with them, the camera, the verdicts of the audit, curves,
    scores of every network, crops side by side, settings that are not the defaults, and the models
    with their digests.  It loads nothing, and names no folder outside of the project.  What the run
    does not have is left out.  The page says which stages are out of date.
    """
    from pipeline.base.errors import UserError
    from pipeline.base.files import write_whole
    from pipeline.run_page.page import RunFiles, run_page

    if not data.is_dir():
        raise UserError(f"{data}: there is no such folder; dvc repro writes it")
    page = run_page(RunFiles(data, params, profiles, out)).encode()
    write_whole(out, page)
    click.echo(f"wrote {out} ({len(page) / 1e6:.1f} MB)")
