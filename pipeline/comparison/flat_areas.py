"""The noise of two sets of LR images in flat areas of like intensity and like texture.

Each set's own noise curve says how much the surroundings of a block vary above the noise.  The
flattest blocks of both sets together, by this excess, are sorted into cells of intensity and of
excess, and weighted as ``matching`` does.  So texture that is taken for noise is taken for it in
both sets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.noise.estimate import LAGS, ROUNDING, SIDE, Noise, plane_system
from pipeline.noise.matching import Indices, match, strata
from pipeline.noise.statistics import LrStatistics

Array = NDArray[np.float64]

FLAT_SHARE = 0.1
"""Share of the usable blocks of both sets, the flattest ones, that is compared."""
LEVEL_STRATA, EXCESS_STRATA = 8, 2
"""Parts of equal number into which these are cut by intensity and by excess."""
MOST = 3000
"""Blocks of a set that are compared, at most."""
FEWEST = 48
"""Blocks of a set that are compared, at least."""
EDGE = 3.0
"""A block whose variance is this multiple of the noise holds an edge."""
FREEDOM = SIDE * SIDE - 3
"""Degrees of freedom of a block less its plane."""
PAIRS = ((0, 1), (0, 2), (1, 2))
"""Channels."""


@dataclass(frozen=True, eq=False)
class FlatBlocks:
    """Flat blocks of one set, and their weights for every draw of images."""

    residual: NDArray[np.float32]
    """(N, 3, 8, 8): blocks less their planes, over the deviation that the noise of the real images
    has at their intensity."""
    own: Array
    """(N,): variance of the set's own noise over that of the real images, at their intensity."""
    flattest: NDArray[np.bool_]
    """(N,): which half of the blocks of both sets has the least excess for its noise; variances
    are robust, what else is measured is not."""
    weights: Array
    """(draws, N)."""
    stratum: Indices
    """(N,): part of the intensities."""
    images: int

    @cached_property
    def energy(self) -> Array:
        """(N,): variance of every block."""
        return np.asarray((self.residual**2).sum(axis=(2, 3)).mean(axis=1) / FREEDOM)

    def variance(self, stratum: int) -> Array:
        """(draws,): variance of the noise in a part of the intensities, over the real images' law.

        From the weighted median and quartiles of the blocks, which edges and texture in the upper
        tail do not change; see ``estimate``.
        """
        inside = self.stratum == stratum
        order = np.argsort(self.energy[inside])
        energy, weights = self.energy[inside][order], self.weights[:, inside][:, order]
        low, median, high = _quantiles(energy, weights)
        spread = (high - low) / 1.349 / np.maximum(median, 1e-9)
        return np.asarray(median * (1 + np.minimum(spread, 0.5) ** 2 / 3))

    @cached_property
    def ordinary(self) -> NDArray[np.bool_]:
        """Which blocks hold no edge and hardly any texture."""
        return np.asarray((self.energy < EDGE * self.own) & self.flattest)

    @cached_property
    def correlation(self) -> tuple[Array, Array]:
        """Of the noise with neighbours and between channels: (draws, 3) each.

        The neighbours lie beside, below and across; means of the channels.  The channels are the
        ``PAIRS``, at one pixel.
        """
        unit = (self.residual / np.sqrt(self.own)[:, None, None, None])[self.ordinary]
        spectra = np.fft.rfft2(unit, (2 * SIDE, 2 * SIDE))
        first, second = np.array([(0, 0), (1, 1), (2, 2), *PAIRS]).T
        power = spectra[:, first].conj() * spectra[:, second]
        weights = self.weights[:, self.ordinary]
        mean = np.tensordot(weights, power, 1)
        products = np.fft.irfft2(mean, (2 * SIDE, 2 * SIDE))
        window = 2 * LAGS + 1
        lags = np.roll(products, (LAGS, LAGS), (-2, -1))[..., :window, :window]
        covariance = np.linalg.solve(plane_system(), lags.reshape(-1, window * window).T).T
        found = covariance.reshape(*lags.shape)
        gain = np.maximum(found[:, :3, LAGS, LAGS], 1e-9)
        own = found[:, :3] / gain[..., None, None]
        across = (own[..., LAGS + 1, LAGS + 1] + own[..., LAGS + 1, LAGS - 1]) / 2
        near = np.stack([own[..., LAGS, LAGS + 1], own[..., LAGS + 1, LAGS], across], axis=-1)
        scale = np.stack([np.sqrt(gain[:, a] * gain[:, b]) for a, b in PAIRS], axis=-1)
        return near.mean(axis=1), found[:, 3:, LAGS, LAGS] / scale

    @cached_property
    def excess_kurtosis(self) -> Array:
        """(draws,): 0 for Gaussian noise."""
        unit = (self.residual / np.sqrt(self.own)[:, None, None, None])[self.ordinary]
        weights = self.weights[:, self.ordinary]
        second, fourth = (weights @ (unit**n).mean(axis=(1, 2, 3)) for n in (2, 4))
        total = weights.sum(axis=1)
        return np.asarray(fourth * total / np.maximum(second, 1e-9) ** 2 - 3)


