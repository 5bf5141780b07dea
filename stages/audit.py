"""Stage ``audit``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.base.params import Params
from stages.options import FILE, FOLDER, STORE, params_option, plain_errors, report, write_json

if TYPE_CHECKING:
    from pipeline.audit.verdicts import FailOn


@click.command(
    "audit",
    epilog="Example: usrdu audit --maps data/export/maps.zarr --hr data/prepare/hr.zarr "
    "--lr data/prepare/lr.zarr --calibration data/calibrate/calibration.json "
    "--out data/audit/page --metrics data/audit/metrics.json --fail-on fail",
)
@click.option("--maps", type=STORE, required=True, help="Store of mean and theta, A.")
@click.option("--hr", type=STORE, required=True, help="The HR images it was exported from.")
@click.option("--lr", type=STORE, required=True, help="Store of real LR images.")
@click.option("--calibration", type=FILE, help="Calibration of these maps.")
@click.option("--val", type=STORE, help="Store of pairs, for the difference of real and bicubic.")
@click.option("--against", type=STORE, help="Other maps of the same HR images, B.")
@click.option("--out", type=FOLDER, required=True, help="Folder for tables and page; replaced.")
@click.option("--metrics", type=FILE, required=True, help="JSON file for the metrics.")
@click.option(
    "--scheduler",
    help="Address of a dask.distributed scheduler, or slurm:N, N jobs of Slurm; else threads here.",
)
@click.option(
    "--report",
    "performance",
    type=FILE,
    help="HTML file for dask's performance report: what ran when, and what took long.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["never", "warn", "fail"]),
    default="never",
    show_default=True,
    help="Exit with 1, after all is written, if a verdict is as bad as this, for use in CI.",
)
@params_option("audit")
@plain_errors
def command(
    maps: Path | str,
    hr: Path | str,
    lr: Path | str,
    calibration: Path | None,
    val: Path | str | None,
    against: Path | str | None,
    out: Path,
    metrics: Path,
    scheduler: str | None,
    performance: Path | None,
    fail_on: "FailOn",
    params: Params,
) -> None:
    """Compare the generated LR images with the real ones, in tables and on a page.

    Writes CSV tables, summary.json and index.html, a single page that loads no other files and
    begins with a verdict on each question: pass, warn, fail, or that it cannot be told.  They hold
    scores without pairs against held-out real LR images, spectra and noise, the distribution
    of theta and its relation to the mean and to edges, the images of the highest theta, and a
    table of every image that sorts and filters.  With --against a second store stands beside it.

    On a cluster (--scheduler) the workers must see the stores under the same paths.
    """
    from pipeline.audit.audit import audit
    from pipeline.audit.graph import AuditInputs
    from pipeline.audit.histograms import AuditSettings
    from pipeline.audit.verdicts import read_verdicts
    from pipeline.base.settings import load_section
    from pipeline.stores.format import Kind
    from pipeline.stores.reader import Store

    def opened(path: Path | str, *kinds: Kind) -> Store:
        return Store(path.resolve() if scheduler and isinstance(path, Path) else path, *kinds)

    settings = load_section(params, "audit", AuditSettings)
    click.echo(f"audit: {settings!r}")
    inputs = AuditInputs(
        opened(maps, "maps"),
        opened(hr, "hr"),
        opened(lr, "lr"),
        calibration,
        None if val is None else opened(val, "val", "lr"),
        None if against is None else opened(against, "maps"),
    )
    result = audit(inputs, settings, out, scheduler, performance)
    write_json(metrics, result)
    shown = {name: value for name, value in result.items() if name != "scores"}
    for lr_set, scores in result["scores"].items():
        for name in ("wasserstein", "spectral_distance", "noise_level", "accuracy"):
            shown[f"{lr_set}: {name}"] = scores[name]
    report(shown, *sorted(out.iterdir()), metrics, *([performance] if performance else []))
    if fail_on == "never":
        return
    found = read_verdicts(out)
    failed = found.failed(fail_on)
    for verdict in failed:
        head = f"{verdict.word}: {verdict.title} (theta: {found.theta})"
        click.echo(f"{head}: {verdict.sentence} {verdict.advice}".rstrip(), err=True)
    if failed:
        sys.exit(1)
