"""The documents name what there is: files, tests, settings, commands, targets, packages."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from repository import load_script
from ruamel.yaml import YAML

from stages.cli import COMMANDS

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted(path for path in (ROOT / "docs").glob("*.md") if "--8<--" not in path.read_text())
ROOT_PAGES = [ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md")]
DOCUMENTS = [*ROOT_PAGES, *PAGES]
FOLDERS = ("tests", "pipeline", "stages", "docs", "profiles", "benchmarks")


def load(name: str) -> dict[str, Any]:
    content = YAML(typ="safe", pure=True).load((ROOT / name).read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def code(document: Path) -> list[str]:
    """What stands between backticks in the text of a document, its blocks of code left out."""
    text = re.sub(r"(?ms)^```.*?^```$", "", document.read_text(encoding="utf-8"))
    return re.findall(r"`([^`]+)`", text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_named_is_there(document: Path) -> None:
    """Words in capitals, as in ``stages/NAME.py``, stand for a name."""
    for word in " ".join(code(document)).split():
        path = word.rstrip(".,;:")
        if path.split("/")[0] in FOLDERS and "/" in path and not re.search(r"[A-Z*<]", path):
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_is_named_is_there(document: Path) -> None:
    """A name in backticks belongs to the file that is named before it."""
    file = None
    for word in code(document):
        if re.fullmatch(r"tests/[a-z_/]+\.py", word):
            file = ROOT / word
        elif re.fullmatch(r"test_\w+", word):
            assert file is not None, word
            assert f"def {word}(" in file.read_text(encoding="utf-8"), f"{file}: {word}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_setting_that_is_named_is_there(document: Path) -> None:
    """A section may have the name of a file, as ``camera.json`` has."""
    params = load("params.yaml")
    for word in code(document):
        found = re.match(r"([a-z_]+)\.(?!json|png)([a-z_0-9]+)(:|=|$)", word)
        if found and found[1] in params:
            assert found[2] in params[found[1]], word


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_is_named_is_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in re.findall(r"\bmake ([a-z0-9-]+)", " ".join(code(document))):
        assert re.search(rf"(?m)^{name}:", makefile), f"make {name}"
    for name in re.findall(r"(?:`|uv run )usrdu ([a-z0-9-]+)", text):
        assert name in COMMANDS or name.startswith("-"), f"usrdu {name}"


@pytest.mark.parametrize("document", ROOT_PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    """Those of docs/ are checked by the strict build."""
    for target in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
        assert "://" in target or (document.parent / target).exists(), target


def test_the_readme_is_short_and_its_picture_light() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
    assert (ROOT / "docs/images/demo.png").stat().st_size < 300_000


def test_every_page_stands_in_the_navigation() -> None:
    listed = re.findall(r"(\w+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_every_package_has_a_page_with_all_its_modules() -> None:
    hook = load_script("api_pages")
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "pipeline").glob("*/*.py")
        if path.name != "__init__.py"
    }
    pages = "".join(hook.page(package, found) for package, found in hook.packages().items())
    assert sorted(re.findall(r"(?m)^::: (\S+)$", pages)) == sorted(modules)
    for package in hook.packages():
        assert hook.purpose(package).endswith("."), package


def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = load("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    paper = citation["preferred-citation"]
    assert len(paper["authors"]) == 6 and paper["year"] == 2022
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {project['version']}\n" in changes
