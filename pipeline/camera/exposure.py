"""The noise and the compression of generated LR images, and the search for that noise."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pipeline.base.seeding import generator
from pipeline.base.units import GRAY_LEVEL
from pipeline.noise.added_noise import AddedNoise, law, search
from pipeline.noise.estimate import BLOCKS, FEWEST, Blocks, Noise, cut_blocks, estimate_noise, join
from pipeline.sampling.calibrated import CalibratedSampler
from pipeline.sampling.compression import Compression
from pipeline.sampling.noise_law import NoiseLaw

NOISE_ROUNDS = 4
"""Rounds in which samples are measured like the real LR images, and corrected."""
LEAST_CORRELATION = 0.1
"""Noise whose correlations are all weaker is drawn independently."""
NO_NOISE = NoiseLaw(variance_gray=[[0.0, 0.0]] * 3, noise_filter=None, laplace_share=1.0)


@dataclass(frozen=True)
class Exposure:
    """Noise and JPEG of LR images; see ``sampling.noise_law.NoiseSource``."""

    scale: int
    noise: NoiseLaw
    jpeg: Compression | None

    def __call__(self, clean: Tensor) -> Tensor:
        """One photograph of every LR image, the same at every call.

        Args:
            clean: (N, 3, H, W) without noise, in the unit of the image.

        Returns:
            The same shape in [0, 1], of 8 bit.

        """
        drawn = CalibratedSampler(self).sample({"mean": clean}, generator(0, "camera/noise"))
        return drawn.div(GRAY_LEVEL).round() * GRAY_LEVEL


@dataclass(frozen=True)
class FoundNoise:
    """The noise of the camera."""

    exposure: Exposure
    """It makes generated LR images as noisy as the real ones."""
    level_real: float | None
    """Standard deviation of the noise of the real LR images, in gray levels; None: unknown."""
    level_samples: float | None
    """The same of samples."""
    level_clean: float | None
    """The same of LR images to which no noise was added: that of the HR images, and of texture."""
    fault: str | None
    """Why it is not known well, a sentence."""


def as_measured(noise: Noise | None, scale: int) -> Exposure:
    """The noise of the real LR images as it is after their compression; no JPEG."""
    if noise is None:
        return Exposure(scale, NO_NOISE, None)
    found = AddedNoise(noise.variance, noise.correlation, noise.excess_kurtosis, None)
    return Exposure(scale, law(found, LEAST_CORRELATION), None)


def find_noise(real: Noise, clean: Tensor, scale: int, jpeg: Compression | None) -> FoundNoise:
    """The noise to add before the compression, so that samples are as noisy as real LR images.

    Args:
        real: The noise of the real LR images.
        clean: LR images without noise (N, 3, H, W) in [0, 1].
        scale: HR pixels per LR pixel.
        jpeg: Compression of the real LR images.

    Returns:
        The noise.  Where samples cannot be measured, there is a fault, and the noise is that of the
        real LR images if there are too few blocks, and none if the scenes are all texture.

    """
    means = _blocks(clean)

    def exposed(added: AddedNoise) -> Exposure:
        return Exposure(scale, law(added, LEAST_CORRELATION), jpeg)

    try:
        own = estimate_noise(means)
        found = search(
            real,
            own,
            jpeg,
            range(NOISE_ROUNDS + 1),
            lambda added, _: _blocks(exposed(added)(clean)),
        )
    except ValueError as error:
        if len(means) >= FEWEST:  # textured scenes; of the real LR images it may be texture, too
            return no_noise(scale, jpeg, str(error))
        fault = f"the noise before compression and cutting could not be searched for: {error}"
        measured = as_measured(real, scale)
        return FoundNoise(measured, _level(real), None, None, fault)
    return FoundNoise(
        exposed(found.added),
        level_real=real.deviation(means),
        level_samples=found.drawn.deviation(means),
        level_clean=own.deviation(means),
        fault=None,
    )


def no_noise(scale: int, jpeg: Compression | None, reason: str) -> FoundNoise:
    """Noise that could not be measured counts as none."""
    fault = f"the noise could not be measured, so that it may pass for sharpness: {reason}"
    return FoundNoise(Exposure(scale, NO_NOISE, jpeg), None, None, None, fault)


def _level(noise: Noise) -> float:
    """Root of the mean variance over all intensities, in gray levels."""
    return float(np.sqrt(noise.variance.mean()))


def _blocks(images: Tensor) -> Blocks:
    """Blocks of LR images (N, 3, H, W) in [0, 1]."""
    most = max(BLOCKS // len(images), 1)
    return join([cut_blocks(one.mul(255).numpy(), most) for one in images])
