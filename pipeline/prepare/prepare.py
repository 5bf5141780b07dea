"""Preparation: every image file decoded once, checked, and put into a store."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile, get_sampling
from pydantic import Field
from tqdm import tqdm

from pipeline.base.errors import UserError
from pipeline.base.hashes import file_hash, fingerprint
from pipeline.base.ids import unique_ids
from pipeline.base.settings import Settings
from pipeline.base.units import Scale
from pipeline.images.io import Image, crop_to_multiple, open_header, read_image, size_text
from pipeline.prepare.cleaning import cleaned_hr
from pipeline.prepare.datasets import Files, Pairs, Preset, find_files, find_pairs, find_val
from pipeline.stores.format import Kind
from pipeline.stores.kept import KeptResults
from pipeline.stores.reader import Store
from pipeline.writing.writer import StoreWriter


class PrepareSettings(Settings):
    """The section ``prepare``."""

    scale: Scale = 4
    """HR pixels per LR pixel, along each side."""
    preset: Preset = "none"
    """The data set whose root the folders may be; see ``presets``."""
    hr_from: Literal["folder", "lr", "both"] = "folder"
    """HR images: those of the folder, the real LR images cleaned, or both."""
    cleaning_factor: int = Field(2, ge=2, le=8)
    """LR pixels per pixel, along each side, of an HR image made from a real LR image; see
    ``cleaning``."""


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


def prepare(
    folders: Folders, settings: PrepareSettings, out: Path, work: Path | None = None
) -> dict[str, float]:
    """Find all images, then write ``lr.zarr``, ``hr.zarr``, ``val.zarr`` and ``pairs.zarr``.

    Of an interrupted run, also one that met a bad image, all images are kept that it had written.

    Args:
        folders: Where the images are.
        settings: The section ``prepare``.
        out: Folder of the stores.
        work: Folder where finished stores stay known; see ``finished``.

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
    prepare_lr(lr, scale, out / "lr.zarr", work)
    real = Store(out / "lr.zarr", "lr")
    cleaning = None
    if settings.hr_from != "folder":
        cleaning = Cleaning(real, lr, settings.cleaning_factor)
    prepare_hr(hr, scale, out / "hr.zarr", cleaning, work)
    if inputs:
        prepare_lr(inputs, scale, out / "val.zarr", work)
    else:
        prepare_pairs(val, scale, out / "val.zarr", work)
    prepare_pairs(pairs, scale, out / "pairs.zarr", work)
    return describe(
        Store(out / "hr.zarr", "hr"),
        real,
        Store(out / "val.zarr", "val", "lr"),
        Store(out / "pairs.zarr", "val"),
    )


def prepare_hr(
    files: Files,
    scale: int,
    target: Path,
    cleaning: Cleaning | None = None,
    work: Path | None = None,
) -> None:
    """Write a store of kind hr from sharp images, each cropped to a multiple of the scale.

    Args:
        files: The images.
        scale: HR pixels per LR pixel.
        target: The store.
        cleaning: Further images, ``ID-cleaned``, after these; the attribute ``cleaned`` then says
            what they were made from.
        work: Folder where finished stores stay known; see ``finished``.

    Raises:
        UserError: An image cannot be read or is smaller than the scale, two names collide, or the
            store cannot be written.

    """
    sources = {image_id: (path,) for image_id, path in files.items()}
    originals: dict[str, str] = {}
    attributes = None
    if cleaning is not None:
        originals = {f"{image_id}-cleaned": image_id for image_id in cleaning.files}
        unique_ids([f"{image_id}.png" for image_id in [*sources, *originals]])
        sources |= {cleaned: (cleaning.files[i],) for cleaned, i in originals.items()}
        attributes = {"cleaned": {"lr_digest": cleaning.lr.digest, "factor": cleaning.factor}}

    def arrays(image_id: str) -> Arrays:
        (path,) = sources[image_id]
        if cleaning is not None and image_id in originals:
            original = originals[image_id]
            return {"image": cleaned_hr(path, cleaning.lr, original, cleaning.factor)}
        return {"image": crop_to_multiple(path, read_image(path), scale)}

    _write(target, "hr", scale, sources, arrays, work, attributes)


def prepare_lr(files: Files, scale: int, target: Path, work: Path | None = None) -> None:
    """Write a store of kind lr from real LR images, kept as they are.

    The attribute ``jpeg`` says how most of the files were compressed; see ``compression``.

    Raises:
        UserError: An image cannot be read, or the store cannot be written.

    """

    def arrays(image_id: str) -> Arrays:
        return {"image": read_image(files[image_id])}

    sources = {i: (path,) for i, path in files.items()}
    attributes = {"jpeg": compression(list(files.values()))}
    _write(target, "lr", scale, sources, arrays, work, attributes)


def prepare_pairs(pairs: Pairs, scale: int, target: Path, work: Path | None = None) -> None:
    """Write a store of kind val, empty if there are no pairs.

    Raises:
        UserError: An image cannot be read, a pair does not fit the scale, or the store cannot be
            written.

    """

    def arrays(image_id: str) -> Arrays:
        hr_path, lr_path = pairs[image_id]
        lr = read_image(lr_path)
        hr = crop_to_multiple(hr_path, read_image(hr_path), scale)
        if hr.shape[1:] != (lr.shape[1] * scale, lr.shape[2] * scale):
            raise UserError(
                f"{hr_path} is {size_text(hr)} and {lr_path} is {size_text(lr)}: "
                f"HR must be {scale} times LR"
            )
        return {"hr": hr, "lr": lr}

    _write(target, "val", scale, pairs, arrays, work)


Arrays = dict[str, Image]
"""Of one image of a store, by name."""


def _write(
    target: Path,
    kind: Kind,
    scale: int,
    files: Mapping[str, tuple[Path, ...]],
    arrays: Callable[[str], Arrays],
    work: Path | None,
    attributes: Mapping[str, object] | None = None,
) -> None:
    """Write a store from files, which say whether an image, or all, were written before."""
    words = f"prepare {target.stem}"
    bar = tqdm(files.items(), f"{words}, hashes", unit="image", leave=False)
    sources = {i: fingerprint(*(_file_hash(path) for path in paths)) for i, paths in bar}
    finished = None
    if work is not None:
        finished = KeptResults(
            work, fingerprint(kind, scale, attributes, sources), [target], __name__
        )
        if finished.metrics() is not None:
            finished.restore(words)
            return
    with StoreWriter(target, kind, scale, list(files), attributes, resumable=True) as writer:
        for image_id, source in tqdm(sources.items(), words, unit="image"):
            if not writer.has(image_id, source):
                writer.add_from(image_id, source, arrays(image_id))
    if finished is not None:
        finished.keep({})


def _file_hash(path: Path) -> str:
    """Of an image file; one that is gone is found out when it is decoded."""
    return file_hash(path) if path.is_file() else ""


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
