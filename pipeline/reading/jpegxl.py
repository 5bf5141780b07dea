"""The header of JPEG XL files (ISO/IEC 18181-1): size, depth and colours, which no decoder tells.

The decoder of imagecodecs gives values in the colour space of the file, so this has to be read.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.reading.boxes import boxes
from pipeline.reading.colour import (  # fmt: skip
    D65,
    DCI_WHITE,
    HDR,
    PRIMARIES,
    ColourError,
    HighDynamicRangeError,
    Space,
    made_profile,
)
from pipeline.reading.formats import SIDEWAYS

CODESTREAM = b"\xff\x0a"
RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width over height, which the header may name instead of the width."""
GREY_SPACE = 1
XYB_SPACE = 2
CUSTOM = 2
ALPHA, SPOT, COLOUR_FILTER = 0, 2, 5
"""Kinds of further channels."""
WHITES = {1: D65, 10: (1 / 3, 1 / 3), 11: DCI_WHITE}
NAMED_PRIMARIES = {1: PRIMARIES[1][0], 9: PRIMARIES[9][0], 11: PRIMARIES[12][0]}
GAMMAS = {1: None, 8: 1.0, 13: None, 17: 2.6}
"""Exponents by transfer; see ``colour.GAMMAS``."""

Offsets = tuple[tuple[int, int], ...]
"""Four choices for a number: an offset and how many bits are added to it."""
SIZES: Offsets = ((1, 9), (1, 13), (1, 18), (1, 30))
NUMBERS: Offsets = ((0, 0), (1, 0), (2, 4), (18, 6))
DEPTHS: Offsets = ((8, 0), (10, 0), (12, 0), (1, 6))
FLOAT_DEPTHS: Offsets = ((32, 0), (16, 0), (24, 0), (1, 6))
CHANNEL_COUNTS: Offsets = ((0, 0), (1, 0), (2, 4), (1, 12))
SHIFTS: Offsets = ((0, 0), (3, 0), (4, 0), (1, 3))
NAME_LENGTHS: Offsets = ((0, 0), (0, 4), (16, 5), (48, 10))
FILTERS: Offsets = ((1, 0), (0, 2), (3, 4), (19, 8))
CHROMATICITIES: Offsets = ((0, 19), (524288, 19), (1048576, 20), (2097152, 21))


@dataclass(frozen=True)
class Header:
    """What the header of a JPEG XL file says."""

    height: int
    """Rows, as its orientation says."""
    width: int
    bits: int = 8
    """Bits of a value."""
    animated: bool = False
    profile: bytes | None = None
    """ICC profile of the values; None: sRGB."""
    fault: ColourError | None = None
    """Why the colours of the file are not known."""


class Bits:
    """Reads bits, the lowest of a byte first."""

    def __init__(self, data: bytes) -> None:
        self.value = int.from_bytes(data, "little")
        self.left = 8 * len(data)

    def take(self, count: int) -> int:
        if count > self.left:
            raise ValueError("the header of the JPEG XL file is truncated")
        taken = self.value & ((1 << count) - 1)
        self.value >>= count
        self.left -= count
        return taken

    def flag(self) -> bool:
        return bool(self.take(1))

    def number(self, choices: Offsets) -> int:
        offset, count = choices[self.take(2)]
        return offset + self.take(count)


def read_header(data: bytes) -> Header:
    """Read the header of a JPEG XL file.

    Raises:
        ValueError: It is damaged.

    """
    stream = _codestream(data)
    if not stream.startswith(CODESTREAM):
        raise ValueError("there is no JPEG XL codestream")
    bits = Bits(stream[2:4096])
    height, width = _size(bits)
    if bits.flag():  # all other values are the usual ones
        return Header(height, width)
    if bits.flag():
        if 1 + bits.take(3) in SIDEWAYS:
            height, width = width, height
        if _is_animated(bits):
            return Header(height, width, animated=True)
    depth = _depth(bits)
    bits.take(1)
    for _ in range(bits.number(CHANNEL_COUNTS)):
        _skip_channel(bits)
    bits.take(1)  # whether the values are stored as XYB; they are decoded as the colours below
    try:
        return Header(height, width, depth, profile=_colours(bits))
    except ColourError as error:
        return Header(height, width, depth, fault=error)


def _codestream(data: bytes) -> bytes:
    """The codestream, or the beginning of it, of a file with or without boxes."""
    if data.startswith(CODESTREAM):
        return data
    parts = {b"jxlc": 0, b"jxlp": 4}
    return b"".join(box.content[parts[box.kind] :] for box in boxes(data) if box.kind in parts)


def _size(bits: Bits) -> tuple[int, int]:
    small = bits.flag()

    def length() -> int:
        return 8 * (1 + bits.take(5)) if small else bits.number(SIZES)

    height = length()
    if ratio := bits.take(3):
        over, under = RATIOS[ratio - 1]
        return height, height * over // under
    return height, length()


def _is_animated(bits: Bits) -> bool:
    """Whether the file is an animation; its intended size is skipped."""
    if bits.flag():
        _size(bits)
    if bits.flag():
        raise ValueError("JPEG XL files with a preview are not read")
    return bits.flag()


def _depth(bits: Bits) -> int:
    if bits.flag():
        depth = bits.number(FLOAT_DEPTHS)
        bits.take(4)
        return depth
    return bits.number(DEPTHS)


def _skip_channel(bits: Bits) -> None:
    if bits.flag():
        return
    kind = bits.number(NUMBERS)
    _depth(bits)
    bits.number(SHIFTS)
    bits.take(8 * bits.number(NAME_LENGTHS))
    if kind == ALPHA:
        bits.take(1)
    elif kind == SPOT:
        bits.take(4 * 16)
    elif kind == COLOUR_FILTER:
        bits.number(FILTERS)


def _colours(bits: Bits) -> bytes | None:
    """The ICC profile of the colour space that the header names."""
    if bits.flag():
        return None
    if bits.flag():
        raise ColourError("ICC profiles of JPEG XL files are not read")
    space = bits.number(NUMBERS)
    if space == XYB_SPACE:
        raise ColourError("its values are stored as XYB")
    white = _chromaticities(bits, WHITES)
    primaries = PRIMARIES[1][0]
    if space != GREY_SPACE:
        primaries = _chromaticities(bits, NAMED_PRIMARIES)
    gamma = _gamma(bits)
    made = Space(primaries, white, gamma)
    return None if made == Space(*PRIMARIES[1]) else made_profile(made)


def _gamma(bits: Bits) -> float | None:
    if bits.flag():
        return 1e7 / max(1, bits.take(24))
    transfer = bits.number(NUMBERS)
    if transfer in HDR:
        raise HighDynamicRangeError(HDR[transfer])
    if transfer not in GAMMAS:
        raise ColourError("its transfer curve is not known")
    return GAMMAS[transfer]


def _chromaticities(bits: Bits, named: Mapping[int, tuple[float, ...]]) -> tuple[float, ...]:
    number = bits.number(NUMBERS)
    if number == CUSTOM:
        packed = (bits.number(CHROMATICITIES) for _ in next(iter(named.values())))
        return tuple((-(v + 1) // 2 if v % 2 else v // 2) / 1e6 for v in packed)
    if number not in named:
        raise ColourError("its primaries are not known")
    return named[number]
