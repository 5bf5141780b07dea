"""Pictures over the steps: few, evenly spread, small, and the same after a checkpoint."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline.runs.progress import COLUMNS, GAP, SIDE, Progress


def noise(count: int, *size: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return list(torch.rand(count, 3, *size, generator=generator))


@pytest.mark.parametrize("steps", [1, 4, 6, 7, 100, 2592])
def test_steps_are_few_and_evenly_spread(steps: int) -> None:
    progress = Progress(noise(1, 8, 8), [], 4, steps)
    due = [made for made in range(1, steps + 1) if progress.due(made)]
    assert len(due) == min(steps, COLUMNS) and due[-1] == steps
    gaps = np.diff([0, *due])
    assert gaps.max() - gaps.min() <= 1


def drawn(progress: Progress, path: Path) -> NDArray[np.uint8]:
    progress.draw(path)
    with Image.open(path) as file:
        return np.asarray(file)[..., :3]


def test_the_strip_shows_the_pixels(tmp_path: Path) -> None:
    """Crops of noise, which no PNG makes smaller; the columns are LR, the steps, and HR."""
    scale, side = 4, SIDE
    lr, hr = noise(4, 40, 50), noise(4, 160, 200)
    progress = Progress(lr, hr, scale, 60)
    pictures = [torch.stack(noise(4, side, side)) * k / COLUMNS for k in range(1, COLUMNS + 1)]
    for number, picture in enumerate(pictures):
        progress.add(10 * (number + 1), picture)
    found = drawn(progress, tmp_path / "progress.png")
    assert (tmp_path / "progress.png").stat().st_size < 2**20
    height = 4 * side + 3 * GAP
    assert found.shape[1] == (COLUMNS + 2) * (side + 2 * GAP) - 2 * GAP
    strip = found[-height:].astype(int)
    levels = (pictures[2] * 255).round().permute(0, 2, 3, 1).numpy()
    left = 3 * (side + 2 * GAP)
    for row in range(4):
        top = row * (side + GAP)
        assert np.abs(strip[top : top + side, left : left + side] - levels[row]).max() <= 1
    centre = hr[1][:, 32 : 32 + side, 52 : 52 + side].permute(1, 2, 0).numpy() * 255
    top = side + GAP
    assert np.abs(strip[top : top + side, -side:] - centre).max() <= 1


def test_after_a_checkpoint_it_is_the_same(tmp_path: Path) -> None:
    def new() -> Progress:
        return Progress(noise(2, 16, 12), [], 2, 10)

    straight, before, after = new(), new(), new()
    made = [torch.stack(noise(2, 24, 24)) * k / 9 for k in range(9)]
    for number, picture in enumerate(made):
        straight.add(number, picture)
        (before if number < 4 else after).add(number, picture)
        if number == 3:
            torch.save(before.state_dict(), tmp_path / "state.pt")
            after.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert after.made == straight.made == [3, 4, 5, 6, 7, 8]  # of a run that began as another
    one, other = (drawn(p, tmp_path / f"{n}.png") for n, p in enumerate((straight, after)))
    assert np.array_equal(one, other)
