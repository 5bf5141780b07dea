"""The passport of a camera from two unpaired piles of images, by analysis by synthesis."""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from tqdm import tqdm

from pipeline.base.errors import UserError
from pipeline.base.settings import Settings
from pipeline.camera.exposure import NO_NOISE, FoundNoise, as_measured, find_noise, no_noise
from pipeline.camera.fit import Camera, Search
from pipeline.camera.optics import kernel, on_grid
from pipeline.camera.spectra import Measure, Spectra, joined, rings
from pipeline.camera.synthesis import MARGIN, Light, Synthesis, cropped
from pipeline.camera.windows import seen, spread, usable, windows
from pipeline.noise.added_noise import stored_tables
from pipeline.noise.estimate import BLOCKS, cut_blocks
from pipeline.noise.measured import REAL, ImageBlocks, Measured, measure_images
from pipeline.passport.passport import Denoising, ImageCounts, Passport, Sharpening, Transfer
from pipeline.sampling.compression import Compression
from pipeline.sampling.noise_law import NoiseLaw
from pipeline.sampling.noise_level import miss, noise_ratio, too_noisy_means
from pipeline.stores.reader import Store, require_same_scale

log = logging.getLogger(__name__)

SIDES = (64, 32)
"""Sides of a window in LR pixels; the smaller one for piles of small images."""
HR_WINDOWS, LR_WINDOWS = 192, 6000
"""Most windows of both piles."""
WINDOWS_PER_IMAGE = 30
"""Most windows of an image."""
LARGEST_KERNEL = 64
"""Longest side of a kernel in HR pixels."""
INTERVAL = (5, 95)
"""Percentiles of an interval."""
FEW = 8
"""Fewer images than this in a pile are said to be few."""
NARROW = 0.1
"""A lens blur whose variance may be below this, in LR pixels squared, is narrower than a pixel."""
KERNEL_LEFT_OUT = 2e-3
"""Share of a kernel's absolute values that may lie beyond its sides."""
DIGITS = 6
"""Decimals of the values of kernels and noise that are kept, so that the file stays small."""
WIDE = 0.3
"""Width of the interval at 0.25 cycles per LR pixel that is said to be wide."""
WITHOUT = (
    "train_dsn.reference: bicubic, train_dsn.prior_scale_gray: 1.0 and train_dsn.epochs above 0, "
    "then train_srn.theta: raw"
)
"""Settings that need no passport."""
TOO_DIFFERENT = 0.35
"""A slope between the piles' spectra, in natural logarithms of the amplitude from a frequency to
2.7 times it, that says that the scenes differ too much."""


class NothingToldError(UserError):
    """The piles tell nothing of the camera."""


class CameraSettings(Settings):
    """The section ``camera``."""

    light: Light = "gamma"
    """What the camera averages: linear light, as a device does, or gamma: the values as they are in
    the file, as a program does that reduces images."""
    rounds: int = Field(5, ge=1)
    """Rounds of each of the two searches, with a synthesis each."""


