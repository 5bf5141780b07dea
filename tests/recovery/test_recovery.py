"""Recovery: the table by hand, the true camera's crops, and a tiny experiment from end to end."""

import csv
import io
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import (
    MACHINE,
    calibration,
    compact,
    dsn_settings,
    names,
    picture,
    prepare_settings,
    read_rows,
    srn_settings,
)

from pipeline.base.errors import UserError
from pipeline.base.settings import load_yaml
from pipeline.calibrate.calibrate import CalibrateSettings
from pipeline.demo.camera import Camera
from pipeline.export.export import ExportSettings
from pipeline.images.io import Image
from pipeline.recovery import recovery as module
from pipeline.recovery.recovery import Recipes, RecoverySettings, World, _jobs, recover
from pipeline.recovery.table import Score, csv_text, recovery, recovery_table, table_text
from pipeline.sampling.calibration import Calibration
from pipeline.stores.reader import Store
from pipeline.train_dsn.settings import TrainDsnSettings
from pipeline.train_dsn.train import train_dsn
from pipeline.train_srn.train import SrnTrainer
from stages.tools.recovery import command

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")

# --- the table


def scores(camera: str = "c") -> list[Score]:
    """Two seeds; PSNR (higher is better) and LPIPS (lower is better)."""
    values = {
        ("", "bicubic"): ((20.0, 0.50), (21.0, 0.60)),
        ("", "camera"): ((24.0, 0.10), (23.0, 0.20)),
        ("mine", "raw"): ((23.0, 0.30), (21.5, 0.30)),
        ("mine", "mean"): ((19.0, 0.54), (21.0, 0.62)),
    }
    return [
        Score(camera, recipe, source, seed, *value)
        for (recipe, source), both in values.items()
        for seed, value in zip((3, 8), both, strict=True)
    ]


def test_recovery_by_hand() -> None:
    assert recovery(23, 20, 24) == 0.75
    assert recovery(20, 20, 24) == 0 and recovery(24, 20, 24) == 1
    assert recovery(19, 20, 24) == -0.25 and recovery(26, 20, 24) == 1.5
    assert recovery(0.2, 0.5, 0.1) == pytest.approx(0.75)  # where lower is better


@pytest.mark.parametrize(
    ("score", "bicubic", "camera"),
    [(1.0, 2.0, 2.0), (2.0, 2.0, 2.0), (1.0, 2.0, math.inf), (math.inf, 2.0, 3.0)],
)
def test_no_recovery_where_there_is_no_way(score: float, bicubic: float, camera: float) -> None:
    assert recovery(score, bicubic, camera) is None


def test_the_table_by_hand() -> None:
    rows = recovery_table(scores())
    assert [(row["camera"], row["recipe"], row["source"]) for row in rows] == [
        ("c", "", "bicubic"),
        ("c", "", "camera"),
        ("c", "mine", "raw"),
        ("c", "mine", "mean"),
    ]
    raw = rows[2]
    assert raw["psnr"] == 22.25 and raw["psnr_spread"] == pytest.approx(1.5 / 2**0.5)
    assert raw["perceptual"] == pytest.approx(0.3) and raw["perceptual_spread"] == 0
    shares = [3 / 4, 0.5 / 2]  # seed by seed: not 2.25 / 3, the share of the means minus bicubic's
    assert raw["psnr_recovery"] == pytest.approx(mean(shares))
    assert raw["psnr_recovery_spread"] == pytest.approx(stdev(shares))
    shares = [0.2 / 0.4, 0.3 / 0.4]
    assert raw["perceptual_recovery"] == pytest.approx(mean(shares))
    assert raw["perceptual_recovery_spread"] == pytest.approx(stdev(shares))
    assert rows[3]["psnr_recovery"] == pytest.approx(mean([-0.25, 0]))
    assert rows[3]["perceptual_recovery"] == pytest.approx(mean([-0.1, -0.05]))
    for measure in ("psnr", "perceptual"):
        ends = [(row[f"{measure}_recovery"], row[f"{measure}_recovery_spread"]) for row in rows[:2]]
        assert ends == [(0, 0), (1, 0)]


