"""The stream: pixels that say where they come from, and the law of the noise."""

from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from conftest import HR_SIZES, World, calibration, demand
from crop_threads import crop_threads
from laws import STANDARD_ERRORS, UNLIKELY
from numpy.typing import NDArray
from scipy.stats import kstest
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.base.seeding import generator
from pipeline.images.filters import bicubic_downsample
from pipeline.sampling.calibrated import CalibratedSampler
from pipeline.sampling.calibration import Calibration
from pipeline.sampling.sampler import Draw, Sampler, Theta, make_sampler
from pipeline.stores.reader import Store
from pipeline.train_srn.streams import (
    SampleStream,
    bicubic_stream,
    pairs_stream,
)
from pipeline.writing.writer import StoreWriter

SCALE, PATCH, SEED = 4, 8, 11
SIZES = {"a": (36, 30), "b": (28, 35), "c": (8, 40)}
"""(H, W) on the LR grid; ``c`` has no choice of rows."""
CPU = torch.device("cpu")


def coordinates(height: int, width: int, image: int) -> NDArray[np.int64]:
    """(3, H, W): row, column and image number of every pixel."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, image)])


@pytest.fixture(scope="module")
def scales() -> dict[str, NDArray[np.float16]]:
    """Theta of every pixel, all different."""
    rng = np.random.default_rng(0)
    return {name: rng.uniform(0.002, 0.05, (3, *size)).astype("f2") for name, size in SIZES.items()}


@pytest.fixture(scope="module")
def located(
    tmp_path_factory: pytest.TempPathFactory, scales: dict[str, NDArray[np.float16]]
) -> tuple[Store, Store]:
    """HR and maps whose pixels are their own coordinates: HR in levels, the mean in 64ths."""
    folder = tmp_path_factory.mktemp("located")
    with StoreWriter(folder / "hr.zarr", "hr", SCALE, list(SIZES)) as writer:
        for number, (name, (height, width)) in enumerate(SIZES.items()):
            image = coordinates(height * SCALE, width * SCALE, number).astype(np.uint8)
            writer.add(name, {"image": image})
    hr = Store(folder / "hr.zarr", "hr")
    described = {"hr_digest": hr.digest}
    with StoreWriter(folder / "maps.zarr", "maps", SCALE, list(SIZES), described) as writer:
        for number, (name, size) in enumerate(SIZES.items()):
            mean = (coordinates(*size, number) / 64).astype(np.float16)
            writer.add(name, {"mean": mean, "theta": scales[name]})
    return hr, Store(folder / "maps.zarr", "maps")


def stream(
    located: tuple[Store, Store], theta: Theta, seed: int = SEED, crops: int = 2
) -> SampleStream:
    return SampleStream(
        *located, PATCH, make_sampler(Draw(theta)), demand(seed, crops, crops_per_image=8)
    )


def calibrated(stores: tuple[Store, Store], measured: Calibration | None) -> Sampler:
    return make_sampler(Draw("calibrated"), measured, stores[1])


def places(mean: Tensor) -> NDArray[np.int64]:
    """(N, 3, S, S) rows, columns and image numbers from means that are coordinates."""
    exact = mean.double().numpy() * 64
    assert np.array_equal(exact, np.round(exact))
    return exact.astype(np.int64)


def test_hr_and_mean_are_of_the_same_place_however_turned(located: tuple[Store, Store]) -> None:
    orientations = set()
    for step in range(12):
        made = stream(located, "none", crops=8)
        lr, hr = made.batch(step)
        chosen = made.schedule.batch(step)
        assert lr.dtype == hr.dtype == torch.float32
        assert hr.shape == (8, 3, PATCH * SCALE, PATCH * SCALE) and lr.shape == (8, 3, PATCH, PATCH)
        small, large = places(lr), np.round(hr.double().numpy() * 255).astype(np.int64)
        enlarged = small.repeat(SCALE, axis=2).repeat(SCALE, axis=3)
        assert np.array_equal(large[:, :2] // SCALE, enlarged[:, :2])
        assert np.array_equal(large[:, 2], enlarged[:, 2])
        for image, crop, found in zip(chosen, small, large, strict=True):
            assert (crop[2] == image).all()
            for grid, side in ((crop, PATCH), (found, PATCH * SCALE)):
                rows, columns = grid[:2]
                corner = [rows.min(), columns.min()]
                window = coordinates(side, side, 0)[:2] + np.array(corner)[:, None, None]
                pixels = set(zip(rows.flat, columns.flat, strict=True))
                assert pixels == set(zip(*window.reshape(2, -1), strict=True))
            steps = (crop[:2, 1, 0] - crop[:2, 0, 0], crop[:2, 0, 1] - crop[:2, 0, 0])
            orientations.add(tuple(int(value) for pair in steps for value in pair))
    assert len(orientations) == 8


def test_without_theta_the_lr_is_the_mean_itself(located: tuple[Store, Store]) -> None:
    made = stream(located, "none")
    lr, _ = made.batch(3)
    for crop, image in zip(places(lr), made.schedule.batch(3), strict=True):
        mean = located[1].read(list(SIZES)[image], "mean")
        exact = [mean[channel, crop[0], crop[1]] for channel in range(3)]
        assert np.array_equal(np.stack(exact).astype(np.float64) * 64, crop)


def residuals(
    located: tuple[Store, Store], scales: dict[str, NDArray[np.float16]], steps: range
) -> NDArray[np.float64]:
    """(lr - mean) / theta, theta looked up where the mean says the pixel is from."""
    found = []
    for step in steps:
        made = stream(located, "raw")
        drawn, chosen = made.batch(step), made.schedule.batch(step)
        plain = stream(located, "none").batch(step)
        assert torch.equal(drawn.hr, plain.hr)
        noise = (drawn.lr.double() - plain.lr.double()).numpy()
        for crop, image, values in zip(places(plain.lr), chosen, noise, strict=True):
            theta = scales[list(SIZES)[image]][:, crop[0], crop[1]].astype(np.float64)
            found.append(values / theta)
    return np.stack(found)


@pytest.mark.arithmetic
def test_noise_is_laplace_of_the_stored_scale(
    located: tuple[Store, Store], scales: dict[str, NDArray[np.float16]]
) -> None:
    drawn = residuals(located, scales, range(60))
    assert kstest(drawn.ravel(), "laplace").pvalue > UNLIKELY
    assert np.abs(drawn).mean() == pytest.approx(1, abs=STANDARD_ERRORS / np.sqrt(drawn.size))
    for one in (0, 1, 2):  # each colour, and neighbours in a crop are independent
        assert kstest(drawn[:, one].ravel(), "laplace").pvalue > UNLIKELY
    flat = drawn.reshape(len(drawn), 3, -1)
    pairs = ((flat[:, 0], flat[:, 1]), (drawn[..., 1:], drawn[..., :-1]))
    for one_part, other in pairs:
        correlation = np.corrcoef(one_part.ravel(), other.ravel())[0, 1]
        assert abs(correlation) < STANDARD_ERRORS / np.sqrt(other.size)


@pytest.mark.arithmetic
def test_the_law_would_not_fit_other_scales(
    located: tuple[Store, Store], scales: dict[str, NDArray[np.float16]]
) -> None:
    """The test above can fail: theta of the transposed place is refuted."""
    mirrored = {name: np.ascontiguousarray(theta[..., ::-1]) for name, theta in scales.items()}
    assert kstest(residuals(located, mirrored, range(60)).ravel(), "laplace").pvalue < UNLIKELY


def test_a_step_repeats_and_the_next_is_fresh(located: tuple[Store, Store]) -> None:
    one = stream(located, "raw")
    first, second = one.batch(0), one.batch(1)
    again = stream(located, "raw").batch(0)
    assert torch.equal(first.lr, again.lr) and torch.equal(first.hr, again.hr)
    assert not torch.equal(first.lr, second.lr) and not torch.equal(first.hr, second.hr)
    assert torch.equal(one.batch(0).lr, first.lr)
    assert not torch.equal(stream(located, "raw", seed=SEED + 1).batch(0).hr, first.hr)


@pytest.mark.arithmetic
def test_the_draw_is_fresh_where_the_crop_is_the_same(tmp_path: Path) -> None:
    """An image of the size of a crop, flat: what differs between steps is the noise alone."""
    with StoreWriter(tmp_path / "hr.zarr", "hr", 2, ["x"]) as writer:
        writer.add("x", {"image": np.full((3, 48, 48), 90, np.uint8)})
    hr = Store(tmp_path / "hr.zarr", "hr")
    with StoreWriter(tmp_path / "m.zarr", "maps", 2, ["x"], {"hr_digest": hr.digest}) as writer:
        flat = np.full((3, 24, 24), 0.25, np.float16)
        writer.add("x", {"mean": flat, "theta": flat / 16})
    made = SampleStream(
        hr, Store(tmp_path / "m.zarr", "maps"), 24, make_sampler(Draw("raw")), demand(0, 2)
    )
    first, second = made.batch(0).lr, made.batch(1).lr
    values = torch.stack([first[0], first[1], second[0], second[1]]).flatten(1)
    correlation = torch.corrcoef(values) - torch.eye(4)
    assert correlation.abs().max() < STANDARD_ERRORS / values.shape[1] ** 0.5
    assert values.min() < 0.25 < values.max() and values.std() > 0.01


def test_samples_are_not_clamped(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "hr.zarr", "hr", 2, ["x"]) as writer:
        writer.add("x", {"image": np.zeros((3, 32, 32), np.uint8)})
    hr = Store(tmp_path / "hr.zarr", "hr")
    with StoreWriter(tmp_path / "m.zarr", "maps", 2, ["x"], {"hr_digest": hr.digest}) as writer:
        dark = np.zeros((3, 16, 16), np.float16)
        writer.add("x", {"mean": dark, "theta": np.full_like(dark, 0.05)})
    lr = (
        SampleStream(
            hr, Store(tmp_path / "m.zarr", "maps"), 16, make_sampler(Draw("raw")), demand(0)
        )
        .batch(0)
        .lr
    )
    below = STANDARD_ERRORS * 0.5 / lr.numel() ** 0.5
    assert (lr < 0).double().mean().item() == pytest.approx(0.5, abs=below)


# --- other laws of the noise


@pytest.fixture(scope="module")
def gray(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """An image of middle grays, so that no sample reaches the ends; its theta is absurd."""
    folder = tmp_path_factory.mktemp("gray")
    rng = np.random.default_rng(1)
    with StoreWriter(folder / "hr.zarr", "hr", 2, ["x"]) as writer:
        writer.add("x", {"image": rng.integers(0, 255, (3, 96, 96), np.uint8)})
    hr = Store(folder / "hr.zarr", "hr")
    with StoreWriter(folder / "m.zarr", "maps", 2, ["x"], {"hr_digest": hr.digest}) as writer:
        mean = rng.uniform(0.4, 0.7, (3, 48, 48)).astype(np.float16)
        writer.add("x", {"mean": mean, "theta": np.full_like(mean, 0.9)})
    return hr, Store(folder / "m.zarr", "maps")


def draws(stores: tuple[Store, Store], made: SampleStream) -> tuple[Tensor, Tensor]:
    """Means (N, 3, S, S), and what the stream adds to them."""
    plain = SampleStream(*stores, 24, make_sampler(Draw("none")), demand(SEED, 2))
    pairs = [(plain.batch(step), made.batch(step)) for step in range(8)]
    assert all(torch.equal(one.hr, other.hr) for one, other in pairs)
    mean = torch.cat([one.lr for one, _ in pairs])
    return mean, torch.cat([other.lr for _, other in pairs]) - mean


@pytest.mark.arithmetic
def test_a_constant_theta_is_the_same_everywhere(gray: tuple[Store, Store]) -> None:
    theta = 6 / 255
    mean, noise = draws(
        gray, SampleStream(*gray, 24, make_sampler(Draw("constant", theta)), demand(SEED, 2))
    )
    assert kstest(noise.numpy().ravel() / theta, "laplace").pvalue > UNLIKELY
    assert kstest(noise.numpy().ravel() / theta * 1.3, "laplace").pvalue < UNLIKELY
    middle = mean.median()
    for part in (mean < middle, mean > middle):  # neither the mean nor the stored theta matters
        assert noise[part].abs().mean().item() == pytest.approx(
            theta, rel=STANDARD_ERRORS / int(part.sum()) ** 0.5
        )


@pytest.mark.arithmetic
def test_a_calibrated_theta_follows_channel_and_intensity(gray: tuple[Store, Store]) -> None:
    measured = calibration(gray[1])
    made = SampleStream(*gray, 24, calibrated(gray, measured), demand(SEED, 2))
    mean, noise = (part.double().numpy() for part in draws(gray, made))
    variance = [
        np.interp(mean[:, one], [0, 0.5, 1], measured.variance_gray[one]) for one in range(3)
    ]  # in gray levels squared
    theta = np.sqrt(np.stack(variance, axis=1) / 2) / 255
    for one in range(3):
        assert kstest((noise / theta)[:, one].ravel(), "laplace").pvalue > UNLIKELY
    swapped = noise[:, 0] / theta[:, 1]
    assert kstest(swapped.ravel(), "laplace").pvalue < UNLIKELY  # the test above can fail


def test_a_calibrated_draw_is_that_of_the_sampler(gray: tuple[Store, Store]) -> None:
    kernel = np.zeros((3, 3, 3, 3))
    kernel[range(3), range(3), 1] = 3**-0.5  # a row of three
    measured = calibration(gray[1], noise_filter=kernel.tolist(), laplace_share=0.5)
    made = SampleStream(*gray, 24, calibrated(gray, measured), demand(SEED))
    plain = SampleStream(*gray, 24, make_sampler(Draw("none")), demand(SEED))
    sampler = CalibratedSampler(measured)
    for step in (0, 5):
        drawn = sampler.sample(
            {"mean": plain.batch(step).lr}, generator(SEED, "train_srn/noise", step, CPU)
        )
        assert torch.equal(made.batch(step).lr, drawn)


def test_calibrated_samples_end_where_images_do(located: tuple[Store, Store]) -> None:
    measured = calibration(located[1], variance_gray=3 * [[900.0, 900.0]])
    made = SampleStream(*located, PATCH, calibrated(located, measured), demand(SEED, 2))
    lr = torch.cat([made.batch(step).lr for step in range(9)])
    assert lr.min() == 0 and lr.max() <= 1


@pytest.mark.parametrize("other", [False, True])
def test_calibrated_without_the_calibration_of_these_maps(
    other: bool, tiny: World, gray: tuple[Store, Store]
) -> None:
    given = calibration(tiny.maps, scale=gray[1].scale) if other else None
    with pytest.raises(UserError) as caught:
        SampleStream(*gray, 24, calibrated(gray, given), demand(SEED))
    message = str(caught.value)
    if other:
        named = (str(gray[1].path), tiny.maps.digest[:12], gray[1].digest[:12])
        assert all(part in message for part in (*named, "run the calibrate stage again"))
    else:
        assert message == "theta is calibrated, but no calibration was given"


# --- what does not belong together


def test_other_hr_images_than_those_exported(tiny: World, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "hr.zarr", "hr", 4, list(HR_SIZES)) as writer:
        for name, size in HR_SIZES.items():
            writer.add(name, {"image": np.zeros((3, *size), np.uint8)})
    other = Store(tmp_path / "hr.zarr", "hr")
    with pytest.raises(UserError) as caught:
        SampleStream(other, tiny.maps, 16, make_sampler(Draw("raw")), demand(0))
    message = str(caught.value)
    for part in (other.path, tiny.maps.path, other.digest[:12], tiny.hr.digest[:12], "export"):
        assert str(part) in message


def test_stores_of_two_scales(tiny: World, tiny2: World) -> None:
    with pytest.raises(UserError) as caught:
        SampleStream(tiny2.hr, tiny.maps, 16, make_sampler(Draw("raw")), demand(0))
    message = str(caught.value)
    assert f"{tiny2.hr.path} has the scale 2" in message
    assert f"{tiny.maps.path} has 4" in message


def test_an_image_smaller_than_a_crop(tiny: World) -> None:
    SampleStream(tiny.hr, tiny.maps, 35, make_sampler(Draw("raw")), demand(0))
    with pytest.raises(UserError) as caught:
        SampleStream(tiny.hr, tiny.maps, 36, make_sampler(Draw("raw")), demand(0))
    for part in ("castle", "40x35", "36x36", "train_srn.lr_patch"):
        assert part in str(caught.value)


# --- pairs that were made before


def test_all_sources_train_on_the_same_hr_crops(tiny: World) -> None:
    drawn = SampleStream(tiny.hr, tiny.maps, 16, make_sampler(Draw("raw")), demand(9, 4))
    bicubic = bicubic_stream(tiny.hr, 16, demand(9, 4))
    assert drawn.scale == bicubic.scale
    for step in (0, 3):
        assert torch.equal(drawn.batch(step).hr, bicubic.batch(step).hr)


def test_bicubic_lr_images_are_8_bit_and_of_the_same_place(tiny: World) -> None:
    made = bicubic_stream(tiny.hr, 16, demand(4, 4))
    assert (made.schedule.images, made.scale) == (3, 4)
    lr, hr = made.batch(0)
    levels = 255 * lr.double()
    assert (levels - levels.round()).abs().max() < 1e-4
    inner = bicubic_downsample(hr, 4)[..., 2:-2, 2:-2]  # borders see beyond the crop
    assert (lr[..., 2:-2, 2:-2] - inner.clamp(0, 1)).abs().max() <= 0.5 / 255 + 1e-6


def test_real_pairs_are_of_the_same_place(tiny: World) -> None:
    made = pairs_stream(tiny.val, 8, demand(4, 4))
    assert (made.schedule.images, made.scale) == (2, 4)
    lr, hr = made.batch(0)
    boxes = hr.unfold(2, 4, 4).unfold(3, 4, 4).mean((-1, -2))
    assert (lr - boxes).abs().max() <= 0.5 / 255 + 1e-6  # as the world was made


def test_no_pairs_and_pairs_smaller_than_a_crop(tiny: World, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "pairs.zarr", "val", 4, []):
        pass
    with pytest.raises(UserError, match=r"pairs\.zarr: holds no pair to train on"):
        pairs_stream(Store(tmp_path / "pairs.zarr", "val"), 8, demand(0))
    with pytest.raises(UserError, match="smaller than a crop of 80x80; lower train_srn.lr_patch"):
        pairs_stream(tiny.val, 20, demand(0))
    with pytest.raises(UserError, match="smaller than a crop of 144x144"):
        bicubic_stream(tiny.hr, 36, demand(0))


# --- threads


def test_every_stream_ends_its_threads(tiny: World) -> None:
    before = crop_threads()
    sampler = make_sampler(Draw("raw"))
    for opened in (
        SampleStream(tiny.hr, tiny.maps, 16, sampler, demand(0)),
        bicubic_stream(tiny.hr, 16, demand(0)),
        pairs_stream(tiny.val, 16, demand(0)),
    ):
        with opened as stream:
            stream.batch(0)
            assert crop_threads() - before
        assert not crop_threads() - before


# --- stores at URLs


def test_a_stream_reads_from_urls(tiny: World) -> None:
    memory = fsspec.filesystem("memory")
    for name, store in (("hr", tiny.hr), ("maps", tiny.maps)):
        memory.put(str(store.path), f"/{name}.zarr", recursive=True)
    stores = Store("memory://hr.zarr", "hr"), Store("memory://maps.zarr", "maps")
    there, late = (
        SampleStream(*stores, 16, make_sampler(Draw("raw")), demand(9, 4)) for _ in range(2)
    )
    here = SampleStream(tiny.hr, tiny.maps, 16, make_sampler(Draw("raw")), demand(9, 4))
    assert torch.equal(there.batch(0).lr, here.batch(0).lr)
    memory.store.clear()
    with pytest.raises(UserError, match=r"memory://\w+\.zarr: "):
        late.batch(0)
