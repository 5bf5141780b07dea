"""The data set: every crop once, fresh noise of the right law, in any number of workers."""

import copy
import pickle
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import World
from crop_threads import crop_threads
from laws import STANDARD_ERRORS, UNLIKELY
from scipy.stats import kstest
from torch import Tensor
from torch.utils.data import DataLoader

from pipeline import Demand, Draw, SampleDataset, UserError
from pipeline.crops.memory import Memory
from pipeline.library import dataset as module
from pipeline.library.dataset import MOST_WORKERS
from pipeline.stores.reader import Store
from pipeline.train_srn.streams import Pair
from pipeline.writing.writer import StoreWriter

SCALE, PATCH, CROPS = 4, 8, 7
THETAS = [0.01, 0.02, 0.04]
"""Of three images, each the same everywhere and in float16 as good as these; the mean is 0.5."""
DEMAND = Demand(batch_size=5, crops_per_image=CROPS, seed=1)
Items = dict[str, Tensor]


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """HR images whose level is their number, and maps of flat images."""
    folder = tmp_path_factory.mktemp("flat")
    ids, side = ["a", "b", "c"], 12
    with StoreWriter(folder / "hr.zarr", "hr", SCALE, ids) as writer:
        for number, name in enumerate(ids):
            large = np.full((3, side * SCALE, side * SCALE), number, np.uint8)
            writer.add(name, {"image": large})
    described = {"hr_digest": Store(folder / "hr.zarr", "hr").digest}
    with StoreWriter(folder / "maps.zarr", "maps", SCALE, ids, described) as writer:
        for name, theta in zip(ids, THETAS, strict=True):
            mean = np.full((3, side, side), 0.5, np.float16)
            writer.add(name, {"mean": mean, "theta": np.full_like(mean, theta)})
    return folder / "hr.zarr", folder / "maps.zarr"


@pytest.fixture(scope="module")
def loaded(
    flat: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Items]]:
    """Three passes through a DataLoader without workers, with one, with two; forked, spawned.

    The one reads URLs, which fsspec reads with a thread of its own.

    In a process of its own, so that one that hangs is an error after some minutes.
    """
    found = {}
    script = Path(__file__).parent / "loads.py"
    for how in ("0 none", "1 fork", "2 fork", "2 spawn"):
        workers, context = how.split()
        folder = tmp_path_factory.mktemp("loads")
        stores = [f"file://{path}" if workers == "1" else str(path) for path in flat]
        words = [sys.executable, str(script), *stores, workers, context, "3"]
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, check=False, timeout=400
        )
        assert done.returncode == 0, done.stderr
        found[how] = torch.load(folder / "items.pt", weights_only=True)
    return found


def whole(data: SampleDataset) -> Items:
    """One pass in this process."""
    pairs = list(data)
    return {"lr": torch.stack([lr for lr, _ in pairs]), "hr": torch.stack([hr for _, hr in pairs])}


def images(items: Items) -> list[int]:
    """Number of the image of every item."""
    return [round(level) for level in (items["hr"][:, 0, 0, 0] * 255).tolist()]


def same(one: Items, other: Items) -> bool:
    return all(torch.equal(one[key], other[key]) for key in ("lr", "hr"))


def crops(items: Items) -> set[bytes]:
    return {crop.numpy().tobytes() for crop in items["lr"]}


def test_a_pass_gives_every_image_its_crops(loaded: dict[str, list[Items]]) -> None:
    for passes in loaded.values():
        for items in passes:
            assert items["lr"].shape == (3 * CROPS, 3, PATCH, PATCH)
            assert items["hr"].shape == (3 * CROPS, 3, PATCH * SCALE, PATCH * SCALE)
            assert items["lr"].dtype == items["hr"].dtype == torch.float32
            assert Counter(images(items)) == dict.fromkeys(range(3), CROPS)


def test_no_noise_comes_twice(loaded: dict[str, list[Items]]) -> None:
    """Neither in two workers nor in two passes."""
    for passes in loaded.values():
        assert len(set().union(*map(crops, passes))) == 3 * 3 * CROPS


def test_numbers_depend_on_the_seed_and_the_workers_alone(
    flat: tuple[Path, Path], loaded: dict[str, list[Items]]
) -> None:
    assert all(map(same, loaded["2 fork"], loaded["2 spawn"]))
    assert all(map(same, loaded["0 none"], loaded["1 fork"]))
    here = SampleDataset(*flat, PATCH, demand=DEMAND)
    for items in loaded["0 none"]:
        assert same(whole(here), items)
    other = SampleDataset(*flat, PATCH, demand=replace(DEMAND, seed=2))
    assert not crops(whole(other)) & crops(loaded["0 none"][0])


@pytest.mark.parametrize("how", ["0 none", "2 fork", "2 spawn"])
def test_the_noise_has_the_law_of_the_maps(loaded: dict[str, list[Items]], how: str) -> None:
    """E|y - mean| = theta, E(y - mean)^2 = 2 theta^2, and the whole distribution."""
    for number, theta in enumerate(np.array(THETAS, np.float16).astype(float)):
        of_image = [items["lr"][torch.tensor(images(items)) == number] for items in loaded[how]]
        noise = (torch.cat(of_image).double() - 0.5).flatten().numpy() / theta
        assert noise.size == 3 * CROPS * 3 * PATCH**2
        error = STANDARD_ERRORS / np.sqrt(noise.size)
        assert np.abs(noise).mean() == pytest.approx(1, abs=error)  # Var |x| = 1
        assert noise.mean() == pytest.approx(0, abs=error * np.sqrt(2))
        assert (noise**2).mean() == pytest.approx(2, abs=error * np.sqrt(20))  # 4! - 2^2
        assert kstest(noise, "laplace").pvalue > UNLIKELY


