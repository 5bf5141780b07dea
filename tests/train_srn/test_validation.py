"""Validation during the training: scores of an evaluation, the best by hand, two halves."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MACHINE, World, compact, picture, read_rows, srn_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.evaluate.evaluate import EvaluateSettings, evaluate
from pipeline.images.io import to_float, to_uint8
from pipeline.runs.description import Places
from pipeline.scores.niqe import block_features, moments, niqe
from pipeline.scores.niqe_model import load_model, save_model
from pipeline.scores.scorer import ScoreSettings
from pipeline.srn.file import open_model
from pipeline.stores.reader import Store
from pipeline.train_srn.train import SrnMaterial, SrnTrainer, _key, train_srn
from pipeline.train_srn.validation import Validation, by_hash, halves, open_validation
from pipeline.writing.writer import StoreWriter

EVERY: dict[str, object] = {"validate_every": 2}
BEST: dict[str, object] = {"validate_every": 1, "keep": "best"}
RESULTS = ("srn.safetensors", "curves.csv", "progress.png")


def run(tiny: World, folder: Path, val: Store | None = None, **changes: object) -> dict[str, Any]:
    """A whole training of 6 steps; its metrics."""
    material = SrnMaterial(tiny.hr, tiny.maps, val=val)
    places = Places(folder / "out", folder / "work")
    metrics = train_srn(material, "mine", compact(), srn_settings(**changes), MACHINE, places)
    assert metrics is not None
    return json.loads(json.dumps(metrics))  # type: ignore[no-any-return]


def leave_out_drawing(patch: pytest.MonkeyPatch, *names: str) -> None:
    """It takes longer than the training."""
    for name in names:
        patch.setattr(SrnTrainer, name, lambda _self, _path: None)


@pytest.fixture
def no_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out_drawing(monkeypatch, "contact_sheet", "draw_progress")


@pytest.fixture(scope="module")
def validated(tiny: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A validated run: its folder and its metrics."""
    folder = tmp_path_factory.mktemp("validated")
    with pytest.MonkeyPatch.context() as patch:
        leave_out_drawing(patch, "contact_sheet", "draw_progress")
        return folder, run(tiny, folder, tiny.val, **EVERY)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """PSNR of each scoring of the training, in place of the true one."""
    values: list[float] = []
    waiting = iter(values)
    original = Validation.score

    def score(self: Validation, *given: Any) -> dict[str, float]:
        return original(self, *given) | {"psnr": next(waiting)}

    monkeypatch.setattr(Validation, "score", score)
    return values


def test_the_scores_are_those_of_an_evaluation(
    validated: tuple[Path, dict[str, Any]], tiny: World, tmp_path: Path
) -> None:
    """Of the same weights, as the images are no larger than what is scored."""
    folder, metrics = validated
    weights, settings = folder / "out" / "srn.safetensors", EvaluateSettings(protocols=["usrdu"])
    found: Any = evaluate(tiny.val, weights, settings, tmp_path / "evaluated")
    expected = found["protocols"]["usrdu"]["model"]
    rows = read_rows(folder / "out" / "curves.csv")
    assert list(rows[0])[-3:] == ["psnr", "ssim", "haarpsi"]
    assert [row["step"] for row in rows] == ["2", "4", "6"] and all(row["psnr"] for row in rows)
    for values in (rows[-1], metrics, metrics["validation"]["scores"]):
        assert {k: float(values[k]) for k in expected} == pytest.approx(expected, rel=1e-3)
    assert metrics["validation"]["kept_step"] == 6 and metrics["validation"]["images"] == 2
    assert metrics["validation"]["meaning"] == "no weights were chosen by these scores"
    assert metrics["validation"]["protocols"]["usrdu"]["border"] == 4


