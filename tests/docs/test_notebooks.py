"""The notebooks: clean as they are kept, and run from top to bottom on a small world."""

import re
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from finished_demo import HR_SIZES, write_demo
from nbclient import NotebookClient

from pipeline import open_store

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "docs/notebooks").glob("*.ipynb"))}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder / "data")
    (folder / "notebooks").mkdir()
    return folder


def run(name: str, demo: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Cells of a notebook that was run below the folder of a demo, which stays as it is."""
    for variable in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(variable, str(demo / variable.lower()))
    notebook = nbformat.read(NOTEBOOKS[name], 4)
    where = {"metadata": {"path": str(demo / "notebooks")}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(cells: list[Any], kind: str) -> list[str]:
    """What cells show, of one type: ``text/plain``, ``image/png``; printed text is ``stream``."""
    shown = [output for cell in cells for output in cell.outputs]
    if kind == "stream":
        return [output.text for output in shown if output.output_type == "stream"]
    return [output.data[kind] for output in shown if kind in output.get("data", {})]


def test_there_are_two() -> None:
    assert list(NOTEBOOKS) == ["audit_theta", "reuse_maps"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_kept_without_outputs(name: str) -> None:
    text = NOTEBOOKS[name].read_text(encoding="utf-8")
    notebook = nbformat.read(NOTEBOOKS[name], 4)
    nbformat.validate(notebook)
    assert text == nbformat.writes(notebook) + "\n"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
    assert not re.search(r"/home|/root|/tmp|/Users|[A-Z]:\\\\", text)


def test_the_maps_are_reused(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = run("reuse_maps", demo, monkeypatch)
    first, last = outputs(cells, "stream")
    for image_id, (height, width) in HR_SIZES.items():
        assert f"{image_id}: (3, {height // 4}, {width // 4}), theta " in first
    found = re.fullmatch(r"(\d+) steps, L1 of the last ten: (0\.\d+)\n", last)
    assert found is not None
    assert int(found[1]) == 2 * 4  # two passes over two images, 16 crops of each, 8 in a batch
    assert len(outputs(cells, "image/png")) == 1


def test_theta_is_audited(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure again with NumPy."""
    cells = run("audit_theta", demo, monkeypatch)
    store = open_store(demo / "data/export/maps.zarr", "maps")
    mean, theta = (
        {name: store.read(name, array).astype(np.float64) for name in store.ids}
        for array in ("mean", "theta")
    )
    (printed,) = outputs(cells, "stream")
    for name in store.ids:
        assert f"{name}: {theta[name].mean() * 255:.2f} gray levels" in printed
    table = outputs(cells, "text/plain")[1].splitlines()[2:]
    level = np.concatenate([values.ravel() for values in mean.values()]).clip(0, 1)
    spread = np.concatenate([values.ravel() for values in theta.values()]) * 255
    place = np.minimum((level * 16).astype(int), 15)
    expected = [
        ((number + 0.5) / 16 * 255, (place == number).sum(), spread[place == number].mean())
        for number in sorted(set(place.tolist()))
    ]
    assert len(table) == len(expected) > 1
    for row, numbers in zip(table, expected, strict=True):
        assert [float(word) for word in row.split()] == pytest.approx(numbers, abs=0.0051)
    assert len(outputs(cells, "image/png")) == 1
