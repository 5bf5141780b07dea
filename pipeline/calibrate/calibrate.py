"""Calibration: the noise that samples need to match that of the real LR images."""

import logging

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pipeline.base.seeding import generator
from pipeline.calibrate.settings import CalibrateSettings
from pipeline.noise.added_noise import (
    AddedNoise,
    law,
    search,
    stored_tables,
    strongest_correlations,
)
from pipeline.noise.estimate import (
    BLOCKS,
    Blocks,
    Noise,
    cut_blocks,
    estimate_noise,
    join,
)
from pipeline.noise.measured import GO_ON, measure
from pipeline.sampling.calibration import CALIBRATION_FORMAT, Calibration
from pipeline.sampling.noise_level import NoiseLevels, miss, noise_ratio, too_noisy_means
from pipeline.sampling.sampler import Draw, Sampler, make_sampler
from pipeline.sampling.stored_camera import stored_camera
from pipeline.stores.reader import Store, require_same_scale

log = logging.getLogger(__name__)

KEPT = 2**28
"""Bytes of maps that stay in memory from one round to the next; the others are read again."""


class _Maps:
    """The maps of all images, which every round needs."""

    def __init__(self, store: Store) -> None:
        self.store, self.ids = store, store.ids
        self._kept: dict[tuple[str, str], Tensor] = {}
        self._room = KEPT

    def read(self, image_id: str, name: str) -> Tensor:
        """An array (1, 3, H, W) in float16."""
        key = image_id, name
        if key in self._kept:
            return self._kept[key]
        found = torch.from_numpy(self.store.read(image_id, name))[None]
        if found.nbytes <= self._room:
            self._room -= found.nbytes
            self._kept[key] = found
        return found


def calibrate(
    maps: Store, lr: Store, settings: CalibrateSettings
) -> tuple[Calibration, dict[str, object]]:
    """Measure the noise of the real LR images, and find the noise to add to the means.

    The first guess is the variance the real images have more than the means.  Then samples are
    drawn, measured in the same way, and what is missing is added: so that what a JPEG takes away,
    or the ends of the 8 bits, was there before.

    Args:
        maps: Store of kind maps.
        lr: Store of kind lr; its held-out part is not read.
        settings: The section ``calibrate``.

    Returns:
        The calibration, and metrics: noise levels (standard deviations in gray levels, over the
        intensities of the means) of the real LR images, the means and the samples, the strongest
        correlations of the real noise between neighbours and between channels, the ratio of the
        level of samples to the real one (those with the theta of the maps too), and the fault.

    Raises:
        UserError: The scales differ, a chunk is damaged, or the real LR images do not say well how
            they are compressed.

    """
    require_same_scale(maps, lr)
    tables = stored_tables(lr)
    measured = measure(lr, max(settings.blocks, BLOCKS))  # as the monitor and the camera stage do
    of_means = measure(maps, settings.blocks)
    real, own, means = measured.noise, of_means.noise, of_means.blocks
    if real is None:
        return _faulty(maps, lr, str(measured.fault))
    if own is None:
        return _faulty(maps, lr, str(of_means.fault))
    if measured.remark is not None:
        log.warning("%s", measured.remark)
    bar = tqdm(range(settings.rounds + 1), "calibrate", unit="round")
    kept = _Maps(maps)

    def draw(added: AddedNoise, number: int) -> Blocks:
        candidate = _calibration(maps, lr, added, settings, means)
        sampler = make_sampler(Draw("calibrated"), candidate)
        return _sample_blocks(kept, sampler, settings, number)

    try:
        found = search(real, own, tables, bar, draw)
    except ValueError as error:
        return _faulty(maps, lr, f"samples of the maps cannot be measured: {error}; {GO_ON}")
    levels = NoiseLevels(
        real=real.deviation(means),
        mean=own.deviation(means),
        calibrated=found.drawn.deviation(means),
        **_stored_levels(kept, settings, means),
    )
    _warn(levels)
    calibration = _calibration(maps, lr, found.added, settings, means, levels)
    neighbours, channels = strongest_correlations(real)
    return calibration, {
        "noise_level_real": levels.real,
        "noise_level_mean": levels.mean,
        "noise_level_samples": levels.calibrated,
        "noise_ratio": noise_ratio(levels.real, levels.calibrated),
        "noise_ratio_raw": noise_ratio(levels.real, levels.raw),
        "noise_ratio_camera": noise_ratio(levels.real, levels.camera),
        "constant_theta_gray": calibration.constant_theta_gray,
        "neighbour_correlation": neighbours,
        "channel_correlation": channels,
        "excess_kurtosis": real.excess_kurtosis,
        "laplace_share": calibration.laplace_share,
        "flat_areas": real.flat,
        "jpeg": calibration.jpeg is not None,
        "fault": None,
    }


