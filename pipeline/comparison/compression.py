"""How strongly the images of a set were compressed by JPEG, read off the pixels of each image.

The DCT coefficients of a compressed image are multiples of the quantisation steps.  For each
image, a table of steps fits if the mean of cos(2 pi c / step) over its coefficients c is high.  The
tables that are tried are those of libjpeg's qualities, and the steps that all images of the set
together show, whatever their table is.  The result is a quality, 100 where no table fits, so sets
of mixed tables compare too.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.noise.estimate import plane_basis
from pipeline.noise.matching import RINGS, Indices, luma_of
from pipeline.noise.statistics import LrStatistics
from pipeline.sampling.jpeg import BLOCK, LUMA_50, cosines, tables_of_quality

Array = NDArray[np.float64]

QUALITIES = np.arange(20, 98)
"""Qualities that are tried; the steps of better ones leave no trace in 8 bit."""
UNCOMPRESSED = 100.0
STEPS = np.arange(2, 65)
"""Steps that are looked for, in gray levels; a step of 1 leaves no trace."""
COMB_BIN, COMB_BINS = 0.25, 1025
"""Width of the bins of a histogram of the size of DCT coefficients, and their number."""
FEWEST_COEFFICIENTS = 150
"""Coefficients beyond half a step that tell of a table at least."""
COMB = 0.4
"""Mean of cos(2 pi c / step) from which on coefficients c are multiples of the step; without steps
it is not above 0, with a deviation of at most 0.06."""
BLOCKS = 20_000
"""Blocks of a set that are looked at, about."""
BETTER = 0.2
"""How much better the common steps must fit an image than the tables of libjpeg."""
ALIKE = 3.0
"""Sets whose median qualities differ by no more count as compressed alike."""
TOGETHER = 64
"""Images that are counted at once, 15 MB."""
FREQUENCIES = (BLOCK - 1) ** 2


def qualities(lr_set: LrStatistics) -> Array:
    """The quality of libjpeg of every image (I,) that tells of one.

    100 is that of images whose coefficients are multiples of no table; images with too few
    coefficients, which cannot be told, are left out.
    """
    image, levels = _coefficients(lr_set)
    combs, numbers = _combs_of_images(image, levels, len(lr_set.content.blocks))
    common = _steps(combs.sum(axis=0), numbers.sum(axis=0))
    tables, names = _tables()
    told = np.nan_to_num(common, nan=1.0)
    if (told > 1).any():
        tables = np.concatenate([tables, told[None].astype(np.intp)])
        names = np.append(names, equivalent_quality(common))
    place = np.maximum(tables - STEPS[0], 0)
    counts = np.where(tables > 1, 1.0, 0.0)
    found = np.full(len(combs), np.nan)
    for number, (comb, beyond) in enumerate(zip(combs, numbers, strict=True)):
        frequency = np.arange(FREQUENCIES)
        total = (beyond[place, frequency] * counts).sum(axis=1)
        mean = (comb[place, frequency] * counts).sum(axis=1) / np.maximum(total, 1)
        mean = np.where(total >= FEWEST_COEFFICIENTS, mean, -1.0)
        mean[len(QUALITIES) :] -= BETTER
        best = int(mean.argmax())
        if total.max() >= FEWEST_COEFFICIENTS:
            found[number] = names[best] if mean[best] >= COMB else UNCOMPRESSED
    return np.asarray(found[~np.isnan(found)])


def at_like_compression(
    real: LrStatistics, other: LrStatistics, found: tuple[Array, Array]
) -> tuple[LrStatistics, LrStatistics]:
    """Both sets in luma, the one that was compressed less also compressed like the other.

    Compression takes noise away and makes what is left correlated.  So noise of sets whose
    qualities differ is compared after this.  Sets of nearly one quality are returned as they are.

    Args:
        real: The real images.
        other: The other set.
        found: ``qualities`` of both.

    """
    if not all(len(each) for each in found):
        return real, other
    known = [float(np.median(each)) for each in found]
    if abs(known[0] - known[1]) <= ALIKE:
        return real, other
    table = tables_of_quality(round(max(min(known), 1.0)), "4:4:4").luma
    first, second = (
        _in_luma(each, table if quality == max(known) else None)
        for each, quality in zip((real, other), known, strict=True)
    )
    return first, second


def _in_luma(lr_set: LrStatistics, table: list[int] | None) -> LrStatistics:
    """The set with luma for every channel of its blocks, compressed with a table."""
    luma = luma_of(lr_set.blocks.residual)
    if table is not None:
        basis = cosines().numpy().astype(np.float32)
        quantised = np.array(table, dtype=np.float32).reshape(BLOCK, BLOCK)
        levels = np.rint(basis @ luma @ basis.T / quantised) * quantised
        plane = plane_basis().astype(np.float32)
        flat = np.rint(basis.T @ levels @ basis).reshape(len(luma), -1)
        luma = (flat - (flat @ plane) @ plane.T).reshape(luma.shape)
    residual = np.repeat(luma[:, None], 3, axis=1)
    blocks = replace(lr_set.blocks, residual=residual)
    return replace(lr_set, blocks=blocks, measured=lr_set.noise)


def quantisation_power(found: Array) -> Array:
    """Power (8,) that quantisation of these qualities may add to or take from luma in the rings.

    An error of rounding to a step has the variance step^2 / 12.  The coefficient (u, v) of a block
    stands for the frequency (u, v) / 16.
    """
    if not len(found) or float(np.median(found)) > QUALITIES[-1]:
        return np.zeros(len(RINGS))
    table = tables_of_quality(round(max(float(np.median(found)), 1.0)), "4:4:4").luma
    power = np.array(table, dtype=np.float64).reshape(BLOCK, BLOCK) ** 2 / 12
    radius = np.rint(np.hypot(*np.indices((BLOCK, BLOCK))))
    return np.array([power[radius == k + 1].mean() for k in range(len(RINGS))])


def common_steps(lr_set: LrStatistics) -> Array:
    """Step (49,) of luma that all images show together; 1: none, NaN: not to be told."""
    image, bins = _coefficients(lr_set)
    combs, numbers = _combs_of_images(image, bins, len(lr_set.content.blocks))
    return _steps(combs.sum(axis=0), numbers.sum(axis=0))


def _steps(combs: Array, numbers: Array) -> Array:
    """Step (49,) of luma at every frequency; 1: none, NaN: not to be told.

    Args:
        combs: (63, 49): sum of cos(2 pi c / step) of every step and frequency.
        numbers: (63, 49): number of coefficients in it.

    """
    enough = numbers >= FEWEST_COEFFICIENTS
    mean = np.where(enough, combs / np.maximum(numbers, 1), -1.0)
    best = mean.argmax(axis=0)
    seen = mean.max(axis=0) >= COMB
    return np.where(enough.any(axis=0), np.where(seen, STEPS[best], 1.0), np.nan)


def equivalent_quality(found: Array) -> float:
    """The quality whose table has these steps (49,), in the median; steps of 1 and NaN are none."""
    seen = np.nan_to_num(found, nan=1.0) > 1
    percent = 100 * float(np.median(found[seen] / _half()[seen]))
    return 100 - percent / 2 if percent < 100 else 5000 / percent


def _coefficients(lr_set: LrStatistics) -> tuple[Indices, Indices]:
    """The image (n,) of blocks, and the bin (n, 49) of the size of their coefficients of luma.

    Only frequencies along both axes count: a block less its plane has these unchanged.
    """
    every = -(-len(lr_set.blocks) // BLOCKS) or 1
    residual = lr_set.blocks.residual[::every]
    luma = luma_of(residual)
    basis = cosines()[1:].numpy().astype(np.float32)
    found = np.abs(basis @ luma @ basis.T).reshape(-1, FREQUENCIES)
    bins = np.minimum(np.rint(found / COMB_BIN), COMB_BINS - 1).astype(np.intp)
    return lr_set.content.images_of_blocks()[::every], bins


def _combs_of_images(image: Indices, bins: Indices, images: int) -> tuple[Array, Array]:
    """Sums of cos(2 pi c / step) (I, 63, 49), and number of coefficients in them."""
    wave, beyond = _combs()
    laws = np.concatenate([wave, beyond]).T.astype(np.float32)
    parts = []
    for start in range(0, images, TOGETHER):
        inside = (image >= start) & (image < start + TOGETHER)
        count = min(TOGETHER, images - start)
        row = (image[inside, None] - start) * FREQUENCIES + np.arange(FREQUENCIES)
        place = (row * COMB_BINS + bins[inside]).ravel()
        counts = np.bincount(place, minlength=count * FREQUENCIES * COMB_BINS)
        histograms = counts.reshape(-1, COMB_BINS).astype(np.float32)
        parts.append((histograms @ laws).reshape(count, FREQUENCIES, -1))
    found = np.concatenate(parts).transpose(0, 2, 1)
    return found[:, : len(STEPS)].astype(np.float64), found[:, len(STEPS) :].astype(np.float64)


def _half() -> Array:
    """Steps (49,) of quality 50 along both axes."""
    return np.array(LUMA_50, dtype=np.float64).reshape(BLOCK, BLOCK)[1:, 1:].ravel()


@lru_cache(maxsize=1)
def _tables() -> tuple[Indices, Array]:
    """Steps (qualities, 49), 1 where they are too large or too small to be seen; the qualities."""
    tables = [tables_of_quality(int(q), "4:4:4").luma for q in QUALITIES]
    found = np.array(tables, dtype=np.intp).reshape(-1, BLOCK, BLOCK)[:, 1:, 1:]
    found = found.reshape(-1, FREQUENCIES)
    return np.where(found <= STEPS[-1], found, 1), QUALITIES.astype(np.float64)


@lru_cache(maxsize=1)
def _combs() -> tuple[Array, Array]:
    """Per step: cos(2 pi c / step) at the bins, zero up to half a step, and where it is not."""
    centres = np.arange(COMB_BINS) * COMB_BIN
    beyond = centres > STEPS[:, None] / 2
    return np.cos(2 * np.pi * centres / STEPS[:, None]) * beyond, beyond.astype(np.float64)
