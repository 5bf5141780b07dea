"""The commands ``params show`` and ``params use``: the settings in force, and profiles."""

from pathlib import Path

import click

from stages.options import FOLDER, params_file_option, plain_errors

profiles_option = click.option(
    "--profiles",
    type=FOLDER,
    default="profiles",
    show_default=True,
    help="Folder of the profiles, NAME.yaml each.",
)


@click.group("params", epilog="Example: usrdu params show")
def command() -> None:
    """Show the settings in force, or take those of a profile."""


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
