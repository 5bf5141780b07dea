"""The frame of a page: one file, whose policy allows its own script and nothing else."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from pipeline.report.page import HERE, render

TEMPLATE = '{% extends "frame.html.jinja" %}{% block title %}{{ name }}{% endblock %}'


def page_of(folder: Path, **content: object) -> str:
    (folder / "own.html.jinja").write_text(TEMPLATE, encoding="utf-8")
    return render(folder / "own.html.jinja", content)


def test_the_policy_names_the_script_of_the_page(tmp_path: Path) -> None:
    text = page_of(tmp_path, name="x")
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert script == (HERE / "script.js").read_text(encoding="utf-8")
    hashed = b64encode(sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy"\s+content="([^"]+)"', text)
    assert policy.split("; ")[0] == "default-src 'none'"
    assert f"script-src 'sha256-{hashed}'" in policy and "unsafe-eval" not in policy


def test_files_beside_the_template_follow(tmp_path: Path) -> None:
    """The policy is of the whole script."""
    (tmp_path / "style.css").write_text("b { color: red; }", encoding="utf-8")
    (tmp_path / "script.js").write_text("// own", encoding="utf-8")
    text = page_of(tmp_path, name="x")
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert script == (HERE / "script.js").read_text(encoding="utf-8") + "// own"
    assert f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in text
    assert (HERE / "style.css").read_text(encoding="utf-8") + "b { color: red; }" in text


def test_style_and_script_load_nothing() -> None:
    for name in ("style.css", "script.js", "frame.html.jinja", "parts.html.jinja"):
        text = (HERE / name).read_text(encoding="utf-8")
        assert not re.search(r"https?:|url\(|@import|fetch|XMLHttp|WebSocket|eval|innerHTML", text)


def test_the_style_knows_dark_screens_phones_and_paper() -> None:
    style = (HERE / "style.css").read_text(encoding="utf-8")
    for media in ("prefers-color-scheme: dark", "max-width: 30rem", "print"):
        assert re.search(rf"@media \(?{media}", style), media


def test_what_is_shown_is_escaped_and_must_be_there(tmp_path: Path) -> None:
    assert "<title>&lt;b&gt;</title>" in page_of(tmp_path, name="<b>")
    with pytest.raises(UndefinedError, match="name"):
        page_of(tmp_path)
