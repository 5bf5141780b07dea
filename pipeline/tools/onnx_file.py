"""SR networks as ONNX files, of any size or of a fixed one, checked against the network itself."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel
from torch import Tensor, nn

from pipeline.base.errors import UserError, one_line
from pipeline.base.seeding import generator

LIMIT = 2**31 - 2**20
"""Largest size of the weights in bytes: a protocol buffer holds at most 2 GiB."""
OPSET = 18
"""Version of the operators, of December 2022; later runtimes read it too."""


class Shape(NamedTuple):
    """Shape of some LR images."""

    batch: int
    height: int
    width: int


def to_onnx(
    network: nn.Module, example: Shape, described: Mapping[str, object], dynamic: bool = True
) -> bytes:
    """A network as a single ONNX file.

    Its input ``lr`` is float32 (batch, 3, height, width) in [0, 1]; its output ``sr`` is the same
    at SR size.  Paths of this machine are removed.

    Args:
        network: From (N, 3, H, W) to (N, 3, scale H, scale W), on the CPU.
        example: A shape the network accepts; if sizes are dynamic, its three numbers are different,
            the batch at least 2.
        described: Metadata of the file.
        dynamic: Whether batch, height and width are dynamic; else they are those of the example.

    Raises:
        UserError: The network is too large, or the exporter fails on it.

    """
    tensors = chain(network.parameters(), network.buffers())
    if (size := sum(tensor.numel() * 4 for tensor in tensors)) > LIMIT:
        raise UserError(f"an ONNX file holds at most 2 GiB, but the weights are {size} bytes")
    network = _settled(network.float().eval())
    lr = torch.zeros(example.batch, 3, example.height, example.width)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the code of the architectures
            program = torch.onnx.export(
                network,
                (lr,),
                dynamo=True,
                verbose=False,
                external_data=False,
                opset_version=OPSET,
                input_names=["lr"],
                output_names=["sr"],
                dynamic_shapes=({0: "batch", 2: "height", 3: "width"},) if dynamic else None,
            )
    except Exception as error:  # forty architectures make the exporter raise many types
        cause = error.__cause__ or error  # the exporter's own words are about its steps
        raise UserError(f"the network cannot be written as ONNX: {one_line(cause, 200)}") from error
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    _strip(model)
    onnx.helper.set_model_props(model, {key: str(value) for key, value in described.items()})
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _settled(network: nn.Module) -> nn.Module:
    """A copy of a network whose layers compute no weights while they run.

    Layers of SPAN merge three convolutions into one at every call, by writing into its weights,
    which ends the process that traces them.  Here they do it once.
    """
    network = copy.deepcopy(network)
    for layer in network.modules():
        if callable(merge := getattr(layer, "update_params", None)):
            with torch.no_grad():
                merge()
            setattr(layer, "update_params", _nothing)  # noqa: B010
    return network


def _nothing() -> None:
    """Stands for what was done already."""


def in_half(model: bytes) -> bytes:
    """An ONNX model with weights and arithmetic in float16; input and output stay float32.

    The file is half as large.

    Raises:
        UserError: The model holds what cannot be converted.

    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about values that become zero; they are checked below
            half = convert_float_to_float16(onnx.load_from_string(model), keep_io_types=True)
        OnnxModel(half).topological_sort()  # the converter appends nodes that come first
        onnx.checker.check_model(half)
    except Exception as error:  # the converter raises many types
        reason = one_line(error, 200)
        raise UserError(f"the network cannot be written in half precision: {reason}") from error
    data: bytes = half.SerializeToString(deterministic=True)
    return data


def largest_difference(model: bytes, network: nn.Module, shapes: Sequence[Shape]) -> float:
    """The largest difference of a value between ONNX Runtime and the network, on random images.

    Args:
        model: The ONNX model.
        network: The network that it was made of.
        shapes: Shapes of the images.

    Returns:
        The difference in the unit of the image; infinite if the model fails on a shape, or if its
        output has another shape; NaN if a value is not a number.

    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # a failure is reported by the caller
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch, height, width in shapes:
        lr = torch.rand(batch, 3, height, width, generator=generator(0, "onnx"))
        with torch.inference_mode():
            expected: Tensor = network(lr)
        try:
            (found,) = session.run(None, {"lr": lr.numpy()})
        except Exception:  # the runtime raises types of its own
            return float("inf")
        if found.shape != tuple(expected.shape):
            return float("inf")
        worst = float(np.maximum(worst, np.abs(found - expected.numpy()).max()))  # keeps NaN
    return worst


def _strip(model: onnx.ModelProto) -> None:
    """Remove the exporter's comments, which hold paths of this machine."""
    del model.metadata_props[:]
    graph = model.graph
    del graph.metadata_props[:]
    for part in chain(graph.node, graph.value_info, graph.input, graph.output, graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
