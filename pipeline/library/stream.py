"""Streams of samples, opened by the paths of their stores."""

from pathlib import Path

from pipeline.base.errors import UserError
from pipeline.crops.batches import Demand
from pipeline.crops.places import require_crop
from pipeline.library.store import open_store
from pipeline.passport.passport import passport_of
from pipeline.sampling.calibration import load_calibration
from pipeline.sampling.sampler import Draw, make_sampler
from pipeline.train_srn.streams import SampleStream

RAW = Draw("raw")
"""The theta of the maps, as the paper draws (Eq. 8)."""
PLAIN = Demand()
"""Sixteen crops at a time on the CPU, one of every image in an epoch."""


def sample_stream(
    hr: Path | str,
    maps: Path | str,
    patch: int,
    draw: Draw = RAW,
    calibration: Path | str | None = None,
    demand: Demand = PLAIN,
) -> SampleStream:
    """Open a stream of HR crops and fresh samples of the degradation at the same places.

    Args:
        hr: Store of kind hr.
        maps: Store of kind maps, exported from that HR store.
        patch: S, side of an LR crop in pixels.
        draw: Source of the noise; ``Draw("calibrated")`` needs a calibration, ``Draw("camera")``
            maps of a DSN that carries the camera's passport.
        calibration: File of the calibrate stage.
        demand: How many crops, and where they go.

    Returns:
        The stream, a context manager.  ``stream.batch(step)`` gives ``lr`` (N, 3, S, S) and ``hr``
        (N, 3, scale S, scale S), float32 in [0, 1] (LR samples reach beyond unless calibrated), on
        the device of the demand; it depends on the seed and the step alone.

    Raises:
        UserError: A file is missing or damaged, they do not belong together, or an image is smaller
            than a crop.
        ValueError: The patch is not positive.

    """
    if patch < 1:
        raise ValueError(f"patch must be at least 1 LR pixel, got {patch}")
    images, degradation = open_store(hr, "hr"), open_store(maps, "maps")
    if not degradation.ids:
        raise UserError(f"{maps}: holds no images")
    require_crop(degradation, patch, "patch")
    measured = load_calibration(calibration) if calibration and draw.calibrated else None
    camera = passport_of(degradation) if draw.theta == "camera" else None
    sampler = make_sampler(draw, measured, degradation, demand.device, camera)
    return SampleStream(images, degradation, patch, sampler, demand)
