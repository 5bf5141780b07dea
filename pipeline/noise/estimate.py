"""Noise of a pile of images, estimated blind: variance by intensity, correlation and tails.

Images are cut into blocks of 8x8 pixels and a plane is taken out of each.  A block counts as flat
by the variance of its *neighbours*: their noise is not its own, so choosing the blocks that way
does not make the noise of the chosen ones look smaller, as choosing them by their own would.

Texture is not noise, but one block cannot tell.  A pile can: where some areas are much flatter than
most, the flattest hold noise and little else.  In a pile without flat areas (grass from edge to
edge) only colour helps: texture is common to the channels, and the differences between the channels
lack it; noise is then taken to be independent between channels.

Intensities are in gray levels, variances in gray levels squared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.stores.reader import Store
from pipeline.stores.split import training_box

Array = NDArray[np.float64]

SIDE = 8
"""Pixels along a block."""
SPREAD = np.array([0.7548776662, 0.5698402910])
"""Steps along the axes of the sequence R2 (Roberts 2018), by which blocks are left out evenly."""
LAGS = 3
"""Correlation is estimated up to this distance in pixels along each axis, and zero beyond."""
KNOTS = np.linspace(0, 255, 9)
"""Intensities at which the variance is given; linear between them."""
STRATA = 8
"""Groups of intensity, of equal number, in which the flattest blocks are chosen."""
FLAT_SHARE = 0.1
"""Share of a stratum that counts as flat."""
BLOCKS = 60_000
"""Blocks that are kept of a set of images, about: 0.8 kB each, 48 MB."""
FLAT_CONTRAST = 4.5
"""A pile has flat areas if the 90 % quantile of the blocks' variance is so many times the 5 %."""
SMOOTHNESS = (0.2, 1.0)
"""Weights of the first and second differences of the variance's logarithm over the knots."""
ABOVE = 0.2
"""A stratum that lies further above the curve, in its logarithm, has less weight."""
FEWEST, FEWEST_FLAT = 64, 12
"""Blocks without which nothing is estimated; flat ones in a stratum at least."""
DARKEST, BRIGHTEST = 12, 243
"""Blocks beyond are left out: there the ends of the 8 bits cut the noise."""
ROUNDING = 1 / 12
"""Variance of rounding to 8 bit, which has the same power at every frequency."""
ROUNDS = 6
"""Repetitions of choosing flat blocks and fitting the variance."""
LEAST_GAIN = 0.1
"""Noise so far below the rounding is taken for none: it has no correlation that could be told."""
MOST_SHARED, TOO_ALIKE = 0.8, 0.9
"""Differences of channels tell of their noise while its correlation between them is below the
first; in a pile without flat areas they may where all is correlated by less than the second."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of images, without their planes; N of them."""

    level: NDArray[np.float32]
    """(N, 3): mean of every channel."""
    residual: NDArray[np.float32]
    """(N, 3, 8, 8): what is left without the plane."""
    surroundings: NDArray[np.float32]
    """(N, 3): mean variance of the four neighbouring blocks."""

    def __len__(self) -> int:
        return len(self.level)


