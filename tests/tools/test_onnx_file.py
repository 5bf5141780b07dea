"""ONNX files: any size, one piece, nothing of this machine in it, and a check that can fail."""

import io
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from torch import Tensor, nn

import pipeline
from pipeline.base.errors import UserError
from pipeline.srn.network import build
from pipeline.tools.onnx_file import Shape, largest_difference, to_onnx


class Enlarge(nn.Module):
    """Nearest neighbours after a convolution; simple, with what SR networks are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(lr), 2) + F.interpolate(lr, scale_factor=2.0)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Enlarge().eval()


@pytest.fixture(scope="module")
def data(network: nn.Module) -> bytes:
    return to_onnx(network, Shape(2, 8, 9), {"scale": 2, "channels": "RGB"})


@pytest.mark.parametrize("shape", [(1, 3, 8, 9), (1, 3, 1, 1), (3, 3, 17, 5), (2, 3, 40, 64)])
def test_any_batch_and_size(data: bytes, network: nn.Module, shape: tuple[int, ...]) -> None:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    lr = torch.rand(shape, generator=torch.Generator().manual_seed(3))
    (found,) = session.run(["sr"], {"lr": lr.numpy()})
    with torch.no_grad():
        expected = network(lr).numpy()
    assert found.dtype == np.float32 and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_the_model_is_whole_and_says_what_it_is(data: bytes) -> None:
    model = onnx.load(io.BytesIO(data))  # external data would fail here
    onnx.checker.check_model(model, full_check=True)
    assert {p.key: p.value for p in model.metadata_props} == {"scale": "2", "channels": "RGB"}
    (entry,), (result,) = model.graph.input, model.graph.output
    assert (entry.name, result.name) == ("lr", "sr")
    sizes = [d.dim_param or d.dim_value for d in entry.type.tensor_type.shape.dim]
    assert sizes == ["batch", 3, "height", "width"]
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_nothing_of_this_machine_is_in_it(data: bytes) -> None:
    for place in (Path(torch.__file__).parent.parent, Path(pipeline.__file__).parent.parent):
        assert str(place).encode() not in data
    assert b"stack_trace" not in data


def test_the_same_network_gives_the_same_bytes(data: bytes, network: nn.Module) -> None:
    assert to_onnx(network, Shape(2, 8, 9), {"scale": 2, "channels": "RGB"}) == data


def test_weights_of_more_than_two_gigabytes_are_refused() -> None:
    with torch.device("meta"):
        huge = nn.Conv2d(3, 2**26, 3)
    with pytest.raises(UserError, match="an ONNX file holds at most 2 GiB, but the weights are 7"):
        to_onnx(huge, Shape(2, 8, 9), {})


class Moody(nn.Module):
    """Does another thing with large values, which no graph of one run can say."""

    def forward(self, lr: Tensor) -> Tensor:
        return lr if lr.max() < 0.5 else 2 * lr


def test_a_network_that_cannot_be_followed_is_refused() -> None:
    with pytest.raises(UserError, match="cannot be written as ONNX: ") as caught:
        to_onnx(Moody(), Shape(2, 8, 9), {})
    assert "\n" not in str(caught.value)


# --- the check, on models that are made by hand


def by_hand(offset: float, size: int | str = "n") -> bytes:
    """A model that adds a number."""
    lr, sr = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", 3, size, size])
        for name in ("lr", "sr")
    )
    number = helper.make_tensor("number", TensorProto.FLOAT, [1], [offset])
    node = helper.make_node("Add", ["lr", "number"], ["sr"])
    graph = helper.make_graph([node], "g", [lr], [sr], [number])
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    made: bytes = model.SerializeToString()
    return made


SHAPES = [Shape(1, 4, 4), Shape(2, 6, 6)]


def test_the_check_finds_the_difference() -> None:
    assert largest_difference(by_hand(0.0), nn.Identity(), SHAPES) == 0
    found = largest_difference(by_hand(0.25), nn.Identity(), SHAPES)
    assert found == pytest.approx(0.25, abs=1e-6)


def test_a_model_for_one_size_fails_the_check() -> None:
    assert largest_difference(by_hand(0.0, 4), nn.Identity(), SHAPES[:1]) == 0
    assert largest_difference(by_hand(0.0, 4), nn.Identity(), SHAPES) == float("inf")


def test_another_shape_fails_the_check() -> None:
    bigger = nn.Upsample(scale_factor=2)
    assert largest_difference(by_hand(0.0), bigger, SHAPES) == float("inf")


@pytest.mark.slow
def test_a_network_that_computes_its_weights_while_it_runs() -> None:
    """SPAN ended the process that traced it; the network that is given still computes them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        options = {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8}
        span = build("SPAN", 2, options, 8).eval()
    data = to_onnx(span, Shape(2, 9, 10), {})
    assert largest_difference(data, span, [Shape(1, 8, 8), Shape(1, 7, 12)]) < 1e-5
    assert not any("update_params" in vars(layer) for layer in span.modules())
