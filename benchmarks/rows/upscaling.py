"""Row f: upscale, against a plain call of spandrel's model."""

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from safetensors.torch import save_file
from spandrel import ModelLoader

from benchmarks.bench import Bench
from benchmarks.data import SCALE, picture, write_png
from benchmarks.processes import Task, take_turns
from benchmarks.race import Line
from benchmarks.rows.exporting import growth, two_lines
from pipeline.srn.network import build
from stages.cli import main

OURS, PLAIN = "usrdu upscale", "spandrel, whole image"


def ours(source: str, model: str) -> Callable[[], None]:
    """The command itself, in this process."""
    from stages.tools import upscale as _  # noqa: F401  what the command imports is not measured

    words = ["upscale", source, str(Path(source).with_suffix(".ours.png")), "--model", model]

    def work() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            main(words, standalone_mode=False)

    return work


def plain(source: str, model: str) -> Callable[[], None]:
    """Load, compute in one piece, write."""

    def work() -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network = ModelLoader(device=device).load_from_file(model).eval()
        lr = torch.from_numpy(np.moveaxis(iio.imread(source), -1, 0)).float() / 255
        with torch.inference_mode():
            sr = network(lr[None].to(device))[0]
        levels = (sr.clamp(0, 1) * 255).round().byte().cpu().numpy()
        iio.imwrite(Path(source).with_suffix(".plain.png"), np.moveaxis(levels, 0, -1))

    return work


def upscaling(bench: Bench) -> Iterator[Line]:
    """Row f: SR megapixels per second, and memory."""
    model = str(bench.data.srn())
    for height, width in bench.size.upscale_sizes:
        source = bench.scratch / f"{height}x{width}.png"
        write_png(source, picture(0, height, width))
        arguments = (str(source), model)
        tasks = [Task(OURS, ours, arguments), Task(PLAIN, plain, arguments)]
        what = f"upscale, {height} x {width} by {SCALE}"
        taken = take_turns(tasks, bench.few, f"f: {what}")
        yield from two_lines("f", what, taken, height * width * SCALE**2 / 1e6, "MP")
    yield from _memory(bench)


def _memory(bench: Bench) -> Iterator[Line]:
    """Ours on images whose SR would not fit beside the network's features, by a small network."""
    torch.manual_seed(0)
    model = bench.scratch / "small.safetensors"
    save_file(build("Compact", SCALE, {"num_feat": 16, "num_conv": 2}).state_dict(), model)
    taken = {}
    for side in bench.size.upscale_sides:
        source = bench.scratch / f"{side}.png"
        write_png(source, picture(0, side, side))
        task = Task(OURS, ours, (str(source), str(model)))
        taken[side] = take_turns([task], 1, f"f: upscale {side}")[OURS]
    yield from growth("f", "upscale", taken, 1.5)
