"""The graph of all tasks of an audit: one per chunk of maps, per real LR image and per pair.

Counts are merged image by image, then over all images, always in the same order, so no figure
depends on the number of workers.  Memory is bounded by a few chunks per worker (see
``audit.tasks``) and by the statistics of the sets of LR images, of at most 49 MB each (see
``noise.statistics``).  Of every image only a row of figures is kept.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, Literal, NamedTuple

from dask.base import compute
from dask.delayed import delayed
from tqdm.dask import TqdmCallback

from pipeline.audit.histograms import AuditSettings, ClosedForm, ThetaHistograms, figures
from pipeline.audit.noise_laws import DifferenceHistogram
from pipeline.audit.tables import ImageRow
from pipeline.audit.tasks import (
    HELD_OUT,
    ChunkCounter,
    ChunkCounts,
    MapsDifference,
    StatisticsBySet,
    chunks,
    compare_maps,
    count_pair,
    count_real,
    total_by_set,
)
from pipeline.base.boxes import Box
from pipeline.base.errors import UserError
from pipeline.base.seeding import one_thread
from pipeline.dsn.file import describe
from pipeline.noise.statistics import Allowance
from pipeline.sampling.sampler import Sampler
from pipeline.stores.reader import Store

AREA = 2**17
"""LR pixels of small images that one task reads together, about."""


@dataclass(frozen=True)
class AuditInputs:
    """What an audit reads."""

    maps: Store
    """Store of kind maps."""
    hr: Store
    """The store of kind hr it was exported from; gives the bicubic reference."""
    lr: Store
    """Store of kind lr: the real LR images."""
    calibration: Path | None = None
    """A calibration of these maps."""
    val: Store | None = None
    """Store of kind val: pairs, for the difference of real and bicubic LR; one of kind lr, which
    has no references, counts as none."""
    against: Store | None = None
    """Other maps of the same HR images."""


@dataclass(frozen=True, eq=False)
class Measured:
    """The results of all tasks."""

    rows: list[ImageRow]
    total: ThetaHistograms
    other_rows: list[ImageRow] | None
    other_total: ThetaHistograms | None
    differences: list[MapsDifference]
    """Of every image, if there are other maps."""
    lr_sets: StatisticsBySet
    """The held-out real images first."""
    pairs: DifferenceHistogram | None


@contextmanager
def workers(scheduler: str | None, report: Path | None = None) -> Iterator[Any]:
    """The scheduler for dask: threads with a progress bar, or a cluster.

    Args:
        scheduler: Address of a dask.distributed scheduler; None for threads, or whatever
            ``dask.config`` names.
        report: HTML file for dask's performance report.

    Yields:
        The argument ``scheduler`` of ``compute``.

    Raises:
        UserError: No scheduler answers, or the report cannot be made.

    """
    if report is not None:
        from pipeline.parallel.dask_workers import reported

        with reported(scheduler, report) as client:
            yield client
        return
    if scheduler is None:
        with one_thread(), TqdmCallback(desc="audit", unit="task"):
            yield None
        return
    from pipeline.parallel.dask_workers import connected

    with connected(scheduler) as client:
        yield client


def prior_scale_gray(maps: Store) -> float | Literal["camera"] | None:
    """The prior scale in gray levels; ``camera``: every pixel has its own; None: constant theta."""
    dsn = describe(maps)
    return dsn.prior_scale_gray if dsn.constant_theta is None else None


def closed_form_prior(maps: Store) -> float | None:
    """The prior scale in gray levels where theta has a closed form of |mean - bicubic| (Eq. 2).

    None where theta is constant, and where the DSN was trained on another reference than bicubic or
    with a prior per pixel.
    """
    prior = prior_scale_gray(maps)
    return None if prior == "camera" or describe(maps).reference != "bicubic" else prior


def measure(
    inputs: AuditInputs, settings: AuditSettings, samplers: Mapping[str, Sampler], scheduler: Any
) -> Measured:
    """Build the graph of all tasks and run it on the scheduler that ``workers`` gave."""
    own = _graph(inputs.maps, inputs.hr, settings, samplers)
    other: Any = None
    differences: list[Any] = []
    if inputs.against is not None:
        plain = {name: samplers[name] for name in ("mean", "raw")}
        other = _graph(inputs.against, inputs.hr, settings, plain)
        differences = _difference_graph(inputs.maps, inputs.against)
    real = _real_graph(inputs.lr)
    pairs = None if inputs.val is None else _pair_graph(inputs.val)
    own, other, differences, real, pairs = compute(  # type: ignore[no-untyped-call]
        own, other, differences, real, pairs, scheduler=scheduler
    )
    lr_sets = {**real, **own.counted.lr_sets}
    if HELD_OUT not in lr_sets:
        raise UserError(f"{inputs.lr.path}: no image has a part of 4 columns to be held out")
    if other is not None:
        kept = {name: lr_set for name, lr_set in other.counted.lr_sets.items() if name != "bicubic"}
        lr_sets |= {f"{name} (B)": lr_set for name, lr_set in kept.items()}
    total, other_total = own.counted.histograms, None if other is None else other.counted.histograms
    other_rows = None if other is None else other.rows
    return Measured(own.rows, total, other_rows, other_total, differences, lr_sets, pairs)


class ImageCounts(NamedTuple):
    """A row of figures of each of some images, and the counts of all of them together.

    Rows and counts are one result, so that the graph is a tree.  If the rows were results of their
    own, dask would hold the counts of nearly all images, 0.8 MB each, before it adds any.
    """

    rows: list[ImageRow]
    counted: ChunkCounts

    @classmethod
    def total(cls, parts: Sequence["ImageCounts"]) -> "ImageCounts":
        """The rows and counts of several parts together."""
        rows = [row for part in parts for row in part.rows]
        return cls(rows, ChunkCounts.total([part.counted for part in parts]))


class Part(NamedTuple):
    """An image of the maps, and the chunks it is read in."""

    image_id: str
    size: tuple[int, int]
    chunks: list[Box]
    piece: int
    """Number of its first chunk in the store."""


def _graph(maps: Store, hr: Store, settings: AuditSettings, samplers: Mapping[str, Sampler]) -> Any:
    """The delayed ``ImageCounts`` of all together."""
    prior = closed_form_prior(maps)
    curve = None if prior is None else ClosedForm(prior)
    parts, piece = [], 0
    for image_id in maps.ids:
        parts.append(Part(image_id, maps.size(image_id), chunks(maps, image_id), piece))
        piece += len(parts[-1].chunks)
    counter = ChunkCounter(maps, hr, settings, curve, samplers, Allowance.of(piece))
    shared, count = delayed(counter, traverse=False), delayed(ChunkCounter.count)
    one, several = delayed(_one_image), delayed(_count_images)
    images = []
    for group in _groups(parts):
        first = group[0]
        if len(first.chunks) == 1:
            images.append(several(shared, delayed(group, traverse=False)))
            continue
        counts = [
            count(shared, first.image_id, area, first.piece + number)
            for number, area in enumerate(first.chunks)
        ]
        images.append(one(first, _tree(counts, ChunkCounts.total), settings))
    return _tree(images, ImageCounts.total)


def _groups(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Images that one task counts: consecutive small ones together, larger ones alone."""
    group: list[Part] = []
    pixels = 0
    for part in parts:
        if group and (pixels >= AREA or len(part.chunks) > 1 or len(group[0].chunks) > 1):
            yield group
            group, pixels = [], 0
        group.append(part)
        pixels += part.size[0] * part.size[1]
    yield group