@dataclass(frozen=True, eq=False)
class RealPile:
    """What is seen of the real LR images."""

    spectra: Spectra
    measured: Measured
    gray: bool
    """Whether no image has a colour."""


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
        UserError: The scales differ.
        NothingToldError: The images are too small, or a pile shows nothing.

    """
    scale = require_same_scale(hr, lr)
    side = _side(hr, lr, scale)
    measure, jpeg = Measure(side), stored_tables(lr)
    synthesis = _synthesis(hr, side, settings.light)
    real = _real(lr, measure, side)
    coloured = not (real.gray or synthesis.gray)
    with tqdm(total=2 * settings.rounds, desc="camera", unit="round") as bar:
        exposure = as_measured(real.measured.noise, scale)
        search = Search(real.spectra, synthesis, measure, exposure, coloured)
        first = search.run(settings.rounds, bar.update)
        noise = _noise(synthesis, first, real, jpeg)
        search = Search(real.spectra, synthesis, measure, noise.exposure, coloured)
        camera = search.run(settings.rounds, bar.update, first)
    _warn(real.measured, noise)
    transfer = _transfer(search, camera)
    images = ImageCounts(hr=len(synthesis.ids), lr=len(real.spectra))
    told = unknown(camera, search.slope(), transfer, noise.fault, images)
    if not coloured:
        told.append(
            "images without colours do not tell how the camera blurs them: chroma is a guess"
        )
    passport = Passport(
        scale=scale,
        hr_digest=hr.digest,
        lr_digest=lr.digest,
        light=settings.light,
        luma_kernel=camera_kernel(camera, scale, chroma=False),
        chroma_kernel=camera_kernel(camera, scale, chroma=True),
        sharpening=Sharpening(amount=camera.optics.amount, radius=camera.optics.radius),
        denoising=Denoising(threshold_gray=0.0, kept=1.0),
        noise=_short(noise.exposure.noise),
        jpeg=jpeg,
        transfer=transfer,
        images=images,
        unknown=told,
    )
    return passport, _metrics(camera, noise, passport)


def passport_or_fault(
    hr: Store, lr: Store, settings: CameraSettings
) -> tuple[Passport, dict[str, object]]:
    """As ``estimate_camera``; where the piles tell nothing, a passport that says so.

    So a pipeline whose degradation needs no passport does not stop here.

    Raises:
        UserError: The scales differ.

    """
    try:
        return estimate_camera(hr, lr, settings)
    except NothingToldError as error:
        log.warning("no passport: %s", error)
        return _nothing(hr, lr, settings, str(error)), {"fault": str(error)}


def _nothing(hr: Store, lr: Store, settings: CameraSettings, fault: str) -> Passport:
    """The passport of a camera of which nothing is known."""
    pixel = [[hr.scale**-2] * hr.scale] * hr.scale
    empty: list[float] = []
    return Passport(
        scale=hr.scale,
        hr_digest=hr.digest,
        lr_digest=lr.digest,
        light=settings.light,
        luma_kernel=pixel,
        chroma_kernel=pixel,
        sharpening=Sharpening(amount=0.0, radius=1.0),
        denoising=Denoising(threshold_gray=0.0, kept=1.0),
        noise=NO_NOISE,
        jpeg=None,
        transfer=Transfer(
            frequencies=empty, luma=empty, luma_low=empty, luma_high=empty,
            chroma=empty, chroma_low=empty, chroma_high=empty,
        ),
        images=ImageCounts(hr=0, lr=0),
        unknown=[fault],
        fault=fault,
    )  # fmt: skip


def _metrics(camera: Camera, noise: FoundNoise, passport: Passport) -> dict[str, object]:
    """The numbers of the stage."""
    optics = camera.optics
    return {
        "blur": optics.blur,
        "stretch": optics.stretch,
        "shear": optics.shear,
        "sharpening_amount": optics.amount,
        "sharpening_radius": optics.radius,
        "chroma_smoothing": optics.chroma,
        "misfit": camera.cost,
        "noise_level_real": noise.level_real,
        "noise_level_samples": noise.level_samples,
        "noise_ratio": noise_ratio(noise.level_real, noise.level_samples),
        "jpeg": passport.jpeg is not None,
        "unknown": "; ".join(passport.unknown),
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
    raise NothingToldError(
        f"{hr.path} and {lr.path}: most images must have {(least + 2 * MARGIN) * scale} HR pixels "
        f"and {least} LR pixels along both sides, without the held-out quarter"
    )


def _flat(pile: Store) -> NothingToldError:
    return NothingToldError(
        f"{pile.path}: its images are flat, so nothing can be told of the camera; add photographs "
        f"with detail, or train a DSN without a passport ({WITHOUT})"
    )


def _synthesis(hr: Store, side: int, light: Light) -> Synthesis:
    """Windows of the HR images; one image is in memory at a time."""
    whole = (side + 2 * MARGIN) * hr.scale
    ids = usable(hr, whole)
    ids = [ids[i] for i in spread(len(ids), HR_WINDOWS)]
    most = min(max(HR_WINDOWS // len(ids), 1), WINDOWS_PER_IMAGE)
    read = (
        windows(hr.read(name, "image"), number, whole, most)
        for number, name in enumerate(tqdm(ids, "camera: HR", unit="image"))
    )
    synthesis = Synthesis(read, ids, hr.scale, light)
    if synthesis.flat:
        raise _flat(hr)
    return synthesis


def _real(lr: Store, measure: Measure, side: int) -> RealPile:
    """Spectra and noise of the real LR images; every image is read once."""
    ids = usable(lr, side)
    ids = [ids[i] for i in spread(len(ids), LR_WINDOWS)]
    numbers = {name: number for number, name in enumerate(ids)}
    most = min(max(LR_WINDOWS // len(ids), 1), WINDOWS_PER_IMAGE)
    spectra: list[Spectra] = []
    blocks: list[ImageBlocks] = []
    flat = gray = True
    for name in tqdm(lr.ids, "camera: LR", unit="image"):
        image = lr.read(name, "image", seen(lr, name))
        cut_up = cut_blocks(image, max(BLOCKS // len(lr.ids), 1))
        blocks.append(ImageBlocks(lr.file_name(name), cut_up))
        if name in numbers:
            cut = windows(image, numbers[name], side, most)
            flat, gray = flat and cut.flat, gray and cut.gray
            spectra.append(measure.image(cut.pixels))
    if flat:
        raise _flat(lr)
    return RealPile(joined(spectra), measure_images(blocks, REAL), gray)


def _noise(
    synthesis: Synthesis, camera: Camera, real: RealPile, jpeg: Compression | None
) -> FoundNoise:
    """The noise to add to the camera's LR images, so that they are as noisy as the real ones."""
    measured = real.measured
    if measured.noise is None:
        assert measured.fault is not None
        return no_noise(synthesis.scale, jpeg, measured.fault.reason)
    clean = cropped(synthesis.mean(camera.optics, camera.shaping)).clamp(0, 1)
    return find_noise(measured.noise, clean, synthesis.scale, jpeg)


