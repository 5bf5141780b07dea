"""Calibration on tiny worlds whose noise is known, by the engine and by the command."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from pipeline.base.errors import UserError
from pipeline.calibrate import calibrate as module
from pipeline.calibrate.calibrate import calibrate
from pipeline.calibrate.settings import CalibrateSettings
from pipeline.images.io import Subsampling, jpeg_round_trip, write_jpeg
from pipeline.noise.signature import Signature, signature, spectral_distance
from pipeline.prepare.compression import compression
from pipeline.sampling.calibrated import CalibratedSampler
from pipeline.sampling.calibration import Calibration, load_calibration, read_calibration
from pipeline.sampling.compression import JpegMixture
from pipeline.sampling.jpeg import JpegTables
from pipeline.stores.reader import Store
from pipeline.writing.writer import StoreWriter
from stages.calibrate import command

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
Law = Callable[[np.random.Generator, Array], Array]

SIDE, AREA, IMAGES = 288, 36, 3
SETTINGS = CalibrateSettings(blocks=20_000, rounds=2, least_correlation=0.1)
LEVELS = np.arange(50, 210, 10.0)
METRICS = [
    "noise_level_real", "noise_level_mean", "noise_level_samples", "noise_ratio", "noise_ratio_raw",
    "noise_ratio_camera", "constant_theta_gray",
    "neighbour_correlation", "channel_correlation", "excess_kurtosis", "laplace_share",
    "flat_areas", "jpeg", "fault",
]  # fmt: skip


def areas(rng: np.random.Generator) -> Array:
    """Flat coloured areas, larger than blocks and not on their grid."""
    colours = rng.uniform(30, 225, (3, SIDE // AREA, SIDE // AREA))
    return np.asarray(colours.repeat(AREA, axis=1).repeat(AREA, axis=2))


def eight_bit(image: Array) -> Image:
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def gaussian(deviation: float) -> Law:
    return lambda rng, clean: rng.normal(0, deviation, clean.shape)


def laplace(rng: np.random.Generator, clean: Array) -> Array:
    """Of a standard deviation from 4 at black to 16 at white."""
    deviation = 4 + 12 * clean / 255
    return np.asarray(rng.laplace(0, 1 / np.sqrt(2), clean.shape) * deviation)


def smeared(rng: np.random.Generator, clean: Array) -> Array:
    """Of the deviation 9, a mean of neighbours along the rows; half of the channels' is gray."""
    _, height, width = clean.shape
    drawn = rng.normal(size=(3, height, width + 1)) + rng.normal(size=(1, height, width + 1))
    return np.asarray(9 * (drawn[..., 1:] + drawn[..., :-1]) / 2)


def write_lr(path: Path, images: Sequence[Image], scale: int = 4, jpeg: object = None) -> Store:
    ids = [f"r{n}" for n in range(len(images))]
    with StoreWriter(path, "lr", scale, ids, {"jpeg": jpeg}) as writer:
        for image_id, image in zip(ids, images, strict=True):
            writer.add(image_id, {"image": image})
    return Store(path, "lr")


def write_maps(path: Path, means: Sequence[Array]) -> Store:
    """Means in gray levels; theta is arbitrary, as nothing may read it."""
    ids = [f"m{n}" for n in range(len(means))]
    with StoreWriter(path, "maps", 4, ids) as writer:
        for image_id, mean in zip(ids, means, strict=True):
            mean16 = (mean / 255).astype(np.float16)
            writer.add(image_id, {"mean": mean16, "theta": np.full_like(mean16, 0.01)})
    return Store(path, "maps")


@dataclass(frozen=True)
class Tiny:
    """Stores of means and of other scenes' real LR images, and those images."""

    maps: Store
    lr: Store
    real: list[Image]


