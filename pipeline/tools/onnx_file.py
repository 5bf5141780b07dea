"""SR networks as ONNX files: any batch, height and width, checked against the network itself."""

import warnings
from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from pipeline.base.errors import UserError, one_line
from pipeline.base.seeding import generator

LIMIT = 2**31 - 2**20
"""Bytes of weights that fit one file: a protocol buffer ends at 2 GiB."""
OPSET = 18
"""Version of the operators, of December 2022; later runtimes read it too."""

Shape = tuple[int, int, int]
"""Batch, height and width."""


def to_onnx(network: nn.Module, example: Shape, described: Mapping[str, object]) -> bytes:
    """Write a network as an ONNX model, in one piece.

    Its input ``lr`` is float32 (batch, 3, height, width) in [0, 1], its output ``sr`` the same at
    SR size; all but the channels are free.  Names of files of this machine are left out.

    Args:
        network: From (N, 3, H, W) to (N, 3, scale H, scale W), on the CPU.
        example: A shape it accepts, with a batch of at least two and different lengths.
        described: Written into the model.

    Raises:
        UserError: It is too large, or the exporter cannot follow it.

    """
    tensors = chain(network.parameters(), network.buffers())
    if (size := sum(tensor.numel() * 4 for tensor in tensors)) > LIMIT:
        raise UserError(f"an ONNX file holds at most 2 GiB, but the weights are {size} bytes")
    network = network.float().eval()
    lr = torch.zeros(example[0], 3, *example[1:])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on the code of the architectures
            program = torch.onnx.export(
                network,
                (lr,),
                dynamo=True,
                verbose=False,
                external_data=False,
                opset_version=OPSET,
                input_names=["lr"],
                output_names=["sr"],
                dynamic_shapes=({0: "batch", 2: "height", 3: "width"},),
            )
    except Exception as error:  # whatever the code of forty architectures leads to
        raise UserError(f"the network cannot be written as ONNX: {one_line(error, 200)}") from error
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    _strip(model)
    onnx.helper.set_model_props(model, {key: str(value) for key, value in described.items()})
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def largest_difference(model: bytes, network: nn.Module, shapes: Sequence[Shape]) -> float:
    """The largest difference of any value between ONNX Runtime and the network, on random images.

    Args:
        model: The ONNX model.
        network: What it was written from.
        shapes: Of the images.

    Returns:
        In the unit of the image; infinite if the model fails on a shape or gives another one.

    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is said in a sentence
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
        worst = max(worst, float(np.abs(found - expected.numpy()).max()))
    return worst


def _strip(model: onnx.ModelProto) -> None:
    """Remove the exporter's remarks: they quote paths of this machine."""
    del model.metadata_props[:]
    graph = model.graph
    del graph.metadata_props[:]
    for part in chain(graph.node, graph.value_info, graph.input, graph.output, graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
