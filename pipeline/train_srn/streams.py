"""The training data of the SRN: crops of pairs of an LR and an HR image.

LR images are fresh samples of maps, HR images degraded at random or reduced by bicubic
downsampling, or real LR images of pairs.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.base.seeding import generator, of_share
from pipeline.crops.batches import Batches, ClosedOnExit, Demand, Generators
from pipeline.crops.places import require_crop
from pipeline.crops.schedule import Schedule
from pipeline.crops.window import CropSource
from pipeline.images.filters import bicubic_downsample
from pipeline.images.io import Image, to_float, to_uint8
from pipeline.sampling.sampler import Sampler
from pipeline.stores.reader import Store, require_exported_from, require_same_scale
from pipeline.train_srn.generic import GenericDegradation, draw

PURPOSE = "train_srn/images"
"""Purpose of the schedule, see ``seeding.generator``."""


class Pair(NamedTuple):
    """A training batch on the training device."""

    lr: Tensor
    """(N, 3, S, S), in the unit of the image; samples reach beyond [0, 1] unless calibrated."""
    hr: Tensor
    """(N, 3, scale S, scale S) in [0, 1]."""


class Stream(Protocol):
    """Anything an SRN can be trained on."""

    @property
    def scale(self) -> int:
        """HR pixels per LR pixel."""

    @property
    def schedule(self) -> Schedule:
        """Which images make the batch of each step."""

    @property
    def waited(self) -> float:
        """Seconds that ``batch`` had to wait for data so far."""

    def batch(self, step: int, share: int = 0) -> Pair:
        """The crops of one share of a step's batch; they depend on seed, step and share alone."""

    def close(self) -> None:
        """End its threads."""


class _Batched(ClosedOnExit):
    """Base of the streams that take their crops from ``Batches``."""

    batches: Batches

    def __str__(self) -> str:
        return str(self.batches)

    @property
    def waited(self) -> float:
        """Seconds that ``batch`` had to wait for data so far."""
        return self.batches.waited

    def close(self) -> None:
        """End all threads."""
        self.batches.close()


class SampleStream(_Batched):
    """Crops of ``hr.zarr``, and fresh samples of ``maps.zarr`` at the same places.

    HR stays uint8 and the maps float16 until a batch is on the device, where samples are drawn.  A
    context manager: its threads end with the block.

    Args:
        hr: Store of kind hr.
        maps: Store of kind maps, exported from that HR store.
        patch: S, side of an LR crop.
        sampler: Draws the LR images, see ``make_sampler``.
        demand: How many crops, and where they go.

    Raises:
        UserError: The stores do not belong together, an image is smaller than a crop, or the images
            do not fit into memory, see ``Window``.

    """

    def __init__(
        self, hr: Store, maps: Store, patch: int, sampler: Sampler, demand: Demand
    ) -> None:
        self.scale = require_same_scale(hr, maps)
        require_exported_from(maps, hr)
        require_crop(maps, patch, "train_srn.lr_patch")
        self.sampler, self.demand = sampler, demand
        self.batches = _batches(_maps_source(hr, maps, sampler.reads), patch, demand)
        self.schedule = self.batches.schedule

    def batch(self, step: int, share: int = 0) -> Pair:
        """The crops of one share of a step's batch, with fresh noise."""
        *arrays, hr = self.batches.batch(step, share)
        purpose = of_share("train_srn/noise", share)
        source = generator(self.demand.seed, purpose, step, self.demand.device)
        maps = {name: a.float() for name, a in zip(self.sampler.reads, arrays, strict=True)}
        return Pair(self.sampler.sample(maps, source), hr.float() / 255)


class GenericStream(_Batched):
    """Crops of HR images, and LR images of them by fresh degradations; see ``generic``.

    Args:
        hr: Store of kind hr.
        patch: S, side of an LR crop.
        demand: How many crops, and where they go.

    Raises:
        UserError: An image is smaller than a crop with the border that the blur needs.

    """

    def __init__(self, hr: Store, patch: int, demand: Demand) -> None:
        self.scale, self.demand = hr.scale, demand
        self.degrade = GenericDegradation(hr.scale, demand.device)
        wider = patch + 2 * self.degrade.border
        require_crop(hr, wider * hr.scale, "train_srn.lr_patch")
        self.batches = _batches(_hr_source(hr), wider, demand)
        self.schedule = self.batches.schedule

    def batch(self, step: int, share: int = 0) -> Pair:
        """The crops of one share of a step's batch, each degraded in its own way."""
        (wider,) = self.batches.batch(step, share)
        seed, device = self.demand.seed, self.demand.device
        parameters = draw(
            len(wider), generator(seed, of_share("train_srn/degradations", share), step)
        )
        source = generator(seed, of_share("train_srn/noise", share), step, device)
        hr = wider.float() / 255
        cut = self.degrade.border * self.scale
        inner = hr[..., cut:-cut, cut:-cut]
        return Pair(self.degrade(hr, parameters.to(device), source), inner.contiguous())


