"""What the process of a network does: builds it, trains one step, and tries formats."""

import gc
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.gpu.results import Fact, Result
from benchmarks.gpu.run import Setting
from benchmarks.networks.choices import Choice, choice
from benchmarks.networks.table import REFERENCE
from benchmarks.processes import peak
from pipeline.base.errors import UserError
from pipeline.srn.file import open_model
from pipeline.srn.network import build
from pipeline.stores.weights import save_weights
from pipeline.tools.convert import OnnxForm, convert
from pipeline.tools.onnx_file import Shape, in_half, largest_difference

BATCH = 2
"""Crops of a training step."""
LARGE = 64
"""Side of the image that is super-resolved, and of an ONNX file of one size, in LR pixels."""
WINDOWLESS = 2
"""Least side, in pixels, up to which a network works without windows.  The number of windows is
fixed when a graph is traced, so those with windows are tried at one size at once."""
ROUNDS = 2
"""Steps of the network and of ESRGAN, in turns."""


def steps(setting: Setting, scratch: Path, name: str) -> Iterator[Result]:
    """Train a network for some steps, and ESRGAN beside it."""
    del scratch
    torch.set_num_threads(1)
    chosen = choice(name, setting.size)
    before = peak()
    network = _built(name, chosen)
    save_weights(_weights(setting, name), network.state_dict(), {})
    yield Fact("parameters", float(sum(one.numel() for one in network.parameters())))
    step = _step(network, chosen)
    gc.collect()
    _forget_peak()
    step()
    yield Fact("memory", max(peak() - before, 0.0))
    reference = open_model(_weights(setting, REFERENCE)).model.train()
    beside = _step(reference, choice(REFERENCE, setting.size))
    beside()
    turns = [(_cpu(step), _cpu(beside)) for _ in range(ROUNDS)]
    yield Fact("step", statistics.median(own for own, _ in turns))
    yield Fact("times", statistics.median(own / other for own, other in turns))
    network.eval()
    lr = torch.rand(1, 3, LARGE, LARGE)
    with torch.inference_mode():
        yield Fact("inference", _cpu(lambda: network(lr)))


def formats(setting: Setting, scratch: Path, name: str) -> Iterator[Result]:
    """Sizes that a network takes, bfloat16, and ONNX files of it."""
    torch.set_num_threads(1)
    chosen = choice(name, setting.size)
    source = _weights(setting, name)
    model = open_model(source)
    sizes = model.size_requirements
    yield Fact("multiple", float(sizes.multiple_of))
    yield Fact("least", float(max(sizes.minimum, sizes.multiple_of)))
    unit = sizes.multiple_of
    side = -(-max(chosen.side, sizes.minimum) // unit) * unit
    lr = torch.rand(1, 3, side, side)
    with torch.inference_mode():
        exact: Tensor = model.model(lr)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model.model(lr).float()
    yield Fact("bf16", float((rounded - exact).norm() / exact.norm()))
    target = scratch / "srn.onnx"
    fixed = -(-max(LARGE, sizes.minimum) // unit) * unit
    windows = unit > 1 or sizes.minimum > WINDOWLESS
    try:
        words = str(
            convert(source, target, form=OnnxForm((fixed, fixed) if windows else None)).onnx
        )
    except UserError:
        if windows:
            raise
        windows = True
        words = str(convert(source, target, form=OnnxForm((fixed, fixed))).onnx)
    yield Fact("onnx", f"{fixed}x{fixed}" if windows else "any")
    found = re.search(r"at most (\S+) on", words)
    yield Fact("onnx difference", float(found[1]) if found else float("nan"))
    shapes = [Shape(1, fixed, fixed)] if windows else [Shape(1, side, side), Shape(2, side, side)]
    half = in_half(target.read_bytes())
    yield Fact("fp16", 255 * largest_difference(half, model.model, shapes))
    yield Fact("fp16 size", len(half) / target.stat().st_size)


def _weights(setting: Setting, name: str) -> Path:
    """The file of the weights that the first part built, for the second."""
    return setting.folder / f"{name}.safetensors"


def _built(name: str, chosen: Choice) -> nn.Module:
    torch.manual_seed(0)
    return build(name, chosen.scale, chosen.options, chosen.side)


def _step(network: nn.Module, chosen: Choice) -> Callable[[], object]:
    """One training step: L1 loss, backward, Adam."""
    lr = torch.rand(BATCH, 3, chosen.side, chosen.side)
    hr = torch.rand(BATCH, 3, chosen.side * chosen.scale, chosen.side * chosen.scale)
    optimiser = torch.optim.Adam(network.parameters(), 1e-4)

    def step() -> None:
        optimiser.zero_grad()
        loss: Tensor = nn.functional.l1_loss(network(lr), hr)
        torch.autograd.backward(loss)
        optimiser.step()

    return step


def _cpu(work: Callable[[], object]) -> float:
    """Seconds of the processor that some work takes; others on the machine do not count."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def _forget_peak() -> None:
    """Let the peak of the memory begin anew, where the system can."""
    refs = Path("/proc/self/clear_refs")
    if refs.exists():
        refs.write_text("5")
