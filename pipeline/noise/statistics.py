"""Piles of LR images: what is counted of them, and how far two piles are apart.

A pile holds what scores without pairs need: high-pass values and spectra (``signature``), blocks
for the noise (``estimate``) and windows for the ``classifier``.  Piles add up, image by image, and
stay small: at most ``PIECES`` pieces of images enter, evenly spread over all of them, and of those
together about ``BLOCKS`` blocks and ``WINDOWS`` windows.  A piece is an image, or a part of at
most ``SIDE`` by ``SIDE`` pixels of a larger one; what crosses the border of a piece (the high-pass
there, a window, a block's neighbours) is left out.

So a pile takes at most 60000 x 0.8 kB + 1000 x 0.8 kB = 49 MB, of 10 images or of 10,000.  All
levels are in gray levels (0 to 255).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.noise.classifier import two_sample_accuracy, windows
from pipeline.noise.estimate import (
    BLOCKS,
    LAGS,
    Blocks,
    Noise,
    cut_blocks,
    estimate_noise,
    join,
)
from pipeline.noise.signature import Signature, signature, spectral_distance, wasserstein

Three = tuple[float | None, float | None, float | None]
Four = tuple[float | None, float | None, float | None, float | None]

PIECES = 1000
"""Pieces of images that enter a pile at most."""
FEWEST_BLOCKS = 16
"""Blocks of a piece are not cut down to fewer."""
WINDOWS = 1000
"""Windows of 16x16 pixels of all pieces together, at most."""
SIDE = 1024
"""Longest side of a piece in pixels; the chunks of the maps are as large."""


@dataclass(frozen=True)
class Allowance:
    """How much every piece may give to a pile."""

    every: int
    """Only one piece in so many enters."""
    blocks: int
    windows: int

    @classmethod
    def of(cls, pieces: int) -> "Allowance":
        """The allowance of a pile that is made from so many pieces."""
        every = max(-(-pieces // PIECES), 1)
        entering = max(-(-pieces // every), 1)
        return cls(every, max(BLOCKS // entering, FEWEST_BLOCKS), max(WINDOWS // entering, 1))

    def enters(self, piece: int) -> bool:
        """Whether a piece, by its number, enters."""
        return piece % self.every == 0


@dataclass(frozen=True, eq=False)
class Pile:
    """What was counted in some LR images; piles add up."""

    signature: Signature
    blocks: Blocks
    windows: tuple[NDArray[np.uint8], ...]
    """(n, 3, 16, 16) of every image that has any."""

    def __add__(self, other: "Pile") -> "Pile":
        return Pile(
            self.signature + other.signature,
            join([self.blocks, other.blocks]),
            self.windows + other.windows,
        )

    def of_one_image(self) -> "Pile":
        """The same for pieces of one image: the classifier may not know an image from a piece."""
        joined = (np.concatenate(self.windows),) if self.windows else ()
        return Pile(self.signature, self.blocks, joined)

    @cached_property
    def noise(self) -> Noise | str:
        """The noise of the pile, or why it cannot be estimated, in words."""
        try:
            return estimate_noise(self.blocks)
        except ValueError as error:
            return str(error)


def pile_of(image: NDArray[np.uint8], allowance: Allowance, generator: torch.Generator) -> Pile:
    """Count one piece.

    Args:
        image: (3, H, W), 8-bit, as every real LR image is; at most ``SIDE`` pixels a side.
        allowance: What it may give.
        generator: Randomness of the choice of windows.

    Raises:
        ValueError: The image is no 8-bit image of three channels.

    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"expected a uint8 image (3, H, W), got {image.dtype} {image.shape}")
    levels = image.astype(np.float64)
    drawn = windows(levels, allowance.windows, generator).astype(np.uint8)
    return Pile(
        signature(levels), cut_blocks(levels, allowance.blocks), (drawn,) if len(drawn) else ()
    )


