"""The training data of the DSN: crops of HR images and of real LR images of other scenes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from pipeline.base.boxes import Box
from pipeline.base.seeding import generator
from pipeline.crops.batches import Batches, ClosedOnExit, Demand, Generators
from pipeline.crops.memory import Memory
from pipeline.crops.places import require_crop
from pipeline.crops.window import CropSource
from pipeline.images.io import Image
from pipeline.stores.reader import Store, require_same_scale
from pipeline.stores.split import training_box


@dataclass(frozen=True)
class CropRules:
    """How crops of HR images and of real LR images are taken."""

    hr_patch: int
    """P, side of an HR crop, a multiple of the scale."""
    epoch_over: Literal["hr", "lr"] = "hr"
    """Images that an epoch goes over.  Over ``hr`` each of the two sets is visited equally often,
    image by image; over ``lr`` that of the HR images is drawn for every crop, with replacement."""
    turned: bool = True
    """Whether crops are turned and mirrored at random."""


class UnpairedCrops(ClosedOnExit):
    """Crops of HR images and of real LR images that are not paired; a context manager.

    Only the training part of every real LR image is used, see ``stores.split``.

    Args:
        hr: Store of kind hr.
        lr: Store of kind lr.
        rules: How they are taken.
        demand: How many crops, and where they go; both kinds of images share its memory.

    Raises:
        UserError: The scales differ, an image is smaller than a crop, or the images do not fit into
            memory, see ``Window``.

    """

    def __init__(self, hr: Store, lr: Store, rules: CropRules, demand: Demand) -> None:
        hr_patch, over_lr = rules.hr_patch, rules.epoch_over == "lr"
        lr_patch = hr_patch // require_same_scale(hr, lr)
        part = partial(training_box, lr)
        require_crop(hr, hr_patch, "train_dsn.hr_patch")
        require_crop(lr, lr_patch, "train_dsn.hr_patch", part)
        sources = _source(hr), _source(lr, part)
        sizes = [
            sum(source.bytes(image) for image in range(len(source.sizes))) for source in sources
        ]
        device, host = (split(room, *sizes) for room in demand.room)
        self.batches = [
            Batches(
                source,
                f"train_dsn/{name}",
                patch,
                _generators(demand.seed, f"train_dsn/{name} crops", rules.turned),
                replace(demand, memory=Memory(*room), replacement=over_lr and name == "hr"),
            )
            for name, source, patch, room in zip(
                ("hr", "lr"), sources, (hr_patch, lr_patch), zip(device, host, strict=True),
                strict=True,
            )
        ]  # fmt: skip
        self.schedule = self.batches[1 if over_lr else 0].schedule
        """Schedule of the images that epochs go over."""

    def __str__(self) -> str:
        return "; ".join(map(str, self.batches))

    @property
    def waited(self) -> float:
        """Seconds that ``batch`` had to wait for data so far."""
        return sum(made.waited for made in self.batches)

    def batch(self, step: int, share: int = 0) -> tuple[Tensor, Tensor]:
        """HR crops (N, 3, P, P) and real LR crops (N, 3, P/s, P/s) in [0, 1], on the device."""
        (hr,), (lr,) = (made.batch(step, share) for made in self.batches)
        return hr.float() / 255, lr.float() / 255

    def close(self) -> None:
        """End all threads."""
        for made in self.batches:
            made.close()


def split(room: int, first: int, second: int) -> tuple[int, int]:
    """Divide bytes of memory between two sets of images of the given sizes.

    The smaller set gets its size, but at most half of the memory; the other set gets the rest.
    """
    smaller = min(first, second, room // 2)
    return (smaller, room - smaller) if first <= second else (room - smaller, smaller)


def _source(store: Store, part: Callable[[str], Box] | None = None) -> CropSource:
    """The images of a store; with ``part``, only the box that it gives for the id of an image."""
    boxes = [None if part is None else part(image_id) for image_id in store.ids]

    def read(image: int) -> list[Image]:
        return [store.read(store.ids[image], "image", boxes[image])]

    sizes = [
        store.size(image_id) if box is None else (box.bottom - box.top, box.right - box.left)
        for image_id, box in zip(store.ids, boxes, strict=True)
    ]
    return CropSource(str(store.path), sizes, (1,), (torch.uint8,), read)


def _generators(seed: int, purpose: str, turned: bool) -> Generators:
    """One generator per step: it draws the corners of the crops, then their turns, if any."""

    def drawn(step: int) -> tuple[torch.Generator, torch.Generator | None]:
        made = generator(seed, purpose, step)
        return made, made if turned else None

    return drawn
