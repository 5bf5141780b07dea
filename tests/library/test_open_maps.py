"""Maps as a tree of xarray: every value, whatever the scheduler, and no damage is overlooked."""

import sys
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
from doubles import local_cluster
from small_stores import Array, maps, write

from pipeline import open_maps
from pipeline.base.errors import UserError
from pipeline.library import maps as module
from pipeline.stores import format

SIZES = {"c": (8, 12), "a": (5, 7), "b": (8, 12)}


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Array]]:
    """Three images of two sizes, of several chunks each, in ``tmp_path/maps.zarr``."""
    monkeypatch.setitem(format.CHUNK, "maps", 4)
    monkeypatch.setattr(module, "SIDE", 4)
    made = {name: maps(number, *size) for number, (name, size) in enumerate(SIZES.items())}
    write(tmp_path / "maps.zarr", "maps", made)
    return made


def test_the_tree_holds_all_values(tmp_path: Path, images: dict[str, dict[str, Array]]) -> None:
    tree = open_maps(tmp_path / "maps.zarr")
    assert list(tree.children) == ["8x12", "5x7"]
    assert tree.attrs["scale"] == 4 and len(tree.attrs["digest"]) == 64
    found = {}
    for node in tree.children.values():
        assert node.channel.to_numpy().tolist() == ["red", "green", "blue"]
        for name, array in node.data_vars.items():
            assert array.dims == ("image", "channel", "row", "column")
            assert isinstance(array.data, da.Array) and array.dtype == np.float32
            assert array.attrs["units"] == "1" and str(name) in array.attrs["long_name"]
            for image_id in array.image.to_numpy().tolist():
                found[image_id, name] = array.sel(image=image_id).to_numpy()
    assert set(found) == {(image_id, name) for image_id in SIZES for name in ("mean", "theta")}
    for (image_id, name), values in found.items():
        assert np.array_equal(values, images[image_id][str(name)].astype(np.float32))
    assert tree["8x12"].image.to_numpy().tolist() == ["c", "b"]


@pytest.mark.parametrize("place", [(slice(2, 7), 3), (5, slice(None, None, 2)), (slice(1, 2), -1)])
def test_any_part_is_that_of_the_array(
    tmp_path: Path, images: dict[str, dict[str, Array]], place: tuple[slice | int, slice | int]
) -> None:
    """Integers and steps are what they are for NumPy."""
    found = open_maps(tmp_path / "maps.zarr").children["8x12"].dataset["theta"].sel(image="b")
    expected = images["b"]["theta"][:, place[0], place[1]].astype(np.float32)
    assert np.array_equal(found[:, place[0], place[1]].to_numpy(), expected)


def test_a_reduction_is_written_once_for_all_sizes(
    tmp_path: Path, images: dict[str, dict[str, Array]]
) -> None:
    means = open_maps(tmp_path / "maps.zarr").mean(("channel", "row", "column")).compute()
    for node in means.children.values():
        for theta in node.dataset["theta"]:
            expected = images[theta.image.item()]["theta"].astype(np.float64).mean()
            assert theta.item() == pytest.approx(expected, rel=1e-6)


def test_threads_one_thread_and_workers_give_the_same_bytes(
    tmp_path: Path, images: dict[str, dict[str, Array]]
) -> None:
    assert images

    def computed() -> bytes:
        tree = open_maps(tmp_path / "maps.zarr")
        sums = [node.dataset.std().to_dataarray().to_numpy() for node in tree.children.values()]
        return np.concatenate(sums).tobytes()

    found = set()
    for how in ("threads", "synchronous"):
        with dask.config.set(scheduler=how):
            found.add(computed())
    with local_cluster(2) as cluster, cluster.get_client():
        found.add(computed())
    assert len(found) == 1


def test_a_damaged_chunk_is_named_when_it_is_read(
    tmp_path: Path, images: dict[str, dict[str, Array]]
) -> None:
    assert images
    (tmp_path / "maps.zarr/images/b/theta/c/0/1/2").unlink()
    tree = open_maps(tmp_path / "maps.zarr")
    assert tree["8x12"]["mean"].sum().compute() > 0
    with pytest.raises(UserError, match="image 'b', array 'theta', chunk 0/1/2 is damaged"):
        tree["8x12"]["theta"].sum().compute()


def test_a_store_of_another_kind_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "hr.zarr", "hr", {"one": {"image": np.zeros((3, 8, 8), np.uint8)}})
    with pytest.raises(UserError, match=r"hr\.zarr: has the kind hr, expected maps"):
        open_maps(tmp_path / "hr.zarr")


def test_without_xarray_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(UserError, match=r"needs xarray; .* extra: usrdu\[xarray\]"):
        open_maps(tmp_path / "maps.zarr")
