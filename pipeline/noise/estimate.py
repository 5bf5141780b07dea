"""Blind estimate of the noise of a set of images: variance by intensity, correlation and tails.

Images are cut into blocks of 8x8 pixels, and from each block its plane of least squares is
subtracted.  A block counts as flat if the variance of its *neighbours* is small.  Their noise is
independent of its own.  To choose blocks by their own variance would bias the estimate downwards.

One block does not show whether its variance is noise or texture, but a set of images does: if some
areas are much flatter than most, the flattest areas hold noise and little else.  In a set without
flat areas (grass from edge to edge) only colour helps.  Texture is common to the channels, so the
differences between channels are free of it; noise is then assumed independent between channels.

Intensities are in gray levels, variances in gray levels squared.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.stores.reader import Store
from pipeline.stores.split import training_box

Array = NDArray[np.float64]

SIDE = 8
"""Pixels along a block."""
SPREAD = np.array([0.7548776662, 0.5698402910])
"""Steps along the axes of the sequence R2 (Roberts 2018), which spreads the kept blocks evenly."""
LAGS = 3
"""Correlation is estimated up to this distance in pixels along each axis; beyond, it is zero."""
KNOTS = np.linspace(0, 255, 9)
"""Intensities at which the variance is given; it is linear between them."""
STRATA = 8
"""Number of groups of blocks by intensity, all of one size; each gives its flattest blocks."""
FLAT_SHARE = 0.1
"""Share of a stratum that counts as flat."""
BLOCKS = 60_000
"""Blocks that are kept of a set of images, about: 0.8 kB each, 48 MB."""
FLAT_CONTRAST = 4.5
"""A set has flat areas if the 90 % quantile of the blocks' variance is at least this many times
the 5 % quantile."""
SMOOTHNESS = (0.2, 1.0)
"""Weights of the penalties on the first and second differences of the log variance at the knots."""
ABOVE = 0.2
"""A stratum whose log variance lies more than this above the curve has less weight."""
FEWEST, FEWEST_FLAT = 64, 12
"""Least number of blocks of a set, and of flat blocks of a stratum."""
AT_ONCE = 256
"""Blocks that are computed at a time, so that they fit a processor's cache."""
FEWEST_LIT = 256
"""Least number of blocks of a set most of whose blocks are black or white: what is left lies around
lamps and at the edge of shadows, and is less flat."""
DARKEST, BRIGHTEST = 12, 243
"""Blocks outside this range of intensity are left out: clipping to 8 bit cuts their noise."""
LARGEST = 50.0
"""Gray levels: what deviates more from its plane is no noise of a camera.  Line drawings, whose
paper is left out because it is white, have 78 to 108."""
EDGES = "the images have edges everywhere, and no flat area that shows noise"
ROUNDING = 1 / 12
"""Variance of rounding to 8 bit, which has the same power at every frequency."""
ROUNDS = 6
"""How often flat blocks are chosen and the variance is fitted to them."""
LEAST_GAIN = 0.1
"""If the variance falls by more than this factor, the noise counts as rounding alone, which is
white."""
MOST_SHARED, TOO_ALIKE = 0.8, 0.9
"""The differences of channels show the noise if it is correlated between channels by less than the
first; in a set without flat areas, if noise and texture together are by less than the second."""


class TooFewError(ValueError):
    """There are too few blocks that are neither black nor white."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """N blocks of images, each less its plane of least squares."""

    level: NDArray[np.float32]
    """(N, 3): mean of every channel."""
    residual: NDArray[np.float32]
    """(N, 3, 8, 8): the block less its plane."""
    surroundings: NDArray[np.float32]
    """(N, 3): mean variance of the four neighbouring blocks."""

    def __len__(self) -> int:
        return len(self.level)

    def of(self, kept: NDArray[np.bool_]) -> "Blocks":
        """Some of the blocks."""
        return Blocks(self.level[kept], self.residual[kept], self.surroundings[kept])

    @property
    def dark(self) -> NDArray[np.bool_]:
        """Which blocks are so dark that clipping to 8 bit cuts their noise."""
        return np.asarray((self.level <= DARKEST).any(axis=1))

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which blocks are neither black nor white."""
        return np.asarray(~self.dark & (self.level < BRIGHTEST).all(axis=1))


