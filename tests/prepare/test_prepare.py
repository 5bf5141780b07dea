"""Preparation, run as the command: stores against pixels that Pillow and NumPy made."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import tifffile
import zarr
from click.testing import CliRunner, Result
from conftest import prepare_settings
from doubles import jpeg, tables_of
from imagecodecs import cms_profile, png_encode
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import norm

from pipeline.base.errors import UserError
from pipeline.images.reduction import reduce_image
from pipeline.prepare.datasets import Preset
from pipeline.prepare.prepare import (
    describe,
    noise_level,
    prepare_hr,
    prepare_lr,
    prepare_pairs,
)
from pipeline.reading import files
from pipeline.stores.reader import Store
from pipeline.stores.verify import verify
from stages.prepare import command

Array = NDArray[Any]


def picture(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, 3), as Pillow has it."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, pixels: Array, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def planes(pixels: Array) -> Array:
    return np.stack([pixels] * 3) if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


FOLDERS = ("hr", "lr", "val", "pairs")


class World:
    """A user's folders, and the command that prepares them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hr, self.lr, self.val, self.pairs = (folder / "raw" / name for name in FOLDERS)
        self.out, self.metrics = folder / "out", folder / "metrics.json"
        self.params = folder / "params.yaml"
        self.set()
        for number, name in enumerate("abc"):
            save(self.hr / f"{name}.png", picture(number, 21 + number, 30))
            save(self.lr / f"{name}.png", picture(number + 3, 9, 11 + number))
        for number, name in enumerate("pq"):
            save(self.val / "hr" / f"{name}.png", picture(number + 6, 22, 33))
            save(self.val / "lr" / f"{name}.png", picture(number + 8, 5, 8))
        save(self.pairs / "hr" / "t.png", picture(30, 13, 18))
        save(self.pairs / "lr" / "t.png", picture(31, 3, 4))

    def set(self, **changes: object) -> None:
        """Write the params file."""
        section = prepare_settings().model_dump() | changes
        self.params.write_text(json.dumps({"prepare": section}))  # JSON is YAML

    def run(self) -> Result:
        arguments = [part for name in FOLDERS for part in (f"--{name}", getattr(self, name))]
        arguments += ["--out", self.out, "--metrics", self.metrics, "--params", self.params]
        arguments += ["--work", self.folder / "work"]
        return CliRunner().invoke(command, [str(argument) for argument in arguments])

    def outputs(self) -> dict[str, bytes]:
        files = [path for path in self.out.rglob("*") if path.is_file()]
        found = {str(path.relative_to(self.folder)): path.read_bytes() for path in files}
        if self.metrics.exists():
            found["metrics.json"] = self.metrics.read_bytes()
        return found

    def fails(self, *words: str, keeps: tuple[str, ...] = FOLDERS) -> None:
        """Run: one sentence, status 1, older stores as they were, nothing half-written.

        Files are looked for first.  Then stores are written in the order LR, HR, val, pairs;
        ``keeps`` names those the fault comes before.
        """
        before = self.outputs()
        result = self.run()
        assert result.exit_code == 1, result.output
        sentences = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert result.stderr.splitlines()[-1:] == sentences
        for word in words:
            assert word in sentences[0], sentences[0]
        assert "Traceback" not in result.output
        for partial in self.out.glob("*.partial"):  # what can be gone on with
            assert list(partial.glob("images/*/*/c"))
        assert not [path for path in self.folder.rglob("*") if path.name.endswith(".old")]
        after = self.outputs()
        for name in (*(f"out/{kept}.zarr/" for kept in keeps), "metrics.json"):
            assert {k: v for k, v in before.items() if k.startswith(name)} == {
                k: v for k, v in after.items() if k.startswith(name)
            }

    def image(self, kind: str, image_id: str, name: str = "image") -> Array:
        """Read by Zarr alone."""
        array = zarr.open_group(self.out / f"{kind}.zarr", mode="r")[f"images/{image_id}/{name}"]
        assert isinstance(array, zarr.Array)
        return np.asarray(array[...])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# A run that ends well