def write(folder: Path, noise: Law, of_means: float = 0, seed: int = 1) -> Tiny:
    rng = np.random.default_rng(seed)
    means = [areas(rng) for _ in range(IMAGES)]
    means = [mean + rng.normal(0, of_means, mean.shape) for mean in means]
    real = []
    for _ in range(IMAGES):
        clean = areas(rng)
        real.append(eight_bit(clean + noise(rng, clean)))
    maps = write_maps(folder / "maps.zarr", means)
    return Tiny(maps, write_lr(folder / "lr.zarr", real), real)


def deviations(calibration: Calibration) -> Array:
    """(3, n) at ``LEVELS``, in gray levels."""
    knots = np.linspace(0, 255, len(calibration.variance_gray[0]))
    return np.sqrt([np.interp(LEVELS, knots, channel) for channel in calibration.variance_gray])


def counted(images: Sequence[NDArray[np.generic]]) -> Signature:
    first, *others = (signature(image.astype(np.float64)) for image in images)
    for other in others:
        first = first + other
    return first


def samples(maps: Store, calibration: Calibration) -> list[Image]:
    """One sample of every mean, as an 8-bit image."""
    sampler, draw = CalibratedSampler(calibration), torch.Generator().manual_seed(9)
    means = [torch.from_numpy(maps.read(i, "mean")).float()[None] for i in maps.ids]
    return [(sampler.sample({"mean": m}, draw)[0] * 255).round().byte().numpy() for m in means]


# --- what is found


@pytest.mark.arithmetic
def test_laplace_noise_by_intensity(tmp_path: Path) -> None:
    tiny = write(tmp_path, laplace)
    calibration, metrics = calibrate(tiny.maps, tiny.lr, SETTINGS)
    assert (calibration.maps_digest, calibration.lr_digest) == (tiny.maps.digest, tiny.lr.digest)
    assert calibration.scale == 4 and calibration.fault is None and calibration.jpeg is None
    truth = np.tile(4 + 12 * LEVELS / 255, (3, 1))
    np.testing.assert_allclose(deviations(calibration), truth, rtol=0.15)
    assert calibration.noise_filter is None
    assert calibration.laplace_share > 0.9
    clean = np.concatenate([tiny.maps.read(i, "mean").ravel() for i in tiny.maps.ids])
    theta = np.sqrt(np.mean((4 + 12 * clean.astype(np.float64)) ** 2) / 2)
    assert calibration.constant_theta_gray == pytest.approx(theta, rel=0.08)
    assert list(metrics) == METRICS
    assert metrics["noise_level_real"] == pytest.approx(theta * np.sqrt(2), rel=0.05)
    assert metrics["noise_level_samples"] == pytest.approx(theta * np.sqrt(2), rel=0.12)
    assert metrics["flat_areas"] is True and metrics["jpeg"] is False and metrics["fault"] is None


@pytest.mark.arithmetic
def test_gaussian_noise_has_no_laplace_in_it(tmp_path: Path) -> None:
    tiny = write(tmp_path, gaussian(8))
    calibration, _ = calibrate(tiny.maps, tiny.lr, SETTINGS)
    assert calibration.laplace_share**4 < 0.1
    np.testing.assert_allclose(deviations(calibration), 8, rtol=0.1)


@pytest.mark.arithmetic
def test_samples_have_the_spectrum_of_the_real_images(tmp_path: Path) -> None:
    """Within 2 dB, 0.4 to 0.9 by the draw; white noise of the same variance is 4.6 away."""
    tiny = write(tmp_path, smeared)
    calibration, metrics = calibrate(tiny.maps, tiny.lr, SETTINGS)
    assert calibration.noise_filter is not None
    assert metrics["neighbour_correlation"] == pytest.approx(0.5, abs=0.07)
    assert metrics["channel_correlation"] == pytest.approx(0.5, abs=0.07)
    np.testing.assert_allclose(deviations(calibration).mean(), 9, rtol=0.05)
    real = counted(tiny.real)
    white = calibration.model_copy(update={"noise_filter": None})
    found = spectral_distance(real, counted(samples(tiny.maps, calibration)))
    assert found < 2
    assert found < spectral_distance(real, counted(samples(tiny.maps, white))) / 2
    gray = [image.astype(np.float64) for image in samples(tiny.maps, calibration)]
    noise = [
        g - tiny.maps.read(i, "mean") * 255.0 for g, i in zip(gray, tiny.maps.ids, strict=True)
    ]
    between = np.corrcoef([np.concatenate([n[c].ravel() for n in noise]) for c in range(3)])
    np.testing.assert_allclose(between[np.triu_indices(3, 1)], 0.5, atol=0.07)


