"""pyproject.toml against constraints.txt, and both against what is installed."""

import re
import sys
import sysconfig
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LINES = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
PINS = {canonicalize_name(line.split("==")[0]): line.split("==")[-1] for line in LINES}


def group(name: str) -> list[Requirement]:
    """Requirements of a dependency group, those of the groups it includes too."""
    found = []
    for entry in PROJECT["dependency-groups"][name]:
        if isinstance(entry, dict):
            found += group(entry["include-group"])
        else:
            found.append(Requirement(entry))
    return found


def requirements() -> list[Requirement]:
    extras = PROJECT["project"]["optional-dependencies"].values()
    listed = [PROJECT["project"]["dependencies"], *extras]
    library = [Requirement(text) for texts in listed for text in texts]
    groups = [one for name in PROJECT["dependency-groups"] for one in group(name)]
    return library + [one for one in groups if one.name != PROJECT["project"]["name"]]


def test_constraints_are_names_and_versions_and_nothing_else() -> None:
    """No address, no marker, no hash; a package once, in alphabetical order."""
    for line in LINES:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9a-z.+]*", line), line
    assert len(PINS) == len(LINES) > 200
    assert sorted(LINES) == LINES


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_requirement_is_met_by_its_pin(requirement: Requirement) -> None:
    pin = PINS[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pin), f"{requirement} is pinned to {pin}"


def test_the_environment_of_the_tests_has_every_extra() -> None:
    own = [one for one in group("dev") if one.name == PROJECT["project"]["name"]]
    assert [one.extras for one in own] == [set(PROJECT["project"]["optional-dependencies"])]


def test_the_library_states_ranges() -> None:
    """Whoever installs it beside other packages is not bound to one version."""
    for text in PROJECT["project"]["dependencies"]:
        operators = {one.operator for one in Requirement(text).specifier}
        assert ">=" in operators and "==" not in operators, text


def test_everything_installed_is_pinned() -> None:
    """In the environment that ``make setup`` made, transitive dependencies too."""
    place = sysconfig.get_path("purelib")
    assert Path(sys.prefix) in Path(place).parents
    found = {canonicalize_name(one.name): one.version for one in distributions(path=[place])}
    own = canonicalize_name(PROJECT["project"]["name"])
    assert found.pop(own) == PROJECT["project"]["version"]
    assert len(found) > 150
    assert {name: PINS.get(name) for name in found} == found
