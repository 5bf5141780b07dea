"""The verdicts: each known fault of a simulated camera is named, and no other one."""

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from doubles import IMAGES, Simulated, simulated_set
from drawn_scenes import Camera, camera_set, scene
from finished_demo import write_demo

from pipeline.audit.verdicts import (
    QUESTIONS,
    Evidence,
    Verdict,
    Verdicts,
    VerdictSettings,
    amount,
    read_verdicts,
    verdicts,
)
from pipeline.noise import statistics
from pipeline.noise.classifier import Accuracy
from pipeline.noise.statistics import LrStatistics
from stages.audit import command

SETTINGS = VerdictSettings()
NAMES = [question.name for question in QUESTIONS]
PASSING = dict.fromkeys(NAMES, "pass")


@pytest.fixture(scope="module")
def real() -> LrStatistics:
    return simulated_set(Simulated(), 0)


@pytest.fixture(scope="module")
def rest() -> LrStatistics:
    return simulated_set(Simulated(), 1)


def evidence(real: LrStatistics, rest: LrStatistics | None, samples: LrStatistics) -> Evidence:
    """Samples against real images; the means show what the samples show."""
    sets = {"bicubic": samples, "mean": samples, "raw": samples}
    return Evidence(real, rest, sets, images=30, listed=1)


def answers(found: Verdicts) -> dict[str, Verdict]:
    return {verdict.question: verdict for verdict in found.counted}


# --- known answers


def test_a_camera_against_itself_passes_everything(real: LrStatistics, rest: LrStatistics) -> None:
    found = verdicts(evidence(real, rest, simulated_set(Simulated(), 2)), SETTINGS)
    assert {v.question: v.word for v in found.counted} == PASSING
    assert found.word == "pass" and not found.failed("warn")
    assert found.metrics() == {
        "verdict": "pass",
        "verdict_theta": "raw",
        "verdicts": PASSING,
    }
    assert not any(verdict.advice for verdict in found.counted)


@pytest.mark.parametrize(
    ("camera", "question", "words"),
    [
        (Simulated(noise=0.6), "noise_level", "less noise than the real images: "),
        (Simulated(by_intensity=False), "noise_by_intensity", "intensity otherwise than"),
        (Simulated(correlated=False), "correlation", "correlated less than in the real"),
        (Simulated(blur=0.7), "blur", "more blurred than the real images: a Gaussian of"),
    ],
)
def test_a_known_fault_is_named_and_no_other(
    camera: Simulated, question: str, words: str, real: LrStatistics, rest: LrStatistics
) -> None:
    found = verdicts(evidence(real, rest, simulated_set(camera, 2)), SETTINGS)
    bad = found.failed("warn")
    assert [verdict.question for verdict in bad] == [question]
    assert {v.question: v.word for v in found.counted} == PASSING | {question: bad[0].word}
    assert words in bad[0].sentence and bad[0].advice
    assert found.word == bad[0].word
    if question == "noise_level":
        assert bad[0].value == pytest.approx(-0.4, abs=0.04) and bad[0].word == "fail"


def test_missing_compression_is_named_and_nothing_else() -> None:
    camera = Simulated(noise=1.15, correlated=False, by_intensity=False, jpeg=True)
    real, rest = (simulated_set(camera, seed) for seed in (0, 1))
    samples = simulated_set(replace(camera, noise=1.25, jpeg=False), 2)  # JPEG adds to the noise
    found = verdicts(evidence(real, rest, samples), SETTINGS)
    assert {v.question: v.word for v in found.counted} == PASSING | {"jpeg": "fail"}
    assert "compressed less than the real images: not compressed, the real" in (
        answers(found)["jpeg"].sentence
    )
    assert answers(found)["jpeg"].value == 3 and answers(found)["jpeg"].advice.startswith("Give")
    swapped = verdicts(evidence(samples, None, real), SETTINGS)
    assert answers(swapped)["jpeg"].word == "fail"
    assert "compressed more than the real images" in answers(swapped)["jpeg"].sentence
    assert answers(swapped)["jpeg"].value == -3


