"""Evaluation: every score again from the files it wrote, by other means."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import VAL_SIZES, World, names, picture, read_rows
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image
from scipy.signal import convolve2d
from skimage import data
from spandrel import ImageModelDescriptor, ModelLoader
from torchvision.models import alexnet

from pipeline.base.errors import UserError
from pipeline.evaluate import evaluate as module
from pipeline.evaluate.evaluate import EvaluateSettings, evaluate
from pipeline.images import drawing
from pipeline.scores.full_reference import haarpsi
from pipeline.scores.niqe import block_features, niqe
from pipeline.scores.niqe_model import load_model
from pipeline.scores.protocols import Name, protocol
from pipeline.srn.network import build
from pipeline.stores.format import Kind
from pipeline.stores.reader import Store
from pipeline.stores.weights import save_weights
from pipeline.writing.writer import StoreWriter
from stages.evaluate import command

Array = NDArray[np.float64]
METHODS = ("bicubic", "model")
PROTOCOLS: list[Name] = ["usrdu", "rwsr2020", "y"]
MEASURES = ("psnr", "ssim", "haarpsi")


def settings(**changes: object) -> EvaluateSettings:
    plain: dict[str, object] = {
        "protocols": ["usrdu", "rwsr2020", "y"],
        "lpips_weights": "none",
        "niqe_model": "none",
        "tile": 256,
        "halo": 8,
        "picture_crop": 48,
    }
    return EvaluateSettings.model_validate({**plain, **changes})


def write_model(path: Path, scale: int = 4, features: int = 4, flat: bool = False) -> Path:
    """A small model; a flat one repeats its input's pixels, as Compact does without weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build("Compact", scale, {"num_feat": features, "num_conv": 1})
    state = network.state_dict()
    state = {key: torch.zeros_like(value) for key, value in state.items()} if flat else state
    save_weights(path, state, {"format": "usrdu-srn"})
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "srn.safetensors")


