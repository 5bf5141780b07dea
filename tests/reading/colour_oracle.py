"""Colours by NumPy and the definitions alone: ICC profiles written by hand, and what they mean."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
D50 = np.array([0.9642, 1.0, 0.8249])
SRGB_PRIMARIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
D65 = (0.3127, 0.3290)


@dataclass(frozen=True)
class Known:
    """A colour space; gamma None is the curve of sRGB."""

    name: str
    primaries: tuple[float, ...] = SRGB_PRIMARIES
    white: tuple[float, float] = D65
    gamma: float | None = None

    def light(self, encoded: Array) -> Array:
        """Linear light of encoded values in [0, 1]."""
        if self.gamma is not None:
            return np.asarray(encoded**self.gamma)
        return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)

    def to_d50(self) -> Array:
        """From linear RGB to XYZ, adapted to D50."""
        x, y = np.reshape(self.primaries, (3, 2)).T
        columns = np.stack([x / y, np.ones(3), (1 - x - y) / y])
        wx, wy = self.white
        white = np.array([wx / wy, 1, (1 - wx - wy) / wy])
        own = columns * np.linalg.solve(columns, white)
        gains = (BRADFORD @ D50) / (BRADFORD @ white)
        return np.asarray(np.linalg.inv(BRADFORD) @ np.diag(gains) @ BRADFORD @ own)

    def srgb(self, encoded: Array) -> Array:
        """Gray levels of sRGB, not rounded, of encoded values (..., 3) in [0, 1]."""
        matrix = np.linalg.inv(SRGB.to_d50()) @ self.to_d50()
        return levels(self.light(encoded) @ matrix.T)

    def icc(self, grey: bool = False) -> bytes:
        """The profile, version 4."""
        curve = parametric(self.gamma)
        if grey:
            return icc(b"GRAY", {b"kTRC": curve, b"wtpt": xyz(D50)})
        columns = zip((b"rXYZ", b"gXYZ", b"bXYZ"), self.to_d50().T, strict=True)
        tags = {name: xyz(column) for name, column in columns}
        curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
        return icc(b"RGB ", {**tags, **curves, b"wtpt": xyz(D50)})


SRGB = Known("sRGB")
P3 = Known("Display P3", (0.680, 0.320, 0.265, 0.690, 0.150, 0.060))
ADOBE = Known("Adobe RGB", (0.64, 0.33, 0.21, 0.71, 0.15, 0.06), gamma=563 / 256)
PROPHOTO = Known(
    "ProPhoto", (0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001), (0.3457, 0.3585), 1.8
)
REC2020 = Known("Rec. 2020", (0.708, 0.292, 0.170, 0.797, 0.131, 0.046))
OLD_MAC = Known("gamma 1.8", gamma=1.8)
LINEAR = Known("linear", gamma=1.0)


def levels(light: Array) -> Array:
    """Gray levels of sRGB, not rounded, of linear light; what lies outside is cut."""
    inside = np.clip(light, 0, 1)
    return 255 * np.where(inside <= 0.0031308, 12.92 * inside, 1.055 * inside ** (1 / 2.4) - 0.055)


def of_lab(lab: Array) -> Array:
    """Gray levels of sRGB, not rounded, of CIELAB (..., 3) under D50."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    values = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D50
    return levels(values @ np.linalg.inv(SRGB.to_d50()).T)


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def xyz(values: Array) -> bytes:
    return b"XYZ \0\0\0\0" + fixed(*values)


def parametric(gamma: float | None) -> bytes:
    """A curve of one exponent, or that of sRGB."""
    if gamma is not None:
        return b"para\0\0\0\0\0\0\0\0" + fixed(gamma)
    return b"para\0\0\0\0\0\3\0\0" + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def icc(colours: bytes, tags: dict[bytes, bytes], version: int = 4, lab: bool = False) -> bytes:
    """An ICC profile by hand; that of a printer is one of Lab."""
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    kind, connection = (b"prtr", b"Lab ") if lab else (b"mntr", b"XYZ ")
    head = bytes(8) + bytes([version, 0, 0, 0]) + kind + colours + connection + bytes(12)
    head += b"acsp" + bytes(28) + fixed(*D50) + bytes(48)
    made = head + table + body
    return struct.pack(">I", len(made)) + made[4:]


def inks() -> Array:
    """CIELAB (2, 2, 2, 2, 3) of no and full cyan, magenta, yellow and black, in whole numbers."""
    c, m, y, k = np.indices((2, 2, 2, 2))
    lightness = (100 - 35 * c - 40 * m - 8 * y) * (1 - 0.8 * k)
    a = (-35 * c + 70 * m - 5 * y) * (1 - k)
    b = (-45 * c - 3 * m + 80 * y) * (1 - k)
    return np.stack([np.rint(lightness * 2.55), np.rint(a + 128), np.rint(b + 128)], axis=-1)


def cmyk_icc() -> bytes:
    """A printer's profile, version 2: a table of the 16 corners."""
    ramp = bytes(range(256))
    table = inks().astype(np.uint8).tobytes()
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    return icc(b"CMYK", {b"A2B0": lut + ramp * 4 + table + ramp * 3}, version=2, lab=True)


def cmyk_levels(ink: Array) -> Array:
    """Gray levels of sRGB, not rounded, of inks (..., 4) that are 0 or 255."""
    stored = inks()[tuple(np.moveaxis(ink // 255, -1, 0))]
    return of_lab(np.stack([stored[..., 0] / 2.55, *np.moveaxis(stored[..., 1:] - 128, -1, 0)], -1))
