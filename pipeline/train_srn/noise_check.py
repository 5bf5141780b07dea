"""Whether the samples of a training are as noisy as the real LR images, said before it starts."""

import logging
import math
from pathlib import Path

from pipeline.base.errors import UserError
from pipeline.sampling.calibration import Calibration, read_calibration
from pipeline.sampling.noise_level import NO_NOISE, NoiseLevels, miss, noise_ratio, too_noisy_means
from pipeline.stores.reader import Store
from pipeline.train_srn.settings import TrainSrnSettings

log = logging.getLogger(__name__)

OTHERS = ("camera", "calibrated", "raw")
"""Values of theta that may have the right level, the default first."""


def levels_of(path: Path | None) -> Calibration | None:
    """What the calibration stage measured; None if there is no file that says it.

    A training that draws without a calibration needs none, so a damaged file is no fault.
    """
    try:
        return None if path is None else read_calibration(path)
    except UserError:
        return None


def check_noise(
    measured: Calibration | None, settings: TrainSrnSettings, maps: Store
) -> dict[str, float | None]:
    """Warn if the samples of a training miss the real noise level by more than a third.

    Args:
        measured: A calibration; only what it says of these maps counts.
        settings: The section ``train_srn``.
        maps: The store that samples are drawn from.

    Returns:
        Metrics: the noise levels of the real LR images and of the samples, in gray levels, and
        their ratio; none where nobody measured.

    """
    if measured is None or measured.maps_digest != maps.digest:
        return {}
    if measured.fault is not None and settings.theta in ("raw", "camera"):
        log.warning(
            "whether the samples are as noisy as real LR images is not known: %s", measured.fault
        )
    levels = measured.levels_gray
    if levels is None:
        return {}
    samples = level_of(levels, settings, measured.constant_theta_gray)
    missed = miss(levels.real, samples, levels.mean)
    if missed is not None:
        log.warning("with theta: %s %s; %s", settings.theta, missed, _way_out(levels))
    return {
        "noise_level_real": levels.real,
        "noise_level_samples": samples,
        "noise_ratio": noise_ratio(levels.real, samples),
    }


def level_of(levels: NoiseLevels, settings: TrainSrnSettings, constant_gray: float) -> float | None:
    """The noise level of the samples that the settings ask for, in gray levels.

    Args:
        levels: What was measured.
        settings: The section ``train_srn``.
        constant_gray: The constant Laplace scale of the calibration.

    """
    if settings.theta == "none":
        return levels.mean
    if settings.theta == "constant":
        scale = settings.constant_theta_gray or constant_gray
        return None if levels.mean is None else math.sqrt(levels.mean**2 + 2 * scale**2)
    found: float | None = getattr(levels, settings.theta)
    return found


def _way_out(levels: NoiseLevels) -> str:
    """A theta whose samples have the right level, or what else helps."""
    for theta in OTHERS:
        level = getattr(levels, theta)
        if level is not None and miss(levels.real, level, levels.mean) is None:
            return f"those of theta: {theta} carry {level:.1f}"
    if levels.real <= NO_NOISE:
        return "real ones have no noise but rounding: take theta: none"
    more = too_noisy_means(levels.mean, levels.real)
    return more or "raise calibrate.rounds, and take theta: calibrated"
