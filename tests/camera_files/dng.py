"""Raw photographs for tests: a DNG of a colour filter array, written from known light."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

CFA_PHOTOMETRIC = 32803
BLACK, WHITE = 256, 4095
NEUTRAL = (0.5, 1.0, 0.625)
"""Camera values of white, AsShotNeutral."""
CAMERA_OF_XYZ = ((0.9, -0.2, -0.1), (-0.4, 1.3, 0.1), (-0.1, 0.2, 0.7))
"""ColorMatrix1: from CIE XYZ, under daylight of 6500 K, to camera values."""
PATTERN = (0, 1, 1, 2)
"""Red, green, green, blue, row by row."""
SRATIONAL, RATIONAL, BYTE, SHORT, ASCII, LONG = 10, 5, 1, 3, 2, 4


def _fractions(values: Sequence[float], kind: int) -> tuple[int, ...]:
    found = [Fraction(value).limit_denominator(10000) for value in values]
    assert kind == SRATIONAL or min(found) >= 0
    return tuple(part for one in found for part in (one.numerator, one.denominator))


def write_dng(
    path: Path,
    camera: NDArray[np.float64],
    orientation: int = 1,
    model: str = "Test 1",
) -> Path:
    """Write a raw photograph.

    Args:
        path: The file.
        camera: (H, W, 3), what each of the filters would let through, 0 to 1.
        orientation: Of EXIF.
        model: Of the camera, whose make is Acme.

    """
    height, width, _ = camera.shape
    rows, columns = np.indices((height, width))
    colours = np.array(PATTERN)[2 * (rows % 2) + columns % 2]
    seen = np.take_along_axis(camera, colours[..., None], axis=2)[..., 0]
    values = np.round(BLACK + seen * (WHITE - BLACK)).astype(np.uint16)
    matrix = [value for row in CAMERA_OF_XYZ for value in row]
    tags = [
        (271, ASCII, 0, "Acme", True),
        (272, ASCII, 0, model, True),
        (274, SHORT, 1, orientation, True),
        (33421, SHORT, 2, (2, 2), True),
        (33422, BYTE, 4, bytes(PATTERN), True),
        (50706, BYTE, 4, bytes((1, 4, 0, 0)), True),
        (50707, BYTE, 4, bytes((1, 1, 0, 0)), True),
        (50708, ASCII, 0, f"Acme {model}", True),
        (50714, LONG, 1, BLACK, True),
        (50717, LONG, 1, WHITE, True),
        (50721, SRATIONAL, 9, _fractions(matrix, SRATIONAL), True),
        (50728, RATIONAL, 3, _fractions(NEUTRAL, RATIONAL), True),
        (50778, SHORT, 1, 21, True),
    ]
    tifffile.imwrite(
        path, values, photometric=CFA_PHOTOMETRIC, extratags=tags, metadata=None, software=False
    )
    return path