def test_laplace_noise_has_heavier_tails_than_gaussian_noise() -> None:
    real = simulated_set(Simulated(correlated=False), 0)
    samples = simulated_set(Simulated(correlated=False, laplace=True), 2)
    found = verdicts(evidence(real, None, samples), SETTINGS)
    assert [verdict.question for verdict in found.failed("warn")] == ["tails"]
    assert "heavier tails" in answers(found)["tails"].sentence
    assert answers(found)["tails"].value == pytest.approx(2.73, abs=0.6)  # 0.91 of 3 is left


def test_means_of_other_scenes_have_collapsed(real: LrStatistics) -> None:
    level = real.blocks.level[np.random.default_rng(1).permutation(len(real.blocks))]
    mixed = replace(real, blocks=replace(real.blocks, level=level))
    sets = {"bicubic": real, "mean": mixed, "raw": real}
    found = verdicts(Evidence(real, None, sets, 30, 0), SETTINGS)
    assert [verdict.question for verdict in found.failed("fail")] == ["collapse"]
    assert "adversarial_weight" in answers(found)["collapse"].advice


@pytest.mark.parametrize(
    ("images", "listed", "word"),
    [(30, 3, "pass"), (30, 4, "warn"), (30, 7, "fail"), (19, 19, "cannot be told")],
)
def test_the_share_of_outliers(images: int, listed: int, word: str, real: LrStatistics) -> None:
    sets = dict.fromkeys(("bicubic", "mean", "raw"), real)
    found = verdicts(Evidence(real, None, sets, images, listed), SETTINGS)
    assert answers(found)["outliers"].word == word
    assert found.word == ("pass" if word == "cannot be told" else word)


# --- the rule


def test_the_limit_is_the_setting_or_twice_the_floor(real: LrStatistics) -> None:
    """Every second image of the rest has less noise, so its halves differ beyond chance."""
    loud, quiet = Camera(), Camera(noise=0.8)
    rest = camera_set([loud, quiet], [scene("walls", i) for i in range(12)], 0)
    samples = simulated_set(Simulated(noise=0.6), 2)
    plain = answers(verdicts(evidence(real, None, samples), SETTINGS))["noise_level"]
    assert plain.floor is None and plain.limit == pytest.approx(0.1, abs=0.02)
    floored = answers(verdicts(evidence(real, rest, samples), SETTINGS))["noise_level"]
    assert floored.floor == pytest.approx(-0.2, abs=0.03) and 0.2 < floored.limit < 0.4
    alike = camera_set([loud], [scene("walls", i) for i in range(12)], 0)
    chance = answers(verdicts(evidence(real, alike, samples), SETTINGS))["noise_level"]
    assert chance.floor is not None and chance.limit == plain.limit
    assert plain.value == floored.value and plain.word == "fail" and floored.word == "warn"
    loose = SETTINGS.model_copy(update={"noise_level": 0.5})
    assert answers(verdicts(evidence(real, None, samples), loose))["noise_level"].word == "pass"
    strict = SETTINGS.model_copy(update={"fail_times": 1.0})
    assert answers(verdicts(evidence(real, rest, samples), strict))["noise_level"].word == "fail"


