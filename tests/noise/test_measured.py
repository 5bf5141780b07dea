"""Whether noise can be measured, and what is said where it cannot: the images, and a way out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.calibrate.calibrate import calibrate
from pipeline.calibrate.settings import CalibrateSettings
from pipeline.images.filters import bicubic_downsample
from pipeline.noise.estimate import BLOCKS, ROUNDING, cut_blocks, estimate_noise
from pipeline.noise.measured import measure
from pipeline.sampling.noise_level import miss, noise_ratio
from pipeline.stores.reader import Store
from pipeline.train_dsn.monitor import Monitor
from pipeline.writing.writer import StoreWriter

Image = NDArray[np.uint8]
GO_ON = "train_srn.theta: none draws without noise, constant with your guess in train_srn.constant"


def eight_bit(image: NDArray[np.floating]) -> Image:
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def flat_areas(rng: np.random.Generator, side: int = 192, area: int = 32) -> NDArray[np.float64]:
    colours = rng.uniform(60, 200, (3, side // area, side // area))
    return np.asarray(colours.repeat(area, axis=1).repeat(area, axis=2))


def drawing(rng: np.random.Generator, lines: int, width: float, side: int = 192) -> Image:
    """Black lines on white paper, antialiased and without noise: gray only where a line is."""
    y, x = np.mgrid[:side, :side]
    paper = np.full((side, side), 255.0)
    for angle, place in zip(rng.uniform(0, np.pi, lines), rng.uniform(0, side, lines), strict=True):
        distance = np.abs((x - place) * np.cos(angle) + (y - place) * np.sin(angle))
        paper = np.minimum(paper, 255 * np.clip(distance - width, 0, 1))
    return eight_bit(np.stack([paper] * 3))


def store(folder: Path, images: list[Image], kind: Any = "lr", name: str = "lr") -> Store:
    ids = [f"image{n}" for n in range(len(images))]
    with StoreWriter(folder / f"{name}.zarr", kind, 4, ids) as writer:
        for image_id, image in zip(ids, images, strict=True):
            writer.add(image_id, {"image": image})
    return Store(folder / f"{name}.zarr", kind)


def maps(folder: Path) -> Store:
    """Means with flat areas, and a theta of a gray level."""
    mean = (flat_areas(np.random.default_rng(5)) / 255).astype(np.float16)
    with StoreWriter(folder / "maps.zarr", "maps", 4, ["m"]) as writer:
        writer.add("m", {"mean": mean, "theta": np.full_like(mean, 1 / 255)})
    return Store(folder / "maps.zarr", "maps")


def said(lr: Store) -> str:
    found = measure(lr, BLOCKS)
    assert found.noise is None and found.fault is not None
    return str(found.fault)


@pytest.mark.parametrize(
    ("seed", "lines", "width"),
    [(1, 10, 4.0), (1, 20, 0.5), pytest.param(0, 10, 1.5, marks=pytest.mark.slow)],
)
def test_line_drawings_are_refused_by_all_alike(
    tmp_path: Path, seed: int, lines: int, width: float
) -> None:
    """The quarter that is held out had a noise of 84 and of 88 gray levels, so the monitor said.

    The calibration refused these, and found 107 gray levels in the third.
    """
    rng = np.random.default_rng(seed)
    lr = store(tmp_path, [drawing(rng, lines, width) for _ in range(4)])
    hr = store(tmp_path, [eight_bit(flat_areas(rng, 256))], "hr", "hr")
    fault = said(lr)
    assert GO_ON in fault and "add photographs of the camera" in fault
    monitor = Monitor(hr, lr, lambda image: bicubic_downsample(image, 4), 0)
    scores = monitor.score(
        lambda image: {
            "mean": bicubic_downsample(image, 4),
            "theta": bicubic_downsample(image, 4) * 0 + 1 / 255,
        }
    )
    assert scores.noise_level_real is None and scores.noise_ratio is None
    assert scores.warnings() == [fault]
    calibration, metrics = calibrate(maps(tmp_path), lr, CalibrateSettings())
    assert calibration.fault == fault and metrics == {"fault": fault}


@pytest.mark.parametrize("black", [0.0, 90.0])
def test_images_of_one_colour_have_the_noise_of_rounding(black: float) -> None:
    image = np.full((3, 120, 120), 130.0)
    image[:, :, :40] -= black
    found = estimate_noise(cut_blocks(image, BLOCKS))
    np.testing.assert_allclose(found.variance, ROUNDING)


def test_night_photographs_are_too_dark(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    night = [eight_bit(rng.uniform(0, 14, (3, 120, 160))) for _ in range(5)]
    fault = said(store(tmp_path, night))
    assert "are too dark to measure their noise: 0% of their blocks of 8x8 pixels (0 of " in fault
    assert "(image0, image1, image2 and 2 more); add brighter photographs of the camera" in fault
    assert GO_ON in fault


def test_a_few_lamps_at_night_do_not_show_the_noise(tmp_path: Path) -> None:
    """Of 5 x 234 blocks 5 x 36 are lit: enough by their number, but no fair choice of them."""
    rng = np.random.default_rng(2)
    night = []
    for _ in range(5):
        image = np.full((3, 160, 160), 5.0)
        image[:, 48:96, 24:72] = 120
        night.append(eight_bit(image + rng.normal(0, 2, image.shape)))
    fault = said(store(tmp_path, night))
    assert "too dark to measure their noise: 15% of their blocks" in fault and "(180 of" in fault


def test_dark_images_among_lit_ones_are_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    lit = [eight_bit(flat_areas(rng) + rng.normal(0, 6, (3, 192, 192))) for _ in range(2)]
    dark = [eight_bit(rng.normal(3, 2, (3, 192, 192))) for _ in range(3)]
    found = measure(store(tmp_path, [*lit, *dark]), BLOCKS)
    assert found.noise is not None and found.remark is not None
    assert found.noise.deviation(measure(store(tmp_path, lit, name="lit"), BLOCKS).blocks) == (
        pytest.approx(6, rel=0.1)
    )
    assert "(image2, image3, image4); it was measured on the rest: 40% of their" in found.remark


def test_saturated_photographs_are_too_bright(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    images = [eight_bit(rng.normal(252, 6, (3, 120, 160))) for _ in range(3)]
    fault = said(store(tmp_path, images))
    assert "too bright to measure their noise: 0% of" in fault
    assert "(image0, image1, image2); add darker photographs of the camera" in fault


def test_images_that_are_too_small_are_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    small = [eight_bit(rng.normal(120, 6, (3, 40, 48))) for _ in range(5)]
    fault = said(store(tmp_path, small))
    assert "are too small to measure their noise: they give 30 blocks" in fault
    assert "64 are needed (image0, image1, image2 and 2 more); add photographs" in fault


def test_black_means_are_no_fault_of_the_real_images(tmp_path: Path) -> None:
    """A DSN that has collapsed made them; the sentence named only blocks."""
    rng = np.random.default_rng(6)
    lr = store(tmp_path, [eight_bit(flat_areas(rng) + rng.normal(0, 6, (3, 192, 192)))])
    black = np.zeros((3, 96, 96), np.float16)
    with StoreWriter(tmp_path / "black.zarr", "maps", 4, ["m"]) as writer:
        writer.add("m", {"mean": black, "theta": black + np.float16(0.01)})
    calibration, _ = calibrate(Store(tmp_path / "black.zarr", "maps"), lr, CalibrateSettings())
    assert calibration.fault is not None
    assert calibration.fault.startswith("the means of the maps are too dark")
    assert "unless the DSN has collapsed" in calibration.fault


# --- samples that miss the real level


@pytest.mark.parametrize(
    ("real", "samples", "ratio"),
    [(10.0, 3.7, "0.37"), (2.0, 12.0, "6.00"), (9.0, 12.1, "1.34"), (9.0, 5.9, "0.66")],
)
def test_a_miss_by_more_than_a_third_has_its_figures(
    real: float, samples: float, ratio: str
) -> None:
    sentence = miss(real, samples)
    assert sentence is not None and f"{ratio} times the noise of the real LR images" in sentence
    assert f"({samples:.1f} against {real:.1f} gray levels)" in sentence
    assert noise_ratio(real, samples) == pytest.approx(samples / real)


@pytest.mark.parametrize(
    ("real", "samples"),
    [(9.0, 11.9), (9.0, 6.1), (0.3, 0.75), (None, 3.0), (3.0, None), (0.0, 3.0)],
)
def test_no_miss(real: float | None, samples: float | None) -> None:
    assert miss(real, samples) is None


def test_texture_of_means_is_no_noise_where_there_is_none() -> None:
    """Real images without noise, and a sampler that adds none: there is nothing to change."""
    assert miss(0.29, 4.0, 3.9) is None
    assert miss(0.29, 4.0, 1.0) is not None
    assert miss(5.0, 9.0, 9.0) is not None
