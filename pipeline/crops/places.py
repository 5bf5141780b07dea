"""Random square crops of whole images: their places and symmetries are drawn, then they are cut.

A crop is cut from arrays of the same scene, such as HR and mean, at the same place of each.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.base.boxes import Box
from pipeline.base.errors import UserError, listed
from pipeline.stores.reader import Store

NAMED = 20
"""Most images that are too small and named."""


class Place(NamedTuple):
    """Top left corner of a crop, and one of the eight symmetries of the square.

    First the rows are reversed, then the columns, then the two are transposed.
    """

    top: int
    left: int
    rows: bool
    columns: bool
    transposed: bool


def draw_places(
    sizes: Sequence[tuple[int, int]],
    crop: int,
    corners: torch.Generator,
    turns: torch.Generator | None,
) -> list[Place]:
    """Draw a uniform corner and a uniform symmetry for a square crop of each image.

    Args:
        sizes: (H, W) of the images, none smaller than the crop.
        crop: Side of the crop.
        corners: A CPU generator.
        turns: A CPU generator; None: the crops stay as they are in the image.

    """
    uniform = torch.rand(len(sizes), 2, generator=corners, dtype=torch.float64).tolist()
    coins = torch.zeros(len(sizes), 3, dtype=torch.bool).tolist()
    if turns is not None:
        coins = (torch.rand(3, len(sizes), generator=turns) < 0.5).T.tolist()
    return [
        Place(int(u * (height - crop + 1)), int(v * (width - crop + 1)), *turned)
        for (height, width), (u, v), turned in zip(sizes, uniform, coins, strict=True)
    ]


def cut(
    images: Sequence[Tensor],
    places: Sequence[Place],
    patch: int,
    finer: int = 1,
    pinned: bool = False,
) -> Tensor:
    """Cut one crop of each image and apply its symmetry, on the CPU.

    Args:
        images: (C, H, W) each.
        places: Places of the crops, on a grid that is ``finer`` times coarser.
        patch: Side of a crop on that grid.
        finer: How many times finer the images are.
        pinned: Put the result in pinned memory, so that the copy to a CUDA device is asynchronous.

    Returns:
        (N, C, S, S), S = patch times finer, of the type of the images.

    """
    side = patch * finer
    shape = len(images), images[0].shape[0], side, side
    result = torch.empty(shape, dtype=images[0].dtype, pin_memory=pinned)
    for image, place, target in zip(images, places, result, strict=True):
        top, left = place.top * finer, place.left * finer
        crop = image[:, top : top + side, left : left + side]
        if reversed_axes := [axis for axis in (1, 2) if place[axis + 1]]:
            crop = crop.flip(reversed_axes)
        target.copy_(crop.transpose(1, 2) if place.transposed else crop)
    return result


def gather(
    flat: Tensor,
    starts: Sequence[int],
    sizes: Sequence[tuple[int, int]],
    places: Sequence[Place],
    patch: int,
    finer: int = 1,
) -> Tensor:
    """Cut crops as ``cut`` does, of images (3, H, W) that lie end to end in one tensor.

    The index of a pixel of a crop is linear in its row and column, so a whole batch is one indexing
    operation on the device.

    Args:
        flat: All images, one after the other.
        starts: Index in ``flat`` of the first pixel of each image to cut.
        sizes: (H, W) of these images, on the grid of the places.
        places: Places of the crops, on a grid that is ``finer`` times coarser than the images.
        patch: Side of a crop on that grid.
        finer: How many times finer the images are.

    Returns:
        (N, 3, S, S), S = patch times finer, on the device of ``flat``.

    """
    side = patch * finer
    rows = []
    for start, (height, width), place in zip(starts, sizes, places, strict=True):
        row_length = width * finer
        first = start + place.top * finer * row_length + place.left * finer
        down, right = row_length, 1
        if place.rows:
            first, down = first + (side - 1) * row_length, -down
        if place.columns:
            first, right = first + side - 1, -right
        if place.transposed:
            down, right = right, down
        rows.append((first, height * finer * row_length, down, right))
    table = torch.tensor(rows)
    if flat.is_cuda:
        table = table.pin_memory()
    first, plane, down, right = table.to(flat.device, non_blocking=True).T[..., None, None, None]
    line = torch.arange(side, device=flat.device)
    channels = torch.arange(3, device=flat.device)[:, None, None]
    return flat.take(first + channels * plane + line[:, None] * down + line * right)


def require_crop(
    store: Store, crop: int, setting: str, part: Callable[[str], Box] | None = None
) -> None:
    """Check that every image of a store, or a part of each, is large enough for a square crop.

    Raises:
        UserError: Images are too small; the message names them, their sizes and the setting.

    """
    small = []
    for image_id in store.ids:
        height, width = store.size(image_id)
        if part is not None:
            box = part(image_id)
            height, width = box.bottom - box.top, box.right - box.left
        if min(height, width) < crop:
            small.append(f"'{image_id}' is {height}x{width}")
    if small:
        rest = "without the held-out parts " if part is not None else ""
        raise UserError(
            f"{store.path}: {rest}{listed(small, NAMED)}, smaller than a crop of {crop}x{crop}; "
            f"lower {setting} or leave them out (prepare.least_side)"
        )
