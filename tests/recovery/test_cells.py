"""Which SR networks recovery compares, and the command that puts their scores into a table."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import names, read_rows

from pipeline.recovery.cells import Cell, load_plan, read_scores
from pipeline.recovery.table import table_text
from stages.tools.recovery_table import command

PLAN: dict[str, object] = {
    "cameras": {"first": {}, "second": {"prepare": {"scale": 2}}},
    "simulated": ["first"],
    "real": ["second"],
    "seeds": [4, 2],
    "recipes": {"one": {}, "two-b": {"train_dsn": {"seed": 4}}},
    "anchors": {"bicubic": {}, "supervised": {}},
    "sources": {"raw": {}, "mean": {}},
}


def write_plan(folder: Path, **changes: object) -> Path:
    path = folder / "plan.yaml"
    path.write_text(json.dumps(PLAN | changes))  # JSON is YAML
    return path


def psnr(cell: Cell) -> float:
    """Another value for every cell."""
    camera, seed = ("first", "second").index(cell.camera), (4, 2).index(cell.seed)
    kinds = [("", "bicubic"), ("", "supervised")]
    kinds += [(recipe, source) for recipe in ("one", "two-b") for source in ("raw", "mean")]
    return 20 + 10 * camera + 2 * seed + 0.25 * kinds.index((cell.recipe, cell.source))


def metrics(cell: Cell, weights: str = "none") -> dict[str, Any]:
    """As ``evaluate`` writes them."""
    model = {"psnr": psnr(cell), "ssim": psnr(cell) / 200, "haarpsi": psnr(cell) / 100}
    if weights != "none":
        model["lpips"] = 1 / psnr(cell)
    bicubic = dict.fromkeys(model, 7.0)
    protocols = {
        name: {"border": 4, "bicubic": bicubic, "model": bicubic} for name in ("y", "usrdu")
    }
    protocols["usrdu"] = {"border": 4, "bicubic": bicubic, "model": model}
    return {"images": 2, "lpips_weights": weights, "niqe": None, "protocols": protocols}


def write_scores(folder: Path, weights: str = "none") -> Path:
    """Scores of every cell of the plan, and of one that it does not name any more."""
    for cell in [*load_plan(write_plan(folder)).cells(), Cell("first", "old", "raw", 4)]:
        path = cell.scores(folder / "scores")
        path.parent.mkdir(parents=True, exist_ok=True)
        known = cell._replace(recipe="one") if cell.recipe == "old" else cell
        path.write_text(json.dumps(metrics(known, weights)))
    return folder / "scores"


def call(folder: Path, **changes: object) -> Result:
    arguments = ["--scores", folder / "scores", "--plan", write_plan(folder, **changes)]
    arguments += ["--out", folder / "out"]
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_the_cells_of_a_plan(tmp_path: Path) -> None:
    cells = list(load_plan(write_plan(tmp_path)).cells())
    anchors = [("", "bicubic", 4), ("", "bicubic", 2), ("", "supervised", 4), ("", "supervised", 2)]
    learned = [(r, s, k) for r in ("one", "two-b") for s in ("raw", "mean") for k in (4, 2)]
    assert cells == [
        (camera, *kind) for camera in ("first", "second") for kind in anchors + learned
    ]
    files = {cell.scores(tmp_path) for cell in cells}
    assert len(files) == len(cells)
    assert tmp_path / "first/bicubic/4.json" in files
    assert tmp_path / "second/two-b/mean/2.json" in files


def test_scores_are_of_their_cell(tmp_path: Path) -> None:
    plan = load_plan(write_plan(tmp_path))
    found = read_scores(plan, write_scores(tmp_path))
    assert (found.lpips_weights, found.val_images) == ("none", {"first": 2, "second": 2})
    assert len({score.values["psnr"] for score in found.scores}) == 24
    for score, cell in zip(found.scores, plan.cells(), strict=True):
        assert (score.camera, score.recipe, score.source, score.seed) == cell
        expected = {"psnr": psnr(cell), "ssim": psnr(cell) / 200, "haarpsi": psnr(cell) / 100}
        assert score.values == expected


def test_lpips_where_there_is_lpips(tmp_path: Path) -> None:
    found = read_scores(load_plan(write_plan(tmp_path)), write_scores(tmp_path, "alexnet.pth"))
    assert found.lpips_weights == "alexnet.pth"
    for score in found.scores:
        assert list(score.values) == ["psnr", "ssim", "haarpsi", "lpips"]
        assert score.values["lpips"] == pytest.approx(1 / score.values["psnr"])


def test_a_score_that_json_cannot_hold_has_no_recovery(tmp_path: Path) -> None:
    path = Cell("first", "", "supervised", 4).scores(write_scores(tmp_path))
    content = json.loads(path.read_text())
    content["protocols"]["usrdu"]["model"]["psnr"] = None
    path.write_text(json.dumps(content))
    assert call(tmp_path).exit_code == 0
    rows = {(row["camera"], row["source"]): row for row in read_rows(tmp_path / "out/recovery.csv")}
    assert rows["first", "supervised"]["psnr"] == rows["first", "raw"]["psnr_recovery"] == ""
    assert float(rows["second", "supervised"]["psnr_recovery"]) == 1
    assert float(rows["first", "supervised"]["haarpsi_recovery"]) == 1


def test_command(tmp_path: Path) -> None:
    write_scores(tmp_path)
    result = call(tmp_path)
    assert result.exit_code == 0, result.output
    out = tmp_path / "out"
    found = ["metrics.json", "recovery.csv", "recovery.md"]
    assert names(out) == found
    for name in found:
        assert f"wrote {out / name}" in result.output
    assert (out / "recovery.md").read_text(encoding="utf-8") in result.output
    written = json.loads((out / "metrics.json").read_text())
    cells = written.pop("cells")
    assert written == {
        "protocol": "usrdu",
        "lpips_weights": "none",
        "seeds": [4, 2],
        "val_images": {"first": 2, "second": 2},
    }
    assert list(cells)[:3] == ["first bicubic", "first supervised", "first one raw"]
    raw = cells["second two-b raw"]  # of seeds 4 and 2: 31 and 33, with bicubic at 30 and 32
    assert raw["psnr"] == 32 and raw["psnr_spread"] == pytest.approx(2**0.5)
    assert raw["psnr_recovery"] == pytest.approx(4)
    rows = read_rows(out / "recovery.csv")
    assert [row["camera"] for row in rows] == ["first"] * 6 + ["second"] * 6
    typed: list[dict[str, Any]] = [
        {k: float(v) if k not in ("camera", "recipe", "source") else v for k, v in row.items()}
        for row in rows
    ]
    assert table_text(typed) == (out / "recovery.md").read_text(encoding="utf-8")


def test_a_plan_with_fewer_entries_leaves_the_others_out(tmp_path: Path) -> None:
    write_scores(tmp_path)
    fewer = {"cameras": {"second": {}}, "simulated": [], "seeds": [2], "recipes": {"two-b": {}}}
    assert call(tmp_path, **fewer).exit_code == 0
    rows = read_rows(tmp_path / "out" / "recovery.csv")
    assert [(row["camera"], row["recipe"], row["source"]) for row in rows] == [
        ("second", "", "bicubic"), ("second", "", "supervised"),
        ("second", "two-b", "raw"), ("second", "two-b", "mean"),
    ]  # fmt: skip


def one_sentence(result: Result, *parts: str) -> None:
    """A user mistake: exit status 1, one line, no traceback."""
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert result.output.endswith(f"{line}\n") and "Traceback" not in result.output
    for part in parts:
        assert part in line


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"cameras": {}}, "plan.yaml: cameras: "),
        ({"cameras": {"first; ls": {}}}, "found {'first; ls': {}}"),
        ({"cameras": {"../first": {}}}, "plan.yaml: cameras: "),
        ({"simulated": ["first; ls"]}, "found ['first; ls']"),
        ({"simulated": []}, "the camera 'first' must be an entry of cameras"),
        ({"real": ["first", "second"]}, "the camera 'first' must be an entry of cameras"),
        ({"real": ["second", "third"]}, "the camera 'third' must be an entry of cameras"),
        ({"seeds": [-1]}, "plan.yaml: seeds: "),
        ({"seeds": []}, "plan.yaml: seeds: "),
        ({"recipes": {}}, "plan.yaml: recipes: "),
        ({"recipes": {"0": {}}}, "plan.yaml: recipes: "),
        ({"sources": {"a b": {}}}, "plan.yaml: sources: "),
        ({"sources": {"raw": "raw"}}, "plan.yaml: sources: "),
        ({"anchors": {"bicubic": {}}}, "plan.yaml: anchors has no 'supervised'"),
        ({"anchors": {"supervised": {}}}, "plan.yaml: anchors has no 'bicubic'"),
        (
            {"cameras": {"third": {}}, "simulated": ["third"], "real": []},
            "third/bicubic/4.json: cannot be read: No such file",
        ),
    ],
)
def test_plans_with_mistakes(changes: dict[str, object], part: str, tmp_path: Path) -> None:
    write_scores(tmp_path)
    one_sentence(call(tmp_path, **changes), part)
    assert not (tmp_path / "out").exists()


def of_means(means: str, weights: str = '"none"') -> str:
    """What ``evaluate`` writes, as text."""
    return f'{{"protocols": {{"usrdu": {{"model": {means}}}}}, "lpips_weights": {weights}}}'


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", "{}", '{"protocols": {"y": {}}}', '{"protocols": null, "lpips_weights": "none"}',
        of_means('{"psnr": 1}'),
        of_means('{"psnr": 1, "ssim": 1, "haarpsi": 1}', '"a.pth"'),
        of_means('{"psnr": "1", "ssim": 1, "haarpsi": 1}'),
        of_means('{"psnr": NaN, "ssim": 1, "haarpsi": 1}'),
        of_means('{"psnr": true}'),
        of_means('{"psnr": 1, "ssim": 1, "haarpsi": 1}', "null"),
        "[" * 100_000,
    ],
)  # fmt: skip
def test_files_that_are_no_scores(text: str, tmp_path: Path) -> None:
    path = Cell("second", "one", "mean", 2).scores(write_scores(tmp_path))
    path.write_text(text)
    one_sentence(call(tmp_path), str(path), "has no scores under the protocol usrdu")
    assert not (tmp_path / "out").exists()


def test_lpips_of_other_weights_is_not_compared(tmp_path: Path) -> None:
    cell = Cell("second", "one", "mean", 2)
    cell.scores(write_scores(tmp_path)).write_text(json.dumps(metrics(cell, "other.pth")))
    one_sentence(call(tmp_path), "different weights of LPIPS: ['none', 'other.pth']")


def test_scores_of_different_validation_images(tmp_path: Path) -> None:
    path = Cell("first", "", "supervised", 4).scores(write_scores(tmp_path))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"images": 3}))
    one_sentence(call(tmp_path), "scores/first: has scores of different validation images")


def test_few_validation_images_are_named(tmp_path: Path) -> None:
    scores = write_scores(tmp_path)
    assert (
        "validation images: first 2, second 2; a yardstick needs at least 12"
        in call(tmp_path).output
    )
    for path in scores.rglob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"images": 12}))
    assert "yardstick" not in call(tmp_path).output
