"""Stores and streams opened by their paths."""

from pathlib import Path

import pytest
import torch
from conftest import World, calibration
from crop_threads import crop_threads

from pipeline import Demand, Draw, UserError, make_sampler, open_store, sample_stream
from pipeline.sampling.sampler import Theta
from pipeline.train_srn.streams import SampleStream
from pipeline.writing.writer import StoreWriter


def test_a_store_of_any_kind_is_opened(tiny: World) -> None:
    for kind in ("hr", "lr", "val", "maps"):
        store = getattr(tiny, kind)
        for path in (store.path, str(store.path)):
            opened = open_store(path)
            assert (opened.kind, opened.digest) == (kind, store.digest)
            assert isinstance(opened.path, Path)
    assert open_store(f"file://{tiny.maps.path}").digest == tiny.maps.digest


def test_what_is_no_such_store_is_refused(tiny: World, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.zarr: there is no such store"):
        open_store(tmp_path / "none.zarr")
    with pytest.raises(UserError, match=r"maps\.zarr: has the kind maps, expected hr$"):
        open_store(tiny.maps.path, "hr")


@pytest.mark.parametrize("theta", ["raw", "calibrated", "constant", "none"])
def test_batches_are_those_of_the_stream_itself(tiny: World, tmp_path: Path, theta: Theta) -> None:
    draw = Draw(theta, 0.01 if theta == "constant" else None)
    measured = calibration(tiny.maps)
    path = tmp_path / "calibration.json"
    path.write_text(measured.model_dump_json(), encoding="utf-8")
    demand = Demand(batch_size=4, seed=3)
    sampler = make_sampler(draw, measured, tiny.maps)
    with (
        sample_stream(str(tiny.hr.path), tiny.maps.path, 16, draw, str(path), demand) as found,
        SampleStream(tiny.hr, tiny.maps, 16, sampler, demand) as expected,
    ):
        for step in (0, 1, 5):
            for one, other in zip(found.batch(step), expected.batch(step), strict=True):
                assert one.shape[0] == 4 and torch.equal(one, other)


def test_threads_end_with_the_block(tiny: World) -> None:
    before = crop_threads()
    with sample_stream(tiny.hr.path, tiny.maps.path, patch=16) as stream:
        lr, hr = stream.batch(0)
        assert lr.shape == (16, 3, 16, 16) and hr.shape == (16, 3, 64, 64)
        assert crop_threads() - before
    assert not crop_threads() - before


def test_what_does_not_belong_together_is_refused(
    tiny: World, tiny2: World, tmp_path: Path
) -> None:
    hr, maps = tiny.hr.path, tiny.maps.path
    with pytest.raises(UserError, match="has the scale 2, but .* has 4"):
        sample_stream(tiny2.hr.path, maps, 16)
    with pytest.raises(UserError, match=r"has the kind maps, expected hr$"):
        sample_stream(maps, hr, 16)
    with pytest.raises(UserError, match="smaller than a crop of 36x36; lower patch or leave"):
        sample_stream(hr, maps, 36)
    with pytest.raises(ValueError, match="patch must be at least 1 LR pixel, got 0"):
        sample_stream(hr, maps, 0)
    with pytest.raises(UserError, match="theta is calibrated, but no calibration was given"):
        sample_stream(hr, maps, 16, Draw("calibrated"))
    with pytest.raises(UserError, match=r"none\.json: cannot be read"):
        sample_stream(hr, maps, 16, Draw("calibrated"), tmp_path / "none.json")
    path = tmp_path / "calibration.json"
    path.write_text(calibration(tiny2.maps).model_dump_json(), encoding="utf-8")
    with pytest.raises(UserError, match="has the scale 2"):
        sample_stream(hr, maps, 16, Draw("calibrated"), path)


def test_maps_without_images_are_refused(tiny: World, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "maps.zarr", "maps", 4, [], {"hr_digest": tiny.hr.digest}):
        pass
    with pytest.raises(UserError, match=r"maps\.zarr: holds no images"):
        sample_stream(tiny.hr.path, tmp_path / "maps.zarr", 16)
