"""SR networks: built by name, opened from files of every style, and never code from a file."""

import inspect
import io
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from pipeline.base.errors import UserError
from pipeline.srn import network as srn
from pipeline.srn.file import open_model
from pipeline.stores.weights import CHECKSUM, save_weights

ESRGAN = {"num_filters": 8, "num_blocks": 2}
COMPACT = {"num_feat": 6, "num_conv": 2}


def build(name: str, scale: int, options: Mapping[str, object], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return srn.build(name, scale, options)


def enlarged(network: nn.Module, lr: Tensor) -> Tensor:
    with torch.no_grad():
        sr: Tensor = network.eval()(lr)
    return sr


def lr_image(height: int = 9, width: int = 12) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))


# ---------------------------------------------------------------- build


def test_architectures() -> None:
    names = srn.architectures()
    assert {"ESRGAN", "Compact", "SwinIR", "SPAN"} <= set(names)
    assert names == sorted(names) and not any(name.startswith("_") for name in names)


@pytest.mark.parametrize("name", ["ESRGAN", "esrgan", "EsrGan"])
def test_build_esrgan_in_any_case(name: str) -> None:
    network = build(name, 4, ESRGAN)
    assert type(network).__name__ == "RRDBNet" and network.training
    state = network.state_dict()
    assert state["model.0.weight"].shape == (8, 3, 3, 3)
    assert "model.1.sub.1.RDB3.conv5.0.weight" in state
    assert "model.1.sub.2.RDB1.conv1.0.weight" not in state


@pytest.mark.parametrize("name", ["Compact", "compact", "COMPACT"])
def test_build_compact_in_any_case(name: str) -> None:
    network = build(name, 4, COMPACT)
    assert type(network).__name__ == "SRVGGNetCompact" and network.training
    assert network.state_dict()["body.0.weight"].shape == (6, 3, 3, 3)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Compact", COMPACT),  # "upscale"
        ("PLKSR", {"dim": 16, "n_blocks": 1}),  # "upscaling_factor"
        ("SAFMN", {"dim": 8, "n_blocks": 1}),
    ],
)
def test_build_injects_the_scale(name: str, options: dict[str, object], scale: int) -> None:
    sr = enlarged(build(name, scale, options), lr_image(16, 24))
    assert sr.shape == (1, 3, 16 * scale, 24 * scale)


@pytest.mark.parametrize("scale", [2, 4])
def test_build_injects_the_scale_of_esrgan(scale: int) -> None:
    sr = enlarged(build("ESRGAN", scale, ESRGAN), lr_image(16, 24))  # it calls it "scale"
    assert sr.shape == (1, 3, 16 * scale, 24 * scale)


def test_every_scale_of_spandrel_is_known() -> None:
    """No constructor calls its scale by a name we do not know."""
    like_scale = re.compile(r"(up)?_?(scale|scaling)(_?factor)?")
    found = set()
    for name in srn.architectures():
        parameters = inspect.signature(srn._network_class(name)).parameters
        found |= {parameter for parameter in parameters if like_scale.fullmatch(parameter)}
    assert found
    assert found == set(srn.SCALE_NAMES)


def test_build_draws_its_weights_from_the_global_generator() -> None:
    first, again, other = (build("Compact", 2, COMPACT, seed) for seed in (0, 0, 1))
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


