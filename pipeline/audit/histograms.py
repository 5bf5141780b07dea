"""Histograms of theta and of |mean - bicubic| in pieces of ``maps.zarr``, and figures of them.

Theta is float16 in the store.  Each of its values is counted, so mean, spread and percentiles are
exact, however the maps are cut into pieces.  All figures are in gray levels (unit of the image
times 255) and over the three channels of every LR pixel.
"""

from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.audit.verdicts import VerdictSettings
from pipeline.base.boxes import Box, tiles
from pipeline.base.settings import Positive, Settings
from pipeline.sampling.laplace import optimal_scale

Figures = dict[str, float]
"""Figures by name."""

LEVELS = 255
TILE = 128
"""Side in LR pixels of the areas in which a chunk is processed."""
PERCENTILES = (5, 50, 95)
GRADIENTS = np.array([0.0, 1, 2, 4, 8, 16, 32])
"""Lower ends of the bins of the gradient, in gray levels per pixel; the last has no upper end."""
STRUCTURES = ("edges", "textures")
COHERENT = 0.5
"""A pixel of at least this coherence is on an edge, of less in a texture."""
THETA_VALUES = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64) * LEVELS
"""Gray levels of every theta a store can hold, ascending; the index is its float16 bit pattern."""


class AuditSettings(Settings):
    """The section ``audit``."""

    worst_images: int = Field(6, ge=0)
    """How many images, those of the highest mean theta, are pictured; about 0.3 MB of page each."""
    bins: int = Field(80, ge=2, le=500)
    """Bins of every axis of the histograms."""
    theta_limit_gray: Positive = 24.0
    """Upper end of the theta axis in gray levels; the last bin also counts what lies beyond."""
    distance_limit_gray: Positive = 50.0
    """Upper end of the |mean - bicubic| axis in gray levels; the last bin counts what is beyond."""
    outlier_score: Positive = 3.5
    """Robust z-score, in standard deviations, beyond which an image is listed as an outlier."""
    verdicts: VerdictSettings = VerdictSettings()
    """The differences that are tolerated."""