@pytest.mark.usefixtures("no_sheets")
def test_steps_without_scores_have_none(tiny: World, tmp_path: Path) -> None:
    """The last step is scored whatever its number."""
    run(tiny, tmp_path, tiny.val, validate_every=4, log_every=1)
    rows = read_rows(tmp_path / "out" / "curves.csv")
    assert [bool(row["psnr"]) for row in rows] == [False] * 3 + [True, False, True]


@pytest.mark.usefixtures("no_sheets")
def test_validation_changes_no_weights(
    validated: tuple[Path, dict[str, Any]], tiny: World, tmp_path: Path
) -> None:
    run(tiny, tmp_path, tiny.val)
    folders = (validated[0] / "out", tmp_path / "out")
    one, other = (load_file(folder / "srn.safetensors") for folder in folders)
    assert all(torch.equal(one[name], other[name]) for name in one)
    rows, plain = (read_rows(folder / "curves.csv") for folder in folders)
    assert [{k: row[k] for k in plain[0]} for row in rows] == plain


@pytest.mark.usefixtures("no_sheets")
def test_the_best_step_is_written(
    tiny: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripted: list[float]
) -> None:
    """The largest PSNR by hand: that of the fourth step; its weights, and no others."""
    scripted += [20.0, 23.0, 21.0, 24.0, 22.0, 23.5]
    averages: list[dict[str, Tensor]] = []
    original = SrnTrainer.score

    def noted(self: SrnTrainer, step: int) -> Mapping[str, float | None]:
        state = self.ema.module.state_dict()
        averages.append({name: value.clone() for name, value in state.items()})
        return original(self, step)

    monkeypatch.setattr(SrnTrainer, "score", noted)
    metrics = run(tiny, tmp_path, tiny.val, **BEST)
    path = tmp_path / "out" / "srn.safetensors"
    written = load_file(path)
    same = [all(torch.equal(one[k], written[k]) for k in written) for one in averages]
    assert same == [False, False, False, True, False, False]
    found = metrics["validation"]
    assert (found["kept"], found["kept_step"], found["chosen_by"]) == ("best", 4, "psnr")
    assert found["scores"]["psnr"] == 24.0 and metrics["psnr"] == pytest.approx(22.75)
    assert "psnr on these images, so their scores are optimistic" in found["meaning"]
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["chosen"]) == {"step": 4, "by": "psnr"}


