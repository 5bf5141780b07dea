"""Export: what is in the store against the whole image at once, interruptions, and memory."""

import hashlib
import json
import os
import re
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import HR_SIZES, World, names, picture
from doubles import local_cluster, refuse, write_dsn
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.boxes import Box
from pipeline.base.errors import UserError
from pipeline.base.hashes import file_hash
from pipeline.dsn.file import load_dsn
from pipeline.export import export as module
from pipeline.export.degrader import Degrader
from pipeline.export.export import ExportSettings, export
from pipeline.images.io import to_float
from pipeline.stores import format
from pipeline.stores.reader import Store
from pipeline.stores.weights import save_weights
from pipeline.writing.partial import PartialStore
from pipeline.writing.writer import StoreWriter
from stages.export import command

CHUNK, TILE = 16, 7
"""Neither divides the sizes of the maps, nor the tile the chunk."""

SUMMARY = {"images", "lr_pixels", "theta_mean", "theta_min", "theta_max"}


def settings(**changes: int) -> ExportSettings:
    plain = {"tile": TILE, "batch": 1, "mean_keep_bits": 10, "theta_keep_bits": 7}
    return ExportSettings.model_validate({**plain, **changes})


@pytest.fixture(scope="module")
def dsn_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dsn(tmp_path_factory.mktemp("dsn") / "dsn.safetensors")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(format.CHUNK, "maps", CHUNK)


def exported(hr: Store, weights: Path, target: Path, **changes: int) -> Store:
    export(hr, weights, settings(**changes), target)
    return Store(target, "maps")


def whole(weights: Path, hr: Store, image_id: str) -> dict[str, NDArray[np.float32]]:
    """Mean and theta of an image in one piece, not rounded."""
    image = to_float(hr.read(image_id, "image"))
    return {name: found.numpy() for name, found in Degrader.load(weights).whole(image).items()}


def content(store: Store) -> dict[tuple[str, str], bytes]:
    return {
        (i, name): store.read(i, name).tobytes() for i in store.ids for name in ("mean", "theta")
    }


# --- values


