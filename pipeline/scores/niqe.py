"""NIQE (Mittal, Soundararajan, Bovik 2013): how natural an image looks, without a reference.

As the authors' release of 2013 defines it: 36 features of every 96x96 block of Y, and the distance
of their mean and covariance from those of sharp photographs, the pristine model.  Everything is in
8-bit gray levels and float64.  MATLAB's built-in ``niqe`` is another measure.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from scipy.special import gamma

from pipeline.images.filters import bicubic_resize, gaussian_window
from pipeline.images.io import Image
from pipeline.scores.niqe_model import NiqeModel
from pipeline.scores.protocols import luma

Array = NDArray[np.float64]

BLOCK = 96
"""Side of a block in pixels; half of it at the second scale."""
ROUNDING = 1e-9
"""Gray levels.  Rounding errors of float64 are below 1e-11; real differences are above this."""
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Rows and columns by which a block is shifted against itself for the paired products."""

SHAPES: Array = np.arange(200, 10001) / 1000
"""Shape parameters that the fit of an AGGD chooses from: 0.2 to 10 in steps of 0.001."""
RATIOS = gamma(2 / SHAPES) ** 2 / (gamma(1 / SHAPES) * gamma(3 / SHAPES))
"""``E|x|^2 / E x^2`` of a symmetric generalised Gaussian of each shape; rises with the shape."""


def niqe(image: Image, model: NiqeModel) -> float:
    """NIQE of an RGB image (3, H, W), 0..255; lower is more natural.

    With the mean and covariance of the features of the image's blocks, (m, S), and those of the
    model, (n, T), the distance ``sqrt((m - n)' ((S + T) / 2)^+ (m - n))``; ^+ is the
    pseudo-inverse.

    Returns:
        The distance; NaN where fewer than two blocks have all features (see ``moments``).

    Raises:
        ValueError: The image holds fewer than two whole blocks (see ``enough``).

    """
    if not enough(*image.shape[1:]):
        raise ValueError(f"expected two blocks of {BLOCK}x{BLOCK}, got {image.shape[1:]}")
    found, _ = block_features(image)
    mean, covariance = moments(found)
    if not np.isfinite(covariance).all():
        return float("nan")
    away = mean - model.mean
    inverse = np.linalg.pinv((covariance + model.covariance) / 2, hermitian=True)
    return math.sqrt(max(float(away @ inverse @ away), 0.0))


