"""The demo: what lies on disk after a run, and the law of its camera."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from laws import STANDARD_ERRORS
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin
from scipy.stats import kstest, laplace

from pipeline.base.errors import UserError
from pipeline.base.seeding import generator
from pipeline.demo import demo, photographs
from pipeline.demo.camera import Camera
from pipeline.demo.demo import DemoSettings, write_demo
from pipeline.demo.photographs import PhotographFolders, photograph
from pipeline.images.io import Subsampling
from stages.demo import command

SETTINGS = DemoSettings(seed=1, camera="phone", captures=0)
PHONE: dict[str, object] = {
    "blur_along": 1.0,
    "blur_across": 1.0,
    "blur_angle": 0.0,
    "noise": "laplace",
    "noise_at_black_gray": 5.7,
    "noise_at_white_gray": 19.8,
    "mosaic": False,
    "chroma_denoising": 0.0,
    "jpeg_quality": 95,
    "jpeg_subsampling": "4:4:4",
}
CAMERA = Camera.model_validate(PHONE)
PARAMS = """\
prepare:
  scale: 4
  preset: none
  hr_from: folder
  cleaning_factor: 2
demo:
  seed: 1
  camera: phone
  captures: 0
"""
CAMERAS = """\
phone:
  blur_along: 1.0
  blur_across: 1.0
  blur_angle: 0.0
  noise: laplace
  noise_at_black_gray: 5.7
  noise_at_white_gray: 19.8
  mosaic: false
  chroma_denoising: 0.0
  jpeg_quality: 95
  jpeg_subsampling: "4:4:4"