def image_blocks(store: Store, limit: int) -> Iterator[Blocks]:
    """Blocks of every image of a store, in the order of its ids.

    Args:
        store: Store of kind lr, without its held-out part, or of kind maps, of which the means are
            read.  One image is in memory at a time.
        limit: About the number of blocks of all images together; every image gives at least one.

    """
    for image_id in store.ids:
        if store.kind == "lr":
            image = store.read(image_id, "image", training_box(store, image_id)).astype(np.float64)
        else:
            image = store.read(image_id, "mean").astype(np.float64) * 255
        yield cut_blocks(image, max(limit // len(store.ids), 1))


def read_blocks(store: Store, limit: int) -> Blocks:
    """Blocks of all images of a store together; see ``image_blocks``."""
    return join(list(image_blocks(store, limit)))


def cut_blocks(image: NDArray[np.floating] | NDArray[np.uint8], limit: int) -> Blocks:
    """Cut an image into blocks; blocks at the border, which lack a neighbour, are left out.

    Args:
        image: (3, H, W) in gray levels.
        limit: Largest number of blocks; they are spread evenly over the image.

    Returns:
        The blocks, row by row; none if a side of the image is under 24 pixels.

    """
    rows, columns = image.shape[1] // SIDE, image.shape[2] // SIDE
    kept = _spread(rows, columns, limit)
    neighbours = kept[:, None] + np.array([-columns, columns, -1, 1])
    used = np.zeros(rows * columns, dtype=bool)
    used[kept] = used[neighbours] = True
    place = np.cumsum(used) - 1  # of every block among the used ones
    row, column = divmod(np.flatnonzero(used), columns)
    cut = image[:, : rows * SIDE, : columns * SIDE]
    grid = cut.reshape(3, rows, SIDE, columns, SIDE).transpose(1, 3, 0, 2, 4)
    parts = [
        _less_plane(grid[row[start : start + AT_ONCE], column[start : start + AT_ONCE]])
        for start in range(0, len(row), AT_ONCE)
    ]
    if not parts:
        none = np.zeros((0, 3), np.float32)
        return Blocks(none, np.zeros((0, 3, SIDE, SIDE), np.float32), none)
    level, residual, variance = (np.concatenate(each) for each in zip(*parts, strict=True))
    kept = place[kept]
    around = variance[place[neighbours]].mean(axis=1).astype(np.float32)
    return Blocks(level[kept], residual[kept], around)


class _Plain(NamedTuple):
    """Blocks (n, 3, 8, 8) less their planes."""

    level: NDArray[np.float32]
    residual: NDArray[np.float32]
    variance: Array
    """(n, 3): of every channel."""


def _less_plane(pixels: NDArray[np.floating] | NDArray[np.uint8]) -> _Plain:
    """Subtract from blocks (n, 3, 8, 8) their planes of least squares."""
    flat = pixels.astype(np.float64).reshape(-1, SIDE * SIDE)
    level = flat.mean(axis=1).reshape(-1, 3).astype(np.float32)
    plane = plane_basis()
    flat -= (flat @ plane) @ plane.T
    variance = (np.einsum("np,np->n", flat, flat) / _freedom()).reshape(-1, 3)
    return _Plain(level, flat.astype(np.float32).reshape(pixels.shape), variance)


@lru_cache(maxsize=64)
def _spread(rows: int, columns: int, limit: int) -> NDArray[np.intp]:
    """Indices of at most ``limit`` blocks that have four neighbours, evenly spread, ascending."""
    inner = (np.arange(1, rows - 1)[:, None] * columns + np.arange(1, columns - 1)).ravel()
    turn = np.modf(np.stack(divmod(inner, columns), axis=1) @ SPREAD)[0]
    return np.sort(inner[np.argsort(turn)[:limit]])


def join(parts: Sequence[Blocks]) -> Blocks:
    """The blocks of several images as one."""
    return Blocks(
        np.concatenate([part.level for part in parts]),
        np.concatenate([part.residual for part in parts]),
        np.concatenate([part.surroundings for part in parts]),
    )


@dataclass(frozen=True, eq=False)
class Noise:
    """The noise of a set of images."""

    variance: Array
    """(3, 9): variance of every channel at the ``KNOTS``, in gray levels squared."""
    correlation: Array
    """(3, 3, 7, 7): entry [c, d, j, k] is that of channel c at a pixel with channel d at the pixel
    (dy, dx) = (j - 3, k - 3) away; it is 1 for c = d and (dy, dx) = (0, 0)."""
    excess_kurtosis: float
    """Of the noise over its standard deviation: 0 for Gaussian, 3 for Laplace noise."""
    flat: bool
    """Whether the set has flat areas; if not, noise was assumed independent between channels."""

    def variance_at(self, level: NDArray[np.floating]) -> Array:
        """Variance (..., 3) at intensities (..., 3), in gray levels."""
        columns = [np.interp(level[..., c], KNOTS, self.variance[c]) for c in range(3)]
        return np.stack(columns, axis=-1)

    def deviation(self, blocks: Blocks) -> float:
        """Root of the mean variance over the intensities of some blocks, in gray levels."""
        return float(np.sqrt(self.variance_at(blocks.level).mean()))


def estimate_noise(blocks: Blocks) -> Noise:
    """Estimate the noise of a set of images from its blocks.

    Raises:
        TooFewError: There are too few blocks.
        ValueError: The noise cannot be distinguished from texture or
            edges.  The message says which; ``measured`` adds the images and a way out.

    """
    usable = _enough(blocks)
    level, residual = blocks.level[usable].astype(np.float64), blocks.residual[usable]
    around = blocks.surroundings[usable].astype(np.float64)
    if np.quantile(around.mean(axis=1), 0.9) < ROUNDING:  # areas of one colour
        return rounding_alone()
    covariance = np.einsum("nchw,ndhw->ncd", residual, residual, dtype=np.float64) / _freedom()
    start = max(float(np.median(around)), ROUNDING)
    for flat in (True, False):
        noise = Noise(np.full((3, len(KNOTS)), start), white_correlation(), 0.0, flat)
        for _ in range(ROUNDS):
            ratio = (around / noise.variance_at(level)).mean(axis=1)
            noise = Noise(_fit(level, covariance, ratio, noise), white_correlation(), 0.0, flat)
        if _contrast(around, noise.variance_at(level)) >= FLAT_CONTRAST:
            break
    unit = residual / _deviation(noise, level)[:, :, None, None]
    if not flat:
        if _alike(_shared(level, covariance, ratio, noise)) > TOO_ALIKE:
            raise ValueError("the images are textured from edge to edge, alike in all channels")
        return Noise(
            noise.variance,
            white_correlation(),
            2 * _excess_kurtosis(unit[:, :1] - unit[:, 1:]),
            flat,
        )
    ratio = (around / noise.variance_at(level)).mean(axis=1)
    unit = unit[np.argsort(ratio)[: max(int(FLAT_SHARE / 2 * len(ratio)), FEWEST)]]
    unit = unit[_ordinary(unit)]
    if not len(unit):
        raise ValueError(EDGES)
    gain, correlation = _correlation(unit)
    variance = noise.variance * gain[:, None]
    if gain.min() < LEAST_GAIN:
        return Noise(np.maximum(variance, ROUNDING), white_correlation(), 0.0, flat)
    return Noise(variance, correlation, _excess_kurtosis(unit), flat)


def _enough(blocks: Blocks) -> NDArray[np.bool_]:
    """Which blocks are usable."""
    usable = blocks.usable
    if usable.sum() < (FEWEST if usable.sum() > len(blocks) / 2 else FEWEST_LIT):
        raise TooFewError(f"only {usable.sum()} blocks of 8x8 pixels are neither black nor white")
    return usable


def _deviation(noise: Noise, level: Array) -> Array:
    """Deviations (N, 3) at intensities, if they are those of a noise."""
    variance = noise.variance_at(level)
    if variance.mean() > LARGEST**2:
        raise ValueError(EDGES)
    return np.sqrt(variance)


def rounding_alone() -> Noise:
    """The noise of images that have none but that of rounding to 8 bit."""
    return Noise(np.full((3, len(KNOTS)), ROUNDING), white_correlation(), 0.0, True)


def _contrast(around: Array, variance: Array) -> float:
    """Variance of the most textured blocks over that of the flattest ones."""
    low, high = np.quantile((around / variance).mean(axis=1), (0.05, 0.9))
    return float(high / max(low, 1e-9))


def _fit(level: Array, covariance: Array, ratio: Array, before: Noise) -> Array:
    """The variance at the knots, from the flattest blocks of every stratum of intensity."""
    shared = _shared(level, covariance, ratio, before) if before.flat else np.eye(3)
    telling = _alike(shared) < MOST_SHARED
    fitted = []
    for c in range(3):
        a, b = (c + 1) % 3, (c + 2) % 3
        own = covariance[:, c, c]
        free = own - covariance[:, c, a] - covariance[:, c, b] + covariance[:, a, b]
        kept = 1 - shared[c, a] - shared[c, b] + shared[a, b]  # share of the noise left in it
        points = []
        for stratum in _strata(level[:, c]):
            order = stratum[np.argsort(ratio[stratum])]
            flattest = order[: max(int(FLAT_SHARE * len(order)), FEWEST_FLAT)]
            found = _middle(own[flattest])
            if telling:
                half = order[: max(len(order) // 2, FEWEST_FLAT)]
                found = min(found, _middle(free[half]) / kept)
            points.append((np.median(level[flattest, c]), max(found, ROUNDING), len(flattest)))
        fitted.append(_smooth(np.array(points)))
    return np.stack(fitted)


def _shared(level: Array, covariance: Array, ratio: Array, noise: Noise) -> Array:
    """Correlation (3, 3) of the channels at one pixel, in the flattest blocks."""
    flattest = ratio <= np.quantile(ratio, FLAT_SHARE / 2)
    deviation = np.sqrt(noise.variance_at(level[flattest]))
    unit = covariance[flattest] / deviation[:, :, None] / deviation[:, None, :]
    middle = np.median(unit, axis=0)
    scale = np.sqrt(np.diagonal(middle))
    return np.asarray(middle / scale[:, None] / scale)


def _alike(shared: Array) -> float:
    """The highest correlation between two channels."""
    return float((shared - np.eye(3)).max())


def _strata(level: Array) -> list[NDArray[np.intp]]:
    """Indices of the blocks in groups of equal number, by intensity."""
    return np.array_split(np.argsort(level, kind="stable"), STRATA)


def _middle(values: Array) -> float:
    """Robust mean of sample variances, from their median and quartiles.

    Edges and texture in the upper tail do not change it.  Sample variances nearly follow a Gamma
    law.  Its median is below its mean by a third of the square of its relative spread.
    """
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    if median <= 0:
        return 0.0
    spread = (high - low) / 1.349 / median
    return float(median * (1 + min(spread, 0.5) ** 2 / 3))


def _smooth(points: Array) -> Array:
    """Variances at the knots, fitted to one point (intensity, variance, weight) per stratum.

    Least squares of logarithms with a penalty on differences, which extends the curve to
    intensities that no block has.  A stratum above the curve may hold texture, so it has less
    weight.
    """
    level, variance, weight = points.T
    hats = np.maximum(1 - np.abs(level[:, None] - KNOTS) / (KNOTS[1] - KNOTS[0]), 0)
    knots = np.eye(len(KNOTS))
    bends = [np.diff(knots, n + 1, axis=0) * SMOOTHNESS[n] for n in range(2)]
    pull = weight / weight.mean()
    for _ in range(ROUNDS):
        rows = np.concatenate([hats * np.sqrt(pull)[:, None], *bends])
        values = np.pad(np.log(variance) * np.sqrt(pull), (0, len(rows) - len(level)))
        curve = np.linalg.lstsq(rows, values, rcond=None)[0]
        above = np.log(variance) - hats @ curve
        pull = weight / weight.mean() * ABOVE / np.maximum(above, ABOVE)
    return np.asarray(np.exp(curve))


def _ordinary(unit: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which blocks (N, 3, 8, 8) of unit variance hold no edge: those of a variance under 3."""
    energy = (unit**2).sum(axis=(2, 3)).mean(axis=1) / _freedom()
    return np.asarray(energy < 3)


def _correlation(unit: NDArray[np.floating]) -> tuple[Array, Array]:
    """Correlation from blocks (N, 3, 8, 8) of unit variance less their planes.

    To subtract the plane removes some covariance.  The covariance that is left at each lag is
    linear in the true covariance, so the true one is the solution of a linear system.

    Returns:
        The true variance (3,), which exceeds one if noise is correlated between pixels, and the
        correlation (3, 3, 7, 7).

    """
    window, system = 2 * LAGS + 1, plane_system()
    found = np.empty((3, 3, window * window))
    padded = np.pad(unit.astype(np.float64), [(0, 0), (0, 0), (0, SIDE), (0, SIDE)])
    spectra = np.fft.fft2(padded)
    for c in range(3):
        for d in range(3):
            product = np.fft.ifft2((spectra[:, c].conj() * spectra[:, d]).mean(axis=0)).real
            lags = np.roll(product, (LAGS, LAGS), (0, 1))[:window, :window]
            found[c, d] = np.linalg.solve(system, lags.ravel())
    centre = window * window // 2
    gain = np.maximum(np.einsum("cc->c", found[:, :, centre]), 1e-9)
    found /= np.sqrt(gain[:, None, None] * gain[None, :, None])
    return gain, found.reshape(3, 3, window, window)


def white_correlation() -> Array:
    """Correlation (3, 3, 7, 7) of noise that is independent between pixels and channels."""
    window = 2 * LAGS + 1
    correlation = np.zeros((3, 3, window, window))
    correlation[range(3), range(3), LAGS, LAGS] = 1
    return correlation


def _excess_kurtosis(unit: NDArray[np.floating]) -> float:
    """Excess kurtosis of all pixels of blocks of unit variance.

    A block less its plane is a little more Gaussian: 0.91 of the excess kurtosis is left.
    """
    flat = unit.reshape(len(unit), -1).astype(np.float64)
    second = (flat**2).mean()
    return float((flat**4).mean() / second**2 - 3)


@lru_cache(maxsize=1)
def plane_basis() -> Array:
    """Orthonormal planes over the pixels of a block: (64, 3)."""
    y, x = np.indices((SIDE, SIDE)).reshape(2, -1) - (SIDE - 1) / 2
    return np.linalg.qr(np.stack([np.ones(SIDE * SIDE), y, x], axis=1))[0]


def _freedom() -> int:
    """Degrees of freedom of a block less its plane."""
    return SIDE * SIDE - 3


@lru_cache(maxsize=1)
def plane_system() -> Array:
    """Sums over the pixel pairs of a lag (row) if the pairs of one lag (column) alone correlate.

    Returns:
        (49, 49).

    """
    window = 2 * LAGS + 1
    rest = np.eye(SIDE * SIDE) - plane_basis() @ plane_basis().T
    y, x = np.indices((SIDE, SIDE)).reshape(2, -1)
    dy, dx = y[None] - y[:, None], x[None] - x[:, None]
    pairs = np.stack(
        [(dy == j - LAGS) & (dx == k - LAGS) for j in range(window) for k in range(window)]
    ).astype(np.float64)
    left = rest @ pairs @ rest
    return np.asarray(np.einsum("lpq,mpq->ml", left, pairs))
