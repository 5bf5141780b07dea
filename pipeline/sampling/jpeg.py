"""JPEG on the training device: the loss of a compression, without a file.

It makes the lossy steps of the baseline standard (ITU-T T.81) and of JFIF: colour planes of half
size, quantised cosine transforms of 8x8 blocks, 8-bit samples.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pipeline.base.settings import Settings

BLOCK = 8
TIE = 1e-4
"""A fraction this little below a half counts as a half: values of flat blocks often lie there."""
LUMA_50 = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
"""Quantisation steps of the brightness in Table K.1 of ITU-T T.81, those of quality 50."""
CHROMA_50 = (
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    *(99,) * 32,
)  # fmt: skip
"""Those of the colour planes, Table K.2."""
TO_YCBCR = (
    (0.299, 0.587, 0.114),
    (-0.168735892, -0.331264108, 0.5),
    (0.5, -0.418687589, -0.081312411),
)


Planes = Literal["4:4:4", "4:2:2", "4:4:0", "4:2:0"]
"""Size of the colour planes: whole, half along the rows, half along the columns, or along both."""
SHRINK: Mapping[Planes, tuple[int, int]] = {
    "4:4:4": (1, 1), "4:2:2": (1, 2), "4:4:0": (2, 1), "4:2:0": (2, 2),
}  # fmt: skip
"""Rows and columns of a pixel of a colour plane."""


class JpegTables(Settings):
    """How a JPEG file was compressed."""

    luma: list[int] = Field(min_length=64, max_length=64)
    """Quantisation steps of the brightness, row by row (not in zigzag order)."""
    chroma: list[int] = Field(min_length=64, max_length=64)
    """The same of the two colour planes."""
    subsampling: Planes
    """Size of the colour planes."""


def tables_of_quality(quality: int, subsampling: Planes) -> JpegTables:
    """The tables that libjpeg uses for a quality.

    Args:
        quality: 1 to 100.
        subsampling: Size of the colour planes.

    Raises:
        ValueError: The quality is another number.

    """
    if not 1 <= quality <= 100:
        raise ValueError(f"quality must be 1 to 100, got {quality}")
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    luma, chroma = (
        [min(max((step * percent + 50) // 100, 1), 255) for step in steps]
        for steps in (LUMA_50, CHROMA_50)
    )
    return JpegTables(luma=luma, chroma=chroma, subsampling=subsampling)


def nearest_quality(tables: JpegTables) -> int:
    """The quality of libjpeg, 1 to 100, whose table of the brightness is nearest."""

    def distance(quality: int) -> int:
        luma = tables_of_quality(quality, tables.subsampling).luma
        return sum(abs(own - step) for own, step in zip(tables.luma, luma, strict=True))

    return min(range(1, 101), key=distance)


class Jpeg:
    """Compresses and decompresses images; no gradient goes through it.

    Args:
        tables: Quantisation steps, and size of the colour planes; or several that images choose
            from, with colour planes of one size.
        device: Device of the images.

    Raises:
        ValueError: There is no table, or the sizes of the colour planes differ.

    """

    def __init__(
        self, tables: JpegTables | Sequence[JpegTables], device: torch.device | str = "cpu"
    ) -> None:
        several = [tables] if isinstance(tables, JpegTables) else tables
        sizes = {one.subsampling for one in several}
        if len(sizes) != 1:
            raise ValueError(f"tables must have one size of the colour planes, got {sorted(sizes)}")
        self.shrink = SHRINK[sizes.pop()]
        shape = (len(several), 1, 1, BLOCK, 1, BLOCK)
        luma, chroma = [one.luma for one in several], [one.chroma for one in several]
        self.luma = torch.tensor(luma, device=device).reshape(shape).float()
        self.chroma = torch.tensor(chroma, device=device).reshape(shape).float()
        self.cosines = cosines().float().to(device)
        self.to_ycbcr = torch.tensor(TO_YCBCR, device=device)
        self.to_rgb = torch.linalg.inv(self.to_ycbcr.double()).float()

    def __call__(self, images: Tensor, choice: Tensor | None = None) -> Tensor:
        """Compress and decompress images; the grid of blocks starts at their top left.

        Args:
            images: (N, 3, H, W) in [0, 1].
            choice: (N,), int64, on the device: the tables of every image.  None: the first.

        Returns:
            The same shape, 8-bit values over 255.

        """
        chosen = slice(1) if choice is None else choice
        luma_steps, chroma_steps = self.luma[chosen], self.chroma[chosen]
        height, width = images.shape[-2:]
        down, across = self.shrink
        padding = (0, -width % (BLOCK * across), 0, -height % down)  # rows follow in the planes
        levels = F.pad((images.float() * 255).round().clamp(0, 255), padding, mode="replicate")
        planes = _nearest(torch.einsum("cd,ndhw->nchw", self.to_ycbcr, levels))
        luma = self._quantise(planes[:, :1] - 128, luma_steps) + 128
        colour = planes[:, 1:]
        if self.shrink != (1, 1):
            small = self._shrunk(colour)
            small = self._quantise(small, chroma_steps)
            small = _nearest(small[..., : -(-height // down), : -(-width // across)])
            colour = self._grown(small)
        else:
            colour = _nearest(self._quantise(colour, chroma_steps))
        luma = _nearest(luma[..., :height, :width]).clamp(0, 255)
        colour = colour[..., :height, :width].clamp(-128, 127)
        decoded = torch.einsum("cd,ndhw->nchw", self.to_rgb, torch.cat([luma, colour], dim=1))
        return _nearest(decoded).clamp(0, 255) / 255

    def _shrunk(self, colour: Tensor) -> Tensor:
        """Means of the pixels, rounded as libjpeg does; 4:4:0 is 4:2:2 turned."""
        small = F.avg_pool2d(colour, self.shrink)
        if self.shrink == (2, 1):
            return _floor(small.mT, 0.0, 1 / 2).mT
        return _floor(small, *((1 / 4, 1 / 2) if self.shrink == (2, 2) else (0.0, 1 / 2)))

    def _grown(self, small: Tensor) -> Tensor:
        """Linear interpolation between the pixels, rounded as libjpeg does."""
        factors = [float(factor) for factor in self.shrink]
        colour = F.interpolate(small, scale_factor=factors, mode="bilinear")
        if self.shrink == (2, 1):
            return _floor(colour.mT, 1 / 4, 2 / 4).mT
        return _floor(colour, *((8 / 16, 7 / 16) if self.shrink == (2, 2) else (1 / 4, 2 / 4)))

    def _quantise(self, plane: Tensor, steps: Tensor) -> Tensor:
        """Round the cosine transform of every block to multiples of the steps, halves outwards."""
        plane = F.pad(plane, (0, 0, 0, -plane.shape[2] % BLOCK), mode="replicate")
        n, channels, height, width = plane.shape
        blocks = plane.reshape(n, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
        blocks = torch.einsum("ui,nchiwj,vj->nchuwv", self.cosines, blocks, self.cosines)
        blocks = _nearest(blocks.abs() / steps) * steps * blocks.sign()
        blocks = torch.einsum("ui,nchuwv,vj->nchiwj", self.cosines, blocks, self.cosines)
        return blocks.reshape(n, channels, height, width)


def _nearest(values: Tensor) -> Tensor:
    """Round, halves up, as libjpeg does."""
    return (values + 0.5 + TIE).floor()


def _floor(plane: Tensor, even: float, odd: float) -> Tensor:
    """Round down after ``even`` was added to even columns and ``odd`` to odd ones, as libjpeg."""
    offset = torch.tensor([even, odd], device=plane.device).repeat(plane.shape[-1] // 2 + 1)
    return (plane + offset[: plane.shape[-1]] + TIE).floor()


def cosines() -> Tensor:
    """The orthonormal cosine transform of 8 samples, (frequency, place), float64."""
    place = torch.arange(BLOCK, dtype=torch.float64)
    table = torch.cos((2 * place + 1) * place[:, None] * math.pi / (2 * BLOCK)) / 2
    table[0] /= math.sqrt(2)
    return table
