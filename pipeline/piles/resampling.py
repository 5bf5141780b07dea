"""The periods that an enlargement and the blocks of JPEG leave in an image.

An interpolated pixel is a mean of its neighbours with weights that depend on where it lies between
the pixels of before.  So differences between neighbours are larger and smaller in turn, with the
period of the enlargement (Gallagher, "Detection of linear and cubic interpolation in JPEG
compressed images", CRV 2005).  Second differences show it; for the factor 2, where two places are
mirror images of each other, first differences do.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.piles.detail import Luma

LENGTH = 240
"""Pixels of a stretch whose spectrum is taken; 1/2, 1/3, 1/4, 1/5 and 1/8 cycles are in it."""
BAND = 8
"""Lines that are taken together."""
MOST_LINES = 192
"""Most lines along each side."""
LIMIT = 12
"""Larger differences count as this: few edges shall not outweigh a surface."""
SMOOTH = 15
"""Pixels over which the mean of a profile is taken off."""
LOWEST = 0.15
"""Cycles per pixel below which the content of an image has periods of its own."""
BLOCKS = 8
"""Pixels of a period of JPEG, whose multiples do not count."""
TIMES_BLOCKS = 1.3
"""Least strength of the period of two pixels, in those of JPEG."""


class Period(NamedTuple):
    """A period."""

    strength: float
    """Of the peak, over the median of the spectrum."""
    cycles: float
    """Per pixel."""

    @property
    def doubled(self) -> bool:
        """Whether it has two pixels."""
        return self.cycles == 0.5

    @property
    def factors(self) -> tuple[float, ...]:
        """Enlargements that leave it, up to 4."""
        found = {round(1 / (1 - self.cycles), 2), round(1 / self.cycles, 2)}
        return tuple(sorted(factor for factor in found if factor <= 4))


class Periods(NamedTuple):
    """The periods of an image."""

    strongest: Period
    """That is none of blocks."""
    blocks: float
    """Strength of the period of eight pixels, of which 1/8 and 3/8 cycles are multiples; the weaker
    one, as blocks that were reduced by 2 have not both."""


def periods_of(luma: Luma) -> Periods | None:
    """The periods of an image (H, W), along both sides alike.

    Returns:
        None if the image is smaller than 240 pixels.

    """
    if min(luma.shape) < LENGTH:
        return None
    spectra = [_spectra(_lines(side)) for side in (luma, luma.T)]
    first, second = (np.sqrt(a * b) for a, b in zip(*spectra, strict=True))
    half, eighth = len(first) - 1, LENGTH // BLOCKS
    first /= np.median(first[half // 5 :])
    second /= np.median(second[half // 5 :])
    blocks = float(min(second[eighth], second[3 * eighth]))
    of_blocks = max(first[place + near] for place in (eighth, 3 * eighth) for near in (-1, 0, 1))
    cycles = np.arange(len(first)) / LENGTH
    apart = np.abs(cycles * BLOCKS - np.rint(cycles * BLOCKS)) * eighth > 1.5
    others = np.where(apart & (cycles >= LOWEST), second, 0)
    best = int(others.argmax())
    if first[half] > max(others[best], TIMES_BLOCKS * of_blocks):
        return Periods(Period(float(first[half]), 0.5), blocks)
    return Periods(Period(float(others[best]), float(cycles[best])), blocks)


def _lines(luma: Luma) -> Luma:
    """Bands of rows, evenly spaced: (N, W)."""
    height = len(luma)
    bands = min(height, MOST_LINES) // BAND
    starts = np.linspace(0, height - BAND, bands).astype(int)
    return np.concatenate([luma[start : start + BAND] for start in starts])


def _spectra(lines: Luma) -> list[NDArray[np.float64]]:
    """Spectra (121,) of the mean first and the mean second difference along lines."""
    first = np.abs(lines[:, 1:] - lines[:, :-1])
    second = np.abs(lines[:, 2:] - 2 * lines[:, 1:-1] + lines[:, :-2])
    return [_spectrum(np.minimum(each, LIMIT).mean(0)) for each in (first, second)]


def _spectrum(profile: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.pad(profile, SMOOTH // 2, mode="edge")
    rest = profile - np.convolve(padded, np.full(SMOOTH, 1 / SMOOTH), "valid")
    rest = np.pad(rest, (0, max(LENGTH - len(rest), 0)))
    starts = range(0, len(rest) - LENGTH + 1, LENGTH // 2)
    stretches = np.stack([rest[start : start + LENGTH] for start in starts]) * np.hanning(LENGTH)
    power = np.square(np.abs(np.fft.rfft(stretches, axis=1))).mean(0)
    return np.asarray(np.sqrt(power) + 1e-9)