"""


def call(folder: Path, raw: Path, *more: str) -> Result:
    """Run the command with the settings in a folder, and with more options."""
    options = {
        "--out": raw,
        "--metrics": folder / "m.json",
        "--params": folder / "params.yaml",
        "--cameras": folder / "cameras.yaml",
    }
    words = [str(part) for option in options.items() for part in option]
    return CliRunner().invoke(command, [*words, *more])


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB"))


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of the command."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "params.yaml").write_text(PARAMS)
    (folder / "cameras.yaml").write_text(CAMERAS)
    result = call(folder, folder / "raw")
    assert result.exit_code == 0, result.output
    return folder


def test_files(written: Path) -> None:
    raw = written / "raw"
    names = {str(path.relative_to(raw)) for path in raw.rglob("*") if path.is_file()}
    stems = {
        kind: [Path(name).stem for name in getattr(photographs, kind)]
        for kind in ("HR", "LR", "VAL")
    }
    assert names == {
        *(f"hr/{stem}.png" for stem in stems["HR"]),
        *(f"lr/{stem}.jpg" for stem in stems["LR"]),
        *(f"val/hr/{stem}.png" for stem in stems["VAL"]),
        *(f"val/lr/{stem}.jpg" for stem in stems["VAL"]),
        *(f"truth/clean/{stem}.png" for stem in stems["LR"]),
        *(f"truth/val/{stem}.png" for stem in stems["VAL"]),
        "truth/camera.json",
    }
    for kind in ("HR", "LR", "VAL"):
        assert len(stems[kind]) >= 2


def test_metrics(written: Path) -> None:
    metrics = json.loads((written / "m.json").read_text())
    counts = {"hr_images": 6, "lr_images": 8, "val_pairs": 2, "train_pairs": 0}
    assert {name: metrics[name] for name in counts} == counts
    raw = written / "raw"
    clean = [pixels(raw / "truth" / "clean" / f"{Path(name).stem}.png") for name in photographs.LR]
    variances = [((5.7 + 14.1 * image / 255) ** 2).mean() for image in clean]
    assert metrics["true_noise_level"] == pytest.approx(np.mean(variances) ** 0.5, rel=1e-3)


def test_sizes(written: Path) -> None:
    raw = written / "raw"
    for path in (raw / "hr").iterdir():
        height, width, _ = pixels(path).shape
        assert height % 4 == 0 and width % 4 == 0
    for hr in (raw / "val" / "hr").iterdir():
        height, width, _ = pixels(hr).shape
        lr = pixels(raw / "val" / "lr" / f"{hr.stem}.jpg")
        assert lr.shape == (height // 4, width // 4, 3)
    for folder, truth in (("lr", "clean"), ("val/lr", "val")):
        for lr_path in (raw / folder).iterdir():
            clean = pixels(raw / "truth" / truth / f"{lr_path.stem}.png")
            assert pixels(lr_path).shape == clean.shape


def test_the_sets_share_no_photograph(written: Path) -> None:
    names = [*photographs.HR, *photographs.LR, *photographs.VAL]
    assert len({Path(name).stem for name in names}) == len(names)
    clean = hashes(written / "raw" / "truth")
    assert len(set(clean.values())) == len(clean) == len(photographs.LR + photographs.VAL) + 1
    trained = {pixels(path).tobytes() for path in (written / "raw" / "hr").iterdir()}
    held_out = {pixels(path).tobytes() for path in (written / "raw" / "val" / "hr").iterdir()}
    assert len(trained) == len(photographs.HR)
    assert not trained & held_out


def test_camera_json(written: Path) -> None:
    content = json.loads((written / "raw" / "truth" / "camera.json").read_text())
    assert content == {"scale": 4, "seed": 1, "camera": "phone", **PHONE}


def test_photographs_are_those_of_scikit_image(written: Path) -> None:
    from skimage import data

    expected = data.astronaut()
    height, width = (length // 4 * 4 for length in expected.shape[:2])
    found = pixels(written / "raw" / "hr" / "astronaut.png")
    np.testing.assert_array_equal(found, expected[:height, :width])


def test_a_grey_photograph_has_three_equal_channels() -> None:
    image = photograph("camera.png", 4)
    assert image.shape == (3, 512, 512) and image.dtype == np.uint8
    np.testing.assert_array_equal(image, image[:1].repeat(3, axis=0))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_photographs_are_cropped_to_the_scale(scale: int) -> None:
    whole = photograph("chelsea.png", 1)
    height, width = (length // scale * scale for length in whole.shape[1:])
    np.testing.assert_array_equal(photograph("chelsea.png", scale), whole[:, :height, :width])


@pytest.mark.parametrize(("kind", "name"), [("lr", "coins.png"), ("val/lr", "coffee.png")])
def test_the_files_are_what_the_camera_exposes(written: Path, kind: str, name: str) -> None:
    clean = CAMERA.clean(photograph(name, 4), 4)
    expected = CAMERA.expose(clean, generator(1, f"demo/{name}"))
    found = pixels(written / "raw" / kind / f"{Path(name).stem}.jpg")
    np.testing.assert_array_equal(found, np.moveaxis(expected, 0, -1))
    truth = pixels(written / "raw" / "truth" / {"lr": "clean", "val/lr": "val"}[kind] / name)
    np.testing.assert_allclose(truth, np.moveaxis(clean.numpy(), 0, -1) * 255, atol=0.501)


def test_jpegs_keep_all_channels_at_full_size(written: Path) -> None:
    with Image.open(written / "raw" / "lr" / "retina.jpg") as file:
        assert isinstance(file, JpegImagePlugin.JpegImageFile)
        assert JpegImagePlugin.get_sampling(file) == 0


@pytest.mark.arithmetic
def test_the_noise_is_where_the_truth_says(written: Path) -> None:
    """Residuals of the real files grow with brightness as 4 + 10 x, but for the JPEG.

    Those are the Laplace scales, the standard deviations 5.7 and 19.8 over the root of 2.
    """
    raw = written / "raw"
    residual, clean = [], []
    for name in photographs.LR:
        truth = pixels(raw / "truth" / "clean" / f"{Path(name).stem}.png").astype(float)
        clean.append(truth.ravel())
        residual.append(np.abs(pixels(raw / "lr" / f"{Path(name).stem}.jpg") - truth).ravel())
    levels, sizes = np.concatenate(clean), np.concatenate(residual)
    for low in range(40, 200, 20):  # elsewhere 8 bit cut the noise off
        here = (levels >= low) & (levels < low + 20)
        law = 4 + 10 * levels[here].mean() / 255
        assert 0.95 * law < sizes[here].mean() < 1.35 * law  # the JPEG adds its own errors


# The camera on pictures whose truth is plain


@pytest.mark.arithmetic
@pytest.mark.parametrize("level", [64, 128, 180])
def test_law_of_the_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: int) -> None:
    """On flat grey E|sample - clean| is the scale, and the noise is Laplace and white.

    Six standard errors are 0.027 of the scale and 0.06 of the variance; the rest is for the JPEG.
    """
    flat = np.full((3, 512, 512), level, np.uint8)
    monkeypatch.setattr(photographs, "photograph", lambda *_: flat)
    names = {"hr": ("HR.png",), "scenes": ("LR.png",), "val": ("VAL.png",)}
    monkeypatch.setattr(demo, "SHIPPED", names)
    metrics = write_demo(
        tmp_path, 4, SETTINGS, Camera.model_validate({**PHONE, "jpeg_quality": 100})
    )
    scale = (5.7 + 14.1 * level / 255) / 2**0.5
    assert metrics["true_noise_level"] == pytest.approx(2**0.5 * scale, rel=1e-5)
    clean = pixels(tmp_path / "truth" / "clean" / "LR.png")
    assert clean.shape == (128, 128, 3) and (clean == level).all()
    residual = pixels(tmp_path / "lr" / "LR.jpg").astype(float) - clean
    assert np.abs(residual).mean() == pytest.approx(scale, rel=0.05)
    assert residual.mean() == pytest.approx(
        0, abs=STANDARD_ERRORS * 2**0.5 * scale / residual.size**0.5
    )
    spread = residual + np.random.default_rng(1).uniform(-0.5, 0.5, residual.shape)
    assert kstest(spread.ravel(), laplace(scale=scale).cdf).statistic < 0.02
    variance = (residual**2).mean()
    assert variance == pytest.approx(2 * scale**2, rel=0.1)
    for one, other in (
        (residual[1:], residual[:-1]),
        (residual[:, 1:], residual[:, :-1]),
        (residual[..., 0], residual[..., 1]),
    ):
        assert abs((one * other).mean() / variance) < STANDARD_ERRORS / one.size**0.5 + 0.01


def test_pictures_have_noise_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = np.full((3, 64, 64), 128, np.uint8)
    monkeypatch.setattr(photographs, "photograph", lambda *_: flat)
    write_demo(tmp_path, 4, SETTINGS, CAMERA)
    shots = hashes(tmp_path / "lr").values()
    assert len(set(shots)) == len(photographs.LR)


def test_the_noise_level_is_a_root_of_a_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a picture black, half white: between the deviations, above their mean."""
    half = np.zeros((3, 64, 64), np.uint8)
    half[:, :, 32:] = 255
    monkeypatch.setattr(photographs, "photograph", lambda *_: half)
    camera = Camera.model_validate({**PHONE, "blur_along": 0.0, "blur_across": 0.0})
    found = write_demo(tmp_path, 4, SETTINGS, camera)["true_noise_level"]
    assert found == pytest.approx(((5.7**2 + 19.8**2) / 2) ** 0.5, rel=0.01)


