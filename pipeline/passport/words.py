"""A passport in sentences, for people who get a model and not the passport."""

import numpy as np

from pipeline.passport.passport import Passport
from pipeline.sampling.compression import JpegMixture
from pipeline.sampling.jpeg import JpegTables, nearest_quality

LEAST = 0.005
"""What is smaller is shown as zero, and is not mentioned."""


def in_words(passport: Passport) -> list[str]:
    """What a passport says of its camera, a sentence each, with what it could not tell."""
    light = "light" if passport.light == "linear" else "the values as they are"
    sentences = [
        f"Blur of {_width(passport):.2f} LR pixels (standard deviation), an average of {light}."
    ]
    if passport.sharpening.amount >= LEAST:
        sharp = passport.sharpening
        sentences.append(
            f"Sharpening by an unsharp mask of amount {sharp.amount:.2f} and radius "
            f"{sharp.radius:.2f} LR pixels."
        )
    if passport.denoising.threshold_gray >= LEAST:
        sentences.append(
            f"Denoising: weak detail below {passport.denoising.threshold_gray:.1f} gray levels is "
            f"kept to {passport.denoising.kept:.0%}."
        )
    black, middle, white = _noise(passport)
    alike = "independent" if passport.noise.noise_filter is None else "correlated"
    sentences += [
        f"Noise of {black:.1f}, {middle:.1f} and {white:.1f} gray levels (standard deviation of "
        f"green) in black, mid-grey and white, {alike} between pixels.",
        _compression(passport),
        f"Read off {passport.images.hr} HR and {passport.images.lr} real LR images without pairs.",
    ]
    return sentences + [f"{one[:1].upper()}{one[1:].rstrip('.')}." for one in passport.unknown]


def _width(passport: Passport) -> float:
    """Standard deviation of the luma kernel along an axis, in LR pixels; 0 if sharper than any."""
    kernel = np.asarray(passport.luma_kernel)
    variances = []
    for axis in (0, 1):
        weights = kernel.sum(1 - axis)
        places = np.arange(len(weights)) - (len(weights) - 1) / 2
        centre = (weights * places).sum() / weights.sum()
        variances.append((weights * (places - centre) ** 2).sum() / weights.sum())
    return float(max(np.mean(variances), 0.0) ** 0.5 / passport.scale)


def _noise(passport: Passport) -> tuple[float, float, float]:
    """Standard deviations of green in black, mid-grey and white, in gray levels."""
    table = np.sqrt(passport.noise.variance_gray[1])
    places = np.linspace(0, 1, len(table))
    black, middle, white = (float(np.interp(at, places, table)) for at in (0, 0.5, 1))
    return black, middle, white


def _compression(passport: Passport) -> str:
    match passport.jpeg:
        case None:
            return "No JPEG compression."
        case JpegMixture(tables=tables, shares=shares):
            kinds = [f"{share:.0%} {_jpeg(one)}" for one, share in zip(tables, shares, strict=True)]
            return f"JPEG compression of several kinds: {', '.join(kinds)}."
        case one:
            return f"JPEG compression, {_jpeg(one)}."


def _jpeg(tables: JpegTables) -> str:
    return f"about quality {nearest_quality(tables)} ({tables.subsampling})"
