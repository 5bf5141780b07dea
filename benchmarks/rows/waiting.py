"""Row k: evaluate, camera and calibrate, in seconds per megapixel."""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import lpips
import numpy as np
import piq
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchvision.models import alexnet

from benchmarks.bench import Bench
from benchmarks.data import SCALE, picture
from benchmarks.race import Entry, Line, race
from pipeline.calibrate.calibrate import calibrate
from pipeline.calibrate.settings import CalibrateSettings
from pipeline.camera.estimate import CameraSettings, passport_or_fault
from pipeline.images.filters import bicubic_upsample
from pipeline.images.io import Image, to_float, to_uint8
from pipeline.scores.full_reference import Lpips, score
from pipeline.scores.protocols import Protocol, protocol
from pipeline.stores.reader import Store

OURS, NAIVE = "usrdu evaluate's scores", "scikit-image, piq and lpips, one call a score"
SIZE = (600, 840)
"""(H, W) of the HR image that is scored, or of the data if that is smaller."""


def waiting(bench: Bench) -> Iterator[Line]:
    """The scores of two SR images under three protocols, then both stages on all the data."""
    yield _scores(bench)
    lr, maps = bench.data.real(), Store(bench.data.maps_path, "maps")
    hr = Store(bench.data.hr_path, "hr")
    stages = {
        "camera": (Entry("usrdu camera", lambda: passport_or_fault(hr, lr, CameraSettings())), hr),
        "calibrate": (
            Entry("usrdu calibrate", lambda: calibrate(maps, lr, CalibrateSettings())),
            maps,
        ),
    }
    for name, (entry, other) in stages.items():
        pixels = sum(math.prod(store.size(one)) for store in (other, lr) for one in store.ids)
        times = race([entry], bench.few, 0, bench.device, f"k: {name}")
        what = f"{name}, {len(other.ids)} and {len(lr.ids)} images, {pixels / 1e6:.3g} MP"
        yield Line("k", what, entry.name, "", times[entry.name], [], per_megapixel(pixels))


def per_megapixel(pixels: int) -> Callable[[float], str]:
    """How to show the seconds that so many pixels take."""
    return lambda seconds: f"{seconds / pixels * 1e6:.3g} s/MP"


def _scores(bench: Bench) -> Line:
    """Both ways with an AlexNet of random weights, for its time alone."""
    height, width = (min(pair) for pair in zip(SIZE, bench.size.hr, strict=True))
    hr = np.ascontiguousarray(picture(0, height, width))
    reduced = to_float(hr[:, ::SCALE, ::SCALE].copy())
    bicubic = to_uint8(bicubic_upsample(reduced, SCALE))
    srs = [bicubic, np.clip(bicubic.astype(int) + 3, 0, 255).astype(np.uint8)]
    protocols = [protocol(name, SCALE) for name in ("usrdu", "rwsr2020", "y")]
    distance, plain = Lpips(str(_alexnet(bench.scratch))), _package()
    times = race(
        [
            Entry(OURS, lambda: [score(sr, hr, protocols, distance) for sr in srs]),
            Entry(NAIVE, lambda: naive(srs, hr, protocols, plain)),
        ],
        bench.rounds,
        bench.size.turn,
        torch.device("cpu"),
        "k: scores",
    )
    what = f"PSNR, SSIM, HaarPSI and LPIPS of two SR images of {width} x {height}, three protocols"
    return Line("k", what, OURS, NAIVE, times[OURS], times[NAIVE], per_megapixel(height * width))


@torch.inference_mode()
def naive(
    srs: Sequence[Image], hr: Image, protocols: Sequence[Protocol], distance: lpips.LPIPS
) -> list[list[float]]:
    """One call of a library for every image, protocol and score, as scripts do."""
    found = []
    for sr in srs:
        for one in protocols:
            seen, hr_seen = one.view(sr), one.view(hr)
            gaussian = one.window == "gaussian"
            shaved = [to_float(np.ascontiguousarray(one.shave(x)))[None] for x in (sr, hr)]
            similarity = structural_similarity(
                hr_seen, seen, win_size=one.window_side, channel_axis=0, data_range=255,
                gaussian_weights=gaussian, sigma=1.5, use_sample_covariance=not gaussian,
            )  # fmt: skip
            found.append(
                [
                    float(peak_signal_noise_ratio(hr_seen, seen, data_range=255)),
                    float(similarity),
                    float(piq.haarpsi(*shaved, data_range=1.0)),
                    float(distance(*(2 * x - 1 for x in shaved))),
                ]
            )
    return found


def _alexnet(folder: Path) -> Path:
    path = folder / "alexnet.pth"
    torch.manual_seed(0)
    features = alexnet(weights=None).features.state_dict()
    torch.save({f"features.{name}": value for name, value in features.items()}, path)
    return path


def _package() -> lpips.LPIPS:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about old arguments in lpips
        return lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
