"""The data of all rows: photographs as PNG files, as LMDB, as np.memmap, and as our stores."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage
from tqdm import tqdm

from benchmarks.sizes import Size
from pipeline.dsn.file import DsnDescription, load_dsn, save_dsn
from pipeline.dsn.network import DSN
from pipeline.images.io import Image
from pipeline.srn.file import SRN_FORMAT
from pipeline.srn.network import build
from pipeline.stores.reader import Store
from pipeline.stores.weights import save_weights
from pipeline.writing.partial import round_mantissa
from pipeline.writing.writer import StoreWriter

if TYPE_CHECKING:
    import lmdb

SCALE = 4
GRAIN = 1.5
"""Standard deviation in gray levels; with it PNG compresses as it does photographs of cameras."""
REAL = 200
"""Real LR images, at most."""
MADE = "made.json"
"""File that says what was made; written last."""
DRAWN = 512
"""Side of a drawn image before it is mirrored on."""


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
        made = folder / MADE
        described = [size.name, size.images, *size.hr, size.drawn]
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

    def database(self) -> "lmdb.Environment":
        """The same files in LMDB, their keys ``hr/ID`` and ``lr/ID``; made when first asked for."""
        import lmdb  # of the group bench

        path = self.folder / "lmdb"
        if not path.exists():
            partial = path.with_suffix(".partial")
            size = 2 * (self.mapped.hr.nbytes + self.mapped.mean.nbytes)
            with lmdb.open(str(partial), map_size=size) as made, made.begin(write=True) as writer:
                for number, image_id in enumerate(self.ids):
                    for kind in ("hr", "lr"):
                        key = f"{kind}/{image_id}".encode()
                        writer.put(key, self.png(kind, number).read_bytes())
            partial.rename(path)
        return lmdb.open(str(path), readonly=True, lock=False, readahead=False)

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
        with ThreadPoolExecutor() as pool:
            made = pool.map(self._make, range(self.size.images))
            for number, hr in enumerate(tqdm(made, "photographs", self.size.images)):
                mapped.hr[number] = hr
                mapped.mean[number], mapped.theta[number] = degraded(hr)
                lr = np.round(mapped.mean[number] * 255.0).astype(np.uint8)
                write_png(self.png("lr", number), lr)
        write_stores(self.folder, self.ids, lambda number: mapped.hr[number])

    def _make(self, number: int) -> Image:
        """Make an image, and its file, which takes longest."""
        image = (drawn if self.size.drawn else picture)(number, *self.size.hr)
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
    return _enlarged(_photograph(number), rng, height, width)


def drawn(number: int, height: int, width: int) -> Image:
    """An image like ``picture`` that needs no photograph: noise whose spectrum falls as 1/f."""
    rng = np.random.default_rng(number)
    fine, coarse = (np.fft.fftfreq(DRAWN)[:, None], np.fft.rfftfreq(DRAWN))
    frequency = np.hypot(fine, coarse)
    frequency[0, 0] = 1
    white = np.fft.rfft2(rng.standard_normal((3, DRAWN, DRAWN)))
    values = np.fft.irfft2(white / frequency, (DRAWN, DRAWN))
    levels = 128 + 50 * (values - values.mean()) / values.std()
    return _enlarged(np.clip(levels, 0, 255).astype(np.uint8), rng, height, width)


def _enlarged(source: Image, rng: np.random.Generator, height: int, width: int) -> Image:
    """An image mirrored on to any size, with grain."""
    _, rows, columns = source.shape
    top, left = int(rng.integers(rows)), int(rng.integers(columns))
    down, right = (_mirrored(n, m, s) for n, m, s in ((height, rows, top), (width, columns, left)))
    image = source[:, down][:, :, right].astype(np.float32)
    image += GRAIN * rng.standard_normal(image.shape, np.float32)
    return np.asarray(np.clip(np.round(image), 0, 255), np.uint8)


def _photograph(number: int) -> Image:
    from pipeline.demo.photographs import HR, LR, VAL  # those of scikit-image

    names = (*HR, *LR, *VAL)
    return _named(names[number % len(names)])


@cache
def _named(name: str) -> Image:
    from pipeline.demo.photographs import photograph

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
    PillowImage.fromarray(np.moveaxis(image, 0, -1)).save(path, compress_level=6)


def plain_dsn(path: Path, device: torch.device) -> DSN:
    """The network of a file, without anything that we do for speed."""
    return load_dsn(path).network.to(device)
