"""What a camera alone puts into the statistics of a pile: the logarithms of its transfer."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipeline.camera.optics import ANGLES, Array, Optics, gaussian
from pipeline.camera.spectra import BANDS, SECTORS, rings

TINY = 1e-6
"""Least amplitude whose logarithm is taken."""
TURNS = (-0.26, 0.0, 0.26)
"""Angles of a sector around its middle, in radians."""
IN_BAND = 5
"""Frequencies of a band."""


@dataclass(frozen=True, eq=False)
class _Places:
    """Frequencies at which the lens is evaluated, in cycles per LR pixel; all are flat."""

    fy: Array
    fx: Array
    pixel: Array
    """Transfer of a pixel."""
    band: Array
    """(bands, frequencies): radial frequencies of the sectors."""


@lru_cache(maxsize=1)
def _places() -> _Places:
    """The rings in all directions, then the sectors (band, sector, turn, frequency)."""
    band = np.array([np.linspace(low, high, IN_BAND) for low, high in BANDS])
    middles = np.arange(SECTORS) * math.pi / SECTORS
    angles = (middles[:, None] + np.array(TURNS))[None, :, :, None]
    radius = band[:, None, None, :]
    around, f = ANGLES[:, None], rings()
    fy = np.append(f * np.sin(around), radius * np.sin(angles))
    fx = np.append(f * np.cos(around), radius * np.cos(angles))
    return _Places(fy, fx, np.sinc(fx) * np.sinc(fy), band)


def analytic(optics: Optics) -> Array:
    """The camera's part in the statistics.

    Returns:
        (2 rings + 8,): logarithms of the amplitude, in the order of ``Spectra.vector``.

    """
    lens, sectors = _lens(optics)
    power = sectors * optics.mask(_places().band)[:, None, None, :] ** 2
    logs = np.log(power.mean(axis=(2, 3)) + TINY**2) / 2
    directions = logs - logs.mean(axis=1, keepdims=True)
    luma = np.log(lens * optics.mask(rings()) + TINY)
    chroma = np.log(lens * gaussian(rings(), optics.chroma) + TINY)
    return np.concatenate([luma, chroma, directions.ravel()])


def analytic_chroma(optics: Optics, smoothings: Array) -> Array:
    """The part of the colour differences for many variances that smooth them.

    Args:
        optics: The camera; its own variance does not count.
        smoothings: (N,), in LR pixels squared.

    Returns:
        (N, rings).

    """
    return np.asarray(np.log(_lens(optics)[0] * gaussian(rings(), smoothings[:, None]) + TINY))


def _lens(optics: Optics) -> tuple[Array, Array]:
    """The lens's amplitude at the rings, and its power at (band, sector, turn, frequency)."""
    places = _places()
    power = (optics.blurred(places.fy, places.fx) * places.pixel) ** 2
    count = len(ANGLES) * len(rings())
    around = power[:count].reshape(len(ANGLES), -1).mean(axis=0)
    return np.sqrt(around), power[count:].reshape(len(BANDS), SECTORS, len(TURNS), IN_BAND)
