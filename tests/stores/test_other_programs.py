"""Stores in xarray and dask, where any warning is an error."""

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from small_stores import KINDS, Contents, contents, make_older, write

from pipeline.stores.format import Kind

LABELS = {
    "hr": {"image": "HR image, sRGB [1/255]"},
    "lr": {"image": "real LR image, sRGB [1/255]"},
    "val": {"hr": "HR image, sRGB [1/255]", "lr": "LR image, sRGB [1/255]"},
    "maps": {
        "mean": "mean of the LR image, sRGB [1]",
        "theta": "theta, Laplace scale of a pixel [1]",
    },
}
"""What xarray writes at the axis of a plot."""


def open_tree(path: Path) -> xr.DataTree:
    return xr.open_datatree(path, engine="zarr", consolidated=False, chunks={})


def with_zeros(kind: Kind) -> Contents:
    """A reader might take the fill value, 0, for a value that is missing."""
    images = contents(kind)
    for arrays in images.values():
        for array in arrays.values():
            array[:, 0, 0] = 0
    return images


def require_values(tree: xr.DataTree, images: Contents) -> None:
    for image_id, arrays in images.items():
        found = tree[f"images/{image_id}"]
        assert set(found.data_vars) == set(arrays)
        for name, array in arrays.items():
            assert isinstance(found[name].data, da.Array)
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name].to_numpy(), array)


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_is_a_tree_of_xarray(tmp_path: Path, kind: Kind) -> None:
    """Its values, their units and labels, and the channels by their names."""
    images = with_zeros(kind)
    write(tmp_path / "a.zarr", kind, images)
    with open_tree(tmp_path / "a.zarr") as tree:
        require_values(tree, images)
        for image_id, arrays in images.items():
            for name, array in arrays.items():
                found = tree[f"images/{image_id}/{name}"]
                assert isinstance(found, xr.DataArray)
                label = f"{found.attrs['long_name']} [{found.attrs['units']}]"
                assert label == LABELS[kind][name]
                assert found.attrs["channels"] == ["red", "green", "blue"]
                assert found.channel.to_numpy().tolist() == ["red", "green", "blue"]
                np.testing.assert_array_equal(found.sel(channel="green").to_numpy(), array[1])


@pytest.mark.parametrize("kind", ["hr", "lr", "maps"])
def test_a_store_of_an_older_version_is_a_tree_too(tmp_path: Path, kind: Kind) -> None:
    images = with_zeros(kind)
    write(tmp_path / "a.zarr", kind, images)
    make_older(tmp_path / "a.zarr")
    with open_tree(tmp_path / "a.zarr") as tree:
        require_values(tree, images)
        assert "channel" not in tree.coords


def test_pairs_of_an_older_version_were_no_tree(tmp_path: Path) -> None:
    """Which is why LR beside HR has names of dimensions of its own."""
    write(tmp_path / "a.zarr", "val", contents("val"))
    make_older(tmp_path / "a.zarr")
    with pytest.raises(ValueError, match="conflicting sizes for dimension"):
        open_tree(tmp_path / "a.zarr")
