"""Stage ``demo``."""

from pathlib import Path

import click

from pipeline.base.params import Params
from stages.options import FILE, FOLDER, params_option, plain_errors, report, write_json


@click.command("demo", epilog="Example: usrdu demo --out data/raw/demo --metrics data/demo.json")
@click.option("--out", type=FOLDER, required=True, help="Folder for the image files.")
@click.option("--metrics", type=FILE, required=True, help="JSON file for the metrics.")
@click.option(
    "--cameras",
    type=FILE,
    default="cameras.yaml",
    show_default=True,
    help="File of simulated cameras; the setting 'camera' names an entry.",
)
@click.option("--hr", type=FOLDER, help="Folder of sharp photographs to train on.")
@click.option("--scenes", type=FOLDER, help="Folder of photographs that become LR images alone.")
@click.option("--val", type=FOLDER, help="Folder of photographs that become validation pairs.")
@params_option("demo", "prepare")
@plain_errors
def command(
    out: Path,
    metrics: Path,
    cameras: Path,
    hr: Path | None,
    scenes: Path | None,
    val: Path | None,
    params: Params,
) -> None:
    """Write photographs as a simulated camera sees them.

    Writes HR images, LR images of other scenes, and validation pairs.  They are photographs of
    scikit-image where no folder is named, or one that holds nothing but a README.  The parameters
    of the camera and its clean images are written to truth/.
    """
    from pipeline.base.settings import load_section, load_value
    from pipeline.base.units import Scale
    from pipeline.demo.camera import Camera
    from pipeline.demo.demo import DemoSettings, write_demo
    from pipeline.demo.photographs import PhotographFolders, placeholder

    settings = load_section(params, "demo", DemoSettings)
    scale = load_value(params, "prepare.scale", Scale)
    camera = load_section(cameras, settings.camera, Camera)
    given = (
        None if folder is None or placeholder(folder) else folder for folder in (hr, scenes, val)
    )
    result = write_demo(out, scale, settings, camera, PhotographFolders(*given))
    write_json(metrics, result)
    report(result, out, metrics)
