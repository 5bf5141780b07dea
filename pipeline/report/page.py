"""The frame of a page: a template of a stage, with style and script in the same file."""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent


def render(template: Path, content: Mapping[str, object]) -> str:
    """The page as HTML; all text of the content is escaped.

    Its policy (CSP) lets a browser load nothing and run only the script whose hash it names: even
    if a name were taken for HTML, nothing else would run.

    Args:
        template: A template that extends ``frame.html.jinja``; it finds its neighbours and the
            templates of this package by their names.  A ``style.css`` and a ``script.js`` beside it
            follow those of this package.
        content: What it shows, by name.

    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _texts(template.parent, "script.js")
    return environment.get_template(template.name).render(
        content,
        style=Markup(_texts(template.parent, "style.css")),
        script=Markup(script),
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
    )


def _texts(folder: Path, name: str) -> str:
    """The file of a name in this package, and the one in a folder if there is one."""
    paths = [HERE / name, folder / name]
    return "".join(path.read_text(encoding="utf-8") for path in paths if path.is_file())
