"""Pictures of maps: areas, and whole images made small, against NumPy on whole arrays."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_stores import Array, picture, write

from pipeline.base.boxes import Box
from pipeline.report import maps as module
from pipeline.report.maps import PANEL, MapsPictures, gray_levels
from pipeline.sampling.sampler import Draw, make_sampler

SIZE = (150, 300)


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[MapsPictures, dict[str, Array], dict[str, Array]]:
    """With another store of maps, B."""
    rng = np.random.default_rng(1)
    own, other = (
        {name: rng.random((3, *SIZE)).astype(np.float16) for name in ("mean", "theta")}
        for _ in range(2)
    )
    a = write(tmp_path / "a.zarr", "maps", {"x": own})
    b = write(tmp_path / "b.zarr", "maps", {"x": other})
    hr = write(tmp_path / "hr.zarr", "hr", {"x": {"image": picture(2, 600, 1200)}})
    return MapsPictures(a, hr, b, {"raw": make_sampler(Draw("raw"))}), own, other


def test_an_area_lies_around_its_place(
    pictures: tuple[MapsPictures, dict[str, Array], dict[str, Array]],
) -> None:
    take, own, other = pictures
    found = take.panels("x", Box(0, 8, 200, 210))
    assert (found.area.top, found.area.bottom) == (0, PANEL)
    assert found.area.left <= 200 and found.area.right >= 210
    assert found.area.right - found.area.left == PANEL
    expected = {"mean": own, "theta": own, "other_mean": other, "other_theta": other}
    for name, maps in expected.items():
        values = maps[name.removeprefix("other_")][found.area.slices].astype(np.float32)
        assert np.array_equal(getattr(found, name).numpy(), values), name
    assert found.hr.shape == (3, 2 * PANEL, 2 * PANEL)
    assert len(found.thetas) == 2 and found.camera_sample is None and found.name == "x"


@pytest.mark.parametrize("pieces", [8, 1024])
def test_a_thumbnail_holds_averages_of_squares(
    pictures: tuple[MapsPictures, dict[str, Array], dict[str, Array]],
    pieces: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However it is read; at the right and at the bottom of what is left of a square."""
    monkeypatch.setattr(module, "READ_SIDE", pieces)
    take, own, _ = pictures
    found = take.thumbnail("x")
    assert found.mean.shape == (3, 38, 75)  # squares of 4: 300 pixels become at most 96
    for name in ("mean", "theta"):
        whole = own[name].astype(np.float64)
        for row, column in ((0, 0), (5, 70), (37, 3), (37, 74)):
            square = whole[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            values = getattr(found, name)[:, row, column].numpy()
            assert values == pytest.approx(square.mean(axis=(1, 2)), rel=1e-5)


def test_gray_levels_are_the_mean_of_the_channels() -> None:
    theta = torch.tensor([[[0.1]], [[0.2]], [[0.6]]])
    assert gray_levels(theta) == pytest.approx(np.array([[0.3 * 255]]), rel=1e-6)
