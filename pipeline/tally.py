"""What the audit counts in a piece of ``maps.zarr``: tallies that add up, and figures of them.

Theta is float16 in the store: counting each of its values makes its mean, spread and percentiles
exact, in whatever pieces it was counted.  All figures are in gray levels (unit of the image times
255) and taken over the three channels of every LR pixel.
"""

from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from pipeline.errors import UserError
from pipeline.filters import bicubic_downsample
from pipeline.laplace import optimal_scale
from pipeline.settings import Settings
from pipeline.stores import Store
from pipeline.tiling import Box, tiles

Statistics = dict[str, float]
"""Figures by name."""

LEVELS = 255
PERCENTILES = (5, 50, 95)
TILE = 128
"""Side in LR pixels of the areas in which a chunk is worked through."""
THETA_VALUES = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64) * LEVELS
"""Gray levels of every theta a store can hold, ascending; the index is its float16 bit pattern."""


class AuditSettings(Settings):
    """The section ``audit``."""

    worst_images: int = Field(ge=0)
    """How many images, those of the highest mean theta, are pictured; about 0.4 MB of page each."""
    bins: int = Field(ge=2, le=500)
    """Bins of every axis of the histograms."""
    theta_limit: float = Field(gt=0)
    """Upper end of the theta axis in gray levels; the last bin also counts what lies beyond."""
    distance_limit: float = Field(gt=0)
    """Upper end of the |mean - bicubic| axis in gray levels; the last bin counts what is beyond."""


