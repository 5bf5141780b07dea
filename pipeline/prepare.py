"""Preparation: every image file decoded once, checked, and put into a store."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile, get_sampling
from pydantic import Field
from tqdm import tqdm

from pipeline.cleaning import cleaned_hr
from pipeline.errors import UserError
from pipeline.image_ids import unique_ids
from pipeline.images import Image, crop_to_multiple, open_header, read_image, size_text
from pipeline.presets import Files, Pairs, Preset, find_files, find_pairs, find_val
from pipeline.settings import Settings
from pipeline.store_writer import StoreWriter
from pipeline.stores import Store


class PrepareSettings(Settings):
    """The section ``prepare``."""

    scale: int = Field(ge=2, le=4)
    """HR pixels per LR pixel, along each side."""
    preset: Preset
    """The data set whose root the folders may be; see ``presets``."""
    hr_from: Literal["folder", "lr", "both"]
    """HR images: those of the folder, the real LR images cleaned, or both."""
    cleaning_factor: int = Field(ge=2, le=8)
    """How many times smaller a real LR image is made to be an HR image; see ``cleaning``."""


@dataclass(frozen=True)
class Folders:
    """The user's folders of images; see ``presets`` for what may be in them."""

    hr: Path
    """Sharp images; not looked at if HR comes from the LR images alone."""
    lr: Path
    """Real LR images."""
    val: Path
    """Pairs for validation, or LR images without references."""
    pairs: Path
    """Pairs for a supervised training."""


@dataclass(frozen=True)
class Cleaning:
    """HR images from real LR images."""

    lr: Store
    """Store of kind lr."""
    files: Files
    """What it was made from."""
    factor: int
    """See ``cleaning.clean``."""


def prepare(folders: Folders, settings: PrepareSettings, out: Path) -> dict[str, float]:
    """Find all images, then write ``lr.zarr``, ``hr.zarr``, ``val.zarr`` and ``pairs.zarr``.

    Args:
        folders: Where the images are.
        settings: The section ``prepare``.
        out: Folder of the stores.

    Returns:
        Metrics; see ``describe``.

    Raises:
        UserError: A folder lacks what is looked for, an image cannot be read or does not fit, two
            names collide, or a store cannot be written.

    """
    scale, preset = settings.scale, settings.preset
    hr: Files = {}
    if settings.hr_from != "lr":
        hr = find_files(folders.hr, "hr", preset, scale)
    lr = find_files(folders.lr, "lr", preset, scale)
    val, inputs = find_val(folders.val, preset, scale)
    pairs = find_pairs(folders.pairs, preset, scale)
    prepare_lr(lr, scale, out / "lr.zarr")
    real = Store(out / "lr.zarr", "lr")
    cleaning = None
    if settings.hr_from != "folder":
        cleaning = Cleaning(real, lr, settings.cleaning_factor)
    prepare_hr(hr, scale, out / "hr.zarr", cleaning)
    if inputs:
        prepare_lr(inputs, scale, out / "val.zarr")
    else:
        prepare_pairs(val, scale, out / "val.zarr")
    prepare_pairs(pairs, scale, out / "pairs.zarr")
    return describe(
        Store(out / "hr.zarr", "hr"),
        real,
        Store(out / "val.zarr", "val", "lr"),
        Store(out / "pairs.zarr", "val"),
    )


def prepare_hr(files: Files, scale: int, target: Path, cleaning: Cleaning | None = None) -> None:
    """Write a store of kind hr from sharp images, each cropped to a multiple of the scale.

    Args:
        files: The images.
        scale: HR pixels per LR pixel.
        target: The store.
        cleaning: Further images, ``ID-cleaned``, after these; the attribute ``cleaned`` then says
            what they were made from.

    Raises:
        UserError: An image cannot be read or is smaller than the scale, two names collide, or the
            store cannot be written.

    """
    ids, attributes = list(files), {}
    if cleaning is not None:
        ids = unique_ids([f"{i}.png" for i in [*ids, *(f"{j}-cleaned" for j in cleaning.files)]])
        made = {"lr_digest": cleaning.lr.digest, "factor": cleaning.factor}
        attributes = {"cleaned": made}
    with (
        StoreWriter(target, "hr", scale, ids, attributes) as writer,
        tqdm(total=len(ids), desc=f"prepare {target.stem}", unit="image") as bar,
    ):
        for image_id, path in files.items():
            writer.add(image_id, {"image": crop_to_multiple(path, read_image(path), scale)})
            bar.update()
        if cleaning is None:
            return
        for image_id, path in cleaning.files.items():
            image = cleaned_hr(path, cleaning.lr, image_id, cleaning.factor)
            writer.add(f"{image_id}-cleaned", {"image": image})
            bar.update()


def prepare_lr(files: Files, scale: int, target: Path) -> None:
    """Write a store of kind lr from real LR images, kept as they are.

    The attribute ``jpeg`` says how most of the files were compressed; see ``compression``.

    Raises:
        UserError: An image cannot be read, or the store cannot be written.

    """
    attributes = {"jpeg": compression(list(files.values()))}
    with StoreWriter(target, "lr", scale, list(files), attributes) as writer:
        for image_id, path in tqdm(files.items(), f"prepare {target.stem}", unit="image"):
            writer.add(image_id, {"image": read_image(path)})


def prepare_pairs(pairs: Pairs, scale: int, target: Path) -> None:
    """Write a store of kind val, empty if there are no pairs.

    Raises:
        UserError: An image cannot be read, a pair does not fit the scale, or the store cannot be
            written.

    """
    with StoreWriter(target, "val", scale, list(pairs)) as writer:
        bar = tqdm(pairs.items(), f"prepare {target.stem}", unit="pair")
        for image_id, (hr_path, lr_path) in bar:
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
        with open_header(path) as file:
            if not isinstance(file, JpegImageFile):
                return None
            steps = {index: tuple(table) for index, table in file.quantization.items()}
            planes = {0: "4:4:4", 2: "4:2:0"}.get(get_sampling(file))
    except Exception:  # the decoders raise dozens of types; read_image says later what is wrong
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


def describe(hr: Store, lr: Store, val: Store, pairs: Store) -> dict[str, float]:
    """Metrics: number of images in each store, and the median noise level of the real LR images.

    ``val_pairs`` have references, ``val_inputs`` (a store of kind lr) have none.
    """
    levels = [noise_level(lr.read(image_id, "image")) for image_id in lr.ids]
    paired = val.kind == "val"
    return {
        "hr_images": len(hr.ids),
        "lr_images": len(lr.ids),
        "val_pairs": len(val.ids) if paired else 0,
        "val_inputs": 0 if paired else len(val.ids),
        "train_pairs": len(pairs.ids),
        "lr_noise_level": float(np.median(levels)),
    }
