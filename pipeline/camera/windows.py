"""Square windows of the images of a store, spread over all of them; memory is bounded."""

from collections.abc import Iterator
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


def spread(count: int, limit: int) -> list[int]:
    """At most ``limit`` of ``count`` numbers, evenly spaced."""
    places = np.linspace(0, count - 1, min(count, limit)).round()
    return [int(place) for place in np.unique(places)]


def usable(store: Store, side: int) -> list[str]:
    """The images that hold a window."""
    return [name for name in store.ids if min(_seen(store, name).shape) >= side]


def windows(store: Store, ids: list[str], side: int, most: int) -> Iterator[Windows]:
    """Windows of images, one image in memory at a time.

    Args:
        store: Store of kind hr, or lr, whose held-out part is left out.
        ids: Images of the store that hold a window.
        side: Rows and columns of a window.
        most: Most windows of an image; they overlap by half, and a seeded draw chooses.

    """
    for number, name in enumerate(ids):
        seen = _seen(store, name)
        image = store.read(name, "image", seen)
        height, width = image.shape[1:]
        places = [(y, x) for y in _starts(height, side) for x in _starts(width, side)]
        order = torch.randperm(len(places), generator=generator(0, "camera/windows", number))
        chosen = [places[i] for i in order[:most].tolist()]
        cut: list[NDArray[np.uint8]] = [image[:, y : y + side, x : x + side] for y, x in chosen]
        yield Windows(number, torch.from_numpy(np.stack(cut)).float() / 255)


def _seen(store: Store, name: str) -> Box:
    """The part of an image that may be looked at."""
    if store.kind == "lr":
        return training_box(store, name)
    height, width = store.size(name)
    return Box(0, height, 0, width)


def _starts(length: int, side: int) -> list[int]:
    """Evenly spaced places of windows along an axis, about half a window apart."""
    count = max((length - side) // max(side // 2, 1) + 1, 1)
    return [int(place) for place in np.linspace(0, length - side, count).round()]