class ClosedForm:
    """The scale that minimises Eq. 2 for a distance, by interpolation in a table.

    Within 1e-4 gray levels of ``optimal_scale`` up to 1000 times the prior, and far faster.

    Args:
        prior: Laplace scale of the reference in gray levels.

    """

    def __init__(self, prior: float) -> None:
        self.distance = prior * np.expm1(np.linspace(0, np.log(1e8), 2**14))
        self.scale = optimal_scale(self.distance, prior)

    def __call__(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """The best theta for distances of any shape; both in gray levels."""
        return np.interp(distance, self.distance, self.scale)


@dataclass(frozen=True, eq=False)
class Tally:
    """What was counted in a part of the maps; parts add up.  Sums are in gray levels."""

    theta: NDArray[np.int64]
    """(3, 31744): how often each of ``THETA_VALUES`` occurs in each channel."""
    joint: NDArray[np.int64]
    """(bins, bins): values by |mean - bicubic| (rows) and theta (columns)."""
    theta_by_distance: NDArray[np.float64]
    """(bins,): sum of theta by |mean - bicubic|."""
    sums: NDArray[np.float64]
    """(4, 3): |d|, d, |theta - closed form|, number of means outside [0, 1]; per channel."""
    hottest: tuple[float, Box]
    """The tile with the highest sum of theta: that sum, and where it is on the LR grid."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.theta + other.theta,
            self.joint + other.joint,
            self.theta_by_distance + other.theta_by_distance,
            self.sums + other.sums,
            self.hottest if self.hottest[0] >= other.hottest[0] else other.hottest,
        )


def statistics(tally: Tally, settings: AuditSettings, channel: int | None = None) -> Statistics:
    """Figures of a tally, of one channel or of all three; in gray levels, shares in [0, 1].

    ``theta_mean``, ``theta_std``, ``theta_p05``, ``theta_p50``, ``theta_p95`` (nearest rank),
    ``theta_max``, ``theta_high_share`` (theta at or above ``theta_limit``), ``distance_mean`` (of
    |mean - bicubic|), ``mean_shift`` (of mean - bicubic), ``mean_outside_share`` (mean outside
    [0, 1]) and, where theta was learned, ``closed_form_gap`` (of |theta - its optimum|).
    """
    part = slice(None) if channel is None else slice(channel, channel + 1)
    counts = tally.theta[part].sum(axis=0)
    number, rank = int(counts.sum()), np.cumsum(counts)
    places = {q: np.searchsorted(rank, -(-number * q // 100)) for q in PERCENTILES}
    mean = float(counts @ THETA_VALUES) / number
    distance, shift, gap, outside = (float(total) / number for total in tally.sums[:, part].sum(1))
    result = {
        "theta_mean": mean,
        "theta_std": float(np.sqrt(counts @ (THETA_VALUES - mean) ** 2 / number)),
        **{f"theta_p{q:02}": float(THETA_VALUES[place]) for q, place in places.items()},
        "theta_max": float(THETA_VALUES[np.flatnonzero(counts)[-1]]),
        "theta_high_share": int(counts[settings.theta_limit <= THETA_VALUES].sum()) / number,
        "distance_mean": distance,
        "mean_shift": shift,
        "mean_outside_share": outside,
    }
    return result if np.isnan(gap) else {**result, "closed_form_gap": gap}


@dataclass(frozen=True, eq=False)
class Reader:
    """Tallies blocks of images; what every dask task shares."""

    maps: Store
    hr: Store
    settings: AuditSettings
    curve: ClosedForm | None
    """None where theta was not learned; the gap to it is then not a number."""

    def blocks(self, image_id: str) -> list[Box]:
        """The chunks of an image, as areas on the LR grid."""
        height, width = self.maps.size(image_id)
        return list(tiles(height, width, max(self.maps.array(image_id, "mean").chunks)))

    def block(self, image_id: str, block: Box) -> Tally:
        """Read one block of an image at once and tally it in tiles.

        Raises:
            UserError: A chunk is damaged, or a value cannot be a mean or a theta.

        """
        mean, theta = (self.maps.read(image_id, name, block) for name in ("mean", "theta"))
        self._require_maps(image_id, mean, theta)
        height, width = mean.shape[1:]
        scale, size = self.hr.scale, self.hr.size(image_id)
        halo = 4 * scale  # the bicubic kernel reaches 2 scale pixels to either side
        seen = block.times(scale).grown(halo, *size)
        image = self.hr.read(image_id, "image", seen)
        parts = []
        for tile in tiles(height, width, TILE):
            area = Box(
                tile.top + block.top,
                tile.bottom + block.top,
                tile.left + block.left,
                tile.right + block.left,
            )
            outer = area.times(scale).grown(halo, *size)
            pixels = torch.from_numpy(image[outer.within(seen).slices]).double()
            reference = bicubic_downsample(pixels, scale).numpy()
            inside = area.within(outer.over(scale)).slices
            parts.append(self.tally(mean[tile.slices], theta[tile.slices], reference[inside], area))
        return reduce(add, parts)

    def tally(
        self,
        mean: NDArray[np.float16],
        theta: NDArray[np.float16],
        reference: NDArray[np.float64],
        area: Box,
    ) -> Tally:
        """Tally one area.

        Args:
            mean: (3, H, W), in the unit of the image.
            theta: The same shape and unit.
            reference: The same shape, in gray levels.
            area: Where it is on the LR grid.

        """
        bins = self.settings.bins
        levels = theta.astype(np.float64) * LEVELS
        shift = mean.astype(np.float64) * LEVELS - reference
        distance = np.abs(shift)
        gap = np.full_like(levels, np.nan) if self.curve is None else self.curve(distance) - levels
        row = bin_index(distance, bins, self.settings.distance_limit).ravel()
        column = bin_index(levels, bins, self.settings.theta_limit).ravel()
        counts = [
            np.bincount(x.ravel(), minlength=len(THETA_VALUES)) for x in theta.view(np.uint16)
        ]
        each = (distance, shift, np.abs(gap), (mean < 0) | (mean > 1))
        return Tally(
            np.stack(counts),
            np.bincount(row * bins + column, minlength=bins * bins).reshape(bins, bins),
            np.bincount(row, weights=levels.ravel(), minlength=bins).astype(np.float64),
            np.stack([values.sum(axis=(1, 2), dtype=np.float64) for values in each]),
            (float(levels.sum()), area),
        )

    def _require_maps(
        self, image_id: str, mean: NDArray[np.floating], theta: NDArray[np.floating]
    ) -> None:
        if theta.dtype != np.float16:
            raise UserError(f"{self.maps.path}: theta of image '{image_id}' is not float16")
        good = np.isfinite(mean) & np.isfinite(theta) & (theta > 0)
        if not good.all():
            raise UserError(
                f"{self.maps.path}: image '{image_id}' holds {np.sum(~good)} values that are no "
                "maps: the mean must be finite, theta finite and positive; export it again"
            )


def bin_index(values: NDArray[np.float64], bins: int, limit: float) -> NDArray[np.int64]:
    """Which of ``bins`` equal bins of [0, limit) each value >= 0 is in; beyond, the last one."""
    return np.minimum(values * (bins / limit), bins - 1).astype(np.int64)
