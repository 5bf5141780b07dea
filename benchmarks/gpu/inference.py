"""Export of a DSN's maps, and super-resolution, of one image."""

import shutil
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.data import SCALE, drawn, plain_dsn
from benchmarks.gpu.card import BF16, FLOAT32, TF32
from benchmarks.gpu.results import Result
from benchmarks.gpu.workload import Given, Measured, timed
from benchmarks.rows.steps import flops
from benchmarks.sizes import ROOT
from pipeline.base.settings import load_section
from pipeline.evaluate.tiled import Tiling, enlarge_strips, in_bf16, on_device
from pipeline.export.export import ExportSettings, export
from pipeline.images.io import Image, to_float
from pipeline.srn.file import open_model
from pipeline.stores.reader import Store
from pipeline.writing.writer import StoreWriter

HALO = 32
"""Of ``usrdu upscale``."""
PATCH = 64
"""Side of the image on which operations are counted; they are proportional to the pixels."""


def exported(of: Given, batch: int) -> Iterator[Result]:
    """``export`` into a store, with tiles in batches."""
    side = of.load.export_side
    store = of.bench.scratch / "hr.zarr"
    with StoreWriter(store, "hr", SCALE, ["image"]) as writer:
        writer.add("image", {"image": drawn(0, side, side)})
    weights, target = of.bench.data.dsn(), of.bench.scratch / "maps.zarr"
    settings = load_section(ROOT / "params.yaml", "export", ExportSettings)
    settings = settings.model_copy(update={"batch": batch})

    def work() -> None:
        shutil.rmtree(target, ignore_errors=True)
        export(Store(store, "hr"), weights, settings, target)

    way = f"usrdu export, tiles of {settings.tile} in batches of {batch}"
    yield timed(of, _export_told(of, way, TF32), work, warm=1)


def plain_export(of: Given) -> Iterator[Result]:
    """The DSN on the whole image; nothing is written."""
    side = of.load.export_side
    image, dsn = drawn(0, side, side), plain_dsn(of.bench.data.dsn(), of.device)

    @torch.no_grad()
    def work() -> list[Tensor]:
        mean, log_theta_gray, _ = dsn(to_float(image)[None].to(of.device))
        return [part.cpu() for part in (mean, log_theta_gray)]

    yield timed(of, _export_told(of, "network on the whole image, nothing written", TF32), work)


def _export_told(of: Given, way: str, peak: str) -> Measured:
    side, dsn = of.load.export_side, plain_dsn(of.bench.data.dsn(), of.device)
    tflop = _per_pixel(dsn, of.device) * side**2 / 1e12
    return Measured(f"export, {side} x {side}", way, side**2 / 1e6, "MP", tflop, peak)


UPSCALES: dict[str, tuple[str, int]] = {
    "whole image, TF32 convolutions": (TF32, 0),
    "tiles, float32": (FLOAT32, 1),
    "tiles, TF32 convolutions": (TF32, 1),
    "tiles, bf16": (BF16, 1),
    "tiles in batches of 4, bf16": (BF16, 4),
    "tiles in batches of 4, bf16, channels_last": (BF16, 4),
}
"""Kind of numbers, and tiles in a batch, 0 for none; ``usrdu upscale`` takes the third, and with
``--precision bf16`` the fourth."""


def upscaled(of: Given, way: str) -> Iterator[Result]:
    """What ``usrdu upscale`` computes between reading and writing."""
    kind, batch = UPSCALES[way]
    torch.backends.cudnn.allow_tf32 = kind == TF32
    model = open_model(of.bench.data.srn())
    device = on_device(model)
    if way.endswith("channels_last"):
        model.model.to(memory_format=torch.channels_last)
    height, width = of.load.upscaled
    lr = drawn(0, height, width)
    tflop = _per_pixel(model.model, device) * height * width / 1e12
    megapixels = height * width * SCALE**2 / 1e6
    what = f"upscale, {height} x {width} by {SCALE}"
    told = Measured(what, way, megapixels, "SR MP", tflop, kind)
    network = in_bf16(model, device) if kind == BF16 else model
    tile, halo = (of.load.tile, min(HALO, of.load.tile)) if batch else (max(lr.shape), 0)
    tiling = Tiling(tile, halo, max(batch, 1))
    yield timed(of, told, _strips(network, lr, tiling, device), warm=1)


def _strips(
    network: Callable[[Tensor], Tensor], lr: Image, tiling: Tiling, device: torch.device
) -> Callable[[], object]:
    return lambda: list(enlarge_strips(network, lr, SCALE, tiling, device))


def _per_pixel(network: nn.Module, device: torch.device) -> float:
    """Operations per pixel of the input."""
    image = torch.rand(1, 3, PATCH, PATCH, device=device)
    with torch.no_grad():
        return flops(lambda _: network(image)) / PATCH**2
