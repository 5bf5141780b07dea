"""Noise levels of real LR images and of samples, and whether samples miss the real one.

A noise level is the standard deviation of the noise in gray levels.  The stage ``calibrate``
measures those of every kind of sample; what trains on samples compares them, without a measurement.
"""

from pydantic import Field

from pipeline.base.settings import Settings

MISSED = 1 / 3
"""Samples miss the real noise level if theirs differs from it by more than this share of it."""
LEAST_MISS = 0.5
"""Gray levels: a smaller difference of noise levels is none that anybody sees."""
NO_NOISE = 0.4
"""Gray levels: images up to this level have little noise but that of rounding to 8 bit, 0.29."""


class NoiseLevels(Settings):
    """Noise levels in gray levels, over the intensities of the means; None: not measured."""

    real: float = Field(ge=0)
    """Of the real LR images."""
    mean: float | None = None
    """Of the means: what theta: none has."""
    raw: float | None = None
    """Of samples with the theta of the maps, for theta: raw."""
    camera: float | None = None
    """The same with the correlation, tails and JPEG of the passport that the maps carry."""
    calibrated: float | None = None
    """Of samples with the noise of the calibration."""


def noise_ratio(real: float | None, samples: float | None) -> float | None:
    """The noise level of samples over that of the real LR images; None if one is not known."""
    if real is None or samples is None or real <= 0:
        return None
    return samples / real


def miss(real: float | None, samples: float | None, own: float | None = None) -> str | None:
    """What a user is told of samples that miss the real noise level by more than a third.

    Args:
        real: Noise level of the real LR images, in gray levels.
        samples: That of the samples.
        own: That of their means, if it is known: of the HR images, and of fine texture that passes
            for noise.

    Returns:
        A clause with both figures and their ratio; None if the samples have the level, or one of
        the two is not known, or neither the real LR images nor the sampler have a noise.

    """
    ratio = noise_ratio(real, samples)
    if ratio is None or real is None or samples is None:
        return None
    difference = abs(samples - real)
    if difference <= MISSED * real or difference <= LEAST_MISS:
        return None
    if real <= NO_NOISE and own is not None and samples - own <= LEAST_MISS:
        return None
    return (
        f"the samples carry {ratio:.2f} times the noise of the real LR images "
        f"({samples:.1f} against {real:.1f} gray levels)"
    )


def too_noisy_means(own: float | None, real: float) -> str | None:
    """What helps where the means alone have more than the real noise; None if they have not."""
    if own is None or own <= real:
        return None
    return (
        f"the means alone have {own:.1f}, from noise or fine texture of the HR images: take HR "
        "images that are less noisy, and have flat areas"
    )
