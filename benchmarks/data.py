"""The data of all rows: photographs as PNG files, as LMDB, as np.memmap, and as our stores."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import lmdb
import numpy as np
import torch
from imagecodecs import png_encode
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.sizes import Size
from pipeline.demo.photographs import HR, LR, VAL, photograph
from pipeline.dsn.file import DsnDescription, load_dsn, save_dsn
from pipeline.dsn.network import DSN
from pipeline.images.io import Image
from pipeline.srn.file import SRN_FORMAT
from pipeline.srn.network import build
from pipeline.stores.reader import Store
from pipeline.stores.weights import save_weights
from pipeline.writing.partial import round_mantissa
from pipeline.writing.writer import StoreWriter

SCALE = 4
GRAIN = 1.5
"""Standard deviation in gray levels; with it PNG compresses as it does photographs of cameras."""
NAMES = (*HR, *LR, *VAL)
REAL = 200
"""Real LR images, at most."""


def described(features: int, blocks: int) -> DsnDescription:
    """What a file says of a DSN of random weights."""
    return DsnDescription(
        scale=SCALE,
        features=features,
        blocks=blocks,
        learned_theta=True,
        prior_scale_gray=1.0,
        reference="bicubic",
    )


MAPS_OF = {"dsn": described(64, 8).model_dump()}
"""What a store of maps must say of the DSN, though none made these."""


class Mapped(NamedTuple):
    """All images in three np.memmap."""

    hr: NDArray[np.uint8]
    """(images, 3, H, W)."""
    mean: NDArray[np.float16]
    """(images, 3, H/s, W/s)."""
    theta: NDArray[np.float16]
    """Likewise."""


class Data:
    """Everything in one folder; what is there from an earlier run of the same size is taken."""

    def __init__(self, folder: Path, size: Size) -> None:
        self.folder, self.size = folder, size
        self.ids = [f"{number:04}" for number in range(size.images)]
        self.hr_path, self.maps_path = folder / "hr.zarr", folder / "maps.zarr"
        made, described = folder / "made.json", [size.name, size.images, *size.hr]
        if not made.exists() or json.loads(made.read_text()) != described:
            folder.mkdir(parents=True, exist_ok=True)
            made.unlink(missing_ok=True)
            self._write()
            made.write_text(json.dumps(described))

    @cached_property
    def mapped(self) -> Mapped:
        """The images in np.memmap."""
        return self._maps("r")

    def png(self, kind: str, number: int) -> Path:
        """The file of an image; ``kind`` is ``hr`` or ``lr``, the mean in 8 bit."""
        return self.folder / "png" / kind / f"{self.ids[number]}.png"

    def database(self) -> lmdb.Environment:
        """The same files in LMDB, their keys ``hr/ID`` and ``lr/ID``."""
        return lmdb.open(str(self.folder / "lmdb"), readonly=True, lock=False, readahead=False)

    def stores(self) -> tuple[Store, Store]:
        """HR images and maps."""
        return Store(self.hr_path, "hr"), Store(self.maps_path, "maps")

    def real(self) -> Store:
        """Real LR images: the means with noise."""
        return Store(self.folder / "lr.zarr", "lr")

    def dsn(self) -> Path:
        """A DSN with random weights, of the size that is trained."""
        settings = self.size.dsn_settings()
        torch.manual_seed(0)
        dsn = DSN(SCALE, settings.features, settings.blocks)
        path = self.folder / "dsn.safetensors"
        save_dsn(path, dsn, described(settings.features, settings.blocks))
        return path

    def srn(self) -> Path:
        """An SR model with random weights, of the size that is trained."""
        architecture = self.size.architecture()
        torch.manual_seed(0)
        network = build(architecture.network, SCALE, architecture.options)
        path = self.folder / "srn.safetensors"
        save_weights(path, network.state_dict(), {"format": SRN_FORMAT})
        return path

    def _write(self) -> None:
        mapped = self._maps("w+")
        total = mapped.hr.nbytes + mapped.mean.nbytes
        with ExitStack() as stack:
            database = stack.enter_context(lmdb.open(str(self.folder / "lmdb"), map_size=2 * total))
            pool = stack.enter_context(ThreadPoolExecutor())
            made = pool.map(self._make, range(self.size.images))
            for number, hr in enumerate(tqdm(made, "photographs", self.size.images)):
                mapped.hr[number] = hr
                mapped.mean[number], mapped.theta[number] = degraded(hr)
                lr = np.round(mapped.mean[number] * 255.0).astype(np.uint8)
                write_png(self.png("lr", number), lr)
                with database.begin(write=True) as transaction:
                    for kind in ("hr", "lr"):
                        key = f"{kind}/{self.ids[number]}".encode()
                        transaction.put(key, self.png(kind, number).read_bytes())
        write_stores(self.folder, self.ids, lambda number: mapped.hr[number])

    def _make(self, number: int) -> Image:
        """Make an image, and its file, which takes longest."""
        image = picture(number, *self.size.hr)
        write_png(self.png("hr", number), image)
        return image

    def _maps(self, mode: Any) -> Mapped:
        height, width = self.size.hr
        small = (self.size.images, 3, height // SCALE, width // SCALE)

        def array(name: str, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
            return np.memmap(self.folder / f"{name}.bin", dtype, mode, shape=shape)

        hr = array("hr", np.uint8, (self.size.images, 3, height, width))
        return Mapped(hr, array("mean", np.float16, small), array("theta", np.float16, small))


def picture(number: int, height: int, width: int) -> Image:
    """One of scikit-image's photographs, mirrored on to any size, with grain."""
    rng = np.random.default_rng(number)
    source = _photograph(NAMES[number % len(NAMES)])
    _, rows, columns = source.shape
    top, left = int(rng.integers(rows)), int(rng.integers(columns))
    down, right = (_mirrored(n, m, s) for n, m, s in ((height, rows, top), (width, columns, left)))
    image = source[:, down][:, :, right].astype(np.float32)
    image += GRAIN * rng.standard_normal(image.shape, np.float32)
    return np.asarray(np.clip(np.round(image), 0, 255), np.uint8)