def test_run(world: World) -> None:
    result = world.run()
    assert result.exit_code == 0, result.output
    for number, name in enumerate("abc"):
        expected = planes(picture(number, 21 + number, 30))[:, :20, :28]
        np.testing.assert_array_equal(world.image("hr", name), expected)
        expected = planes(picture(number + 3, 9, 11 + number))
        np.testing.assert_array_equal(world.image("lr", name), expected)
    for number, name in enumerate("pq"):
        expected = planes(picture(number + 6, 22, 33))[:, :20, :32]
        np.testing.assert_array_equal(world.image("val", name, "hr"), expected)
        expected = planes(picture(number + 8, 5, 8))
        np.testing.assert_array_equal(world.image("val", name, "lr"), expected)
    expected = planes(picture(30, 13, 18))[:, :12, :16]
    np.testing.assert_array_equal(world.image("pairs", "t", "hr"), expected)
    np.testing.assert_array_equal(world.image("pairs", "t", "lr"), planes(picture(31, 3, 4)))
    written = {*(f"{name}.zarr" for name in FOLDERS), "piles.md", "piles.json"}
    assert {path.name for path in world.out.iterdir()} == written
    three = ["a", "b", "c"]
    held = [("hr", "hr", three), ("lr", "lr", three), ("val", "val", ["p", "q"])]
    for name, kind, ids in [*held, ("pairs", "val", ["t"])]:
        root = zarr.open_group(world.out / f"{name}.zarr", mode="r")
        described = root.attrs["usrdu"]
        assert isinstance(described, dict)
        assert (described["ids"], described["scale"], described["kind"]) == (ids, 4, kind)
        assert f"wrote {world.out / name}.zarr" in result.stdout
    metrics = json.loads(world.metrics.read_text())
    assert metrics.pop("lr_noise_level") > 0
    counts = {"hr_images": 3, "lr_images": 3, "val_pairs": 2, "val_inputs": 0, "train_pairs": 1}
    assert metrics == counts
    metrics = json.loads(world.metrics.read_text())
    assert f"lr_noise_level: {metrics['lr_noise_level']:.4f}" in result.stdout


def test_every_format(world: World) -> None:
    """A folder as users have them; the pixels as Pillow and NumPy see them."""
    rgb = picture(20, 24, 32)
    deep = np.random.default_rng(21).integers(0, 65536, (24, 32, 3), dtype=np.uint16)
    shallow = np.rint(deep / 257).astype(np.uint8)
    grey = rgb[..., 0]
    turned = Image.Exif()
    turned[0x112] = 6
    smooth = rgb[:3, :4].repeat(8, axis=0).repeat(8, axis=1)
    for path in world.hr.iterdir():
        path.unlink()
    save(world.hr / "png.png", rgb)
    save(world.hr / "upper.PNG", rgb[:, :, ::-1])
    save(world.hr / "grey.png", grey)
    save(world.hr / "alpha.png", np.dstack([rgb, grey]))
    save(world.hr / "tiff.tif", rgb, compression="tiff_lzw")
    save(world.hr / "webp.webp", rgb, lossless=True)
    save(world.hr / "bmp.bmp", rgb)
    save(world.hr / "turned.tiff", rgb, exif=turned)
    save(world.hr / "jpeg.jpg", smooth)
    save(world.hr / "turned jpeg.jpeg", smooth, exif=turned)
    Image.fromarray(rgb).quantize(64).save(world.hr / "palette.png")
    (world.hr / "deep.png").write_bytes(png_encode(deep))
    tifffile.imwrite(world.hr / "deep-grey.tif", deep[..., 1], compression="zlib")
    (world.hr / ".hidden.png").write_text("not looked at")
    (world.hr / "notes.txt").write_text("not looked at")
    jpeg, sideways = (
        np.asarray(Image.open(world.hr / name)) for name in ("jpeg.jpg", "turned jpeg.jpeg")
    )
    expected = {
        "alpha": rgb,
        "bmp": rgb,
        "deep": shallow,
        "deep-grey": shallow[..., 1],
        "grey": grey,
        "jpeg": jpeg,
        "palette": np.asarray(Image.open(world.hr / "palette.png").convert("RGB")),
        "png": rgb,
        "tiff": rgb,
        "turned": np.rot90(rgb, -1),
        "turned_jpeg": np.rot90(sideways, -1),
        "upper": rgb[:, :, ::-1],
        "webp": rgb,
    }
    result = world.run()
    assert result.exit_code == 0, result.output
    store = Store(world.out / "hr.zarr", "hr")
    assert store.ids == [
        "alpha", "bmp", "deep-grey", "deep", "grey", "jpeg", "palette", "png", "tiff",
        "turned_jpeg", "turned", "upper", "webp",
    ]  # fmt: skip
    for image_id, pixels in expected.items():
        np.testing.assert_array_equal(world.image("hr", image_id), planes(pixels), image_id)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_scale(world: World, scale: int) -> None:
    world.set(scale=scale)
    save(world.pairs / "hr" / "t.png", picture(6, 3 * scale, 5 * scale - 1))
    save(world.val / "hr" / "p.png", picture(6, 5 * scale + 1, 8 * scale))
    save(world.val / "hr" / "q.png", picture(7, 5 * scale, 8 * scale + 1))
    result = world.run()
    assert result.exit_code == 0, result.output
    for number, name in enumerate("abc"):
        height, width = (21 + number) // scale * scale, 30 // scale * scale
        expected = planes(picture(number, 21 + number, 30))[:, :height, :width]
        np.testing.assert_array_equal(world.image("hr", name), expected)
    assert Store(world.out / "lr.zarr", "lr").scale == scale


