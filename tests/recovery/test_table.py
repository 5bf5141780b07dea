"""The table of recovery: every figure by hand."""

import csv
import io
import json
import math
from dataclasses import replace
from statistics import mean, stdev

import pytest

from pipeline.recovery.table import (
    Score,
    by_name,
    csv_text,
    recovery,
    recovery_table,
    table_text,
)


def scores(camera: str = "c") -> list[Score]:
    """Two seeds; PSNR (higher is better) and LPIPS (lower is better)."""
    values = {
        ("", "bicubic"): ((20.0, 0.50), (21.0, 0.60)),
        ("", "supervised"): ((24.0, 0.10), (23.0, 0.20)),
        ("mine", "raw"): ((23.0, 0.30), (21.5, 0.30)),
        ("mine", "mean"): ((19.0, 0.54), (21.0, 0.62)),
    }
    return [
        Score(camera, recipe, source, seed, dict(zip(("psnr", "lpips"), value, strict=True)))
        for (recipe, source), both in values.items()
        for seed, value in zip((3, 8), both, strict=True)
    ]


def with_psnr(score: Score, psnr: float) -> Score:
    return replace(score, values={**score.values, "psnr": psnr})


def test_recovery_by_hand() -> None:
    assert recovery(23, 20, 24) == 0.75
    assert recovery(20, 20, 24) == 0 and recovery(24, 20, 24) == 1
    assert recovery(19, 20, 24) == -0.25 and recovery(26, 20, 24) == 1.5
    assert recovery(0.2, 0.5, 0.1) == pytest.approx(0.75)  # where lower is better


@pytest.mark.parametrize(
    ("score", "bicubic", "supervised"),
    [(1.0, 2.0, 2.0), (2.0, 2.0, 2.0), (1.0, 2.0, math.inf), (math.inf, 2.0, 3.0)],
)
def test_no_recovery_where_there_is_no_way(score: float, bicubic: float, supervised: float) -> None:
    assert recovery(score, bicubic, supervised) is None


def test_the_table_by_hand() -> None:
    rows = recovery_table(scores())
    assert [(row["camera"], row["recipe"], row["source"]) for row in rows] == [
        ("c", "", "bicubic"),
        ("c", "", "supervised"),
        ("c", "mine", "raw"),
        ("c", "mine", "mean"),
    ]
    raw = rows[2]
    assert raw["psnr"] == 22.25 and raw["psnr_spread"] == pytest.approx(1.5 / 2**0.5)
    assert raw["lpips"] == pytest.approx(0.3) and raw["lpips_spread"] == 0
    shares = [3 / 4, 0.5 / 2]  # seed by seed: not 2.25 / 3, the share of the means minus bicubic's
    assert raw["psnr_recovery"] == pytest.approx(mean(shares))
    assert raw["psnr_recovery_spread"] == pytest.approx(stdev(shares))
    shares = [0.2 / 0.4, 0.3 / 0.4]
    assert raw["lpips_recovery"] == pytest.approx(mean(shares))
    assert raw["lpips_recovery_spread"] == pytest.approx(stdev(shares))
    assert rows[3]["psnr_recovery"] == pytest.approx(mean([-0.25, 0]))
    assert rows[3]["lpips_recovery"] == pytest.approx(mean([-0.1, -0.05]))
    for measure in ("psnr", "lpips"):
        ends = [(row[f"{measure}_recovery"], row[f"{measure}_recovery_spread"]) for row in rows[:2]]
        assert ends == [(0, 0), (1, 0)]


def test_the_table_does_not_depend_on_the_order_and_keeps_cameras_apart() -> None:
    other = [with_psnr(score, score.values["psnr"] ** 2 / 20) for score in scores("d")]
    alone = recovery_table(scores()), recovery_table(other)
    assert alone[0][2]["psnr_recovery"] != alone[1][2]["psnr_recovery"]
    mixed = recovery_table((scores() + other)[::-1])
    for rows in alone:
        for row in rows:
            (found,) = [m for m in mixed if all(m[k] == row[k] for k in list(row)[:3])]
            assert list(found.values())[3:] == pytest.approx(list(row.values())[3:])


def test_one_seed_has_no_spread() -> None:
    rows = recovery_table([score for score in scores() if score.seed == 3])
    assert all(row[key] == 0 for row in rows for key in row if key.endswith("spread"))
    assert rows[2]["psnr_recovery"] == 0.75


def test_a_camera_that_is_no_better_than_bicubic_has_no_recovery() -> None:
    """In one seed of one measure; the other measure still has it."""
    worse = ("supervised", 8)
    made = [with_psnr(s, 21.0) if (s.source, s.seed) == worse else s for s in scores()]
    rows = recovery_table(made)
    assert {row["psnr_recovery"] for row in rows} == {None}
    assert {row["psnr_recovery_spread"] for row in rows} == {None}
    assert rows[2]["psnr"] == 22.25 and rows[2]["lpips_recovery"] == pytest.approx(0.625)
    json.dumps(rows, allow_nan=False)
    (line,) = [line for line in table_text(rows).splitlines() if " raw " in line]
    assert line.split("|")[5].strip() == "n/a"
    assert next(csv.DictReader(io.StringIO(csv_text(rows))))["psnr_recovery"] == ""


def test_infinite_scores_are_no_numbers_of_json() -> None:
    rows = recovery_table([with_psnr(score, math.inf) for score in scores()])
    assert {row["psnr"] for row in rows} == {None}
    json.dumps(rows, allow_nan=False)


def test_the_text_is_an_aligned_markdown_table() -> None:
    lines = table_text(recovery_table(scores())).splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    head = ["camera", "recipe", "source", "PSNR (dB)", "recovery (%)", "LPIPS", "recovery (%)"]
    assert cells[0] == head
    assert all(set(cell) <= set("-:") and len(cell) > 2 for cell in cells[1])
    assert cells[4] == [
        "c", "mine", "raw", "22.25 ± 1.06", "50 ± 35", "0.3000 ± 0.0000", "62 ± 18"
    ]  # fmt: skip
    assert cells[2][1] == "–"


def test_the_text_has_every_measure_that_there_is() -> None:
    more = {"haarpsi": 0.5, "ssim": 0.7}
    every = [replace(s, values={**s.values, **more}) for s in scores()]
    head = table_text(recovery_table(every)).splitlines()[0]
    found = [cell.strip() for cell in head.split("|")[4:-1:2]]
    assert found == ["PSNR (dB)", "SSIM", "HaarPSI", "LPIPS"]


def test_rows_by_name() -> None:
    rows = recovery_table(scores())
    named = by_name(rows)
    assert list(named) == ["c bicubic", "c supervised", "c mine raw", "c mine mean"]
    assert named["c mine raw"]["psnr"] == 22.25
    assert {"camera", "recipe", "source"} | named["c mine raw"].keys() == rows[2].keys()
