"""Differences of two sets of LR images, one figure for each question that the audit answers.

They are read off statistics that are measured anyway, in less than a second.  Intensities are in
gray levels.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.noise.estimate import LAGS, Blocks, Noise
from pipeline.noise.signature import FREQUENCIES, WINDOW, spectrum
from pipeline.noise.statistics import (
    LrStatistics,
    channel_correlation,
    neighbour_correlation,
)
from pipeline.sampling.jpeg import BLOCK, TO_YCBCR, cosines
from pipeline.sampling.noise_level import NO_NOISE

Array = NDArray[np.float64]

LEAST_SIGNAL = 0.25
"""A frequency tells of the blur if its power less that of the noise is this multiple of the
latter's."""
FEWEST_FREQUENCIES = 3
"""Frequencies, from the lowest on, that a blur is fitted to at least."""
LEAST_ERROR = 0.05
"""Relative error of the power at a frequency, at least."""
KNOWN_NOISE, UNKNOWN_NOISE = 0.1, 1.0
"""Relative error of the power of the noise: in sets with flat areas, and in others, whose noise
counts as white whatever it is."""
LARGEST_ERROR = 0.35
"""LR pixels: a blur whose variance has an error of more than its square cannot be told."""
STEPS = np.arange(2, 65)
"""Quantisation steps that are looked for, in gray levels; a step of 1 leaves no trace."""
COMB_BIN, COMB_HALF = 0.25, 1024
"""Width of the bins of a histogram of DCT coefficients, and bins on either side of zero."""
FEWEST_COEFFICIENTS = 150
"""Coefficients beyond half a step that tell of the step at least."""
COMB = 0.4
"""Mean of cos(2 pi c / step) over the coefficients c of a frequency, from which on they are
multiples of the step; without steps it is not above 0, with a deviation of at most 0.06."""
OTHER_STEP = 1.2
"""Steps whose ratio is beyond this are different ones."""
FEWEST_IMAGES = 20
"""Outliers are told from the others if there are this many images at least."""


class Figure(NamedTuple):
    """A measured difference; or why there is none."""

    value: float | None
    """Its size, with a sign where more and less differ; see the functions."""
    words: str
    """What was found, as a clause; the reason where there is no value."""


def noise_level(real: LrStatistics, other: LrStatistics) -> Figure:
    """Noise level over that of the real images, less one."""
    noises = _noises(real, other)
    if isinstance(noises, str):
        return Figure(None, noises)
    levels = [each.deviation(real.blocks) for each in noises]
    words = f"{levels[1]:.2f} gray levels, the real images have {levels[0]:.2f}"
    return Figure(levels[1] / levels[0] - 1, words)


def noise_by_intensity(real: LrStatistics, other: LrStatistics) -> Figure:
    """Difference of the noise curves at one level, over that level.

    Root mean square, over the intensities of the real images, of the difference of the standard
    deviations, after those of the other set were multiplied to have the real level.
    """
    noises = _noises(real, other, needs_noise=True)
    if isinstance(noises, str):
        return Figure(None, noises)
    own, found = (
        np.sqrt(each.variance_at(real.blocks.level)) / each.deviation(real.blocks)
        for each in noises
    )
    off = float(np.sqrt(((own - found) ** 2).mean()))
    return Figure(off, f"off by {_percent(off)} of the level, after both were given one level")


def correlation(real: LrStatistics, other: LrStatistics) -> Figure:
    """Largest difference of the noise's correlation, of neighbours or of channels.

    Its sign is that of the difference: below zero the set has less than the real images.
    """
    noises = _noises(real, other, needs_noise=True)
    if isinstance(noises, str):
        return Figure(None, noises)
    if not all(each.flat for each in noises):
        return Figure(None, "correlation cannot be estimated without flat areas")
    of = {"neighbouring pixels": neighbour_correlation, "channels": channel_correlation}
    found = []
    for where, measured in of.items():
        own, sampled = (np.asarray(measured(each)).ravel() for each in noises)
        place = int(np.abs(sampled - own).argmax())
        found.append((float(own[place]), float(sampled[place]), where))
    own_value, value, where = max(found, key=lambda each: abs(each[1] - each[0]))
    words = f"{value:.2f} between {where}, {own_value:.2f} in the real images"
    less = value * own_value < 0 or abs(value) < abs(own_value)
    return Figure(abs(value - own_value) * (-1 if less else 1), words)


