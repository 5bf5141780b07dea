"""Evaluation: every score again from the files it wrote, by other means."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import VAL_SIZES, World, names, picture, read_rows
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image
from scipy.signal import convolve2d
from spandrel import ImageModelDescriptor, ModelLoader
from torchvision.models import alexnet

from pipeline import evaluate as module
from pipeline import pictures
from pipeline.checkpoints import save_weights
from pipeline.errors import UserError
from pipeline.evaluate import EvaluateSettings, evaluate
from pipeline.networks import srn
from pipeline.stores import Store, StoreWriter
from stages.evaluate import command

Array = NDArray[np.float64]
METHODS = ("bicubic", "model")


def settings(**changes: object) -> EvaluateSettings:
    plain: dict[str, object] = {"lpips_weights": "none", "tile": 256, "halo": 8, "picture_crop": 48}
    return EvaluateSettings.model_validate({**plain, **changes})


def write_model(path: Path, scale: int = 4, features: int = 4) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = srn.build("Compact", scale, {"num_feat": features, "num_conv": 1})
    save_weights(path, network.state_dict(), {"format": "usrdu-srn"})
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "srn.safetensors")


@pytest.fixture(scope="module")
def evaluated(
    tiny: World, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, object]]:
    """Where the results of the tiny world are, and the metrics."""
    folder = tmp_path_factory.mktemp("evaluate") / "out"
    return folder, evaluate(tiny.val, model, settings(), folder)


# --- oracles


def png(path: Path) -> Array:
    """(H, W, 3) gray levels of a file, by Pillow alone."""
    with Image.open(path) as image:
        assert image.mode == "RGB"
        return np.asarray(image, dtype=np.float64)


def enlarged(lr: NDArray[np.uint8], scale: int) -> Array:
    """(H, W, 3) by Pillow's bicubic filter, the border mirrored, rounded to 8 bit."""
    pad = 4
    planes = []
    for plane in lr:
        padded = np.pad(plane.astype(np.float32), pad, mode="symmetric")
        size = (padded.shape[1] * scale, padded.shape[0] * scale)
        large = np.asarray(Image.fromarray(padded).resize(size, Image.Resampling.BICUBIC))
        planes.append(large[pad * scale : -pad * scale, pad * scale : -pad * scale])
    return np.asarray(np.clip(np.round(np.stack(planes, -1)), 0, 255), dtype=np.float64)


def psnr(one: Array, other: Array) -> float:
    error = ((one - other)[4:-4, 4:-4] ** 2).mean()
    return float(10 * np.log10(255**2 / error))


def ssim(one: Array, other: Array) -> float:
    """Wang et al. 2004: Gaussian window 11x11 of sigma 1.5, its valid part, K = 0.01 and 0.03."""
    rows, columns = np.mgrid[-5:6, -5:6]
    window = np.exp(-(rows**2 + columns**2) / (2 * 1.5**2))
    window /= window.sum()

    def smooth(plane: Array) -> Array:
        return np.asarray(convolve2d(plane, window, mode="valid"), dtype=np.float64)

    values = []
    for channel in range(3):
        x, y = (image[4:-4, 4:-4, channel] for image in (one, other))
        mx, my = smooth(x), smooth(y)
        vx, vy = smooth(x * x) - mx**2, smooth(y * y) - my**2
        cov = smooth(x * y) - mx * my
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        values.append(
            ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
        )
    return float(np.mean(values))


def scores(tiny: World, folder: Path) -> dict[tuple[str, str], dict[str, float]]:
    """Scores by image and method, from the SR files and from bicubic enlargement."""
    found = {}
    for image_id in VAL_SIZES:
        hr = np.moveaxis(tiny.val.read(image_id, "hr"), 0, -1).astype(np.float64)
        images = (
            enlarged(tiny.val.read(image_id, "lr"), 4),
            png(folder / "sr" / f"{image_id}.png"),
        )
        for method, image in zip(METHODS, images, strict=True):
            found[image_id, method] = {"psnr": psnr(image, hr), "ssim": ssim(image, hr)}
    return found


# --- numbers


