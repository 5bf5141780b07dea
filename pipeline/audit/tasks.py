"""The dask tasks of the audit: each reads a piece of a store, counts it, and returns the counts.

A task holds one chunk of the maps (1024x1024 LR pixels) with its HR pixels; measured, it needs at
most 450 MB.  A real LR image is processed in pieces of the same size.  The result of a task is 1 MB
of counts, and the statistics of the LR images of the pieces that are used
(``noise.statistics.Allowance``).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from operator import add
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.audit.histograms import (
    LEVELS,
    AuditSettings,
    ClosedForm,
    ThetaHistograms,
    theta_by_gradient,
    theta_histograms,
)
from pipeline.audit.noise_laws import DifferenceHistogram
from pipeline.base.boxes import Box, tiles
from pipeline.base.errors import UserError
from pipeline.base.seeding import generator
from pipeline.images.filters import bicubic_resize
from pipeline.images.io import Image, to_uint8
from pipeline.noise.statistics import SIDE, Allowance, LrStatistics, lr_statistics
from pipeline.sampling.laplace import Maps
from pipeline.sampling.sampler import Sampler
from pipeline.stores import format
from pipeline.stores.format import ARRAYS
from pipeline.stores.reader import Store
from pipeline.stores.split import held_out_box, training_box

INFINITE = 0x7C00
"""Bits of the infinite float16; a positive finite one has fewer, a negative one or NaN more."""
STRIP = 24
"""Rows and columns of the bicubic reference that one product of matrices gives."""
JPEG_GRID = 16
"""The held-out part starts on a multiple of this many pixels, so that it keeps the JPEG grid."""
HELD_OUT, TRAINING = "real, held out", "real, training part"

StatisticsBySet = dict[str, LrStatistics]
"""Statistics of sets of LR images, by name of the set."""


class ChunkCounts(NamedTuple):
    """The counts of some chunks of the maps."""

    histograms: ThetaHistograms
    lr_sets: StatisticsBySet
    """Empty if none of the chunks is used."""

    @classmethod
    def total(cls, parts: Sequence["ChunkCounts"]) -> "ChunkCounts":
        """The counts of several parts together."""
        return cls(
            reduce(add, [part.histograms for part in parts]),
            total_by_set([part.lr_sets for part in parts]),
        )

    def of_one_image(self) -> "ChunkCounts":
        """The same for chunks of one image."""
        return ChunkCounts(
            self.histograms, {name: p.of_one_image() for name, p in self.lr_sets.items()}
        )


def total_by_set(parts: Sequence[StatisticsBySet]) -> StatisticsBySet:
    """The statistics of parts together, set by set; the order is that of the first parts."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {
        name: LrStatistics.total([part[name] for part in parts if name in part]) for name in names
    }


class MapsDifference(NamedTuple):
    """Differences of two maps of an image, summed over its values, in gray levels."""

    values: int
    mean: float
    """Of |mean B - mean A|."""
    mean_shift: float
    """Of mean B - mean A."""
    theta: float
    """Of |theta B - theta A|."""
    theta_shift: float
    """Of theta B - theta A."""

    def __add__(self, other: "MapsDifference") -> "MapsDifference":  # type: ignore[override]
        return MapsDifference(
            self.values + other.values,
            self.mean + other.mean,
            self.mean_shift + other.mean_shift,
            self.theta + other.theta,
            self.theta_shift + other.theta_shift,
        )


@dataclass(frozen=True, eq=False)
class ChunkCounter:
    """Counts chunks of maps; all tasks share one."""

    maps: Store
    hr: Store
    settings: AuditSettings
    curve: ClosedForm | None
    """None where there is no closed form; see ``graph.closed_form_prior``."""
    samplers: Mapping[str, Sampler]
    """What draws the LR images, by their name; ``calibrated`` only if there is a calibration,
    ``camera`` only if the maps carry a passport."""
    allowance: Allowance

    def count(self, image_id: str, chunk: Box, piece: int) -> ChunkCounts:
        """Read one chunk of an image at once and count it.

        Args:
            image_id: The image.
            chunk: Its area on the LR grid.
            piece: Number of the chunk in the store; seeds its samples.

        Raises:
            UserError: A chunk is damaged, or a value cannot be a mean or a theta.

        """
        stored = read_maps(self.maps, image_id, chunk)
        mean, theta = stored["mean"], stored["theta"]
        reference = bicubic_reference(self.hr, "image", image_id, chunk)
        whole = theta_histograms(mean, theta, reference, chunk, self.settings, self.curve)
        unit = {name: torch.from_numpy(array).float()[None] for name, array in stored.items()}
        sampler = self.samplers.get("calibrated")
        calibrated = None if sampler is None else sampler.theta(unit)[0].numpy()
        edges = theta_by_gradient(reference, theta, calibrated)
        whole = replace(whole, edges=edges)
        if not self.allowance.enters(piece):
            return ChunkCounts(whole, {})
        images = self._images(unit, reference, piece)
        return ChunkCounts(
            whole,
            {
                name: lr_statistics(
                    image, self.allowance, generator(0, f"audit/windows/{name}", piece)
                )
                for name, image in images
            },
        )

    def _images(
        self, maps: Maps, reference: NDArray[np.float64], piece: int
    ) -> Iterator[tuple[str, Image]]:
        """The LR images of a chunk, 8-bit as real ones are, one after the other."""
        yield "bicubic", to_uint8(torch.from_numpy(reference) / LEVELS)
        for name, sampler in self.samplers.items():
            drawn = sampler.sample(maps, generator(0, f"audit/{name}", piece))
            yield name, to_uint8(drawn[0])


def chunks(maps: Store, image_id: str) -> list[Box]:
    """The chunks of an image of maps, as areas on the LR grid."""
    return list(tiles(*maps.size(image_id), format.CHUNK["maps"]))


