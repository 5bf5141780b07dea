"""The script of Figures 2 and 6, on small stores whose noise and theta are known."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from repository import ROOT, load_script
from small_stores import write

from pipeline.base.errors import UserError
from pipeline.images.filters import bicubic_downsample
from pipeline.images.io import to_float
from pipeline.stores.reader import Store

SIDE, SCALE = 24, 4
THETA = 6.0
"""Of the noise of the real LR images, in gray levels."""


@pytest.fixture(scope="module")
def figures() -> Any:
    """The script as a module."""
    return load_script("figures")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores of smooth photographs with Laplace noise, and maps that know it."""
    rng, out = np.random.default_rng(1), tmp_path_factory.mktemp("figures")
    steps = np.linspace(60, 130, SIDE * SCALE)
    hr = {
        name: np.broadcast_to(np.rint(steps[:, None] + shift), (3, SIDE * SCALE, SIDE * SCALE))
        for name, shift in (("1", 0), ("2", 60))
    }
    images = {name: np.ascontiguousarray(image, dtype=np.uint8) for name, image in hr.items()}
    small = {
        name: bicubic_downsample(to_float(image)[None], SCALE)[0].numpy().astype(np.float64)
        for name, image in images.items()
    }

    def capture(name: str) -> NDArray[np.uint8]:
        noise = rng.laplace(0, THETA, small[name].shape)
        return np.clip(np.rint(small[name] * 255 + noise), 0, 255).astype(np.uint8)

    write(out / "hr.zarr", "hr", {name: {"image": x} for name, x in images.items()})
    write(out / "val.zarr", "val", {n: {"hr": x, "lr": capture(n)} for n, x in images.items()})
    captures = {f"{n}_{k:02d}": {"hr": images[n], "lr": capture(n)} for n in hr for k in range(8)}
    write(out / "pairs.zarr", "val", captures)
    theta = np.full((3, SIDE, SIDE), THETA / 255, dtype=np.float16)
    maps = {n: {"mean": x.astype(np.float16), "theta": theta} for n, x in small.items()}
    write(out / "maps.zarr", "maps", maps)
    return out


def rows(text: str, name: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in text.splitlines()
        if f"| {name} |" in line
    ]


def test_tables_and_pictures_tell_the_noise_and_theta(
    figures: Any, folder: Path, tmp_path: Path
) -> None:
    stores = f"--stores mine {folder} --maps mine known {folder / 'maps.zarr'}"
    figures.main([*shlex.split(stores), "--image", "2,2,2", "--out", str(tmp_path)])
    text = (tmp_path / "tables.md").read_text()
    (law,) = rows(text, "real LR - bicubic")
    assert law[0] == "`mine`" and law[-1] == "Laplace"
    assert float(law[2]) == pytest.approx(1, abs=0.25)
    (noise,), (theta,), (error,) = (
        rows(text, name)
        for name in (
            "noise of captures",
            "theta, known",
            "distance of real LR and mean, known, means",
        )
    )
    assert [float(x) for x in theta[2:5]] == pytest.approx([THETA, THETA, 1], abs=0.02)
    assert float(noise[2]) == pytest.approx(THETA, rel=0.2)
    assert float(error[4]) == pytest.approx(1, abs=0.2)
    (score,) = rows(text, "known")
    assert float(score[4]) == pytest.approx(1, abs=0.1)
    for name in ("figure_2.png", "figure_6.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_a_simulated_camera_shows_its_noise_alone(
    figures: Any, folder: Path, tmp_path: Path
) -> None:
    words = f"--stores laplace {folder} --simulated laplace --captures 12 --out {tmp_path}"
    figures.main([*shlex.split(words), "--cameras", str(ROOT / "cameras.yaml")])
    text = (tmp_path / "tables.md").read_text()
    (noise,) = rows(text, "noise over its deviation at the pixel")
    assert noise[-1] == "Laplace"
    assert float(noise[2]) == pytest.approx(1, abs=0.25)
    assert not (tmp_path / "figure_6.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--maps yours a b", "yours: no --stores name this camera, they name mine"),
        ("--simulated phone", "phone: no --stores"),
        ("--image 1", "--image shows mean and theta of --maps"),
        ("--captures 1", "--captures 1: a deviation needs at least 2"),
    ],
)
def test_what_does_not_fit_is_refused(
    figures: Any, folder: Path, tmp_path: Path,
    words: str, message: str,
) -> None:  # fmt: skip
    with pytest.raises(UserError, match=re.escape(message)):
        figures.main(shlex.split(f"--stores mine {folder} --out {tmp_path} {words}"))


@pytest.mark.parametrize(
    ("crop", "message"),
    [
        ("2,3", "--image 2,3: expected ID or ID,TOP,LEFT"),
        ("2,3,x", "--image 2,3,x: expected ID or ID,TOP,LEFT"),
        ("7", "has no image 7"),
        ("2,0,24", "the image has 24x24 LR pixels"),
    ],
)
def test_a_crop_that_is_not_there_is_refused(
    figures: Any, folder: Path, crop: str, message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        figures.crop_of(crop, Store(folder / "hr.zarr", "hr"))


def test_one_pair_is_too_few(figures: Any, folder: Path, tmp_path: Path) -> None:
    for name in ("hr", "val"):
        store = Store(folder / f"{name}.zarr", "hr" if name == "hr" else "val")
        arrays = ("image",) if name == "hr" else ("hr", "lr")
        one = {"1": {array: store.read("1", array) for array in arrays}}
        write(tmp_path / f"{name}.zarr", store.kind, one)
    with pytest.raises(UserError, match="at least two pairs"):
        figures.main(shlex.split(f"--stores mine {tmp_path} --out {tmp_path / 'out'}"))
