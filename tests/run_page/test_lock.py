"""Stages that are out of date, told from ``dvc.lock`` alone."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import UserError
from pipeline.run_page.lock import Stale, out_of_date

METRICS = '{"images": 3}'


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@pytest.fixture
def lock(tmp_path: Path) -> dict[str, Any]:
    """Two stages, the second of which reads what the first wrote; files and settings fit."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/metrics.json").write_text(METRICS, encoding="utf-8")
    settings = {"prepare": {"scale": 4, "least_side": 0}, "train_srn": {"epochs": 5}}
    (tmp_path / "params.yaml").write_text(json.dumps(settings), encoding="utf-8")
    stores = {"path": "data/hr.zarr", "md5": "abc.dir"}
    first = {
        "deps": [{"path": "pipeline/base", "md5": "code.dir"}],
        "params": {"params.yaml": {"prepare": {"scale": 4, "least_side": 0}}},
        "outs": [stores, {"path": "data/metrics.json", "md5": md5(METRICS)}],
    }
    second = {"deps": [dict(stores)], "params": {"params.yaml": {"train_srn.epochs": 5}}}
    return {"schema": "2.0", "stages": {"prepare": first, "train_srn@compact": second}}


def found(folder: Path, lock: object) -> list[Stale] | None:
    (folder / "dvc.lock").write_text(json.dumps(lock), encoding="utf-8")  # JSON is YAML
    return out_of_date(folder)


def test_nothing_is_out_of_date_after_a_run(tmp_path: Path, lock: dict[str, Any]) -> None:
    assert found(tmp_path, lock) == []


def test_without_a_lock_nothing_is_known(tmp_path: Path) -> None:
    assert out_of_date(tmp_path) is None


def test_a_changed_setting_is_named(tmp_path: Path, lock: dict[str, Any]) -> None:
    settings = {"prepare": {"scale": 4, "new": 1}, "train_srn": {"epochs": 6}}
    (tmp_path / "params.yaml").write_text(json.dumps(settings), encoding="utf-8")
    assert found(tmp_path, lock) == [
        Stale("prepare", ["prepare.least_side, prepare.new in params.yaml changed"]),
        Stale("train_srn@compact", ["train_srn.epochs in params.yaml changed"]),
    ]


def test_a_file_that_was_edited_is_named(tmp_path: Path, lock: dict[str, Any]) -> None:
    (tmp_path / "data/metrics.json").write_text(METRICS + " ", encoding="utf-8")
    assert found(tmp_path, lock) == [
        Stale("prepare", ["data/metrics.json is not as it was written"])
    ]


def test_a_stage_that_did_not_follow_is_named(tmp_path: Path, lock: dict[str, Any]) -> None:
    lock["stages"]["prepare"]["outs"][0]["md5"] = "new.dir"
    assert found(tmp_path, lock) == [Stale("train_srn@compact", ["data/hr.zarr is newer"])]


def test_params_that_are_gone_are_changes(tmp_path: Path, lock: dict[str, Any]) -> None:
    (tmp_path / "params.yaml").unlink()
    assert [stale.stage for stale in found(tmp_path, lock) or []] == list(lock["stages"])


@pytest.mark.parametrize("content", [{"stages": 3}, {"schema": "2.0"}, {"stages": {"a": []}}])
def test_another_file_is_refused(content: object, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dvc.lock: is not as DVC writes it"):
        found(tmp_path, content)