@pytest.mark.parametrize(
    ("name", "scale", "options", "message"),
    [
        ("NoSuchNet", 4, {}, r"'NoSuchNet' is unknown; spandrel has .*ESRGAN"),
        ("", 4, {}, "is unknown"),
        ("__arch_helpers", 4, {}, "is unknown"),
        ("ESRGAN", 4, {"num_filter": 8}, "has no option 'num_filter'; it has .*num_filters"),
        ("Compact", 4, {**COMPACT, "scale": 4}, "has no option 'scale'"),
        ("ESRGAN", 3, ESRGAN, "at the scale 3 would be opened from its file as .* the scale 2"),
        ("ESRGAN", 4, {**ESRGAN, "plus": True, "act": "prelu"}, "no program could open its file"),
        ("ESRGAN", 4, {**ESRGAN, "scale": 2}, "enlarges by 2, not by the scale 4"),
        ("Compact", 2, {**COMPACT, "upscale": 4}, "enlarges by 4, not by the scale 2"),
        ("RealCUGAN", 4, {}, "enlarges by 2, not by the scale 4"),
        ("Compact", 4, {**COMPACT, "num_feat": "many"}, "cannot be built: "),
        ("Compact", 4, {**COMPACT, "num_in_ch": 1}, "cannot be built: "),
        ("ESRGAN", 4, {**ESRGAN, "out_nc": 1}, "gives images of 1 channels, not RGB"),
    ],
)
def test_build_refuses(name: str, scale: int, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        srn.build(name, scale, options)
    assert f"'{name}'" in str(raised.value)


# ---------------------------------------------------------------- open_model


@pytest.mark.parametrize(
    ("name", "options", "scale"),
    [
        ("ESRGAN", ESRGAN, 2),
        ("ESRGAN", ESRGAN, 4),
        ("Compact", COMPACT, 2),
        ("Compact", COMPACT, 3),
        ("Compact", COMPACT, 4),
    ],
)
def test_open_what_training_saves(
    name: str, options: dict[str, object], scale: int, tmp_path: Path
) -> None:
    network, lr = build(name, scale, options), lr_image()
    path = tmp_path / "srn.safetensors"
    save_weights(path, network.state_dict(), {"format": "usrdu-srn", "scale": scale})
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata.pop(CHECKSUM)
    assert metadata == {"format": '"usrdu-srn"', "scale": str(scale)}
    opened = open_model(path)
    assert opened.architecture.id == name
    assert opened.scale == scale and opened.input_channels == opened.output_channels == 3
    assert not opened.model.training
    assert {tensor.device.type for tensor in opened.model.state_dict().values()} == {"cpu"}
    assert list(opened.model.state_dict()) == list(network.state_dict())
    expected = enlarged(network, lr)
    assert expected.std() > 1e-4
    assert torch.equal(enlarged(opened.model, lr), expected)


def new_esrgan(features: int, blocks: int) -> dict[str, Tensor]:
    """A state dict in the keys of BasicSR (conv_first, body.0.rdb1.conv1, ...), scale 4."""
    grow = 32
    shapes = {"conv_first": (features, 3), "conv_body": (features, features)}
    for block in range(blocks):
        for dense in (1, 2, 3):
            for conv in range(1, 6):
                outputs = grow if conv < 5 else features
                name = f"body.{block}.rdb{dense}.conv{conv}"
                shapes[name] = (outputs, features + (conv - 1) * grow)
    shapes |= {f"conv_{name}": (features, features) for name in ("up1", "up2", "hr")}
    shapes["conv_last"] = (3, features)
    generator = torch.Generator().manual_seed(2)
    state = {}
    for name, (outputs, inputs) in shapes.items():
        spread = 1 / (9 * inputs) ** 0.5
        state[f"{name}.weight"] = spread * torch.randn(outputs, inputs, 3, 3, generator=generator)
        state[f"{name}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
    return state


def rrdb_net(lr: Tensor, state: dict[str, Tensor], blocks: int) -> Tensor:
    """RRDBNet written out (Wang et al. 2018), in the keys of ``new_esrgan``."""

    def conv(x: Tensor, name: str) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)

    def active(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.2 * x)

    def doubled(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    first = x = conv(lr, "conv_first")
    for block in range(blocks):
        inside = x
        for dense in (1, 2, 3):
            seen = [inside]
            for number in range(1, 5):
                name = f"body.{block}.rdb{dense}.conv{number}"
                seen.append(active(conv(torch.cat(seen, dim=1), name)))
            grown = conv(torch.cat(seen, dim=1), f"body.{block}.rdb{dense}.conv5")
            inside = inside + 0.2 * grown
        x = x + 0.2 * inside
    x = first + conv(x, "conv_body")
    x = active(conv(doubled(x), "conv_up1"))
    x = active(conv(doubled(x), "conv_up2"))
    return conv(active(conv(x, "conv_hr")), "conv_last")


@pytest.mark.parametrize(
    ("suffix", "wrapper"),
    [(".pth", None), (".pth", "params_ema"), (".pth", "params"), (".safetensors", None)],
)
def test_open_esrgan_in_the_new_keys(suffix: str, wrapper: str | None, tmp_path: Path) -> None:
    state, path, lr = new_esrgan(8, 2), tmp_path / f"RRDB{suffix}", lr_image()
    if suffix == ".safetensors":
        save_weights(path, state, {})
    else:
        torch.save(state if wrapper is None else {wrapper: state}, path)
    opened = open_model(path)
    assert opened.architecture.id == "ESRGAN" and opened.scale == 4
    expected = rrdb_net(lr, state, blocks=2)
    assert expected.shape == (1, 3, 36, 48) and expected.std() > 1e-3
    torch.testing.assert_close(enlarged(opened.model, lr), expected, atol=1e-5, rtol=1e-4)
    # what was opened fits the network that is built here, so it can start a training
    network = build("ESRGAN", 4, ESRGAN)
    network.load_state_dict(opened.model.state_dict())
    torch.testing.assert_close(enlarged(network, lr), expected, atol=1e-5, rtol=1e-4)


class Hostile:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".safetensors"])
@pytest.mark.parametrize("style", ["pickle", "torch zip", "torch legacy"])
def test_open_runs_no_code(suffix: str, style: str, tmp_path: Path) -> None:
    path, marker = tmp_path / f"model{suffix}", tmp_path / "marker"
    content = {"conv_first.weight": torch.zeros(1), "extra": Hostile(marker)}
    if style == "pickle":
        path.write_bytes(pickle.dumps(content["extra"]))
        pickle.loads(path.read_bytes())
        assert marker.exists()  # an ordinary unpickler would run it
        marker.unlink()
    else:
        torch.save(content, path, _use_new_zipfile_serialization=style == "torch zip")
        torch.load(io.BytesIO(path.read_bytes()), weights_only=False)
        assert marker.exists()
        marker.unlink()
    with pytest.raises(UserError, match="is not a model that spandrel can open"):
        open_model(path)
    assert not marker.exists()


def test_open_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.pth: there is no such model file"):
        open_model(tmp_path / "none.pth")
    with pytest.raises(UserError, match="there is no such model file"):
        open_model(tmp_path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".txt", ".onnx", ""])
@pytest.mark.parametrize("content", [b"", b"these are no weights\n" * 20])
def test_open_refuses_a_text_file(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not a model that spandrel can open") as raised:
        open_model(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_open_refuses_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "srn.safetensors"
    save_weights(path, build("Compact", 2, COMPACT).state_dict(), {})
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match="is not a whole safetensors file"):
        open_model(path)


def test_open_refuses_weights_of_no_network(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_weights(path, {"some.weight": torch.zeros(3, 3)}, {})
    with pytest.raises(UserError, match="is not a model that spandrel can open"):
        open_model(path)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Compact", {**COMPACT, "num_in_ch": 1, "num_out_ch": 1}),
        ("ESRGAN", {**ESRGAN, "out_nc": 1, "scale": 4}),
    ],
)
def test_open_refuses_grey_models(name: str, options: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "grey.safetensors"
    grey = srn._network_class(name)(**options)
    save_weights(path, grey.state_dict(), {})
    with pytest.raises(UserError, match="not a super-resolution model for RGB images"):
        open_model(path)