class ClosedForm:
    """The scale that minimises Eq. 2 for a distance, by interpolation in a table.

    Within 1e-4 gray levels of ``optimal_scale`` for a prior of at least 0.01 gray levels, and far
    faster.

    Args:
        prior: Laplace scale of the reference in gray levels.

    """

    LIMIT, STEPS = 300.0, 2**17
    """Largest distance in the table, in gray levels, and number of its equal steps."""

    def __init__(self, prior: float) -> None:
        self.prior = prior
        scale = optimal_scale(np.linspace(0, self.LIMIT, self.STEPS + 1), prior)
        self.scale, self.rise = scale[:-1], np.diff(scale)

    def __call__(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """The best theta for distances of any shape; both in gray levels."""
        place = distance * (self.STEPS / self.LIMIT)
        beyond = place >= self.STEPS
        index = np.where(beyond, 0, place).astype(np.intp)
        place -= index
        found = self.scale[index] + self.rise[index] * place
        if beyond.any():
            found[beyond] = optimal_scale(distance[beyond], self.prior)
        return np.asarray(found)


@dataclass(frozen=True, eq=False)
class ThetaHistograms:
    """Histograms and sums, in gray levels, of a part of the maps; those of parts add up."""

    theta: NDArray[np.int64]
    """(3, 31744): how often each of ``THETA_VALUES`` occurs in each channel."""
    joint: NDArray[np.int64]
    """(bins, bins): values by |mean - bicubic| (rows) and theta (columns)."""
    theta_by_distance: NDArray[np.float64]
    """(bins,): sum of theta by |mean - bicubic|."""
    sums: NDArray[np.float64]
    """(4, 3): |d|, d, |theta - closed form|, number of means outside [0, 1]; per channel."""
    edges: NDArray[np.float64]
    """(2, 7, 3): pixels, sum of theta and of the calibrated theta (0 if there is none), both the
    mean of the channels; by ``STRUCTURES`` and ``GRADIENTS``."""
    hottest: tuple[float, Box]
    """The tile with the highest sum of theta: the sum, and its area on the LR grid."""

    def __add__(self, other: "ThetaHistograms") -> "ThetaHistograms":
        return ThetaHistograms(
            self.theta + other.theta,
            self.joint + other.joint,
            self.theta_by_distance + other.theta_by_distance,
            self.sums + other.sums,
            self.edges + other.edges,
            self.hottest if self.hottest[0] >= other.hottest[0] else other.hottest,
        )


def figures(
    counted: ThetaHistograms, settings: AuditSettings, channel: int | None = None
) -> Figures:
    """Figures of histograms, of one channel or of all three; in gray levels, shares in [0, 1].

    ``theta_mean``, ``theta_std``, ``theta_p05``, ``theta_p50``, ``theta_p95`` (nearest rank),
    ``theta_max``, ``theta_high_share`` (theta at or above ``theta_limit_gray``),
    ``distance_mean`` (of |mean - bicubic|), ``mean_shift`` (of mean - bicubic),
    ``mean_outside_share`` (mean outside [0, 1]) and, where there is a closed form,
    ``closed_form_gap`` (of |theta - its optimum|).
    """
    part = slice(None) if channel is None else slice(channel, channel + 1)
    counts = counted.theta[part].sum(axis=0)
    number, rank = int(counts.sum()), np.cumsum(counts)
    places = {q: np.searchsorted(rank, -(-number * q // 100)) for q in PERCENTILES}
    mean = float(counts @ THETA_VALUES) / number
    distance, shift, gap, outside = (
        float(total) / number for total in counted.sums[:, part].sum(1)
    )
    result = {
        "theta_mean": mean,
        "theta_std": float(np.sqrt(counts @ (THETA_VALUES - mean) ** 2 / number)),
        **{f"theta_p{q:02}": float(THETA_VALUES[place]) for q, place in places.items()},
        "theta_max": float(THETA_VALUES[np.flatnonzero(counts)[-1]]),
        "theta_high_share": int(counts[settings.theta_limit_gray <= THETA_VALUES].sum()) / number,
        "distance_mean": distance,
        "mean_shift": shift,
        "mean_outside_share": outside,
    }
    return result if np.isnan(gap) else {**result, "closed_form_gap": gap}


def theta_histograms(
    mean: NDArray[np.float16],
    theta: NDArray[np.float16],
    reference: NDArray[np.float64],
    area: Box,
    settings: AuditSettings,
    curve: ClosedForm | None,
) -> ThetaHistograms:
    """The histograms of one area, with ``edges`` all zero.

    Args:
        mean: (3, H, W), in the unit of the image.
        theta: The same shape and unit.
        reference: The same shape, in gray levels.
        area: The area on the LR grid.
        settings: The section ``audit``.
        curve: None if there is no closed form; the gap to it is then NaN.

    """
    counts = [np.bincount(x.ravel(), minlength=len(THETA_VALUES)) for x in theta.view(np.uint16)]
    joint = np.zeros(settings.bins**2, np.int64)
    by_distance, sums, hottest = np.zeros(settings.bins), np.zeros((4, 3)), (-1.0, area)
    column_of = bin_index(THETA_VALUES, settings.bins, settings.theta_limit_gray)
    for tile in tiles(theta.shape[1], theta.shape[2], TILE):
        own = theta[tile.slices].view(np.uint16)
        levels = THETA_VALUES[own]
        value = mean[tile.slices].astype(np.float64)
        shift = value * LEVELS - reference[tile.slices]
        distance = np.abs(shift)
        gap = np.nan if curve is None else np.abs(curve(distance) - levels).sum(axis=(1, 2))
        row = bin_index(distance, settings.bins, settings.distance_limit_gray).ravel()
        by_distance += np.bincount(row, weights=levels.ravel(), minlength=settings.bins)
        row *= settings.bins
        row += column_of[own].ravel()
        joint += np.bincount(row, minlength=len(joint))
        outside = np.count_nonzero((value < 0) | (value > 1), axis=(1, 2))
        both = [each.sum(axis=(1, 2)) for each in (distance, shift)]
        sums += np.stack([*both, np.broadcast_to(gap, 3), outside])
        total = float(levels.sum())
        if total > hottest[0]:
            corner = (area.top, area.top, area.left, area.left)
            hottest = total, Box(*(a + b for a, b in zip(tile, corner, strict=True)))
    edges = np.zeros((len(STRUCTURES), len(GRADIENTS), 3))
    shape = (settings.bins, settings.bins)
    return ThetaHistograms(
        np.stack(counts), joint.reshape(shape), by_distance, sums, edges, hottest
    )


def structure(
    reference: NDArray[np.floating],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gradient and coherence around every pixel, from the structure tensor.

    The tensor holds the products of the central differences, averaged over the channels and over
    5x5 pixels.

    Args:
        reference: (3, H, W) in gray levels, H and W at least 7.

    Returns:
        Root mean square gradient in gray levels per pixel, and coherence, the difference of the
        eigenvalues over their sum, 0 to 1; (H - 6, W - 6) each.

    """
    pixels = np.asarray(reference, dtype=np.float32)
    right = (pixels[:, 1:-1, 2:] - pixels[:, 1:-1, :-2]) / 2
    down = (pixels[:, 2:, 1:-1] - pixels[:, :-2, 1:-1]) / 2
    xx, yy, xy = (
        _mean_of_5(np.einsum("cyx,cyx->yx", a, b) / 3)
        for a, b in ((right, right), (down, down), (right, down))
    )
    trace = xx + yy
    coherence = np.sqrt((xx - yy) ** 2 + 4 * xy**2) / np.maximum(trace, 1e-12)
    return np.sqrt(trace), coherence


def _mean_of_5(plane: NDArray[np.float32]) -> NDArray[np.float64]:
    """Means of 5x5 pixels, where they lie inside a plane (H, W)."""
    height, width = (length - 4 for length in plane.shape)
    rows = reduce(add, [plane[start : start + height] for start in range(5)])
    sums = reduce(add, [rows[:, start : start + width] for start in range(5)])
    return np.asarray(sums, np.float64) / 25


def theta_by_gradient(
    reference: NDArray[np.floating],
    theta: NDArray[np.floating],
    calibrated: NDArray[np.floating] | None,
) -> NDArray[np.float64]:
    """Theta at edges and in textures, by gradient.

    Args:
        reference: (3, H, W) in gray levels.
        theta: The same shape, in the unit of the image.
        calibrated: The same of the calibrated theta, if there is one.

    Returns:
        ``ThetaHistograms.edges`` of the pixels that are 3 or more from the border.

    """
    shape = (len(STRUCTURES), len(GRADIENTS), 3)
    if min(reference.shape[1:]) < 7:
        return np.zeros(shape)
    gradient, coherence = structure(reference)
    index = (coherence < COHERENT) * np.intp(len(GRADIENTS)) - 1
    for lower in GRADIENTS:
        index += gradient >= lower
    inside = (slice(None), slice(3, -3), slice(3, -3))
    sums = [np.ones(index.size)]
    for values in (theta, calibrated):
        levels = 0 if values is None else values[inside].mean(axis=0, dtype=np.float64) * LEVELS
        sums.append(np.broadcast_to(levels, index.shape).ravel())
    size = shape[0] * shape[1]
    counted = [np.bincount(index.ravel(), weights=weights, minlength=size) for weights in sums]
    return np.stack(counted, axis=-1).reshape(shape).astype(np.float64)


def bin_index(values: NDArray[np.float64], bins: int, limit: float) -> NDArray[np.int64]:
    """Which of ``bins`` equal bins of [0, limit) each value >= 0 is in; beyond, the last one."""
    return np.minimum(values * (bins / limit), bins - 1).astype(np.int64)
