"""Preparation: every image file is decoded once, checked, and written into a store."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from tqdm import tqdm

from pipeline.base.errors import UserError, printable
from pipeline.base.hashes import file_hash, fingerprint
from pipeline.base.ids import unique_ids
from pipeline.base.settings import Count, Settings
from pipeline.base.units import Scale
from pipeline.camera_files.frames import draw_frames
from pipeline.images.io import Image, crop_to_multiple, size_text
from pipeline.piles.headers import header_of
from pipeline.piles.look import Look, Picture, look_at
from pipeline.piles.report import report_on, write_report
from pipeline.prepare.cleaning import cleaned_hr
from pipeline.prepare.compression import compression, warn_of_reduced
from pipeline.prepare.datasets import Preset, find_files, find_pairs, find_val
from pipeline.prepare.enlarged import LrSize, check_enlarged, reduced
from pipeline.prepare.folders import Files, Pairs
from pipeline.prepare.left_out import clips_in, without_left_out
from pipeline.prepare.sizes import NO_CROPS, Crops, Sieve
from pipeline.reading.files import holds_images, read_image, warn_of_others
from pipeline.stores.format import Kind
from pipeline.stores.kept import KeptResults
from pipeline.stores.reader import Store
from pipeline.stores.split import PART
from pipeline.writing.writer import StoreWriter

log = logging.getLogger(__name__)


class PrepareSettings(Settings):
    """The section ``prepare``."""

    scale: Scale = 4
    """HR pixels per LR pixel, along each side."""
    lr_size: LrSize = "native"
    """Size of the LR images in their files; see ``enlarged``."""
    preset: Preset = "none"
    """The data set whose root the folders may be; see ``datasets``."""
    hr_from: Literal["folder", "lr", "both"] = "folder"
    """HR images: those of the folder, the real LR images cleaned, or both."""
    cleaning_factor: int = Field(2, ge=2, le=8)
    """LR pixels per pixel, along each side, of an HR image made from a real LR image; see
    ``cleaning``."""
    frames_per_clip: Count = 8
    """Frames that are drawn of every video clip among the real LR images, evenly over its length;
    see ``camera_files.frames``."""
    least_side: int = Field(0, ge=0)
    """LR pixels; images that hold no square of this side are left out, HR images by the scale."""

    @property
    def reduction(self) -> int:
        """Pixels of a file per pixel of the LR image that is made of it, along each side."""
        return self.scale if self.lr_size == "enlarged" else 1


@dataclass(frozen=True)
class Folders:
    """The user's folders of images; ``prepare.datasets`` says what they may hold."""

    hr: Path
    """Sharp images; not read if the HR images are made of the LR images alone."""
    lr: Path
    """Real LR images."""
    val: Path
    """Pairs for validation, or LR images without references."""
    pairs: Path
    """Pairs for a supervised training."""


def with_frames(images: Files, frames: list[Path]) -> Files:
    """Images by id, and frames of clips after them.

    Raises:
        UserError: Two would have the same id.

    """
    names = [*(path.name for path in images.values()), *(path.name for path in frames)]
    ids = unique_ids(names)[len(images) :]
    return {**images, **dict(zip(ids, frames, strict=True))}


Looks = dict[str, Look]
"""What is measured of images, by id."""


@dataclass(frozen=True)
class Cleaning:
    """How HR images are made of real LR images."""

    lr: Store
    """Store of kind lr."""
    files: Files
    """The files of its images."""
    factor: int
    """See ``images.reduction``."""