def _stored_levels(
    maps: _Maps, settings: CalibrateSettings, means: Blocks
) -> dict[str, float | None]:
    """Noise levels of samples with the theta of the maps, for ``NoiseLevels``."""
    camera = stored_camera(maps.store)
    samplers = {"raw": make_sampler(Draw("raw"))}
    if camera is not None:
        samplers["camera"] = make_sampler(Draw("camera"), camera=camera)
    levels: dict[str, float | None] = {}
    for name, sampler in samplers.items():
        try:
            noise = estimate_noise(_sample_blocks(maps, sampler, settings, 0))
            levels[name] = noise.deviation(means)
        except ValueError:
            levels[name] = None
    return levels


def _warn(levels: NoiseLevels) -> None:
    """Say that calibrated samples miss the real noise level, if they do."""
    missed = miss(levels.real, levels.calibrated, levels.mean)
    if missed is not None:
        more = too_noisy_means(levels.mean, levels.real)
        way_out = more or "raise calibrate.rounds or calibrate.blocks"
        log.warning("with theta: calibrated %s; %s", missed, way_out)


def _calibration(
    maps: Store,
    lr: Store,
    sampling: AddedNoise,
    settings: CalibrateSettings,
    means: Blocks,
    levels: NoiseLevels | None = None,
) -> Calibration:
    added = Noise(sampling.variance, sampling.correlation, 0.0, True).deviation(means)
    return Calibration.model_validate(
        {
            "format": CALIBRATION_FORMAT,
            "scale": maps.scale,
            "maps_digest": maps.digest,
            "lr_digest": lr.digest,
            "fault": None,
            **law(sampling, settings.least_correlation).model_dump(),
            "jpeg": sampling.jpeg,
            "constant_theta_gray": float(added / np.sqrt(2)),
            "levels_gray": levels,
        }
    )


def _faulty(maps: Store, lr: Store, fault: str) -> tuple[Calibration, dict[str, object]]:
    """A calibration that says why there is none, and its metrics."""
    log.warning("no calibration: %s", fault)
    calibration = Calibration(
        format=CALIBRATION_FORMAT,
        scale=maps.scale,
        maps_digest=maps.digest,
        lr_digest=lr.digest,
        fault=fault,
        variance_gray=[],
        noise_filter=None,
        laplace_share=1.0,
        jpeg=None,
        constant_theta_gray=0.0,
    )
    return calibration, {"fault": fault}


def _sample_blocks(maps: _Maps, sampler: Sampler, settings: CalibrateSettings, step: int) -> Blocks:
    """Blocks of one sample of every image of the maps."""
    limit = max(settings.blocks // len(maps.ids), 1)
    parts = []
    for number, image_id in enumerate(maps.ids):
        stored = {name: maps.read(image_id, name).float() for name in sampler.reads}
        source = generator(step, "calibrate/sample", number)
        drawn = sampler.sample(stored, source)[0].mul(255).round()
        parts.append(cut_blocks(drawn.numpy(), limit))
    return join(parts)
