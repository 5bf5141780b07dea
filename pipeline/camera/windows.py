"""Square windows of the images of a store, spread over all of them; memory is bounded."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.boxes import Box
from pipeline.base.seeding import generator
from pipeline.stores.reader import Store
from pipeline.stores.split import training_box


@dataclass(frozen=True)
class Windows:
    """Windows of one image."""

    number: int
    """The image, counted from 0."""
    pixels: Tensor
    """(N, 3, side, side) in [0, 1]."""

    @property
    def flat(self) -> bool:
        """Whether every window has one colour."""
        return bool((self.pixels == self.pixels[..., :1, :1]).all())

    @property
    def gray(self) -> bool:
        """Whether the three channels are the same."""
        return bool((self.pixels == self.pixels[:, :1]).all())


def spread(count: int, limit: int) -> list[int]:
    """At most ``limit`` of ``count`` numbers, evenly spaced."""
    places = np.linspace(0, count - 1, min(count, limit)).round()
    return [int(place) for place in np.unique(places)]


def usable(store: Store, side: int) -> list[str]:
    """The images that hold a window."""
    return [name for name in store.ids if min(seen(store, name).shape) >= side]


def seen(store: Store, name: str) -> Box:
    """The part of an image that may be looked at: of a real LR image, not the held-out part."""
    if store.kind == "lr":
        return training_box(store, name)
    height, width = store.size(name)
    return Box(0, height, 0, width)


def windows(image: NDArray[np.uint8], number: int, side: int, most: int) -> Windows:
    """Windows of an image; they overlap by half.

    Args:
        image: (3, H, W), at least a window large.
        number: The image, counted from 0; it seeds the draw.
        side: Rows and columns of a window.
        most: Most windows; a seeded draw chooses.

    """
    height, width = image.shape[1:]
    places = [(y, x) for y in _starts(height, side) for x in _starts(width, side)]
    order = torch.randperm(len(places), generator=generator(0, "camera/windows", number))
    chosen = [places[i] for i in order[:most].tolist()]
    cut = [image[:, y : y + side, x : x + side] for y, x in chosen]
    return Windows(number, torch.from_numpy(np.stack(cut)).float() / 255)


def _starts(length: int, side: int) -> list[int]:
    """Evenly spaced places of windows along an axis, about half a window apart."""
    count = max((length - side) // max(side // 2, 1) + 1, 1)
    return [int(place) for place in np.linspace(0, length - side, count).round()]
