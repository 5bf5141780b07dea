"""The command degrade: the law of its samples, its files, and that nothing is lost."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import World, calibration, names, picture
from doubles import plain_passport, write_dsn
from laws import STANDARD_ERRORS, UNLIKELY
from numpy.typing import NDArray
from PIL import Image
from scipy import stats

from pipeline.dsn.file import load_dsn, save_dsn
from pipeline.export.degrader import Degrader
from pipeline.images.io import to_float, write_png
from pipeline.sampling.calibration import Calibration
from pipeline.stores.reader import Store
from pipeline.tools import degrade as module
from pipeline.tools.degrade import DegradeSettings, Output, StoredMaps, degrade
from pipeline.writing.writer import StoreWriter
from stages.tools.degrade import command

Pixels = NDArray[np.uint8]
SIZES = {"bridge": (64, 72), "my ship": (67, 61)}
"""The second is no multiple of the scale, and its name no id."""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def done(*arguments: object) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(result: Result) -> str:
    """The sentence of a run that fails."""
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    return line.removeprefix("Error: ")


def pixels(path: Path) -> Pixels:
    """(H, W, 3), as Pillow has it."""
    with Image.open(path) as file:
        assert (file.format, file.mode) == ("PNG", "RGB")
        return np.asarray(file)


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def save_hr(folder: Path, sizes: dict[str, tuple[int, int]] = SIZES) -> Path:
    folder.mkdir(parents=True)
    for seed, (name, size) in enumerate(sizes.items()):
        image = picture(np.random.default_rng(seed), *size)
        Image.fromarray(np.moveaxis(image, 0, -1)).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def hr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_hr(tmp_path_factory.mktemp("hr") / "hr")


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dsn(tmp_path_factory.mktemp("dsn") / "dsn.safetensors")


def flat_maps(path: Path, theta: float, sizes: dict[str, tuple[int, int]]) -> Store:
    """Maps of a mean of 128 gray levels and one theta, in gray levels."""
    with StoreWriter(path, "maps", 4, list(sizes)) as writer:
        for name, size in sizes.items():
            mean = np.full((3, *size), 128 / 255, np.float16)
            scales = np.full((3, *size), theta / 255, np.float16)
            writer.add(name, {"mean": mean, "theta": scales})
    return Store(path, "maps")


def settings(**changes: object) -> DegradeSettings:
    plain = {"samples": 1, "theta": "raw", "seed": 0}
    return DegradeSettings.model_validate({**plain, **changes})


def write_calibration(path: Path, measured: Calibration) -> Path:
    path.write_text(measured.model_dump_json())
    return path


# --- files


def test_files(hr: Path, dsn: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "lr"
    result = done(hr, out, "--dsn", dsn, "--samples", 3)
    folders = [f"sample_00{i}" for i in range(3)]
    assert names(out) == ["degrade.json", *folders]
    for folder in folders:
        assert names(out / folder) == ["bridge.png", "my ship.png"]
        assert pixels(out / folder / "bridge.png").shape == (16, 18, 3)
        assert pixels(out / folder / "my ship.png").shape == (16, 15, 3)
    assert names(out.parent) == ["lr"]
    assert f"wrote {out / 'sample_002'}" in result.output
    record = json.loads((out / "degrade.json").read_text())
    assert (record["theta"], record["seed"], record["scale"]) == ("raw", 0, 4)


def test_one_sample_has_a_folder_too(hr: Path, dsn: Path, tmp_path: Path) -> None:
    done(hr, tmp_path / "lr", "--dsn", dsn)
    assert names(tmp_path / "lr") == ["degrade.json", "sample_000"]


def test_the_mean_is_the_dsns(hr: Path, dsn: Path, tmp_path: Path) -> None:
    """In tiles that the image is larger than; the reference is in one piece."""
    done(hr, tmp_path / "lr", "--dsn", dsn, "--tile", 16, "--theta", "none")
    folder = tmp_path / "lr" / "mean"
    for name, (height, width) in SIZES.items():
        image = np.moveaxis(pixels(hr / f"{name}.png"), -1, 0)
        whole = np.ascontiguousarray(image[:, : height // 4 * 4, : width // 4 * 4])
        mean = Degrader.load(dsn).whole(to_float(whole))["mean"].clamp(0, 1).numpy() * 255
        found = np.moveaxis(pixels(folder / f"{name}.png"), -1, 0)
        assert np.abs(found - mean).max() <= 0.51


def test_other_kinds_of_images(dsn: Path, tmp_path: Path) -> None:
    """16 bit and grey are what read_image makes of them: the same as 8-bit RGB."""
    grey = picture(np.random.default_rng(3), 40, 48)[0]
    for kind in ("plain", "odd"):
        (tmp_path / kind).mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.dstack([grey] * 3)).save(tmp_path / "plain" / f"{name}.png")
    Image.fromarray(grey).save(tmp_path / "odd" / "a.bmp")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "odd" / "b.tif")
    for kind in ("plain", "odd"):
        done(tmp_path / kind, tmp_path / "lr" / kind, "--dsn", dsn)
    for name in ("a", "b"):
        plain, odd = (
            pixels(tmp_path / "lr" / kind / "sample_000" / f"{name}.png")
            for kind in ("plain", "odd")
        )
        np.testing.assert_array_equal(odd, plain)


def pairs(gt: Path, lq: Path) -> list[tuple[Path, Path]]:
    """How folder loaders pair: as many files in both, each with its name, ending included."""
    there, here = (sorted(path.name for path in folder.iterdir()) for folder in (gt, lq))
    assert there == here
    return [(gt / name, lq / name) for name in there]


def test_paired_loaders_find_pairs_of_exact_size(hr: Path, dsn: Path, tmp_path: Path) -> None:
    done(hr, tmp_path / "lr", "--dsn", dsn, "--samples", 2, "--hr-out", tmp_path / "hr")
    for folder in ("sample_000", "sample_001"):
        found = pairs(tmp_path / "hr", tmp_path / "lr" / folder)
        assert len(found) == 2
        for gt, lq in found:
            height, width, _ = pixels(lq).shape
            assert pixels(gt).shape == (4 * height, 4 * width, 3)
            np.testing.assert_array_equal(
                pixels(gt), pixels(hr / gt.name)[: 4 * height, : 4 * width]
            )


# --- the law of the samples


def drawn(out: Path, count: int, name: str = "a") -> NDArray[np.float64]:
    """(count, H, W, 3) of all samples of an image, gray levels from the mean of 128."""
    files = [pixels(out / f"sample_{i:03d}" / f"{name}.png") for i in range(count)]
    return np.stack(files).astype(np.float64) - 128


THETA = 7.0


@pytest.mark.arithmetic
def test_the_law_of_raw_samples(tmp_path: Path) -> None:
    """Mean 0, E|x| = theta, E x^2 = 2 theta^2, rounded; by Kolmogorov-Smirnov on the integers."""
    store = flat_maps(tmp_path / "maps.zarr", THETA, {"a": (60, 60)})
    degrade(StoredMaps(store), settings(samples=5), Output(tmp_path / "lr"))
    x = drawn(tmp_path / "lr", 5).ravel()
    error = STANDARD_ERRORS / np.sqrt(x.size)
    assert abs(x.mean()) < error * np.sqrt(2) * THETA
    assert np.abs(x).mean() == pytest.approx(THETA, abs=error * THETA + 0.02)
    assert (x**2).mean() == pytest.approx(2 * THETA**2 + 1 / 12, rel=error * np.sqrt(5))
    edges = np.arange(-60, 60) + 0.5
    law = stats.laplace(scale=THETA).cdf(edges)
    found = np.searchsorted(np.sort(x), edges) / x.size
    limit = np.sqrt(np.log(2 / UNLIKELY) / 2)  # Kolmogorov: 2 exp(-2 limit^2)
    assert np.abs(found - law).max() < limit / np.sqrt(x.size)


@pytest.mark.arithmetic
def test_samples_and_images_are_independent(tmp_path: Path) -> None:
    store = flat_maps(tmp_path / "maps.zarr", THETA, {"a": (60, 60), "b": (60, 60)})
    degrade(StoredMaps(store), settings(samples=2), Output(tmp_path / "lr"))
    degrade(StoredMaps(store), settings(samples=1, seed=1), Output(tmp_path / "other"))
    draws = [*drawn(tmp_path / "lr", 2), *drawn(tmp_path / "lr", 2, "b")]
    draws += [*drawn(tmp_path / "other", 1)]
    table = np.corrcoef([draw.ravel() for draw in draws])
    off = np.abs(table[~np.eye(len(draws), dtype=bool)])
    assert off.max() < STANDARD_ERRORS / np.sqrt(draws[0].size)


@pytest.mark.arithmetic
def test_the_mean_of_many_samples_is_the_mean(tmp_path: Path) -> None:
    store = flat_maps(tmp_path / "maps.zarr", THETA, {"a": (3, 4)})
    degrade(StoredMaps(store), settings(samples=400), Output(tmp_path / "lr"))
    means = drawn(tmp_path / "lr", 400).mean(axis=0)
    assert np.abs(means).max() < STANDARD_ERRORS * np.sqrt(2) * THETA / 20


def test_values_are_rounded_and_clamped(tmp_path: Path) -> None:
    """Theta is so large that nearly all that is not cut would lie outside."""
    store = flat_maps(tmp_path / "maps.zarr", 5000, {"a": (20, 20)})
    degrade(StoredMaps(store), settings(), Output(tmp_path / "lr"))
    x = drawn(tmp_path / "lr", 1) + 128
    assert np.mean((x == 0) | (x == 255)) > 0.9
    assert abs(np.mean(x == 0) - np.mean(x == 255)) < 0.2


@pytest.mark.arithmetic
def test_calibrated_samples_follow_the_calibration(tmp_path: Path) -> None:
    store = flat_maps(tmp_path / "maps.zarr", 1.0, {"a": (60, 60)})
    measured = calibration(store, variance_gray=[[25.0] * 3, [100.0] * 3, [225.0] * 3])
    file = write_calibration(tmp_path / "c.json", measured)
    done(tmp_path / "lr", "--maps", store.path, "--samples", 4, "--calibration", file)
    deviations = drawn(tmp_path / "lr", 4).std(axis=(0, 1, 2))
    assert deviations == pytest.approx([5, 10, 15], rel=0.06)  # 6 standard errors


# --- seeds


def test_the_same_seed_gives_the_same_files(hr: Path, dsn: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        done(hr, tmp_path / name, "--dsn", dsn, "--samples", 2, "--seed", seed)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    first, other = contents(tmp_path / "a"), contents(tmp_path / "c")
    assert first.keys() == other.keys()
    assert not any(first[name] == other[name] for name in first)


def test_another_image_or_sample_changes_no_other(hr: Path, dsn: Path, tmp_path: Path) -> None:
    save_hr(tmp_path / "more", {"bridge": (64, 72), "a first": (40, 40)})
    done(hr, tmp_path / "a", "--dsn", dsn)
    done(tmp_path / "more", tmp_path / "b", "--dsn", dsn, "--samples", 2)
    place = "sample_000/bridge.png"
    assert contents(tmp_path / "a")[place] == contents(tmp_path / "b")[place]


def test_a_store_gives_what_the_dsn_gives(hr: Path, dsn: Path, tmp_path: Path) -> None:
    """The store is rounded to float16; the noise is the same, by the id of the image."""
    degrader = Degrader.load(dsn)
    sizes = {"bridge": (64, 72), "my_ship": (64, 60)}
    with StoreWriter(tmp_path / "maps.zarr", "maps", 4, list(sizes)) as writer:
        for name, (height, width) in sizes.items():
            image = np.moveaxis(pixels(hr / f"{name.replace('_', ' ')}.png"), -1, 0)
            whole = to_float(np.ascontiguousarray(image[:, :height, :width]))
            maps = degrader.whole(whole)
            writer.add(name, {key: a.numpy().astype(np.float16) for key, a in maps.items()})
    done(hr, tmp_path / "a", "--dsn", dsn)
    done(tmp_path / "b", "--maps", tmp_path / "maps.zarr")
    assert names(tmp_path / "b" / "sample_000") == ["bridge.png", "my_ship.png"]
    for name in sizes:
        first = pixels(tmp_path / "a" / "sample_000" / f"{name.replace('_', ' ')}.png")
        second = pixels(tmp_path / "b" / "sample_000" / f"{name}.png")
        difference = np.abs(first.astype(int) - second)
        assert difference.max() <= 1 and (difference > 0).mean() < 0.1


# --- nothing is lost


@pytest.fixture
def result(hr: Path, dsn: Path, tmp_path: Path) -> Path:
    done(hr, tmp_path / "lr", "--dsn", dsn, "--samples", 2)
    return tmp_path / "lr"


def test_a_result_is_replaced_only_on_request(hr: Path, dsn: Path, result: Path) -> None:
    before = contents(result)
    message = refused(run(hr, result, "--dsn", dsn, "--seed", 1))
    assert message == f"{result}: holds a result already; name another folder, or --overwrite"
    assert contents(result) == before
    done(hr, result, "--dsn", dsn, "--seed", 1, "--overwrite")
    assert names(result) == ["degrade.json", "sample_000"]
    assert contents(result)["sample_000/bridge.png"] != before["sample_000/bridge.png"]


@pytest.mark.parametrize("place", ["notes.txt", "sample_000/mine.png", "sample_001/x/bridge.png"])
def test_other_files_are_never_replaced(place: str, hr: Path, dsn: Path, result: Path) -> None:
    (result / place).parent.mkdir(exist_ok=True)
    (result / place).write_text("precious")
    before = contents(result)
    message = refused(run(hr, result, "--dsn", dsn, "--overwrite"))
    assert f"{result / place}: was not written by usrdu degrade" in message
    assert contents(result) == before


@pytest.mark.parametrize("record", [None, "{}", "[]", "no json", '{"format": "other"}'])
def test_a_folder_of_something_else_is_never_replaced(
    record: str | None, hr: Path, dsn: Path, tmp_path: Path
) -> None:
    out = tmp_path / "photos"
    (out / "sample_000").mkdir(parents=True)
    (out / "sample_000" / "bridge.png").write_text("precious")
    if record is not None:
        (out / "degrade.json").write_text(record)
    before = contents(tmp_path)
    assert "was not written by usrdu degrade" in refused(run(hr, out, "--dsn", dsn, "--overwrite"))
    assert contents(tmp_path) == before


@pytest.mark.parametrize("out", ["", "hr", "hr/../hr"])
def test_the_input_is_never_replaced(out: str, dsn: Path, tmp_path: Path) -> None:
    folder = save_hr(tmp_path / "hr")
    before = contents(tmp_path)
    message = refused(run(folder, tmp_path / out, "--dsn", dsn, "--overwrite"))
    assert f"holds the input {folder}" in message
    assert contents(tmp_path) == before


def test_samples_of_samples_do_not_replace_their_input(dsn: Path, result: Path) -> None:
    before = contents(result)
    message = refused(run(result / "sample_000", result, "--dsn", dsn, "--overwrite"))
    assert "holds the input" in message and contents(result) == before


def test_places_of_the_hr_files(hr: Path, dsn: Path, tmp_path: Path) -> None:
    out = tmp_path / "lr"
    for place, words in ((hr, "is the input"), (out, "lies in"), (out / "hr", "lies in")):
        assert f"{place}: {words}" in refused(run(hr, out, "--dsn", dsn, "--hr-out", place))
    assert names(tmp_path) == []


def test_another_hr_file_of_the_name_stays(hr: Path, dsn: Path, tmp_path: Path) -> None:
    place = tmp_path / "hr"
    done(hr, tmp_path / "a", "--dsn", dsn, "--hr-out", place)
    done(hr, tmp_path / "b", "--dsn", dsn, "--hr-out", place, "--seed", 1)  # the same HR images
    before = contents(place)
    other = picture(np.random.default_rng(9), 64, 72)
    Image.fromarray(np.moveaxis(other, 0, -1)).save(place / "bridge.png")
    precious = contents(place)
    message = refused(run(hr, tmp_path / "c", "--dsn", dsn, "--hr-out", place))
    assert f"{place / 'bridge.png'}: holds another image" in message
    assert contents(place) == precious and not (tmp_path / "c").exists()
    done(hr, tmp_path / "d", "--dsn", dsn, "--hr-out", place, "--overwrite")
    assert contents(place) == before


def interrupted(monkeypatch: pytest.MonkeyPatch, at: int, call: Callable[[], object]) -> None:
    """Ctrl-C before a file is written."""
    left = [at]

    def write(path: Path, image: Pixels) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        write_png(path, image)

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.tools.degrade.write_png", write)
        call()


def test_an_interrupted_run_goes_on(
    hr: Path, dsn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, out = tmp_path / "straight", tmp_path / "lr"
    options = ["--dsn", dsn, "--samples", 2]
    done(hr, straight, *options)

    def call() -> None:
        assert run(hr, out, *options).exit_code == 130

    interrupted(monkeypatch, 3, call)
    assert names(tmp_path) == ["lr.partial", "straight"]
    (tmp_path / "lr.partial" / "sample_001" / ".my ship.png.partial").touch()  # as after kill -9
    seen: list[int] = []
    original = module.HrFolder.read

    def read(self: module.HrFolder, index: int) -> Callable[[], module.Degraded]:
        seen.append(index)
        return original(self, index)

    monkeypatch.setattr(module.HrFolder, "read", read)
    done(hr, out, *options)
    assert seen == [1]
    assert contents(out) == contents(straight) and names(tmp_path) == ["lr", "straight"]


def test_an_interrupted_run_of_other_settings_starts_afresh(
    hr: Path, dsn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(monkeypatch, 3, lambda: run(hr, tmp_path / "a", "--dsn", dsn, "--samples", 2))
    done(hr, tmp_path / "a", "--dsn", dsn, "--seed", 5)
    done(hr, tmp_path / "b", "--dsn", dsn, "--seed", 5)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    peaks = []
    for count in (5, 45):
        sizes = {str(i): (200, 200) for i in range(count)}
        store = flat_maps(tmp_path / f"{count}.zarr", THETA, sizes)
        tracemalloc.start()
        degrade(StoredMaps(store), settings(), Output(tmp_path / f"lr{count}"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 40 * 3 * 200 * 200 / 2  # threads meet or not, but none are kept


# --- what is refused


def test_maps_that_are_not_finite(tmp_path: Path) -> None:
    flat_maps(tmp_path / "maps.zarr", np.nan, {"one": (16, 16)})
    message = refused(run(tmp_path / "lr", "--maps", tmp_path / "maps.zarr"))
    place = f"{tmp_path / 'maps.zarr'}: image 'one'"
    assert message == f"{place}: its tensor 'theta' holds values that are not finite"
    assert not (tmp_path / "lr").exists()


def test_a_damaged_image(dsn: Path, tmp_path: Path) -> None:
    folder = save_hr(tmp_path / "hr")
    (folder / "my ship.png").write_bytes((folder / "my ship.png").read_bytes()[:200])
    assert f"{folder / 'my ship.png'}: " in refused(run(folder, tmp_path / "lr", "--dsn", dsn))
    assert not (tmp_path / "lr").exists()


def test_two_images_of_one_name(dsn: Path, tmp_path: Path) -> None:
    folder = save_hr(tmp_path / "hr")
    Image.new("RGB", (8, 8)).save(folder / "bridge.bmp")
    message = refused(run(folder, tmp_path / "lr", "--dsn", dsn))
    assert "bridge.bmp and bridge.png would both be called 'bridge'" in message


def test_an_image_smaller_than_the_scale(dsn: Path, tmp_path: Path) -> None:
    folder = save_hr(tmp_path / "hr", {"a": (40, 3)})
    message = refused(run(folder, tmp_path / "lr", "--dsn", dsn))
    assert f"{folder / 'a.png'}: is 40x3, smaller than the scale 4" in message


def test_calibrations_that_do_not_belong(hr: Path, dsn: Path, tiny: World, tmp_path: Path) -> None:
    maps = ["--maps", tiny.maps.path]
    for changes, source, words in (
        ({"maps_digest": "0"}, [tmp_path / "lr", *maps], "was made for maps with the digest 0,"),
        ({"scale": 2}, [hr, tmp_path / "lr", "--dsn", dsn], f"has the scale 2, but {dsn} has 4"),
        ({"fault": "all grass"}, [tmp_path / "lr", *maps], "could not be measured: all grass"),
    ):
        file = write_calibration(tmp_path / "c.json", calibration(tiny.maps, **changes))
        message = refused(run(*source, "--calibration", file))
        assert message.startswith(str(file)) and words in message
    assert names(tmp_path) == ["c.json"]


def test_theta_camera_needs_a_dsn_that_carries_a_passport(
    hr: Path, dsn: Path, tmp_path: Path
) -> None:
    message = refused(run(hr, tmp_path / "lr", "--dsn", dsn, "--theta", "camera"))
    assert message.startswith("theta is camera, but no passport of a camera was given, and maps")
    assert not (tmp_path / "lr").exists()
    file, passport = tmp_path / "dsn.safetensors", plain_passport()
    description = load_dsn(dsn).description.model_copy(
        update={"reference": "camera", "prior_scale_gray": "camera", "passport": passport}
    )
    save_dsn(file, description.network(), description)
    done(hr, tmp_path / "lr", "--dsn", file, "--theta", "camera", "--samples", 2)
    samples = [pixels(tmp_path / "lr" / f"sample_00{n}" / "bridge.png") for n in (0, 1)]
    spread = np.subtract(*samples, dtype=np.float64).std() / np.sqrt(2)
    assert 3 < spread < 6  # the passport's noise at these intensities; the mean is in both


def test_theta_and_calibration_belong_together(tiny: World, tmp_path: Path) -> None:
    file = write_calibration(tmp_path / "c.json", calibration(tiny.maps))
    for options in (["--theta", "raw", "--calibration", file], ["--theta", "calibrated"]):
        message = refused(run(tmp_path / "lr", "--maps", tiny.maps.path, *options))
        assert message.startswith("a calibration is needed for calibrated theta")
    message = refused(
        run(tmp_path / "lr", "--maps", tiny.maps.path, "--theta", "none", "--samples", 2)
    )
    assert message == "without theta every sample is the mean, so ask for one sample"
    assert names(tmp_path) == ["c.json"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["out"], "name HR_FOLDER and OUT"),
        (["hr", "out"], "name either --dsn, for HR_FOLDER, or --maps"),
        (["hr", "out", "--maps", "m"], "OUT alone with --maps"),
        (["out", "--maps", "m", "--dsn", "d"], "name either --dsn, for HR_FOLDER, or --maps"),
        (["out", "--maps", "m", "--hr-out", "h"], "holds no HR images"),
        (["hr", "out", "--dsn", "d", "--samples", "0"], "--samples"),
        (["hr", "out", "--dsn", "d", "--theta", "mean"], "--theta"),
    ],
)
def test_usage(arguments: list[str], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2 and words in result.output