def test_the_table_does_not_depend_on_the_order_and_keeps_cameras_apart() -> None:
    other = [replace(score, psnr=score.psnr**2 / 20) for score in scores("d")]
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
    made = [replace(s, psnr=21.0) if (s.source, s.seed) == ("camera", 8) else s for s in scores()]
    rows = recovery_table(made)
    assert {row["psnr_recovery"] for row in rows} == {None}
    assert {row["psnr_recovery_spread"] for row in rows} == {None}
    assert rows[2]["psnr"] == 22.25 and rows[2]["perceptual_recovery"] == pytest.approx(0.625)
    json.dumps(rows, allow_nan=False)
    (line,) = [line for line in table_text(rows, "lpips").splitlines() if " raw " in line]
    assert line.split("|")[5].strip() == "n/a"
    assert next(csv.DictReader(io.StringIO(csv_text(rows))))["psnr_recovery"] == ""


def test_infinite_scores_are_no_numbers_of_json() -> None:
    rows = recovery_table([replace(score, psnr=math.inf) for score in scores()])
    assert {row["psnr"] for row in rows} == {None}
    json.dumps(rows, allow_nan=False)


def test_the_text_is_an_aligned_markdown_table() -> None:
    lines = table_text(recovery_table(scores()), "lpips").splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    head = ["camera", "recipe", "source", "PSNR (dB)", "recovery (%)", "LPIPS", "recovery (%)"]
    assert cells[0] == head
    assert all(set(cell) <= set("-:") and len(cell) > 2 for cell in cells[1])
    assert cells[4] == [
        "c", "mine", "raw", "22.25 ± 1.06", "50 ± 35", "0.3000 ± 0.0000", "62 ± 18"
    ]  # fmt: skip
    assert cells[2][1] == "–"
    assert "HaarPSI" in table_text(recovery_table(scores()), "haarpsi")


# --- the true camera's crops


# --- a tiny experiment


CAMERA = Camera(
    blur_along=0.0,
    blur_across=0.0,
    blur_angle=0.0,
    noise="gaussian",
    noise_at_black_gray=4.0,
    noise_at_white_gray=8.0,
    mosaic=False,
    chroma_denoising=0.0,
    jpeg_quality=None,
    jpeg_subsampling="4:4:4",
)
DSN = dsn_settings(epochs=1, crops_per_image=1, adversarial_weight=0.0)
LEARNED = ["mean", "raw", "constant", "calibrated"]
SETTINGS: dict[str, object] = {
    "seeds": [0],
    "sources": ["bicubic", *LEARNED, "camera"],
    "captures": 2,
    "architecture": compact().model_dump(),
    "train_srn": {"adversarial_weight": 0.0, "epochs": 1},
    "recipes": {"one": {}, "two": {"seed": 4}},
}


def settings(**changes: object) -> RecoverySettings:
    return RecoverySettings.model_validate({**SETTINGS, **changes})


def recipes(**changes: object) -> Recipes:
    made = settings(**changes)
    return Recipes(
        4,
        made,
        srn_settings(**made.train_srn),
        {
            name: TrainDsnSettings.model_validate(DSN.model_dump() | changed)
            for name, changed in made.recipes.items()
        },
        ExportSettings(tile=32, batch=1, mean_keep_bits=10, theta_keep_bits=7),
        CalibrateSettings(blocks=1000, rounds=1, least_correlation=0.1),
        "none",
        MACHINE,
    )


def small_photograph(name: str, scale: int) -> Image:
    """Gray stairs, so that there are flat areas of many intensities to measure the noise in."""
    del scale
    image = picture(np.random.default_rng(ord(name[0])), 160, 192)
    image[:, :, 96:] = np.linspace(20, 235, 12).repeat(8).astype(np.uint8)
    return image


@pytest.fixture(autouse=True)
def small_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five small photographs."""
    monkeypatch.setattr("pipeline.demo.demo.photograph", small_photograph)
    for kind, files in {"HR": "ab", "LR": "cd", "VAL": "e"}.items():
        monkeypatch.setattr(f"pipeline.demo.demo.{kind}", tuple(f"{name}.png" for name in files))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is trained and measured, as it is; means of such a short training have no noise."""
    made: list[str] = []
    step = SrnTrainer.step

    def counted_step(self: SrnTrainer, number: int) -> dict[str, torch.Tensor]:
        if number == 0:
            made.append("srn")
        return step(self, number)

    def counted_dsn(*arguments: object) -> object:
        made.append("dsn")
        return train_dsn(*arguments)  # type: ignore[arg-type]

    def counted_calibrate(maps: Store, *_: object) -> tuple[Calibration, dict[str, object]]:
        made.append("calibrate")
        return calibration(maps), {"fault": None}

    monkeypatch.setattr(SrnTrainer, "step", counted_step)
    monkeypatch.setattr(module, "train_dsn", counted_dsn)
    monkeypatch.setattr(module, "calibrate", counted_calibrate)
    return made


