"""A tiny world that several test files share: stores, settings, and the golden logs."""

import csv
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings as hypothesis_settings
from numpy.typing import NDArray
from PIL import Image

from pipeline.crops.batches import Demand
from pipeline.crops.memory import MachineSettings, Memory
from pipeline.prepare.prepare import PrepareSettings
from pipeline.sampling.calibration import Calibration
from pipeline.stores.reader import Store
from pipeline.train_dsn.settings import TrainDsnSettings
from pipeline.train_srn.settings import Architecture, TrainSrnSettings
from pipeline.training.vgg import VGG19Features
from pipeline.writing.writer import StoreWriter

os.environ.setdefault("ACCELERATE_USE_CPU", "true")  # golden logs and equal bits are the CPU's
THREADS = int(os.environ.get("USRDU_TEST_THREADS", "1"))
"""Of torch.  The tensors are so small that more cost time; ``make test-arithmetic`` asks for 2."""
torch.set_num_threads(THREADS)

hypothesis_settings.register_profile("any machine", deadline=None)  # a busy one is slow
hypothesis_settings.load_profile("any machine")

GOLDEN = Path(__file__).parent / "golden"
HR_SIZES = {"bridge": (144, 152), "castle": (160, 140), "ships": (140, 140)}
LR_SIZES = {"one": (40, 38), "two": (36, 50)}
VAL_SIZES = {"pair-a": (64, 96), "pair-b": (80, 72)}

MACHINE = MachineSettings(checkpoint_every=2)
PLENTY = Memory(device=0, host=2**32)
"""Bytes; everything is held in host memory."""

CompareGolden = Callable[[str, Path], None]
Write = Callable[[str, bytes], Path]
"""Writes a file of a name and a content; see the fixture ``write``."""


@dataclass(frozen=True)
class World:
    """Finished stores of one scale; nobody may write to them."""

    hr: Store
    lr: Store
    val: Store
    maps: Store


