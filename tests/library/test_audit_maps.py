"""The audit by paths: the same as the audit of the opened stores."""

import json
from pathlib import Path

import pytest
from finished_demo import HR_SIZES, write_demo

from pipeline import UserError, audit_maps
from pipeline.audit.audit import audit
from pipeline.audit.graph import AuditInputs
from pipeline.audit.histograms import AuditSettings
from pipeline.noise import statistics
from pipeline.noise.classifier import Accuracy
from pipeline.stores.reader import Store


def test_it_is_the_audit_of_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Accuracy(0.75, 0.6, 0.9, 10)  # it is trained, and has tests of its own
    monkeypatch.setattr(statistics, "classifier_accuracy", lambda *_: quick)
    write_demo(tmp_path)
    maps, hr, lr = (
        tmp_path / name for name in ("export/maps.zarr", "prepare/hr.zarr", "prepare/lr.zarr")
    )
    path, settings = tmp_path / "calibrate/calibration.json", AuditSettings(worst_images=1)
    found = audit_maps(str(maps), str(hr), lr, str(tmp_path / "one"), str(path), settings)
    inputs = AuditInputs(Store(maps, "maps"), Store(hr, "hr"), Store(lr, "lr"), path)
    assert found == audit(inputs, settings, tmp_path / "other")
    assert found["images"] == len(HR_SIZES)
    assert sorted(found["scores"]) == ["calibrated", "camera", "mean", "raw"]
    summaries = [
        json.loads((tmp_path / folder / "summary.json").read_text(encoding="utf-8"))
        for folder in ("one", "other")
    ]
    assert summaries[0] == summaries[1]
    without = audit_maps(maps, hr, lr, tmp_path / "two")
    assert sorted(without["scores"]) == ["camera", "mean", "raw"]
    with pytest.raises(UserError, match="has the kind lr, expected maps"):
        audit_maps(lr, hr, lr, tmp_path / "three")
    with pytest.raises(UserError, match=r"prepare: holds other files"):
        audit_maps(maps, hr, lr, tmp_path / "prepare")
