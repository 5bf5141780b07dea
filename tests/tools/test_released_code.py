"""The authors' files: their DSN written out here from its description, and compared."""

from pathlib import Path

import pytest
import torch
from released_dsn import authors_dsn, hr_image, prefixed
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.tools.released_code import dsn_from_authors, recognise

PATH = Path("file.pth")


def test_the_reference_has_the_names_of_the_released_files() -> None:
    parameters = {name.removesuffix(".bias") for name in authors_dsn().state_dict()}
    layers = {name.removesuffix(".weight") for name in parameters}
    expected = {"block_input.0", "block_input.1", "block_output"}
    expected |= {f"down_sample.{i}" for i in range(4)} | {f"var.{i}" for i in (0, 2, 4)}
    expected |= {f"per_var.{i}" for i in (0, 3, 6, 9, 12, 14, 16)}
    expected |= {f"res_blocks.{n}.{layer}" for n in (0, 1) for layer in ("conv1", "prelu", "conv2")}
    assert layers == expected


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(("features", "blocks", "scale"), [(6, 2, 4), (5, 1, 2), (8, 11, 4)])
def test_the_dsn_computes_what_the_authors_computes(
    features: int, blocks: int, scale: int, wrapped: bool
) -> None:
    theirs = authors_dsn(features, blocks, scale, wrapped)
    ours = dsn_from_authors(theirs.state_dict(), PATH)
    assert (ours.scale, len(ours.blocks), ours.mean_head.in_channels) == (scale, blocks, features)
    assert not ours.training
    with torch.no_grad():
        expected = theirs(hr_image(32 * scale))
        found = ours(hr_image(32 * scale), with_sigma=True)
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        assert one.shape == other.shape and other.std() > 1e-3
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_their_other_generator_has_no_per_var() -> None:
    """It learned with sigma = 1: log sigma is zero, and the maps are those of the file."""
    theirs = authors_dsn()
    state = {n: v for n, v in theirs.state_dict().items() if not n.startswith("per_var.")}
    ours = dsn_from_authors(state, PATH)
    with torch.no_grad():
        expected = theirs(hr_image())
        mean, log_theta_gray, log_sigma = ours(hr_image(), with_sigma=True)
    torch.testing.assert_close(mean, expected[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(log_theta_gray, expected[1], rtol=0, atol=1e-6)
    assert log_sigma is not None and not log_sigma.any()


def test_two_spellings_of_one_head() -> None:
    state = {**authors_dsn().state_dict(), **authors_dsn(wrapped=True).state_dict()}
    words = r"block_output\.weight and block_output\.0\.weight are two names of one parameter"
    with pytest.raises(UserError, match=words):
        dsn_from_authors(state, PATH)


@pytest.mark.parametrize(("blocks", "warned"), [(7, True), (8, False), (9, True)])
def test_other_than_eight_blocks_are_a_warning(
    blocks: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(dsn_from_authors(authors_dsn(4, blocks).state_dict(), PATH).blocks) == blocks
    said = f"file.pth: its DSN has {blocks} residual blocks, the authors' files have 8"
    assert caplog.messages == ([said] if warned else [])


# --- what a file holds


DSN_STATE = {"block_input.0.weight": torch.zeros(4, 3, 3, 3)}
SR_STATE = {"conv_first.weight": torch.zeros(4, 3, 3, 3), "conv_last.weight": torch.ones(1)}


@pytest.mark.parametrize(
    "content",
    [
        {"gen": DSN_STATE, "dis": {"a": torch.zeros(1)}},
        {"gen": prefixed("module.", DSN_STATE), "dis": {}},
        {"params": DSN_STATE},
        DSN_STATE,
    ],
)
def test_a_dsn_is_recognised(content: dict[str, object]) -> None:
    found = recognise(content, PATH)
    assert (found.kind, found.sr) == ("dsn", None)
    assert found.dsn is not None and list(found.dsn) == list(DSN_STATE)


@pytest.mark.parametrize("dsn", [DSN_STATE, {}])
@pytest.mark.parametrize("wrapper", ["params", None])
def test_an_srn_is_recognised(wrapper: str | None, dsn: dict[str, Tensor]) -> None:
    state = prefixed("RRDBNet_U.", SR_STATE) | prefixed("RRDBNet_var.", dsn)
    found = recognise({wrapper: state} if wrapper else state, PATH)
    assert found.kind == "srn"
    assert found.sr is not None and list(found.sr) == list(SR_STATE)
    assert (list(found.dsn) if found.dsn else []) == list(dsn)


@pytest.mark.parametrize("wrapper", ["params_ema", "params", "state_dict", "model", None])
def test_another_sr_model_is_left_to_spandrel(wrapper: str | None) -> None:
    found = recognise({wrapper: SR_STATE, "epoch": 3} if wrapper else SR_STATE, PATH)
    assert (found.kind, found.dsn) == ("sr", None)
    assert found.sr is not None and list(found.sr) == list(SR_STATE)


def test_averaged_weights_come_first() -> None:
    other = {"conv_first.weight": torch.ones(1)}
    found = recognise({"params": other, "params_ema": SR_STATE}, PATH)
    assert found.sr is not None and list(found.sr) == list(SR_STATE)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "holds nothing;"),
        ({"epoch": 3, "loss": 0.5}, "holds epoch, loss;"),
        ({"gen": {}}, "holds nothing;"),
        ({str(i): i for i in range(9)}, "holds 0, 1, 2, 3, ...;"),
        ({5: "x"}, "holds 5;"),
    ],
)
def test_what_is_no_set_of_tensors_is_refused(content: dict[str, object], words: str) -> None:
    with pytest.raises(UserError) as caught:
        recognise(content, PATH)
    assert f"file.pth: {words} accepted are the authors' DSN or SRN" in str(caught.value)


# --- parameters that are not a DSN's


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    """The parameters of a DSN with some of them replaced or left out, ``_`` for ``.``."""
    state = dict(authors_dsn().state_dict())
    for name, value in changes.items():
        place = name.replace("__", ".")
        if value is None:
            del state[place]
        else:
            state[place] = value
    return state


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (changed(per_var__16__bias=None), "log_sigma_head.16.bias"),
        (changed(var__7__weight=torch.zeros(3)), "log_theta_head.7.weight"),
        (changed(extra__weight=torch.zeros(3)), "extra.weight"),
        (changed(var__4__bias=torch.zeros(4)), "size mismatch for log_theta_head.4.bias"),
        (changed(block_input__1__weight=torch.zeros(6)), "size mismatch for head.1.weight"),
        (changed(block_input__0__weight=None), "has 2 residual blocks and 2 strided"),
        (changed(down_sample__4__weight=torch.zeros(6, 6, 3, 3)), "and 3 strided convolutions"),
        ({"block_input.0.weight": torch.zeros(4, 3, 3, 3)}, "has 0 residual blocks and 0 strided"),
        (changed(res_blocks__9__conv1__weight=torch.zeros(6, 6, 3, 3)), "blocks.2.conv1.weight"),
    ],
)
def test_another_dsn_is_refused(state: dict[str, Tensor], words: str) -> None:
    with pytest.raises(UserError) as caught:
        dsn_from_authors(state, PATH)
    message = str(caught.value)
    assert message.startswith(("file.pth: the DSN in it ", "file.pth: its DSN "))
    assert words in message
    assert "\n" not in message and len(message) < 400