def read_blocks(store: Store, limit: int) -> Blocks:
    """Blocks of all images of a store of kind lr (without what is held out) or maps (the means).

    Args:
        store: The store; one image is in memory at a time.
        limit: Blocks kept of all images together, about; at least one of each.

    """
    parts = []
    for image_id in store.ids:
        if store.kind == "lr":
            image = store.read(image_id, "image", training_box(store, image_id)).astype(np.float64)
        else:
            image = store.read(image_id, "mean").astype(np.float64) * 255
        parts.append(cut_blocks(image, max(limit // len(store.ids), 1)))
    return join(parts)


def cut_blocks(image: NDArray[np.floating], limit: int) -> Blocks:
    """Cut an image into blocks, without those that touch no neighbour.

    Args:
        image: (3, H, W) in gray levels.
        limit: Blocks kept at most, evenly spread over the image.

    Returns:
        The blocks, row by row; of an image under 24 pixels none.

    """
    rows, columns = image.shape[1] // SIDE, image.shape[2] // SIDE
    cut = image[:, : rows * SIDE, : columns * SIDE].astype(np.float64)
    grid = cut.reshape(3, rows, SIDE, columns, SIDE).transpose(1, 3, 0, 2, 4)
    pixels = grid.reshape(rows, columns, 3, SIDE * SIDE)
    residual = pixels - pixels @ _planes()
    around = _surroundings((residual**2).sum(axis=-1) / _freedom())
    kept = np.flatnonzero(np.isfinite(around[..., 0].ravel()))
    turn = np.modf(np.stack(divmod(kept, columns), axis=1) @ SPREAD)[0]
    kept = np.sort(kept[np.argsort(turn)[:limit]])
    return Blocks(
        pixels.mean(axis=-1).reshape(-1, 3)[kept].astype(np.float32),
        residual.reshape(-1, 3, SIDE, SIDE)[kept].astype(np.float32),
        around.reshape(-1, 3)[kept].astype(np.float32),
    )


def join(parts: Sequence[Blocks]) -> Blocks:
    """The blocks of several images as one."""
    return Blocks(
        np.concatenate([part.level for part in parts]),
        np.concatenate([part.residual for part in parts]),
        np.concatenate([part.surroundings for part in parts]),
    )


@dataclass(frozen=True, eq=False)
class Noise:
    """What the noise of a pile is like."""

    variance: Array
    """(3, 9): variance of every channel at the ``KNOTS``, in gray levels squared."""
    correlation: Array
    """(3, 3, 7, 7): of channel c at a pixel with channel d at the pixel (dy, dx) = (j - 3, k - 3)
    away; 1 for c = d and (0, 0)."""
    excess_kurtosis: float
    """Of the noise over its own scale: 0 for Gaussian, 3 for Laplace."""
    flat: bool
    """Whether the pile has flat areas; if not, noise was taken to be independent in channels."""

    def variance_at(self, level: NDArray[np.floating]) -> Array:
        """Variance (..., 3) at intensities (..., 3), in gray levels."""
        columns = [np.interp(level[..., c], KNOTS, self.variance[c]) for c in range(3)]
        return np.stack(columns, axis=-1)

    def deviation(self, blocks: Blocks) -> float:
        """Root of the mean variance over the intensities of some blocks, in gray levels."""
        return float(np.sqrt(self.variance_at(blocks.level).mean()))


def estimate_noise(blocks: Blocks) -> Noise:
    """Estimate the noise of a pile from its blocks.

    Raises:
        ValueError: There are too few blocks, or noise cannot be told from texture; says which.

    """
    usable = ((blocks.level > DARKEST) & (blocks.level < BRIGHTEST)).all(axis=1)
    if usable.sum() < FEWEST:
        raise ValueError(f"only {usable.sum()} blocks of 8x8 pixels are neither black nor white")
    level, residual = blocks.level[usable].astype(np.float64), blocks.residual[usable]
    around = blocks.surroundings[usable].astype(np.float64)
    covariance = np.einsum("nchw,ndhw->ncd", residual, residual, dtype=np.float64) / _freedom()
    start = max(float(np.median(around)), ROUNDING)
    for flat in (True, False):
        noise = Noise(np.full((3, len(KNOTS)), start), white_correlation(), 0.0, flat)
        for _ in range(ROUNDS):
            ratio = (around / noise.variance_at(level)).mean(axis=1)
            noise = Noise(_fit(level, covariance, ratio, noise), white_correlation(), 0.0, flat)
        if _contrast(around, noise.variance_at(level)) >= FLAT_CONTRAST:
            break
    unit = residual / np.sqrt(noise.variance_at(level))[:, :, None, None]
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
    gain, correlation = _correlation(unit)
    variance = noise.variance * gain[:, None]
    if gain.min() < LEAST_GAIN:
        return Noise(np.maximum(variance, ROUNDING), white_correlation(), 0.0, flat)
    return Noise(variance, correlation, _excess_kurtosis(unit), flat)


def _contrast(around: Array, variance: Array) -> float:
    """How many times the noise of the flattest blocks the most textured ones have."""
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
        kept = 1 - shared[c, a] - shared[c, b] + shared[a, b]  # the noise's share of it
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
    """Correlation (3, 3) of the channels at one pixel, in the flattest blocks of all."""
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
    """Mean of a skew law from its median and quartiles; blind to a tail of edges and texture.

    Sample variances follow nearly a Gamma law, whose median is less than its mean by a third of
    the square of its relative spread.
    """
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    if median <= 0:
        return 0.0
    spread = (high - low) / 1.349 / median
    return float(median * (1 + min(spread, 0.5) ** 2 / 3))


def _smooth(points: Array) -> Array:
    """Variances at the knots from (intensity, variance, weight) in every stratum.

    Least squares of logarithms with a penalty on differences, which carries the variance on to
    intensities that no block has.  A stratum above the curve may be texture, and pulls less.
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
    """Blocks (N, 3, 8, 8) of unit variance that hold no edge: at most 3 times the variance."""
    energy = (unit**2).sum(axis=(2, 3)).mean(axis=1) / _freedom()
    return np.asarray(energy < 3)


def _correlation(unit: NDArray[np.floating]) -> tuple[Array, Array]:
    """Correlation from blocks (N, 3, 8, 8) of unit variance without their planes.

    Taking out the plane takes some covariance along.  What is left of each lag is linear in the
    true covariance, so the true one is the solution of a linear system.

    Returns:
        The true variance (3,), more than one where noise is correlated over some pixels, and the
        correlation (3, 3, 7, 7).

    """
    window, system = 2 * LAGS + 1, _plane_system()
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
    """Correlation (3, 3, 7, 7) of noise that is independent in pixels and channels."""
    window = 2 * LAGS + 1
    correlation = np.zeros((3, 3, window, window))
    correlation[range(3), range(3), LAGS, LAGS] = 1
    return correlation


def _excess_kurtosis(unit: NDArray[np.floating]) -> float:
    """Excess kurtosis of the pixels of blocks of unit variance, all together.

    Without its plane a block is a little more Gaussian: 0.91 of the excess kurtosis is left.
    """
    flat = unit.reshape(len(unit), -1).astype(np.float64)
    second = (flat**2).mean()
    return float((flat**4).mean() / second**2 - 3)


@lru_cache(maxsize=1)
def _planes() -> Array:
    """Projection (64, 64) of the pixels of a block on planes."""
    y, x = np.indices((SIDE, SIDE)).reshape(2, -1) - (SIDE - 1) / 2
    base, _ = np.linalg.qr(np.stack([np.ones(SIDE * SIDE), y, x], axis=1))
    return np.asarray(base @ base.T)


def _freedom() -> int:
    """Degrees of freedom of a block without its plane."""
    return SIDE * SIDE - 3


@lru_cache(maxsize=1)
def _plane_system() -> Array:
    """(49, 49): the sums over pixel pairs at every lag (rows) when one lag (column) correlates."""
    window = 2 * LAGS + 1
    rest = np.eye(SIDE * SIDE) - _planes()
    y, x = np.indices((SIDE, SIDE)).reshape(2, -1)
    dy, dx = y[None] - y[:, None], x[None] - x[:, None]
    pairs = np.stack(
        [(dy == j - LAGS) & (dx == k - LAGS) for j in range(window) for k in range(window)]
    ).astype(np.float64)
    left = rest @ pairs @ rest
    return np.asarray(np.einsum("lpq,mpq->ml", left, pairs))


def _surroundings(variance: Array) -> Array:
    """Mean (rows, columns, 3) of the four neighbours; not a number at the borders."""
    around = np.full_like(variance, np.nan)
    around[1:-1, 1:-1] = (
        variance[:-2, 1:-1] + variance[2:, 1:-1] + variance[1:-1, :-2] + variance[1:-1, 2:]
    ) / 4
    return around