def test_weak_correlation_is_none(tmp_path: Path) -> None:
    tiny = write(tmp_path, smeared)
    settings = SETTINGS.model_copy(update={"least_correlation": 0.9, "rounds": 0})
    assert calibrate(tiny.maps, tiny.lr, settings)[0].noise_filter is None


@pytest.mark.arithmetic
@pytest.mark.parametrize("rounds", [0, 2])
def test_noise_of_the_means_is_taken_off_as_variance(tmp_path: Path, rounds: int) -> None:
    """10 of the real images, 6 of the means: 8 are missing, not 4."""
    tiny = write(tmp_path, gaussian(10), of_means=6)
    settings = SETTINGS.model_copy(update={"rounds": rounds})
    calibration, metrics = calibrate(tiny.maps, tiny.lr, settings)
    np.testing.assert_allclose(deviations(calibration).mean(axis=1), 8, rtol=0.08)
    assert metrics["noise_level_mean"] == pytest.approx(6, rel=0.05)
    assert metrics["noise_level_samples"] == pytest.approx(10, rel=0.05)


def test_images_without_noise_need_none(tmp_path: Path) -> None:
    tiny = write(tmp_path, gaussian(0))
    calibration, metrics = calibrate(tiny.maps, tiny.lr, SETTINGS)
    assert calibration.fault is None and deviations(calibration).max() < 0.3
    assert calibration.constant_theta_gray < 0.3
    assert metrics["noise_level_real"] == pytest.approx(np.sqrt(1 / 12), rel=0.01)


