"""The command ``init``: a params file for somebody's folders."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stages.options import FILE, FOLDER, plain_errors

if TYPE_CHECKING:
    from pipeline.project.plan import Plan


@click.command(
    "init",
    epilog="Example: usrdu init data/raw/my-photographs data/raw/my-camera --start model.pth",
)
@click.argument("hr", type=FOLDER)
@click.argument("lr", type=FOLDER)
@click.option(
    "--val", type=FOLDER,
    help="Pairs in hr/ and lr/ to score on, or lr/ alone.",
)  # fmt: skip
@click.option("--pairs", type=FOLDER, help="Pairs in hr/ and lr/, for a supervised training.")
@click.option(
    "--scale", type=click.IntRange(2, 4),
    help="HR pixels per LR pixel.  [default: that of the pairs or of the model, else 4]",
)  # fmt: skip
@click.option("--start", type=FILE, help="An SR model to adapt to the camera.")
@click.option(
    "--minutes", type=click.FloatRange(0, min_open=True),
    help="Of all trainings together.  [default: 30 without a GPU, else 720]",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Drop changes of params.yaml that git has not.")
@plain_errors
def command(
    hr: Path,
    lr: Path,
    val: Path | None,
    pairs: Path | None,
    scale: int | None,
    start: Path | None,
    minutes: float | None,
    overwrite: bool,
) -> None:
    """Write params.yaml for HR, a folder of sharp images, and LR, one of your camera's images.

    Run it in the clone of the project.  It looks at the images, makes a few steps of the training
    to see how fast this machine is and what fits into its memory, says what it chose and why, and
    how long the stages take.  With --start the model is adapted to the camera, otherwise networks
    are trained from the beginning: small ones without a GPU.  Comments of params.yaml stay; a file
    with changes that git has not is not touched without --overwrite.
    """
    from pipeline.base.errors import UserError
    from pipeline.project.plan import Asked, make_plan
    from pipeline.project.write import difference, is_edited, planned, require_clone, write

    root = Path()
    params = root / "params.yaml"
    require_clone(root)
    plan = make_plan(Asked(hr, lr, val, pairs, scale, start, minutes), root)
    text = planned(params, plan)
    _show(plan)
    if is_edited(params) and not overwrite and (changes := difference(params, text)):
        click.echo(changes)
        raise UserError(
            f"{params}: has changes that git has not; --overwrite makes those above, or commit "
            "yours first"
        )
    for path in write(params, text, start):
        click.echo(f"wrote {path}")
    click.echo("next: uv run dvc repro")


def _show(plan: "Plan") -> None:
    """Print images, choices, durations and remarks."""
    for name, pile in plan.piles.items():
        click.echo(f"{name}: {len(pile.sizes)} images in {pile.folder} ({pile.kinds})")
        click.echo(f"    {pile.extent}, median {pile.megapixels:.2g} megapixels")
    for remark in plan.remarks:
        click.echo(f"note: {remark}")
    rows = [(choice.key, f"{choice.value}", choice.why) for choice in plan.choices]
    rows += [(one.stage, _rounded(one.seconds), one.why) for one in plan.durations]
    wide = [min(48, max(len(row[column]) for row in rows)) for column in (0, 1)]
    heads = {0: "chosen:", len(plan.choices): "about how long:"}
    for number, row in enumerate(rows):
        if number in heads:
            click.echo(heads[number])
        click.echo(f"  {row[0].ljust(wide[0])}  {row[1].ljust(wide[1])}  {row[2]}")
    click.echo("  the other stages were not measured")


def _rounded(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