def tails(real: LrStatistics, other: LrStatistics) -> Figure:
    """Excess kurtosis of the noise less that of the real images."""
    noises = _noises(real, other, needs_noise=True)
    if isinstance(noises, str):
        return Figure(None, noises)
    own, found = (each.excess_kurtosis for each in noises)
    words = f"excess kurtosis {found:.2f}, the real images have {own:.2f} (Gaussian 0, Laplace 3)"
    return Figure(found - own, words)


def blur(real: LrStatistics, other: LrStatistics) -> Figure:
    """Standard deviation, in LR pixels, of the Gaussian that the set is blurred with; < 0: less.

    A Gaussian of deviation s multiplies the power at the frequency f by exp(-4 pi^2 s^2 f^2).  The
    power of the noise is subtracted from both spectra.  Then s^2 and the contrast are fitted to the
    logarithm of their ratio, by weighted least squares, at the lowest frequencies that are not
    noise.
    """
    signals, errors = [], []
    for lr_set in (real, other):
        if isinstance(lr_set.noise, str):
            return Figure(None, f"noise cannot be subtracted from the spectra: {lr_set.noise}")
        if not lr_set.signature.windows:
            return Figure(None, "every image is under 16 pixels")
        noise = _noise_spectrum(lr_set.noise, lr_set.blocks).sum(axis=0)
        signal = spectrum(lr_set.signature).sum(axis=0) - noise
        seen = (signal >= LEAST_SIGNAL * noise) & (FREQUENCIES <= 0.5)
        signals.append(np.where(seen, signal, 0.0))
        known = KNOWN_NOISE if lr_set.noise.flat else UNKNOWN_NOISE
        errors.append(np.hypot(LEAST_ERROR, known * noise / np.where(seen, signal, 1.0)))
    seen = np.cumprod((signals[0] > 0) & (signals[1] > 0)) > 0
    if seen.sum() < FEWEST_FREQUENCIES:
        return Figure(None, "the noise hides all but the lowest frequencies")
    weight = 1 / np.hypot(*errors)[seen]
    ratio = np.log(signals[1][seen] / signals[0][seen])
    laws = np.stack([np.ones(len(weight)), -4 * np.pi**2 * FREQUENCIES[seen] ** 2], axis=1)
    covariance = np.linalg.inv((laws * weight[:, None] ** 2).T @ laws)
    square = float((covariance @ (laws * weight[:, None] ** 2).T @ ratio)[1])
    if covariance[1, 1] > LARGEST_ERROR**4:
        return Figure(None, "the noise hides all but the lowest frequencies")
    width = float(np.sqrt(abs(square)))
    words = f"a Gaussian of {width:.2f} LR pixels {'more' if square > 0 else 'less'}"
    return Figure(float(np.copysign(width, square)), words)


def jpeg(real: LrStatistics, other: LrStatistics) -> Figure:
    """Share of the DCT frequencies of luma at which the quantisation steps differ.

    Below zero where the set has steps at fewer frequencies than the real images.
    """
    own, found = (_quantisation(each.blocks) for each in (real, other))
    told = ~np.isnan(own) & ~np.isnan(found)
    if not told.any():
        return Figure(None, "the images have too little detail to show quantisation")
    own, found = own[told], found[told]
    unlike = float(np.mean(np.abs(np.log(found / own)) > np.log(OTHER_STEP)))
    shares = [_percent(float(np.mean(each > 1))) for each in (found, own)]
    words = f"steps at {shares[0]} of the frequencies, {shares[1]} in the real images"
    if unlike and (own > 1).any() and (found > 1).any():
        words += f" (median {np.median(found[found > 1]):.0f}, real {np.median(own[own > 1]):.0f})"
    return Figure(unlike if np.mean(found > 1) >= np.mean(own > 1) else -unlike, words)


