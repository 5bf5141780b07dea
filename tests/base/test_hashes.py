"""Hashes: of settings, files, and the code that a result depends on."""

from pathlib import Path

import pytest

from pipeline.base import hashes as module
from pipeline.base.hashes import code_hash

CODE = {
    "engine": "from pipeline.low.tools import one\n\n\ndef f():\n    import pipeline.low.late\n",
    "low/tools": "from pipeline.low import base\n",
    "low/base": "import json\n",
    "low/late": "",
    "low/other": "",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in CODE.items():
        path = tmp_path / "pipeline" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "pipeline" / "base" / "hashes.py"))
    return tmp_path / "pipeline"


@pytest.mark.parametrize("edited", ["engine", "low/tools", "low/base", "low/late"])
def test_code_that_is_imported_changes_the_hash(package: Path, edited: str) -> None:
    before = code_hash("pipeline.engine")
    (package / f"{edited}.py").write_text(CODE[edited] + "x = 1\n")
    assert code_hash("pipeline.engine") != before
    (package / f"{edited}.py").write_text(CODE[edited])
    assert code_hash("pipeline.engine") == before


@pytest.mark.parametrize("edited", ["low/other.py", "low/notes.txt", "new.py"])
def test_other_files_do_not(package: Path, edited: str) -> None:
    before = code_hash("pipeline.engine")
    (package / edited).write_text("x = 1\n")
    assert code_hash("pipeline.engine") == before


def test_a_module_under_another_name_changes_it(package: Path) -> None:
    before = code_hash("pipeline.engine")
    (package / "low/late.py").rename(package / "low/later.py")
    assert code_hash("pipeline.engine") != before


def test_every_stage_depends_on_the_formulas_it_uses() -> None:
    """The real package: what an engine imports is found."""
    assert code_hash("pipeline.export.export") != code_hash("pipeline.train_srn.train")