@cache
def _photograph(name: str) -> Image:
    return photograph(name, SCALE)


def _mirrored(length: int, period: int, start: int) -> NDArray[np.int64]:
    """Indices that go to and fro over an axis."""
    place = (np.arange(length) + start) % (2 * period)
    return np.asarray(np.minimum(place, 2 * period - 1 - place))


def degraded(hr: Image) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """A mean and a theta as a DSN might give them: box means, and more where they vary."""
    channels, height, width = hr.shape
    boxes = hr.reshape(channels, height // SCALE, SCALE, width // SCALE, SCALE)
    mean, deviation = boxes.mean((2, 4), np.float32), boxes.std((2, 4), np.float32)
    return round_mantissa(mean / 255, 10), round_mantissa((1 + deviation / 4) / 255, 7)


def write_stores(folder: Path, ids: Sequence[str], image: Callable[[int], Image]) -> None:
    """HR images, their maps, and of some of them real LR images: the means with noise."""
    rng = np.random.default_rng(0)
    with StoreWriter(folder / "hr.zarr", "hr", SCALE, ids) as hr:
        for number, image_id in enumerate(tqdm(ids, "hr.zarr", unit="image")):
            hr.add(image_id, {"image": image(number)})
    described = {**MAPS_OF, "hr_digest": Store(folder / "hr.zarr", "hr").digest}
    with (
        StoreWriter(folder / "maps.zarr", "maps", SCALE, ids, described) as maps,
        StoreWriter(folder / "lr.zarr", "lr", SCALE, ids[:REAL]) as real,
    ):
        for number, image_id in enumerate(tqdm(ids, "maps.zarr", unit="image")):
            mean, theta = degraded(image(number))
            maps.add(image_id, {"mean": mean, "theta": theta})
            if number < REAL:
                noisy = mean * 255.0 + rng.laplace(0, 4, mean.shape)
                real.add(image_id, {"image": np.clip(np.round(noisy), 0, 255).astype(np.uint8)})


def write_png(path: Path, image: Image) -> None:
    """As programs usually do, compression level 6."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_encode(np.ascontiguousarray(np.moveaxis(image, 0, -1)), level=6))


def plain_dsn(path: Path, device: torch.device) -> DSN:
    """The network of a file, without anything that we do for speed."""
    return load_dsn(path).network.to(device)
