"""Audit: what mean and theta in ``maps.zarr`` look like, as tables, numbers and one page.

One dask task reads one chunk of the maps and the HR pixels under it; the counts are merged image by
image, then over all images, always in the same order.  So memory is bounded by a few chunks per
worker and no figure depends on the number of workers.  Theta is float16 in the store: counting each
of its values makes its mean, spread and percentiles exact.  All figures are in gray levels (unit
of the image times 255) and taken over the three channels of every LR pixel.
"""

import csv
import json
import shutil
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dask.base import compute
from dask.delayed import delayed
from numpy.typing import NDArray
from pydantic import Field
from tqdm.dask import TqdmCallback

from pipeline.audit_page import ImageRow, Statistics, Summary, cut_panels, render
from pipeline.errors import UserError
from pipeline.filters import bicubic_downsample
from pipeline.laplace import optimal_scale
from pipeline.settings import Settings
from pipeline.stores import Store, replace_folder, require_same_scale
from pipeline.tiling import Box, tiles

LEVELS = 255
CHANNELS = ("red", "green", "blue")
PERCENTILES = (5, 50, 95)
TILE = 128
"""Side in LR pixels of the areas in which a chunk is worked through."""
THETA_VALUES = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64) * LEVELS
"""Gray levels of every theta a store can hold, ascending; the index is its float16 bit pattern."""
FILES = ("images.csv", "summary.json", "index.html")


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


def audit(maps: Store, hr: Store, settings: AuditSettings, folder: Path) -> dict[str, float]:
    """Measure all maps of a store and write ``images.csv``, ``summary.json`` and ``index.html``.

    Runs on dask's threads, or on whatever scheduler ``dask.config`` names.

    Args:
        maps: Store of kind maps.
        hr: The store of kind hr it was exported from; gives the bicubic reference.
        settings: The section ``audit``.
        folder: Where the three files go; what an earlier audit wrote there is replaced.

    Returns:
        Metrics: number of images and of LR pixels, and ``statistics`` of all images together.

    Raises:
        UserError: The stores do not belong together, a chunk is damaged or holds values that are no
            maps, or the folder holds something else or cannot be written.

    """
    prior = _require_fit(maps, hr)
    _require_ours(folder)
    rows, total = _measure_all(maps, hr, settings, None if prior is None else ClosedForm(prior))
    pixels = sum(row.height * row.width for row in rows)
    metrics = {"images": len(rows), "lr_pixels": pixels, **statistics(total, settings)}
    summary = _summarise(maps, hr, settings, prior, total, metrics)
    worst = sorted(rows, key=lambda row: -row.statistics["theta_mean"])
    panels = [cut_panels(maps, hr, row) for row in worst[: settings.worst_images]]
    _write(folder, rows, summary, render(summary, worst, panels))
    return metrics


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


def _require_fit(maps: Store, hr: Store) -> float | None:
    """The prior scale in gray levels, None where theta is constant; the stores belong together."""
    require_same_scale(maps, hr)
    try:
        digest, reference, dsn = (
            maps.attributes[k] for k in ("hr_digest", "reference", "dsn_settings")
        )
        prior = float(dsn["prior_scale"]) if dsn["learn_theta"] else None
    except (KeyError, TypeError) as error:
        raise UserError(f"{maps.path}: does not say how it was made: {error}") from error
    if digest != hr.digest:
        raise UserError(
            f"{maps.path} was not exported from {hr.path} as it is now; export it again"
        )
    if reference != "bicubic":
        raise UserError(f"{maps.path} has the reference '{reference}'; the audit knows 'bicubic'")
    if not maps.ids:
        raise UserError(f"{maps.path}: holds no images")
    for image_id in maps.ids:
        expected = tuple(length * maps.scale for length in maps.size(image_id))
        if image_id not in hr.ids or hr.size(image_id) != expected:
            raise UserError(f"{hr.path}: has no image '{image_id}' of {expected} pixels")
    return prior


def _require_ours(folder: Path) -> None:
    """What is in the folder will be replaced, so it may hold nothing but an earlier audit."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file, expected a folder")
    foreign = sorted({path.name for path in folder.glob("*")} - set(FILES))
    if foreign:
        raise UserError(f"{folder}: holds other files ({foreign[0]}); name a new or empty folder")


def _measure_all(
    maps: Store, hr: Store, settings: AuditSettings, curve: ClosedForm | None
) -> tuple[list[ImageRow], Tally]:
    reader = Reader(maps, hr, settings, curve)
    row, block = delayed(_row), delayed(reader.block, traverse=False)
    rows, tallies = [], []
    for image_id in maps.ids:
        tally = _tree([block(image_id, area) for area in reader.blocks(image_id)])
        rows.append(row(image_id, maps.size(image_id), tally, settings))
        tallies.append(tally)
    with TqdmCallback(desc="audit", unit="task"):
        measured, total = compute(rows, _tree(tallies))  # type: ignore[no-untyped-call]
    return measured, total


def _tree(parts: list[Any], width: int = 8) -> Any:
    """Add delayed tallies, ``width`` at a time, in an order that depends on their number only."""
    merge = delayed(lambda some: reduce(add, some))
    while len(parts) > 1:
        parts = [merge(parts[start : start + width]) for start in range(0, len(parts), width)]
    return parts[0]


def _row(image_id: str, size: tuple[int, int], tally: Tally, settings: AuditSettings) -> ImageRow:
    return ImageRow(image_id, *size, statistics(tally, settings), tally.hottest[1])


def _summarise(
    maps: Store,
    hr: Store,
    settings: AuditSettings,
    prior: float | None,
    total: Tally,
    metrics: Statistics,
) -> Summary:
    bins = settings.bins
    distances = np.linspace(0, settings.distance_limit, bins + 1)
    place = bin_index(THETA_VALUES, bins, settings.theta_limit)
    counts = [np.bincount(place, part, bins).astype(int).tolist() for part in total.theta]
    per_distance = total.joint.sum(axis=1).tolist()
    sums = zip(total.theta_by_distance.tolist(), per_distance, strict=True)
    described = ("digest", "hr_digest", "dsn_hash", "dsn_settings", "reference", "relative_error")
    return Summary(
        source={
            "maps": str(maps.path),
            "hr": str(hr.path),
            "scale": maps.scale,
            **{key: maps.attributes.get(key) for key in described},
        },
        settings=settings.model_dump(),
        prior_scale=prior,
        metrics=metrics,
        channels={name: statistics(total, settings, i) for i, name in enumerate(CHANNELS)},
        theta_edges=np.linspace(0, settings.theta_limit, bins + 1).tolist(),
        theta_counts=dict(zip(CHANNELS, counts, strict=True)),
        distance_edges=distances.tolist(),
        joint_counts=total.joint.tolist(),
        mean_theta=[total / count if count else None for total, count in sums],
        closed_form=None if prior is None else optimal_scale(distances, prior).tolist(),
    )


def _write(folder: Path, rows: list[ImageRow], summary: Summary, page: str) -> None:
    """Write the three files under another name; the folder appears when it is whole."""
    partial = folder.with_name(folder.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with (partial / FILES[0]).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "height", "width", *rows[0].statistics])
            for row in rows:
                writer.writerow([row.id, row.height, row.width, *row.statistics.values()])
        (partial / FILES[1]).write_text(json.dumps(asdict(summary)) + "\n", encoding="utf-8")
        (partial / FILES[2]).write_text(page, encoding="utf-8")
        replace_folder(partial, folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from error