def test_jobs() -> None:
    jobs = _jobs(settings(seeds=[4, 2], sources=["raw", "mean"]))
    assert jobs[:4] == [
        ("", "bicubic", 4), ("", "bicubic", 2), ("", "camera", 4), ("", "camera", 2)
    ]  # fmt: skip
    learned = [(r, s, k) for r in ("one", "two") for s in ("raw", "mean") for k in (4, 2)]
    assert jobs[4:] == learned


@pytest.mark.parametrize("changes", [{"seeds": [1, 1]}, {"sources": ["raw", "raw"]}])
def test_nothing_is_named_twice(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="names something twice"):
        settings(**changes)


def test_a_whole_experiment(tmp_path: Path, trained: list[str]) -> None:
    def once(name: str) -> dict[str, object]:
        return recover({"mine": CAMERA}, recipes(), tmp_path / name, tmp_path / "work")

    result = once("first")
    assert Counter(trained) == {"srn": 10, "dsn": 2, "calibrate": 2}
    assert result["perceptual"] == "haarpsi" and result["seeds"] == [0]
    table = result["rows"]
    assert isinstance(table, list)
    kinds = [("", "bicubic"), ("", "camera")]
    kinds += [(recipe, source) for recipe in ("one", "two") for source in LEARNED]
    assert [(row["recipe"], row["source"]) for row in table] == kinds
    assert len({row["psnr"] for row in table}) == 10  # no two of them are the same experiment
    assert names(tmp_path / "first") == ["recovery.csv", "recovery.md", "scores.csv"]
    rows = read_rows(tmp_path / "first" / "scores.csv")
    assert recovery_table(
        [
            Score(
                row["camera"], row["recipe"], row["source"], int(row["seed"]),
                float(row["psnr"]), float(row["perceptual"]),
            )
            for row in rows
        ]
    ) == table  # fmt: skip
    text = (tmp_path / "first" / "recovery.md").read_text(encoding="utf-8")
    assert text == table_text(table, "haarpsi")
    trained.clear()
    assert once("second") == result and trained == []
    for name in names(tmp_path / "first"):
        first, second = (tmp_path / folder / name for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
    more = recipes(seeds=[0, 1], recipes={"one": {}}, sources=["mean"])
    recover({"mine": CAMERA}, more, tmp_path / "third", tmp_path / "work")
    assert Counter(trained) == {"srn": 3, "calibrate": 1}  # seed 1 alone, and no DSN again


def test_an_interrupted_experiment_writes_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: list[str]
) -> None:
    few = recipes(sources=["bicubic"])

    def interrupted(*_: object) -> tuple[float, float]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            recover({"mine": CAMERA}, few, tmp_path / "out", tmp_path / "work")
    assert names(tmp_path / "out") == [] and trained == ["srn"]
    recover({"mine": CAMERA}, few, tmp_path / "out", tmp_path / "work")
    assert trained == ["srn", "srn"]  # the training had ended, its checkpoint is there
    assert len(read_rows(tmp_path / "out" / "scores.csv")) == 2


def test_captures_of_the_world(tmp_path: Path) -> None:
    world = World("mine", CAMERA, 4, tmp_path)
    captures = world.captures(3)[0]
    assert captures[0].shape == (3, 40, 48)
    assert not np.array_equal(captures[0], captures[1])
    noise = np.stack(captures).astype(float) - CAMERA.clean(world.photographs[0], 4).numpy() * 255
    assert 3 < noise.std() < 9
    again = World("mine", CAMERA, 4, tmp_path)
    assert np.array_equal(again.captures(2)[0][1], captures[1])


