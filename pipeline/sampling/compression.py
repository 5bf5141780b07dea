"""Compression of samples like the real LR images: with one kind of JPEG, or one drawn for each."""

from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor

from pipeline.base.settings import Settings
from pipeline.sampling.jpeg import Jpeg, JpegTables

MOST_TABLES = 20
"""Most tables of a mixture, 10 KB in a passport."""
ROUNDING = 1e-6
"""What shares that sum to one may miss of it."""


class JpegMixture(Settings):
    """How the JPEG files of a set that are not compressed alike were compressed."""

    tables: list[JpegTables] = Field(min_length=1, max_length=MOST_TABLES)
    """The kinds of compression."""
    shares: list[Annotated[float, Field(gt=0, le=1)]]
    """The share of each in the images; what they lack of one is not compressed."""

    @model_validator(mode="after")
    def _whole(self) -> "JpegMixture":
        if len(self.shares) != len(self.tables):
            raise ValueError(f"{len(self.tables)} tables have {len(self.shares)} shares")
        if sum(self.shares) > 1 + ROUNDING:
            raise ValueError(f"shares sum to {sum(self.shares)}, more than 1")
        return self


Compression = JpegTables | JpegMixture
"""One kind of JPEG, or several."""


class Compressor:
    """Compresses and decompresses images as real LR images were; no gradient goes through it.

    Args:
        compression: One kind of JPEG for all images, or several, one of which is drawn for each.
        device: Device of the images.

    """

    def __init__(self, compression: Compression, device: torch.device | str = "cpu") -> None:
        self.drawn = isinstance(compression, JpegMixture)
        mixture = (
            compression
            if isinstance(compression, JpegMixture)
            else JpegMixture(tables=[compression], shares=[1.0])
        )
        self.parts: list[tuple[Jpeg, list[int]]] = []
        """Jpegs of one size of the colour planes, and the numbers of their tables."""
        for planes in sorted({one.subsampling for one in mixture.tables}):
            numbers = [i for i, one in enumerate(mixture.tables) if one.subsampling == planes]
            self.parts.append((Jpeg([mixture.tables[i] for i in numbers], device), numbers))
        self.ends = torch.tensor(mixture.shares, dtype=torch.float64).cumsum(0)
        if self.ends[-1] > 1 - ROUNDING:
            self.ends[-1] = 1.0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Compress and decompress images; see ``Jpeg``.

        Args:
            images: (N, 3, H, W) in [0, 1].
            generator: On their device; not used if there is one kind.

        Returns:
            The same shape and type; 8-bit values over 255 where an image is compressed.

        """
        if not self.drawn:
            return self.parts[0][0](images).to(images.dtype)
        place = torch.rand(len(images), generator=generator, device=images.device)
        chosen = torch.searchsorted(self.ends, place.cpu().double(), right=True).tolist()
        written = images.clone()
        for jpeg, numbers in self.parts:
            rows = [row for row, number in enumerate(chosen) if number in numbers]
            if rows:
                own = torch.tensor([numbers.index(chosen[row]) for row in rows])
                compressed = jpeg(images[rows], own.to(images.device))
                written[rows] = compressed.to(images.dtype)
        return written
