"""``import pipeline``: what it gives, and what it does not load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline

ROOT = Path(__file__).parent.parent.parent


def run(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_it_loads_no_heavy_library() -> None:
    run(
        "import sys, pipeline; names = dir(pipeline)\n"
        "heavy = {'torch', 'zarr', 'dask', 'numpy', 'scipy', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert set(pipeline.__all__) <= set(names)"
    )


def test_a_store_is_opened_without_torch() -> None:
    """Somebody who only looks at theta does not wait for it."""
    run("import sys, pipeline; pipeline.open_store; assert 'torch' not in sys.modules")


@pytest.mark.parametrize("name", pipeline.__all__)
def test_every_name_is_what_its_module_defines(name: str) -> None:
    found = getattr(pipeline, name)
    assert found.__name__ == name
    assert found.__module__ == pipeline._MODULES[name]
    assert found.__doc__


def test_the_types_the_list_and_the_modules_agree() -> None:
    tree = ast.parse((ROOT / "pipeline/__init__.py").read_text(encoding="utf-8"))
    typed = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipeline.")
        for alias in node.names
    }
    assert typed == pipeline._MODULES
    assert sorted(typed) == pipeline.__all__


def test_another_name_is_refused_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'pipeline' has no attribute 'open_shop'"):
        _ = pipeline.open_shop
    assert not hasattr(pipeline, "torch")


def test_a_star_import_gives_the_names() -> None:
    run("from pipeline import *; open_store, SampleDataset, Draw('raw')")