def test_a_camera_whose_noise_cannot_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(maps: Store, lr: Store, _: CalibrateSettings) -> tuple[Calibration, object]:
        made = Calibration(
            format="usrdu-calibration-2", scale=4, maps_digest=maps.digest, lr_digest=lr.digest,
            fault="too little", variance_gray=[], noise_filter=None, laplace_share=1.0, jpeg=None,
            constant_theta_gray=0.0,
        )  # fmt: skip
        return made, {"fault": "too little"}

    monkeypatch.setattr(module, "calibrate", faulty)
    one: dict[str, object] = {"one": {}}
    for source in ("mean", "raw"):
        few = recipes(sources=[source], recipes=one)
        recover({"mine": CAMERA}, few, tmp_path / "out", tmp_path / "work")
    for source in ("constant", "calibrated"):
        few = recipes(sources=[source], recipes=one)
        with pytest.raises(UserError, match="camera mine: cannot be calibrated: too little"):
            recover({"mine": CAMERA}, few, tmp_path / "out", tmp_path / "work")


# --- the command


def call(folder: Path, *more: object, **changes: object) -> Result:
    """Run the command on the project's params file with small settings."""
    content = load_yaml(ROOT / "params.yaml") | {
        "prepare": prepare_settings().model_dump(),
        "train_dsn": DSN.model_dump(),
        "train_srn": srn_settings().model_dump(),
        "recovery": {**SETTINGS, "sources": ["mean"], **changes},
    }
    (folder / "params.yaml").write_text(json.dumps(content))  # JSON is YAML
    (folder / "cameras.yaml").write_text(json.dumps({"mine": CAMERA.model_dump()}))
    arguments = ["--out", folder / "out", "--work", folder / "work"]
    arguments += ["--params", folder / "params.yaml", "--cameras", folder / "cameras.yaml", *more]
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_command(tmp_path: Path) -> None:
    result = call(tmp_path, "--recipe", "two", "--camera", "mine")
    assert result.exit_code == 0, result.output
    found = ["metrics.json", "recovery.csv", "recovery.md", "scores.csv"]
    assert names(tmp_path / "out") == found
    for name in found:
        assert f"wrote {tmp_path / 'out' / name}" in result.output
    assert (tmp_path / "out" / "recovery.md").read_text(encoding="utf-8") in result.output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [row["source"] for row in metrics["rows"]] == ["bicubic", "camera", "mean"]
    assert metrics["rows"][2]["recipe"] == "two"


@pytest.mark.parametrize(
    ("more", "changes", "parts"),
    [
        (["--recipe", "x"], {}, ["params.yaml: recovery.recipes.x is missing", "one, two"]),
        (["--camera", "x"], {}, ["cameras.yaml: the section 'x' is missing"]),
        ([], {"train_srn": {"beta": 1}}, ["recovery.train_srn.beta is not a known setting"]),
        ([], {"train_srn": {"epochs": 0}}, ["params.yaml: recovery.train_srn.epochs:", "found 0"]),
        (
            [],
            {"train_srn": {"content_weight": 0.0}},
            ["recovery.train_srn: content_weight, low_pass_weight"],
        ),
        (
            [],
            {"recipes": {"one": {}, "bad": {"prior": 1.0}}},
            ["recovery.recipes.bad.prior is not a known setting"],
        ),
        (
            [],
            {"recipes": {"bad": {"prior_scale_gray": "much"}}},
            ["recovery.recipes.bad.prior_scale_gray"],
        ),
        ([], {"seeds": [0, 0]}, ["recovery: seeds names something twice"]),
        ([], {"seeds": [-1]}, ["recovery.seeds.0"]),
        ([], {"sources": ["sky"]}, ["recovery.sources.0", "'sky'"]),
        ([], {"recipes": {}}, ["recovery.recipes"]),
    ],
)
def test_command_with_mistakes(
    more: list[str], changes: dict[str, object], parts: list[str], tmp_path: Path
) -> None:
    one_sentence(call(tmp_path, *more, **changes), parts)
    assert names(tmp_path) == ["cameras.yaml", "params.yaml"]


def test_command_with_a_crop_that_is_too_large(tmp_path: Path, trained: list[str]) -> None:
    parts = ["160x192", "164x164", "train_srn.lr_patch"]
    one_sentence(call(tmp_path, train_srn={"lr_patch": 41}), parts)
    assert trained == []


def test_command_without_a_camera(tmp_path: Path) -> None:
    (tmp_path / "none.yaml").write_text("{}")
    one_sentence(call(tmp_path, "--cameras", tmp_path / "none.yaml"), ["there is no camera"])


def one_sentence(result: Result, parts: list[str]) -> None:
    """A user mistake: exit status 1, one line, no traceback."""
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert result.output.endswith(f"{line}\n") and "Traceback" not in result.output
    for part in parts:
        assert part in line
