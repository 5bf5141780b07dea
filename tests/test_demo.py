"""The demo: what lies on disk after a run, and the law of its camera."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin
from scipy.ndimage import gaussian_filter
from scipy.stats import kstest, laplace

from pipeline import demo
from pipeline.demo import DemoSettings, clean_view, noise_scale, write_demo
from stages.demo import command

CAMERA = DemoSettings(
    seed=1, blur_sigma=1.0, noise_floor=4.0, noise_slope=10.0, jpeg_quality=95
)  # fmt: skip
PARAMS = """\
prepare:
  scale: 4
demo:
  seed: 1
  blur_sigma: 1.0
  noise_floor: 4.0
  noise_slope: 10.0
  jpeg_quality: 95
"""


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
    options = {
        "--out": folder / "raw",
        "--metrics": folder / "m.json",
        "--params": folder / "params.yaml",
    }
    arguments = [str(part) for option in options.items() for part in option]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    return folder


def test_files(written: Path) -> None:
    raw = written / "raw"
    names = {str(path.relative_to(raw)) for path in raw.rglob("*") if path.is_file()}
    stems = {
        kind: [Path(name).stem for name in getattr(demo, kind)] for kind in ("HR", "LR", "VAL")
    }
    assert names == {
        *(f"hr/{stem}.png" for stem in stems["HR"]),
        *(f"lr/{stem}.jpg" for stem in stems["LR"]),
        *(f"val/hr/{stem}.png" for stem in stems["VAL"]),
        *(f"val/lr/{stem}.jpg" for stem in stems["VAL"]),
        *(f"truth/clean/{stem}.png" for stem in stems["LR"] + stems["VAL"]),
        "truth/camera.json",
    }
    for kind in ("HR", "LR", "VAL"):
        assert len(stems[kind]) >= 2


def test_metrics(written: Path) -> None:
    metrics = json.loads((written / "m.json").read_text())
    counts = {"hr_images": 6, "lr_images": 8, "val_pairs": 2}
    assert {name: metrics[name] for name in counts} == counts
    raw = written / "raw"
    means = [
        4 + 10 * pixels(raw / "truth" / "clean" / f"{Path(name).stem}.png").mean() / 255
        for name in demo.LR
    ]
    assert metrics["true_noise_scale"] == pytest.approx(np.mean(means), rel=1e-3)


def test_sizes(written: Path) -> None:
    raw = written / "raw"
    for path in (raw / "hr").iterdir():
        height, width, _ = pixels(path).shape
        assert height % 4 == 0 and width % 4 == 0
    for hr in (raw / "val" / "hr").iterdir():
        height, width, _ = pixels(hr).shape
        lr = pixels(raw / "val" / "lr" / f"{hr.stem}.jpg")
        assert lr.shape == (height // 4, width // 4, 3)
    for lr_path in [*(raw / "lr").iterdir(), *(raw / "val" / "lr").iterdir()]:
        clean = pixels(raw / "truth" / "clean" / f"{lr_path.stem}.png")
        assert pixels(lr_path).shape == clean.shape


def test_the_sets_share_no_photograph(written: Path) -> None:
    names = [*demo.HR, *demo.LR, *demo.VAL]
    assert len({Path(name).stem for name in names}) == len(names)
    clean = hashes(written / "raw" / "truth" / "clean")
    assert len(set(clean.values())) == len(clean)
    trained = {pixels(path).tobytes() for path in (written / "raw" / "hr").iterdir()}
    held_out = {pixels(path).tobytes() for path in (written / "raw" / "val" / "hr").iterdir()}
    assert len(trained) == len(demo.HR)
    assert not trained & held_out


def test_camera_json(written: Path) -> None:
    content = json.loads((written / "raw" / "truth" / "camera.json").read_text())
    assert content == {
        "scale": 4,
        "seed": 1,
        "blur_sigma": 1.0,
        "noise_floor": 4.0,
        "noise_slope": 10.0,
        "jpeg_quality": 95,
    }


def test_photographs_are_those_of_scikit_image(written: Path) -> None:
    from skimage import data

    expected = data.astronaut()
    height, width = (length // 4 * 4 for length in expected.shape[:2])
    found = pixels(written / "raw" / "hr" / "astronaut.png")
    np.testing.assert_array_equal(found, expected[:height, :width])


def test_jpegs_keep_all_channels_at_full_size(written: Path) -> None:
    with Image.open(written / "raw" / "lr" / "retina.jpg") as file:
        assert isinstance(file, JpegImagePlugin.JpegImageFile)
        assert JpegImagePlugin.get_sampling(file) == 0


def test_the_noise_is_where_the_truth_says(written: Path) -> None:
    """Residuals of the real files grow with brightness as 4 + 10 x, but for the JPEG."""
    raw = written / "raw"
    residual, clean = [], []
    for name in demo.LR:
        truth = pixels(raw / "truth" / "clean" / f"{Path(name).stem}.png").astype(float)
        clean.append(truth.ravel())
        residual.append(np.abs(pixels(raw / "lr" / f"{Path(name).stem}.jpg") - truth).ravel())
    levels, sizes = np.concatenate(clean), np.concatenate(residual)
    for low in range(40, 200, 20):  # elsewhere 8 bit cut the noise off
        here = (levels >= low) & (levels < low + 20)
        law = 4 + 10 * levels[here].mean() / 255
        assert 0.98 * law < sizes[here].mean() < 1.25 * law  # the JPEG adds its own errors


# The camera on pictures whose truth is plain


@pytest.mark.parametrize("level", [64, 128, 180])
def test_law_of_the_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: int) -> None:
    """On flat grey E|sample - clean| is the scale, and the noise is Laplace and white."""
    flat = np.full((3, 512, 512), level, np.uint8)
    monkeypatch.setattr(demo, "_photograph", lambda *_: flat)
    for name in ("HR", "LR", "VAL"):
        monkeypatch.setattr(demo, name, (f"{name}.png",))
    settings = CAMERA.model_copy(update={"jpeg_quality": 100})
    metrics = write_demo(tmp_path, 4, settings)
    scale = 4 + 10 * level / 255
    assert metrics["true_noise_scale"] == pytest.approx(scale, rel=1e-5)
    clean = pixels(tmp_path / "truth" / "clean" / "LR.png")
    assert clean.shape == (128, 128, 3) and (clean == level).all()
    residual = pixels(tmp_path / "lr" / "LR.jpg").astype(float) - clean
    assert np.abs(residual).mean() == pytest.approx(scale, rel=0.03)
    assert residual.mean() == pytest.approx(0, abs=5 * 2**0.5 * scale / residual.size**0.5)
    spread = residual + np.random.default_rng(1).uniform(-0.5, 0.5, residual.shape)
    assert kstest(spread.ravel(), laplace(scale=scale).cdf).statistic < 0.02
    variance = (residual**2).mean()
    assert variance == pytest.approx(2 * scale**2, rel=0.06)
    for one, other in (
        (residual[1:], residual[:-1]),
        (residual[:, 1:], residual[:, :-1]),
        (residual[..., 0], residual[..., 1]),
    ):
        assert abs((one * other).mean() / variance) < 0.03


def test_pictures_have_noise_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = np.full((3, 64, 64), 128, np.uint8)
    monkeypatch.setattr(demo, "_photograph", lambda *_: flat)
    write_demo(tmp_path, 4, CAMERA)
    shots = hashes(tmp_path / "lr").values()
    assert len(set(shots)) == len(demo.LR)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.3])
def test_clean_view(sigma: float) -> None:
    """Blur against SciPy; the bicubic kernel by a sine whose response is known."""
    rng = np.random.default_rng(3)
    rough = gaussian_filter(rng.random((3, 96, 128)) * 255, (0, 3, 3)) * 3 % 256
    hr = np.clip(rough, 0, 255).astype(np.uint8)
    settings = CAMERA.model_copy(update={"blur_sigma": sigma})
    view = clean_view(hr, 4, settings)
    assert view.shape == (1, 3, 24, 32)
    assert 0 <= view.min() and view.max() <= 1  # noqa: SIM300
    blurred = gaussian_filter(hr / 255, (0, sigma, sigma), mode="mirror", truncate=4)
    reference = []
    for channel in blurred:
        picture = Image.fromarray(channel.astype(np.float32))
        reference.append(np.asarray(picture.resize((32, 24), Image.Resampling.BICUBIC)))
    inside = np.s_[:, 3:-3, 3:-3]  # Pillow cuts the kernel at the border, MATLAB mirrors
    difference = np.abs(view[0].numpy()[inside] - np.clip(np.stack(reference), 0, 1)[inside])
    assert difference.max() < 1 / 255


def test_the_clean_view_does_not_overshoot() -> None:
    """Beside a sharp edge the bicubic kernel leaves [0, 1]; the sensor does not."""
    edge = np.zeros((3, 64, 64), np.uint8)
    edge[:, :, 30:] = 255
    view = clean_view(edge, 4, CAMERA.model_copy(update={"blur_sigma": 0.3}))
    assert view.min() == 0 and view.max() == 1


def test_noise_scale() -> None:
    clean = torch.tensor([0.0, 0.5, 1.0])
    expected = torch.tensor([4.0, 9.0, 14.0]) / 255
    torch.testing.assert_close(noise_scale(clean, CAMERA), expected)


# Repeating it


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.random.default_rng(5).integers(60, 190, (3, 64, 80), dtype=np.uint8)
    monkeypatch.setattr(demo, "_photograph", lambda *_: picture)


def test_reproducible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    first = write_demo(tmp_path / "a", 4, CAMERA)
    torch.manual_seed(99)
    assert write_demo(tmp_path / "b", 4, CAMERA) == first
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    write_demo(tmp_path / "a", 4, CAMERA)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


@pytest.mark.parametrize(
    ("setting", "value", "clean_too"),
    [
        ("seed", 2, False),
        ("noise_floor", 5.0, False),
        ("noise_slope", 9.0, False),
        ("jpeg_quality", 90, False),
        ("blur_sigma", 1.5, True),
    ],
)
def test_every_setting_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: float, clean_too: bool
) -> None:
    small(monkeypatch)
    write_demo(tmp_path / "a", 4, CAMERA)
    write_demo(tmp_path / "b", 4, CAMERA.model_copy(update={setting: value}))
    one, other = hashes(tmp_path / "a"), hashes(tmp_path / "b")
    for name in one:
        same = name.startswith(("hr/", "val/hr/"))
        same = same or (name.startswith("truth/clean/") and not clean_too)
        assert (one[name] == other[name]) == same, name


def test_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    write_demo(tmp_path, 2, CAMERA)
    assert pixels(tmp_path / "val" / "lr" / "coffee.jpg").shape == (32, 40, 3)
    assert json.loads((tmp_path / "truth" / "camera.json").read_text())["scale"] == 2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seed: 1", "seed: -1", "demo.seed: "),
        ("blur_sigma: 1.0", "blur_sigma: 0", "demo.blur_sigma: "),
        ("noise_floor: 4.0", "noise_floor: -1", "demo.noise_floor: "),
        ("jpeg_quality: 95", "jpeg_quality: 101", "demo.jpeg_quality: "),
        ("jpeg_quality: 95", "gain: 3", "demo.gain is not a known setting"),
        ("scale: 4", "scale: 8", "prepare.scale: "),
    ],
)
def test_settings_that_are_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(PARAMS.replace(old, new))
    arguments = ["--out", tmp_path / "raw", "--metrics", tmp_path / "m", "--params", params]
    result = CliRunner().invoke(command, [str(part) for part in arguments])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {params}: ") and words in result.stderr
    assert result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "file").touch()
    arguments = ["--out", tmp_path / "file" / "raw", "--metrics", tmp_path / "m"]
    arguments += ["--params", tmp_path / "params.yaml"]
    result = CliRunner().invoke(command, [str(part) for part in arguments])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {tmp_path / 'file'}")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "m").exists()
