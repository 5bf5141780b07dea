"""Faults of single images, judged by what is measured of them.

``docs/data.md`` says how often each is found, and how often there is none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.piles.headers import Tables
from pipeline.piles.look import Look, Picture

Pile = Literal["HR", "LR"]
Kind = Literal[
    "enlarged", "blurred", "noisy", "jpeg", "overexposed", "underexposed", "flat", "copies",
    "paired", "cameras", "tables", "sizes", "noise",
]  # fmt: skip

SHARP = 0.48
"""Least sharpness of an image that is sharp at the pixel; a Gaussian of one pixel leaves 0.38 of a
step, and 0.5 of a line."""
CRISP = 0.62
"""Images that are sharper were not enlarged, whatever their periods."""
PERIOD = 4.5
"""Least strength of the period of an enlargement."""
DOUBLED = 6.0
"""The same of the period of two pixels, which other things make too."""
BLOCKY = 4.0
"""Least strength of the period of the blocks of JPEG; a strong compression leaves so many zeros
everywhere that their grid is not found."""
NOISE = 3.0
"""Noise level in gray levels of luma from which an HR image is noisy."""
QUALITY = 90
"""Least quality of an HR image that is a JPEG file."""
CLIPPED = 0.2
"""Share of black or of white pixels that is too much."""
DARK = 60
"""Luma that an image exceeds in 5 % of its pixels, unless it is underexposed."""
BRIGHT = 190
"""Luma that an image does not reach in 5 % of its pixels, unless it is overexposed."""
EDGES = 0.002
"""Least share of pixels at edges, in the part of an image that has most of them."""
HIDING = 10.0
"""Noise level in gray levels that hides edges."""
STANDARD_STEP = 57.625
"""Mean step of the luma table of ITU-T T.81, annex K, which has the quality 50."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with an image, and how one sees it."""

    kind: Kind
    note: str


def faults_of(picture: Picture, pile: Pile) -> Iterator[Fault]:
    """The faults of an image.

    What a camera does is no fault of LR images: blur, noise and JPEG.
    """
    look = picture.look
    enlarged = enlargement(look)
    if enlarged is not None:
        yield Fault("enlarged", enlarged)
    if pile == "HR":
        if enlarged is None and look.sharpness is not None and look.sharpness < SHARP:
            yield Fault("blurred", f"sharpness {look.sharpness:.2f}")
        if look.noise is not None and look.noise > NOISE:
            yield Fault("noisy", f"{look.noise:.1f} gray levels")
        if (note := compressed(picture)) is not None:
            yield Fault("jpeg", note)
    exposures = list(_of_exposure(look))
    yield from exposures
    visible = look.noise is None or look.noise < HIDING
    if look.edges is not None and look.edges < EDGES and visible and not exposures:
        yield Fault("flat", f"edges at {look.edges:.2%} of the pixels")


def enlargement(look: Look) -> str | None:
    """By how much an image was enlarged; None if nothing shows it."""
    if look.periods is None or look.sharpness is None or look.sharpness > CRISP:
        return None
    period, blocks = look.periods
    if period.doubled:
        compressed_later = look.grid is not None or blocks > BLOCKY
        return "2 times" if period.strength >= DOUBLED and not compressed_later else None
    if period.strength < PERIOD:
        return None
    return f"{' or '.join(f'{factor:.3g}' for factor in period.factors)} times"


def compressed(picture: Picture) -> str | None:
    """How strongly an image was compressed as JPEG; None if it was not, or hardly."""
    found = picture.header.compression
    if isinstance(found, Tables):
        quality = quality_of(found)
        return f"JPEG of quality {quality:.0f}" if quality < QUALITY else None
    grid, periods = picture.look.grid, picture.look.periods
    if found != "lossless":
        return None
    if grid is not None:
        return f"no JPEG file, but the grid of one from row {grid.row}, column {grid.column}"
    return "no JPEG file, but the blocks of one" if periods and periods.blocks > BLOCKY else None


def quality_of(tables: Tables) -> float:
    """The quality of JPEG tables, in the scale of libjpeg, by their mean step of luma."""
    percent = sum(tables.luma) / len(tables.luma) / STANDARD_STEP * 100
    return 100 - percent / 2 if percent <= 100 else 5000 / percent


def _of_exposure(look: Look) -> Iterator[Fault]:
    exposure = look.exposure
    if exposure.white > CLIPPED:
        yield Fault("overexposed", f"{exposure.white:.0%} white")
    elif exposure.dark_end > BRIGHT:
        yield Fault("overexposed", f"hardly a pixel below {exposure.dark_end:.0f}")
    if exposure.black > CLIPPED:
        yield Fault("underexposed", f"{exposure.black:.0%} black")
    elif exposure.bright_end < DARK:
        yield Fault("underexposed", f"hardly a pixel above {exposure.bright_end:.0f}")
