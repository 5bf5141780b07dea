"""Colours of files, converted to sRGB by LittleCMS, relative colorimetric.

8-bit values go the way of all programs that use LittleCMS.  16-bit values go without its shortcut,
a table of 33 values along each side, which was up to 15 of 255 levels wrong.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from imagecodecs import CMS, cms_profile, cms_transform
from numpy.typing import NDArray

Colours = Literal["GRAY", "RGB", "CMYK"]
"""Colours of pixels, under the names of LittleCMS."""
SPACES: dict[bytes, Colours] = {b"GRAY": "GRAY", b"RGB ": "RGB", b"CMYK": "CMYK"}
"""The same, under their names in ICC profiles."""
CLASSES = (b"scnr", b"mntr", b"prtr", b"spac")
"""Classes of ICC profiles that describe the colours of an image."""
STEP = 15
"""Distance of the 8-bit values at which a profile is compared with sRGB."""
CURVE_SIZE = 4096
"""Values of a transfer curve in a profile that is made here."""


class ColourError(ValueError):
    """A colour profile that cannot be used; the text says why."""


class HighDynamicRangeError(ColourError):
    """Values of a high dynamic range: sRGB cannot show them unless somebody chooses how."""


@dataclass(frozen=True)
class Space:
    """A colour space by its numbers."""

    primaries: tuple[float, ...]
    """x and y of red, green and blue (CIE 1931)."""
    white: tuple[float, ...]
    """x and y of white."""
    gamma: float | None = None
    """Exponent from encoded values to light; None: the curve of sRGB."""


D65 = (0.3127, 0.3290)
DCI_WHITE = (0.314, 0.351)
ADOBE_RGB = Space((0.64, 0.33, 0.21, 0.71, 0.15, 0.06), D65, 563 / 256)
"""Adobe RGB (1998)."""
PRIMARIES: dict[int, tuple[tuple[float, ...], tuple[float, ...]]] = {
    1: ((0.64, 0.33, 0.30, 0.60, 0.15, 0.06), D65),
    5: ((0.64, 0.33, 0.29, 0.60, 0.15, 0.06), D65),
    6: ((0.630, 0.340, 0.310, 0.595, 0.155, 0.070), D65),
    7: ((0.630, 0.340, 0.310, 0.595, 0.155, 0.070), D65),
    9: ((0.708, 0.292, 0.170, 0.797, 0.131, 0.046), D65),
    11: ((0.680, 0.320, 0.265, 0.690, 0.150, 0.060), DCI_WHITE),
    12: ((0.680, 0.320, 0.265, 0.690, 0.150, 0.060), D65),
}
"""Primaries and white by their number in ITU-T H.273, which cICP and ``nclx`` boxes use."""
GAMMAS = {1: None, 4: 2.2, 5: 2.8, 6: None, 8: 1.0, 13: None, 14: None, 15: None}
"""Exponents by the number of the transfer in H.273.  Pictures with the curve of television (1, 6,
14, 15) are shown on the same displays as sRGB, and programs read them alike."""
HDR = {16: "PQ", 18: "HLG"}
"""Transfers of high dynamic range."""
UNSPECIFIED = 2
SRGB = 13


def coded_profile(primaries: int, transfer: int) -> bytes | None:
    """The ICC profile of code points of ITU-T H.273; None if they say sRGB, or nothing.

    Raises:
        HighDynamicRangeError: They say so.
        ColourError: They are not known here.

    """
    if transfer in HDR:
        raise HighDynamicRangeError(HDR[transfer])
    primaries = 1 if primaries == UNSPECIFIED else primaries
    transfer = SRGB if transfer == UNSPECIFIED else transfer
    if primaries not in PRIMARIES or transfer not in GAMMAS:
        raise ColourError(f"it names primaries {primaries} and transfer {transfer}")
    if primaries == 1 and GAMMAS[transfer] is None:
        return None
    return made_profile(Space(*PRIMARIES[primaries], GAMMAS[transfer]))


@lru_cache(maxsize=16)
def made_profile(space: Space) -> bytes:
    """An ICC profile of a colour space."""
    curve = None
    if space.gamma is None:
        x = np.linspace(0, 1, CURVE_SIZE)
        light = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
        curve = np.rint(light * 65535).astype(np.uint16)
    return bytes(
        cms_profile(
            "rgb",
            whitepoint=space.white,
            primaries=space.primaries,
            transferfunction=curve,
            gamma=space.gamma,
        )
    )


def to_srgb(pixels: NDArray[Any], colours: Colours, profile: bytes) -> NDArray[Any]:
    """Convert the values of an image to sRGB; those of an sRGB profile stay what they are.

    A profile counts as sRGB if it moves no colour by more than one of 255 levels.  Grey stays grey,
    also under a profile of RGB.

    Args:
        pixels: (H, W, C), uint8 or uint16; the last channel may be alpha and stays as it is.
        colours: What the channels are.
        profile: ICC profile of the image.

    Returns:
        (H, W, C); 3 channels where there were 4 of CMYK.

    Raises:
        ColourError: The profile is damaged, or of other colours.

    """
    space = SPACES.get(profile[16:20])
    if space is None or profile[12:16] not in CLASSES:
        raise ColourError("the profile is damaged, or not one of an image")
    if space != colours and (colours, space) != ("GRAY", "RGB"):
        raise ColourError(f"the profile is of {space} colours, the image of {colours}")
    if _is_srgb(profile, space):
        return pixels
    count = {"GRAY": 1, "RGB": 3, "CMYK": 4}[colours]
    values, alpha = pixels[..., :count], pixels[..., count:]
    if colours == "GRAY":
        converted = _grey_curve(values.dtype, space, profile)[values]
    else:
        converted = _convert(values, space, profile)
    return np.concatenate([converted, alpha], axis=-1) if alpha.size else converted


def _grey_curve(dtype: np.dtype[Any], space: Colours, profile: bytes) -> NDArray[Any]:
    """The sRGB value of every grey value."""
    levels = np.arange(np.iinfo(dtype).max + 1).astype(dtype).reshape(-1, 1, 1)
    channels = 3 if space == "RGB" else 1
    return _convert(np.repeat(levels, channels, axis=-1), space, profile)[:, 0, 1]


@lru_cache(maxsize=64)
def _is_srgb(profile: bytes, space: Colours) -> bool:
    if space == "CMYK":
        return False
    levels = np.arange(0, 256, STEP, dtype=np.uint8)
    axes = np.meshgrid(*[levels] * (3 if space == "RGB" else 1), indexing="ij")
    probes = np.stack(axes, axis=-1).reshape(-1, 1, len(axes))
    moved = _convert(probes, space, profile).astype(int) - probes
    return bool(np.abs(moved).max() <= 1)


def _convert(values: NDArray[Any], space: Colours, profile: bytes) -> NDArray[Any]:
    shortcut = values.dtype == np.uint8 and space != "GRAY"
    flags = None if shortcut else CMS.FLAGS.NOOPTIMIZE
    try:
        converted = cms_transform(
            np.ascontiguousarray(values), profile, cms_profile("srgb"), colorspace=space,
            outcolorspace="RGB", intent=CMS.INTENT.RELATIVE_COLORIMETRIC, flags=flags,
        )  # fmt: skip
    except Exception as error:  # of LittleCMS and of its binding
        raise ColourError("the profile is damaged") from error
    return np.asarray(converted).reshape(*values.shape[:2], 3)
