"""Calibration: the noise that samples need to match that of the real LR images."""

import logging

import numpy as np
import torch
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
    Blocks,
    Noise,
    cut_blocks,
    estimate_noise,
    join,
    read_blocks,
)
from pipeline.sampling.calibration import CALIBRATION_FORMAT, Calibration
from pipeline.sampling.sampler import Draw, make_sampler
from pipeline.stores.reader import Store, require_same_scale

log = logging.getLogger(__name__)


def calibrate(
    maps: Store, lr: Store, settings: CalibrateSettings
) -> tuple[Calibration, dict[str, object]]:
    """Measure the noise of the real LR images, and find the noise to add to the means.

    The first guess is the variance the real images have more than the means.  Then samples are
    drawn, measured in the same way, and what is missing is added: so that what a JPEG takes away,
    or the ends of the 8 bits, was there before.

    Args:
        maps: Store of kind maps; only its means are read.
        lr: Store of kind lr; its held-out part is not read.
        settings: The section ``calibrate``.

    Returns:
        The calibration, and metrics: noise levels (standard deviations in gray levels, over the
        intensities of the means) of the real LR images, the means and the samples, the strongest
        correlations of the real noise between neighbours and between channels, and the fault.

    Raises:
        UserError: The scales differ, a chunk is damaged, or the real LR images do not say well how
            they are compressed.

    """
    require_same_scale(maps, lr)
    tables = stored_tables(lr)
    try:
        real = estimate_noise(read_blocks(lr, settings.blocks))
        means = read_blocks(maps, settings.blocks)
        own = estimate_noise(means)
        bar = tqdm(range(settings.rounds + 1), "calibrate", unit="round")

        def draw(added: AddedNoise, number: int) -> Blocks:
            candidate = _calibration(maps, lr, added, settings, means)
            return _sample_blocks(maps, candidate, settings, number)

        found = search(real, own, tables, bar, draw)
        calibration = _calibration(maps, lr, found.added, settings, means)
    except ValueError as error:
        log.warning("no calibration: %s", error)
        return _faulty(maps, lr, str(error)), {"fault": str(error)}
    neighbours, channels = strongest_correlations(real)
    return calibration, {
        "noise_level_real": real.deviation(means),
        "noise_level_mean": own.deviation(means),
        "noise_level_samples": found.drawn.deviation(means),
        "constant_theta_gray": calibration.constant_theta_gray,
        "neighbour_correlation": neighbours,
        "channel_correlation": channels,
        "excess_kurtosis": real.excess_kurtosis,
        "laplace_share": calibration.laplace_share,
        "flat_areas": real.flat,
        "jpeg": calibration.jpeg is not None,
        "fault": None,
    }


def _calibration(
    maps: Store, lr: Store, sampling: AddedNoise, settings: CalibrateSettings, means: Blocks
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
        }
    )


def _faulty(maps: Store, lr: Store, fault: str) -> Calibration:
    return Calibration(
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


def _sample_blocks(
    maps: Store, calibration: Calibration, settings: CalibrateSettings, step: int
) -> Blocks:
    """Blocks of one sample of every mean."""
    sampler = make_sampler(Draw("calibrated"), calibration)
    limit = max(settings.blocks // len(maps.ids), 1)
    parts = []
    for number, image_id in enumerate(maps.ids):
        mean = torch.from_numpy(maps.read(image_id, "mean")).float()[None]
        source = generator(step, "calibrate/sample", number)
        drawn = sampler.sample({"mean": mean}, source)[0].mul(255).round()
        parts.append(cut_blocks(drawn.numpy(), limit))
    return join(parts)