def read_maps(maps: Store, image_id: str, box: Box) -> dict[str, NDArray[np.float16]]:
    """The arrays (3, H, W) of a part of an image by name, checked.

    Raises:
        UserError: A chunk is damaged, or a value cannot be a mean or a theta.

    """
    stored = {name: maps.read(image_id, name, box) for name in ARRAYS["maps"]}
    mean, theta = stored["mean"], stored["theta"]
    if theta.dtype != np.float16:
        raise UserError(f"{maps.path}: theta of image '{image_id}' is not float16")
    bits = theta.view(np.uint16)
    if bits.min() == 0 or bits.max() >= INFINITE or not np.isfinite(mean).all():
        wrong = (bits == 0) | (bits >= INFINITE) | ~np.isfinite(mean)
        raise UserError(
            f"{maps.path}: image '{image_id}' holds {np.sum(wrong)} values that are no "
            "maps: the mean must be finite, theta finite and positive; export the maps again"
        )
    return stored


def bicubic_reference(store: Store, name: str, image_id: str, box: Box) -> NDArray[np.float64]:
    """The bicubic reference (3, H, W) of a box of the LR grid, in gray levels, strip by strip.

    Of 8-bit images it is exact where the scale is a power of two: weights and sums fit the numbers.

    Args:
        store: Store of kind hr or val.
        name: Its array of HR pixels.
        image_id: The image.
        box: On the LR grid.

    """
    scale = store.scale
    height, width = store.size(image_id)
    halo = 2 * scale  # the reach of the bicubic kernel to either side
    area = box.times(scale)
    seen = area.grown(halo, height, width)
    image = store.read(image_id, name, seen)
    above = halo - area.top + seen.top
    beside = (halo - area.left + seen.left, halo - seen.right + area.right)
    exact = torch.float32 if scale in (2, 4) else torch.float64
    weights = _bicubic_weights(scale)
    rows, columns = box.shape
    reference = torch.empty(3, rows, columns, dtype=torch.float64)
    for strip in tiles(rows, 1, STRIP):
        first, last = strip.top * scale - above, (strip.bottom + 4) * scale - above
        beyond = (max(-first, 0), max(last - image.shape[1], 0))
        pixels = image[:, max(first, 0) : last]
        if any(beyond):
            pixels = np.pad(pixels, [(0, 0), beyond, (0, 0)], "symmetric")
        down = weights[: pixels.shape[1], : strip.bottom - strip.top].T.to(exact)
        small = torch.matmul(down, torch.from_numpy(pixels).to(exact)).numpy()
        small = np.pad(small, [(0, 0), (0, 0), beside], "symmetric")
        for part in tiles(1, columns, STRIP):
            inner = small[..., part.left * scale : (part.right + 4) * scale]
            across = weights[: inner.shape[2], : part.right - part.left]
            found = torch.matmul(torch.from_numpy(inner).double(), across)
            reference[:, strip.top : strip.bottom, part.left : part.right] = found
    return reference.numpy()


@lru_cache(maxsize=4)
def _bicubic_weights(scale: int) -> Tensor:
    """Weights ((STRIP + 4) scale, STRIP), float64, of pixels along an axis for a strip of results.

    The pixels begin two results before the strip and end two behind it.
    """
    length = (STRIP + 4) * scale
    return bicubic_resize(torch.eye(length, dtype=torch.float64), length, STRIP + 4)[:, 2:-2]


def count_real(lr: Store, image_id: str, allowance: Allowance, piece: int) -> StatisticsBySet:
    """The statistics of one real LR image: of its held-out part and of the rest.

    Args:
        lr: Store of kind lr.
        image_id: The image.
        allowance: What it may give to each of the two; shared by its pieces if it is large.
        piece: Its number in the store.

    """
    image: Image = lr.read(image_id, "image")
    held_out = held_out_box(lr, image_id)
    aligned = -(-held_out.left // JPEG_GRID) * JPEG_GRID
    if held_out.right - aligned >= 2 * JPEG_GRID:
        held_out = held_out._replace(left=aligned)
    lr_sets = {}
    for name, box in ((HELD_OUT, held_out), (TRAINING, training_box(lr, image_id))):
        part = image[box.slices]
        if part.size == 0:
            continue
        areas = list(tiles(part.shape[1], part.shape[2], SIDE))
        each = replace(
            allowance,
            blocks=-(-allowance.blocks // len(areas)),
            windows=-(-allowance.windows // len(areas)),
        )
        random = generator(0, f"audit/windows/{name}", piece)
        parts = [lr_statistics(part[area.slices], each, random) for area in areas]
        lr_sets[name] = LrStatistics.total(parts).of_one_image()
    return lr_sets


def count_pair(val: Store, image_id: str) -> DifferenceHistogram:
    """Count real LR - bicubic LR over one pair, piece by piece."""
    _, height, width = val.array(image_id, "lr").shape
    parts = []
    for box in tiles(height, width, SIDE):
        real = val.read(image_id, "lr", box).astype(np.float64)
        parts.append(DifferenceHistogram.of(real - bicubic_reference(val, "hr", image_id, box)))
    return reduce(add, parts)


def compare_maps(first: Store, second: Store, image_id: str, box: Box) -> MapsDifference:
    """How two maps of a part of an image differ."""
    one, other = (read_maps(maps, image_id, box) for maps in (first, second))
    mean, theta = (
        (other[name].astype(np.float64) - one[name].astype(np.float64)) * LEVELS
        for name in ("mean", "theta")
    )
    sums = [float(x.sum()) for x in (np.abs(mean), mean, np.abs(theta), theta)]
    return MapsDifference(mean.size, *sums)