def test_a_row_per_image_and_method(evaluated: tuple[Path, dict[str, object]], tiny: World) -> None:
    folder, _ = evaluated
    expected = scores(tiny, folder)
    rows = read_rows(folder / "images.csv")
    assert [(row["image"], row["method"]) for row in rows] == list(expected)
    for row, wanted in zip(rows, expected.values(), strict=True):
        found = {key: float(row[key]) for key in row if key not in ("image", "method")}
        assert found.keys() == {"psnr", "ssim"}  # LPIPS is left out
        assert found["psnr"] == pytest.approx(wanted["psnr"], abs=2e-3)
        assert found["ssim"] == pytest.approx(wanted["ssim"], abs=2e-4)
    values = [one["psnr"] for one in expected.values()]
    assert max(values) - min(values) > 1  # a row in the wrong place would be seen


def test_metrics_are_means_over_the_images(
    evaluated: tuple[Path, dict[str, object]], tiny: World
) -> None:
    folder, metrics = evaluated
    expected = scores(tiny, folder)
    for method in METHODS:
        mine = [wanted for (_, name), wanted in expected.items() if name == method]
        means = {key: np.mean([one[key] for one in mine]) for key in ("psnr", "ssim")}
        assert metrics[method] == pytest.approx(means, rel=2e-4)
    assert metrics["bicubic"] != pytest.approx(metrics["model"], rel=0.01)
    assert {key: metrics[key] for key in ("protocol", "border", "lpips_weights", "images")} == {
        "protocol": "usrdu",
        "border": 4,
        "lpips_weights": "none",
        "images": 2,
    }


def test_the_sr_files_are_what_spandrel_computes(
    evaluated: tuple[Path, dict[str, object]], tiny: World, model: Path
) -> None:
    network = ModelLoader(device="cpu").load_from_file(model)
    assert isinstance(network, ImageModelDescriptor)
    assert names(evaluated[0] / "sr") == [f"{image_id}.png" for image_id in VAL_SIZES]
    for image_id, size in VAL_SIZES.items():
        lr = torch.from_numpy(tiny.val.read(image_id, "lr")).float() / 255
        with torch.no_grad():
            whole = network(lr[None])[0].permute(1, 2, 0).double().numpy() * 255
        written = png(evaluated[0] / "sr" / f"{image_id}.png")
        assert written.shape == (*size, 3)
        assert np.abs(written - np.clip(whole, 0, 255)).max() <= 0.5 + 1e-3


def test_tiles_make_no_difference(
    evaluated: tuple[Path, dict[str, object]], tiny: World, model: Path, tmp_path: Path
) -> None:
    evaluate(tiny.val, model, settings(tile=7), tmp_path)
    for image_id in VAL_SIZES:
        tiled, whole = (png(f / "sr" / f"{image_id}.png") for f in (tmp_path, evaluated[0]))
        assert np.abs(tiled - whole).max() <= 1  # where float32 differs at half a level
        assert (tiled != whole).mean() < 1e-3


def test_side_by_side(evaluated: tuple[Path, dict[str, object]]) -> None:
    with Image.open(evaluated[0] / "side_by_side.png") as image:
        image.load()
        assert image.format == "PNG" and image.width > 3 * 200 and image.height > 2 * 200
    assert names(evaluated[0]) == ["images.csv", "side_by_side.png", "sr"]


