"""The passport of a camera from two unpaired piles of images, by analysis by synthesis."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from tqdm import tqdm

from pipeline.base.errors import UserError
from pipeline.base.seeding import generator
from pipeline.base.settings import Settings
from pipeline.camera.fit import Camera, Search
from pipeline.camera.optics import kernel, on_grid
from pipeline.camera.spectra import Measure, Spectra, rings
from pipeline.camera.synthesis import MARGIN, Light, Synthesis, cropped
from pipeline.camera.windows import spread, usable, windows
from pipeline.noise.added_noise import AddedNoise, law, search, stored_tables
from pipeline.noise.estimate import (
    BLOCKS,
    Blocks,
    Noise,
    cut_blocks,
    estimate_noise,
    join,
    read_blocks,
)
from pipeline.passport.passport import (
    Denoising,
    ImageCounts,
    Passport,
    Sharpening,
    Transfer,
)
from pipeline.sampling.jpeg import JpegTables
from pipeline.sampling.noise_law import NoiseLaw, NoisyImages, variance_at, variance_table
from pipeline.stores.reader import Store, require_same_scale

SIDES = (64, 32)
"""Sides of a window in LR pixels; the smaller one for piles of small images."""
HR_WINDOWS, LR_WINDOWS = 192, 6000
"""Most windows of both piles."""
WINDOWS_PER_IMAGE = 30
"""Most windows of an image."""
LARGEST_KERNEL = 64
"""Longest side of a kernel in HR pixels."""
NOISE_ROUNDS = 4
"""Rounds in which samples are measured like the real LR images, and corrected."""
LEAST_CORRELATION = 0.1
"""Noise whose correlations are all weaker is drawn independently."""
INTERVAL = (5, 95)
"""Percentiles of an interval."""
FEW = 8
"""Fewer images than this in a pile are said to be few."""
NARROW = 0.1
"""A lens blur whose variance may be below this, in LR pixels squared, is narrower than a pixel."""
KERNEL_LEFT_OUT = 2e-3
"""Share of a kernel's absolute values that may lie beyond its sides."""
WIDE = 0.3
"""Width of the interval at 0.25 cycles per LR pixel that is said to be wide."""
TOO_DIFFERENT = 0.35
"""A slope between the piles' spectra, in natural logarithms of the amplitude from a frequency to
2.7 times it, that says that the scenes differ too much."""


class CameraSettings(Settings):
    """The section ``camera``."""

    light: Light = "gamma"
    """What the camera averages: linear light, as a device does, or gamma: the values as they are in
    the file, as a program does that reduces images."""
    rounds: int = Field(5, ge=1)
    """Rounds of each of the two searches, with a synthesis each."""


NO_NOISE = NoiseLaw(variance_gray=[[0.0, 0.0]] * 3, noise_filter=None, laplace_share=1.0)


@dataclass(frozen=True)
class Exposure:
    """Noise and JPEG of LR images; see ``sampling.noise_law.NoiseSource``."""

    scale: int
    noise: NoiseLaw
    jpeg: JpegTables | None

    def __call__(self, clean: Tensor) -> Tensor:
        """One photograph of every LR image without noise, the same at every call; 8 bit."""
        table = variance_table(self.noise)
        theta = (variance_at(table, clean) / 2).sqrt()
        source = generator(0, "camera/noise")
        return NoisyImages(self).draw(clean, theta, source).mul(255).round() / 255


@dataclass(frozen=True)
class FoundNoise:
    """The noise of the camera."""

    exposure: Exposure
    """It makes generated LR images as noisy as the real ones."""
    level_real: float
    """Standard deviation of the noise of the real LR images, in gray levels."""
    level_samples: float
    """The same of samples."""
    fault: str | None
    """Why it could not be measured."""