class ImageStream(_Batched):
    """Crops of pairs of 8-bit images; see ``Stream``.

    Args:
        source: Pairs of an LR and an HR image.
        scale: HR pixels per LR pixel.
        patch: Side of an LR crop.
        demand: How many crops, and where they go.

    """

    def __init__(self, source: CropSource, scale: int, patch: int, demand: Demand) -> None:
        self.scale = scale
        self.batches = _batches(source, patch, demand)
        self.schedule = self.batches.schedule

    def batch(self, step: int, share: int = 0) -> Pair:
        """The crops of one share of a step's batch."""
        lr, hr = self.batches.batch(step, share)
        return Pair(lr.float() / 255, hr.float() / 255)


def bicubic_stream(hr: Store, patch: int, demand: Demand) -> ImageStream:
    """HR images and their bicubic LR images, rounded to 8 bit as image files are.

    Raises:
        UserError: An image is smaller than a crop.

    """
    require_crop(hr, patch * hr.scale, "train_srn.lr_patch")

    def read(image: int) -> list[Image]:
        large = hr.read(hr.ids[image], "image")
        return [to_uint8(bicubic_downsample(to_float(large), hr.scale)), large]

    source = _image_source(str(hr.path), _lr_sizes(hr), hr.scale, read)
    return ImageStream(source, hr.scale, patch, demand)


def pairs_stream(pairs: Store, patch: int, demand: Demand) -> ImageStream:
    """Real pairs, for supervised training.

    Args:
        pairs: Store of kind val.
        patch: Side of an LR crop.
        demand: How many crops, and where they go.

    Raises:
        UserError: There is no pair, or an image is smaller than a crop.

    """
    if not pairs.ids:
        raise UserError(f"{pairs.path}: holds no pair to train on; name a folder of pairs")
    scale = pairs.scale
    require_crop(pairs, patch * scale, "train_srn.lr_patch")

    def read(image: int) -> list[Image]:
        return [pairs.read(pairs.ids[image], side) for side in ("lr", "hr")]

    source = _image_source(str(pairs.path), _lr_sizes(pairs), scale, read)
    return ImageStream(source, scale, patch, demand)


def _maps_source(hr: Store, maps: Store, names: Sequence[str]) -> CropSource:
    """Source of the named arrays of the maps, followed by the HR image."""

    def read(image: int) -> list[Any]:
        image_id = maps.ids[image]
        return [*(maps.read(image_id, name) for name in names), hr.read(image_id, "image")]

    sizes = [maps.size(image_id) for image_id in maps.ids]
    finer = (*(1 for _ in names), maps.scale)
    dtypes = (*(torch.float16 for _ in names), torch.uint8)
    return CropSource(f"{hr.path}, {maps.path}", sizes, finer, dtypes, read)


def _lr_sizes(store: Store) -> list[tuple[int, int]]:
    """LR sizes of the HR images of a store."""
    scale = store.scale
    return [(height // scale, width // scale) for height, width in map(store.size, store.ids)]


def _hr_source(hr: Store) -> CropSource:
    """Source of HR images alone, with sizes on the LR grid."""

    def read(image: int) -> list[Image]:
        return [hr.read(hr.ids[image], "image")]

    return CropSource(str(hr.path), _lr_sizes(hr), (hr.scale,), (torch.uint8,), read)


def _image_source(
    name: str, sizes: list[tuple[int, int]], scale: int, read: Callable[[int], list[Image]]
) -> CropSource:
    return CropSource(name, sizes, (1, scale), (torch.uint8, torch.uint8), read)


def _batches(source: CropSource, patch: int, demand: Demand) -> Batches:
    return Batches(source, PURPOSE, patch, _generators(demand.seed), demand)


def _generators(seed: int) -> Generators:
    """Generators of the corners and of the turns of a step's crops."""
    return lambda step: (
        generator(seed, "train_srn/crops", step),
        generator(seed, "train_srn/turns", step),
    )