@dataclass(frozen=True)
class Scores:
    """How far a pile of LR images is from the real ones; None where something has no answer."""

    wasserstein: float | None
    """Distance of the high-pass values in gray levels, mean of the channels."""
    wasserstein_red: float | None
    wasserstein_green: float | None
    wasserstein_blue: float | None
    noise_level: float | None
    """Noise standard deviation in gray levels at the intensities of the real images."""
    noise_level_real: float | None
    """The same of the real images."""
    noise_level_difference: float | None
    """Root mean square of the difference of the two over the real intensities, gray levels."""
    spectral_distance: float | None
    """Of the power spectra, in decibels."""
    neighbour_correlation_difference: float | None
    """Largest difference of the noise correlation of a pixel with one of its eight neighbours."""
    channel_correlation_difference: float | None
    """Largest difference of the noise correlation between channels at a pixel."""
    accuracy: float | None
    """Of a classifier that tells the pile from the real images; 0.5 where it cannot."""
    accuracy_low: float | None
    """Lower end of its 95 % interval."""
    accuracy_high: float | None
    """Upper end."""
    remarks: tuple[str, ...]
    """Why something has no answer, in words."""


def compare(real: Pile, other: Pile, seed: int | None) -> Scores:
    """Score a pile against one of real LR images that are not its pairs.

    Args:
        real: The reference.
        other: What is scored.
        seed: Of the classifier, which takes seconds; None leaves it out.

    """
    remarks: list[str] = []
    distances: Four = (None, None, None, None)
    spectral = None
    try:
        red, green, blue = (float(d) for d in wasserstein(real.signature, other.signature))
        distances = ((red + green + blue) / 3, red, green, blue)
        spectral = spectral_distance(real.signature, other.signature)
    except ValueError as error:
        remarks.append(str(error))
    return Scores(
        *distances,
        *_noise_levels(real, other, remarks),
        spectral,
        *_correlations(real.noise, other.noise, remarks),
        *_accuracy(real.windows, other.windows, seed, remarks),
        tuple(remarks),
    )


def neighbour_correlation(noise: Noise) -> NDArray[np.float64]:
    """Correlation (3, 9) of every channel of a pixel with itself and its eight neighbours."""
    near = noise.correlation[:, :, LAGS - 1 : LAGS + 2, LAGS - 1 : LAGS + 2]
    return np.asarray(near[range(3), range(3)].reshape(3, 9))


def channel_correlation(noise: Noise) -> NDArray[np.float64]:
    """Correlation (3, 3) of the channels at one pixel."""
    return noise.correlation[:, :, LAGS, LAGS]


def _noise_levels(real: Pile, other: Pile, remarks: list[str]) -> Three:
    """Level of the other, of the real, and their distance, over the real intensities."""
    level = real.blocks.level
    deviations: list[NDArray[np.float64] | None] = []
    for name, pile in (("the real images", real), ("these images", other)):
        if isinstance(pile.noise, str):
            remarks.append(f"noise of {name}: {pile.noise}")
            deviations.append(None)
        else:
            deviations.append(np.sqrt(pile.noise.variance_at(level)) if len(level) else None)
    own, found = deviations
    other_level, real_level = (
        None if d is None else float(np.sqrt((d**2).mean())) for d in (found, own)
    )
    if own is None or found is None:
        return other_level, real_level, None
    return other_level, real_level, float(np.sqrt(((own - found) ** 2).mean()))


def _correlations(
    real: Noise | str, other: Noise | str, remarks: list[str]
) -> tuple[float | None, float | None]:
    """Largest differences among neighbours and between channels."""
    if isinstance(real, str) or isinstance(other, str):
        return None, None
    if not (real.flat and other.flat):
        remarks.append("correlation of the noise: without flat areas it cannot be estimated")
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
) -> Three:
    """Accuracy of the classifier and the ends of its interval."""
    if seed is None:
        return None, None, None
    both = [[w.astype(np.float64) for w in windows] for windows in (real, other)]
    try:
        found = two_sample_accuracy(both[0], both[1], seed)
    except ValueError as error:
        remarks.append(f"classifier: {error}")
        return None, None, None
    return found.accuracy, found.low, found.high