def prepare(
    folders: Folders,
    settings: PrepareSettings,
    out: Path,
    work: Path | None = None,
    crops: Crops = NO_CROPS,
) -> dict[str, float]:
    """Find all images, then write ``lr.zarr``, ``hr.zarr``, ``val.zarr`` and ``pairs.zarr``.

    What is wrong with the HR and the LR images is said in the log, and stands in ``piles.md``
    and ``piles.json``; nothing is left out because of it.

    A run that was interrupted, or that met a bad image, keeps the images it has written, and the
    next run continues with them.

    Args:
        folders: Where the images are.
        settings: The section ``prepare``.
        out: Folder of the stores.
        work: Folder for the kept results; see ``stores.kept``.  None: they are not kept.
        crops: Crops of the trainings, which every image must hold.

    Returns:
        Metrics; see ``describe``.

    Raises:
        UserError: A folder lacks the images it should hold, an image cannot be read or does not
            fit or is smaller than a crop, two names collide, or a store cannot be written.

    """
    scale, reduction = settings.scale, settings.reduction
    data_set = (settings.preset, scale, settings.lr_size)
    hr: Files = {}
    if settings.hr_from != "lr":
        hr = without_left_out(find_files(folders.hr, "hr", *data_set))
    clips = clips_in(folders.lr) if settings.preset == "none" else []
    lr: Files = {}
    if not clips or holds_images(folders.lr):
        lr = without_left_out(find_files(folders.lr, "lr", *data_set))
    val, inputs = find_val(folders.val, *data_set)
    pairs = find_pairs(folders.pairs, *data_set)
    paired = (path for pair in [*val.values(), *pairs.values()] for path in pair)
    warn_of_others([*hr.values(), *lr.values(), *inputs.values(), *paired], clips)
    lr = with_frames(lr, draw_frames(clips, settings.frames_per_clip, work))
    hr, lr, pairs = _large(hr, lr, pairs, settings, crops)
    sharp_looks: Looks = {}
    real_looks: Looks = {}
    prepare_lr(lr, scale, out / "lr.zarr", work, reduction, real_looks)
    real = Store(out / "lr.zarr", "lr")
    cleaning = None
    if settings.hr_from != "folder":
        cleaning = Cleaning(real, lr, settings.cleaning_factor)
    prepare_hr(hr, scale, out / "hr.zarr", cleaning, work, sharp_looks)
    if inputs:
        prepare_lr(inputs, scale, out / "val.zarr", work, reduction)
    else:
        prepare_pairs(val, scale, out / "val.zarr", work, reduction)
    prepare_pairs(pairs, scale, out / "pairs.zarr", work, reduction)
    sharp = Store(out / "hr.zarr", "hr")
    _report(pictures(sharp, hr, sharp_looks), pictures(real, lr, real_looks), out)
    return describe(
        sharp,
        real,
        Store(out / "val.zarr", "val", "lr"),
        Store(out / "pairs.zarr", "val"),
    )


def pictures(store: Store, files: Files, looks: Looks) -> list[Picture]:
    """Look at the images of a store that are made of files, as they are kept there.

    Args:
        store: Of kind hr or lr.
        files: The files, by id.
        looks: What was measured when the store was written; images that an earlier run wrote are
            read.

    """
    bar = tqdm(files.items(), f"look at {store.kind}", unit="image", leave=False)
    return [
        Picture(path, looks.get(i) or look_at(store.read(i, "image")), header_of(path))
        for i, path in bar
    ]


def _report(hr: list[Picture], lr: list[Picture], out: Path) -> None:
    report = report_on({"HR": hr, "LR": lr})
    page, _ = write_report(report, out)
    for line in report.lines:
        log.info("%s", line)
    if report.lines:
        log.info("see %s", page)


