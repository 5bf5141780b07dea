"""Built equals opened: every option of every SR network of spandrel, or a refusal by name."""

import ast
import copy
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.base.errors import UserError
from pipeline.srn import network as srn
from pipeline.srn.file import open_model
from pipeline.stores.weights import save_weights

Options = dict[str, object]

SIDE = 16
"""Crops of the trial in LR pixels; RealCUGAN needs larger ones."""
SWIN: Options = {"embed_dim": 12, "depths": [2], "num_heads": [2], "window_size": 8}
SMALL: dict[str, Options] = {
    "ATD": {
        **SWIN, "category_size": 256, "num_tokens": 8, "reducted_dim": 4,
        "upsampler": "pixelshuffledirect",
    },
    "CRAFT": {"embed_dim": 24, "depths": [2], "num_heads": [6]},
    "Compact": {"num_feat": 6, "num_conv": 2},
    "DAT": {"embed_dim": 16, "depth": [2], "num_heads": [2]},
    "DCTLSA": {"nf": 20},
    "DITN": {"dim": 12, "ITL_blocks": 1, "SAL_blocks": 1},
    "DRCT": {**SWIN, "embed_dim": 24, "gc": 8, "upsampler": "pixelshuffle"},
    "ESRGAN": {"num_filters": 8, "num_blocks": 1},
    "FDAT": {"embed_dim": 24, "num_groups": 1, "depth_per_group": 1, "num_heads": 2, "mid_dim": 16},
    "GRL": {
        "embed_dim": 24, "depths": [2], "num_heads_window": [2], "num_heads_stripe": [2],
        "window_size": 32, "stripe_size": [64, 64], "anchor_window_down_factor": 4,
        "upsampler": "pixelshuffle",
    },
    "HAT": {**SWIN, "squeeze_factor": 6, "num_feat": 16},
    "MoESR": {"dim": 16, "n_blocks": 1, "n_block": 1, "upsample_dim": 16},
    "MoSR": {"n_block": 1, "dim": 16},
    "OmniSR": {"num_feat": 16, "res_num": 1},
    "PLKSR": {"dim": 16, "n_blocks": 1},
    "RCAN": {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16},
    "RGT": {"embed_dim": 16, "depth": [2], "num_heads": [2]},
    "RealCUGAN": {},
    "SAFMN": {"dim": 8, "n_blocks": 1},
    "SPAN": {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8},
    "SeemoRe": {"embedding_dim": 12, "num_layers": 2, "num_experts": 2},
    "SwiftSRGAN": {"num_channels": 8, "num_blocks": 1},
    "Swin2SR": {**SWIN, "upsampler": "pixelshuffle"},
    "SwinIR": {**SWIN, "upsampler": "pixelshuffle"},
}  # fmt: skip
"""Options of a small network of every architecture that can be trained here."""


def lr_image(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(7))


def weighted(network: nn.Module) -> nn.Module:
    """The network with weights far from its first ones; those of the trial are others."""
    source = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.5 + torch.rand(parameter.shape, generator=source))
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=source))
    return network


def difference(network: nn.Module, folder: Path, side: int) -> float:
    """How far the images of a network and of its file are apart, in units of their spread."""
    network = weighted(network).eval()
    save_weights(folder / "srn.safetensors", network.state_dict(), {})
    opened = open_model(folder / "srn.safetensors")
    lr = lr_image(side, side)
    with torch.no_grad():
        expected, found = network(lr), opened.model(lr)
        assert torch.equal(opened(lr), found.clamp(0, 1))
    return float((expected - found).abs().max() / expected.std())


def compared_strings(architecture: str) -> list[str]:
    """The strings that the code of an architecture compares with something: choices of options."""
    folder = Path(inspect.getfile(sys.modules[f"spandrel.architectures.{architecture}"])).parent
    found = set()
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                for part in ast.walk(node):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        found.add(part.value)
    return sorted(text for text in found if len(text) < 25 and "." not in text)


