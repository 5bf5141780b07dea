"""A training says before its first step that its samples miss the real noise level."""

import logging
from pathlib import Path

import numpy as np
import pytest
from conftest import World, calibration, srn_settings
from doubles import plain_passport

from pipeline.calibrate.calibrate import calibrate
from pipeline.calibrate.settings import CalibrateSettings
from pipeline.sampling.noise_level import NoiseLevels
from pipeline.stores.reader import Store
from pipeline.train_srn.noise_check import check_noise, level_of, levels_of
from pipeline.writing.writer import StoreWriter

LEVELS = NoiseLevels(real=8.0, mean=1.0, raw=3.0, camera=7.5, calibrated=8.2)


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({"theta": "raw"}, 3.0),
        ({"theta": "camera"}, 7.5),
        ({"theta": "calibrated"}, 8.2),
        ({"theta": "none"}, 1.0),
        ({"theta": "constant", "constant_theta_gray": 2.0}, 3.0),
        ({"theta": "constant", "constant_theta_gray": None}, 13**0.5),
    ],
)
def test_the_level_is_that_of_the_theta(changes: dict[str, object], level: float) -> None:
    assert level_of(LEVELS, srn_settings(**changes), 6**0.5) == pytest.approx(level)


def warned(tiny: World, caplog: pytest.LogCaptureFixture, levels: object, **changes: object) -> str:
    caplog.clear()
    measured = calibration(tiny.maps, levels_gray=levels)
    with caplog.at_level(logging.WARNING):
        check_noise(measured, srn_settings(**changes), tiny.maps)
    return " ".join(caplog.messages)


def test_the_way_out_has_the_right_level(tiny: World, caplog: pytest.LogCaptureFixture) -> None:
    said = warned(tiny, caplog, LEVELS, theta="raw")
    assert "with theta: raw the samples carry 0.38 times the noise of the real LR images" in said
    assert "(3.0 against 8.0 gray levels); those of theta: camera carry 7.5" in said
    assert warned(tiny, caplog, LEVELS, theta="camera") == ""
    quiet = LEVELS.model_copy(update={"camera": 2.0})
    assert "those of theta: calibrated carry 8.2" in warned(tiny, caplog, quiet, theta="camera")
    noisy = NoiseLevels(real=2.0, mean=6.0, raw=6.5, calibrated=6.0)
    said = warned(tiny, caplog, noisy, theta="calibrated")
    assert "3.00 times" in said and "the means alone have 6.0" in said
    clean = NoiseLevels(real=0.29, mean=0.3, raw=1.7)
    assert "take theta: none" in warned(tiny, caplog, clean, theta="raw")


def test_what_is_not_known_of_these_maps_is_no_metric(
    tiny: World, tiny2: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = srn_settings(theta="raw")
    other = calibration(tiny2.maps, levels_gray=LEVELS)
    for measured in (None, other, calibration(tiny.maps)):
        assert check_noise(measured, settings, tiny.maps) == {}
    assert caplog.messages == []
    faulty = calibration(tiny.maps, fault="too dark", variance_gray=[])
    assert check_noise(faulty, settings, tiny.maps) == {}
    assert "as real LR images is not known: too dark" in caplog.text
    (tmp_path / "damaged.json").write_text("damaged")
    assert levels_of(tmp_path / "damaged.json") is None and levels_of(None) is None


def test_the_calibration_measures_every_kind_of_sample(tmp_path: Path) -> None:
    """Flat means; a theta of 4 gray levels, so noise of 5.7, where the real images have 12."""
    rng = np.random.default_rng(0)

    def areas() -> np.ndarray:
        return rng.uniform(70, 190, (3, 6, 6)).repeat(32, axis=1).repeat(32, axis=2)

    means = {f"m{n}": (areas() / 255).astype(np.float16) for n in range(2)}
    passport = {"dsn": {"passport": plain_passport().model_dump()}}
    with StoreWriter(tmp_path / "maps.zarr", "maps", 4, list(means), passport) as writer:
        for name, mean in means.items():
            writer.add(name, {"mean": mean, "theta": np.full_like(mean, 4 / 255)})
    with StoreWriter(tmp_path / "lr.zarr", "lr", 4, ["a", "b"]) as writer:
        for name in "ab":
            image = areas() + rng.normal(0, 12, (3, 192, 192))
            writer.add(name, {"image": np.clip(image.round(), 0, 255).astype(np.uint8)})
    stores = Store(tmp_path / "maps.zarr", "maps"), Store(tmp_path / "lr.zarr", "lr")
    found, metrics = calibrate(*stores, CalibrateSettings(rounds=0))
    levels = found.levels_gray
    assert levels is not None
    assert levels.real == pytest.approx(12, rel=0.1)
    assert levels.mean is not None and levels.mean < 0.5
    for level in (levels.raw, levels.camera):
        assert level == pytest.approx(4 * 2**0.5, rel=0.1)
    assert levels.calibrated == pytest.approx(12, rel=0.15)
    assert metrics["noise_ratio_raw"] == pytest.approx(4 * 2**0.5 / 12, rel=0.15)
    assert (
        check_noise(found, srn_settings(theta="camera"), stores[0])["noise_ratio"]
        == (metrics["noise_ratio_camera"])
    )
