"""VGG19 features against torchvision's own network, and where the weights come from."""

import hashlib
import urllib.error
from pathlib import Path

import pytest
import torch
from laws import STANDARD_ERRORS
from torch import Tensor, nn
from torchvision.models import VGG19_Weights, vgg19
from torchvision.transforms.functional import normalize

from pipeline.base.errors import UserError
from pipeline.training.vgg import VGG19Features, weights_hash


@pytest.fixture(scope="module")
def network() -> VGG19Features:
    return VGG19Features("random")


def torchvision_features(state: dict[str, Tensor]) -> nn.Module:
    """``vgg19().features[:35]``, built without memory and given its weights."""
    with torch.device("meta"):
        features: nn.Module = vgg19().features[:35]
    features.load_state_dict(state, assign=True)
    return features.eval()


def picture(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def fabricated() -> dict[str, Tensor]:
    """A vgg19 state dict, every tensor filled with a number of its own, so the file is small."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in vgg19().state_dict().items()}
    return {
        name: torch.tensor(0.001 * (number + 1)).expand(shape)
        for number, (name, shape) in enumerate(shapes.items())
    }


def without_network(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("there is no network here")

    monkeypatch.setenv("TORCH_HOME", str(cache))
    monkeypatch.setattr("torch.hub.urlopen", refuse)


# ---------------------------------------------------------------- features


@pytest.mark.parametrize("size", [(16, 16), (32, 48), (33, 47)])
def test_shape(network: VGG19Features, size: tuple[int, int]) -> None:
    with torch.no_grad():
        features = network(picture(2, 3, *size))
    assert features.shape == (2, 512, size[0] // 16, size[1] // 16)


def test_features_are_those_of_torchvision(network: VGG19Features) -> None:
    image = picture(2, 3, 32, 48)
    transforms = VGG19_Weights.IMAGENET1K_V1.transforms()
    oracle = torchvision_features(network.layers.state_dict())
    with torch.no_grad():
        found = network(image)
        expected = oracle(normalize(image, transforms.mean, transforms.std))
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected)
    assert (found < 0).any(), "conv5_4 is taken before its ReLU"


def test_features_leave_the_image_alone(network: VGG19Features) -> None:
    image = picture(1, 3, 32, 32)
    before = image.clone()
    with torch.no_grad():
        network(image)
    assert torch.equal(image, before)


def test_random_weights_are_reproducible_and_leave_the_global_generator_alone(
    network: VGG19Features,
) -> None:
    torch.manual_seed(123)
    before = torch.get_rng_state()
    again = VGG19Features("random")
    assert torch.equal(torch.get_rng_state(), before)
    state = again.state_dict()
    assert state.keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert torch.get_rng_state().equal(before)


def test_random_weights_keep_the_size_of_a_signal(network: VGG19Features) -> None:
    """He et al. 2015: variance 2 / fan_in, no bias, so that features neither vanish nor explode."""
    for layer in network.layers:
        if isinstance(layer, nn.Conv2d):
            fan_in = layer.weight[0].numel()
            assert layer.weight.var().item() == pytest.approx(
                2 / fan_in, rel=STANDARD_ERRORS * (2 / layer.weight.numel()) ** 0.5
            )
            assert layer.bias is not None and not layer.bias.any()
    with torch.no_grad():
        assert 0.1 < network(picture(1, 3, 32, 32)).std() < 10


def test_weights_are_frozen_but_gradients_reach_the_image() -> None:
    network = VGG19Features("random")
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    image = picture(1, 3, 16, 16).requires_grad_()
    (slope,) = torch.autograd.grad(network(image).square().mean(), image)
    assert torch.isfinite(slope).all() and slope.abs().max() > 0


# ---------------------------------------------------------------- weights


def assert_fabricated(network: VGG19Features, state: dict[str, Tensor]) -> None:
    found = network.layers.state_dict()
    assert len(found) == 2 * 16
    for name, value in found.items():
        assert torch.equal(value, state[f"features.{name}"]), name


def test_a_state_dict_file_loads(tmp_path: Path) -> None:
    state, path = fabricated(), tmp_path / "vgg19.pth"
    torch.save(state, path)
    network = VGG19Features(str(path))
    assert_fabricated(network, state)
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_imagenet_is_the_file_torchvision_downloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_network(monkeypatch, tmp_path)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    state = fabricated()
    torch.save(state, folder / VGG19_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1])
    assert_fabricated(VGG19Features("imagenet"), state)


def test_no_network_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_network(monkeypatch, tmp_path)
    with pytest.raises(UserError, match="there is no network here") as raised:
        VGG19Features("imagenet")
    assert "'imagenet'" in str(raised.value)
    assert "name a vgg19 state dict file, or 'random'" in str(raised.value)


def test_a_bad_file_says_what_to_do(tmp_path: Path) -> None:
    text = tmp_path / "text.pth"
    text.write_text("no weights")
    partial = tmp_path / "partial.pth"
    torch.save({k: v for k, v in fabricated().items() if k != "features.34.bias"}, partial)
    misshapen = tmp_path / "misshapen.pth"
    torch.save({**fabricated(), "features.0.weight": torch.zeros(64, 1, 3, 3)}, misshapen)
    listed = tmp_path / "list.pth"
    torch.save([1, 2], listed)
    for path in (text, partial, misshapen, listed, tmp_path / "none.pth", tmp_path):
        with pytest.raises(UserError, match="or 'random'") as raised:
            VGG19Features(str(path))
        message = str(raised.value)
        assert f"'{path}'" in message and "\n" not in message


def test_the_hash_of_weights_is_that_of_their_file(tmp_path: Path) -> None:
    path = tmp_path / "vgg19.pth"
    path.write_bytes(b"abc")
    assert weights_hash(str(path)) == hashlib.sha256(b"abc").hexdigest()
    assert weights_hash("imagenet") is None and weights_hash("random") is None
