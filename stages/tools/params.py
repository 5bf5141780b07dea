"""The commands ``params``: settings in force, profiles, faults, and schemas for editors."""

import sys
from pathlib import Path

import click

from stages.options import FILE, FOLDER, params_file_option, plain_errors

profiles_option = click.option(
    "--profiles",
    type=FOLDER,
    default="profiles",
    show_default=True,
    help="Folder of the profiles, NAME.yaml each.",
)


@click.group("params", epilog="Example: usrdu params show")
def command() -> None:
    """Show or check the settings, take those of a profile, write schemas for editors."""


@command.command(
    "show",
    short_help="Print settings: value, source, meaning.",
    epilog="Example: usrdu params show train_srn",
)
@click.argument("section", required=False)
@click.option("--changed", is_flag=True, help="Only what differs from the profile.")
@profiles_option
@params_file_option
@plain_errors
def show(section: str | None, changed: bool, profiles: Path, params: Path) -> None:
    """Print every setting in force, or those of a SECTION: value, source and comment.

    The source is the default, a profile with its reason, or the params file with the value that it
    replaces.  The comment gives unit, equation and the published value.
    """
    from pipeline.base.errors import UserError
    from pipeline.tools.profiles import changes, in_force

    values = in_force(params, profiles)
    wanted = [value for value in values if section in (None, value.key.split(".")[0])]
    if not wanted:
        known = ", ".join(dict.fromkeys(value.key.split(".")[0] for value in values))
        raise UserError(f"{params}: has no section '{section}'; there are: {known}")
    if changed:
        differing = set(changes(params, profiles))
        wanted = [value for value in wanted if value.key in differing]
    width = max((len(f"{value.key}: {value.value}") for value in wanted), default=0)
    for value in wanted:
        line = f"{value.key}: {value.value}".ljust(min(width, 60))
        click.echo(f"{line}  [{value.source}]  {value.comment}".rstrip())


@command.command(
    "use", short_help="Set the settings of a profile.", epilog="Example: usrdu params use paper"
)
@click.argument("name")
@click.option("--force", is_flag=True, help="Drop your changes in the sections of profiles.")
@profiles_option
@params_file_option
@plain_errors
def use(name: str, force: bool, profiles: Path, params: Path) -> None:
    """Put the values of profile NAME into the params file; 'dvc repro' then runs with them.

    They are the defaults, except for the settings that the profile names.  Comments and other
    sections, such as folders, stay as they are.  Settings that were changed since the last profile
    was taken are not dropped without --force.
    """
    from pipeline.base.errors import UserError
    from pipeline.tools.profiles import changes, find_profile, load_profile, take

    profile = load_profile(find_profile(profiles, name))
    own = changes(params, profiles)
    if own and not force:
        raise UserError(
            f"{params}: {', '.join(own)} differ from its profile; --force drops these changes"
        )
    take(params, profile)
    click.echo(f"{params} has the settings of {profile.path}")


@command.command(
    "check",
    short_help="Print every fault of a params file.",
    epilog="Example: usrdu params check params.yaml",
)
@click.argument("file", type=FILE, default="params.yaml")
@plain_errors
def check(file: Path) -> None:
    """Print every fault of a params FILE, or of a cameras file, with line and column.

    Faults are unknown, missing and wrong settings, settings that contradict each other, networks
    that cannot be built, and files and folders that neither exist nor are made by a stage.  The
    exit status is 1 if there are any.  Networks are built for that, which takes seconds.
    """
    from pipeline.project.faults import faults_of_cameras, faults_of_params

    is_cameras = file.name == "cameras.yaml"
    found = faults_of_cameras(file) if is_cameras else faults_of_params(file)
    for fault in found:
        click.echo(fault.at(file))
    if found:
        sys.exit(1)
    click.echo(f"{file}: no fault was found")


@command.command(
    "schema",
    short_help="Write JSON schemas of the settings, for editors.",
    epilog="Example: usrdu params schema --out docs/schema",
)
@click.option("--out", type=FOLDER, default="docs/schema", show_default=True, help="Folder.")
@plain_errors
def schema(out: Path) -> None:
    """Write params.json and cameras.json, the JSON schemas of params.yaml and cameras.yaml.

    An editor that knows YAML completes, explains and checks settings with them; the first line of
    both files names its schema.
    """
    from pipeline.base.files import whole
    from pipeline.project.schema import FILES, schema_text

    out.mkdir(parents=True, exist_ok=True)
    for name, kind in FILES.items():
        with whole(out / name) as partial:
            partial.write_text(schema_text(kind), encoding="utf-8")
        click.echo(f"wrote {out / name}")