def enough(height: int, width: int) -> bool:
    """Whether an image holds two blocks, the least number that has a covariance."""
    return (height // BLOCK) * (width // BLOCK) >= 2


def moments(features: Array) -> tuple[Array, Array]:
    """Mean (36,) and sample covariance (36, 36) of the features (N, 36) of blocks.

    Some features of a block are NaN if its coefficients are constant or all of one sign.  The mean
    of a feature is over the blocks that have it, the covariance over the blocks that have all.  If
    fewer than two blocks have all, the covariance is NaN.
    """
    present = ~np.isnan(features)
    with np.errstate(invalid="ignore"):
        mean = np.where(present, features, 0).sum(axis=0) / present.sum(axis=0)
    whole = features[present.all(axis=1)]
    if len(whole) < 2:
        return mean, np.full((features.shape[1],) * 2, np.nan)
    return mean, np.cov(whole, rowvar=False)


def block_features(image: Image) -> tuple[Array, Array]:
    """Features and sharpness of the whole blocks of an image, row by row.

    Rows at the bottom and columns at the right that fill no block are cut off first.

    Args:
        image: (3, H, W), 0..255.

    Returns:
        (N, 36) features, 18 of the image and then 18 of its half-size version; and (N,) means of
        the local deviation, in gray levels.

    """
    height, width = (length // BLOCK * BLOCK for length in image.shape[1:])
    plane = np.floor(luma(image[:, :height, :width]) + 0.5)
    half = bicubic_resize(torch.from_numpy(plane), height // 2, width // 2).numpy()
    coefficients, deviation = mscn(plane)
    fine = scale_features(_blocks(coefficients, BLOCK))
    coarse = scale_features(_blocks(mscn(half)[0], BLOCK // 2))
    sharpness = _blocks(deviation, BLOCK).mean(axis=(1, 2))
    return np.concatenate([fine, coarse], axis=1), sharpness


def mscn(plane: Array) -> tuple[Array, Array]:
    """Mean-subtracted, contrast-normalised coefficients, and the local deviation.

    ``(x - mu) / (sigma + 1)`` with the local mean ``mu`` and deviation ``sigma`` under a Gaussian
    of 7x7 pixels, sigma 7/6, the border repeated.  Flat areas are set to exactly zero, because the
    signs of rounding errors would change the fitted shape.

    Args:
        plane: (H, W) gray levels.

    """
    window = gaussian_window(7, 7 / 6).numpy()

    def smooth(x: Array) -> Array:
        rows = correlate1d(x, window, axis=0, mode="nearest")
        return np.asarray(correlate1d(rows, window, axis=1, mode="nearest"))

    mean = smooth(plane)
    deviation = np.sqrt(np.abs(smooth(plane * plane) - mean * mean))
    away = plane - mean
    away[np.abs(away) < ROUNDING] = 0
    return away / (deviation + 1), deviation


def scale_features(blocks: Array) -> Array:
    """The 18 features (N, 18) of blocks (N, S, S) of MSCN coefficients at one scale.

    The AGGD of the coefficients gives its shape and the mean of its two scales.  The products of
    the coefficients with their neighbours to the left, above, and on both diagonals (with periodic
    borders of the block) each give shape, mean and both scales.
    """
    shape, left, right = fit_aggd(blocks.reshape(len(blocks), -1))
    columns = [shape, (left + right) / 2]
    for shift in NEIGHBOURS:
        product = blocks * np.roll(blocks, shift, axis=(1, 2))
        shape, left, right = fit_aggd(product.reshape(len(blocks), -1))
        mean = (right - left) * gamma(2 / shape) / gamma(1 / shape)
        columns += [shape, mean, left, right]
    return np.stack(columns, axis=1)


class Aggd(NamedTuple):
    """Asymmetric generalised Gaussians, one per row of what they were fitted to."""

    shape: Array
    """(N,)."""
    left: Array
    """(N,): scale of the negative side; NaN without values there."""
    right: Array
    """(N,): scale of the positive side; NaN without values there."""


def fit_aggd(values: Array) -> Aggd:
    """Fit an asymmetric generalised Gaussian to every row by its moments.

    The density is ``shape / ((left + right) Gamma(1 / shape)) exp(-(|x| / scale)^shape)``, where
    ``scale`` is ``left`` for x < 0 and ``right`` for x > 0 (Lasmar et al. 2009).  The shape is the
    nearest of ``SHAPES``.

    Args:
        values: (N, K).

    Returns:
        One law per row.  A row without values on one side has the smallest shape, as in the
        release.

    """
    squares = np.square(values)

    def deviation(side: NDArray[np.bool_]) -> Array:
        return np.asarray(np.sqrt(np.where(side, squares, 0).sum(axis=1) / side.sum(axis=1)))

    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = deviation(values < 0), deviation(values > 0)
        ratio = left / right
        balance = (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
        share = np.abs(values).mean(axis=1) ** 2 / squares.mean(axis=1) * balance
    shape = SHAPES[_nearest(share)]
    unit = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return Aggd(shape, left * unit, right * unit)


def _nearest(share: Array) -> NDArray[np.intp]:
    """Indices of the nearest of ``RATIOS``; the first for NaN."""
    above = np.clip(np.searchsorted(RATIOS, share), 1, len(RATIOS) - 1)
    below = above - 1
    nearest = np.where(share - RATIOS[below] <= RATIOS[above] - share, below, above)
    return np.where(np.isnan(share), 0, nearest)


def _blocks(plane: Array, side: int) -> Array:
    """Cut (H, W) into (N, side, side), row by row."""
    height, width = plane.shape
    cut = plane.reshape(height // side, side, width // side, side)
    return cut.swapaxes(1, 2).reshape(-1, side, side)