@pytest.fixture(scope="module")
def evaluated(
    tiny: World, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
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


def seen(image: Array, name: str) -> Array:
    """What a protocol sees (H, W, C), of (H, W, 3) gray levels."""
    cut = 0 if name == "rwsr2020" else 4
    inner = image[cut : len(image) - cut, cut : image.shape[1] - cut]
    luma = 16 + inner @ np.array([65.481, 128.553, 24.966]) / 255
    return luma[..., None] if name == "y" else inner


def psnr(one: Array, other: Array) -> float:
    return float(10 * np.log10(255**2 / ((one - other) ** 2).mean()))


def ssim(one: Array, other: Array, name: str) -> float:
    """Wang et al. 2004 with K = 0.01 and 0.03; the Gaussian window, or 7x7 sample moments."""
    rows, columns = np.mgrid[-5:6, -5:6]
    window, sample = np.exp(-(rows**2 + columns**2) / (2 * 1.5**2)), 1.0
    if name == "rwsr2020":
        window, sample = np.ones((7, 7)), 49 / 48
    window /= window.sum()

    def smooth(plane: Array) -> Array:
        return np.asarray(convolve2d(plane, window, mode="valid"), dtype=np.float64)

    values = []
    for x, y in zip(np.moveaxis(one, -1, 0), np.moveaxis(other, -1, 0), strict=True):
        mx, my = smooth(x), smooth(y)
        vx, vy = sample * (smooth(x * x) - mx**2), sample * (smooth(y * y) - my**2)
        cov = sample * (smooth(x * y) - mx * my)
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        values.append(
            ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
        )
    return float(np.mean(values))


Key = tuple[str, str, str]


def planes(image: Array) -> NDArray[np.uint8]:
    return np.moveaxis(image, -1, 0).astype(np.uint8)


def scores(tiny: World, folder: Path) -> dict[Key, dict[str, float]]:
    """By image, method and protocol, from the SR files and from bicubic enlargement."""
    found: dict[Key, dict[str, float]] = {}
    for image_id in VAL_SIZES:
        hr = np.moveaxis(tiny.val.read(image_id, "hr"), 0, -1).astype(np.float64)
        images = (
            enlarged(tiny.val.read(image_id, "lr"), 4),
            png(folder / "sr" / f"{image_id}.png"),
        )
        for method, image in zip(METHODS, images, strict=True):
            for name in PROTOCOLS:
                pair = seen(image, name), seen(hr, name)
                found[image_id, method, name] = {
                    "psnr": psnr(*pair),
                    "ssim": ssim(*pair, name),
                    "haarpsi": haarpsi(planes(image), planes(hr), protocol(name, 4)),
                }
    return found


# --- numbers


def test_a_row_per_image_method_and_protocol(
    evaluated: tuple[Path, dict[str, Any]], tiny: World
) -> None:
    folder, _ = evaluated
    expected = scores(tiny, folder)
    rows = read_rows(folder / "images.csv")
    assert [(row["image"], row["method"], row["protocol"]) for row in rows] == list(expected)
    for row, wanted in zip(rows, expected.values(), strict=True):
        assert row.keys() == {"image", "method", "protocol", *MEASURES}  # no LPIPS, no NIQE
        assert float(row["psnr"]) == pytest.approx(wanted["psnr"], abs=2e-3)
        assert float(row["ssim"]) == pytest.approx(wanted["ssim"], abs=2e-4)
        assert float(row["haarpsi"]) == pytest.approx(wanted["haarpsi"], abs=2e-3)
    values = [one["psnr"] for one in expected.values()]
    assert max(values) - min(values) > 1  # a row in the wrong place would be seen


def test_metrics_are_means_over_the_images(
    evaluated: tuple[Path, dict[str, Any]], tiny: World
) -> None:
    folder, metrics = evaluated
    expected = scores(tiny, folder)
    assert {key: metrics[key] for key in ("images", "lpips_weights", "niqe")} == {
        "images": 2,
        "lpips_weights": "none",
        "niqe": None,
    }
    assert list(metrics["protocols"]) == PROTOCOLS
    for name, found in metrics["protocols"].items():
        for method in METHODS:
            mine = [one for key, one in expected.items() if key[1:] == (method, name)]
            means = {key: np.mean([one[key] for one in mine]) for key in MEASURES}
            assert found[method] == pytest.approx(means, rel=5e-4)
        assert found["bicubic"] != pytest.approx(found["model"], rel=0.01)
    assert [one["border"] for one in metrics["protocols"].values()] == [4, 0, 4]
    assert metrics["protocols"]["y"]["colour"] == "Y of BT.601 (16..235)"


def test_the_order_of_protocols_is_that_of_the_settings(
    tiny: World, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The picture shows the figures of the first one."""
    titles: list[str] = []
    monkeypatch.setattr(drawing, "show", lambda _axes, _image, title: titles.append(title))
    metrics: dict[str, Any] = evaluate(
        tiny.val, model, settings(protocols=["y", "usrdu"]), tmp_path
    )
    assert list(metrics["protocols"]) == ["y", "usrdu"]
    rows = read_rows(tmp_path / "images.csv")
    assert [row["protocol"] for row in rows[:2]] == ["y", "usrdu"]
    expected = f"bicubic: {float(rows[0]['psnr']):.2f} dB, SSIM {float(rows[0]['ssim']):.3f} (y)"
    assert titles[0] == expected


def test_an_sr_image_that_equals_its_hr_image(tmp_path: Path, tiny: World) -> None:
    """Its PSNR is infinite, also on average; the metrics file stays strict JSON."""
    path = write_model(tmp_path / "plain.safetensors", flat=True)
    with StoreWriter(tmp_path / "val.zarr", "val", 4, ["flat", "other"]) as writer:
        flat = np.full((3, 40, 40), 51, np.uint8)
        writer.add("flat", {"hr": flat, "lr": flat[:, ::4, ::4]})
        other = tiny.val.read("pair-a", "hr")[:, :40, :40]
        writer.add("other", {"hr": other, "lr": other[:, ::4, ::4]})
    metrics: dict[str, Any] = evaluate(
        Store(tmp_path / "val.zarr", "val"), path, settings(), tmp_path / "out"
    )
    assert metrics["protocols"]["usrdu"]["model"]["psnr"] == np.inf
    assert [row["psnr"] for row in read_rows(tmp_path / "out" / "images.csv")].count("inf") == 6
    assert call(tmp_path / "val.zarr", path, tmp_path).exit_code == 0
    written = strict(tmp_path / "metrics.json")
    for name in PROTOCOLS:
        assert written["protocols"][name]["model"]["psnr"] is None
        assert 0 < written["protocols"][name]["model"]["ssim"] < 1


def test_the_sr_files_are_what_spandrel_computes(
    evaluated: tuple[Path, dict[str, Any]], tiny: World, model: Path
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
    evaluated: tuple[Path, dict[str, Any]], tiny: World, model: Path, tmp_path: Path
) -> None:
    evaluate(tiny.val, model, settings(tile=7), tmp_path)
    for image_id in VAL_SIZES:
        tiled, whole = (png(f / "sr" / f"{image_id}.png") for f in (tmp_path, evaluated[0]))
        assert np.abs(tiled - whole).max() <= 1  # where float32 differs at half a level
        assert (tiled != whole).mean() < 1e-3


def test_names_beyond_ascii_are_shown(tiny: World, model: Path, tmp_path: Path) -> None:
    """The table has the name of the file; the SR image is called by its id."""
    names_of = {"file_names": {"_-1": "写真.png"}}
    with StoreWriter(tmp_path / "val.zarr", "val", 4, ["_-1"], names_of) as writer:
        hr = tiny.val.read("pair-a", "hr")[:, :40, :40]
        writer.add("_-1", {"hr": hr, "lr": hr[:, ::4, ::4]})
    evaluate(Store(tmp_path / "val.zarr", "val"), model, settings(), tmp_path / "out")
    assert {row["image"] for row in read_rows(tmp_path / "out" / "images.csv")} == {"写真.png"}
    assert names(tmp_path / "out" / "sr") == ["_-1.png"]


def test_side_by_side(evaluated: tuple[Path, dict[str, Any]]) -> None:
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
    metrics: dict[str, Any] = evaluate(
        tiny.val, model, settings(lpips_weights=weights), tmp_path / "out"
    )
    assert metrics["lpips_weights"] == weights
    rows = read_rows(tmp_path / "out" / "images.csv")
    for name, found in metrics["protocols"].items():
        for method in METHODS:
            mine = [row for row in rows if (row["protocol"], row["method"]) == (name, method)]
            column = [float(row["lpips"]) for row in mine]
            assert found[method]["lpips"] == pytest.approx(np.mean(column), abs=1e-4)
            assert min(column) > 0
    whole, cut = (metrics["protocols"][name]["model"]["lpips"] for name in ("rwsr2020", "usrdu"))
    assert whole != cut == metrics["protocols"]["y"]["model"]["lpips"]


# --- NIQE


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of NIQE: of two photographs of scikit-image."""
    images = [np.moveaxis(one, -1, 0) for one in (data.astronaut(), data.coffee())]
    found = np.concatenate([block_features(np.ascontiguousarray(one))[0] for one in images])
    path = tmp_path_factory.mktemp("niqe") / "pristine.npz"
    np.savez(path, mu_pris_param=found.mean(axis=0), cov_pris_param=np.cov(found.T))
    return path


@pytest.fixture(scope="module")
def unpaired(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """LR images of other scenes without HR, as Track 2 has them; of different sizes."""
    path = tmp_path_factory.mktemp("unpaired") / "val.zarr"
    photographs = {"cat": data.chelsea(), "rocket": data.rocket()}
    with StoreWriter(path, "lr", 4, list(photographs)) as writer:
        for name, photograph in photographs.items():
            writer.add(name, {"image": np.moveaxis(photograph[::6, ::6], -1, 0)})
    return Store(path, "lr")


def test_niqe_of_images_without_hr(
    unpaired: Store, model: Path, pristine: Path, tmp_path: Path
) -> None:
    metrics: dict[str, Any] = evaluate(
        unpaired, model, settings(niqe_model=str(pristine), lpips_weights="imagenet"), tmp_path
    )
    rows, judge = read_rows(tmp_path / "images.csv"), load_model(pristine)
    expected = {
        (name, method): niqe(np.ascontiguousarray(np.moveaxis(image, -1, 0)), judge)
        for name in unpaired.ids
        for method, image in (
            ("bicubic", enlarged(unpaired.read(name, "image"), 4).astype(np.uint8)),
            ("model", png(tmp_path / "sr" / f"{name}.png").astype(np.uint8)),
        )
    }
    assert [(row["image"], row["method"]) for row in rows] == list(expected)
    for row, value in zip(rows, expected.values(), strict=True):
        assert row.keys() == {"image", "method", "protocol", "niqe"}
        assert row["protocol"] == "niqe"
        assert float(row["niqe"]) == pytest.approx(value, rel=0.02)  # one level here and there
    assert metrics["protocols"] == {} and metrics["lpips_weights"] == "none"
    means = {
        method: np.mean([float(row["niqe"]) for row in rows if row["method"] == method])
        for method in METHODS
    }
    assert {method: metrics["niqe"][method] for method in METHODS} == pytest.approx(means, abs=1e-4)
    assert metrics["niqe"]["model_file"] == "pristine.npz"
    digest = hashlib.sha256(pristine.read_bytes()).hexdigest()
    assert metrics["niqe"]["model_sha256"] == digest
    assert means["bicubic"] != pytest.approx(means["model"], rel=0.01)


def test_pictures_of_images_without_hr(
    unpaired: Store,
    model: Path,
    pristine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    titles: list[str] = []
    monkeypatch.setattr(drawing, "show", lambda _axes, _image, title: titles.append(title))
    evaluate(unpaired, model, settings(niqe_model=str(pristine)), tmp_path)
    rows = read_rows(tmp_path / "images.csv")
    assert titles == [f"{row['method']}: NIQE {float(row['niqe']):.2f}" for row in rows]


def test_nothing_to_score(
    unpaired: Store, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = evaluate(unpaired, model, settings(), tmp_path / "out")
    (message,) = caplog.messages
    assert str(unpaired.path) in message and "there is nothing to score" in message
    assert metrics == {"images": 2, "lpips_weights": "none", "niqe": None, "protocols": {}}
    assert names(tmp_path / "out") == ["images.csv", "side_by_side.png", "sr"]
    assert names(tmp_path / "out" / "sr") == ["cat.png", "rocket.png"]
    assert (tmp_path / "out" / "images.csv").read_text() == "image,method,protocol\n"
    with Image.open(tmp_path / "out" / "side_by_side.png") as image:
        image.load()


def test_niqe_of_pairs_stands_beside_the_protocols(
    model: Path, pristine: Path, tmp_path: Path
) -> None:
    hr = np.moveaxis(data.chelsea()[:200, :400], -1, 0)
    with StoreWriter(tmp_path / "val.zarr", "val", 4, ["cat"]) as writer:
        writer.add("cat", {"hr": hr, "lr": hr[:, ::4, ::4]})
    metrics: dict[str, Any] = evaluate(
        Store(tmp_path / "val.zarr", "val"),
        model,
        settings(protocols=["y"], niqe_model=str(pristine)),
        tmp_path / "out",
    )
    rows = read_rows(tmp_path / "out" / "images.csv")
    assert [(row["method"], row["protocol"]) for row in rows] == [
        (method, name) for method in METHODS for name in ("y", "niqe")
    ]
    for row in rows:
        assert [bool(row[key]) for key in ("psnr", "ssim", "niqe")] == (
            [False, False, True] if row["protocol"] == "niqe" else [True, True, False]
        )
    sr = png(tmp_path / "out" / "sr" / "cat.png").astype(np.uint8)
    expected = niqe(np.ascontiguousarray(np.moveaxis(sr, -1, 0)), load_model(pristine))
    assert metrics["niqe"]["model"] == pytest.approx(expected)
    assert list(metrics["protocols"]) == ["y"]


@pytest.mark.parametrize(("kind", "side"), [("val", 100), ("lr", 25)])
def test_images_too_small_for_niqe(
    kind: Kind, side: int, model: Path, pristine: Path, tmp_path: Path
) -> None:
    image = picture(np.random.default_rng(0), side, side)
    arrays = {"image": image} if kind == "lr" else {"hr": image, "lr": image[:, ::4, ::4]}
    with StoreWriter(tmp_path / "val.zarr", kind, 4, ["x"]) as writer:
        writer.add("x", arrays)
    with pytest.raises(UserError) as caught:
        evaluate(
            Store(tmp_path / "val.zarr", kind),
            model,
            settings(niqe_model=str(pristine)),
            tmp_path / "out",
        )
    assert str(caught.value) == (
        f"{tmp_path / 'val.zarr'}: the SR image of 'x' is 100x100; NIQE needs two blocks of 96x96"
    )
    assert not (tmp_path / "out").exists()


# --- pictures of many images


def test_pictures_are_of_the_first_images_and_of_their_centres(
    tiny: World, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture of all images of a large set could not be drawn, and all crops not be kept."""
    shown: list[NDArray[np.uint8]] = []
    show = drawing.show

    def watched(axes: Axes, image: NDArray[np.uint8], title: str) -> None:
        shown.append(image)
        show(axes, image, title)

    monkeypatch.setattr(drawing, "show", watched)
    monkeypatch.setattr(module, "PICTURE_ROWS", 1)
    metrics = evaluate(tiny.val, model, settings(picture_crop=80), tmp_path)
    assert metrics["images"] == 2 and len(read_rows(tmp_path / "images.csv")) == 12
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
    metrics: dict[str, Any] = evaluate(
        Store(tmp_path / "val.zarr", "val"), model, settings(protocols=["usrdu"]), tmp_path / "out"
    )
    found = metrics["protocols"]["usrdu"]
    assert (metrics["images"], found["model"], found["bicubic"]) == (0, {}, {})
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


@pytest.mark.parametrize(
    ("protocols", "needed"), [(["usrdu"], 24), (["rwsr2020"], 16), (["rwsr2020", "y"], 24)]
)
def test_images_too_small_for_the_scores(
    protocols: list[str], needed: int, model: Path, tmp_path: Path
) -> None:
    """HaarPSI's widest filter has 16 taps, and 4 pixels are cut from every border, or none."""
    with StoreWriter(tmp_path / "val.zarr", "val", 4, ["x"]) as writer:
        image = picture(np.random.default_rng(0), needed - 4, 40)
        writer.add("x", {"hr": image, "lr": image[:, ::4, ::4]})
    val = Store(tmp_path / "val.zarr", "val")
    message = f"SR image of 'x' is {needed - 4}x40; scores need {needed}x{needed}"
    with pytest.raises(UserError, match=message):
        evaluate(val, model, settings(protocols=protocols), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_images_just_large_enough(model: Path, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "val.zarr", "val", 4, ["x"]) as writer:
        image = picture(np.random.default_rng(0), 24, 40)
        writer.add("x", {"hr": image, "lr": image[:, ::4, ::4]})
    val = Store(tmp_path / "val.zarr", "val")
    assert evaluate(val, model, settings(), tmp_path / "out")["images"] == 1


# --- the command


def call(val: Path | str, model: Path, folder: Path, *more: object, **changes: object) -> Result:
    params = folder / "params.yaml"
    params.write_text(json.dumps({"evaluate": {**settings().model_dump(), **changes}}))
    arguments: list[object] = ["--val", val, "--model", model, "--out", folder / "out"]
    arguments += ["--metrics", folder / "metrics.json", "--params", params, *more]
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def strict(path: Path) -> dict[str, Any]:
    """A JSON file without the Infinity and NaN that Python reads too."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{path} holds {constant}")

    content = json.loads(path.read_text(), parse_constant=refuse)
    assert isinstance(content, dict)
    return content


def one_sentence(result: Result) -> str:
    """The message of a user mistake: exit status 1, one line, no traceback."""
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    (line,) = result.output.splitlines()
    assert line.startswith("Error: ")
    return line


def test_command(
    evaluated: tuple[Path, dict[str, Any]], tiny: World, model: Path, tmp_path: Path
) -> None:
    result = call(tiny.val.path, model, tmp_path)
    assert result.exit_code == 0, result.output
    assert names(tmp_path) == ["metrics.json", "out", "params.yaml"]
    assert strict(tmp_path / "metrics.json") == {**evaluated[1], "files": {}}
    psnr = evaluated[1]["protocols"]["y"]["model"]["psnr"]
    assert f"  protocols.y.model.psnr: {psnr:.4f}\n" in result.output
    assert f"wrote {tmp_path / 'out' / 'side_by_side.png'}" in result.output
    card = strict(tmp_path / "out" / "card.json")
    scores = card["usrdu"]["scores"]
    assert scores["protocols"] == evaluated[1]["protocols"] and scores["val"] == tiny.val.digest
    assert card["resources"][0]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert "| psnr | " in (tmp_path / "out" / "card.md").read_text()


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
    for wrong in ([], ["usrdu", "ycbcr"], ["y", "y"], "usrdu"):
        message = one_sentence(call(tiny.val.path, model, folder, protocols=wrong))
        assert "evaluate" in message and "protocols" in message
    message = one_sentence(call(tiny.val.path, model, folder, niqe_model="none.mat"))
    assert "none.mat: there is no such NIQE model file" in message
    message = one_sentence(call(tiny.hr.path, model, folder))
    assert "kind hr, expected val or lr" in message
    message = one_sentence(call(tiny.val.path, model, folder, "--out", tmp_path / "junk.pth" / "x"))
    assert str(tmp_path / "junk.pth" / "x") in message
    assert names(folder) == ["params.yaml"]
