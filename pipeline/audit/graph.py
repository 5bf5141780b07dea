"""The graph of all tasks of an audit: one per chunk of maps, per real LR image and per pair.

Counts are merged image by image, then over all images, always in the same order, so no figure
depends on the number of workers.  Memory is bounded by a few chunks per worker (see
``audit.tasks``) and by the statistics of the sets of LR images, of at most 49 MB each (see
``noise.statistics``).  Of every image only a row of figures is kept.
"""

from collections.abc import Iterator, Mapping
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
    add_statistics,
    chunks,
    compare_maps,
    count_pair,
    count_real,
)
from pipeline.base.errors import UserError
from pipeline.dsn.file import describe
from pipeline.noise.statistics import Allowance
from pipeline.sampling.sampler import Sampler
from pipeline.stores.reader import Store


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
        with TqdmCallback(desc="audit", unit="task"):
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

    def __add__(self, other: "ImageCounts") -> "ImageCounts":  # type: ignore[override]
        return ImageCounts(self.rows + other.rows, self.counted + other.counted)


def _graph(maps: Store, hr: Store, settings: AuditSettings, samplers: Mapping[str, Sampler]) -> Any:
    """The delayed ``ImageCounts`` of all together."""
    prior = closed_form_prior(maps)
    curve = None if prior is None else ClosedForm(prior)
    areas = {image_id: chunks(maps, image_id) for image_id in maps.ids}
    allowance = Allowance.of(sum(len(each) for each in areas.values()))
    shared = delayed(ChunkCounter(maps, hr, settings, curve, samplers, allowance), traverse=False)
    count, one = delayed(ChunkCounter.count), delayed(_one_image)
    images, piece = [], 0
    for image_id, of_image in areas.items():
        parts = [count(shared, image_id, a, piece + number) for number, a in enumerate(of_image)]
        piece += len(parts)
        images.append(one(image_id, maps.size(image_id), _tree(parts), settings))
    return _tree(images)


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
    return _tree(
        [count(shared, image_id, allowance, i) for i, image_id in entering], add_statistics
    )


def _pair_graph(val: Store) -> Any:
    """The delayed differences of all pairs; None without pairs."""
    if val.kind != "val":
        return None
    shared = delayed(val, traverse=False)
    parts = [delayed(count_pair)(shared, image_id) for image_id in val.ids]
    return _tree(parts) if parts else None


def _tree(parts: list[Any], plus: Any = add, width: int = 8) -> Any:
    """Add delayed parts, ``width`` at a time, in an order that depends only on their number."""
    merge = delayed(_sum)
    while len(parts) > 1:
        parts = [merge(parts[start : start + width], plus) for start in range(0, len(parts), width)]
    return parts[0]


def _sum(parts: list[Any], plus: Any) -> Any:
    return reduce(plus, parts)


def _one_image(
    image_id: str, size: tuple[int, int], counted: ChunkCounts, settings: AuditSettings
) -> ImageCounts:
    histograms = counted.histograms
    row = ImageRow(image_id, *size, figures(histograms, settings), histograms.hottest[1])
    return ImageCounts([row], counted.of_one_image())
