"""Networks from outside spandrel: an installed package registers its own by an entry point.

The entry point is of the group ``usrdu.networks``.  It names a subclass of spandrel's
``Architecture``, or a function without arguments that adds to ``spandrel.MAIN_REGISTRY``.
"""

import inspect
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from spandrel import MAIN_REGISTRY, Architecture, ArchSupport
from torch import nn

from pipeline.base.errors import UserError, one_line

GROUP = "usrdu.networks"
"""The group of the entry points."""


def registered() -> dict[str, Architecture[nn.Module]]:
    """The architectures that spandrel opens, by name, with those of installed packages.

    Packages are loaded when this is called for the first time.

    Raises:
        UserError: A package fails to load, or registers nothing.

    """
    for entry_point in entry_points(group=GROUP):
        _load(entry_point)
    known = (support.architecture for support in MAIN_REGISTRY)
    return {str(architecture.id): architecture for architecture in known}


@cache
def _load(entry_point: EntryPoint) -> None:
    """Let one package register its networks; what failed is tried again at the next call."""
    before = len(MAIN_REGISTRY)
    try:
        found = entry_point.load()
        if inspect.isclass(found) and issubclass(found, Architecture):
            MAIN_REGISTRY.add(ArchSupport.from_architecture(found()))
        else:
            found()
    except Exception as error:  # it runs code of another package
        raise _faulty(entry_point, f"cannot be loaded: {one_line(error, 200)}") from error
    if len(MAIN_REGISTRY) == before:
        raise _faulty(entry_point, "registers no network with spandrel")


def _faulty(entry_point: EntryPoint, fault: str) -> UserError:
    package = entry_point.dist.name if entry_point.dist else "unknown"
    return UserError(
        f"the package '{package}' offers the network '{entry_point.name}' ({entry_point.value}), "
        f"but {fault}; mend or uninstall it"
    )
