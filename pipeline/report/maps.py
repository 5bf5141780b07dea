"""Areas of images, of their maps and of samples, cut to be pictured; whole maps, made small."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.boxes import Box, tiles
from pipeline.base.seeding import generator
from pipeline.images.filters import bicubic_downsample
from pipeline.images.io import to_float
from pipeline.sampling.sampler import Sampler
from pipeline.stores.format import ARRAYS
from pipeline.stores.reader import Store

PANEL = 128
"""Longest side in LR pixels of the pictured area of an image; it keeps the page small."""
THUMBNAIL_SIDE = 96
"""Longest side of a thumbnail in pixels, at most."""
READ_SIDE = 1024
"""Side in LR pixels of the pieces in which an image is read for its thumbnail."""


@dataclass(frozen=True)
class Panels:
    """The pictures of one area of an image."""

    name: str
    """Of the file."""
    area: Box
    """On the LR grid."""
    hr: Tensor
    """(3, H, W) in [0, 1], about twice as fine as the others."""
    mean: Tensor
    """(3, h, w) in the unit of the image."""
    theta: Tensor
    """(3, h, w) in the unit of the image."""
    calibrated_theta: Tensor | None = None
    """(3, h, w) in the unit of the image, if there is a calibration."""
    calibrated_sample: Tensor | None = None
    """(3, h, w) in [0, 1]."""
    camera_sample: Tensor | None = None
    """(3, h, w) in [0, 1], if the maps carry a camera's passport."""
    other_mean: Tensor | None = None
    """(3, h, w) in the unit of the image, of B if there is a B."""
    other_theta: Tensor | None = None
    """The same of its theta."""

    @property
    def thetas(self) -> list[Tensor]:
        """All that are shown in the colours of theta."""
        every = (self.theta, self.calibrated_theta, self.other_theta)
        return [theta for theta in every if theta is not None]


@dataclass(frozen=True)
class Thumbnail:
    """A whole image, made small."""

    mean: Tensor
    """(3, h, w) in the unit of the image."""
    theta: Tensor
    """(3, h, w) in the unit of the image."""


@dataclass(frozen=True)
class MapsPictures:
    """Cuts pictures from a store of maps.

    Raises:
        UserError: A chunk is damaged.

    """

    maps: Store
    hr: Store
    """The store of kind hr it was exported from."""
    other: Store | None
    """Other maps of the same images, B."""
    samplers: Mapping[str, Sampler]
    """What draws the calibrated sample and that of the camera, by their name."""

    def panels(self, image_id: str, place: Box) -> Panels:
        """The area of at most ``PANEL`` pixels a side around a place on the LR grid."""
        height, width = self.maps.size(image_id)
        area = Box(*_span(place.top, place.bottom, height), *_span(place.left, place.right, width))
        unit = _read(self.maps, image_id, area)
        scale = self.hr.scale
        image = to_float(self.hr.read(image_id, "image", area.times(scale)))
        seed = self.maps.ids.index(image_id)
        drawn = {
            name: self.samplers[name].sample(unit, generator(0, "audit/picture", seed))[0]
            for name in ("calibrated", "camera")
            if name in self.samplers
        }
        calibrated = self.samplers["calibrated"].theta(unit)[0] if "calibrated" in drawn else None
        other = {} if self.other is None else _read(self.other, image_id, area)
        return Panels(
            name=self.hr.file_name(image_id),
            area=area,
            hr=bicubic_downsample(image, max(scale // 2, 1)),
            mean=unit["mean"][0],
            theta=unit["theta"][0],
            calibrated_theta=calibrated,
            calibrated_sample=drawn.get("calibrated"),
            camera_sample=drawn.get("camera"),
            other_mean=other["mean"][0] if other else None,
            other_theta=other["theta"][0] if other else None,
        )

    def thumbnail(self, image_id: str) -> Thumbnail:
        """Averages of squares of an image, whose side is a power of two; read piece by piece."""
        height, width = self.maps.size(image_id)
        side = 1
        while side * THUMBNAIL_SIDE < max(height, width):
            side *= 2
        size = (3, -(-height // side), -(-width // side))
        whole = {name: torch.empty(size) for name in ARRAYS["maps"]}
        for piece in tiles(height, width, max(READ_SIDE, side)):
            for name, values in _read(self.maps, image_id, piece).items():
                small = F.avg_pool2d(values[0], side, ceil_mode=True)
                top, left = piece.top // side, piece.left // side
                whole[name][:, top : top + small.shape[1], left : left + small.shape[2]] = small
        return Thumbnail(whole["mean"], whole["theta"])


def gray_levels(theta: Tensor) -> NDArray[np.float64]:
    """The mean of the channels (h, w) in gray levels, of (3, h, w) in the unit of the image."""
    return np.asarray(theta.double().mean(dim=0).numpy() * 255)


def _read(maps: Store, image_id: str, area: Box) -> dict[str, Tensor]:
    """Mean and theta (1, 3, h, w) of an area."""
    return {
        name: torch.from_numpy(maps.read(image_id, name, area)).float()[None]
        for name in ARRAYS["maps"]
    }


def _span(low: int, high: int, length: int) -> tuple[int, int]:
    """``PANEL`` pixels around low..high, or as many as there are."""
    start = min(max((low + high - PANEL) // 2, 0), max(length - PANEL, 0))
    return start, min(start + PANEL, length)
