"""Hook of MkDocs: a page of the API for every package of ``pipeline/``, made from its docstrings.

``mkdocs.yml`` names no package: one that comes or goes changes the site by itself.
"""

import ast
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent.parent
LIBRARY = ROOT / "pipeline"


def packages() -> dict[str, list[str]]:
    """Modules of every package, both in alphabetical order and by their dotted names."""
    found: dict[str, list[str]] = {}
    for init in sorted(LIBRARY.glob("*/__init__.py")):
        modules = sorted(path.stem for path in init.parent.glob("*.py") if path != init)
        package = f"pipeline.{init.parent.name}"
        found[package] = [f"{package}.{module}" for module in modules]
    return found


def purpose(package: str) -> str:
    """First line of a package's docstring."""
    path = ROOT / package.replace(".", "/") / "__init__.py"
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n")[0]


def address(package: str) -> str:
    """Page of a package, from docs/."""
    return f"api/{package.removeprefix('pipeline.')}.md"


def page(package: str, modules: list[str]) -> str:
    """Markdown of a page: the purpose of the package, then its modules."""
    blocks = "\n\n".join(f"::: {module}" for module in modules)
    return f"# {package}\n\n{purpose(package)}\n\n{blocks}\n"


def overview() -> str:
    """Markdown of the page that lists the packages, with their purposes and modules."""
    lines = ["# API", "", "Every package of `pipeline/`, from its docstrings.", ""]
    lines += ["| package | purpose | modules |", "|---|---|---|"]
    for package, modules in packages().items():
        names = ", ".join(f"[{module.split('.')[-1]}][{module}]" for module in modules)
        link = Path(address(package)).name
        lines.append(
            f"| [{package.removeprefix('pipeline.')}]({link}) | {purpose(package)} | {names} |"
        )
    return "\n".join(lines) + "\n"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages into the navigation, before the pages about the project itself."""
    entries: list[object] = [{"Packages": "api/index.md"}]
    entries += [{package.removeprefix("pipeline."): address(package)} for package in packages()]
    assert config.nav is not None
    config.nav.insert(len(config.nav) - 1, {"API": entries})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    files.append(File.generated(config, "api/index.md", content=overview()))
    for package, modules in packages().items():
        files.append(File.generated(config, address(package), content=page(package, modules)))
    return files