@dataclass(frozen=True, eq=False)
class FlatAreas:
    """The flat blocks of both sets, weighted alike."""

    real: FlatBlocks
    other: FlatBlocks
    law: Array
    """(strata,): variance of the real images' noise there, in gray levels squared."""

    @property
    def images(self) -> int:
        """Number of images of the smaller set."""
        return min(self.real.images, self.other.images)

    @cached_property
    def share(self) -> Array:
        """(strata,): share of every part of the intensities."""
        found = np.bincount(self.real.stratum, self.real.weights[0], LEVEL_STRATA)
        return np.asarray(found, dtype=np.float64)

    @cached_property
    def variances(self) -> tuple[Array, Array]:
        """Variances (draws, strata) of the noise of both sets, in gray levels squared.

        Less noise than that of rounding cannot be told from it.
        """
        real, other = (
            np.stack([each.variance(k) for k in range(LEVEL_STRATA)], axis=1) * self.law
            for each in (self.real, self.other)
        )
        return np.maximum(real, ROUNDING), np.maximum(other, ROUNDING)

    @cached_property
    def level_ratio(self) -> Array:
        """(draws,): noise level of the other set over the real one."""
        real, other = (each @ self.share for each in self.variances)
        return np.asarray(np.sqrt(other / real))


def flat_areas(real: LrStatistics, other: LrStatistics) -> FlatAreas | None:
    """The flat areas of like content; None where a set has no noise that is known, or too few."""
    law, law_of_other = real.noise, other.noise
    if isinstance(law, str) or isinstance(law_of_other, str):
        return None
    if not (law.flat and law_of_other.flat):
        return None
    usable = [_usable(real, law), _usable(other, law_of_other)]
    levels = strata([each.level for each in usable], LEVEL_STRATA)
    kept = _flattest([each.excess for each in usable], levels)
    if min(len(each) for each in kept) < FEWEST:
        return None
    chosen = [each.at(some) for each, some in zip(usable, kept, strict=True)]
    levels = (levels[0][kept[0]], levels[1][kept[1]])
    excess = strata([each.excess for each in chosen], EXCESS_STRATA)
    cells = [a * EXCESS_STRATA + b for a, b in zip(levels, excess, strict=True)]
    images = [len(each.content.blocks) for each in (real, other)]
    try:
        weights = match(cells, [each.image for each in chosen], images)
    except ValueError:
        return None
    relative = [each.excess / each.own.mean(axis=1) for each in chosen]
    middle = np.median(np.concatenate(relative))
    first, second = (
        FlatBlocks(
            *_scaled(lr_set, each, law), flat <= middle, row, level, len(lr_set.content.blocks)
        )
        for lr_set, each, flat, row, level in zip(
            (real, other), chosen, relative, weights, levels, strict=True
        )
    )
    variance = law.variance_at(real.blocks.level[chosen[0].place]).mean(axis=1)
    inside = np.eye(LEVEL_STRATA)[levels[0]]
    mean = (variance @ inside) / np.maximum(inside.sum(axis=0), 1)
    return FlatAreas(first, second, mean)


def _flattest(excess: Sequence[Array], levels: Sequence[Indices]) -> list[Indices]:
    """The blocks of both sets with the least excess for their intensity; ``MOST`` of each set."""
    both, parts = np.concatenate(excess), np.concatenate(levels)
    limits = np.array(
        [
            np.quantile(both[parts == k], FLAT_SHARE) if (parts == k).any() else 0.0
            for k in range(LEVEL_STRATA)
        ]
    )
    kept = [np.flatnonzero(each <= limits[k]) for each, k in zip(excess, levels, strict=True)]
    return [each[:: max(-(-len(each) // MOST), 1)] for each in kept]


@dataclass(frozen=True, eq=False)
class _Usable:
    """Blocks of a set that are neither black nor white."""

    place: Indices
    """Their indices."""
    level: Array
    excess: Array
    """How much more than the noise their surroundings vary, in gray levels squared."""
    image: Indices
    own: Array
    """Variance (N, 3) of the set's noise at their intensity."""

    def at(self, kept: Indices) -> "_Usable":
        """Some of them."""
        return _Usable(*(each[kept] for each in vars(self).values()))


def _usable(lr_set: LrStatistics, noise: Noise) -> _Usable:
    blocks = lr_set.blocks
    place = np.flatnonzero(blocks.usable)
    own = noise.variance_at(blocks.level[place])
    return _Usable(
        place,
        blocks.level[place].mean(axis=1).astype(np.float64),
        (blocks.surroundings[place] - own).mean(axis=1),
        lr_set.content.images_of_blocks()[place],
        own,
    )


def _scaled(lr_set: LrStatistics, chosen: _Usable, law: Noise) -> tuple[NDArray[np.float32], Array]:
    """Residuals and own variance of blocks over the deviation and variance of the real images."""
    known = law.variance_at(lr_set.blocks.level[chosen.place])
    residual = lr_set.blocks.residual[chosen.place] / np.sqrt(known)[:, :, None, None]
    return residual.astype(np.float32), (chosen.own / known).mean(axis=1)


def _quantiles(values: Array, weights: Array) -> Array:
    """Lower quartile, median and upper quartile (3, draws) of sorted values under weights."""
    below = np.cumsum(weights, axis=1)
    middle = (below - weights / 2) / np.maximum(below[:, -1:], 1e-12)
    found = [
        [np.interp(share, row, values) for share in (0.25, 0.5, 0.75)] if len(values) else [0.0] * 3
        for row in middle
    ]
    return np.array(found).T