def test_an_epoch_is_set(flat: tuple[Path, Path], loaded: dict[str, list[Items]]) -> None:
    """A training that is resumed sees what it would have seen."""
    data = SampleDataset(*flat, PATCH, demand=DEMAND)
    data.set_epoch(2)
    assert same(whole(data), loaded["0 none"][2])
    data.set_epoch(0)
    assert same(whole(data), loaded["0 none"][0])
    with pytest.raises(ValueError, match="epoch must not be negative, got -1"):
        data.set_epoch(-1)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda data: pickle.loads(pickle.dumps(data))]
)
def test_a_copy_goes_on_by_itself(
    flat: tuple[Path, Path], loaded: dict[str, list[Items]], duplicate: object
) -> None:
    assert callable(duplicate)
    data = SampleDataset(*flat, PATCH, demand=DEMAND)
    whole(data)
    made = duplicate(data)
    assert made._epochs.is_shared()
    assert same(whole(made), loaded["0 none"][1]) and same(whole(data), loaded["0 none"][1])


def test_processes_that_train_together_share_a_pass(flat: tuple[Path, Path]) -> None:
    """The crops of two processes are those of one with batches twice as large."""
    parts = [
        whole(SampleDataset(*flat, PATCH, demand=replace(DEMAND, shares=2, own=(number,))))
        for number in range(2)
    ]
    assert sum((Counter(images(part)) for part in parts), Counter[int]()) == dict.fromkeys(
        range(3), CROPS
    )
    assert not crops(parts[0]) & crops(parts[1])


def test_a_worker_of_a_process_has_a_part_of_its_shares() -> None:
    memory = Memory(0, 3000)
    wanted = replace(DEMAND, shares=4, own=(2, 3), memory=memory)
    parts = [module._part(wanted, module._Worker(number, 3)) for number in range(3)]
    assert [part.own for part in parts] == [(6, 9), (7, 10), (8, 11)]
    assert {part.shares for part in parts} == {12}
    assert {part.memory for part in parts} == {Memory(0, 1000)}
    free = replace(wanted, memory=None)
    quarter = module._part(free, module._Worker(0, 4)).memory
    assert quarter is not None and 0 < quarter.host < free.room.host / 2


def test_threads_end_with_a_pass_that_was_not_finished(flat: tuple[Path, Path]) -> None:
    data = SampleDataset(*flat, PATCH, demand=DEMAND)
    before = crop_threads()
    begun = iter(data)
    assert isinstance(next(begun), Pair) and crop_threads() - before
    begun.close()  # type: ignore[attr-defined]
    assert not crop_threads() - before
    assert len(list(islice(data, 3))) == 3
    assert not crop_threads() - before


def test_a_worker_does_not_draw_on_a_gpu() -> None:
    wanted = replace(DEMAND, device=torch.device("cuda"))
    with pytest.raises(UserError, match="cannot draw on cuda; let Demand name the CPU, or set num"):
        module._part(wanted, module._Worker(0, 1))


def test_what_is_wrong_is_said_before_a_worker_starts(tiny: World, flat: tuple[Path, Path]) -> None:
    before = crop_threads()
    with pytest.raises(UserError, match="was exported from HR images with the digest"):
        SampleDataset(tiny.hr.path, flat[1], PATCH)
    with pytest.raises(UserError, match="smaller than a crop of 13x13; lower patch"):
        SampleDataset(*flat, 13)
    with pytest.raises(UserError, match="no calibration was given"):
        SampleDataset(*flat, PATCH, Draw("calibrated"))
    with pytest.raises(ValueError, match="patch must be at least 1"):
        SampleDataset(*flat, 0)
    assert not crop_threads() - before


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12 and later
@pytest.mark.parametrize("workers", [0, 1])
def test_a_store_that_goes_away_is_named(
    flat: tuple[Path, Path], tmp_path: Path, workers: int
) -> None:
    """The error of a worker is raised where the batch would be given."""
    hr, maps = (Path(shutil.copytree(path, tmp_path / path.name)) for path in flat)
    data = SampleDataset(hr, maps, PATCH, demand=DEMAND)
    shutil.rmtree(hr)
    with pytest.raises(UserError, match=r"hr\.zarr: there is no such store"):
        list(DataLoader(data, num_workers=workers))


def test_there_is_room_for_more_workers_than_anybody_has() -> None:
    assert MOST_WORKERS >= 1024


def test_passes_with_other_numbers_of_workers_are_whole(flat: tuple[Path, Path]) -> None:
    """The workers of a pass agree on its number, whatever passes there were before."""
    data = SampleDataset(*flat, patch=8, demand=Demand(batch_size=2, crops_per_image=4))
    counts = []
    for workers in (1, 1, 2, 3, 2, 1):
        items = 0
        for number in range(workers):
            worker = module._Worker(number, workers)
            demand = module._part(data.demand, worker)
            items += len(list(data._pass(data._next(worker), demand)))
        counts.append(items)
    assert len(set(counts)) == 1 and counts[0] > 0