# The camera's files


@pytest.mark.parametrize(("subsampling", "code"), [("4:4:4", 0), ("4:2:0", 2)])
def test_subsampling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subsampling: Subsampling, code: int
) -> None:
    small(monkeypatch)
    camera = Camera.model_validate({**PHONE, "jpeg_subsampling": subsampling})
    write_demo(tmp_path, 4, SETTINGS, camera)
    with Image.open(tmp_path / "lr" / "coins.jpg") as file:
        assert isinstance(file, JpegImagePlugin.JpegImageFile)
        assert JpegImagePlugin.get_sampling(file) == code


def test_a_camera_without_jpeg_writes_png(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a run with another camera leaves no file of the one before."""
    picture = small(monkeypatch)
    camera = Camera.model_validate({**PHONE, "jpeg_quality": None})
    for one, suffix in ((CAMERA, ".jpg"), (camera, ".png"), (CAMERA, ".jpg"), (camera, ".png")):
        write_demo(tmp_path, 4, SETTINGS, one)
        for folder in ("lr", "val/lr"):
            assert {path.suffix for path in (tmp_path / folder).iterdir()} == {suffix}
    clean = camera.clean(picture, 4)
    expected = camera.expose(clean, generator(1, "demo/coins.png"))
    found = pixels(tmp_path / "lr" / "coins.png")
    np.testing.assert_array_equal(found, np.moveaxis(expected, 0, -1))
    assert json.loads((tmp_path / "truth" / "camera.json").read_text())["jpeg_quality"] is None


# Repeating it


def small(monkeypatch: pytest.MonkeyPatch) -> NDArray[np.uint8]:
    """Every photograph is one small picture; returns it."""
    picture = np.random.default_rng(5).integers(60, 190, (3, 64, 80), dtype=np.uint8)
    monkeypatch.setattr(photographs, "photograph", lambda *_: picture)
    return picture


def test_reproducible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    first = write_demo(tmp_path / "a", 4, SETTINGS, CAMERA)
    torch.manual_seed(99)
    assert write_demo(tmp_path / "b", 4, SETTINGS, CAMERA) == first
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    write_demo(tmp_path / "a", 4, SETTINGS, CAMERA)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


@pytest.mark.parametrize(
    ("setting", "value", "clean_too"),
    [
        ("seed", 2, False),
        ("noise", "gaussian", False),
        ("noise_at_black_gray", 5.0, False),
        ("noise_at_white_gray", 9.0, False),
        ("mosaic", True, False),
        ("jpeg_quality", 90, False),
        ("blur_along", 1.5, True),
    ],
)
def test_every_setting_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: object, clean_too: bool
) -> None:
    small(monkeypatch)
    write_demo(tmp_path / "a", 4, SETTINGS, CAMERA)
    settings, camera = SETTINGS.model_dump(), {**PHONE}
    (settings if setting in settings else camera)[setting] = value
    write_demo(
        tmp_path / "b", 4, DemoSettings.model_validate(settings), Camera.model_validate(camera)
    )
    one, other = hashes(tmp_path / "a"), hashes(tmp_path / "b")
    for name in one:
        same = name.startswith(("hr/", "val/hr/"))
        same = same or (name.startswith(("truth/clean/", "truth/val/")) and not clean_too)
        assert (one[name] == other[name]) == same, name


def test_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    write_demo(tmp_path, 2, SETTINGS, CAMERA)
    assert pixels(tmp_path / "val" / "lr" / "coffee.jpg").shape == (32, 40, 3)
    assert json.loads((tmp_path / "truth" / "camera.json").read_text())["scale"] == 2


@pytest.mark.parametrize(
    ("old", "new", "file", "words"),
    [
        ("seed: 1", "seed: -1", "params", "demo.seed: "),
        ("camera: phone", "camera: 3", "params", "demo.camera: "),
        ("camera: phone", "blur_sigma: 1.0", "params", "demo.blur_sigma is not a known setting"),
        ("scale: 4", "scale: 8", "params", "prepare.scale: "),
        ("camera: phone", "camera: tablet", "cameras", "the section 'tablet' is missing"),
        ("along: 1.0", "along: -1", "cameras", "phone.blur_along: "),
        ("jpeg_quality: 95", "jpeg_quality: 101", "cameras", "phone.jpeg_quality: "),
        ("mosaic: false", "gain: 3", "cameras", "phone.gain is not a known setting"),
        ("noise: laplace", "noise: salt", "cameras", "phone.noise: "),
    ],
)
def test_settings_that_are_refused(
    tmp_path: Path, old: str, new: str, file: str, words: str
) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS.replace(old, new))
    (tmp_path / "cameras.yaml").write_text(CAMERAS.replace(old, new))
    result = call(tmp_path, tmp_path / "raw")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {tmp_path / file}.yaml: ") and words in result.stderr
    assert result.stderr.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"params.yaml", "cameras.yaml"}


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "cameras.yaml").write_text(CAMERAS)
    (tmp_path / "file").touch()
    result = call(tmp_path, tmp_path / "file" / "raw")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {tmp_path / 'file'}")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "m.json").exists()


def test_no_pairs_without_captures(written: Path) -> None:
    assert not (written / "raw" / "pairs").exists()


def test_captures_are_pairs_with_fresh_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every HR image as often as asked for; the noise of two captures is independent."""
    small(monkeypatch)
    plain = {**PHONE, "noise": "gaussian", "noise_at_black_gray": 8.0, "noise_at_white_gray": 8.0}
    camera = Camera.model_validate({**plain, "jpeg_quality": None})
    settings = DemoSettings(seed=1, camera="phone", captures=3)
    metrics = write_demo(tmp_path, 4, settings, camera)
    stems = [Path(name).stem for name in photographs.HR]
    assert metrics["train_pairs"] == 3 * len(stems)
    files = [f"{stem}_0{k}.png" for stem in stems for k in range(3)]
    for side in ("hr", "lr"):
        assert sorted(path.name for path in (tmp_path / "pairs" / side).iterdir()) == sorted(files)
    for name in files:
        hr = tmp_path / "pairs" / "hr" / name
        assert hr.read_bytes() == (tmp_path / "hr" / f"{name[:-7]}.png").read_bytes()
    captures = [pixels(tmp_path / "pairs" / "lr" / name).astype(float) for name in files]
    noise = np.stack(captures) - pixels(tmp_path / "truth" / "val" / "coffee.png")
    assert noise.shape == (len(files), 16, 20, 3)  # small() shows one photograph under all names
    assert abs(noise.mean()) < 6 * 8 / noise.size**0.5
    assert noise.std() == pytest.approx(8, rel=6 / (2 * noise.size) ** 0.5)
    alike = np.asarray(np.corrcoef(noise.reshape(len(files), -1))) - np.eye(len(files))
    assert np.abs(alike).max() < 6 / noise[0].size ** 0.5


def test_captures_of_a_run_with_more_of_them_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch)
    for count in (3, 1, 0):
        write_demo(tmp_path, 4, SETTINGS.model_copy(update={"captures": count}), CAMERA)
        left = [path for path in tmp_path.glob("pairs/*/*") if path.is_file()]
        assert len(left) == 2 * count * len(photographs.HR)


