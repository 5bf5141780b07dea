"""Differences of two sets of LR images, one figure for each question that the audit answers.

Both sets are weighted until they show the same content (``matching``), so that the figures are of
the cameras and not of the scenes.  Each has the 95 % interval of the bootstrap over images, widened
by what scenes and compression are known to add.  Intensities are in gray levels.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.compression import (
    UNCOMPRESSED,
    at_like_compression,
    qualities,
    quantisation_power,
)
from pipeline.comparison.flat_areas import FlatAreas, flat_areas
from pipeline.comparison.sharpness import blur_variance
from pipeline.noise.estimate import Noise
from pipeline.noise.matching import FEWEST_IMAGES as FEWEST_IN_HALF
from pipeline.noise.matching import REACH, draws, standard_error
from pipeline.noise.statistics import LrStatistics
from pipeline.sampling.noise_level import NO_NOISE

Array = NDArray[np.float64]


class SceneErrors(NamedTuple):
    """Standard errors that scenes add beyond those of the images drawn; measured."""

    level: float
    """Of the ratio of noise levels."""
    correlation: float
    tails: float
    """Of the excess kurtosis."""


ALIKE = SceneErrors(0.01, 0.02, 0.1)
"""Of sets that were compressed alike: what a scene has of noise and texture of its own."""
COMPRESSED = SceneErrors(0.06, 0.05, 0.4)
"""Of sets that were brought to one compression."""
FEWEST_IMAGES = 20
"""Outliers are told from the others if there are this many images at least."""


class Figure(NamedTuple):
    """A measured difference; or why there is none."""

    value: float | None
    """Its size, with a sign where more and less differ; see the functions."""
    words: str
    """What was found, as a clause; the reason where there is no value."""
    low: float | None = None
    """Lower end of the 95 % interval; None if there are too few images for one."""
    high: float | None = None
    """Upper end."""


@dataclass(frozen=True, eq=False)
class Pair:
    """The real images and another set, with what several questions need."""

    real: LrStatistics
    other: LrStatistics

    @cached_property
    def qualities(self) -> tuple[Array, Array]:
        """JPEG quality of the images of both sets."""
        return qualities(self.real), qualities(self.other)

    @cached_property
    def compared(self) -> tuple[LrStatistics, LrStatistics]:
        """Both sets at one compression."""
        return at_like_compression(self.real, self.other, self.qualities)

    @property
    def compressed(self) -> bool:
        """Whether a set had to be compressed for that."""
        return self.compared[0] is not self.real

    @cached_property
    def areas(self) -> FlatAreas | None:
        """The flat areas of like content."""
        return flat_areas(*self.compared)

    @property
    def errors(self) -> SceneErrors:
        """What scenes add to the standard errors."""
        return COMPRESSED if self.compressed else ALIKE

    @property
    def remark(self) -> str:
        """A clause on the compression, if it was changed."""
        return ", after both were compressed alike" if self.compressed else ""


def halves(lr_set: LrStatistics) -> Pair | None:
    """Every second image of a set against the others, which show other scenes; None if too few."""
    if len(lr_set.content.blocks) < 2 * FEWEST_IN_HALF:
        return None
    parts = []
    for first in (0, 1):
        kept = np.arange(len(lr_set.content.blocks)) % 2 == first
        inside = kept[lr_set.content.images_of_blocks()]
        parts.append(
            replace(
                lr_set,
                blocks=lr_set.blocks.of(inside),
                content=lr_set.content.of(kept),
                measured=lr_set.noise if isinstance(lr_set.noise, str) else None,
            )
        )
    return Pair(*parts)


def noise_level(pair: Pair) -> Figure:
    """Noise level over that of the real images, less one."""
    noises = _noises(pair)
    if isinstance(noises, str):
        return Figure(None, noises)
    level, other = (each.deviation(pair.real.blocks) for each in noises)
    if pair.areas is None:
        return Figure(other / level - 1, _levels(other, level))
    ratio = pair.areas.level_ratio
    words = _levels(level * float(ratio[0]), level) + pair.remark
    return _figure(ratio - 1, words, pair.areas.images, pair.errors.level)


def noise_by_intensity(pair: Pair) -> Figure:
    """Difference of the noise curves at one level, over that level.

    Root mean square, over parts of the intensities, of the ratio of the standard deviations less
    one, after those of the other set were multiplied to have the real level.  What the standard
    errors of the ratios add to the mean square is subtracted.
    """
    noises = _noises(pair, needs_noise=True)
    if isinstance(noises, str):
        return Figure(None, noises)
    if pair.areas is None:
        blocks = pair.real.blocks
        own, found = (np.sqrt(n.variance_at(blocks.level)) / n.deviation(blocks) for n in noises)
        off = float(np.sqrt(((own - found) ** 2).mean()))
        return Figure(off, _off(off))
    share = pair.areas.share
    weight = share[share > 0] / share.sum()
    real, sampled = (np.sqrt(each[:, share > 0]) for each in pair.areas.variances)
    parts = sampled / real
    unlike = parts / (parts @ weight)[:, None] - 1
    chance = unlike[1:].var(axis=0) @ weight + pair.errors.level**2
    off = np.sqrt(np.maximum(unlike**2 @ weight - chance * (1 + (np.arange(len(unlike)) > 0)), 0))
    found_figure = _figure(off, _off(float(off[0])) + pair.remark, pair.areas.images, 0.0)
    return found_figure._replace(low=max(found_figure.low or 0.0, 0.0))


def correlation(pair: Pair) -> Figure:
    """Largest difference of the noise's correlation, of neighbours or of channels.

    Its sign is that of the difference: below zero the set has less than the real images.  Of sets
    that are compressed differently, neighbours alone are compared.
    """
    noises = _noises(pair, needs_noise=True)
    if isinstance(noises, str):
        return Figure(None, noises)
    areas = pair.areas
    if areas is None:
        return Figure(None, "correlation cannot be estimated without flat areas")
    found = []
    names = ("neighbouring pixels", "channels")
    both = zip(names, areas.real.correlation, areas.other.correlation, strict=True)
    for where, own, sampled in list(both)[: 1 if pair.compressed else 2]:
        place = int(np.abs(sampled[0] - own[0]).argmax())
        found.append((own[:, place], sampled[:, place], where))
    own, sampled, where = max(found, key=lambda each: abs(each[1][0] - each[0][0]))
    words = f"{sampled[0]:.2f} between {where}, {own[0]:.2f} in the real images{pair.remark}"
    less = sampled[0] * own[0] < 0 or abs(sampled[0]) < abs(own[0])
    sign = (-1 if less else 1) * (1 if sampled[0] >= own[0] else -1)
    return _figure(sign * (sampled - own), words, areas.images, pair.errors.correlation)


def tails(pair: Pair) -> Figure:
    """Excess kurtosis of the noise less that of the real images."""
    noises = _noises(pair, needs_noise=True)
    if isinstance(noises, str):
        return Figure(None, noises)
    own, found = (np.array([each.excess_kurtosis]) for each in noises)
    if pair.areas is not None:
        own, found = pair.areas.real.excess_kurtosis, pair.areas.other.excess_kurtosis
    words = (
        f"excess kurtosis {found[0]:.2f}, the real images have {own[0]:.2f} "
        f"(Gaussian 0, Laplace 3){pair.remark}"
    )
    if pair.areas is None:
        return Figure(float(found[0] - own[0]), words)
    return _figure(found - own, words, pair.areas.images, pair.errors.tails)


def blur(pair: Pair) -> Figure:
    """Standard deviation, in LR pixels, of the Gaussian that the set is blurred with; < 0: less."""
    lost = np.maximum(*(quantisation_power(each) for each in pair.qualities))
    found = blur_variance(pair.real, pair.other, lost)
    if isinstance(found, str):
        return Figure(None, found)
    width = _signed_root(found.variance)
    words = f"a Gaussian of {abs(width):.2f} LR pixels {'more' if width > 0 else 'less'}"
    if found.error is None:
        return Figure(width, words)
    ends = (found.variance + sign * REACH * found.error for sign in (-1, 1))
    return Figure(width, words, *(_signed_root(end) for end in ends))


def jpeg(pair: Pair) -> Figure:
    """JPEG quality of the set less that of the real images, in the mean of the images.

    The quality is that of libjpeg; images without compression count as 100.
    """
    own, found = pair.qualities
    if not (len(own) and len(found)):
        return Figure(None, "the images have too little detail to show quantisation")
    words = f"{_quality(found)}, the real images {_quality(own)}"
    means = [draws(len(each), seed) @ each / len(each) for seed, each in enumerate((own, found))]
    return _figure(means[1] - means[0], words, min(len(own), len(found)), 0.0)


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


def _noises(pair: Pair, needs_noise: bool = False) -> tuple[Noise, Noise] | str:
    """The noise of both, or why it does not tell anything."""
    both = (("the real images", pair.real), ("these images", pair.other))
    found = []
    for name, lr_set in both:
        if isinstance(lr_set.noise, str):
            return f"noise of {name}: {lr_set.noise}"
        if not len(pair.real.blocks):
            return "the real images are too small"
        if needs_noise and lr_set.noise.deviation(pair.real.blocks) <= NO_NOISE:
            return f"{name} have no noise but that of rounding"
        found.append(lr_set.noise)
    return found[0], found[1]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _levels(level: float, real: float) -> str:
    return f"{level:.2f} gray levels, the real images have {real:.2f}"


def _off(off: float) -> str:
    return f"off by {_percent(off)} of the level, after both were given one level"


def _quality(found: Array) -> str:
    """Words on the qualities of a set."""
    compressed = found[found < UNCOMPRESSED]
    if not len(compressed):
        return "not compressed"
    share = len(compressed) / len(found)
    words = f"quality {np.median(compressed):.0f}"
    return words if share == 1 else f"{words} in {_percent(share)} of the images"


def _figure(values: Array, words: str, images: int, scenes: float) -> Figure:
    """A figure of one value for every draw."""
    error = standard_error(values, images)
    value = float(values[0])
    if error is None:
        return Figure(value, words)
    reach = REACH * float(np.hypot(error, scenes))
    return Figure(value, words, value - reach, value + reach)


def _signed_root(variance: float) -> float:
    return float(np.copysign(np.sqrt(abs(variance)), variance))
