"""Statistics of sets of LR images, and scores of one set against another without pairs.

The statistics of a set are its signature (histogram of high-pass values and power spectrum), blocks
to estimate the noise, and windows for the classifier.  Statistics of parts of a set add up.

They are small.  At most ``PIECES`` pieces of images, spread evenly over the set, are used, and
from these together about ``BLOCKS`` blocks and ``WINDOWS`` windows.  Which pieces these are follows
from their number in the set alone, not from who reads them.  A piece is an image, or a
part of a larger one of at most ``SIDE`` by ``SIDE`` pixels.  Whatever needs pixels beyond the
border of a piece (a high-pass value, a window, the neighbour of a block) is left out.  So the
statistics take at most 60000 x 0.8 kB + 1000 x 0.8 kB = 49 MB, whether the set has 10 images or
10,000.

All intensities are in gray levels (0 to 255).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.noise.classifier import Accuracy, classifier_accuracy, windows
from pipeline.noise.estimate import (
    BLOCKS,
    LAGS,
    Blocks,
    Noise,
    cut_blocks,
    estimate_noise,
    join,
)
from pipeline.noise.matching import WINDOWS as CONTENT_WINDOWS
from pipeline.noise.matching import Content, content, like_windows
from pipeline.noise.signature import Signature, signature, spectral_distance, wasserstein
from pipeline.sampling.noise_level import noise_ratio

PIECES = 400
"""Largest number of pieces of images that are used of a set.  Scenes differ more than the pixels of
one image, so the error of a score falls with the root of the number of images: with 200, the least
that are taken of a larger set, it is a fourteenth of the spread between images."""
FEWEST_BLOCKS = 16
"""Number of blocks that every piece may give, however many pieces there are."""
WINDOWS = 1000
"""Largest number of windows of 16x16 pixels of all pieces together."""
SIDE = 1024
"""Longest side of a piece in pixels, the same as that of a chunk of the maps."""


@dataclass(frozen=True)
class Allowance:
    """How many blocks and windows each piece of a set may give."""

    every: int
    """One piece in this many is used."""
    blocks: int
    """Largest number of blocks of a piece."""
    windows: int
    """Largest number of windows of a piece."""
    content: int = 500
    """Largest number of windows of a piece whose content is measured."""

    @classmethod
    def of(cls, pieces: int) -> "Allowance":
        """The allowance of a set of this many pieces."""
        every = max(-(-pieces // PIECES), 1)
        entering = max(-(-pieces // every), 1)
        return cls(
            every,
            max(BLOCKS // entering, FEWEST_BLOCKS),
            max(WINDOWS // entering, 1),
            max(CONTENT_WINDOWS // entering, 1),
        )

    def enters(self, piece: int) -> bool:
        """Whether the piece of this number is used."""
        return piece % self.every == 0


@dataclass(frozen=True, eq=False)
class LrStatistics:
    """Statistics of a set of LR images; those of its parts add up."""

    signature: Signature
    blocks: Blocks
    """For the estimate of the noise."""
    windows: tuple[NDArray[np.uint8], ...]
    """For the classifier: (n, 3, 16, 16) of every image that has any."""
    content: Content
    """What the images show, to compare like with like."""
    measured: Noise | str | None = None
    """The noise, or why it cannot be estimated, if other images of the camera have told it; a sum
    does not keep it."""

    def __add__(self, other: "LrStatistics") -> "LrStatistics":
        return self.total([self, other])

    @classmethod
    def total(cls, parts: Sequence["LrStatistics"]) -> "LrStatistics":
        """The statistics of several parts; the blocks of all are copied once."""
        return cls(
            reduce(add, [part.signature for part in parts]),
            join([part.blocks for part in parts]),
            tuple(windows for part in parts for windows in part.windows),
            reduce(add, [part.content for part in parts]),
        )

    def of_one_image(self) -> "LrStatistics":
        """The same statistics, with all windows as those of one image.

        The classifier keeps the windows of an image in one half, so the pieces of a large image
        must count as one image.
        """
        joined = (np.concatenate(self.windows),) if self.windows else ()
        return LrStatistics(self.signature, self.blocks, joined, self.content.of_one_image())

    @cached_property
    def noise(self) -> Noise | str:
        """The noise of the set, or the reason why it cannot be estimated."""
        if self.measured is not None:
            return self.measured
        try:
            return estimate_noise(self.blocks)
        except ValueError as error:
            return str(error)


def lr_statistics(
    image: NDArray[np.uint8], allowance: Allowance, generator: torch.Generator
) -> LrStatistics:
    """The statistics of one piece.

    Args:
        image: (3, H, W), uint8 like a real LR image; at most ``SIDE`` pixels a side.
        allowance: How many blocks and windows are taken.
        generator: Draws the windows.

    Raises:
        ValueError: The image is not (3, H, W) or not uint8.

    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"expected a uint8 image (3, H, W), got {image.dtype} {image.shape}")
    drawn = windows(image, allowance.windows, generator)
    blocks = cut_blocks(image, allowance.blocks)
    return LrStatistics(
        signature(image),
        blocks,
        (drawn,) if len(drawn) else (),
        content(image, allowance.content, len(blocks)),
    )