# Folders of photographs


@pytest.fixture
def own(tmp_path: Path) -> PhotographFolders:
    """Two HR images, three scenes and a validation photograph, some of the same name."""
    rng = np.random.default_rng(8)
    content = {"hr": ["a b.png", "1.png"], "scenes": ["1.png", "2.jpg", "3.png"], "val": ["1.png"]}
    for folder, files in content.items():
        (tmp_path / "own" / folder).mkdir(parents=True)
        for name in files:
            image = rng.integers(60, 190, (66, 83, 3), dtype=np.uint8)
            Image.fromarray(image).save(tmp_path / "own" / folder / name)
    return PhotographFolders(*(tmp_path / "own" / name for name in content))


def test_own_photographs(tmp_path: Path, own: PhotographFolders) -> None:
    """Cropped to the scale, seen as the camera sees them, each with noise of its own."""
    raw = tmp_path / "raw"
    metrics = write_demo(raw, 4, DemoSettings(seed=1, camera="phone", captures=2), CAMERA, own)
    assert [metrics[f"{name}s"] for name in ("hr_image", "lr_image", "val_pair")] == [2, 3, 1]
    names = {"hr": ["1.png", "a_b.png"], "lr": ["1.jpg", "2.jpg", "3.jpg"], "val/hr": ["1.png"]}
    names["pairs/hr"] = ["1_00.png", "1_01.png", "a_b_00.png", "a_b_01.png"]
    for folder, files in names.items():
        assert sorted(path.name for path in (raw / folder).iterdir()) == files
    assert own.hr and own.scenes
    source = pixels(own.hr / "a b.png")[:64, :80]
    np.testing.assert_array_equal(pixels(raw / "hr" / "a_b.png"), source)
    scene = np.moveaxis(pixels(own.scenes / "3.png")[:64, :80], -1, 0)
    clean = CAMERA.clean(np.ascontiguousarray(scene), 4)
    expected = CAMERA.expose(clean, generator(1, "demo/scenes/3.png"))
    np.testing.assert_array_equal(pixels(raw / "lr" / "3.jpg"), np.moveaxis(expected, 0, -1))