def test_pairs_are_matched_by_name(world: World) -> None:
    for name in "pq":
        (world.val / "lr" / f"{name}.png").unlink()
    save(world.val / "lr" / "q.bmp", picture(8, 5, 8))
    save(world.val / "lr" / "p.tif", picture(9, 5, 8))
    assert world.run().exit_code == 0
    np.testing.assert_array_equal(world.image("val", "q", "lr"), planes(picture(8, 5, 8)))
    np.testing.assert_array_equal(world.image("val", "p", "lr"), planes(picture(9, 5, 8)))
    expected = planes(picture(6, 22, 33))[:, :20, :32]
    np.testing.assert_array_equal(world.image("val", "p", "hr"), expected)


@pytest.mark.parametrize("preset", get_args(Preset))
def test_no_pairs(world: World, preset: Preset) -> None:
    """One placeholder says so for both, with every preset."""
    world.set(preset=preset)
    world.val = world.pairs = world.folder / "no-pairs"
    world.val.mkdir()
    (world.val / "README.md").touch()
    assert world.run().exit_code == 0
    for name in ("val", "pairs"):
        assert Store(world.out / f"{name}.zarr", "val").ids == []
    metrics = json.loads(world.metrics.read_text())
    assert (metrics["val_pairs"], metrics["val_inputs"], metrics["train_pairs"]) == (0, 0, 0)


def test_no_pairs_is_what_the_project_ships(world: World) -> None:
    world.val = world.pairs = Path(__file__).parents[2] / "data" / "raw" / "no-pairs"
    assert world.run().exit_code == 0
    assert Store(world.out / "pairs.zarr", "val").ids == []


def test_validation_without_references(world: World) -> None:
    """A store of kind lr, as that of the real LR images."""
    shutil.rmtree(world.val / "hr")
    jpeg(world.val / "lr" / "r.jpg", 85, "4:2:0")
    jpeg(world.val / "lr" / "s.jpg", 85, "4:2:0")
    file = jpeg(world.val / "lr" / "t.jpg", 85, "4:2:0")
    assert world.run().exit_code == 0
    store = Store(world.out / "val.zarr", "val", "lr")
    assert (store.kind, store.ids, store.scale) == ("lr", ["p", "q", "r", "s", "t"], 4)
    tables = {**tables_of(file), "subsampling": "4:2:0"}  # of three; two are no JPEG
    assert store.attributes["jpeg"] == {"tables": [tables], "shares": [pytest.approx(3 / 5)]}
    np.testing.assert_array_equal(world.image("val", "q"), planes(picture(9, 5, 8)))
    metrics = json.loads(world.metrics.read_text())
    assert (metrics["val_pairs"], metrics["val_inputs"]) == (0, 5)


@pytest.mark.parametrize("names", [("HR", "LR"), ("Hr", "lr")])
@pytest.mark.parametrize("place", ["val", "pairs"])
def test_folders_in_capitals(world: World, names: tuple[str, str], place: str) -> None:
    for side, name in zip(("hr", "lr"), names, strict=True):
        (world.folder / "raw" / place / side).rename(world.folder / "raw" / place / name)
    assert world.run().exit_code == 0
    assert (
        Store(world.out / f"{place}.zarr", "val").ids == {"val": ["p", "q"], "pairs": ["t"]}[place]
    )


def test_a_second_run_gives_the_same_stores(world: World) -> None:
    world.run()
    before = world.outputs()
    assert world.run().exit_code == 0
    assert world.outputs() == before


def test_a_second_run_replaces_the_first(world: World) -> None:
    world.run()
    (world.hr / "b.png").unlink()
    save(world.hr / "c.png", picture(50, 8, 8))
    assert world.run().exit_code == 0
    assert Store(world.out / "hr.zarr", "hr").ids == ["a", "c"]
    assert not (world.out / "hr.zarr" / "images" / "b").exists()
    np.testing.assert_array_equal(world.image("hr", "c"), planes(picture(50, 8, 8)))