def _large(
    hr: Files, lr: Files, pairs: Pairs, settings: PrepareSettings, crops: Crops
) -> tuple[Files, Files, Pairs]:
    """Images without those that are to be left out as too small.

    Raises:
        UserError: Others are smaller than a crop of the trainings.

    """
    scale, factor, sieve = settings.scale, settings.cleaning_factor, Sieve(settings.least_side)

    def side(height: int, width: int) -> int:
        """Of the largest square in a real LR image, of whose file this is the size."""
        return min(height, width) // settings.reduction

    def seen_side(height: int, width: int) -> int:
        """The same without the held-out part."""
        width //= settings.reduction
        return min(height // settings.reduction, width - width // PART)

    hr = sieve(hr, Path, lambda h, w: min(h, w) // scale, crops.hr)
    lr = sieve(lr, Path, seen_side, crops.lr)
    if settings.hr_from != "folder":
        lr = sieve(lr, Path, lambda h, w: side(h, w) // factor // scale, crops.hr)
    pairs = sieve(pairs, lambda files: files[1], side, crops.pairs)
    sieve.require_all_large()
    return hr, lr, pairs


def prepare_hr(
    files: Files,
    scale: int,
    target: Path,
    cleaning: Cleaning | None = None,
    work: Path | None = None,
    looks: Looks | None = None,
) -> None:
    """Write a store of kind hr from sharp images, each cropped to a multiple of the scale.

    Args:
        files: The images.
        scale: HR pixels per LR pixel.
        target: The store.
        cleaning: How further images, ``ID-cleaned``, are made; they stand after the others, and the
            attribute ``cleaned`` holds the digest of the LR images and the factor.
        work: Folder for the kept results; see ``stores.kept``.
        looks: Takes what is measured of every image that is decoded.

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
        return _looked_at(image_id, crop_to_multiple(path, read_image(path), scale), looks)

    _write(_Plan(target, "hr", scale, sources, attributes), arrays, work)


def prepare_lr(
    files: Files,
    scale: int,
    target: Path,
    work: Path | None = None,
    reduction: int = 1,
    looks: Looks | None = None,
) -> None:
    """Write a store of kind lr from real LR images, without any change unless they are enlarged.

    The attribute ``jpeg`` says how the files are compressed; see ``compression``.  A reduced image
    is not compressed, so there it is None, and ``reduced_by`` holds the reduction.

    Args:
        files: The images.
        scale: HR pixels per LR pixel.
        target: The store.
        work: Folder for the kept results; see ``stores.kept``.
        reduction: See ``enlarged.reduced``.
        looks: Takes what is measured of every image that is decoded.

    Raises:
        UserError: An image cannot be read or is smaller than the reduction, or the store cannot be
            written.

    """
    paths = list(files.values())
    attributes = {"jpeg": None, **_reduced_by(reduction)}
    if reduction == 1:
        attributes["jpeg"] = compression(paths)
    else:
        warn_of_reduced(paths)

    def arrays(image_id: str) -> Arrays:
        path = files[image_id]
        return _looked_at(image_id, reduced(path, read_image(path), reduction), looks)

    sources = {i: (path,) for i, path in files.items()}
    _write(_Plan(target, "lr", scale, sources, attributes), arrays, work)


def prepare_pairs(
    pairs: Pairs, scale: int, target: Path, work: Path | None = None, reduction: int = 1
) -> None:
    """Write a store of kind val, empty if there are no pairs.

    Args:
        pairs: The images.
        scale: HR pixels per LR pixel.
        target: The store.
        work: Folder for the kept results; see ``stores.kept``.
        reduction: Of the LR images; see ``enlarged.reduced``.

    Raises:
        UserError: An image cannot be read, a pair does not fit the scale, or the store cannot be
            written.

    """

    def arrays(image_id: str) -> Arrays:
        hr_path, lr_path = pairs[image_id]
        hr, lr = read_image(hr_path), read_image(lr_path)
        check_enlarged(hr_path, lr_path, hr.shape == lr.shape, reduction > 1)
        hr = crop_to_multiple(hr_path, hr, scale)
        lr = reduced(lr_path, lr, reduction)
        if hr.shape[1:] != (lr.shape[1] * scale, lr.shape[2] * scale):
            raise UserError(
                f"{hr_path} is {size_text(hr)} and {lr_path} is {size_text(lr)}: "
                f"HR must be {scale} times LR"
            )
        return {"hr": hr, "lr": lr}

    _write(_Plan(target, "val", scale, pairs, _reduced_by(reduction)), arrays, work)


def _reduced_by(reduction: int) -> dict[str, object]:
    """The root attribute of a store whose LR images were reduced."""
    return {"reduced_by": reduction} if reduction > 1 else {}


Arrays = dict[str, Image]
"""The arrays of one image of a store, by name."""


def _looked_at(image_id: str, image: Image, looks: Looks | None) -> Arrays:
    if looks is not None:
        looks[image_id] = look_at(image)
    return {"image": image}


@dataclass(frozen=True)
class _Plan:
    """A store that will be written."""

    target: Path
    kind: Kind
    scale: int
    files: Mapping[str, tuple[Path, ...]]
    """Files of every image, by id."""
    attributes: Mapping[str, object] | None = None
    """Further root attributes."""


def _write(plan: _Plan, arrays: Callable[[str], Arrays], work: Path | None) -> None:
    """Write a store; images, or a whole store, written before from the same files are kept."""
    name = f"prepare {plan.target.stem}"
    bar = tqdm(plan.files.items(), f"{name}, hashes", unit="image", leave=False)
    sources = {i: fingerprint(*(_file_hash(path) for path in paths)) for i, paths in bar}
    attributes = {**(plan.attributes or {}), **_file_names(plan.files)} or None
    kept = None
    if work is not None:
        key = fingerprint(plan.kind, plan.scale, attributes, sources)
        kept = KeptResults(work, key, [plan.target], __name__)
        if kept.metrics() is not None:
            kept.restore(name)
            return
    ids = list(plan.files)
    with StoreWriter(plan.target, plan.kind, plan.scale, ids, attributes, resumable=True) as writer:
        for image_id, source in tqdm(sources.items(), name, unit="image"):
            if not writer.has(image_id, source):
                writer.add_from(image_id, source, arrays(image_id))
    if kept is not None:
        kept.keep({})


def _file_names(files: Mapping[str, tuple[Path, ...]]) -> dict[str, dict[str, str]]:
    """The attribute ``file_names``: names beyond ASCII by id, which holds a hash instead."""
    firsts = {image_id: paths[0] for image_id, paths in files.items()}
    names = {i: printable(path.name) for i, path in firsts.items() if not path.stem.isascii()}
    return {"file_names": names} if names else {}


def _file_hash(path: Path) -> str:
    """Hash of an image file; empty if it is missing, which is reported when it is decoded."""
    return file_hash(path) if path.is_file() else ""


def noise_level(image: Image) -> float:
    """Robust noise level of an image in gray levels (Donoho and Johnstone 1994).

    It is the median absolute diagonal Haar coefficient over 0.6745, which for white Gaussian noise
    is the standard deviation.  Texture raises it a little, smooth noise lowers it.  Coefficients of
    an 8-bit image are multiples of 1/2.  Each stands for an interval, in which the median is
    interpolated.  So an image without noise has 0.19, which in 8 bit equals no noise.
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

    ``val_pairs`` counts images with references, ``val_inputs`` those without (a store of kind lr).
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
