"""Sampled LR images as PNG files, from a DSN or from maps, for any training on pairs."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from pipeline.dsn.file import load_dsn
from pipeline.export.degrader import Degrader
from pipeline.images.io import Image, crop_to_multiple, to_uint8, write_png
from pipeline.parallel.background import read_ahead, write_behind
from pipeline.passport.passport import Passport, passport_of
from pipeline.reading.files import find_images, read_image, warn_of_others
from pipeline.sampling.calibration import Calibration, load_calibration, require_calibration
from pipeline.sampling.laplace import Maps
from pipeline.sampling.sampler import Draw, Sampler, make_sampler
from pipeline.stores.format import ARRAYS
from pipeline.stores.reader import Store
from pipeline.stores.weights import require_finite

RECORD_FORMAT = "usrdu-degrade-1"
HALF_WRITTEN = ".*.partial"
"""Pattern of the names of files whose writing was interrupted; see ``base.files.whole``."""
RECORD = "degrade.json"
"""File in a result that records how it was made; a folder without it is never replaced."""


class DegradeSettings(Settings):
    """What the samples are drawn with."""

    samples: int = Field(ge=1)
    """Number of LR images of every HR image."""
    theta: Literal["raw", "camera", "calibrated", "none"]
    """Scale of the noise: the DSN's theta (Eq. 8), the same with the correlation, tails and JPEG of
    the camera's passport, that of a calibration, or none for the mean."""
    seed: int
    """Seed of the noise."""

    @property
    def folders(self) -> list[str]:
        """Names of the folders of images, one per sample."""
        if self.theta == "none":
            return ["mean"]
        return [f"sample_{i:03d}" for i in range(self.samples)]


class Degraded(NamedTuple):
    """Maps of one image."""

    maps: Maps
    """(1, 3, H, W) each, float32."""
    hr: Image | None
    """The HR image (3, scale H, scale W), 0..255; None if the source has none."""


class MapsSource(Protocol):
    """A source of maps: HR images under a DSN, or a store."""

    scale: int
    """HR pixels per LR pixel."""
    ids: list[str]
    """Ids of the images.  The noise of an image depends on its id, not on the other images."""
    stems: list[str]
    """Names of the files to write, without ending."""
    digest: str
    """Hash of everything the maps depend on."""
    place: Path
    """Folder that is read."""
    passport: Passport | None
    """The camera's passport, if the DSN carries one."""

    def read(self, index: int) -> Callable[[], Degraded]:
        """Read an image and return a function that computes its maps, in host memory."""

    def require(self, calibration: Calibration, name: Path) -> None:
        """Check that a calibration can belong to these maps.

        Args:
            calibration: The calibration.
            name: Its file, for the message.

        Raises:
            UserError: It cannot.

        """


class HrFolder:
    """The maps that a DSN gives of a folder of HR image files; see ``MapsSource``.

    Args:
        folder: The HR images; each is cropped to a multiple of the scale.
        dsn: DSN file.
        tile: Side of a tile in LR pixels; memory grows with its square.

    Raises:
        UserError: The folder is missing or empty, two names collide, or the DSN cannot be read.

    """

    def __init__(self, folder: Path, dsn: Path, tile: int) -> None:
        self.place, self.dsn, self.tile = folder, dsn, tile
        self.files = find_images(folder)
        warn_of_others(self.files)
        self.ids = unique_ids([path.name for path in self.files])
        self.stems = [path.stem for path in self.files]
        file = load_dsn(dsn)
        self.degrader, self.passport = Degrader.of(file), file.description.passport
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
        """Compare the scales; more is not possible, as a calibration names maps but no DSN."""
        if calibration.scale != self.scale:
            raise UserError(
                f"{name} has the scale {calibration.scale}, but {self.dsn} has {self.scale}"
            )


class StoredMaps:
    """The maps of a store; its ids are the names of the files.  See ``MapsSource``."""

    def __init__(self, store: Store) -> None:
        self.store, self.place, self.scale = store, Path(store.path), store.scale
        self.ids = self.stems = store.ids
        self.digest, self.passport = store.digest, passport_of(store)

    def read(self, index: int) -> Callable[[], Degraded]:
        maps = {
            name: torch.from_numpy(self.store.read(self.ids[index], name)).float()[None]
            for name in ARRAYS["maps"]
        }
        require_finite(f"{self.place}: image '{self.ids[index]}'", maps)
        return lambda: Degraded(maps, None)

    def require(self, calibration: Calibration, name: Path) -> None:
        """Compare the maps with those that the calibration names."""
        require_calibration(calibration, self.store, name)


@dataclass(frozen=True)
class Output:
    """Where the images go."""

    lr: Path
    """Folder for the result, new or empty."""
    hr: Path | None = None
    """Folder for the HR images as PNG, cropped to a multiple of the scale; None: not written."""
    overwrite: bool = False
    """Replace an earlier result in ``lr`` that holds nothing else, and other HR files of the same
    name."""


