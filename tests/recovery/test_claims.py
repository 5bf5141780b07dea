"""Claims of Table 1: gains and intervals against SciPy and by hand, and the command."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import names
from scipy import stats

from pipeline.recovery.cells import Plan, load_table1_plan
from pipeline.recovery.claims import CLAIMS, Claim, findings, spread
from pipeline.recovery.table import Score
from stages.tools.table1_table import command

CLAIM = Claim("it is better", "row-3", "row-1")
PSNR = {"row-3": (24.0, 24.4, 24.2), "row-1": (23.0, 23.2, 23.7)}


def scores(values: Mapping[str, tuple[float, ...]], measure: str = "psnr") -> list[Score]:
    return [
        Score("c", "paper", row, seed, {measure: value})
        for row, seeds in values.items()
        for seed, value in enumerate(seeds)
    ]


def test_two_rows_are_students_t_test() -> None:
    """With two rows alone the interval is SciPy's of two samples of one variance."""
    (one,) = findings(scores(PSNR), [CLAIM])
    both = stats.ttest_ind(PSNR["row-3"], PSNR["row-1"]).confidence_interval(0.99)
    assert one.gain - one.margin == pytest.approx(both.low)
    assert one.gain + one.margin == pytest.approx(both.high)
    assert one.verdict == "cannot be told"  # -0.1 to 1.9 dB


def test_other_rows_sharpen_the_interval() -> None:
    """By hand: variances 0.04, 0.13 and 0.01 with 2, 2 and 1 degrees of freedom."""
    more = scores(PSNR | {"row-9": (20.0, 20.0 + math.sqrt(0.02))})
    (one,) = findings(more, [CLAIM])
    deviation = math.sqrt((2 * 0.04 + 2 * 0.13 + 0.01) / 5)
    assert one.gain == pytest.approx(0.9)
    assert one.margin == pytest.approx(4.0321 * deviation * math.sqrt(2 / 3), rel=1e-4)  # t, 5
    assert one.verdict == "holds"
    turned = CLAIM._replace(better="row-1", other="row-3")
    assert findings(more, [turned])[0].verdict == "fails"


def test_rows_without_a_dsn_do_not_count() -> None:
    anchors = [Score("c", "", "bicubic", seed, {"psnr": 7.0 * seed}) for seed in range(3)]
    assert findings([*anchors, *scores(PSNR)], [CLAIM]) == findings(scores(PSNR), [CLAIM])


def test_lower_lpips_is_better() -> None:
    lpips = {"row-3": (0.20, 0.21, 0.20), "row-1": (0.30, 0.31, 0.30)}
    (one,) = findings(scores(lpips, "lpips"), [CLAIM])
    assert one.gain == pytest.approx(0.1) and one.verdict == "holds"


def test_spread_is_pooled() -> None:
    rng = np.random.default_rng(0)
    groups = [rng.normal(mean, 1, 3) for mean in (0, 10, 20)]
    deviation, freedom = spread([list(group) for group in groups])
    assert freedom == 6
    assert deviation**2 == pytest.approx(np.mean([np.var(group, ddof=1) for group in groups]))
    assert math.isnan(spread([[1.0], [2.0]])[0])


def test_one_seed_tells_nothing() -> None:
    (one,) = findings(scores({row: seeds[:1] for row, seeds in PSNR.items()}), [CLAIM])
    assert one.gain == pytest.approx(1) and one.verdict == "cannot be told"


def test_a_claim_without_its_rows_is_left_out() -> None:
    assert [one.claim for one in findings(scores(PSNR))] == [CLAIMS[0]]


PLAN: dict[str, object] = {
    "cameras": ["one", "two"],
    "seeds": [0, 1, 2],
    "references": {"paper": {}, "passport": {}},
    "dsns": {"plain": {}, "theta": {}},
    "sources": {"mean": {}, "theta": {}},
    "anchors": ["bicubic", "supervised"],
    "rows": [
        {"name": "row-1", "dsn": "plain", "source": "mean"},
        {"name": "row-3", "dsn": "theta", "source": "theta"},
    ],
}


def write_plan(folder: Path, **changes: object) -> Path:
    path = folder / "plan.yaml"
    path.write_text(json.dumps(PLAN | changes))  # JSON is YAML
    return path


def call(folder: Path, **changes: object) -> Result:
    words = ["--scores", folder / "scores", "--plan", write_plan(folder, **changes)]
    words += ["--out", folder / "out"]
    return CliRunner().invoke(command, [str(word) for word in words])


def test_the_cells_are_the_rows_of_every_reference(tmp_path: Path) -> None:
    plan = load_table1_plan(write_plan(tmp_path))
    ends = ["bicubic", "supervised"]
    assert plan == Plan(["one", "two"], ["paper", "passport"], ends, ["row-1", "row-3"], [0, 1, 2])


def test_command(tmp_path: Path) -> None:
    """Row 3 is better by 1 dB on the camera one, worse by 1 dB on the camera two."""
    for cell in load_table1_plan(write_plan(tmp_path)).cells():
        sign = 1 if cell.camera == "one" else -1
        level = {"bicubic": 20, "supervised": 24, "row-1": 22, "row-3": 22 + sign}[cell.source]
        model = {"psnr": level + 0.1 * cell.seed, "ssim": 0.5 + 0.1 * cell.seed, "haarpsi": 0.5}
        path = cell.scores(tmp_path / "scores")
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"images": 12, "lpips_weights": "none", "protocols": {"usrdu": {"model": model}}}
        path.write_text(json.dumps(content))
    result = call(tmp_path)
    assert result.exit_code == 0, result.output
    assert names(tmp_path / "out") == ["metrics.json", "table1.csv", "table1.md"]
    written = json.loads((tmp_path / "out/metrics.json").read_text())
    found = {
        (one["camera"], one["recipe"], one["measure"]): one["verdict"] for one in written["claims"]
    }
    assert len(found) == len(written["claims"]) == 12
    assert found["one", "paper", "psnr"] == "holds" and found["two", "paper", "psnr"] == "fails"
    assert found["one", "paper", "ssim"] == "cannot be told"
    row = written["rows"]["one passport row-3"]
    assert row["psnr"] == pytest.approx(23.1) and row["psnr_recovery"] == pytest.approx(0.75)
    text = (tmp_path / "out/table1.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| passport | samples with")]
    assert len(lines) == 2 and "| one | +1.00 ± " in lines[0] and "holds | +0.0000" in lines[0]
    assert text in result.output


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"cameras": []}, "plan.yaml: cameras"),
        ({"cameras": ["../one"]}, "plan.yaml: cameras"),
        ({"anchors": ["bicubic"]}, "plan.yaml: anchors has no 'supervised'"),
        ({"rows": []}, "plan.yaml: rows"),
        (
            {"rows": [{"name": "row-1", "dsn": "mine", "source": "mean"}]},
            "the row 'row-1' names 'mine', no entry of dsns",
        ),
        (
            {"rows": [{"name": "row-1", "dsn": "plain", "source": "mine"}]},
            "the row 'row-1' names 'mine', no entry of sources",
        ),
        (
            {"rows": [{"name": "a", "dsn": "plain", "source": "mean"}] * 2},
            "plan.yaml: two rows have one name: a, a",
        ),
        ({}, "one/bicubic/0.json: cannot be read: No such file"),
    ],
)
def test_plans_with_mistakes(changes: dict[str, object], part: str, tmp_path: Path) -> None:
    result = call(tmp_path, **changes)
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.output
    (line,) = result.output.splitlines()
    assert line.startswith("Error: ") and part in line
    assert not (tmp_path / "out").exists()
