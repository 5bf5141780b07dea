"""The camera's passport in plain words."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.passport.passport import Passport
from pipeline.reading.files import decode
from pipeline.report.pictures import lossless
from pipeline.run_page.files import read_part
from pipeline.sampling.compression import Compression, JpegMixture
from pipeline.sampling.jpeg import nearest_quality

FREQUENCY = 0.25
"""Cycles per LR pixel at which the contrast is named: detail of four LR pixels a period."""
LITTLE_SHARPENING = 0.01
"""Amount of an unsharp mask below which it is none."""
LAPLACE, GAUSSIAN = 0.67, 0.33
"""Share of a Laplace law from which noise is called so, and below which it is called Gaussian."""


@dataclass(frozen=True)
class Camera:
    """What the page says of the camera."""

    sentences: list[str]
    unknown: list[str]
    """What could not be told, one sentence each."""
    fault: str | None
    """Why nothing could be told."""
    picture: str | None
    """``data:`` URI."""


def read_camera(folder: Path) -> Camera | None:
    """The passport and its picture in the folder of the stage; None if there is none.

    Raises:
        UserError: A file is damaged.

    """
    passport = read_part(folder / "camera.json", Passport)
    if passport is None:
        return None
    path = folder / "camera.png"
    picture = None
    if (
        path.is_file() and not passport.fault
    ):  # matplotlib writes an alpha channel that says nothing
        picture = lossless(np.ascontiguousarray(np.moveaxis(decode(path)[..., :3], -1, 0)))
    sentences = [] if passport.fault else in_words(passport)
    return Camera(sentences, passport.unknown, passport.fault, picture)


def in_words(passport: Passport) -> list[str]:
    """What a passport says, a sentence each."""
    images = passport.images
    said = [
        f"Read off {images.hr} HR and {images.lr} real LR images, which need not show the same "
        f"scenes, at scale {passport.scale}."
    ]
    transfer = passport.transfer
    if transfer.frequencies[:1] and transfer.frequencies[0] <= FREQUENCY:
        middle, low, high = (
            100 * float(np.interp(FREQUENCY, transfer.frequencies, values))
            for values in (transfer.luma, transfer.luma_low, transfer.luma_high)
        )
        said.append(
            f"Blur: detail of {1 / FREQUENCY:.0f} LR pixels a period keeps {middle:.0f} % of its "
            f"contrast (interval {low:.0f} to {high:.0f} %)."
        )
    amount, radius = passport.sharpening.amount, passport.sharpening.radius
    sharpens = f"Sharpening: an unsharp mask of amount {amount:.2f}, radius {radius:.1f} LR pixels."
    said.append(sharpens if amount >= LITTLE_SHARPENING else "It does not sharpen.")
    said.append(_noise(passport))
    said.append(_compression(passport.jpeg))
    return said


def _noise(passport: Passport) -> str:
    law = passport.noise
    deviation = np.sqrt(np.clip(law.variance_gray, 0, None)).mean(axis=0)
    dark, middle, bright = (
        float(np.interp(place, np.linspace(0, 1, len(deviation)), deviation))
        for place in (0, 0.5, 1)
    )
    tails = "of tails between Gaussian and Laplace"
    if law.laplace_share >= LAPLACE:
        tails = "nearly Laplace"
    elif law.laplace_share < GAUSSIAN:
        tails = "nearly Gaussian"
    related = "" if law.noise_filter is None else ", and its pixels are correlated"
    return (
        f"Noise before compression: {dark:.1f} gray levels in black, {middle:.1f} in middle gray, "
        f"{bright:.1f} in white (mean of the channels); {tails}{related}."
    )


def _compression(jpeg: Compression | None) -> str:
    if jpeg is None:
        return "Its images are not compressed as JPEG."
    if isinstance(jpeg, JpegMixture):
        qualities = sorted(nearest_quality(tables) for tables in jpeg.tables)
        return (
            f"Its images are JPEG files of {len(qualities)} kinds, of quality {qualities[0]} to "
            f"{qualities[-1]}."
        )
    quality = nearest_quality(jpeg)
    return f"Its images are JPEG files of quality {quality}, colour planes {jpeg.subsampling}."