def degrade(
    source: MapsSource,
    settings: DegradeSettings,
    output: Output,
    calibration: Path | None = None,
) -> dict[str, int]:
    """Write LR images ``OUT/FOLDER/NAME.png``, 8-bit RGB, one folder per sample.

    The noise of a sample is drawn on the CPU and depends only on the seed, the id of the image and
    the number of the sample.  OUT appears when it is complete.  An interrupted run leaves its files
    under another name, and the same call continues with them.  Two images are in memory at a time.

    Args:
        source: The maps.
        settings: What the samples are drawn with.
        output: Where the images go.
        calibration: File of the calibration, for the theta ``calibrated``.

    Returns:
        Number of images, and of LR files.

    Raises:
        UserError: A file cannot be read or written, the calibration does not belong to the maps,
            there is no passport for the theta ``camera``, or a file that is no result of this
            function would be overwritten.

    """
    _require_places(source.place, output.lr, output.hr)
    if settings.theta == "none" and settings.samples > 1:
        raise UserError("without theta every sample is the mean, so ask for one sample")
    measured = _measured(source, settings, calibration)
    sampler = make_sampler(Draw(settings.theta), measured, camera=source.passport)
    record = _describe(source, settings, measured)
    partial = _begin(output, record)
    try:
        _write_all(source, settings, sampler, partial, output)
        replace_folder(partial, output.lr)
    except OSError as error:
        raise UserError(f"{output.lr}: cannot be written: {error.strerror}") from error
    return {"images": len(source.ids), "files": len(source.ids) * len(settings.folders)}


def _describe(
    source: MapsSource, settings: DegradeSettings, measured: Calibration | None
) -> dict[str, Any]:
    """The content of ``RECORD``."""
    return {
        "format": RECORD_FORMAT,
        **settings.model_dump(),
        "folders": settings.folders,
        "scale": source.scale,
        "source": source.digest,
        "calibration": None if measured is None else fingerprint(measured.model_dump()),
        "images": source.stems,
    }


def _write_all(
    source: MapsSource,
    settings: DegradeSettings,
    sampler: Sampler,
    partial: Path,
    output: Output,
) -> None:
    """Write the images that are not yet in the partial folder."""
    files = [
        [partial / folder / f"{stem}.png" for folder in settings.folders] for stem in source.stems
    ]
    left = [
        index
        for index, of_image in enumerate(files)
        if output.hr is not None or not all(path.exists() for path in of_image)
    ]
    inputs = ((index, source.read(index)) for index in left)
    with write_behind(_write) as put, read_ahead(inputs) as images:
        for index, compute in tqdm(images, "degrade", len(left), unit="image"):
            found = compute()
            if output.hr is not None and found.hr is not None:
                _write_hr(output.hr / f"{source.stems[index]}.png", found.hr, output.overwrite)
            lr_images = _lr_images(found.maps, source.ids[index], settings, sampler)
            for path, image in zip(files[index], lr_images, strict=True):
                put((path, image))


def _write(images: Iterator[tuple[Path, Image]]) -> None:
    for path, image in images:
        write_png(path, image)


def _measured(
    source: MapsSource, settings: DegradeSettings, calibration: Path | None
) -> Calibration | None:
    if Draw(settings.theta).calibrated != (calibration is not None):
        raise UserError("a calibration is needed for calibrated theta, and only for that")
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
    """Write an HR image unless the file holds it already; refuse to replace another image."""
    if path.exists() and not overwrite:
        if np.array_equal(read_image(path), image):
            return
        raise UserError(f"{path}: holds another image; name another folder, or --overwrite")
    make_folder(path.parent)
    write_png(path, image)


def _require_places(source: Path, out: Path, hr_out: Path | None) -> None:
    """Check that to replace a folder of results deletes neither the source nor other results."""
    here, place = source.resolve(), out.resolve()
    if here.is_relative_to(place):
        raise UserError(f"{out}: holds the input {source}; name another folder")
    if hr_out is None:
        return
    if hr_out.resolve() == here:
        raise UserError(f"{hr_out}: is the input; name another folder for the cropped HR images")
    if hr_out.resolve().is_relative_to(place):
        raise UserError(f"{hr_out}: lies in {out}; name a folder beside it")


def _begin(output: Output, record: dict[str, Any]) -> Path:
    """The folder to write in: a new one, or that of an interrupted run of the same record."""
    out, partial = output.lr, output.lr.with_name(output.lr.name + ".partial")
    for folder in (out, partial):
        _require_ours(folder)
    if out.exists() and any(out.iterdir()) and not output.overwrite:
        raise UserError(f"{out}: holds a result already; name another folder, or --overwrite")
    if _record(partial) != record:
        shutil.rmtree(partial, ignore_errors=True)
        write_whole(partial / RECORD, (json.dumps(record, indent=2) + "\n").encode())
    for cut_off in partial.rglob(HALF_WRITTEN):
        cut_off.unlink()
    for name in record["folders"]:
        make_folder(partial / name)
    return partial


def _record(folder: Path) -> dict[str, Any] | None:
    """The record of a result; None if the folder is not a result."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return dict(record) if record["format"] == RECORD_FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _require_ours(folder: Path) -> None:
    """Check that every file in a folder that will be replaced belongs to an earlier result."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file, expected a folder")
    record = _record(folder)
    ours = set()
    if record is not None:
        ours.add(folder / RECORD)
        for name in record["folders"]:
            ours |= {folder / name / f"{stem}.png" for stem in record["images"]}
            ours |= set((folder / name).glob(HALF_WRITTEN))
    for path in sorted(folder.rglob("*")):
        if path not in ours and not path.is_dir():
            raise UserError(f"{path}: was not written by usrdu degrade; name a new or empty folder")
