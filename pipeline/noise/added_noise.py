"""The noise to add to means so that samples are as noisy as the real LR images: a search."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from pipeline.base.errors import UserError
from pipeline.noise.estimate import LAGS, Blocks, Noise, estimate_noise, white_correlation
from pipeline.sampling.calibrated import noise_filter
from pipeline.sampling.compression import Compression
from pipeline.sampling.noise_law import NoiseLaw
from pipeline.stores.reader import Store

LARGEST_STEP = 2.0
"""Largest factor by which the variance changes from one round to the next."""
FEEDBACK = 0.7
"""Share of the missing correlation that is added in a round."""


@dataclass(frozen=True, eq=False)
class AddedNoise:
    """The noise that samples are drawn with in one round of the search."""

    variance: NDArray[np.float64]
    """(3, 9), in gray levels squared, at ``noise.estimate.KNOTS``."""
    correlation: NDArray[np.float64]
    """(3, 3, 7, 7), as in ``noise.estimate.Noise``."""
    excess_kurtosis: float
    jpeg: Compression | None


@dataclass(frozen=True, eq=False)
class Found:
    """The end of a search."""

    added: AddedNoise
    """The noise to add."""
    drawn: Noise
    """The noise of samples with it, measured like that of the real LR images."""


def search(
    real: Noise,
    own: Noise,
    jpeg: Compression | None,
    rounds: Iterable[int],
    draw: Callable[[AddedNoise, int], Blocks],
) -> Found:
    """Search for the noise to add.

    The first guess is the variance the real images have more than the means.  Then samples are
    drawn, measured in the same way, and what is missing is added: so that what a JPEG takes away,
    or the ends of the 8 bits, was there before.

    Args:
        real: Noise of the real LR images.
        own: Noise of the means.
        jpeg: Compression of the real LR images.
        rounds: Numbers of the rounds, from 0; the noise is corrected between two of them.
        draw: Blocks of samples with an added noise, in a round.

    Raises:
        ValueError: The noise of the samples cannot be measured.

    """
    added = AddedNoise(
        np.maximum(real.variance - own.variance, 0),
        white_correlation() if jpeg else real.correlation,
        real.excess_kurtosis,
        jpeg,
    )
    drawn = own
    for number in rounds:
        if number > 0:
            added = corrected(added, real, drawn)
        drawn = estimate_noise(draw(added, number))
    return Found(added, drawn)


def law(added: AddedNoise, least_correlation: float) -> NoiseLaw:
    """The law of an added noise; correlations that are all weaker than the least count as none."""
    correlated = max(strongest_correlations(added)) >= least_correlation
    kernels = noise_filter(added.correlation) if correlated else None
    return NoiseLaw(
        variance_gray=added.variance.tolist(),
        noise_filter=None if kernels is None else kernels.tolist(),
        laplace_share=laplace_share(added.excess_kurtosis, kernels),
    )


def corrected(sampling: AddedNoise, real: Noise, drawn: Noise) -> AddedNoise:
    """The noise of the next round: variance times its error, correlation plus its error."""
    factor = np.clip(real.variance / drawn.variance, 1 / LARGEST_STEP, LARGEST_STEP)
    correlation = sampling.correlation + FEEDBACK * (real.correlation - drawn.correlation)
    return replace(sampling, variance=sampling.variance * factor, correlation=correlation)


def strongest_correlations(noise: Noise | AddedNoise) -> tuple[float, float]:
    """The strongest correlation between neighbours of a channel, and between channels."""
    own = np.abs(noise.correlation[range(3), range(3)])[:, LAGS - 1 : LAGS + 2, LAGS - 1 : LAGS + 2]
    own[:, 1, 1] = 0
    across = np.abs(noise.correlation[:, :, LAGS, LAGS])
    across[range(3), range(3)] = 0
    return float(own.max()), float(across.max())


def laplace_share(excess_kurtosis: float, kernels: NDArray[np.float64] | None) -> float:
    """The share of eps that follows a Laplace law; 3 times its fourth power is the excess kurtosis.

    A filter makes independent noise more Gaussian.  If the squares of its weights sum to one, it
    multiplies the excess kurtosis by the sum of their fourth powers.
    """
    left = 1.0 if kernels is None else float((kernels**4).sum(axis=(1, 2, 3)).mean())
    return float(np.clip(excess_kurtosis / left / 3, 0, 1) ** 0.25)


def stored_tables(lr: Store) -> Compression | None:
    """The JPEG tables of the real LR images, if they have any.

    Raises:
        UserError: The attribute that holds them is damaged.

    """
    tables = lr.attributes.get("jpeg")
    try:
        return TypeAdapter[Compression | None](Compression | None).validate_python(tables)
    except ValidationError as error:
        raise UserError(f"{lr.path}: its attribute 'jpeg' is damaged; prepare it again") from error
