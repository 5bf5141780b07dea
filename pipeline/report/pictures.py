"""Pictures of a page, as ``data:`` URIs: lossless to be enlarged to their pixels, or small."""

from base64 import b64encode
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.images.drawing import theta_palette
from pipeline.images.io import Image, to_uint8, webp

ROUND = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
"""Ends of a colour scale, times a power of ten."""
SEEN = 0.995
"""Quantile of the pictured values that a colour scale reaches at least."""
LOSSY_QUALITY = 85


@dataclass(frozen=True)
class ColourScale:
    """The colours of all maps of a page, from zero to ``highest``, which has the last colour."""

    highest: float
    """In gray levels; values beyond it have its colour."""

    @classmethod
    def over(cls, values: NDArray[np.floating]) -> "ColourScale":
        """The scale to a round number that few of these values exceed; to 1 without values."""
        high = float(np.quantile(values, SEEN)) if values.size else 0.0
        if high <= 0:
            return cls(1.0)
        power = 10.0 ** np.floor(np.log10(high))
        return cls(float(next(end for end in ROUND if end * power >= high * (1 - 1e-9)) * power))

    @property
    def colours(self) -> str:
        """The palette as hexadecimal digits, six of each colour, for the script."""
        return theta_palette().tobytes().hex()

    def picture(self, levels: NDArray[np.floating]) -> Image:
        """The (3, H, W) picture of a map (H, W) in gray levels; a pixel has one of 256 colours."""
        palette = theta_palette()
        place = np.round(np.clip(levels / self.highest, 0, 1) * (len(palette) - 1)).astype(np.uint8)
        return np.ascontiguousarray(np.moveaxis(palette[place], -1, 0))


def lossless(image: Image | Tensor) -> str:
    """A picture as a ``data:`` URI.

    Args:
        image: (3, H, W), uint8 or in [0, 1]; what is beyond is cut.

    """
    return _data_uri(webp(to_uint8(image) if isinstance(image, Tensor) else image))


def lossy(image: Image | Tensor) -> str:
    """The same in little space; noise is not kept."""
    pixels = to_uint8(image) if isinstance(image, Tensor) else image
    return _data_uri(webp(pixels, LOSSY_QUALITY))


def _data_uri(content: bytes) -> str:
    return "data:image/webp;base64," + b64encode(content).decode()
