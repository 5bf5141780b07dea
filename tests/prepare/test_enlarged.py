"""LR images of the size of HR: Pillow's reduction everywhere, and the laws that the docs state."""

import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from click.testing import CliRunner, Result
from conftest import prepare_settings
from doubles import jpeg
from numpy.typing import NDArray
from PIL import Image

from pipeline.base.errors import UserError
from pipeline.prepare.enlarged import reduced
from pipeline.stores.reader import Store
from stages.prepare import command

FOLDERS = ("hr", "lr", "val", "pairs")
DOCS = Path(__file__).parents[2] / "docs" / "data.md"


def save(path: Path, seed: int, height: int, width: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Files whose sides exceed multiples of 3."""
    for number, name in enumerate(
        ("hr/a", "lr/b", "val/hr/c", "val/lr/c", "pairs/hr/d", "pairs/lr/d")
    ):
        save(tmp_path / f"{name}.png", number, 61, 74)
    return tmp_path


def run(world: Path, **changes: object) -> Result:
    section = prepare_settings(**{"scale": 3, "lr_size": "enlarged", **changes}).model_dump()
    (world / "params.yaml").write_text(json.dumps({"prepare": section}))
    folders = [w for name in FOLDERS for w in (f"--{name}", world / name)]
    files = ["--out", world / "out", "--metrics", world / "metrics.json"]
    files += ["--params", world / "params.yaml", "--work", world / "work"]
    return CliRunner().invoke(command, [str(word) for word in (*folders, *files)])


def fails(world: Path, sentence: str, **changes: object) -> None:
    result = run(world, **changes)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"Error: {sentence}"


def stored(world: Path, kind: str, image_id: str, name: str = "image") -> NDArray[Any]:
    array = zarr.open_group(world / "out" / f"{kind}.zarr", mode="r")[f"images/{image_id}/{name}"]
    assert isinstance(array, zarr.Array)
    return np.asarray(array[...])


def same_as_pillow(found: NDArray[Any], path: Path, scale: int) -> None:
    """Inside, as Pillow does not mirror at the borders, and without what exceeds a multiple."""
    planes = np.moveaxis(np.asarray(Image.open(path)), -1, 0)
    height, width = (length // scale for length in planes.shape[1:])
    assert found.shape == (3, height, width)
    for plane, small in zip(planes[:, : height * scale, : width * scale], found, strict=True):
        large = Image.fromarray(plane.astype(np.float32))
        expected = np.asarray(large.resize((width, height), Image.Resampling.BICUBIC)).clip(0, 255)
        inside = (slice(2, -2), slice(2, -2))
        np.testing.assert_allclose(small[inside], expected[inside], atol=0.501)


# What prepare makes of them


@pytest.mark.parametrize("scale", [2, 3])
def test_every_real_lr_image_is_reduced(
    world: Path, scale: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        result = run(world, scale=scale)
    assert result.exit_code == 0, result.output
    assert not caplog.messages  # files without loss lose no tables
    same_as_pillow(stored(world, "lr", "b"), world / "lr/b.png", scale)
    for kind, name in (("val", "c"), ("pairs", "d")):
        same_as_pillow(stored(world, kind, name, "lr"), world / kind / f"lr/{name}.png", scale)
        hr = np.moveaxis(np.asarray(Image.open(world / kind / f"hr/{name}.png")), -1, 0)
        cut = hr[:, : 61 // scale * scale, : 74 // scale * scale]
        np.testing.assert_array_equal(stored(world, kind, name, "hr"), cut)
        lr = stored(world, kind, name, "lr")
        assert cut.shape[1:] == tuple(scale * length for length in lr.shape[1:])
    sides = {"hr": "hr", "lr": "lr", "val": "val", "pairs": "val"}
    attributes = {n: Store(world / f"out/{n}.zarr", k).attributes for n, k in sides.items()}  # type: ignore[arg-type]
    assert "reduced_by" not in attributes.pop("hr")
    assert {found["reduced_by"] for found in attributes.values()} == {scale}


def test_lr_images_without_references_are_reduced(world: Path) -> None:
    shutil.rmtree(world / "val/hr")
    assert run(world).exit_code == 0
    same_as_pillow(stored(world, "val", "c"), world / "val/lr/c.png", 3)


def test_native_images_stay_as_they_are(world: Path) -> None:
    """Also after a run that reduced them, and the other way round."""
    for name in ("val", "pairs"):
        shutil.rmtree(world / name)
        (world / name).mkdir()
    planes = np.moveaxis(np.asarray(Image.open(world / "lr/b.png")), -1, 0)
    for lr_size in ("native", "enlarged", "native"):
        assert run(world, lr_size=lr_size).exit_code == 0
        found = stored(world, "lr", "b")
        attributes = Store(world / "out/lr.zarr", "lr").attributes
        if lr_size == "native":
            np.testing.assert_array_equal(found, planes)
            assert "reduced_by" not in attributes
        else:
            same_as_pillow(found, world / "lr/b.png", 3)


@pytest.mark.slow
def test_a_run_that_was_interrupted_with_native_images_is_not_gone_on_with(world: Path) -> None:
    path = world / "lr/z.png"
    path.write_text("no image")
    assert run(world, lr_size="native").exit_code == 1
    save(path, 9, 61, 74)
    assert run(world).exit_code == 0
    same_as_pillow(stored(world, "lr", "b"), world / "lr/b.png", 3)


@pytest.mark.slow
def test_hr_images_are_made_of_reduced_images(world: Path) -> None:
    """Reduced by 3, without the right quarter of the columns, reduced by 2, and cut to threes."""
    assert run(world, hr_from="lr").exit_code == 0
    assert stored(world, "hr", "b-cleaned").shape == (3, 20 // 2 // 3 * 3, (24 - 6) // 2 // 3 * 3)


@pytest.mark.parametrize(("least_side", "kept"), [(18, ["a", "b"]), (19, ["a"])])
def test_small_images_are_known_by_their_own_size(
    world: Path, least_side: int, kept: list[str]
) -> None:
    """20 x 24 LR pixels, 18 columns of which are seen."""
    save(world / "lr/a.png", 7, 61, 80)
    assert run(world, least_side=least_side).exit_code == 0
    assert Store(world / "out/lr.zarr", "lr").ids == kept


def test_an_image_smaller_than_the_scale(world: Path) -> None:
    path = save(world / "lr/s.png", 1, 2, 30)
    fails(world, f"{path}: is 2x30, smaller than the scale 3")


# Pairs of other sizes


@pytest.mark.parametrize(
    ("place", "size"), [("val", (61, 73)), ("pairs", (62, 74)), ("pairs", (20, 24))]
)
def test_a_pair_of_two_sizes(world: Path, place: str, size: tuple[int, int]) -> None:
    name = {"val": "c.png", "pairs": "d.png"}[place]
    path = save(world / place / "lr" / name, 1, *size)
    fails(
        world,
        f"{path}: has not the size of {name}, so it was not enlarged to it; prepare.lr_size: "
        "native takes LR images as they are",
    )


def test_a_native_pair_of_one_size(world: Path) -> None:
    fails(
        world,
        f"{world / 'val/lr/c.png'}: has the size of c.png; prepare.lr_size: enlarged reduces LR "
        "images that were enlarged to the size of HR",
        lr_size="native",
    )


def test_a_size_of_another_name(world: Path) -> None:
    (world / "params.yaml").write_text("prepare: {lr_size: large}\n")
    words = ["--params", str(world / "params.yaml"), "--out", "o", "--metrics", "m"]
    result = CliRunner().invoke(command, words)
    assert "prepare.lr_size: input should be 'native' or 'enlarged'" in result.stderr


# JPEG


def test_no_tables_stand_for_files_that_are_reduced(
    world: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jpeg(world / "lr/j.jpg", 75, "4:2:0")
    Image.open(world / "lr/b.png").save(world / "lr/w.webp")
    with caplog.at_level(logging.WARNING):
        assert run(world).exit_code == 0
    assert Store(world / "out/lr.zarr", "lr").attributes["jpeg"] is None
    (said,) = [text for text in caplog.messages if "compress" in text]
    assert said.startswith("2 of 3 LR images were compressed when they had the size of HR")
    assert said.endswith("what the compression left counts as noise: j.jpg, w.webp")


# What it does to noise


def keys(t: NDArray[np.float64], a: float) -> NDArray[np.float64]:
    """Keys' kernel (1981), Eq. 4 before a is chosen."""
    t = np.abs(t)
    inner = (a + 2) * t**3 - (a + 3) * t**2 + 1
    outer = a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    return np.where(t <= 1, inner, np.where(t < 2, outer, 0))


def resampling(out: int, length: int, a: float) -> NDArray[np.float64]:
    """The matrix (out, length) of a resampling along an axis, antialiased where it shrinks."""
    centre = (np.arange(out)[:, None] + 0.5) * length / out - 0.5
    weights = keys((np.arange(length) - centre) / max(1, length / out), a)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def law(weights: NDArray[np.float64], step: int) -> tuple[float, float]:
    """Of white noise under separable weights: factor of its deviation, correlation at a step."""
    power = float((weights**2).sum())
    return power, float((weights[step:] * weights[:-step]).sum()) / power


LENGTH = 41


def enlarged_law(scale: int, a: float) -> tuple[float, float]:
    both = resampling(LENGTH, LENGTH * scale, -0.5) @ resampling(LENGTH * scale, LENGTH, a)
    return law(both[LENGTH // 2], 1)


def added_law(scale: int) -> tuple[float, float]:
    return law(resampling(LENGTH, LENGTH * scale, -0.5)[LENGTH // 2], scale)


def measured(image: NDArray[np.uint8]) -> tuple[float, float]:
    """Deviation, and correlation of neighbours in a row, inside."""
    inner = image[:, 4:-4, 4:-4].astype(float)
    inner -= inner.mean()
    return inner.std(), float((inner[..., 1:] * inner[..., :-1]).mean() / inner.var())


def noisy(side: int, seed: int) -> NDArray[np.float64]:
    return 128 + 20 * np.random.default_rng(seed).standard_normal((3, side, side))


def to_file(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def enlarge(values: NDArray[np.float64], scale: int, a: float) -> NDArray[np.float64]:
    """By the programs that a data set is made with: Pillow has a = -1/2, torch (OpenCV) -3/4."""
    if a == -0.75:
        batch = torch.from_numpy(values)[None]
        large = torch.nn.functional.interpolate(batch, scale_factor=scale, mode="bicubic")
        return np.asarray(large[0].numpy())
    size = (values.shape[2] * scale, values.shape[1] * scale)
    return np.stack(
        [
            np.asarray(Image.fromarray(v.astype(np.float32)).resize(size, Image.Resampling.BICUBIC))
            for v in values
        ]
    ).astype(float)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("a", [-0.5, -0.75, None])
def test_law_of_the_noise(scale: int, a: float | None) -> None:
    """White noise of 20 gray levels, enlarged by others (a), or added to their result (None).

    86,000 values: their deviation and correlation have standard errors of 0.4 %, and 0.004.
    """
    if a is None:
        file, expected = to_file(noisy(176 * scale, scale)), added_law(scale)
    else:
        file, expected = to_file(enlarge(noisy(176, scale), scale, a)), enlarged_law(scale, a)
    deviation, correlation = measured(reduced(Path("x.png"), file, scale))
    assert deviation == pytest.approx(np.hypot(20 * expected[0], 12**-0.5), rel=0.025)
    assert correlation == pytest.approx(expected[1], abs=0.025)


def test_the_docs_state_these_laws() -> None:
    """Cells of the table are factor, correlation."""
    rows = {}
    for line in DOCS.read_text().splitlines():
        first, *cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if len(cells) == 3 and re.fullmatch(r"0\.\d\d, 0\.\d\d", cells[0]):
            rows[first] = [tuple(float(part) for part in cell.split(",")) for cell in cells]
    expected = {
        "the camera's noise, enlarged with the image, bicubic with a = -1/2 (MATLAB, Pillow)": [
            enlarged_law(scale, -0.5) for scale in (2, 3, 4)
        ],
        "the same, bicubic with a = -3/4 (OpenCV, PyTorch)": [
            enlarged_law(scale, -0.75) for scale in (2, 3, 4)
        ],
        "noise that was added to the enlarged image": [added_law(scale) for scale in (2, 3, 4)],
    }
    assert rows.keys() >= expected.keys()
    for name, laws in expected.items():
        for found, law_ in zip(rows[name], laws, strict=True):
            assert found == pytest.approx(law_, abs=0.0051), name


def test_nothing_is_done_without_a_reduction() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 5, 7), dtype=np.uint8)
    assert reduced(Path("x.png"), image, 1) is image
    with pytest.raises(UserError, match="^x.png: is 5x7, smaller than the scale 8$"):
        reduced(Path("x.png"), image, 8)
