"""Sampled LR images as PNG files, from a DSN or from maps, for any training on pairs."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from pydantic import Field
from tqdm import tqdm

from pipeline.base.errors import UserError
from pipeline.base.files import make_folder, replace_folder, write_whole
from pipeline.base.hashes import file_hash, fingerprint
from pipeline.base.ids import unique_ids
from pipeline.base.seeding import generator
from pipeline.base.settings import Settings
from pipeline.export.degrader import Degrader
from pipeline.images.io import Image, crop_to_multiple, find_images, read_image, to_uint8, write_png
from pipeline.parallel.background import read_ahead, write_behind
from pipeline.sampling.calibration import Calibration, load_calibration, require_calibration
from pipeline.sampling.laplace import Maps
from pipeline.sampling.sampler import Draw, Sampler, make_sampler
from pipeline.stores.format import ARRAYS
from pipeline.stores.reader import Store

FORMAT = "usrdu-degrade-1"
HALF_WRITTEN = ".*.partial"
RECORD = "degrade.json"
"""File of the result that says how it was made; only a folder that has it is ever replaced."""


class DegradeSettings(Settings):
    """What is drawn."""

    samples: int = Field(ge=1)
    """LR images of every HR image."""
    theta: Literal["raw", "calibrated", "none"]
    """Scale of the noise: the DSN's (Eq. 8), that of a calibration, or the mean without noise."""
    seed: int
    """Of all noise."""

    @property
    def folders(self) -> list[str]:
        """Names of the folders of images, one per sample."""
        if self.theta == "none":
            return ["mean"]
        return [f"sample_{i:03d}" for i in range(self.samples)]


class Degraded(NamedTuple):
    """One image of a source."""

    maps: Maps
    """Of N = 1, float32."""
    hr: Image | None
    """(3, scale H, scale W), 0..255, where the source has it."""


class MapsSource(Protocol):
    """Where mean and theta come from."""

    scale: int
    """HR pixels per LR pixel."""
    ids: list[str]
    """Names in a store; an image keeps its noise whatever other images there are."""
    stems: list[str]
    """Names of the files, without ending."""
    digest: str
    """Stands for all of its content."""
    place: Path
    """Its folder."""

    def read(self, index: int) -> Callable[[], Degraded]:
        """Read an image; what is given back computes its mean and theta, in host memory."""

    def require(self, calibration: Calibration, name: Path) -> None:
        """Check that a calibration can belong to this; raises ``UserError``."""


class HrFolder:
    """A folder of HR image files, seen through a DSN.

    Args:
        folder: The images; each is cropped to a multiple of the scale.
        dsn: DSN file.
        tile: Side of a tile in LR pixels; memory grows with its square.

    Raises:
        UserError: The folder is missing or empty, two names collide, or the DSN cannot be read.

    """

    def __init__(self, folder: Path, dsn: Path, tile: int) -> None:
        self.place, self.dsn, self.tile = folder, dsn, tile
        self.files = find_images(folder)
        self.ids = unique_ids([path.name for path in self.files])
        self.stems = [path.stem for path in self.files]
        self.degrader = Degrader.load(dsn)
        self.scale = self.degrader.scale
        self.digest = fingerprint(file_hash(dsn), [file_hash(path) for path in self.files])

    def read(self, index: int) -> Callable[[], Degraded]:
        path = self.files[index]
        hr = crop_to_multiple(path, read_image(path), self.scale)

        def degraded() -> Degraded:
            maps = self.degrader.tiled(hr, self.tile)
            return Degraded({name: torch.from_numpy(a)[None] for name, a in maps.items()}, hr)

        return degraded

    def require(self, calibration: Calibration, name: Path) -> None:
        """A calibration names the maps it was made for, not their DSN: only the scale is known."""
        if calibration.scale != self.scale:
            raise UserError(
                f"{name} has the scale {calibration.scale}, but {self.dsn} has {self.scale}"
            )


class StoredMaps:
    """A store of maps; its ids are the names of the files."""

    def __init__(self, store: Store) -> None:
        self.store, self.place, self.scale = store, Path(store.path), store.scale
        self.ids = self.stems = store.ids
        self.digest = store.digest

    def read(self, index: int) -> Callable[[], Degraded]:
        maps = {
            name: torch.from_numpy(self.store.read(self.ids[index], name)).float()[None]
            for name in ARRAYS["maps"]
        }
        return lambda: Degraded(maps, None)

    def require(self, calibration: Calibration, name: Path) -> None:
        """A calibration names the maps it was made for."""
        require_calibration(calibration, self.store, name)