@pytest.mark.arithmetic
@pytest.mark.parametrize(
    "at", [pytest.param(1, marks=pytest.mark.slow), 3, pytest.param(5, marks=pytest.mark.slow)]
)
def test_an_interrupted_run_ends_like_a_straight_one(
    at: int, tiny: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of the best step, curves, metrics and pictures, whatever step it is."""
    leave_out_drawing(monkeypatch, "contact_sheet")
    psnr = [20.0, 25.0, 21.0, 22.0, 24.0, 23.0]
    score = SrnTrainer.score

    def scripted(self: SrnTrainer, step: int) -> Mapping[str, float | None]:
        assert self.validation is not None
        patch.setattr(self.validation, "score", lambda *_: dict.fromkeys(COLUMNS, psnr[step]))
        return score(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(SrnTrainer, "score", scripted)
        straight = run(tiny, tmp_path / "straight", tiny.val, **BEST)
        step = SrnTrainer.step

        def dying(self: SrnTrainer, now: int) -> dict[str, Tensor]:
            if now == at:
                raise KeyboardInterrupt
            return step(self, now)

        with monkeypatch.context() as dies:
            dies.setattr(SrnTrainer, "step", dying)
            with pytest.raises(KeyboardInterrupt):
                run(tiny, tmp_path / "killed", tiny.val, **BEST)
        resumed = run(tiny, tmp_path / "killed", tiny.val, **BEST)
    assert straight["validation"]["kept_step"] == 2
    assert resumed == straight
    for name in RESULTS:
        one, other = ((tmp_path / way / "out" / name) for way in ("straight", "killed"))
        assert one.read_bytes() == other.read_bytes(), name


COLUMNS = ("psnr", "ssim", "haarpsi")


def test_what_is_another_run(tiny: World, tmp_path: Path) -> None:
    """Other validation images or scores, if it is validated; otherwise it knows nothing of them."""
    with StoreWriter(tmp_path / "v.zarr", "val", 4, ["x"]) as writer:
        hr = picture(np.random.default_rng(0), 64, 64)
        writer.add("x", {"hr": hr, "lr": hr[:, ::4, ::4]})
    other, file = Store(tmp_path / "v.zarr", "val"), tmp_path / "niqe.mat"
    scorings = [ScoreSettings(), ScoreSettings(protocols=["y"])]
    scorings += [ScoreSettings(niqe_model=str(file))] * 2

    def keys(**changes: object) -> list[str]:
        settings, found = srn_settings(**changes), []
        for number, (val, scoring) in enumerate(
            [(tiny.val, scorings[0]), (other, scorings[0])] + [(other, one) for one in scorings[1:]]
        ):
            file.write_bytes(bytes([number]))  # another model in the same file
            material = SrnMaterial(tiny.hr, tiny.maps, val=val, scoring=scoring).used(settings)
            found.append(_key(material, compact(), settings, 1, None))
        return found

    assert len(set(keys(**EVERY))) == 5
    assert len(set(keys())) == 1


# --- which images


@settings(max_examples=30)
@given(st.lists(st.text(min_size=1), unique=True, min_size=1), st.randoms())
def test_halves_are_disjoint_and_do_not_depend_on_the_order(ids: list[str], random: Any) -> None:
    used, held_out = halves(ids)
    assert not set(used) & set(held_out) and {*used, *held_out} == set(ids)
    assert 0 <= len(used) - len(held_out) <= 1
    mixed = random.sample(ids, len(ids))
    assert halves(mixed) == (used, held_out) and by_hash(mixed) == by_hash(ids)


def test_which_half_an_image_is_in_is_fixed() -> None:
    """The SHA-256 of d, c, b, e, a begin with 18, 2e, 3e, 3f, ca.

    By another rule a resumed run would choose by images that were held out.
    """
    assert halves(["a", "b", "c", "d", "e"]) == (["d", "b", "a"], ["c", "e"])


@pytest.mark.usefixtures("no_sheets")
def test_both_halves_are_scored(tiny: World, tmp_path: Path) -> None:
    metrics = run(tiny, tmp_path, tiny.val, **BEST, validation_half=True)["validation"]
    (used,), (held_out,) = halves(tiny.val.ids)
    assert metrics["images"] == metrics["held_out"]["images"] == 1
    only = EvaluateSettings(protocols=["usrdu"])
    evaluate(tiny.val, tmp_path / "out/srn.safetensors", only, tmp_path / "evaluated")
    rows = read_rows(tmp_path / "evaluated" / "images.csv")
    psnr = {row["image"]: float(row["psnr"]) for row in rows if row["method"] == "model"}
    assert metrics["scores"]["psnr"] == pytest.approx(psnr[used], abs=1e-2)
    assert metrics["held_out"]["scores"]["psnr"] == pytest.approx(psnr[held_out], abs=1e-2)
    assert "those of held_out are not" in metrics["meaning"]


def test_images_and_crops_are_bounded(tiny: World) -> None:
    settings = srn_settings(**EVERY, validation_images=1, validation_crop=48)
    validation = Validation(tiny.val, settings, ScoreSettings())
    (crop,) = validation.crops
    assert crop.id == by_hash(tiny.val.ids)[0] and crop.hr is not None
    (height, width) = tiny.val.size(crop.id)
    top, left = (height - 48) // 8 * 4, (width - 48) // 8 * 4
    whole = tiny.val.read(crop.id, "hr")
    assert np.array_equal(crop.hr, whole[:, top : top + 48, left : left + 48])
    small = tiny.val.read(crop.id, "lr")[:, top // 4 : top // 4 + 12, left // 4 : left // 4 + 12]
    assert np.array_equal(crop.lr, small)


@pytest.mark.usefixtures("no_sheets")
def test_images_without_hr_are_scored_by_niqe(tiny: World, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    features, _ = block_features(picture(rng, 480, 480))
    save_model(tmp_path / "niqe.safetensors", *moments(features), {})
    with StoreWriter(tmp_path / "v.zarr", "lr", 4, ["x"]) as writer:
        writer.add("x", {"image": picture(rng, 48, 52)})
    val = Store(tmp_path / "v.zarr", "lr")
    scoring = ScoreSettings(niqe_model=str(tmp_path / "niqe.safetensors"))
    material = SrnMaterial(tiny.hr, tiny.maps, val=val, scoring=scoring)
    settings = srn_settings(**BEST, best_by="niqe", validation_crop=192)
    places = Places(tmp_path / "out", tmp_path / "work")
    metrics: Any = train_srn(material, "mine", compact(), settings, MACHINE, places)
    rows = read_rows(tmp_path / "out" / "curves.csv")
    assert list(rows[0])[-1] == "niqe" and "psnr" not in rows[0]
    network = open_model(tmp_path / "out" / "srn.safetensors")
    with torch.no_grad():
        sr = to_uint8(network(to_float(val.read("x", "image")[:, :, 2:50])[None])[0])
    expected = niqe(sr, load_model(tmp_path / "niqe.safetensors"))
    assert metrics["validation"]["scores"]["niqe"] == pytest.approx(expected, rel=1e-2)
    assert metrics["validation"]["scores"]["niqe"] <= min(float(r["niqe"]) for r in rows) * 1.0001


# --- when there is nothing to score


def empty(folder: Path) -> Store:
    with StoreWriter(folder / "none.zarr", "val", 4, []):
        pass
    return Store(folder / "none.zarr", "val")


def test_without_images_one_line_says_so(
    tiny: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    assert open_validation(tiny.val, srn_settings(), ScoreSettings()) is None
    assert caplog.messages == []
    settings = srn_settings(**EVERY)
    for val, reason in (
        (None, "no validation images were named"),
        (empty(tmp_path), "none.zarr has none"),
        (tiny.lr, "lr.zarr has no HR images and evaluate.niqe_model is none"),
    ):
        caplog.clear()
        assert open_validation(val, settings, ScoreSettings()) is None
        (line,) = caplog.messages
        assert line.startswith("no validation during the training: ") and line.endswith(reason)
        with pytest.raises(UserError, match="keep is best, but there is nothing to score: "):
            open_validation(val, srn_settings(**BEST), ScoreSettings())


def test_what_cannot_be_scored_is_refused_at_the_start(tiny: World, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep is best, which needs scores: validate_every is 0"):
        srn_settings(keep="best")
    for best_by in ("lpips", "niqe"):
        with pytest.raises(UserError, match=f"best_by is {best_by}, which is not computed for .*"):
            Validation(tiny.val, srn_settings(**BEST, best_by=best_by), ScoreSettings())
    with StoreWriter(tmp_path / "v.zarr", "val", 4, ["x"]) as writer:
        hr = picture(np.random.default_rng(0), 20, 64)
        writer.add("x", {"hr": hr, "lr": hr[:, ::4, ::4]})
    val = Store(tmp_path / "v.zarr", "val")
    with pytest.raises(UserError, match="at most 256 pixels a side, .* 'x' is 20x64; scores need"):
        Validation(val, srn_settings(**EVERY), ScoreSettings())
    with StoreWriter(tmp_path / "w.zarr", "val", 4, ["x"]) as writer:
        hr = picture(np.random.default_rng(0), 64, 64)
        writer.add("x", {"hr": hr, "lr": hr[:, ::4, ::4]})
    with pytest.raises(UserError, match="validation_half is true, but .* has one image"):
        Validation(
            Store(tmp_path / "w.zarr", "val"),
            srn_settings(**EVERY, validation_half=True),
            ScoreSettings(),
        )
