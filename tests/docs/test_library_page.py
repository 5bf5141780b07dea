"""The Python code of the documents, run block by block as a reader would copy it."""

import re
from pathlib import Path

import pytest
from finished_demo import write_demo

from pipeline.noise import statistics
from pipeline.noise.classifier import Accuracy

ROOT = Path(__file__).parent.parent.parent
PAGES = {
    page.name: re.findall(r"(?ms)^```python\n(.*?)^```$", page.read_text(encoding="utf-8"))
    for page in sorted((ROOT / "docs").glob("*.md"))
}
BLOCKS = {f"{name}-{i}": block for name, blocks in PAGES.items() for i, block in enumerate(blocks)}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder / "data")
    return folder


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12 and later
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_runs(name: str, demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by itself: a reader copies one of them."""
    quick = Accuracy(0.75, 0.6, 0.9, 10)  # a classifier that is trained takes most of a minute
    monkeypatch.setattr(statistics, "classifier_accuracy", lambda *_: quick)
    monkeypatch.chdir(demo)
    exec(compile(BLOCKS[name], name, "exec"), {"__name__": name})
    if "my-audit" in BLOCKS[name]:
        assert (demo / "my-audit/index.html").stat().st_size > 10_000


def test_ten_lines_open_read_stream_and_draw() -> None:
    first = PAGES["library.md"][0].splitlines()
    lines = [line for line in first if line and not line.startswith("import ")]
    assert len(lines) <= 10
    for name in ("open_store", ".read(", "sample_stream", ".batch(", ".sample("):
        assert any(name in line for line in lines), name


def test_the_page_names_all_that_import_pipeline_gives() -> None:
    import pipeline

    text = (ROOT / "docs/library.md").read_text(encoding="utf-8")
    for name in pipeline.__all__:
        assert f"[`{name}`][{pipeline._MODULES[name]}.{name}]" in text, name
