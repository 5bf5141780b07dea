"""Random crops of whole images held in memory: which image, where, and how turned.

Every choice is a function of (seed, purpose, step), so a resumed run repeats a straight one.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import UserError
from pipeline.seeding import generator
from pipeline.stores import Store
from pipeline.tiling import Box


class Schedule:
    """Which images make the batch of each step.

    Epochs are shuffled one after the other and cut into batches without regard to their ends, so
    every image is visited exactly ``crops_per_image`` times per epoch.

    Args:
        images: Number of images.
        crops_per_image: Visits of each image in one epoch.
        batch_size: Crops in a batch.
        seed: Seed of the run.
        purpose: Names the use, see ``seeding.generator``.

    """

    def __init__(
        self, images: int, crops_per_image: int, batch_size: int, seed: int, purpose: str
    ) -> None:
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.purpose = purpose
        self.crops_per_epoch = images * crops_per_image

    def steps(self, epochs: int) -> int:
        """Steps that cover ``epochs`` epochs."""
        return -(-epochs * self.crops_per_epoch // self.batch_size)

    def epoch(self, step: int) -> int:
        """Epoch, from 0, of the first crop of a step."""
        return step * self.batch_size // self.crops_per_epoch

    def batch(self, step: int) -> list[int]:
        """Image indices of a step."""
        first = step * self.batch_size
        chosen = []
        for position in range(first, first + self.batch_size):
            epoch, place = divmod(position, self.crops_per_epoch)
            chosen.append(self._order(epoch)[place])
        return chosen

    def _order(self, epoch: int) -> list[int]:
        if getattr(self, "_shuffled", (-1, []))[0] != epoch:
            order = torch.randperm(
                self.crops_per_epoch, generator=generator(self.seed, self.purpose, epoch)
            )
            self._shuffled = (epoch, (order % self.images).tolist())
        return self._shuffled[1]


def offsets(
    sizes: Sequence[tuple[int, int]], crop: int, source: torch.Generator
) -> list[tuple[int, int]]:
    """Draw a uniform top left corner for a square crop of each (H, W)."""
    uniform = torch.rand(len(sizes), 2, generator=source, dtype=torch.float64).tolist()
    return [
        (int(u * (height - crop + 1)), int(v * (width - crop + 1)))
        for (height, width), (u, v) in zip(sizes, uniform, strict=True)
    ]


def turn(batches: Sequence[Tensor], source: torch.Generator) -> list[Tensor]:
    """Flip and transpose every sample by one of the eight symmetries of the square.

    Args:
        batches: Tensors (N, C, S, S) that belong together: sample n of each is turned alike.
        source: A CPU generator.

    """
    coins = torch.rand(3, batches[0].shape[0], 1, 1, 1, generator=source) < 0.5
    turned = []
    for batch in batches:
        rows, columns, transposed = coins.to(batch.device)
        batch = torch.where(rows, batch.flip(-2), batch)
        batch = torch.where(columns, batch.flip(-1), batch)
        turned.append(torch.where(transposed, batch.transpose(-1, -2), batch))
    return turned


def require_crop(
    store: Store, crop: int, setting: str, part: Callable[[str], Box] | None = None
) -> None:
    """Check that every image of a store, or the part of it, is large enough for a square crop.

    Raises:
        UserError: One is not; names the image, its size and the setting.

    """
    for image_id in store.ids:
        height, width = store.size(image_id)
        what = f"image '{image_id}'"
        if part is not None:
            box = part(image_id)
            height, width = box.bottom - box.top, box.right - box.left
            what += " without its held-out part"
        if min(height, width) < crop:
            raise UserError(
                f"{store.path}: {what} is {height}x{width}, smaller than a crop of "
                f"{crop}x{crop}; lower {setting} or leave the image out"
            )


class ImagePool:
    """All images of a store of kind hr or lr in memory, cut at random.

    Args:
        path: Where the store is, for messages.
        images: (3, H, W) arrays, uint8.

    """

    def __init__(self, path: Path, images: Sequence[NDArray[np.uint8]]) -> None:
        self.path = path
        self.images = [torch.from_numpy(image) for image in images]

    @classmethod
    def load(cls, store: Store, part: Callable[[str], Box] | None = None) -> "ImagePool":
        """Read a whole store, or of every image the part that is given for its id."""
        boxes = [part(image_id) if part else None for image_id in store.ids]
        images = zip(store.ids, boxes, strict=True)
        return cls(store.path, [store.read(image_id, "image", box) for image_id, box in images])

    def crops(self, chosen: Sequence[int], size: int, source: torch.Generator) -> Tensor:
        """Cut one crop of each chosen image and turn it at random.

        Returns:
            (N, 3, size, size), float32 in [0, 1], on the CPU.

        """
        sizes = [(self.images[i].shape[1], self.images[i].shape[2]) for i in chosen]
        cut = [
            self.images[i][:, top : top + size, left : left + size]
            for i, (top, left) in zip(chosen, offsets(sizes, size, source), strict=True)
        ]
        return turn([torch.stack(cut).float() / 255], source)[0]
