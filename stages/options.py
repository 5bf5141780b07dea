"""Shared parts of the commands: options, messages, and files of results."""

import os
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from pipeline.base.errors import UserError
from pipeline.base.files import strict_json, whole
from pipeline.base.hashes import file_hash
from pipeline.base.params import Params, flat, weights_files
from stages.messages import shown

F = TypeVar("F", bound=Callable[..., Any])

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)


class StoreType(click.ParamType[Path | str]):
    """A store to read: a folder, or a URL that fsspec knows."""

    name = "store"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path | str:
        """Keep a URL as it is, because a path would lose its second slash."""
        del param, ctx
        return str(value) if "://" in str(value) else Path(value)


STORE = StoreType()
IN_DVC = "DVC_STAGE"
"""Variable of the environment that DVC sets for the commands it runs."""

params_file_option = click.option(
    "--params",
    type=FILE,
    default="params.yaml",
    show_default=True,
    help="File with the settings.",
)
work_option = click.option(
    "--work",
    type=FOLDER,
    default="data/work",
    show_default=True,
    help="Folder for checkpoints and kept results, with which an interrupted run continues.",
)


def params_option(*sections: str) -> Callable[[F], F]:
    """The options ``--params`` and ``--set``: the argument ``params``, of type ``Params``.

    Args:
        sections: The sections that the command reads.

    """
    read = " and ".join(", ".join(sections).rsplit(", ", 1))

    def decorate(command: F) -> F:
        @click.option(
            "--params",
            "files",
            multiple=True,
            default=["params.yaml"],
            show_default=True,
            metavar="FILE",
            help=f"File with the settings; {read} of it are read.  Each further FILE, or FILE:KEY "
            "for a mapping in a file, changes some of them.",
        )
        @click.option(
            "--set",
            "values",
            multiple=True,
            metavar="KEY=VALUE",
            help=f"Change one setting for this run; KEY is {sections[0]}.NAME.",
        )
        @wraps(command)
        def with_params(
            *args: Any, files: tuple[str, ...], values: tuple[str, ...], **kwargs: Any
        ) -> Any:
            path, *overlays = files
            params = Params(Path(path), tuple(overlays), values, sections)
            return command(*args, params=params, **kwargs)

        return with_params  # type: ignore[return-value]

    return decorate


def folder_of(params: Params, name: str, given: Path | None) -> Path:
    """The folder that an option names, or the section ``folders`` of the params file.

    So a folder reaches its stage without a shell, which would take its name apart.

    Raises:
        UserError: Neither names one.

    """
    if given is not None:
        return given
    folders = params.content.get("folders")
    named = folders.get(name) if isinstance(folders, dict) else None
    if not isinstance(named, str) or not named:
        raise UserError(f"{params}: folders.{name} names no folder; name it there, or by --{name}")
    return Path(named)


IMAGENET = {"perceptual_weights": "dcbb9e9d", "lpips_weights": "7be5be79"}
"""First digits of the SHA-256 of torchvision's VGG19 and AlexNet, which it checks on loading."""


def weights_of(params: Params, *sections: str) -> dict[str, str]:
    """SHA-256 of the weights that sections name, by setting, for the metrics.

    A file that does not exist is left out: who needs it says that it is missing.  ``imagenet``,
    which names no file, has its first eight digits.

    Raises:
        UserError: DVC runs the command, and a file is not in ``folders.weights``, the folder on
            which the stages that read weights depend.

    """
    files = weights_files(params, *sections)
    if IN_DVC in os.environ and files:
        watched = folder_of(params, "weights", None)
        for key, path in files.items():
            if not Path(os.path.abspath(path)).is_relative_to(os.path.abspath(watched)):  # noqa: PTH100
                raise UserError(
                    f"{params}: {key} names {path}, which is not in {watched} (folders.weights), "
                    "so DVC would not see it change; move it there, or name its folder as "
                    "folders.weights"
                )
    hashes = {
        key.rpartition(".")[2]: file_hash(path) for key, path in files.items() if path.is_file()
    }
    for key, value in flat(params.content):
        section, _, name = key.rpartition(".")
        if section in sections and value == "imagenet" and name in IMAGENET:
            hashes[name] = IMAGENET[name]
    return hashes


def plain_errors(command: F) -> F:
    """Show messages of the engines; turn errors into one sentence on stderr and exit status 1.

    Such errors are ``UserError`` and the ``OSError`` of a file, such as a full disk or a read-only
    folder.  Ctrl-C exits with 130.
    """

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            with shown():
                return command(*args, **kwargs)
        except UserError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if not error.filename or not error.strerror:
                raise
            raise click.ClickException(f"{error.filename}: {error.strerror}") from error
        except KeyboardInterrupt:
            click.echo("interrupted; the same command goes on from the last checkpoint", err=True)
            sys.exit(130)

    return guarded  # type: ignore[return-value]


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a strict JSON file; it appears only when it is complete.

    JSON has no infinity and no NaN: numbers that are not finite become null.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        partial.write_text(strict_json(content), encoding="utf-8")


def report(metrics: Mapping[str, object], *written: Path) -> None:
    """Print the metrics of a stage, nested ones as ``a.b``, and the files that it wrote."""
    for name, value in flat(metrics):
        click.echo(f"  {name}: {value:.4f}" if isinstance(value, float) else f"  {name}: {value}")
    for path in written:
        click.echo(f"wrote {path}")