def degrade(
    source: MapsSource,
    settings: DegradeSettings,
    out: Path,
    calibration: Path | None = None,
    hr_out: Path | None = None,
    overwrite: bool = False,
) -> dict[str, int]:
    """Write LR images ``OUT/FOLDER/NAME.png``, 8-bit RGB, one folder per sample.

    The noise of a sample is a function of the seed, the image's id and the sample's number alone,
    drawn on the CPU.  OUT appears when it is whole; what an interrupted run has written under
    another name, the same call goes on with.  One image at a time is in memory, and the next one.

    Args:
        source: Of mean and theta.
        settings: What is drawn.
        out: Folder for the result, new or empty.
        calibration: File for ``calibrated``; whether it can belong to the source is checked.
        hr_out: Folder for the HR images as PNG, cropped to a multiple of the scale, if any.
        overwrite: Replace an earlier result in ``out`` that holds nothing else, and HR files of the
            same name that differ.

    Returns:
        Number of images, and of LR files.

    Raises:
        UserError: A file cannot be read or written, or something would be lost.

    """
    _require_places(source.place, out, hr_out)
    if settings.theta == "none" and settings.samples > 1:
        raise UserError("without theta all samples are the mean; ask for one")
    measured = _measured(source, settings, calibration)
    sampler = make_sampler(Draw(settings.theta), measured)
    record = {
        "format": FORMAT,
        **settings.model_dump(),
        "folders": settings.folders,
        "scale": source.scale,
        "source": source.digest,
        "calibration": None if measured is None else fingerprint(measured.model_dump()),
        "images": source.stems,
    }
    partial = _begin(out, record, overwrite)
    try:
        files = [
            [partial / folder / f"{stem}.png" for folder in settings.folders]
            for stem in source.stems
        ]
        left = [
            index
            for index, of_image in enumerate(files)
            if hr_out is not None or not all(path.exists() for path in of_image)
        ]
        inputs = ((index, source.read(index)) for index in left)
        with write_behind(_write) as put, read_ahead(inputs) as images:
            for index, compute in tqdm(images, "degrade", len(left), unit="image"):
                found = compute()
                if hr_out is not None and found.hr is not None:
                    _write_hr(hr_out / f"{source.stems[index]}.png", found.hr, overwrite)
                lr_images = _lr_images(found.maps, source.ids[index], settings, sampler)
                for path, image in zip(files[index], lr_images, strict=True):
                    put((path, image))
        replace_folder(partial, out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}") from error
    return {"images": len(source.ids), "files": len(source.ids) * len(settings.folders)}


def _write(images: Iterator[tuple[Path, Image]]) -> None:
    for path, image in images:
        write_png(path, image)


def _measured(
    source: MapsSource, settings: DegradeSettings, calibration: Path | None
) -> Calibration | None:
    if (settings.theta == "calibrated") != (calibration is not None):
        raise UserError("a calibrated theta needs a calibration, and a calibration is for no other")
    if calibration is None:
        return None
    measured = load_calibration(calibration)
    source.require(measured, calibration)
    return measured


def _lr_images(
    maps: Maps, image_id: str, settings: DegradeSettings, sampler: Sampler
) -> Iterator[Image]:
    """The LR images of one HR image, rounded to 8 bit, in the order of the folders."""
    for number in range(len(settings.folders)):
        source = generator(settings.seed, f"degrade/{image_id}", number)
        yield to_uint8(sampler.sample(maps, source)[0])


def _write_hr(path: Path, image: Image, overwrite: bool) -> None:
    """Write an HR image, unless it is there already; another one of the name stays."""
    if path.exists() and not overwrite:
        if np.array_equal(read_image(path), image):
            return
        raise UserError(f"{path}: holds another image; name another folder, or --overwrite")
    make_folder(path.parent)
    write_png(path, image)


def _require_places(source: Path, out: Path, hr_out: Path | None) -> None:
    """No folder of results takes another one, or the source, with it when it is replaced."""
    here, place = source.resolve(), out.resolve()
    if here.is_relative_to(place):
        raise UserError(f"{out}: holds the input {source}; name another folder")
    if hr_out is None:
        return
    if hr_out.resolve() == here:
        raise UserError(f"{hr_out}: is the input; name another folder for the cropped HR images")
    if hr_out.resolve().is_relative_to(place):
        raise UserError(f"{hr_out}: lies in {out}; name a folder beside it")


def _begin(out: Path, record: dict[str, Any], overwrite: bool) -> Path:
    """The folder to write in: a new one, or that of a run of the same record which was cut off."""
    partial = out.with_name(out.name + ".partial")
    for folder in (out, partial):
        _require_ours(folder)
    if out.exists() and any(out.iterdir()) and not overwrite:
        raise UserError(f"{out}: holds a result already; name another folder, or --overwrite")
    if _record(partial) != record:
        shutil.rmtree(partial, ignore_errors=True)
        write_whole(partial / RECORD, (json.dumps(record, indent=2) + "\n").encode())
    for cut_off in partial.rglob(HALF_WRITTEN):
        cut_off.unlink()
    for name in record["folders"]:
        make_folder(partial / name)
    return partial


def _record(folder: Path) -> dict[str, Any]:
    """What a result says of itself; nothing if it is none."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return dict(record) if record["format"] == FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _require_ours(folder: Path) -> None:
    """Everything in a folder that may be replaced is a result of this module, by name."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file, expected a folder")
    record = _record(folder)
    ours = {folder / RECORD} if record else set()
    for name in record.get("folders", []):
        ours |= {folder / name / f"{stem}.png" for stem in record["images"]}
        ours |= set((folder / name).glob(HALF_WRITTEN))
    for path in sorted(folder.rglob("*")):
        if path not in ours and not path.is_dir():
            raise UserError(f"{path}: is no result of usrdu degrade; name a new or empty folder")
