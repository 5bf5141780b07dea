"""The passport of tiny piles: valid, the same again, and honest about what they cannot tell."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from doubles import plain_passport
from numpy.typing import NDArray
from scenes import Image, Lens, eight_bit, leaves, write
from small_stores import fault

from pipeline.camera.estimate import DIGITS, CameraSettings, estimate_camera
from pipeline.passport.model import CameraModel
from pipeline.passport.passport import LARGEST_FILE, Passport, read_passport, write_passport
from pipeline.stores.reader import Store

SETTINGS = CameraSettings(light="gamma", rounds=2)
HR_SIDE, LR_SIDE = 96, 112
"""Sides of images, in LR pixels."""
LENS = Lens(sigma=0.5, noise_gray=3.0)


@lru_cache
def scene(seed: int, side: int) -> NDArray[np.float64]:
    return leaves(seed, side, 120, side / 24)


def hr_images(count: int, scale: int) -> list[Image]:
    return [eight_bit(scene(n, HR_SIDE * scale)) for n in range(count)]


def lr_images(count: int, lens: Lens) -> list[Image]:
    return [lens.photograph(scene(50 + n, LR_SIDE * lens.scale), n) for n in range(count)]


def stores(folder: Path, hr: list[Image], lr: list[Image], scale: int = 2) -> tuple[Store, Store]:
    folder.mkdir(exist_ok=True)
    return (
        write(folder / "hr.zarr", "hr", hr, scale),
        write(folder / "lr.zarr", "lr", lr, scale),
    )


def written(
    path: Path, piles: tuple[Store, Store], settings: CameraSettings = SETTINGS
) -> Passport:
    """The passport, after it was written and read; everything in it is a number."""
    passport, metrics = estimate_camera(*piles, settings)
    write_passport(path, passport)
    assert path.stat().st_size <= LARGEST_FILE
    assert "NaN" not in path.read_text()
    assert "Infinity" not in path.read_text()
    numbers = [value for value in metrics.values() if isinstance(value, float)]
    assert np.isfinite(numbers).all()
    assert metrics["unknown"] == "; ".join(passport.unknown)
    assert read_passport(path) == passport
    return passport


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("light", ["linear", "gamma"])
def test_a_passport_is_read_back_and_its_camera_runs(
    tmp_path: Path, scale: int, light: str
) -> None:
    settings = CameraSettings.model_validate({"light": light, "rounds": 2})
    piles = stores(tmp_path, hr_images(4, scale), lr_images(4, replace(LENS, scale=scale)), scale)
    passport = written(tmp_path / "camera.json", piles, settings)
    assert (passport.scale, passport.light) == (scale, light)
    assert (passport.hr_digest, passport.lr_digest) == (piles[0].digest, piles[1].digest)
    assert (passport.images.hr, passport.images.lr) == (4, 4)
    for kernel in (passport.luma_kernel, passport.chroma_kernel):
        assert np.sum(kernel) == pytest.approx(1, abs=1e-4)
    hr = torch.from_numpy(scene(0, HR_SIDE * scale)).float()[None]
    mean = CameraModel(passport)(hr)
    assert mean.shape == (1, 3, HR_SIDE, HR_SIDE)
    small = replace(LENS, scale=scale, noise_gray=0.0).photograph(scene(0, HR_SIDE * scale))
    inner = slice(8, -8)
    apart = mean[0].numpy() * 255 - small
    assert np.sqrt((apart[:, inner, inner] ** 2).mean()) < 8, "like the camera's, in gray levels"
    found = passport.transfer
    assert (np.array(found.luma_low) <= found.luma).all()
    assert (np.array(found.luma) <= found.luma_high).all()
    assert (np.array(found.chroma_low) <= found.chroma).all()
    assert (np.array(found.chroma) <= found.chroma_high).all()


def test_the_noise_is_that_of_the_real_lr_images(tmp_path: Path) -> None:
    passport, metrics = estimate_camera(
        *stores(tmp_path, hr_images(9, 2), lr_images(9, LENS)), SETTINGS
    )
    assert metrics["noise_level_real"] == pytest.approx(3, rel=0.25)
    assert metrics["noise_level_samples"] == pytest.approx(metrics["noise_level_real"], rel=0.1)
    assert passport.jpeg is None


def test_it_is_the_same_again(tmp_path: Path) -> None:
    piles = stores(tmp_path, hr_images(3, 2), lr_images(3, LENS))
    for name in ("a.json", "b.json"):
        written(tmp_path / name, piles)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def refused(folder: Path, hr: list[Image], lr: list[Image]) -> str:
    piles = stores(folder, hr, lr)
    return fault(lambda: estimate_camera(*piles, SETTINGS))


def flat(height: int, width: int, value: int = 90) -> Image:
    return np.full((3, height, width), value, np.uint8)


def test_what_shows_nothing_is_refused(tmp_path: Path) -> None:
    hr, lr = hr_images(2, 2), lr_images(2, LENS)
    said = refused(tmp_path / "a", [image[:, :90] for image in hr], lr)
    assert "hr.zarr" in said
    assert "must have 96 HR pixels and 32 LR pixels along both sides" in said
    said = refused(tmp_path / "b", hr, [lr[0][:, :33, :40]])
    assert "without the held-out quarter" in said
    assert "hr.zarr: its images are flat" in refused(tmp_path / "c", [flat(120, 120)] * 2, lr)
    assert "lr.zarr: its images are flat" in refused(tmp_path / "d", hr, [flat(60, 60)] * 2)


def test_piles_of_two_scales_are_refused(tmp_path: Path) -> None:
    hr = write(tmp_path / "hr.zarr", "hr", hr_images(2, 2), 2)
    lr = write(tmp_path / "lr.zarr", "lr", lr_images(2, LENS), 4)
    assert "scale" in fault(lambda: estimate_camera(hr, lr, SETTINGS))


def test_one_image_of_each_pile_is_enough_for_a_guess(tmp_path: Path) -> None:
    passport = written(
        tmp_path / "camera.json", stores(tmp_path, hr_images(1, 2), lr_images(1, LENS))
    )
    said = "; ".join(passport.unknown)
    assert "there is only one HR image, so the interval is too narrow" in said
    assert "there is only one real LR image, so the interval is too narrow" in said


def test_small_images_beside_large_ones_are_left_out(tmp_path: Path) -> None:
    hr, lr = hr_images(3, 2), lr_images(3, LENS)
    hr[1], lr[0] = hr[1][:, :40], lr[0][:, :, :20]
    passport = written(tmp_path / "camera.json", stores(tmp_path, hr, lr))
    assert (passport.images.hr, passport.images.lr) == (2, 2)


def gray(image: Image) -> Image:
    return np.ascontiguousarray(np.broadcast_to(image[1:2], image.shape))


@pytest.mark.parametrize("which", ["hr", "lr", "both"])
def test_gray_images_do_not_tell_the_blur_of_colours(tmp_path: Path, which: str) -> None:
    hr, lr = hr_images(3, 2), lr_images(3, LENS)
    hr = hr if which == "lr" else [gray(image) for image in hr]
    lr = lr if which == "hr" else [gray(image) for image in lr]
    passport = written(tmp_path / "camera.json", stores(tmp_path, hr, lr))
    assert any("without colours" in sentence for sentence in passport.unknown)
    assert passport.transfer.chroma[-1] > 0


def test_black_and_white_images_have_no_noise_to_measure(tmp_path: Path) -> None:
    ink = [((image > 128) * 255).astype(np.uint8) for image in lr_images(3, LENS)]
    passport = written(tmp_path / "camera.json", stores(tmp_path, hr_images(3, 2), ink))
    said = [
        one
        for one in passport.unknown
        if "noise could not be measured, so that it may pass for sharpness" in one
    ]
    assert len(said) == 1
    assert not np.any(passport.noise.variance_gray)


def test_a_flat_image_among_others_is_no_harm(tmp_path: Path) -> None:
    hr, lr = hr_images(3, 2), lr_images(3, LENS)
    hr[1], lr[1] = flat(112, 112), flat(64, 64, 0)
    written(tmp_path / "camera.json", stores(tmp_path, hr, lr))


def test_few_windows_leave_the_noise_as_it_was_measured(tmp_path: Path) -> None:
    """32 pixels of a window hold too few blocks to measure samples; the noise stays known."""
    small = [image[:, :100, :100] for image in hr_images(4, 2)]
    passport = written(tmp_path / "camera.json", stores(tmp_path, small, lr_images(4, LENS)))
    assert any("could not be searched for" in sentence for sentence in passport.unknown)
    variance = np.array(passport.noise.variance_gray)
    assert np.sqrt(variance.mean()) == pytest.approx(3, rel=0.3)


def test_the_widest_kernels_and_correlated_noise_fit_into_the_file(tmp_path: Path) -> None:
    """As many digits and signs as ``DIGITS`` allows, in kernels of 64 by 64."""
    rng = np.random.default_rng(0)
    kernel = rng.choice([-1, 1], (64, 64)) * rng.uniform(1e-4, 9e-4, (64, 64))
    kernel = np.round(kernel + (1 - kernel.sum()) / kernel.size, DIGITS)
    noise = {
        "variance_gray": rng.uniform(100, 900, (3, 9)).round(DIGITS).tolist(),
        "noise_filter": rng.uniform(-1, 0, (3, 3, 7, 7)).round(DIGITS).tolist(),
        "laplace_share": 0.123456,
    }
    passport = plain_passport(
        luma_kernel=kernel.tolist(), chroma_kernel=kernel.tolist(), noise=noise
    )
    write_passport(tmp_path / "camera.json", passport)
    assert LARGEST_FILE - 2000 > (tmp_path / "camera.json").stat().st_size > LARGEST_FILE / 2