def estimate_camera(
    hr: Store, lr: Store, settings: CameraSettings
) -> tuple[Passport, dict[str, object]]:
    """Read the passport of a camera off two piles of images that need not show the same scenes.

    Two searches find the camera: the first with the noise as it was measured, the second with the
    noise and the JPEG that make samples as noisy as the real LR images.  Memory does not grow with
    the number of images.

    Args:
        hr: Store of kind hr.
        lr: Store of kind lr; its held-out part is not read.
        settings: The section ``camera``.

    Returns:
        The passport, and metrics: the six numbers of the camera, noise levels in gray levels, the
        misfit, and what could not be told.

    Raises:
        UserError: The scales differ, or the images are too small.

    """
    scale = require_same_scale(hr, lr)
    side = _side(hr, lr, scale)
    measure = Measure(side)
    synthesis = _synthesis(hr, side, settings.light)
    real, counts = _real(lr, measure, side)
    jpeg = stored_tables(lr)
    try:
        real_noise, fault = estimate_noise(read_blocks(lr, BLOCKS)), None
    except ValueError as error:
        real_noise, fault = None, str(error)
    with tqdm(total=2 * settings.rounds, desc="camera", unit="round") as bar:
        exposure = Exposure(scale, _as_measured(real_noise), None)
        first = Search(real, synthesis, measure, exposure).run(settings.rounds, bar.update)
        found = _noise(synthesis, first, real_noise, Exposure(scale, NO_NOISE, jpeg), fault)
        second = Search(real, synthesis, measure, found.exposure)
        camera = second.run(settings.rounds, bar.update, first)
    transfer = _transfer(second, camera)
    told = _unknown(second, camera, transfer, found, (len(synthesis.ids), counts))
    passport = Passport(
        scale=scale,
        hr_digest=hr.digest,
        lr_digest=lr.digest,
        light=settings.light,
        luma_kernel=_kernel(camera, scale, chroma=False),
        chroma_kernel=_kernel(camera, scale, chroma=True),
        sharpening=Sharpening(amount=camera.optics.amount, radius=camera.optics.radius),
        denoising=Denoising(threshold_gray=0.0, kept=1.0),
        noise=found.exposure.noise,
        jpeg=jpeg,
        transfer=transfer,
        images=ImageCounts(hr=len(synthesis.ids), lr=counts),
        unknown=told,
    )
    return passport, {
        "blur": camera.optics.blur,
        "stretch": camera.optics.stretch,
        "shear": camera.optics.shear,
        "sharpening_amount": camera.optics.amount,
        "sharpening_radius": camera.optics.radius,
        "chroma_smoothing": camera.optics.chroma,
        "misfit": camera.cost,
        "noise_level_real": found.level_real,
        "noise_level_samples": found.level_samples,
        "jpeg": jpeg is not None,
        "unknown": "; ".join(told),
    }


def _side(hr: Store, lr: Store, scale: int) -> int:
    """The largest side of a window that half of the images of both piles hold."""
    for side in SIDES:
        enough = [
            2 * len(usable(hr, (side + 2 * MARGIN) * scale)) >= len(hr.ids),
            2 * len(usable(lr, side)) >= len(lr.ids),
        ]
        if all(enough):
            return side
    least = SIDES[-1]
    raise UserError(
        f"{hr.path} and {lr.path}: most images must have {(least + 2 * MARGIN) * scale} HR pixels "
        f"and {least} LR pixels along both sides, without the held-out quarter"
    )


