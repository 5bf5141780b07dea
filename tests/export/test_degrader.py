"""The degrader: tiles equal the whole image, and only because the halo is as wide as it is."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.base.boxes import Box, tiles
from pipeline.base.errors import UserError
from pipeline.dsn.file import DSN_FORMAT
from pipeline.dsn.network import DSN
from pipeline.export.degrader import Degrader
from pipeline.images.io import Image
from pipeline.stores.weights import save_weights

DESCRIBED: dict[str, object] = {
    "format": DSN_FORMAT,
    "scale": 2,
    "features": 2,
    "blocks": 1,
    "learned_theta": True,
    "prior_scale_gray": 8.5,
    "reference": "bicubic",
}
CPU = torch.device("cpu")


def network(scale: int, features: int = 4, blocks: int = 8) -> DSN:
    """A DSN with weights so large that distant pixels really matter."""
    generator = torch.Generator().manual_seed(scale)
    dsn = DSN(scale, features, blocks)
    with torch.no_grad():
        for name, parameter in dsn.named_parameters():
            if name.startswith("log_sigma_head"):
                continue
            if parameter.ndim == 4:
                spread = 1 / math.sqrt(parameter[0].numel())
                parameter.normal_(0, spread, generator=generator)
            else:
                parameter.uniform_(-0.3, 0.3, generator=generator)
    return dsn


def picture(height: int, width: int) -> Image:
    return np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8)


def unit(image: Image) -> torch.Tensor:
    return torch.from_numpy(image.astype(np.float32) / 255)


# ---------------------------------------------------------------- whole


def test_whole_is_the_network_in_the_unit_of_the_image() -> None:
    dsn, image = network(4, blocks=1), unit(picture(24, 32))
    with torch.no_grad():
        expected = dsn(image[None])
    mean, theta = Degrader(dsn, CPU).whole(image).values()
    assert mean.shape == theta.shape == (3, 6, 8)
    assert not mean.requires_grad and not theta.requires_grad
    torch.testing.assert_close(mean, expected.mean[0])
    gray = np.exp(expected.log_theta_gray[0].numpy().astype(np.float64))
    np.testing.assert_allclose(theta.numpy() * 255, gray, rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "name"), [(math.nan, "mean"), (math.inf, "mean"), (4e4, "mean"), (20.0, "theta")]
)
def test_maps_that_no_store_can_hold_are_refused(value: float, name: str) -> None:
    """NaN, an infinity, and what float16 cannot hold: theta of exp(20) / 255."""
    dsn = network(2, blocks=1)
    with torch.no_grad():
        head = dsn.mean_head if name == "mean" else dsn.log_theta_head[-2]
        assert isinstance(head, torch.nn.Conv2d) and head.bias is not None
        head.bias[1] = value
    with pytest.raises(UserError, match=f"the DSN gives a {name} that is not finite, or beyond"):
        Degrader(dsn, CPU).tiled(picture(10, 12), 3)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_load_refuses_weights_that_are_not_finite(value: float, tmp_path: Path) -> None:
    state = DSN(2, 2, 1).state_dict()
    state["blocks.0.conv1.weight"][0, 1, 2, 0] = value
    path = tmp_path / "dsn.safetensors"
    save_weights(path, state, DESCRIBED)
    words = r"dsn\.safetensors: its tensor 'blocks\.0\.conv1\.weight' holds values that are not"
    with pytest.raises(UserError, match=words):
        Degrader.load(path)


@pytest.mark.parametrize("kind", [torch.int8, torch.int64, torch.bool])
def test_load_refuses_integers(kind: torch.dtype, tmp_path: Path) -> None:
    """Weights between -0.5 and 0.5 would all have become zero."""
    path, state = tmp_path / "dsn.safetensors", DSN(2, 2, 1).state_dict()
    save_weights(path, {name: value.to(kind) for name, value in state.items()}, DESCRIBED)
    with pytest.raises(UserError, match=f"is of type {str(kind)[6:]}, expected float32"):
        Degrader.load(path)


def test_constant_theta_replaces_the_learned_one() -> None:
    dsn, image = network(2, blocks=1), picture(10, 12)
    learned, constant = Degrader(dsn, CPU), Degrader(dsn, CPU, 0.02)
    mean, theta = constant.whole(unit(image)).values()
    assert torch.equal(theta, torch.full((3, 5, 6), 0.02))
    assert torch.equal(mean, learned.whole(unit(image))["mean"])
    assert learned.whole(unit(image))["theta"].std() > 0
    tiled = constant.tiled(image, 3)["theta"]
    np.testing.assert_array_equal(tiled, np.full((3, 5, 6), np.float32(0.02)))


# ---------------------------------------------------------------- tiled


@pytest.mark.parametrize(
    ("scale", "size", "tile"),
    [
        (4, (45, 37), 13),
        (4, (30, 41), 40),
        (4, (26, 26), 1000),
        (2, (71, 49), 17),
        (2, (40, 80), 9),
        (3, (41, 37), 13),
    ],
)
def test_tiled_equals_whole(scale: int, size: tuple[int, int], tile: int) -> None:
    image = picture(size[0] * scale, size[1] * scale)
    degrader = Degrader(network(scale), CPU)
    mean, theta = degrader.tiled(image, tile).values()
    assert mean.shape == theta.shape == (3, *size)
    assert mean.dtype == theta.dtype == np.float32
    for found, expected in zip((mean, theta), degrader.whole(unit(image)).values(), strict=True):
        assert expected.std() > 1e-4
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("batch", [2, 3, 50])
def test_batches_equal_tiles_one_by_one(batch: int) -> None:
    image, seen = picture(61 * 4, 77 * 4), []
    degrader = Degrader(network(4, blocks=2), CPU)
    one_by_one = degrader.tiled(image, 9)
    original = degrader.batch

    def watched(hr: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(len(hr))
        return original(hr)

    degrader.batch = watched  # type: ignore[method-assign]
    for name, found in degrader.tiled(image, 9, batch=batch).items():
        np.testing.assert_allclose(found, one_by_one[name], atol=1e-6, rtol=0)
    assert max(seen) == min(batch, 7) and sum(seen) == 7 * 9  # 7 of 9 in a row have one shape


def test_a_halo_of_16_is_not_enough() -> None:
    image = picture(160, 144)
    degrader = Degrader(network(4), CPU)
    whole = [tensor.numpy() for tensor in degrader.whole(unit(image)).values()]
    difference = {
        halo: [
            float(np.abs(found - expected).max())
            for found, expected in zip(degrader.tiled(image, 13, halo).values(), whole, strict=True)
        ]
        for halo in (32, 16)
    }
    assert max(difference[32]) < 1e-5
    assert min(difference[16]) > 1e-4


def test_tiled_refuses_what_does_not_lie_on_the_grid() -> None:
    degrader = Degrader(network(4, blocks=1), CPU)
    with pytest.raises(ValueError, match="multiples of 4"):
        degrader.tiled(picture(64, 64), 5, halo=6)
    with pytest.raises(ValueError, match="tiles of 0"):
        degrader.tiled(picture(16, 16), 0)


# ---------------------------------------------------------------- part


def test_part_by_hand() -> None:
    degrader = Degrader(network(4, blocks=8), CPU)
    # rows 10..20 are HR rows 40..80, grown to 8..112; columns 0..5 are 0..20, grown to 0..52
    outer, inner = degrader.part((200, 60), Box(10, 20, 0, 5))
    assert outer == Box(8, 112, 0, 52)
    assert inner == Box(8, 18, 0, 5)
    # at the far corner the image ends first
    outer, inner = degrader.part((200, 60), Box(40, 50, 9, 15))
    assert outer == Box(128, 200, 4, 60)
    assert inner == Box(8, 18, 8, 14)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_parts_are_what_the_whole_image_gives(scale: int) -> None:
    degrader, image = Degrader(network(scale), CPU), unit(picture(33 * scale, 27 * scale))
    whole = degrader.whole(image)
    for area in tiles(33, 27, 12):
        outer, inner = degrader.part((33 * scale, 27 * scale), area)
        part = degrader.whole(image[outer.slices])
        for name, found in part.items():
            torch.testing.assert_close(
                found[inner.slices], whole[name][area.slices], atol=1e-5, rtol=0
            )


# ---------------------------------------------------------------- load


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dsn") / "dsn.safetensors"
    save_weights(path, network(2, features=2, blocks=1).state_dict(), DESCRIBED)
    return path


def test_load_gives_back_the_network(weights: Path) -> None:
    degrader, image = Degrader.load(weights), unit(picture(8, 12))
    assert degrader.scale == 2 and degrader.constant_theta is None
    expected = Degrader(network(2, features=2, blocks=1), CPU).whole(image)
    for name, found in degrader.whole(image).items():
        torch.testing.assert_close(found, expected[name], atol=1e-5, rtol=1e-4)


def described(path: Path, **changes: object) -> Path:
    """A file that holds one small tensor and the metadata of a DSN, with changes."""
    save_weights(path, {"x": torch.zeros(1)}, {**DESCRIBED, **changes})
    return path


def test_load_takes_the_prior_where_theta_was_not_learned(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = described(tmp_path / "x.safetensors", learned_theta=False)
    monkeypatch.setattr(DSN, "load_state_dict", lambda *_: None)
    constant = Degrader.load(path).constant_theta
    assert constant == pytest.approx(8.5 / 255, rel=1e-12)  # the unit of the image
    assert Degrader.load(weights).constant_theta is None


def test_load_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.safetensors: there is no such"):
        Degrader.load(tmp_path / "none.safetensors")
    with pytest.raises(UserError, match="there is no such"):
        Degrader.load(tmp_path)


def test_load_refuses_a_damaged_file(weights: Path, tmp_path: Path) -> None:
    size = weights.stat().st_size
    for kept in (0, 5, 1000, size // 2, size - 1):
        path = tmp_path / f"{kept}.safetensors"
        shutil.copyfile(weights, path)
        with path.open("r+b") as file:
            file.truncate(kept)
        with pytest.raises(UserError, match="not a whole safetensors file"):
            Degrader.load(path)
        path.unlink()
    text = tmp_path / "text.safetensors"
    text.write_text("not weights at all, but long enough to be read as a header")
    with pytest.raises(UserError, match="not a whole safetensors file"):
        Degrader.load(text)


def test_load_refuses_another_format(tmp_path: Path) -> None:
    path = described(tmp_path / "srn.safetensors", format="usrdu-srn")
    with pytest.raises(UserError, match=f"is marked .?usrdu-srn.?, expected {DSN_FORMAT}"):
        Degrader.load(path)


@pytest.mark.parametrize(
    "changes",
    [
        {},  # the tensors of no DSN
        {"scale": 5},
        {"scale": None},
        {"features": None},
        {"features": -1},
        {"settings": {"features": 2}},
        {"learned_theta": "perhaps"},
    ],
)
def test_load_refuses_tensors_that_do_not_fit(changes: dict[str, object], tmp_path: Path) -> None:
    path = described(tmp_path / "dsn.safetensors", **changes)
    with pytest.raises(UserError, match=r"dsn\.safetensors: ") as raised:
        Degrader.load(path)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 500