def test_the_camera_counts_and_a_theta_that_passes_is_named(real: LrStatistics) -> None:
    quiet, good = simulated_set(Simulated(noise=0.6), 2), simulated_set(Simulated(), 2)
    sets = {"bicubic": good, "mean": good, "raw": quiet, "calibrated": good, "camera": quiet}
    found = verdicts(Evidence(real, None, sets, 30, 0), SETTINGS)
    assert list(found.by_theta) == ["camera", "calibrated", "raw"]
    assert found.theta == "camera" and found.word == "fail"
    assert answers(found)["noise_level"].advice == (
        "Set train_srn.theta to calibrated: its samples pass here."
    )
    assert {verdict.word for verdict in found.by_theta["calibrated"]} == {"pass"}
    worse = sets | {"calibrated": simulated_set(Simulated(blur=0.7), 2)}
    for own in ("camera", "raw"):
        worse[own] = simulated_set(Simulated(noise=0.85), 2)
    found = verdicts(Evidence(real, None, worse, 30, 0), SETTINGS.model_copy(update={"blur": 0.25}))
    assert found.by_theta["calibrated"][NAMES.index("blur")].word == "fail"
    assert "calibrate" in answers(found)["noise_level"].advice
    assert "pass here" not in answers(found)["noise_level"].advice
    without = {name: sets[name] for name in sets if name != "camera"}
    assert verdicts(Evidence(real, None, without, 30, 0), SETTINGS).word == "pass"
    with pytest.raises(ValueError, match="expected samples of one of"):
        verdicts(Evidence(real, None, {"mean": good}, 30, 0), SETTINGS)


def test_what_cannot_be_measured_cannot_be_told(real: LrStatistics) -> None:
    unknown = replace(real, measured="only grass")
    found = verdicts(evidence(unknown, None, real), SETTINGS)
    told = {verdict.question for verdict in found.counted if verdict.word != "cannot be told"}
    assert told == {"jpeg", "collapse", "outliers"} and found.word == "pass"
    for verdict in found.counted:
        if verdict.question not in told:
            assert verdict.value is None and "only grass" in verdict.sentence
            assert verdict.advice


def test_amounts_in_words() -> None:
    assert amount(-0.4, "%") == "−40\u00a0%"
    assert amount(0.7, "LR pixels") == "0.70\u00a0LR\u00a0pixels"
    assert amount(-0.12, "") == "−0.12"
    assert (amount(-0.004, "%"), amount(-0.004, "")) == ("0\u00a0%", "0.00")


def test_the_simulated_sets_have_enough_blocks(real: LrStatistics) -> None:
    assert len(real.blocks) > 1000 * IMAGES


# --- the command


def test_the_command_exits_with_one_where_a_verdict_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is written before; the page begins with the verdicts, the metrics hold their words."""
    quick = Accuracy(0.75, 0.6, 0.9, 10)  # it is trained, and has tests of its own
    monkeypatch.setattr(statistics, "classifier_accuracy", lambda *_: quick)
    write_demo(tmp_path)
    (tmp_path / "params.yaml").write_text("audit: {worst_images: 0, verdicts: {collapse: 1e-9}}\n")
    files = {
        "maps": "export/maps.zarr",
        "hr": "prepare/hr.zarr",
        "lr": "prepare/lr.zarr",
        "params": "params.yaml",
        "out": "page",
        "metrics": "metrics.json",
    }
    named = [part for key, name in files.items() for part in (f"--{key}", str(tmp_path / name))]
    result = CliRunner().invoke(command, [*named, "--fail-on", "fail"])
    assert result.exit_code == 1
    found = read_verdicts(tmp_path / "page")
    lines = [line for line in result.stderr.splitlines() if re.match("(warn|fail): ", line)]
    assert len(lines) == len(found.failed("fail"))
    (collapsed,) = (line for line in lines if "Collapse of the DSN" in line)
    assert collapsed.startswith("fail: Collapse of the DSN (theta: camera): The means do not show")
    assert "train_dsn.learning_rate" in collapsed
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["verdicts"] == {v.question: v.word for v in found.counted}
    assert metrics["verdict"] == "fail" == metrics["verdicts"]["collapse"]
    assert metrics["verdict_theta"] == "camera" == found.theta
    text = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    section = text[text.index('id="verdicts"') : text.index('id="scores"')]
    words = " ".join(re.sub("<[^>]+>", " ", section).split())
    for verdict in found.counted:
        assert f"{verdict.title}. " in words and verdict.word in words
        assert verdict.advice in unescape(words)
    for theta in found.by_theta:
        assert f'<th scope="col">{theta}</th>' in section