def test_lpips_when_there_are_weights(tiny: World, model: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        convolutions = alexnet(weights=None).features.state_dict()
    torch.save({f"features.{key}": v for key, v in convolutions.items()}, tmp_path / "alex.pth")
    weights = str(tmp_path / "alex.pth")
    metrics = evaluate(tiny.val, model, settings(lpips_weights=weights), tmp_path / "out")
    assert metrics["lpips_weights"] == weights
    rows = read_rows(tmp_path / "out" / "images.csv")
    for method in METHODS:
        column = [float(row["lpips"]) for row in rows if row["method"] == method]
        means = metrics[method]
        assert isinstance(means, dict) and means["lpips"] == pytest.approx(
            np.mean(column), abs=1e-4
        )
        assert min(column) > 0


# --- pictures of many images


def test_pictures_are_of_the_first_images_and_of_their_centres(
    tiny: World, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture of all images of a large set could not be drawn, and all crops not be kept."""
    shown: list[NDArray[np.uint8]] = []
    show = pictures.show

    def watched(axes: Axes, image: NDArray[np.uint8], title: str) -> None:
        shown.append(image)
        show(axes, image, title)

    monkeypatch.setattr(pictures, "show", watched)
    monkeypatch.setattr(module, "PICTURE_ROWS", 1)
    metrics = evaluate(tiny.val, model, settings(picture_crop=80), tmp_path)
    assert metrics["images"] == 2 and len(read_rows(tmp_path / "images.csv")) == 4
    bicubic, sr, hr = shown
    assert np.array_equal(hr, tiny.val.read("pair-a", "hr")[:, :, 8:-8])  # 64x96, 80 wide at most
    written = np.moveaxis(png(tmp_path / "sr" / "pair-a.png"), -1, 0)
    assert np.array_equal(sr, written[:, :, 8:-8])
    assert bicubic.shape == hr.shape
    assert all(image.base is None for image in shown)  # copies, so that whole images can go


# --- sets that are empty or do not fit


def test_no_pairs(model: Path, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "val.zarr", "val", 4, []):
        pass
    metrics = evaluate(Store(tmp_path / "val.zarr", "val"), model, settings(), tmp_path / "out")
    assert (metrics["images"], metrics["model"], metrics["bicubic"]) == (0, {}, {})
    assert names(tmp_path / "out") == ["images.csv", "side_by_side.png", "sr"]
    assert read_rows(tmp_path / "out" / "images.csv") == []
    with Image.open(tmp_path / "out" / "side_by_side.png") as image:
        image.load()


def test_a_model_of_another_scale(tiny: World, tmp_path: Path) -> None:
    path = write_model(tmp_path / "x2.safetensors", scale=2)
    with pytest.raises(UserError) as caught:
        evaluate(tiny.val, path, settings(), tmp_path / "out")
    assert f"{path} has the scale 2, but {tiny.val.path} has 4" in str(caught.value)
    assert names(tmp_path) == ["x2.safetensors"]


@pytest.mark.parametrize(("side", "scored"), [(16, False), (20, True)])
def test_images_too_small_for_the_scores(
    side: int, scored: bool, model: Path, tmp_path: Path
) -> None:
    """SSIM's window is 11 pixels wide, and 4 are cut from every border: 19."""
    with StoreWriter(tmp_path / "val.zarr", "val", 4, ["x"]) as writer:
        image = picture(np.random.default_rng(0), side, 40)
        writer.add("x", {"hr": image, "lr": image[:, ::4, ::4]})
    val = Store(tmp_path / "val.zarr", "val")
    if scored:
        assert evaluate(val, model, settings(), tmp_path / "out")["images"] == 1
        return
    with pytest.raises(UserError, match="image 'x' is 16x40; scores need 19x19"):
        evaluate(val, model, settings(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- the command


def call(val: Path, model: Path, folder: Path, *more: object, **changes: object) -> Result:
    params = folder / "params.yaml"
    params.write_text(json.dumps({"evaluate": {**settings().model_dump(), **changes}}))
    arguments = ["--val", val, "--model", model, "--out", folder / "out"]
    arguments += ["--metrics", folder / "metrics.json", "--params", params, *more]
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def one_sentence(result: Result) -> str:
    """The message of a user mistake: exit status 1, one line, no traceback."""
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    (line,) = result.output.splitlines()
    assert line.startswith("Error: ")
    return line


def test_command(
    evaluated: tuple[Path, dict[str, object]], tiny: World, model: Path, tmp_path: Path
) -> None:
    result = call(tiny.val.path, model, tmp_path)
    assert result.exit_code == 0, result.output
    assert names(tmp_path) == ["metrics.json", "out", "params.yaml"]
    assert json.loads((tmp_path / "metrics.json").read_text()) == evaluated[1]
    assert f"wrote {tmp_path / 'out' / 'side_by_side.png'}" in result.output


def test_command_with_mistakes(tiny: World, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (tmp_path / "junk.pth").write_bytes(b"junk")
    message = one_sentence(call(tiny.val.path, tmp_path / "junk.pth", folder))
    assert str(tmp_path / "junk.pth") in message and "spandrel" in message
    message = one_sentence(call(tiny.val.path, tmp_path / "none.pth", folder))
    assert "there is no such model file" in message
    message = one_sentence(call(tiny.val.path, model, folder, lpips_weights="none.pth"))
    assert "AlexNet" in message and "'none.pth'" in message
    message = one_sentence(call(tiny.val.path, model, folder, tile=0))
    assert "evaluate.tile" in message
    message = one_sentence(call(tiny.hr.path, model, folder))
    assert "kind hr, expected val" in message
    message = one_sentence(call(tiny.val.path, model, folder, "--out", tmp_path / "junk.pth" / "x"))
    assert str(tmp_path / "junk.pth" / "x") in message
    assert names(folder) == ["params.yaml"]
