"""Export: every HR image once through the DSN, mean and theta into ``maps.zarr``."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from tqdm import tqdm

from pipeline.base.boxes import Box, tiles
from pipeline.base.errors import UserError
from pipeline.base.hashes import file_hash, fingerprint
from pipeline.base.settings import Count, Settings
from pipeline.dsn.file import DsnDescription, load_dsn
from pipeline.export.degrader import Degrader
from pipeline.images.io import Image
from pipeline.parallel.background import read_ahead, write_behind
from pipeline.stores.format import ARRAYS, CHUNK
from pipeline.stores.kept import KeptResults
from pipeline.stores.reader import Store
from pipeline.writing.partial import ERROR_FLOOR, PartialStore, round_mantissa
from pipeline.writing.writer import StoreWriter


class ExportSettings(Settings):
    """The section ``export``.

    There is no bfloat16 here: with its 8 significant bits a trained DSN's means are off by 2^-9 in
    the median and by 2^-7 at worst, where the store promises 2^-11.
    """

    tile: Count = 128
    """Side of a tile in LR pixels; memory grows with its square."""
    batch: Count = 1
    """Tiles that go through the network together; memory grows with it."""
    mean_keep_bits: int = Field(10, ge=1, le=10)
    """Mantissa bits of the mean that are kept: from 2^-14, relative error at most 2^-(bits + 1)."""
    theta_keep_bits: int = Field(7, ge=1, le=10)
    """Mantissa bits of theta that are kept, likewise."""

    def keep_bits(self, name: str) -> int:
        """Mantissa bits of an array that are kept; 10 is all that float16 has."""
        chosen = {"mean": self.mean_keep_bits, "theta": self.theta_keep_bits}
        return chosen.get(name, 10)


def export(
    hr: Store,
    weights: Path,
    settings: ExportSettings,
    target: Path,
    scheduler: str | None = None,
    work: Path | None = None,
) -> dict[str, float]:
    """Write ``maps.zarr`` for all images of an HR store, or continue an interrupted export.

    While a block is computed, threads read the next block and write the one before.  Memory holds a
    few blocks of the store and the tiles of a batch, whatever the size of the images.

    Args:
        hr: Store of kind hr.
        weights: DSN file.
        settings: The section ``export``.
        target: The store to write.
        scheduler: Address of a dask.distributed scheduler.  Its workers export one image each at a
            time, and see all files under the same paths.  None: this process does all.
        work: Folder for the kept results; see ``stores.kept``.  None: they are not kept.

    Returns:
        Metrics: number of images and of LR pixels, mean, lowest and highest theta in gray levels.

    Raises:
        UserError: The scales differ, a file cannot be read or written, no scheduler answers, or
            workers die.

    """
    dsn, dsn_hash = load_dsn(weights), file_hash(weights)
    if dsn.description.scale != hr.scale:
        scale = dsn.description.scale
        raise UserError(f"{weights} has the scale {scale}, but {hr.path} has {hr.scale}")
    attributes = _attributes(dsn.description, dsn_hash, settings, hr)
    key = fingerprint(attributes)
    kept = None if work is None else KeptResults(work, key, [target], __name__)
    if kept and kept.metrics() is not None:
        kept.restore("export")
        return _summary(Store(target, "maps"))
    with (
        _workers(scheduler) as run,
        StoreWriter(target, "maps", hr.scale, hr.ids, attributes, resumable=True) as writer,
    ):
        left = [image_id for image_id in hr.ids if not writer.done(image_id)]
        done = len(hr.ids) - len(left)
        with tqdm(desc="export", initial=done, total=len(hr.ids), unit="image") as bar:
            if run is None:
                _export_images(hr, left, Degrader.of(dsn), settings, writer, bar.update)
            else:
                place = hr.path.resolve() if isinstance(hr.path, Path) else hr.path
                inputs = ExportInputs(place, hr.digest, weights.resolve(), dsn_hash)
                for _ in run(Task(inputs, settings, target.resolve()), left):
                    bar.update()
    if kept:
        kept.keep({})
    return _summary(Store(target, "maps"))


def _attributes(
    description: DsnDescription, dsn_hash: str, settings: ExportSettings, hr: Store
) -> dict[str, object]:
    """Root attributes of the store of maps."""
    return {
        "dsn": description.model_dump(),
        "dsn_hash": dsn_hash,
        "export_settings": settings.model_dump(),
        "relative_error": {name: 2.0 ** -(settings.keep_bits(name) + 1) for name in ARRAYS["maps"]},
        "error_floor": dict.fromkeys(ARRAYS["maps"], ERROR_FLOOR),
        "hr_digest": hr.digest,
    }


@contextmanager
def _workers(
    scheduler: str | None,
) -> Iterator[Callable[["Task", Sequence[str]], Iterator[None]] | None]:
    """Give a function that runs tasks on the workers of a scheduler; None without a scheduler."""
    if scheduler is None:
        yield None
        return
    from pipeline.parallel.dask_workers import connected, map_on_workers

    with connected(scheduler) as client:
        yield partial(map_on_workers, client)


class Block(NamedTuple):
    """A chunk of the maps of an image."""

    image_id: str
    size: tuple[int, int]
    """(H, W) of the maps."""
    chunk: Box
    """Area of the chunk in the maps of the image."""
    inner: Box
    """Area of the chunk in the maps of ``hr``."""
    hr: Image
    """The HR pixels that the chunk depends on."""


def _read(hr: Store, ids: Sequence[str], degrader: Degrader) -> Iterator[Block]:
    for image_id in ids:
        height, width = (length // hr.scale for length in hr.size(image_id))
        for chunk in tiles(height, width, CHUNK["maps"]):
            outer, inner = degrader.part(hr.size(image_id), chunk)
            pixels = hr.read(image_id, "image", outer)
            yield Block(image_id, (height, width), chunk, inner, pixels)


BlockMaps = Mapping[str, NDArray[np.float32]]
"""Maps of a block by name."""


def _export_images(
    hr: Store,
    ids: Sequence[str],
    degrader: Degrader,
    settings: ExportSettings,
    writer: PartialStore,
    image_written: Callable[[], object],
) -> None:
    """Export images in this process; a thread calls ``image_written`` after each of them."""

    def write(computed: Iterator[tuple[Block, BlockMaps]]) -> None:
        _write(computed, settings, writer, image_written)

    with write_behind(write) as put, read_ahead(_read(hr, ids, degrader)) as blocks:
        for block in blocks:
            maps = degrader.tiled(block.hr, settings.tile, batch=settings.batch)
            inner = {name: values[block.inner.slices] for name, values in maps.items()}
            put((block._replace(hr=block.hr[:, :0]), inner))


def _write(
    computed: Iterator[tuple[Block, BlockMaps]],
    settings: ExportSettings,
    writer: PartialStore,
    image_written: Callable[[], object],
) -> None:
    arrays, digest = {}, hashlib.sha256()
    for block, maps in computed:
        chunk, (height, width) = block.chunk, block.size
        if (chunk.top, chunk.left) == (0, 0):
            digest = hashlib.sha256()
            arrays = {
                name: writer.start(block.image_id, height, width, name, "float16")
                for name in ARRAYS["maps"]
            }
        for name in ARRAYS["maps"]:
            rounded = round_mantissa(maps[name], settings.keep_bits(name))
            arrays[name][chunk.slices] = rounded
            digest.update(rounded.tobytes())
        if (chunk.bottom, chunk.right) == block.size:
            writer.finish(block.image_id, digest.hexdigest())
            image_written()


class ExportInputs(NamedTuple):
    """Inputs of an export, and the hashes by which a worker checks that it sees the same files."""

    hr: Path | str
    hr_digest: str
    weights: Path
    dsn_hash: str


@dataclass(frozen=True)
class Task:
    """Export of one image, by a worker, into a store that another process has begun."""

    inputs: ExportInputs
    settings: ExportSettings
    target: Path

    def __call__(self, image_id: str) -> None:
        """Write the maps of an image into the partial store.

        Raises:
            UserError: A file cannot be read here, or has other content than in the first process.

        """
        with _OPENING:
            hr, degrader = _opened(self.inputs)
        writer = PartialStore(self.target, "maps")
        _export_images(hr, [image_id], degrader, self.settings, writer, lambda: None)


_OPENING = Lock()
"""Held while a worker opens its inputs, so that its threads open them once."""


@lru_cache(maxsize=1)
def _opened(inputs: ExportInputs) -> tuple[Store, Degrader]:
    hr, degrader = Store(inputs.hr, "hr"), Degrader.load(inputs.weights)
    same = hr.digest == inputs.hr_digest, file_hash(inputs.weights) == inputs.dsn_hash
    for path, unchanged in zip((inputs.hr, inputs.weights), same, strict=True):
        if not unchanged:
            raise UserError(f"{path}: has other content here than where the export was started")
    return hr, degrader


def _summary(maps: Store) -> dict[str, float]:
    total, pixels, low, high = 0.0, 0, np.inf, 0.0
    for image_id in maps.ids:
        for box in tiles(*maps.size(image_id), CHUNK["maps"]):
            theta = maps.read(image_id, "theta", box).astype(np.float64) * 255
            total, pixels = total + theta.sum(), pixels + theta.size
            low, high = min(low, theta.min()), max(high, theta.max())
    return {
        "images": len(maps.ids),
        "lr_pixels": pixels // 3,
        "theta_mean": float(total / pixels),
        "theta_min": float(low),
        "theta_max": float(high),
    }