def _synthesis(hr: Store, side: int, light: Light) -> Synthesis:
    """Windows of the HR images."""
    whole = (side + 2 * MARGIN) * hr.scale
    ids = usable(hr, whole)
    ids = [ids[i] for i in spread(len(ids), HR_WINDOWS)]
    most = min(max(HR_WINDOWS // len(ids), 1), WINDOWS_PER_IMAGE)
    read = tqdm(windows(hr, ids, whole, most), "camera: HR", total=len(ids), unit="image")
    return Synthesis(read, ids, hr.scale, light)


def _real(lr: Store, measure: Measure, side: int) -> tuple[Spectra, int]:
    """The spectra of the real LR images, and their number."""
    ids = usable(lr, side)
    ids = [ids[i] for i in spread(len(ids), LR_WINDOWS)]
    most = min(max(LR_WINDOWS // len(ids), 1), WINDOWS_PER_IMAGE)
    read = tqdm(windows(lr, ids, side, most), "camera: LR", total=len(ids), unit="image")
    return measure.pile(read), len(ids)


def _as_measured(noise: Noise | None) -> NoiseLaw:
    """The noise of the real LR images after their compression."""
    if noise is None:
        return NO_NOISE
    found = AddedNoise(noise.variance, noise.correlation, noise.excess_kurtosis, None)
    return law(found, LEAST_CORRELATION)


def _noise(
    synthesis: Synthesis, camera: Camera, real: Noise | None, none: Exposure, fault: str | None
) -> FoundNoise:
    """The noise to add to the camera's LR images, so that they are as noisy as the real ones."""
    if real is None:
        return FoundNoise(none, 0.0, 0.0, fault)
    clean = cropped(synthesis.mean(camera.optics, camera.shaping(synthesis.grid()))).clamp(0, 1)
    means = _blocks(clean)

    def exposed(added: AddedNoise) -> Exposure:
        return Exposure(none.scale, law(added, LEAST_CORRELATION), none.jpeg)

    try:
        found = search(
            real,
            estimate_noise(means),
            none.jpeg,
            (k < NOISE_ROUNDS for k in range(NOISE_ROUNDS + 1)),
            lambda added: _blocks(exposed(added)(clean)),
        )
    except ValueError as error:
        return FoundNoise(none, 0.0, 0.0, str(error))
    levels = real.deviation(means), found.drawn.deviation(means)
    return FoundNoise(exposed(found.added), *levels, None)


def _blocks(windows: Tensor) -> Blocks:
    """Blocks of LR windows (N, 3, side, side) in [0, 1]."""
    most = max(BLOCKS // len(windows), 1)
    return join([cut_blocks(one.mul(255).numpy(), most) for one in windows])


def _kernel(camera: Camera, scale: int, chroma: bool) -> list[list[float]]:
    """The kernel of luma or of the colour differences, as small as it can be."""
    size = 8 * LARGEST_KERNEL
    f = np.fft.fftfreq(size) * scale
    through = on_grid(camera.optics, size, scale, chroma)
    through = through * camera.shaping(np.hypot(f[:, None], f[None, :]))[chroma]
    largest = LARGEST_KERNEL - (LARGEST_KERNEL - scale) % 2
    whole = np.array(kernel(through, largest))
    for side in range(scale, largest, 2):
        cut = (largest - side) // 2
        if np.abs(whole).sum() - np.abs(whole[cut:-cut, cut:-cut]).sum() < KERNEL_LEFT_OUT:
            largest = side
            break
    return kernel(through, largest)


def _transfer(search_: Search, camera: Camera) -> Transfer:
    """The transfer function and its interval."""
    f = rings()
    low: list[NDArray[np.float64]] = []
    high: list[NDArray[np.float64]] = []
    for drawn in search_.interval(camera, f):
        ends = np.percentile(drawn, INTERVAL, axis=0)
        low.append(ends[0])
        high.append(ends[1])
    luma, chroma = camera.luma(f), camera.chroma(f)
    return Transfer(
        frequencies=_rounded(f),
        luma=_rounded(luma),
        luma_low=_rounded(np.minimum(low[0], luma)),
        luma_high=_rounded(np.maximum(high[0], luma)),
        chroma=_rounded(chroma),
        chroma_low=_rounded(np.minimum(low[1], chroma)),
        chroma_high=_rounded(np.maximum(high[1], chroma)),
    )


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 4) for value in values]


def _unknown(
    found: Search, camera: Camera, transfer: Transfer, noise: FoundNoise, images: tuple[int, int]
) -> list[str]:
    """What could not be told, one sentence each."""
    said = []
    for name, count in zip(("HR", "real LR"), images, strict=True):
        if count < FEW:
            said.append(f"there are only {count} {name} images, so the interval is wide")
    if camera.optics.blur < NARROW:
        said.append("the lens is narrower than a pixel of the LR image: its width cannot be told")
    slope = found.slope()
    if abs(slope) > TOO_DIFFERENT:
        more = "less" if slope < 0 else "more"
        said.append(
            f"the piles differ in content: the real LR images have {more} detail at all "
            "frequencies than the camera would make of the HR images"
        )
    middle = int(np.argmin(np.abs(np.array(transfer.frequencies) - 0.25)))
    if transfer.luma_high[middle] - transfer.luma_low[middle] > WIDE:
        said.append("the sharpness at middle frequencies is known only roughly; see transfer")
    if noise.fault is not None:
        said.append(f"the noise could not be measured: {noise.fault}")
    return said