def _sum(parts: Sequence[Any]) -> Any:
    return reduce(add, parts)


def _difference_graph(first: Store, second: Store) -> list[Any]:
    """The delayed ``MapsDifference`` of every image."""
    a, b = delayed(first, traverse=False), delayed(second, traverse=False)
    one = delayed(compare_maps)
    return [
        _tree([one(a, b, image_id, area) for area in chunks(first, image_id)])
        for image_id in first.ids
    ]


def _real_graph(lr: Store) -> Any:
    """The delayed statistics of the held-out part of the real images, and of the rest."""
    shared, allowance = delayed(lr, traverse=False), Allowance.of(len(lr.ids))
    entering = [(i, image_id) for i, image_id in enumerate(lr.ids) if allowance.enters(i)]
    count = delayed(count_real)
    counts = [count(shared, image_id, allowance, i) for i, image_id in entering]
    return _tree(counts, total_by_set)


def _pair_graph(val: Store) -> Any:
    """The delayed differences of all pairs; None without pairs."""
    if val.kind != "val":
        return None
    shared = delayed(val, traverse=False)
    parts = [delayed(count_pair)(shared, image_id) for image_id in val.ids]
    return _tree(parts) if parts else None


def _tree(parts: list[Any], total: Callable[..., Any] = _sum, width: int = 8) -> Any:
    """Add delayed parts, ``width`` at a time, in an order that depends only on their number."""
    merge = delayed(total)
    while len(parts) > 1:
        parts = [merge(parts[start : start + width]) for start in range(0, len(parts), width)]
    return parts[0]


def _one_image(part: Part, counted: ChunkCounts, settings: AuditSettings) -> ImageCounts:
    histograms = counted.histograms
    row = ImageRow(part.image_id, *part.size, figures(histograms, settings), histograms.hottest[1])
    return ImageCounts([row], counted.of_one_image())


def _count_images(counter: ChunkCounter, images: Sequence[Part]) -> ImageCounts:
    """Read and count images of a single chunk, one after the other."""
    found: ImageCounts | None = None
    for part in images:
        counted = counter.count(part.image_id, part.chunks[0], part.piece)
        one = _one_image(part, counted, counter.settings)
        found = one if found is None else ImageCounts.total([found, one])
    assert found is not None
    return found