def _warn(real: Measured, noise: FoundNoise) -> None:
    """Say what a user should know of the noise before a long training."""
    if real.fault is not None:
        log.warning("%s; theta: camera draws without noise", real.fault)
        return
    for sentence in (real.remark, noise.fault):
        if sentence is not None:
            log.warning("%s", sentence)
    missed = miss(noise.level_real, noise.level_samples, noise.level_clean)
    if missed is not None and noise.level_real is not None:
        more = too_noisy_means(noise.level_clean, noise.level_real)
        log.warning("with theta: camera %s; %s", missed, more or "add images to both sets")


def camera_kernel(camera: Camera, scale: int, chroma: bool) -> list[list[float]]:
    """The kernel of luma or of the colour differences, as small as it can be."""
    f: NDArray[np.float64] = np.fft.fftfreq(8 * LARGEST_KERNEL).astype(np.float64)
    radius = np.hypot(f[:, None], f[None, :]) * scale
    through = on_grid(camera.optics, f, scale, chroma) * camera.shaping(radius)[chroma]
    largest = LARGEST_KERNEL - (LARGEST_KERNEL - scale) % 2
    whole = np.array(kernel(through, largest))
    total, side = np.abs(whole).sum(), scale
    while side < largest:
        cut = (largest - side) // 2
        if total - np.abs(whole[cut:-cut, cut:-cut]).sum() < KERNEL_LEFT_OUT:
            break
        side += 2
    return [[round(value, DIGITS) for value in row] for row in kernel(through, side)]


def _short(noise: NoiseLaw) -> NoiseLaw:
    """The noise with fewer digits, so that the file stays small."""
    filtered = noise.noise_filter
    return NoiseLaw(
        variance_gray=np.round(noise.variance_gray, DIGITS).tolist(),
        noise_filter=None if filtered is None else np.round(filtered, DIGITS).tolist(),
        laplace_share=round(noise.laplace_share, DIGITS),
    )


def _transfer(search: Search, camera: Camera) -> Transfer:
    """The transfer function and its interval, which holds it."""
    f, found = rings(), {}
    drawn = search.interval(camera, f)
    through = camera.luma(f), camera.chroma(f)
    for name, values, draws in zip(("luma", "chroma"), through, drawn, strict=True):
        low, high = np.percentile(draws, INTERVAL, axis=0)
        found[name] = _rounded(values)
        found[f"{name}_low"] = _rounded(np.minimum(low, values))
        found[f"{name}_high"] = _rounded(np.maximum(high, values))
    return Transfer(frequencies=_rounded(f), **found)


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 4) for value in values]


def unknown(
    camera: Camera, slope: float, transfer: Transfer, noise_fault: str | None, images: ImageCounts
) -> list[str]:
    """What could not be told, one sentence each.

    Args:
        camera: The camera that was found.
        slope: See ``fit.Search.slope``.
        transfer: The transfer function and its interval.
        noise_fault: Why the noise is not known well, a sentence.
        images: Numbers of images.

    """
    told = []
    for name, count in (("HR", images.hr), ("real LR", images.lr)):
        if count == 1:
            told.append(f"there is only one {name} image, so the interval is too narrow")
        elif count < FEW:
            told.append(f"there are only {count} {name} images, so the interval is rough")
    if camera.optics.blur < NARROW:
        told.append("the lens is narrower than a pixel of the LR image: its width cannot be told")
    if abs(slope) > TOO_DIFFERENT:
        more = "less" if slope < 0 else "more"
        told.append(
            f"the piles differ in content: the real LR images have {more} fine detail than the "
            "camera would make of the HR images"
        )
    middle = int(np.argmin(np.abs(np.array(transfer.frequencies) - 0.25)))
    if transfer.luma_high[middle] - transfer.luma_low[middle] > WIDE:
        told.append("the sharpness at middle frequencies is known only roughly; see transfer")
    if noise_fault is not None:
        told.append(noise_fault)
    return told