def collapse(bicubic: LrStatistics, mean: LrStatistics) -> Figure:
    """One less the correlation of the mean with bicubic, over blocks of 8x8 pixels.

    Both sets must hold blocks of the same places.
    """
    levels = [each.blocks.level.astype(np.float64).ravel() for each in (bicubic, mean)]
    if len(levels[0]) != len(levels[1]) or len(levels[0]) < 2 or not levels[0].std():
        return Figure(None, "the images are too small, or of one colour")
    spread = levels[1].std()
    found = float(np.corrcoef(levels[0], levels[1])[0, 1]) if spread else 0.0
    return Figure(1 - found, f"the mean correlates with bicubic by {found:.3f}")


def outliers(images: int, listed: int) -> Figure:
    """Share of the images that are listed as outliers."""
    if images < FEWEST_IMAGES:
        few = f"{images} image{'s' if images != 1 else ''}"
        return Figure(None, f"{few} cannot show which is unlike the others")
    return Figure(listed / images, f"{listed} of {images} images")


def _noises(
    real: LrStatistics, other: LrStatistics, needs_noise: bool = False
) -> tuple[Noise, Noise] | str:
    """The noise of both, or why it does not tell anything."""
    both = (("the real images", real), ("these images", other))
    found = []
    for name, lr_set in both:
        if isinstance(lr_set.noise, str):
            return f"noise of {name}: {lr_set.noise}"
        if not len(real.blocks):
            return "the real images are too small"
        if needs_noise and lr_set.noise.deviation(real.blocks) <= NO_NOISE:
            return f"{name} have no noise but that of rounding"
        found.append(lr_set.noise)
    return found[0], found[1]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _noise_spectrum(noise: Noise, blocks: Blocks) -> Array:
    """Power (3, RADII) of the noise at ``FREQUENCIES``, over the intensities of the blocks."""
    lags = np.arange(-LAGS, LAGS + 1)
    turns = 2 * np.pi * np.outer(np.fft.fftfreq(WINDOW), lags)
    waves = np.exp(1j * turns)
    own = noise.correlation[range(3), range(3)]
    power = np.einsum("cjk,uj,vk->cuv", own, waves, waves).real
    frequency = np.fft.fftfreq(WINDOW, 1 / WINDOW)
    radius = np.rint(np.hypot(frequency, frequency[:, None]))
    rings = [power[:, radius == r + 1].mean(axis=1) for r in range(len(FREQUENCIES))]
    variance = noise.variance_at(blocks.level).mean(axis=0)
    return np.asarray(np.maximum(np.stack(rings, axis=1), 0) * variance[:, None])


def _quantisation(blocks: Blocks) -> Array:
    """Quantisation step (49,) of luma at every DCT frequency; 1: none, NaN: not to be told.

    Only frequencies along both axes count: a block less its plane has these unchanged.
    """
    if not len(blocks):
        return np.full((BLOCK - 1) ** 2, np.nan)
    luma = np.einsum("c,nchw->nhw", np.array(TO_YCBCR[0]), blocks.residual, dtype=np.float64)
    basis = cosines()[1:].numpy()
    found = np.einsum("uh,nhw,vw->uvn", basis, luma, basis, optimize=True)
    bins = np.clip(np.rint(found / COMB_BIN), -COMB_HALF, COMB_HALF).astype(np.int64) + COMB_HALF
    counts = np.stack(
        [np.bincount(row, minlength=2 * COMB_HALF + 1) for row in bins.reshape(-1, len(blocks))]
    )
    wave, beyond = _combs()
    number = counts @ beyond.T
    enough = number >= FEWEST_COEFFICIENTS
    mean = np.where(enough, (counts @ wave.T) / np.maximum(number, 1), -1.0)
    best = mean.argmax(axis=1)
    seen = mean[np.arange(len(mean)), best] >= COMB
    return np.where(enough.any(axis=1), np.where(seen, STEPS[best], 1.0), np.nan)


@lru_cache(maxsize=1)
def _combs() -> tuple[Array, Array]:
    """Per step: cos(2 pi c / step) at the bins, zero up to half a step, and where it is not."""
    centres = np.arange(-COMB_HALF, COMB_HALF + 1) * COMB_BIN
    beyond = np.abs(centres) > STEPS[:, None] / 2
    return np.cos(2 * np.pi * centres / STEPS[:, None]) * beyond, beyond.astype(np.float64)