def picture(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Coloured blocks of 10 by 10 pixels with grain: edges, flat areas and noise."""
    blocks = rng.uniform(20, 235, (3, height // 10 + 1, width // 10 + 1))
    image = blocks.repeat(10, axis=1).repeat(10, axis=2)[:, :height, :width]
    image = image + rng.normal(0, 6, image.shape)
    return np.asarray(np.clip(np.round(image), 0, 255), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file of a kind that Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def box_mean(image: NDArray[np.uint8], scale: int) -> NDArray[np.float64]:
    """Means of scale by scale pixels: an LR image by other means than the project's."""
    _, height, width = image.shape
    blocks = image.reshape(3, height // scale, scale, width // scale, scale)
    return np.asarray(blocks.mean(axis=(2, 4), dtype=np.float64))


def write_world(folder: Path, scale: int) -> World:
    """All four stores; the maps are made up, no network has seen them."""
    rng = np.random.default_rng(scale)
    hr = {name: picture(rng, *size) for name, size in HR_SIZES.items()}
    with StoreWriter(folder / "hr.zarr", "hr", scale, list(hr)) as writer:
        for name, image in hr.items():
            writer.add(name, {"image": image})
    with StoreWriter(folder / "lr.zarr", "lr", scale, list(LR_SIZES)) as writer:
        for name, size in LR_SIZES.items():
            writer.add(name, {"image": picture(rng, *size)})
    with StoreWriter(folder / "val.zarr", "val", scale, list(VAL_SIZES)) as writer:
        for name, size in VAL_SIZES.items():
            image = picture(rng, *size)
            small = np.round(box_mean(image, scale)).astype(np.uint8)
            writer.add(name, {"hr": image, "lr": small})
    store = Store(folder / "hr.zarr", "hr")
    described = {"hr_digest": store.digest}
    with StoreWriter(folder / "maps.zarr", "maps", scale, list(hr), described) as writer:
        for name, image in hr.items():
            mean = box_mean(image, scale) / 255
            theta = rng.uniform(0.5, 6, mean.shape) / 255
            writer.add(name, {"mean": mean.astype(np.float16), "theta": theta.astype(np.float16)})
    return World(
        store,
        Store(folder / "lr.zarr", "lr"),
        Store(folder / "val.zarr", "val"),
        Store(folder / "maps.zarr", "maps"),
    )


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world at scale 4."""
    return write_world(tmp_path_factory.mktemp("scale4"), 4)


@pytest.fixture(scope="session")
def tiny2(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world at scale 2."""
    return write_world(tmp_path_factory.mktemp("scale2"), 2)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file into the test's folder."""

    def written(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return written


@pytest.fixture(scope="session")
def vgg() -> VGG19Features:
    """VGG19 with its random weights."""
    return VGG19Features("random")


def prepare_settings(**changes: object) -> PrepareSettings:
    """Settings of a preparation of plain folders."""
    plain: dict[str, object] = {
        "scale": 4,
        "lr_size": "native",
        "preset": "none",
        "hr_from": "folder",
        "cleaning_factor": 2,
        "least_side": 0,
    }
    return PrepareSettings.model_validate({**plain, **changes})


def dsn_settings(**changes: object) -> TrainDsnSettings:
    """Settings of a DSN training that takes about a second, without VGG19."""
    plain: dict[str, object] = {
        "seed": 3,
        "features": 4,
        "blocks": 1,
        "discriminator_features": 2,
        "hr_patch": 64,
        "batch_size": 2,
        "accumulate": 1,
        "crops_per_image": 2,
        "window": 256,
        "epochs": 2,
        "learning_rate": 0.001,
        "discriminator_learning_rate": 0.0005,
        "halve_every": 1,
        "adam_betas": [0.9, 0.999],
        "clip_gradient": 0.0,
        "content": "full_band",
        "reference": "bicubic",
        "prior_scale_gray": 1.0,
        "learn_theta": True,
        "learn_sigma": True,
        "kl_weight": 1.0,
        "perceptual_weight": 0.0,
        "adversarial_weight": 0.01,
        "adversarial_on": "mean",
        "perceptual_weights": "random",
        "precision": "no",
        "channels_last": False,
        "compile": False,
        "fused": False,
        "score_every": 1,
        "keep": "last",
        "log_every": 2,
    }
    return TrainDsnSettings.model_validate({**plain, **changes})


def srn_settings(**changes: object) -> TrainSrnSettings:
    """Settings of an SRN training that takes about a second, without VGG19."""
    plain: dict[str, object] = {
        "seed": 5,
        "lr_from": "maps",
        "theta": "raw",
        "constant_theta_gray": 1.0,
        "lr_patch": 16,
        "batch_size": 2,
        "accumulate": 1,
        "crops_per_image": 2,
        "window": 256,
        "epochs": 2,
        "learning_rate": 0.001,
        "discriminator_learning_rate": 0.0005,
        "halve_every": 1,
        "adam_betas": [0.9, 0.999],
        "clip_gradient": 0.0,
        "ema_decay": 0.7,
        "discriminator": "unet",
        "discriminator_features": 2,
        "content_weight": 1.0,
        "low_pass_weight": 0.0,
        "perceptual_weight": 0.0,
        "adversarial_weight": 0.01,
        "adversarial_on": "gradient",
        "gradient_norm": "l2",
        "perceptual_weights": "random",
        "precision": "no",
        "channels_last": False,
        "compile": False,
        "fused": False,
        "log_every": 2,
        "validate_every": 0,
    }
    return TrainSrnSettings.model_validate({**plain, **changes})


def demand(seed: int, batch_size: int = 1, crops_per_image: int = 1, **changes: object) -> Demand:
    """Crops on the CPU, with plenty of memory."""
    plain: dict[str, Any] = {"window": 256, "device": torch.device("cpu"), "memory": PLENTY}
    return Demand(batch_size, crops_per_image, seed=seed, **{**plain, **changes})


def compact(**changes: object) -> Architecture:
    """The smallest SR network there is."""
    plain: dict[str, object] = {
        "network": "Compact",
        "options": {"num_feat": 4, "num_conv": 1},
        "warm_start": None,
        "train": True,
    }
    return Architecture.model_validate({**plain, **changes})


def calibration(maps: Store, **changes: object) -> Calibration:
    """A calibration of these maps: independent Laplace noise, another in every channel."""
    plain: dict[str, object] = {
        "format": "usrdu-calibration-2",
        "scale": maps.scale,
        "maps_digest": maps.digest,
        "lr_digest": "",
        "fault": None,
        "variance_gray": [[4.0, 9.0, 50.0], [9.0, 30.0, 20.0], [60.0, 16.0, 4.0]],
        "noise_filter": None,
        "laplace_share": 1.0,
        "jpeg": None,
        "constant_theta_gray": 3.0,
    }
    return Calibration.model_validate({**plain, **changes})


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file with a header."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def names(folder: Path) -> list[str]:
    """What is in a folder, by name."""
    return sorted(path.name for path in folder.iterdir())


FIRST = ("test_repro", "test_recovery_repro", "test_audit", "test_train_srn", "test_readme")
"""The longest files first, so that no process is left with one of them at the end; test_readme
copies what test_repro makes, so it does not start beside it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    items.sort(key=lambda item: (*FIRST, item.path.stem).index(item.path.stem))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switch that rewrites tests/golden, and the number of kills."""
    parser.addoption(
        "--rewrite-golden", action="store_true", help="rewrite tests/golden from this run"
    )
    parser.addoption("--kills", type=int, default=1, help="how often test_kill kills every stage")


@pytest.fixture
def compare_golden(request: pytest.FixtureRequest) -> CompareGolden:
    """Compare a curves file with tests/golden/NAME.csv, every number at rel 1e-3.

    Between the kernels of ``make test-arithmetic``, and two machines, no number of the six steps
    moved by more than 1.1e-4.  A main weight that is 5 % off moves the total by 4.9e-2.
    """

    def compare(name: str, curves: Path) -> None:
        golden = GOLDEN / f"{name}.csv"
        if request.config.getoption("--rewrite-golden"):
            golden.parent.mkdir(exist_ok=True)
            golden.write_bytes(curves.read_bytes())
        found, expected = read_rows(curves), read_rows(golden)
        assert [list(row) for row in found] == [list(row) for row in expected]
        for row, golden_row in zip(found, expected, strict=True):
            empty = {key for key, value in golden_row.items() if not value}
            assert {key for key, value in row.items() if not value} == empty
            numbers = {key: float(value) for key, value in golden_row.items() if value}
            assert {key: float(row[key]) for key in numbers} == pytest.approx(numbers, rel=1e-3)

    return compare