@dataclass(frozen=True)
class LrScores:
    """Scores of a set of LR images against the real ones; None where a score cannot be computed."""

    wasserstein: float | None
    """Wasserstein distance of the high-pass values in gray levels, mean of the channels."""
    wasserstein_red: float | None
    wasserstein_green: float | None
    wasserstein_blue: float | None
    noise_level: float | None
    """Standard deviation of the noise, over the intensities of the real images, in gray levels."""
    noise_level_real: float | None
    """The same for the real images."""
    noise_level_difference: float | None
    """Root mean square, over the intensities of the real images, of the difference of the two
    standard deviations, in gray levels."""
    noise_ratio: float | None
    """``noise_level`` over ``noise_level_real``."""
    spectral_distance: float | None
    """Distance of the power spectra, in decibels."""
    neighbour_correlation_difference: float | None
    """Largest difference of the noise correlation between a pixel and one of its 8 neighbours."""
    channel_correlation_difference: float | None
    """Largest difference of the noise correlation between two channels at a pixel."""
    accuracy: float | None
    """Accuracy of a classifier of this set against the real images; 0.5: it finds no difference."""
    accuracy_low: float | None
    """Lower end of its 95 % interval."""
    accuracy_high: float | None
    """Upper end of its 95 % interval."""
    remarks: tuple[str, ...]
    """A reason for every score that could not be computed."""


def compare(real: LrStatistics, other: LrStatistics, seed: int | None) -> LrScores:
    """Score a set of LR images against real ones that are not its pairs.

    Args:
        real: Statistics of the real LR images.
        other: Statistics of the set that is scored.
        seed: Seed of the classifier, which takes seconds; None leaves it out.

    """
    remarks: list[str] = []
    channels: list[float | None] = [None, None, None]
    spectral = None
    try:
        channels = [float(d) for d in wasserstein(real.signature, other.signature)]
        spectral = spectral_distance(real.signature, other.signature)
    except ValueError as error:
        remarks.append(str(error))
    red, green, blue = channels
    known = [distance for distance in channels if distance is not None]
    levels = _noise_levels(real, other, remarks)
    neighbours, across = _correlations(real.noise, other.noise, remarks)
    found = _accuracy(real.windows, other.windows, seed, remarks)
    return LrScores(
        wasserstein=sum(known) / 3 if known else None,
        wasserstein_red=red,
        wasserstein_green=green,
        wasserstein_blue=blue,
        noise_level=levels.other,
        noise_level_real=levels.real,
        noise_level_difference=levels.difference,
        noise_ratio=noise_ratio(levels.real, levels.other),
        spectral_distance=spectral,
        neighbour_correlation_difference=neighbours,
        channel_correlation_difference=across,
        accuracy=None if found is None else found.accuracy,
        accuracy_low=None if found is None else found.low,
        accuracy_high=None if found is None else found.high,
        remarks=tuple(remarks),
    )


def neighbour_correlation(noise: Noise) -> NDArray[np.float64]:
    """Correlation (3, 9) of every channel of a pixel with itself and its eight neighbours."""
    near = noise.correlation[:, :, LAGS - 1 : LAGS + 2, LAGS - 1 : LAGS + 2]
    return np.asarray(near[range(3), range(3)].reshape(3, 9))


def channel_correlation(noise: Noise) -> NDArray[np.float64]:
    """Correlation (3, 3) of the channels at one pixel."""
    return noise.correlation[:, :, LAGS, LAGS]


class _NoiseLevels(NamedTuple):
    """Standard deviations of the noise in gray levels, over the intensities of the real images."""

    other: float | None
    real: float | None
    difference: float | None
    """Root mean square of the difference of the two."""


def _noise_levels(real: LrStatistics, other: LrStatistics, remarks: list[str]) -> _NoiseLevels:
    level = real.blocks.level
    deviations: list[NDArray[np.float64] | None] = []
    for name, lr_set in (("the real images", real), ("these images", other)):
        if isinstance(lr_set.noise, str):
            remarks.append(f"noise of {name}: {lr_set.noise}")
            deviations.append(None)
        else:
            deviations.append(np.sqrt(lr_set.noise.variance_at(level)) if len(level) else None)
    own, found = deviations
    other_level, real_level = (
        None if d is None else float(np.sqrt((d**2).mean())) for d in (found, own)
    )
    if own is None or found is None:
        return _NoiseLevels(other_level, real_level, None)
    difference = float(np.sqrt(((own - found) ** 2).mean()))
    return _NoiseLevels(other_level, real_level, difference)


def _correlations(
    real: Noise | str, other: Noise | str, remarks: list[str]
) -> tuple[float | None, float | None]:
    """Largest differences of the correlation between neighbours and between channels."""
    if isinstance(real, str) or isinstance(other, str):
        return None, None
    if not (real.flat and other.flat):
        remarks.append("correlation of the noise: it cannot be estimated without flat areas")
        return None, None
    neighbours, channels = (
        float(np.abs(of(real) - of(other)).max())
        for of in (neighbour_correlation, channel_correlation)
    )
    return neighbours, channels


def _accuracy(
    real: Sequence[NDArray[np.uint8]],
    other: Sequence[NDArray[np.uint8]],
    seed: int | None,
    remarks: list[str],
) -> Accuracy | None:
    """Accuracy of the classifier; None without a seed, or if there are too few windows."""
    if seed is None:
        return None
    both = [[w.astype(np.float64) for w in windows] for windows in like_windows(real, other)]
    try:
        return classifier_accuracy(both[0], both[1], seed)
    except ValueError as error:
        remarks.append(f"classifier: {error}")
        return None
