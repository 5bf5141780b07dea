"""The command: its files, and what it refuses."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import calibration, names, read_rows
from doubles import plain_passport, write_dsn
from small_stores import write

from pipeline.base.hashes import file_hash
from pipeline.dsn.file import load_dsn, save_dsn
from pipeline.export.export import ExportSettings, export
from pipeline.stores.reader import Store
from stages.tools.uncertainty import command

FILES = ["scores.csv", "scores.json", "scores.png"]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that the command reads: 32x40 LR pixels are a few blocks."""
    folder = tmp_path_factory.mktemp("uncertainty")
    random = np.random.default_rng(0)

    def picture(height: int, width: int) -> np.ndarray:
        level = random.uniform(60, 200, (3, 1, 1)) + np.linspace(-20, 20, width)
        return np.rint(level + random.normal(0, 4, (3, height, width))).astype(np.uint8)

    hr = write(folder / "hr.zarr", "hr", {n: {"image": picture(256, 320)} for n in "ab"})
    write(folder / "lr.zarr", "lr", {n: {"image": picture(96, 128)} for n in "cd"})
    pairs = {n: {"hr": picture(256, 320), "lr": picture(64, 80)} for n in "ef"}
    write(folder / "val.zarr", "val", pairs)
    plain = load_dsn(write_dsn(folder / "plain.safetensors"))
    described = plain.description.model_copy(update={"passport": plain_passport()})
    save_dsn(folder / "dsn.safetensors", plain.network, described)
    export(hr, folder / "dsn.safetensors", ExportSettings(), folder / "maps.zarr")
    found = calibration(Store(folder / "maps.zarr", "maps"))
    (folder / "calibration.json").write_text(found.model_dump_json())
    return folder


def run(folder: Path, out: Path, *options: str, **places: str) -> Result:
    given = {"maps": "maps.zarr", "lr": "lr.zarr"} | places
    words = [w for name, place in given.items() for w in (f"--{name}", str(folder / place))]
    return CliRunner().invoke(command, [*words, *options, "--out", str(out)])


def refused(result: Result) -> str:
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.output
    return [line for line in result.output.splitlines() if line.startswith("Error: ")][-1]


def test_all_sources_stand_side_by_side(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(
        run_folder, out, calibration="calibration.json", dsn="dsn.safetensors", val="val.zarr"
    )
    assert result.exit_code == 0, result.output
    assert names(out) == FILES
    rows = read_rows(out / "scores.csv")
    sources = ["raw", "raw, Gaussian", "passport", "calibrated"]
    for part in ("pairs", "flat areas"):
        whole = [row for row in rows if (row["compared with"], row["stratum"]) == (part, "all")]
        assert [row["source"] for row in whole] == sources
        assert all((row["NLL"] == "") == (part == "flat areas") for row in whole)
    assert {row["stratum"] for row in rows} >= {"red", "green", "blue", "flattest tenth", "between"}
    content = json.loads((out / "scores.json").read_text())
    assert content["sources"]["raw"].endswith("(Eq. 8)")
    assert all(sentence in result.output for sentence in content["sentences"])
    again = run(run_folder, out)  # replaces its own result
    assert again.exit_code == 0
    assert {row["compared with"] for row in read_rows(out / "scores.csv")} == {"flat areas"}


@pytest.mark.parametrize("kind", ["val", "lr"])
def test_without_pairs_in_the_store_flat_areas_are_scored(
    run_folder: Path, tmp_path: Path, kind: Literal["val", "lr"]
) -> None:
    """So that the command of the documents runs whatever images prepare was given."""
    images = {} if kind == "val" else {"a": {"image": np.zeros((3, 9, 9), np.uint8)}}
    none = write(tmp_path / "none.zarr", kind, images)
    result = run(run_folder, tmp_path / "out", dsn="dsn.safetensors", val=str(none.path))
    assert result.exit_code == 0 and "none.zarr: holds no pairs" in result.output, result.output
    found = {row["compared with"] for row in read_rows(tmp_path / "out" / "scores.csv")}
    assert found == {"flat areas"}


def test_what_does_not_belong_together_is_refused(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "another DSN" in refused(run(run_folder, out, dsn="plain.safetensors", val="val.zarr"))
    assert "with both" in refused(run(run_folder, out, val="val.zarr"))
    assert "with both" in refused(run(run_folder, out, dsn="dsn.safetensors"))
    other = write(tmp_path / "lr2.zarr", "lr", {"a": {"image": np.zeros((3, 9, 9), np.uint8)}}, 2)
    assert "scale" in refused(run(run_folder, out, lr=str(other.path)))
    dark = write(tmp_path / "dark.zarr", "lr", {"a": {"image": np.zeros((3, 99, 99), np.uint8)}})
    assert "neither black nor white" in refused(run(run_folder, out, lr=str(dark.path)))
    bright = np.full((3, 99, 99), 235, np.uint8)
    bright[:, ::2] = 230
    other = write(tmp_path / "bright.zarr", "lr", {"a": {"image": bright}})
    assert "no flat areas of like intensity" in refused(run(run_folder, out, lr=str(other.path)))
    assert not out.exists()


def test_a_folder_of_other_files_is_left_alone(run_folder: Path, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("mine")
    before = file_hash(note)
    assert "holds other files (note.txt)" in refused(run(run_folder, tmp_path))
    assert file_hash(note) == before