def others(value: Any, strings: list[str]) -> Iterator[object]:
    """Other values for an option that is ``value``, of the kinds that a params file can hold."""
    match value:
        case bool():
            yield not value
        case int():
            yield from (value + 1, 2 * value, max(value // 2, 1))
        case float():
            yield from (2 * value + 0.25, value / 2)
            if value == 1.0:  # a range of values
                yield 255.0
        case str():
            yield from (text for text in strings if text != value)
        case [*items] if items and all(isinstance(item, int) for item in items):
            yield [2 * item for item in items]
            yield [*items, items[-1]]
            yield [*items[:-1], items[-1] + 1]
        case [*items] if items and all(isinstance(item, float) for item in items):
            yield [item / 2 for item in items]
        case None:
            yield from (1, 2, 0.5, True)
        case _:
            yield "ReLU"


def trials(architecture: str) -> Iterator[tuple[str, object]]:
    strings, small = compared_strings(architecture), SMALL[architecture]
    parameters = inspect.signature(srn._network_class(architecture)).parameters
    for name, parameter in parameters.items():
        value = small.get(name, parameter.default)
        value = list(value) if isinstance(value, tuple) else value
        if value is parameter.empty or name in srn.SCALE_NAMES:
            continue
        for other in others(value, strings):
            yield name, other


def side(architecture: str) -> int:
    return 48 if architecture == "RealCUGAN" else SIDE


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:torch.utils.checkpoint")  # of options such as use_chk
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # likewise
@pytest.mark.parametrize("architecture", SMALL)
def test_every_option_is_in_the_file_or_refused_by_name(architecture: str, tmp_path: Path) -> None:
    refused: list[tuple[str, object, str]] = []
    apart: dict[tuple[str, str], float] = {}
    for option, value in trials(architecture):
        options = {**SMALL[architecture], option: value}
        torch.manual_seed(3)
        try:
            network = srn.build(architecture, 2, options, side(architecture))
        except UserError as error:
            refused.append((option, value, str(error)))
        else:
            apart[option, str(value)] = difference(network, tmp_path, 48)
    print(architecture, "accepted", *apart.items(), "refused", *refused, sep="\n  ")
    assert {trial: found for trial, found in apart.items() if not found < 1e-3} == {}
    for option, value, message in refused:
        assert f"{option}: {value}" in message or f"'{option}'" in message
    assert apart and refused


@pytest.mark.slow
def test_every_architecture_is_tried_or_refused() -> None:
    for architecture in set(srn.architectures()) - set(SMALL):
        for scale in (2, 4):
            with pytest.raises(UserError, match=f"'{architecture}'"):
                srn.build(architecture, scale, {}, 48)


FAST = ["Compact", "ESRGAN", "HAT", "RCAN", "SPAN", "SwinIR"]


@pytest.mark.parametrize(
    "architecture",
    [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in SMALL],
)
def test_small_networks_open_as_they_were_built(architecture: str, tmp_path: Path) -> None:
    torch.manual_seed(4)
    network = srn.build(architecture, 2, SMALL[architecture], side(architecture))
    assert difference(network, tmp_path, 48) < 1e-3


# ---------------------------------------------------------------- by example


@pytest.mark.parametrize(
    ("architecture", "option", "value", "words"),
    [
        ("SwinIR", "img_range", 255, "would be opened with 1.0"),
        ("HAT", "img_range", 255, "would be opened with 1.0"),
        ("DAT", "img_range", 255, "would be opened with 1.0"),
        ("RGT", "img_range", 255, "would be opened with 1.0"),
        ("Swin2SR", "img_range", 255, "would be opened with 1.0"),
        ("HAT", "conv_scale", 0.5, "would be opened with 0.01"),
        ("ATD", "category_size", 512, "would be opened with 256"),
    ],
)
def test_options_that_no_file_holds(
    architecture: str, option: str, value: object, words: str
) -> None:
    """SwinIR with ``img_range: 255`` was trained as such and scored 6.75 dB as 1.0."""
    with pytest.raises(UserError, match=words) as raised:
        srn.build(architecture, 2, {**SMALL[architecture], option: value}, SIDE)
    assert f"does not hold the option '{option}', here {value!r}" in str(raised.value)


@pytest.mark.parametrize(("crop", "size"), [(16, "16x16"), (64, "19x26")])
def test_a_network_of_one_size(crop: int, size: str) -> None:
    """An absolute position embedding is made for images of 64x64 alone."""
    with pytest.raises(
        UserError, match=f"ape: True .* fails on {size} LR pixels: The size of"
    ) as e:
        srn.build("HAT", 2, {**SMALL["HAT"], "ape": True}, crop)
    assert "\n" not in str(e.value)


def test_the_trial_leaves_the_network_and_the_generator_alone() -> None:
    torch.manual_seed(5)
    built = srn.build("SPAN", 2, SMALL["SPAN"], SIDE)
    after = torch.rand(3)
    torch.manual_seed(5)
    plain = srn._network_class("SPAN")(**SMALL["SPAN"], upscale=2)
    assert torch.equal(torch.rand(3), after)
    for one, other in zip(built.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("train", [False, True])
def test_networks_get_a_copy_of_their_input(train: bool, tmp_path: Path) -> None:
    """RCAN multiplies its input in place; contact sheets went white."""
    built = srn.build("RCAN", 2, SMALL["RCAN"], SIDE)
    save_weights(tmp_path / "srn.safetensors", built.state_dict(), {})
    for network in (built, copy.deepcopy(built), open_model(tmp_path / "srn.safetensors").model):
        lr = lr_image(8, 9)
        network.train(train)(lr)
        assert torch.equal(lr, lr_image(8, 9))