def test_the_held_out_quarter_is_not_read(tmp_path: Path) -> None:
    tiny = write(tmp_path, gaussian(8))
    garbage = np.random.default_rng(5).integers(0, 256, (3, SIDE, SIDE // 4), np.uint8)
    other = [image.copy() for image in tiny.real]
    for image in other:
        image[..., -(SIDE // 4) :] = garbage
    spoiled = write_lr(tmp_path / "spoiled.zarr", other)
    assert spoiled.digest != tiny.lr.digest
    first, metrics = calibrate(tiny.maps, tiny.lr, SETTINGS)
    second, others = calibrate(tiny.maps, spoiled, SETTINGS)
    assert second == first.model_copy(update={"lr_digest": spoiled.digest})
    assert others == metrics


@pytest.mark.arithmetic
def test_noise_under_a_jpeg(tmp_path: Path) -> None:
    """What was there before the compression is found, and samples look as after it."""
    tiny = write(tmp_path, gaussian(12))
    real = [jpeg_round_trip(image, 75, "4:2:0") for image in tiny.real]
    write_jpeg(tmp_path / "a.jpg", tiny.real[0], 75, "4:2:0")
    lr = write_lr(tmp_path / "jpeg.zarr", real, jpeg=compression([tmp_path / "a.jpg"]))
    settings = SETTINGS.model_copy(update={"rounds": 4})
    calibration, metrics = calibrate(tiny.maps, lr, settings)
    assert metrics["jpeg"] is True and isinstance(calibration.jpeg, JpegTables)
    assert calibration.jpeg.subsampling == "4:2:0"
    assert deviations(calibration).mean() == pytest.approx(12, rel=0.25)
    drawn = samples(tiny.maps, calibration)
    assert spectral_distance(counted(real), counted(drawn)) < 2  # 0.5 to 0.9 by the draw


def test_it_repeats(tmp_path: Path) -> None:
    tiny = write(tmp_path, gaussian(8))
    torch.manual_seed(0)
    first = calibrate(tiny.maps, tiny.lr, SETTINGS)
    torch.manual_seed(1)
    assert calibrate(tiny.maps, tiny.lr, SETTINGS) == first


@pytest.mark.parametrize("room", [2**28, 2 * 6 * SIDE**2, 0])
def test_maps_that_fit_into_memory_are_read_once(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the measurement of their means; where there is no room, results are the same."""
    world = write(tmp_path, gaussian(6))
    expected = calibrate(world.maps, world.lr, SETTINGS)
    reads: list[str] = []
    read = Store.read

    def counted_read(self: Store, image_id: str, name: str, *more: Any) -> NDArray[Any]:
        reads.append(f"{image_id} {name}")
        return read(self, image_id, name, *more)

    monkeypatch.setattr(module, "KEPT", room)
    monkeypatch.setattr(Store, "read", counted_read)
    assert calibrate(world.maps, world.lr, SETTINGS) == expected
    samplings = SETTINGS.rounds + 2  # and the samples with the theta of the maps
    kept = min(room // (6 * SIDE**2), IMAGES)
    means = [reads.count(f"m{n} mean") for n in range(IMAGES)]
    assert means == [2] * kept + [1 + samplings] * (IMAGES - kept)


def test_the_scales_must_agree(tmp_path: Path) -> None:
    tiny = write(tmp_path, gaussian(8))
    lr = write_lr(tmp_path / "lr2.zarr", tiny.real, scale=2)
    with pytest.raises(UserError, match=r"maps.zarr has the scale 4, but .*lr2.zarr has 2"):
        calibrate(tiny.maps, lr, SETTINGS)


@pytest.mark.parametrize(
    "change", [{"blocks": 999}, {"rounds": -1}, {"least_correlation": 1.1}, {"other": 1}]
)
def test_settings(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        CalibrateSettings.model_validate({**SETTINGS.model_dump(), **change})


# --- the command


def run(folder: Path, lr: str = "lr.zarr") -> Result:
    params = folder / "params.yaml"
    if not params.exists():
        params.write_text("calibrate: {blocks: 20000, rounds: 1, least_correlation: 0.1}\n")
    arguments = ["--maps", folder / "maps.zarr", "--lr", folder / lr, "--params", params]
    arguments += ["--out", folder / "out" / "c.json", "--metrics", folder / "out" / "m.json"]
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_command(tmp_path: Path) -> None:
    """The files hold what the engine returns, and the maps stay as they are."""
    tiny = write(tmp_path, gaussian(8))
    before = {p: p.read_bytes() for p in Path(tiny.maps.path).rglob("*") if p.is_file()}
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    settings = SETTINGS.model_copy(update={"rounds": 1})
    calibration, metrics = calibrate(tiny.maps, tiny.lr, settings)
    assert load_calibration(tmp_path / "out" / "c.json") == calibration
    assert json.loads((tmp_path / "out" / "m.json").read_text()) == metrics
    assert f"wrote {tmp_path / 'out' / 'c.json'}" in result.stdout
    assert "WARNING" not in result.stderr
    assert {p: p.read_bytes() for p in Path(tiny.maps.path).rglob("*") if p.is_file()} == before
    assert Store(tiny.maps.path, "maps").digest == tiny.maps.digest


def test_command_says_what_cannot_be_measured(tmp_path: Path) -> None:
    """A fault is a result, too: everything that needs no calibration goes on."""
    tiny = write(tmp_path, gaussian(8))
    write_lr(tmp_path / "small.zarr", [image[:, :40, :40] for image in tiny.real])
    result = run(tmp_path, "small.zarr")
    assert result.exit_code == 0, result.output
    fault = (
        "the real LR images are too small to measure their noise: they give 9 blocks of 8x8 pixels "
        "that have neighbours, and 64 are needed (r0, r1, r2); add photographs of the camera, or "
        "larger ones, or go on without a measurement: train_srn.theta: none draws without noise, "
        "constant with your guess in train_srn.constant_theta_gray"
    )
    found = read_calibration(tmp_path / "out" / "c.json")
    assert found.fault == fault and found.variance_gray == [] and found.constant_theta_gray == 0
    assert found.lr_digest == Store(tmp_path / "small.zarr", "lr").digest
    assert json.loads((tmp_path / "out" / "m.json").read_text()) == {"fault": fault}
    assert f"WARNING: no calibration: {fault}" in result.stderr
    with pytest.raises(UserError, match=re.escape(fault)):
        load_calibration(tmp_path / "out" / "c.json")


def fails(result: Result, *words: str) -> None:
    assert result.exit_code == 1 and "Traceback" not in result.output
    last = result.stderr.splitlines()[-1]
    assert last.startswith("Error: ") and all(word in last for word in words), last


def test_tables_that_are_damaged_are_no_fault_of_the_noise(tmp_path: Path) -> None:
    tiny = write(tmp_path, gaussian(8))
    write_lr(tmp_path / "odd.zarr", tiny.real, jpeg={"luma": [1], "chroma": []})
    fails(run(tmp_path, "odd.zarr"), "odd.zarr: its attribute 'jpeg' is damaged")


def test_command_names_both_scales(tmp_path: Path) -> None:
    tiny = write(tmp_path, gaussian(8))
    write_lr(tmp_path / "lr2.zarr", tiny.real, scale=2)
    fails(run(tmp_path, "lr2.zarr"), "maps.zarr has the scale 4", "lr2.zarr has 2")
    assert not (tmp_path / "out").exists()


def test_command_names_what_is_wrong(tmp_path: Path) -> None:
    tiny = write(tmp_path, gaussian(8))
    fails(run(tmp_path, "nowhere.zarr"), "nowhere.zarr: there is no such store")
    fails(run(tmp_path, "maps.zarr"), "maps.zarr: has the kind maps, expected lr")
    chunk = Path(tiny.lr.path) / "images" / "r1" / "image" / "c" / "0" / "0" / "0"
    chunk.unlink()
    fails(run(tmp_path), "image 'r1'", "it is missing")
    (tmp_path / "params.yaml").write_text("calibrate: {blocks: 9, round: 1}\n")
    fails(run(tmp_path), "calibrate.blocks", "calibrate.round is not a known setting")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.arithmetic
def test_noise_under_several_jpegs(tmp_path: Path) -> None:
    """Samples are as noisy as real images that are not compressed alike."""
    rng = np.random.default_rng(3)
    maps = write_maps(tmp_path / "maps.zarr", [areas(rng) for _ in range(24)])
    files, real = [], []
    for number, quality in enumerate((40, 50, 60, 70, 80, 95)):
        noisy = eight_bit(areas(rng) + rng.normal(0, 8, (3, SIDE, SIDE)))
        planes: Subsampling = "4:2:2" if number % 2 else "4:2:0"
        files.append(tmp_path / f"{quality}.jpg")
        write_jpeg(files[-1], noisy, quality, planes)
        real.append(jpeg_round_trip(noisy, quality, planes))
    lr = write_lr(tmp_path / "several.zarr", real, jpeg=compression(files))
    settings = SETTINGS.model_copy(update={"rounds": 4})
    calibration, metrics = calibrate(maps, lr, settings)
    assert isinstance(calibration.jpeg, JpegMixture) and len(calibration.jpeg.tables) == 6
    found, expected = metrics["noise_level_samples"], metrics["noise_level_real"]
    assert isinstance(found, float) and found == pytest.approx(expected, rel=0.15)
    stored = calibration.model_dump_json()
    assert Calibration.model_validate_json(stored) == calibration
