"""The tables of the audit, for the page, the CSV files and the charts."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.audit.histograms import GRADIENTS, STRUCTURES, Figures, ThetaHistograms
from pipeline.audit.noise_laws import (
    VALUES,
    DifferenceHistogram,
    FittedLaws,
    gaussian_density,
    laplace_density,
)
from pipeline.audit.verdicts import FLOOR_TIMES
from pipeline.base.boxes import Box
from pipeline.noise.estimate import KNOTS
from pipeline.noise.signature import FREQUENCIES, spectrum
from pipeline.noise.statistics import (
    LrScores,
    LrStatistics,
    channel_correlation,
    neighbour_correlation,
)
from pipeline.report.tables import Cell, Table

LESS, MORE = 0.9, 1.1
"""A noise level between these multiples of the real one counts as the same."""
NOISE_DIFFERENCE = 0.2
"""Noise of the right level whose difference exceeds this multiple of the real level is at the wrong
intensities."""
CORRELATION_DIFFERENCE = 0.1
LEAST_WASSERSTEIN, LEAST_SPECTRAL = 0.25, 1.0
"""Gray levels and decibels: smaller distances always count as none."""
MAD_TO_DEVIATION = 1.4826
"""Standard deviation of a Gaussian law over its median absolute deviation."""


class ImageRow(NamedTuple):
    """The figures of one image."""

    id: str
    height: int
    """Of the maps, in LR pixels."""
    width: int
    figures: Figures
    """By name; gray levels, shares in [0, 1]."""
    hottest: Box
    """The area of highest theta, on the LR grid."""


class Outlier(NamedTuple):
    """An image that is unlike the others."""

    id: str
    reason: str


def spectra(lr_sets: Mapping[str, LrStatistics]) -> Table:
    """Power at every frequency, mean of the channels, gray levels squared."""
    columns = [
        spectrum(lr_set.signature).mean(axis=0).tolist()
        if lr_set.signature.windows
        else [None] * len(FREQUENCIES)
        for lr_set in lr_sets.values()
    ]
    rows = zip(FREQUENCIES.tolist(), *columns, strict=True)
    return Table(["cycles per pixel", *lr_sets], [list(row) for row in rows])


def noise(lr_sets: Mapping[str, LrStatistics], real: LrStatistics) -> Table:
    """Noise standard deviation at every knot, root mean square of the channels, gray levels.

    The last column is the share of the real blocks whose intensity is nearest to the knot.
    """
    columns: list[list[float | None]] = []
    for lr_set in lr_sets.values():
        found = lr_set.noise
        known = not isinstance(found, str)
        deviations = np.sqrt(found.variance.mean(axis=0)).tolist() if known else None  # type: ignore[union-attr]
        columns.append(deviations or [None] * len(KNOTS))
    edges = (KNOTS[1:] + KNOTS[:-1]) / 2
    level = np.asarray(real.blocks.level).ravel()
    counts = np.bincount(np.searchsorted(edges, level), minlength=len(KNOTS))
    share = (counts / max(len(level), 1)).tolist()
    rows = zip(KNOTS.tolist(), *columns, share, strict=True)
    return Table(["intensity", *lr_sets, "share of the real blocks"], [list(row) for row in rows])


def correlations(lr_sets: Mapping[str, LrStatistics]) -> Table:
    """Correlation of the noise with the pixel to the right, below, and between the channels."""
    rows: list[list[Cell]] = []
    for name, lr_set in lr_sets.items():
        found = lr_set.noise
        if isinstance(found, str) or not found.flat:
            rows.append([name, *[None] * 6])
            continue
        near, across = neighbour_correlation(found).mean(axis=0), channel_correlation(found)
        numbers = (near[5], near[7], across[0, 1], across[0, 2], across[1, 2])
        rows.append([name, *(float(x) for x in numbers), found.excess_kurtosis])
    head = ["right", "below", "red and green", "red and blue", "green and blue", "excess kurtosis"]
    return Table(["images", *head], rows)


def edges(histograms: Mapping[str, ThetaHistograms], calibrated: bool) -> Table:
    """Mean theta by gradient (lower end of the bin), at edges and in textures; gray levels.

    Args:
        histograms: By what is written after "raw": nothing, or the name of other maps.
        calibrated: Whether the first holds the calibrated theta too.

    """
    first = next(iter(histograms.values())).edges
    names = [f"raw{which}" for which in histograms]
    head = ["at", "gradient", "pixels", *names, *["calibrated"] * calibrated]
    rows: list[list[Cell]] = []
    for kind, structure in enumerate(STRUCTURES):
        for place, gradient in enumerate(GRADIENTS.astype(int).tolist()):
            cells = [t.edges[kind, place] for t in histograms.values()]
            thetas = [_ratio(cell[1], cell[0]) for cell in cells]
            if calibrated:
                thetas.append(_ratio(first[kind, place, 2], first[kind, place, 0]))
            rows.append([structure, gradient, int(first[kind, place, 0]), *thetas])
    return Table(head, rows)


def _ratio(total: float, count: float) -> float | None:
    return float(total / count) if count else None


def difference(counted: DifferenceHistogram, fitted: FittedLaws) -> Table:
    """Share of the values in bins of one gray level, and of both laws."""
    shared = np.array([0.5, 1, 1, 1, 0.5])  # a fine bin on the border of two belongs to both
    bins, counts = VALUES[::4], np.convolve(counted.counts, shared, "same")[::4]
    used = np.flatnonzero(counts)
    kept = slice(int(used[0]), int(used[-1]) + 1)
    fine = (np.arange(20) - 9.5) / 20
    laws = [
        density(bins[kept, None] + fine, fitted).mean(axis=1)
        for density in (laplace_density, gaussian_density)
    ]
    columns = (bins[kept], counts[kept] / counts.sum(), *laws)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return Table(["gray levels", "share", "Laplace", "Gaussian"], [list(row) for row in rows])


def outliers(rows: Sequence[ImageRow], limit: float) -> list[Outlier]:
    """Images whose theta or distance is far from the median over the images.

    The robust z-score of a value is its distance from the median over the median absolute
    deviation times 1.4826.  Where more than half of the values are alike there is none.
    """
    found = []
    names = {"theta_mean": "mean theta", "distance_mean": "mean |mean − bicubic|"}
    for key, words in names.items():
        values = np.array([row.figures[key] for row in rows])
        median = np.median(values)
        spread = MAD_TO_DEVIATION * np.median(np.abs(values - median))
        if spread == 0:
            continue
        for row, value in zip(rows, values.tolist(), strict=True):
            score = (value - median) / spread
            if abs(score) > limit:
                reason = (
                    f"{words} is {value:.2f} gray levels, the median of all images is "
                    f"{median:.2f} (z = {'−' if score < 0 else ''}{abs(score):.1f})"
                )
                found.append((abs(score), Outlier(row.id, reason)))
    return [outlier for _, outlier in sorted(found, key=lambda pair: -pair[0])]


def findings(scores: LrScores, floor: LrScores | None) -> list[str]:
    """The faults of a set of LR images, the outcome of the classifier, and the missing scores.

    Args:
        scores: The scores of the set.
        floor: The scores of two parts of the real images, if there are any.

    Returns:
        A sentence for each finding.

    """
    said = [
        *_noise_faults(scores),
        *_distance(
            "The spectra differ",
            scores.spectral_distance,
            None if floor is None else floor.spectral_distance,
            LEAST_SPECTRAL,
            "dB",
        ),
        *_distance(
            "The high-pass values differ",
            scores.wasserstein,
            None if floor is None else floor.wasserstein,
            LEAST_WASSERSTEIN,
            "gray levels",
        ),
    ]
    if scores.accuracy is not None and scores.accuracy_low is not None:
        low, high = scores.accuracy_low, scores.accuracy_high
        interval = f"{scores.accuracy:.2f} ({low:.2f} to {high:.2f})"
        if scores.accuracy_low > 0.5:
            said.append(f"A classifier tells them apart from real images: accuracy {interval}.")
        else:
            said.append(f"The classifier finds no difference: accuracy {interval}.")
    return said + [f"Not scored: {remark}." for remark in scores.remarks]


def _noise_faults(scores: LrScores) -> list[str]:
    said = []
    level, real, off = scores.noise_level, scores.noise_level_real, scores.noise_level_difference
    if level is not None and real is not None and off is not None:
        against = f"{level:.1f} against {real:.1f} gray levels"
        if not LESS <= level / real <= MORE:
            amount = "less" if level < real else "more"
            said.append(f"They carry {amount} noise than the real images: {against}.")
        elif off > NOISE_DIFFERENCE * real:
            said.append(f"The noise is at the wrong intensities: off by {off:.1f} of {real:.1f}.")
    for words, value in (
        ("between neighbouring pixels", scores.neighbour_correlation_difference),
        ("between the channels", scores.channel_correlation_difference),
    ):
        if value is not None and value > CORRELATION_DIFFERENCE:
            said.append(f"The correlation of the noise {words} differs: by {value:.2f}.")
    return said


def _distance(
    words: str, value: float | None, floor: float | None, least: float, unit: str
) -> list[str]:
    limit = max(FLOOR_TIMES * (floor or 0.0), least)
    if value is None or value <= limit:
        return []
    known = "" if floor is None else f", two parts of the real images by {floor:.2f}"
    return [f"{words}: by {value:.2f} {unit}{known}; other scenes count too."]
