"""What was finished once is taken again, and only where it would come out the same."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import MACHINE, World, compact, dsn_settings, names, srn_settings
from small_stores import bytes_of

from pipeline.export.export import ExportSettings, export
from pipeline.runs.description import Places
from pipeline.stores import kept as module
from pipeline.stores.kept import NOTE, KeptResults
from pipeline.stores.reader import Store
from pipeline.train_dsn.train import DsnMaterial, DsnTrainer, train_dsn
from pipeline.train_srn.train import SrnMaterial, SrnTrainer, train_srn

MODULE = "pipeline.export.export"
METRICS = {"psnr": 0.1 + 0.2, "niqe": None, "words": "ä"}


def again(kept: KeptResults, name: str) -> dict[str, Any] | None:
    """What a stage does first."""
    metrics = kept.metrics()
    if metrics is not None:
        kept.restore(name)
    return metrics


@pytest.fixture
def done(tiny: World, tmp_path: Path) -> KeptResults:
    """A work whose results are a file and a store."""
    out = tmp_path / "out"
    shutil.copytree(tiny.maps.path, out / "maps.zarr")
    (out / "weights").write_bytes(b"some weights")
    found = KeptResults(tmp_path / "work", "0123", [out / "weights", out / "maps.zarr"], MODULE)
    assert again(found, "test") is None
    found.keep(METRICS)
    return found


def kept_chunk(done: KeptResults) -> Path:
    return next(path for path in (done.folder / "maps.zarr").rglob("c/0/0/0"))


def test_deleted_results_come_back(
    done: KeptResults, tiny: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    shutil.rmtree(tmp_path / "out")
    assert again(done, "export") == METRICS
    assert names(tmp_path / "out") == ["maps.zarr", "weights"]
    assert (tmp_path / "out" / "weights").read_bytes() == b"some weights"
    store = Store(tmp_path / "out" / "maps.zarr", "maps")
    assert store.digest == tiny.maps.digest
    for image_id in store.ids:
        assert (store.read(image_id, "theta") == tiny.maps.read(image_id, "theta")).all()
    (said,) = caplog.messages
    assert said.startswith("export: was finished before with these settings, inputs and code")
    assert str(done.folder) in said


def test_other_results_of_the_same_places_are_replaced(
    done: KeptResults, tiny: World, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "weights").write_bytes(b"others")
    shutil.rmtree(out / "maps.zarr")
    shutil.copytree(tiny.hr.path, out / "maps.zarr")
    assert again(done, "test") == METRICS
    assert (out / "weights").read_bytes() == b"some weights"
    assert Store(out / "maps.zarr", "maps").digest == tiny.maps.digest
    assert names(out) == ["maps.zarr", "weights"]


def test_a_store_takes_no_room(done: KeptResults, tmp_path: Path) -> None:
    for path in (tmp_path / "out" / "maps.zarr").rglob("*"):
        kept = done.folder / path.relative_to(tmp_path / "out")
        assert path.is_dir() or path.samefile(kept)
    assert not (tmp_path / "out" / "weights").samefile(done.folder / "weights")


def test_asking_for_the_metrics_writes_nothing(done: KeptResults, tmp_path: Path) -> None:
    """As the other processes of a training do."""
    shutil.rmtree(tmp_path / "out")
    assert done.metrics() == METRICS
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("harm", ["weights", "chunk", "root", "metrics", "note", "no weights"])
def test_damage_means_that_nothing_was_finished(done: KeptResults, harm: str) -> None:
    note = done.folder / NOTE
    match harm:
        case "weights":
            (done.folder / "weights").write_bytes(b"same weights")
        case "chunk":
            data = bytearray(kept_chunk(done).read_bytes())
            data[len(data) // 2] ^= 1
            kept_chunk(done).write_bytes(data)
        case "root":
            (done.folder / "maps.zarr" / "zarr.json").write_text("{}")
        case "metrics":
            note.write_text(note.read_text().replace("0.3000", "0.4000"))
        case "note":
            note.write_text("[]")
        case "no weights":
            (done.folder / "weights").unlink()
    assert again(done, "test") is None


def test_other_code_means_that_nothing_was_finished(
    done: KeptResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "code_hash", lambda _: "other")
    other = KeptResults(done.work, "0123", done.results, MODULE)
    assert again(other, "test") is None


def test_only_the_latest_of_the_same_places_is_kept(done: KeptResults, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("")
    KeptResults(done.work, "4567", [elsewhere], MODULE).keep({})
    KeptResults(done.work, "89ab", done.results, MODULE).keep({})
    assert names(done.work) == ["4567.finished", "89ab.finished"]
    assert again(done, "test") is None


def test_nothing_is_kept_where_links_are_impossible(
    done: KeptResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impossible(_: Path, __: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", impossible)
    other = KeptResults(done.work, "4567", done.results, MODULE)
    other.keep({})
    assert again(other, "test") is None
    assert names(done.work) == ["0123.finished"]


# --- the stages that use it: killed after they had ended, for instance while DVC hashed


def no_step(*_: object) -> None:
    raise AssertionError("this was finished")


def test_a_finished_dsn_is_not_trained_again(
    tiny: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def run(**changes: object) -> dict[str, object] | None:
        settings = dsn_settings(epochs=1, **changes)
        places = Places(out, tmp_path / "work")
        return train_dsn(DsnMaterial(tiny.hr, tiny.lr), settings, MACHINE, places)

    metrics = run()
    expected = bytes_of(out)
    shutil.rmtree(out)
    monkeypatch.setattr(DsnTrainer, "step", no_step)
    assert run() == metrics
    assert bytes_of(out) == expected
    with pytest.raises(AssertionError, match="this was finished"):
        run(seed=4)


def run_srn(tiny: World, folder: Path, **changes: object) -> dict[str, Any]:
    metrics = train_srn(
        SrnMaterial(tiny.hr, tiny.maps), "mine", compact(), srn_settings(epochs=1, **changes),
        MACHINE, Places(folder / "out", folder / "work"),
    )  # fmt: skip
    assert metrics is not None
    return metrics


def test_a_finished_srn_is_not_trained_again(
    tiny: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = run_srn(tiny, tmp_path)
    expected = bytes_of(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    monkeypatch.setattr(SrnTrainer, "step", no_step)
    assert run_srn(tiny, tmp_path) == metrics
    assert bytes_of(tmp_path / "out") == expected
    with pytest.raises(AssertionError, match="this was finished"):
        run_srn(tiny, tmp_path, learning_rate=0.002)


def test_a_training_that_ends_keeps_its_checkpoint_until_the_results_are_kept(
    tiny: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: KeptResults, __: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(KeptResults, "keep", killed)
        with pytest.raises(KeyboardInterrupt):
            run_srn(tiny, tmp_path)
    monkeypatch.setattr(SrnTrainer, "step", no_step)
    assert run_srn(tiny, tmp_path)["content"] > 0


def test_a_finished_export_is_not_made_again(
    tiny: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "dsn.safetensors"
    material, places = DsnMaterial(tiny.hr, tiny.lr), Places(tmp_path, tmp_path / "work")
    train_dsn(material, dsn_settings(epochs=1), MACHINE, places)
    target = tmp_path / "out" / "maps.zarr"

    def run(tile: int = 16) -> dict[str, float]:
        settings = ExportSettings(tile=tile, batch=1, mean_keep_bits=10, theta_keep_bits=7)
        return export(tiny.hr, weights, settings, target, work=tmp_path / "work")

    metrics = run()
    expected = bytes_of(target)
    shutil.rmtree(target)
    monkeypatch.setattr("pipeline.export.export._export_images", no_step)
    assert run() == metrics
    assert bytes_of(target) == expected
    with pytest.raises(AssertionError, match="this was finished"):
        run(tile=32)
