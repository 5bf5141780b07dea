"""Preparation: every image file decoded once, checked, and put into a store."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL.JpegImagePlugin import JpegImageFile, get_sampling
from pydantic import Field
from tqdm import tqdm

from pipeline.errors import UserError
from pipeline.images import Image, crop_to_multiple, find_images, read_image, size_text
from pipeline.settings import Settings
from pipeline.stores import Store, StoreWriter, unique_ids


class PrepareSettings(Settings):
    """The section ``prepare``."""

    scale: int = Field(ge=2, le=4)
    """HR pixels per LR pixel, along each side."""


def prepare_hr(folder: Path, scale: int, target: Path) -> None:
    """Write ``hr.zarr`` from a folder of sharp images, each cropped to a multiple of the scale.

    Raises:
        UserError: The folder is missing or empty, an image cannot be read or is smaller than the
            scale, two names collide, or the store cannot be written.

    """
    files = find_images(folder)
    ids = unique_ids([path.name for path in files])
    with StoreWriter(target, "hr", scale, ids) as writer:
        for path, image_id in tqdm(list(zip(files, ids, strict=True)), "prepare hr", unit="image"):
            writer.add(image_id, {"image": crop_to_multiple(path, read_image(path), scale)})


def prepare_lr(folder: Path, scale: int, target: Path) -> None:
    """Write ``lr.zarr`` from a folder of real LR images, kept as they are.

    The attribute ``jpeg`` says how most of the files were compressed; see ``compression``.

    Raises:
        UserError: See ``prepare_hr``.

    """
    files = find_images(folder)
    ids = unique_ids([path.name for path in files])
    with StoreWriter(target, "lr", scale, ids, {"jpeg": compression(files)}) as writer:
        for path, image_id in tqdm(list(zip(files, ids, strict=True)), "prepare lr", unit="image"):
            writer.add(image_id, {"image": read_image(path)})


def prepare_val(folder: Path, scale: int, target: Path) -> None:
    """Write ``val.zarr`` from a folder with ``hr`` and ``lr`` in it, matched by name.

    A folder without ``hr`` and ``lr`` means that there are no pairs, and gives an empty store.

    Raises:
        UserError: An image has no partner, a pair does not fit the scale, or see ``prepare_hr``.

    """
    pairs = _match(folder)
    ids = unique_ids([hr.name for hr, _ in pairs])
    with StoreWriter(target, "val", scale, ids) as writer:
        for (hr_path, lr_path), image_id in zip(
            tqdm(pairs, "prepare val", unit="pair"), ids, strict=True
        ):
            lr = read_image(lr_path)
            hr = crop_to_multiple(hr_path, read_image(hr_path), scale)
            if hr.shape[1:] != (lr.shape[1] * scale, lr.shape[2] * scale):
                raise UserError(
                    f"{hr_path} is {size_text(hr)} and {lr_path} is {size_text(lr)}: "
                    f"HR must be {scale} times LR"
                )
            writer.add(image_id, {"hr": hr, "lr": lr})


def compression(files: Sequence[Path]) -> dict[str, object] | None:
    """The JPEG tables that more than half of the files share, as in ``jpeg.JpegTables``, or None.

    Files that are no JPEG, and those with other colour planes than 4:4:4 and 4:2:0, have none.
    """
    found = Counter(_tables(path) for path in files)
    tables, count = found.most_common(1)[0]
    if tables is None or 2 * count <= len(files):
        return None
    luma, chroma, subsampling = tables
    return {"luma": list(luma), "chroma": list(chroma), "subsampling": subsampling}


def _tables(path: Path) -> tuple[tuple[int, ...], tuple[int, ...], str] | None:
    try:
        with PillowImage.open(path) as file:
            if not isinstance(file, JpegImageFile):
                return None
            steps = {index: tuple(table) for index, table in file.quantization.items()}
            planes = {0: "4:4:4", 2: "4:2:0"}.get(get_sampling(file))
    except (OSError, ValueError):  # read_image says later what is wrong with it
        return None
    return (steps[0], steps[1], planes) if planes and {0, 1} <= steps.keys() else None


def noise_level(image: Image) -> float:
    """Robust noise level of an image in gray levels (Donoho and Johnstone 1994).

    The median absolute diagonal Haar coefficient over 0.6745: the standard deviation of white
    Gaussian noise; texture raises it a little, smooth noise lowers it.  The coefficients are
    halves of whole numbers, each of which stands for an interval in which the median is
    interpolated; so an image without any noise has 0.19, which 8 bit do not tell from none.
    """
    _, height, width = image.shape
    x = image[:, : height // 2 * 2, : width // 2 * 2].astype(np.int64)
    twice = np.abs(x[:, ::2, ::2] - x[:, 1::2, ::2] - x[:, ::2, 1::2] + x[:, 1::2, 1::2])
    if not twice.size:
        return 0.0
    shares = np.cumsum(np.bincount(twice.ravel())) / twice.size
    median = np.interp(0.5, [0, *shares], [0, *(np.arange(shares.size) + 0.5)])
    return float(median / 2 / 0.6745)


def describe(hr: Store, lr: Store, val: Store) -> dict[str, float]:
    """Metrics: number of images in each store, and the median noise level of the real LR images."""
    levels = [noise_level(lr.read(image_id, "image")) for image_id in lr.ids]
    return {
        "hr_images": len(hr.ids),
        "lr_images": len(lr.ids),
        "val_pairs": len(val.ids),
        "lr_noise_level": float(np.median(levels)),
    }


def _match(folder: Path) -> list[tuple[Path, Path]]:
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    if not (folder / "hr").exists() and not (folder / "lr").exists():
        return []
    hr, lr = (_by_stem(find_images(folder / side)) for side in ("hr", "lr"))
    for one, other, name in ((hr, lr, "lr"), (lr, hr, "hr")):
        for stem in sorted(one.keys() - other.keys()):
            raise UserError(f"{one[stem]}: has no partner of the same name in {folder / name}")
    return [(hr[stem], lr[stem]) for stem in sorted(hr)]


def _by_stem(paths: list[Path]) -> dict[str, Path]:
    unique_ids([str(path) for path in paths])
    return {path.stem: path for path in paths}