def test_one_folder_leaves_the_others_to_scikit_image(
    tmp_path: Path, own: PhotographFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch)
    metrics = write_demo(tmp_path / "raw", 4, SETTINGS, CAMERA, PhotographFolders(val=own.val))
    assert (metrics["hr_images"], metrics["val_pairs"]) == (len(photographs.HR), 1)


def test_a_photograph_in_two_folders_is_refused(tmp_path: Path, own: PhotographFolders) -> None:
    assert own.scenes and own.val
    (own.val / "other.jpg").write_bytes((own.scenes / "2.jpg").read_bytes())
    with pytest.raises(UserError, match=r"val/other.jpg: is the same photograph as .*scenes/2.jpg"):
        write_demo(tmp_path / "raw", 4, SETTINGS, CAMERA, own)
    assert not (tmp_path / "raw").exists()


def test_no_images_of_other_photographs_stay(tmp_path: Path, own: PhotographFolders) -> None:
    write_demo(tmp_path / "raw", 4, SETTINGS, CAMERA, own)
    write_demo(tmp_path / "raw", 4, SETTINGS, CAMERA, own)
    assert own.val
    (own.val / "1.png").rename(own.val / "other.png")
    with pytest.raises(UserError, match=r"val/hr/1.png: is of other photographs"):
        write_demo(tmp_path / "raw", 4, SETTINGS, CAMERA, own)


def test_the_command_takes_folders(tmp_path: Path, own: PhotographFolders) -> None:
    """One that holds nothing but a README stands for the photographs of scikit-image."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "cameras.yaml").write_text(CAMERAS)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "README.md").touch()
    more = ["--hr", str(own.hr), "--scenes", str(own.scenes), "--val", str(tmp_path / "none")]
    result = call(tmp_path, tmp_path / "raw", *more)
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert (metrics["hr_images"], metrics["lr_images"]) == (2, 3)
    assert {path.stem for path in (tmp_path / "raw/val/hr").iterdir()} == {"chelsea", "coffee"}


@pytest.mark.parametrize(("make", "words"), [(False, "no such folder"), (True, "holds no image")])
def test_a_folder_without_photographs(tmp_path: Path, make: bool, words: str) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "cameras.yaml").write_text(CAMERAS)
    if make:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "photo.txt").touch()
    result = call(tmp_path, tmp_path / "raw", "--val", str(tmp_path / "mine"))
    assert result.exit_code == 1 and words in result.stderr
    assert result.stderr.startswith(f"Error: {tmp_path / 'mine'}: ")
    assert result.stderr.count("\n") == 1
