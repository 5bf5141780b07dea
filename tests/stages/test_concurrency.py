"""Several processes and threads at one store or one training: defined, and no hang."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MACHINE, World, compact, srn_settings
from doubles import write_dsn
from torch.utils.data import DataLoader, Dataset

from pipeline.base.errors import UserError
from pipeline.base.files import claim, replace_folder
from pipeline.export.export import ExportSettings, export
from pipeline.runs.description import Places
from pipeline.stores.reader import Store
from pipeline.train_srn.train import SrnMaterial, train_srn
from pipeline.writing.partial import partial_path
from pipeline.writing.writer import StoreWriter


def image(level: int) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    return {"image": np.full((3, 8, 8), level, np.uint8)}


def test_a_folder_has_one_owner_at_a_time(tmp_path: Path) -> None:
    first = claim(tmp_path / "work", tmp_path / "result")
    with pytest.raises(UserError) as caught:
        claim(tmp_path / "work", tmp_path / "result")
    assert str(caught.value).startswith(f"{tmp_path / 'result'}: another process is at work on it")
    first.release()
    claim(tmp_path / "work", tmp_path / "result").release()


def test_two_writers_of_one_store(tmp_path: Path) -> None:
    """The second is refused, and the first ends as if it had been alone."""
    path = tmp_path / "a.zarr"
    with StoreWriter(path, "hr", 4, ["a", "b"], resumable=True) as writer:
        writer.add("a", image(1))
        with pytest.raises(UserError, match=r"a\.zarr: another process is at work on it"):
            StoreWriter(path, "hr", 4, ["a", "b"], resumable=True)
        with pytest.raises(UserError, match=r"a\.zarr: another process is at work on it"):
            StoreWriter(path, "lr", 2, ["c"])
        writer.add("b", image(2))
    store = Store(path, "hr")
    assert [int(store.read(name, "image").max()) for name in store.ids] == [1, 2]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]
    assert sorted(entry.name for entry in path.iterdir()) == ["channel", "images", "zarr.json"]


def test_a_second_export_is_refused(tiny: World, tmp_path: Path) -> None:
    settings = ExportSettings(tile=16, batch=1, mean_keep_bits=10, theta_keep_bits=7)
    target = tmp_path / "maps.zarr"
    weights = write_dsn(tmp_path / "dsn.safetensors")
    lock = claim(partial_path(target), target)
    with pytest.raises(UserError, match=r"maps\.zarr: another process is at work on it"):
        export(tiny.hr, weights, settings, target)
    lock.release()
    assert export(tiny.hr, weights, settings, target)["images"] == 3


def train(hr: Path, maps: Path, seed: int, folder: Path) -> dict[str, object]:
    """A training in whatever process this is."""
    material, settings = SrnMaterial(Store(hr, "hr"), Store(maps, "maps")), srn_settings(seed=seed)
    places = Places(folder / f"out{seed}", folder / "work")
    metrics = train_srn(material, "mine", compact(), settings, MACHINE, places)
    assert metrics is not None
    return metrics


@pytest.mark.slow
def test_two_trainings_on_one_store_do_not_disturb_each_other(tiny: World, tmp_path: Path) -> None:
    hr, maps = Path(tiny.hr.path), Path(tiny.maps.path)
    with ProcessPoolExecutor(2, get_context("spawn")) as both:
        begun = [both.submit(train, hr, maps, seed, tmp_path) for seed in (5, 9)]
        rows = [one.result(timeout=300) for one in begun]
    alone = train(hr, maps, 5, tmp_path / "alone")
    assert rows[0] == pytest.approx(alone, rel=1e-5) and rows[1] != pytest.approx(alone, rel=1e-2)
    assert all(path.suffix == ".finished" for path in (tmp_path / "work").iterdir())


def test_a_store_that_is_replaced_while_it_is_read(tmp_path: Path) -> None:
    """An audit during an export: what was opened before is missing or other, never mixed."""
    for name, level in (("old", 1), ("new", 2)):
        with StoreWriter(tmp_path / f"{name}.zarr", "hr", 4, ["a", "b"]) as writer:
            writer.add("a", image(level))
            writer.add("b", image(level))
    reading = Store(tmp_path / "old.zarr", "hr")
    assert reading.read("a", "image").max() == 1
    replace_folder(tmp_path / "new.zarr", tmp_path / "old.zarr")
    with pytest.raises(UserError, match="image 'b', array 'image', chunk 0/0/0 is damaged"):
        reading.read("b", "image")
    assert Store(tmp_path / "old.zarr", "hr").read("b", "image").max() == 2


class Images(Dataset[torch.Tensor]):
    """The images of a store, as a DataLoader wants them."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store.ids)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.store.read(self.store.ids[index], "image"))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_after_the_parent_read_the_store(tiny: World, method: str) -> None:
    expected = [tiny.hr.read(image_id, "image") for image_id in tiny.hr.ids]
    loader = DataLoader(
        Images(tiny.hr), None, num_workers=2, multiprocessing_context=method, timeout=100
    )
    for found, image in zip(loader, expected, strict=True):
        assert np.array_equal(found.numpy(), image)


def test_threads_after_the_parent_read_the_store(tiny: World) -> None:
    expected = [tiny.hr.read(image_id, "image") for image_id in tiny.hr.ids] * 8
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda image_id: tiny.hr.read(image_id, "image"), tiny.hr.ids * 8)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)