@pytest.mark.parametrize(("mean_bits", "theta_bits"), [(10, 7), (4, 10)])
@pytest.mark.parametrize("tile", [TILE, 64])
def test_the_store_holds_the_whole_image_rounded(
    mean_bits: int, theta_bits: int, tile: int, tiny: World, dsn_file: Path, tmp_path: Path
) -> None:
    bits = {"mean": mean_bits, "theta": theta_bits}
    maps = exported(
        tiny.hr,
        dsn_file,
        tmp_path / "maps.zarr",
        tile=tile,
        mean_keep_bits=mean_bits,
        theta_keep_bits=theta_bits,
    )
    assert maps.ids == list(HR_SIZES)
    for image_id, (height, width) in HR_SIZES.items():
        for name, values in whole(dsn_file, tiny.hr, image_id).items():
            stored = maps.read(image_id, name)
            assert stored.dtype == np.float16 and stored.shape == (3, height // 4, width // 4)
            error = np.abs(stored.astype(np.float64) - values) / np.abs(values)
            bound = 2.0 ** -(bits[name] + 1)
            assert maps.attributes["relative_error"][name] == bound
            assert error.max() <= bound * 1.001  # and a bit of float32 from tiles
            assert error.max() > bound / 2  # so it is rounding to this many bits, not to more
    assert np.std(maps.read("castle", "theta").astype(float)) > 1e-4


def test_the_store_says_where_it_comes_from(tiny: World, dsn_file: Path, tmp_path: Path) -> None:
    maps = exported(tiny.hr, dsn_file, tmp_path / "maps.zarr")
    assert maps.scale == 4
    assert maps.attributes["hr_digest"] == tiny.hr.digest
    assert maps.attributes["dsn_hash"] == hashlib.sha256(dsn_file.read_bytes()).hexdigest()
    assert maps.attributes["dsn"] == load_dsn(dsn_file).description.model_dump()
    assert maps.attributes["export_settings"] == settings().model_dump()
    assert maps.attributes["dsn"]["reference"] == "bicubic"


def test_the_store_names_the_kernels_of_the_reference(tiny: World, tmp_path: Path) -> None:
    described = {"kernels": ["a.mat", "b.mat"], "sha256": "0" * 64}
    weights = write_dsn(tmp_path / "dsn.safetensors", reference=described)
    maps = exported(tiny.hr, weights, tmp_path / "maps.zarr")
    assert maps.attributes["dsn"]["reference"] == described


def test_scale_two(tiny2: World, tmp_path: Path) -> None:
    weights = write_dsn(tmp_path / "dsn.safetensors", scale=2)
    maps = exported(tiny2.hr, weights, tmp_path / "maps.zarr", tile=64)
    for name, values in whole(weights, tiny2.hr, "ships").items():
        assert values.shape == (3, 70, 70)
        assert maps.read("ships", name) == pytest.approx(values, rel=2**-8 * 1.001)


def test_theta_that_was_not_learned_is_the_prior(tiny: World, tmp_path: Path) -> None:
    weights = write_dsn(tmp_path / "dsn.safetensors", learn_theta=False, prior_scale_gray=8.5)
    metrics = export(tiny.hr, weights, settings(), tmp_path / "maps.zarr")
    thetas = {
        value
        for image_id in HR_SIZES
        for value in Store(tmp_path / "maps.zarr", "maps").read(image_id, "theta").flat
    }
    assert len(thetas) == 1
    assert float(thetas.pop()) == pytest.approx(8.5 / 255, rel=2**-8)
    assert metrics["theta_min"] == metrics["theta_max"] == pytest.approx(metrics["theta_mean"])


def test_metrics(tiny: World, dsn_file: Path, tmp_path: Path) -> None:
    metrics = export(tiny.hr, dsn_file, settings(), tmp_path / "maps.zarr")
    maps = Store(tmp_path / "maps.zarr", "maps")
    theta = np.concatenate([maps.read(i, "theta").astype(np.float64).ravel() for i in maps.ids])
    assert metrics.keys() == SUMMARY
    assert metrics["images"] == 3
    assert metrics["lr_pixels"] == 36 * 38 + 40 * 35 + 35 * 35
    assert metrics["theta_mean"] == pytest.approx(255 * theta.mean(), rel=1e-9)
    assert metrics["theta_min"] == 255 * theta.min() < metrics["theta_max"] == 255 * theta.max()


# --- interruptions


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the images that are computed, as they are begun."""
    begun: list[str] = []
    original = PartialStore.start

    def counted(self: PartialStore, image_id: str, *more: Any) -> object:
        begun.extend([image_id] if "mean" in more else [])
        return original(self, image_id, *more)

    monkeypatch.setattr(PartialStore, "start", counted)
    return begun


def interrupt(
    monkeypatch: pytest.MonkeyPatch, hr: Store, weights: Path, target: Path, **changes: int
) -> None:
    """Begin an export that is interrupted in the middle of the second image."""
    original = Degrader.tiled
    left = [9 + 4]  # the first image has 9 chunks

    def interrupted(self: Degrader, *more: Any, **named: Any) -> object:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return original(self, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Degrader, "tiled", interrupted)
        with pytest.raises(KeyboardInterrupt):
            export(hr, weights, settings(**changes), target)


def test_an_interrupted_export_goes_on(
    tiny: World,
    dsn_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    computed: list[str],
) -> None:
    straight = exported(tiny.hr, dsn_file, tmp_path / "straight.zarr")
    computed.clear()
    interrupt(monkeypatch, tiny.hr, dsn_file, tmp_path / "maps.zarr")
    assert computed == ["bridge", "castle"]
    assert names(tmp_path) == ["maps.zarr.partial", "straight.zarr"]
    resumed = exported(tiny.hr, dsn_file, tmp_path / "maps.zarr")
    assert computed == ["bridge", "castle", "castle", "ships"]
    assert names(tmp_path) == ["maps.zarr", "straight.zarr"]
    assert resumed.digest == straight.digest
    assert content(resumed) == content(straight)
    assert resumed.attributes == straight.attributes


def test_a_finished_export_is_made_anew(
    tiny: World, dsn_file: Path, tmp_path: Path, computed: list[str]
) -> None:
    first = exported(tiny.hr, dsn_file, tmp_path / "maps.zarr")
    second = exported(tiny.hr, dsn_file, tmp_path / "maps.zarr")
    assert computed == 2 * list(HR_SIZES) and first.digest == second.digest


@pytest.mark.parametrize("what", ["weights", "settings", "images"])
def test_a_changed_export_starts_afresh(
    what: str,
    tiny: World,
    dsn_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    computed: list[str],
) -> None:
    interrupt(monkeypatch, tiny.hr, dsn_file, tmp_path / "maps.zarr")
    computed.clear()
    hr, weights, changes = tiny.hr, dsn_file, {}
    if what == "weights":
        weights = write_dsn(tmp_path / "other.safetensors", seed=1)
    elif what == "settings":
        changes = {"mean_keep_bits": 5}
    else:
        with StoreWriter(tmp_path / "hr.zarr", "hr", 4, list(HR_SIZES)) as writer:
            for image_id, size in HR_SIZES.items():
                image = picture(np.random.default_rng(9), *size)
                writer.add(image_id, {"image": image})
        hr = Store(tmp_path / "hr.zarr", "hr")
    maps = exported(hr, weights, tmp_path / "maps.zarr", **changes)
    assert computed == list(HR_SIZES)
    straight = exported(hr, weights, tmp_path / "straight.zarr", **changes)
    assert content(maps) == content(straight) and maps.digest == straight.digest


# --- a cluster


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler with one worker of one thread, in this process."""
    with local_cluster(1) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """DSN files, as they are opened."""
    found: list[Path] = []
    original = Degrader.load

    def watched(path: Path) -> Degrader:
        found.append(path)
        return original(path)

    monkeypatch.setattr(Degrader, "load", watched)
    module._opened.cache_clear()
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_write_the_same_store(
    workers: int, tiny: World, dsn_file: Path, tmp_path: Path, opened: list[Path]
) -> None:
    metrics = export(tiny.hr, dsn_file, settings(), tmp_path / "straight.zarr")
    straight = Store(tmp_path / "straight.zarr", "maps")
    opened.clear()
    with local_cluster(workers) as cluster:
        address, target = cluster.scheduler_address, tmp_path / "maps.zarr"
        hr = tiny.hr if workers == 1 else Store(f"file://{tiny.hr.path}", "hr")
        assert export(hr, dsn_file, settings(), target, address) == metrics
    assert opened == [dsn_file]  # once for all images, in the process of the workers
    maps = Store(target, "maps")
    assert maps.digest == straight.digest and content(maps) == content(straight)
    assert maps.attributes == straight.attributes
    assert names(tmp_path) == ["maps.zarr", "straight.zarr"]


def test_workers_in_processes_of_their_own(
    tiny: World, dsn_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # other processes have chunks of the usual size
    monkeypatch.chdir(tmp_path.parent)  # so the workers must be told whole paths
    with local_cluster(2, processes=True) as cluster:
        monkeypatch.chdir(tmp_path)
        hr = Store(Path(os.path.relpath(tiny.hr.path)), "hr")
        metrics = export(hr, dsn_file, settings(), Path("maps.zarr"), cluster.scheduler_address)
    assert export(tiny.hr, dsn_file, settings(), Path("straight.zarr")) == metrics
    maps, straight = Store(Path("maps.zarr"), "maps"), Store(Path("straight.zarr"), "maps")
    assert maps.digest == straight.digest and content(maps) == content(straight)


@pytest.mark.parametrize("first", ["here", "workers"])
def test_an_export_goes_on_in_the_other_way(
    first: str,
    tiny: World,
    dsn_file: Path,
    tmp_path: Path,
    scheduler: str,
    monkeypatch: pytest.MonkeyPatch,
    computed: list[str],
) -> None:
    straight = exported(tiny.hr, dsn_file, tmp_path / "straight.zarr")
    target = tmp_path / "maps.zarr"
    if first == "here":
        interrupt(monkeypatch, tiny.hr, dsn_file, target)
        computed.clear()
        export(tiny.hr, dsn_file, settings(), target, scheduler)
        assert computed == ["castle", "ships"]
    else:
        with pytest.raises(UserError, match="image 'ships', array 'image', chunk 0/0/0 is"):
            export(damaged(tiny, tmp_path, "ships"), dsn_file, settings(), target, scheduler)
        computed.clear()
        exported(tiny.hr, dsn_file, target)
        assert computed == ["ships"]
    assert Store(target, "maps").digest == straight.digest


def damaged(world: World, folder: Path, image_id: str) -> Store:
    """A copy of the HR images in which one is damaged."""
    shutil.copytree(world.hr.path, folder / "damaged.zarr")
    (folder / "damaged.zarr" / "images" / image_id / "image" / "c" / "0" / "0" / "0").unlink()
    return Store(folder / "damaged.zarr", "hr")


def test_what_was_done_before_a_worker_failed_stays(
    tiny: World, dsn_file: Path, tmp_path: Path, scheduler: str, computed: list[str]
) -> None:
    target = tmp_path / "maps.zarr"
    with pytest.raises(UserError) as caught:
        export(damaged(tiny, tmp_path, "ships"), dsn_file, settings(), target, scheduler)
    assert re.fullmatch(
        rf"worker inproc://\S+: {tmp_path}/damaged\.zarr: image 'ships', .* it is missing",
        str(caught.value),
    )
    assert names(tmp_path) == ["damaged.zarr", "maps.zarr.partial"]
    computed.clear()
    export(tiny.hr, dsn_file, settings(), target, scheduler)
    assert computed == ["ships"]


def test_a_worker_that_sees_other_files_says_so(
    tiny: World, dsn_file: Path, tmp_path: Path
) -> None:
    inputs = module.ExportInputs(tiny.hr.path, tiny.hr.digest, dsn_file, "0" * 64)
    for changed, words in (
        (inputs, f"{dsn_file}: has other content here than where the export"),
        (inputs._replace(hr_digest=""), f"{tiny.hr.path}: has other content here"),
        (inputs._replace(hr=tmp_path / "hr.zarr"), "hr.zarr: there is no such store"),
        (inputs._replace(dsn_hash=file_hash(dsn_file)), "maps.zarr.partial: there is no store"),
    ):
        with pytest.raises(UserError, match=re.escape(words)):
            module.Task(changed, settings(), tmp_path / "maps.zarr")("castle")
    assert names(tmp_path) == []


def test_command_without_a_scheduler_that_answers(
    tiny: World, dsn_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.parallel.dask_workers.Client", refuse)
    message = one_sentence(call(tiny.hr.path, dsn_file, tmp_path, "--scheduler", "tcp://x:1"))
    assert "no dask scheduler answers at tcp://x:1" in message
    assert names(tmp_path) == ["params.yaml"]


# --- batches


def test_batches_write_the_same_maps(tiny: World, dsn_file: Path, tmp_path: Path) -> None:
    one = exported(tiny.hr, dsn_file, tmp_path / "one.zarr", tile=5)
    four = exported(tiny.hr, dsn_file, tmp_path / "four.zarr", tile=5, batch=4)
    for image_id in HR_SIZES:
        for name, bits in (("mean", 10), ("theta", 7)):
            first, second = (maps.read(image_id, name).astype(float) for maps in (one, four))
            np.testing.assert_allclose(first, second, rtol=2.0**-bits)  # one step of rounding


# --- memory


def test_memory_does_not_grow_with_the_image(
    dsn_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image of nine times the area: the same largest tile, read and peak."""
    monkeypatch.setitem(format.CHUNK, "hr", 64)
    inputs: list[int] = []
    reads: list[int] = []
    original, read = Degrader.batch, Store.read

    def watched(self: Degrader, hr: Tensor) -> dict[str, Tensor]:
        inputs.append(hr.numel())
        return original(self, hr)

    def watched_read(
        self: Store, image_id: str, name: str, box: Box | None = None
    ) -> NDArray[np.generic]:
        found = read(self, image_id, name, box)
        reads.append(found.size)
        return found

    monkeypatch.setattr(Degrader, "batch", watched)
    monkeypatch.setattr(Store, "read", watched_read)
    found = []
    for side in (192, 576):
        path = tmp_path / f"{side}.zarr"
        with StoreWriter(path, "hr", 4, ["x"]) as writer:
            writer.add("x", {"image": picture(np.random.default_rng(0), side, side)})
        hr = Store(path, "hr")
        inputs.clear()
        reads.clear()
        tracemalloc.start()
        export(hr, dsn_file, settings(tile=16), tmp_path / f"maps{side}.zarr")
        found.append((max(inputs), max(reads), tracemalloc.get_traced_memory()[1]))
        tracemalloc.stop()
    assert found[0][:2] == found[1][:2] == (3 * 84**2, 3 * 104**2)
    image, maps = 3 * 576**2, 2 * 2 * 3 * 144**2
    assert found[1][2] - found[0][2] < (image + maps) / 4


# --- mistakes


def test_weights_of_another_scale(tiny2: World, dsn_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        export(tiny2.hr, dsn_file, settings(), tmp_path / "maps.zarr")
    assert f"{dsn_file} has the scale 4, but {tiny2.hr.path} has 2" in str(caught.value)
    assert names(tmp_path) == []


def call(hr: Path | str, dsn: Path, folder: Path, *options: str, **changes: object) -> Result:
    content = {"export": {**settings().model_dump(), **changes}}
    params = folder / "params.yaml"
    params.write_text(json.dumps(content))
    arguments = ["--hr", hr, "--dsn", dsn, "--maps", folder / "maps.zarr"]
    arguments += ["--metrics", folder / "metrics.json", "--params", params, *options]
    arguments += ["--work", folder / "work"]
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def one_sentence(result: Result) -> str:
    """The message of a user mistake: exit status 1, one line, no traceback."""
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    (line,) = result.output.splitlines()
    assert line.startswith("Error: ")
    return line


def test_command(tiny: World, dsn_file: Path, tmp_path: Path) -> None:
    result = call(tiny.hr.path, dsn_file, tmp_path)
    assert result.exit_code == 0, result.output
    assert names(tmp_path) == ["maps.zarr", "metrics.json", "params.yaml", "work"]
    assert json.loads((tmp_path / "metrics.json").read_text()).keys() == SUMMARY
    assert Store(tmp_path / "maps.zarr", "maps").ids == list(HR_SIZES)
    assert f"wrote {tmp_path / 'maps.zarr'}" in result.output


def test_command_with_mistakes(tiny: World, dsn_file: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(dsn_file.read_bytes()[:1000])
    save_weights(tmp_path / "srn.safetensors", {"w": torch.ones(1)}, {"format": "usrdu-srn"})
    folder = tmp_path / "work"
    folder.mkdir()
    for weights, reason in (
        ("cut.safetensors", "is not a whole safetensors file"),
        ("srn.safetensors", "expected usrdu-dsn"),
        ("none.safetensors", "there is no such weights file"),
    ):
        message = one_sentence(call(tiny.hr.path, tmp_path / weights, folder))
        assert str(tmp_path / weights) in message and reason in message
    message = one_sentence(call(tiny.hr.path, dsn_file, folder, theta_keep_bits=11))
    assert "export.theta_keep_bits" in message and "11" in message
    message = one_sentence(call(folder / "hr.zarr", dsn_file, folder))
    assert "there is no such store" in message
    message = one_sentence(call(tiny.lr.path, dsn_file, folder))
    assert "kind lr, expected hr" in message
    assert names(folder) == ["params.yaml"]