def test_hr_from_the_camera(world: World) -> None:
    """What is made from the training part of the real LR images; the HR folder need not exist."""
    world.set(hr_from="lr", cleaning_factor=2, scale=2)
    world.val = world.pairs = world.folder / "none"
    world.val.mkdir()
    shutil.rmtree(world.hr)
    assert world.run().exit_code == 0
    store = Store(world.out / "hr.zarr", "hr")
    assert store.ids == ["a-cleaned", "b-cleaned", "c-cleaned"]
    lr = Store(world.out / "lr.zarr", "lr")
    assert store.attributes["cleaned"] == {"lr_digest": lr.digest, "factor": 2}
    for number, name in enumerate("abc"):
        width = 11 + number - (11 + number) // 4
        seen = planes(picture(number + 3, 9, 11 + number))[:, :, :width]
        expected = reduce_image(seen, 2)[:, :4, : width // 4 * 2]
        np.testing.assert_array_equal(world.image("hr", f"{name}-cleaned"), expected)
    assert json.loads(world.metrics.read_text())["hr_images"] == 3


def test_hr_from_both(world: World) -> None:
    world.set(hr_from="both", cleaning_factor=2)
    assert world.run().exit_code == 0
    store = Store(world.out / "hr.zarr", "hr")
    assert store.ids == ["a", "b", "c", "a-cleaned", "b-cleaned", "c-cleaned"]
    np.testing.assert_array_equal(world.image("hr", "b"), planes(picture(1, 22, 30))[:, :20, :28])
    before = world.outputs()
    world.set(hr_from="folder")
    assert world.run().exit_code == 0
    assert "cleaned" not in Store(world.out / "hr.zarr", "hr").attributes
    assert before != world.outputs()


def test_hr_from_both_with_a_name_that_collides(world: World) -> None:
    world.set(hr_from="both")
    save(world.hr / "B-Cleaned.png", picture(1, 20, 20))
    world.fails("B-Cleaned.png and b-cleaned.png would both be called", keeps=("hr", "val"))


@pytest.mark.parametrize("hr_from", ["lr", "both"])
def test_real_images_too_small_to_be_cleaned(world: World, hr_from: str) -> None:
    world.run()
    path = save(world.lr / "b.png", picture(1, 7, 90))
    world.set(hr_from=hr_from)
    sentence = f"{path}: is 7x68 without its held-out part, too small to be an HR image after "
    world.fails(f"{sentence}cleaning by 2 at the scale 4", keeps=("hr", "val", "pairs"))


def test_the_noise_that_cleaning_leaves(world: World) -> None:
    """From the folder to the store: 0.404 of independent noise (see ``cleaning.clean``)."""
    world.set(hr_from="lr")
    for path in world.lr.iterdir():
        path.unlink()
    save(world.lr / "n.png", np.moveaxis(noisy(15), 0, -1))
    assert world.run().exit_code == 0
    expected = np.hypot(0.4044 * 15, 12**-0.5)
    assert world.image("hr", "n-cleaned").std() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("preset", ["ntire2020-track1", "ntire2020-track2"])
def test_one_root_for_everything(world: World, preset: str) -> None:
    """A data set of the challenge as it was unpacked; see test_datasets.py for its names."""
    root = world.folder / "ntire"
    track1 = preset == "ntire2020-track1"
    start = "Corrupted" if track1 else "DPEDiphone"
    save(root / f"{start}-tr-y" / "1.png", picture(1, 24, 32))
    save(root / f"{start}-tr-x" / "2.png", picture(2, 16, 17))
    save(root / f"{start}-{'va-x' if track1 else 'crop-te-x'}" / "3.png", picture(3, 5, 6))
    save(root / "track1-valid-gt" / "3.png", picture(4, 20, 24))
    world.hr = world.lr = world.val = root
    world.set(preset=preset)
    assert world.run().exit_code == 0
    np.testing.assert_array_equal(world.image("hr", "1"), planes(picture(1, 24, 32)))
    np.testing.assert_array_equal(world.image("lr", "2"), planes(picture(2, 16, 17)))
    lr = world.image("val", "3", "lr" if track1 else "image")
    np.testing.assert_array_equal(lr, planes(picture(3, 5, 6)))
    assert Store(world.out / "val.zarr", "val", "lr").kind == ("val" if track1 else "lr")
    assert Store(world.out / "pairs.zarr", "val").ids == ["t"]


def test_realsr_for_everything(world: World) -> None:
    root = world.folder / "RealSR"
    for part, names in (("Train", "12"), ("Test", "3")):
        for name in names:
            start = root / "Canon" / part / "4" / f"Canon_{name}"
            save(start.with_name(f"{start.name}_HR.png"), picture(int(name), 20, 24))
            save(start.with_name(f"{start.name}_LR4.png"), picture(int(name) + 5, 5, 6))
    world.hr = world.lr = world.val = world.pairs = root
    world.set(preset="realsr-v3")
    assert world.run().exit_code == 0
    ids = {name: Store(world.out / f"{name}.zarr", "hr", "lr", "val").ids for name in FOLDERS}
    training = ["Canon_1", "Canon_2"]
    assert ids == {"hr": training, "lr": training, "val": ["Canon_3"], "pairs": training}
    np.testing.assert_array_equal(world.image("hr", "Canon_2"), planes(picture(2, 20, 24)))
    np.testing.assert_array_equal(world.image("lr", "Canon_2"), planes(picture(7, 5, 6)))
    np.testing.assert_array_equal(world.image("pairs", "Canon_1", "lr"), planes(picture(6, 5, 6)))
    np.testing.assert_array_equal(world.image("val", "Canon_3", "hr"), planes(picture(3, 20, 24)))


# Runs that fail


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("shopping list")


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("harm", [truncate, empty, text])
@pytest.mark.parametrize(
    ("place", "keeps"),
    [
        ("hr/b.png", ("hr", "val", "pairs")),
        ("lr/b.png", FOLDERS),
        ("val/hr/q.png", ("val", "pairs")),
        ("val/lr/q.png", ("val", "pairs")),
        ("pairs/lr/t.png", ("pairs",)),
    ],
)
def test_corrupted_image_in_the_middle(
    world: World, older: bool, harm: Callable[[Path], None], place: str, keeps: tuple[str, ...]
) -> None:
    if older:
        assert world.run().exit_code == 0
    save(world.folder / "raw" / place.replace("b.png", "a.png"), picture(99, 20, 32))
    path = world.folder / "raw" / place
    harm(path)
    world.fails(f"Error: {path}: ", keeps=keeps)
    for name in keeps:
        assert (world.out / f"{name}.zarr").exists() == older
        if older:
            Store(world.out / f"{name}.zarr", "hr", "lr", "val")


@pytest.mark.parametrize("side", ["hr", "lr"])
def test_pair_without_partner(world: World, side: str) -> None:
    world.run()
    (world.val / side / "p.png").unlink()
    other = {"hr": "lr", "lr": "hr"}[side]
    path, folder = world.val / other / "p.png", world.val / side
    world.fails(f"{path}: has no partner of the same name in {folder}")


@pytest.mark.parametrize(("height", "width"), [(24, 32), (20, 36), (16, 32), (80, 128)])
def test_pair_that_does_not_fit(world: World, height: int, width: int) -> None:
    world.run()
    path = save(world.val / "hr" / "q.png", picture(1, height, width))
    size = f"{height // 4 * 4}x{width // 4 * 4}"
    partner = world.val / "lr" / "q.png"
    sentence = f"{path} is {size} and {partner} is 5x8: HR must be 4 times LR"
    world.fails(sentence, keeps=("val", "pairs"))


@pytest.mark.parametrize(
    ("place", "side"), [("val", "hr"), ("val", "lr"), ("pairs", "hr"), ("pairs", "lr")]
)
def test_only_one_side_of_the_pairs(world: World, place: str, side: str) -> None:
    folder = world.folder / "raw" / place / side
    for path in folder.iterdir():
        path.unlink()
    world.fails(f"{folder}: holds no image")
    folder.rmdir()
    if (place, side) != ("val", "hr"):  # LR alone is for looking at
        world.fails(f"{folder}: there is no such folder")


@pytest.mark.parametrize("place", ["val", "pairs"])
def test_folders_that_are_no_pairs(world: World, place: str) -> None:
    """What is neither empty nor pairs is a mistake, not silence."""
    side = {"val": "lr", "pairs": "hr"}[place]
    for folder in (world.hr, world.folder):
        setattr(world, place, folder)
        words = "an empty folder means that there are no pairs"
        world.fails(f"{folder / side}: there is no such folder; pairs lie in folders hr", words)


@pytest.mark.parametrize("name", FOLDERS)
def test_missing_folder(world: World, name: str) -> None:
    world.run()
    setattr(world, name, world.folder / "nowhere")
    world.fails(f"{world.folder / 'nowhere'}: there is no such folder")


@pytest.mark.parametrize("name", ["hr", "lr"])
def test_empty_folder(world: World, name: str) -> None:
    folder = world.folder / "empty"
    folder.mkdir()
    setattr(world, name, folder)
    world.fails(f"{folder}: holds no image")


def test_file_in_place_of_a_folder(world: World) -> None:
    world.hr = world.params
    result = world.run()
    assert result.exit_code == 2
    assert f"'{world.params}' is a file" in result.stderr
    assert not world.out.exists()


@pytest.mark.parametrize(
    ("first", "second", "folder"),
    [
        ("a.png", "a.bmp", "hr"),
        ("a b.png", "a_b.png", "hr"),
        ("z.png", "Z.png", "lr"),
        ("p.png", "p.bmp", "val/hr"),
        ("p.png", "p.tif", "val/lr"),
    ],
)
def test_names_that_collide(world: World, first: str, second: str, folder: str) -> None:
    """Also among pairs, where one of the two would be passed over silently."""
    world.run()
    for name in (first, second):
        save(world.folder / "raw" / folder / name, picture(1, 20, 32))
    world.fails(first, second, "would both be called")


@pytest.mark.parametrize(("height", "width"), [(3, 30), (30, 3), (1, 1)])
def test_image_smaller_than_the_scale(world: World, height: int, width: int) -> None:
    world.run()
    path = save(world.hr / "b.png", picture(1, height, width))
    sentence = f"{path}: is {height}x{width}, smaller than the scale 4"
    world.fails(sentence, keeps=("hr", "val", "pairs"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tile": 3}, "prepare.tile is not a known setting"),
        ({"scale": 5}, "prepare.scale: input should be less than or equal to 4"),
        ({"scale": 1}, "prepare.scale: input should be greater than or equal to 2"),
        ({"scale": 4.5}, "prepare.scale: input should be a valid integer"),
        ({"preset": "realsr-v4"}, "prepare.preset: input should be 'none', 'ntire2020-track1', "),
        ({"preset": None}, "prepare.preset: "),
        ({"hr_from": "camera"}, "prepare.hr_from: input should be 'folder', 'lr' or 'both'"),
        ({"cleaning_factor": 1}, "prepare.cleaning_factor: input should be greater than or equal"),
        (
            {"cleaning_factor": 9},
            "prepare.cleaning_factor: input should be less than or equal to 8",
        ),
        ({"cleaning_factor": 2.5}, "prepare.cleaning_factor: input should be a valid integer"),
    ],
)
def test_settings_with_mistakes(world: World, changes: dict[str, object], words: str) -> None:
    world.set(**changes)
    world.fails(f"Error: {world.params}: ", words)
    assert not world.out.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("prepare: []\n", "prepare must be a mapping of settings, found []"),
        ("other:\n  scale: 4\n", "the section 'prepare' is missing"),
        ("prepare:\n  scale: 4\n  scale: 3\n", "is not valid YAML"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_params(world: World, content: str | None, words: str) -> None:
    world.params.unlink() if content is None else world.params.write_text(content)
    world.fails(f"Error: {world.params}: ", words)
    assert not world.out.exists()


def test_a_place_that_cannot_be_written(world: World) -> None:
    (world.folder / "file").touch()
    world.out = world.folder / "file" / "out"
    world.fails(f"{world.out / 'lr.zarr'}: cannot be written: ")


def test_metrics_that_cannot_be_written(world: World) -> None:
    (world.folder / "file").touch()
    world.metrics = world.folder / "file" / "metrics.json"
    result = world.run()
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert result.stderr.splitlines()[-1].startswith(f"Error: {world.folder / 'file'}")


# The engine


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are decoded."""
    names: list[str] = []
    original = files.read_image

    def read(path: Path) -> NDArray[np.uint8]:
        names.append(f"{path.parent.name}/{path.name}")
        return original(path)

    monkeypatch.setattr("pipeline.prepare.prepare.read_image", read)
    return names


def test_after_a_bad_image_the_good_ones_are_kept(world: World, decoded: list[str]) -> None:
    good = (world.hr / "c.png").read_bytes()
    text(world.hr / "c.png")
    world.fails("hr/c.png: is of no known format", keeps=("hr", "val", "pairs"))
    (world.hr / "c.png").write_bytes(good)
    decoded.clear()
    assert world.run().exit_code == 0
    assert [name for name in decoded if name[:2] in ("hr", "lr")][:1] == ["hr/c.png"]
    assert "hr/a.png" not in decoded and "lr/a.png" not in decoded
    resumed = world.outputs()
    shutil.rmtree(world.out)
    shutil.rmtree(world.folder / "work")
    assert world.run().exit_code == 0
    assert world.outputs() == resumed  # as in one go


def test_an_image_that_changed_is_decoded_again(world: World, decoded: list[str]) -> None:
    text(world.hr / "c.png")
    world.fails("hr/c.png: is of no known format", keeps=("hr", "val", "pairs"))
    changed = picture(77, 24, 32)
    save(world.hr / "a.png", changed)
    save(world.hr / "c.png", changed)
    decoded.clear()
    assert world.run().exit_code == 0
    assert {"hr/a.png", "hr/c.png"} <= set(decoded) and "hr/b.png" not in decoded
    store = Store(world.out / "hr.zarr", "hr")
    for image_id in "ac":
        np.testing.assert_array_equal(store.read(image_id, "image"), planes(changed))
    assert not verify(world.out / "hr.zarr").faults


def test_finished_stores_are_not_made_again(world: World, decoded: list[str]) -> None:
    """As if DVC had been killed before it took note of them, and deletes them."""
    assert world.run().exit_code == 0
    before = world.outputs()
    shutil.rmtree(world.out)
    decoded.clear()
    assert world.run().exit_code == 0
    assert decoded == [] and world.outputs() == before
    save(world.lr / "a.png", picture(78, 9, 11))
    assert world.run().exit_code == 0
    assert decoded == ["lr/a.png", "lr/b.png", "lr/c.png"]


def test_errors_of_the_engine(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.png"
    for prepare in (prepare_hr, prepare_lr):
        with pytest.raises(UserError, match="nowhere.png: cannot be read"):
            prepare({"a": missing}, 4, tmp_path / "a.zarr")
    with pytest.raises(UserError, match="nowhere.png: cannot be read"):
        prepare_pairs({"a": (missing, missing)}, 4, tmp_path / "a.zarr")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scale", [1, 5, 4.0, "4"])
def test_settings(scale: object) -> None:
    with pytest.raises(ValueError, match="scale"):
        prepare_settings(scale=scale)


def noisy(sigma: float, seed: int = 1, level: float = 128) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    values = level + sigma * rng.standard_normal((3, 200, 301))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("sigma", [1, 2.2, 4, 4.5, 5, 12, 25])
def test_noise_level_of_gaussian_noise(sigma: float) -> None:
    rounded = (sigma**2 + 1 / 12) ** 0.5  # to 8 bit
    assert noise_level(noisy(sigma)) == pytest.approx(rounded, rel=0.02)


def test_noise_level_sees_through_slopes_and_edges() -> None:
    """A ramp and a few edges, as photographs have, change little."""
    image = noisy(5, level=60).astype(int)
    image += np.linspace(0, 100, 301).astype(int)
    image[:, 50:] += 20
    image[:, :, 120:] -= 30
    level = noise_level(np.clip(image, 0, 255).astype(np.uint8))
    assert level == pytest.approx(5, rel=0.05)


def test_noise_level_by_its_definition() -> None:
    """Block by block; a random half of a step on both sides stands for the interval."""
    image = noisy(9)[:, :101, :121]
    found = []
    for channel in image.astype(float):
        for y in range(0, 100, 2):
            for x in range(0, 120, 2):
                block = channel[y : y + 2, x : x + 2]
                found.append((block[0, 0] + block[1, 1] - block[0, 1] - block[1, 0]) / 2)
    blurred = np.array(found) + np.random.default_rng(4).uniform(-0.25, 0.25, (200, len(found)))
    expected = np.median(np.abs(blurred)) / norm.ppf(0.75)
    assert noise_level(image) == pytest.approx(expected, rel=0.002)


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 1, 9), (3, 9, 1)])
def test_noise_level_of_less_than_a_block(shape: tuple[int, int, int]) -> None:
    assert noise_level(np.full(shape, 7, np.uint8)) == 0


def test_noise_level_of_a_flat_image() -> None:
    assert noise_level(np.full((3, 20, 20), 255, np.uint8)) == pytest.approx(0.185, abs=0.001)
    checkers = np.tile(np.array([[0, 255], [255, 0]], np.uint8), (3, 10, 10))
    assert noise_level(checkers) == pytest.approx(255 / 0.6745, rel=1e-3)


def test_describe(world: World) -> None:
    for path in world.lr.iterdir():
        path.unlink()
    for number, sigma in enumerate((3, 6, 20)):
        save(world.lr / f"{number}.png", np.moveaxis(noisy(sigma), 0, -1))
    assert world.run().exit_code == 0
    hr, lr = Store(world.out / "hr.zarr", "hr"), Store(world.out / "lr.zarr", "lr")
    val, pairs = (Store(world.out / f"{name}.zarr", "val") for name in ("val", "pairs"))
    metrics = describe(hr, lr, val, pairs)
    assert metrics == json.loads(world.metrics.read_text())
    assert metrics["lr_noise_level"] == pytest.approx(6, rel=0.03)


def test_the_real_images_say_how_they_are_compressed(world: World) -> None:
    world.run()
    assert Store(world.out / "lr.zarr", "lr").attributes["jpeg"] is None
    files = [jpeg(world.lr / f"{name}.jpg", 85, "4:2:0") for name in "defg"]
    tables = {**tables_of(files[0]), "subsampling": "4:2:0"}
    assert world.run().exit_code == 0
    found = Store(world.out / "lr.zarr", "lr").attributes["jpeg"]
    assert found == {"tables": [tables], "shares": [pytest.approx(4 / 7)]}
    for name in "abc":
        (world.lr / f"{name}.png").unlink()
    assert world.run().exit_code == 0
    assert Store(world.out / "lr.zarr", "lr").attributes["jpeg"] == tables
    assert "jpeg" not in Store(world.out / "hr.zarr", "hr").attributes


# Files with profiles, of phones, and with names of all languages


def test_names_beyond_ascii(world: World) -> None:
    """Photographs that an id cannot tell apart; the store knows the names of their files."""
    names = ["京都の夏.png", "大阪の冬.png", "größe.png"]
    for number, name in enumerate(names):
        save(world.hr / name, picture(number + 40, 16, 20))
        save(world.lr / name, picture(number + 50, 9, 11))
        save(world.val / "hr" / name, picture(number + 60, 16, 20))
        save(world.val / "lr" / name, picture(number + 70, 4, 5))
    assert world.run().exit_code == 0
    for store in (Store(world.out / "hr.zarr", "hr"), Store(world.out / "lr.zarr", "lr"),
                  Store(world.out / "val.zarr", "val")):  # fmt: skip
        shown = {store.file_name(image_id): image_id for image_id in store.ids}
        assert set(names) <= shown.keys()
        assert all(image_id.isascii() for image_id in store.ids)
    hr = Store(world.out / "hr.zarr", "hr")
    image = hr.read({hr.file_name(i): i for i in hr.ids}["大阪の冬.png"], "image")
    np.testing.assert_array_equal(image, planes(picture(41, 16, 20)))
    assert hr.file_name("a") == "a"
    assert verify(world.out / "hr.zarr").faults == []


def test_stores_of_plain_names_hold_no_names(world: World) -> None:
    """So they stay what they were."""
    assert world.run().exit_code == 0
    for name in ("hr", "lr", "val"):
        assert "file_names" not in Store(world.out / f"{name}.zarr", "hr", "lr", "val").attributes


def test_other_files_are_counted_and_named(world: World, caplog: pytest.LogCaptureFixture) -> None:
    (world.lr / "IMG_1.PSD").touch()
    (world.val / "hr" / "notes.txt").touch()
    assert world.run().exit_code == 0
    assert caplog.messages == [
        f"{world.lr}: one file passed over (.psd)",
        f"{world.val / 'hr'}: one file passed over (.txt)",
    ]


def test_a_profile_is_applied_and_a_damaged_one_is_a_warning(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    profile = cms_profile(
        "rgb", whitepoint=(0.3127, 0.329), primaries=(0.64, 0.33, 0.21, 0.71, 0.15, 0.06),
        gamma=563 / 256,
    )  # fmt: skip
    flat = np.full((9, 11, 3), (120, 180, 90), np.uint8)
    save(world.lr / "d.png", flat, icc_profile=profile)
    save(world.lr / "e.png", flat, icc_profile=b"damaged")
    assert world.run().exit_code == 0
    lr = Store(world.out / "lr.zarr", "lr")
    assert np.abs(lr.read("d", "image")[:, 0, 0].astype(int) - (81, 182, 83)).max() <= 1
    assert lr.read("e", "image")[:, 0, 0].tolist() == [120, 180, 90]
    (said,) = {message for message in caplog.messages if str(world.lr) in message}
    assert said.startswith(f"{world.lr / 'e.png'}: its colours are taken")
