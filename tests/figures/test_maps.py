"""Which pairs are captures of an HR image."""

from pathlib import Path

import numpy as np
from small_stores import picture, write

from pipeline.figures.maps import captures_of


def test_captures_are_of_their_own_hr_image(tmp_path: Path) -> None:
    """Ids that are numbers, as those of data sets are, and one that looks like a capture."""
    hr = write(
        tmp_path / "hr.zarr", "hr", {x: {"image": picture(0, 8, 8)} for x in ("1", "2", "1_2")}
    )
    ids = ("1", "2", "1_0", "1_2", "12", "2_0_0", "1_x")
    lr = {name: picture(seed, 2, 2) for seed, name in enumerate(ids)}
    content = {name: {"hr": picture(0, 8, 8), "lr": image} for name, image in lr.items()}
    pairs = write(tmp_path / "pairs.zarr", "val", content)
    for name, expected in (("1", ("1", "1_0")), ("2", ("2",)), ("1_2", ("1_2",))):
        found = captures_of(pairs, hr, name)
        assert np.array_equal(found, [lr[each] for each in expected]), name
    assert len(captures_of(None, hr, "1")) == 0
