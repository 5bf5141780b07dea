"""What is measured of one image."""

import logging
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.base.errors import UserError
from pipeline.images.io import Image
from pipeline.piles.copies import Thumbnail, thumbnail_of
from pipeline.piles.detail import (
    Luma,
    luma_of,
    noise_of,
    sharpness_of,
    slopes_of,
    tiles_of,
)
from pipeline.piles.grid import Grid, find_grid
from pipeline.piles.headers import Header, header_of
from pipeline.piles.resampling import Periods, periods_of
from pipeline.reading.files import find_images, read_image

log = logging.getLogger(__name__)
BLACK = 2
"""Luma up to this is black."""
WHITE = 253
"""Luma from this on is white."""
DOUBTFUL = (1.4, 4.0)
"""Strengths of the period of blocks at which the grid of JPEG is looked for."""
SPARSE = 2
"""Every so many pixels, down and across, count for the exposure."""


@dataclass(frozen=True)
class Exposure:
    """How bright an image is."""

    black: float
    """Share of black pixels."""
    white: float
    """Share of white pixels."""
    dark_end: float
    """Luma that 5 % of the pixels do not reach."""
    bright_end: float
    """Luma that 5 % of the pixels exceed."""


@dataclass(frozen=True)
class Look:
    """What is measured of an image."""

    size: tuple[int, int]
    """(H, W)."""
    noise: float | None
    """See ``detail.noise_of``."""
    sharpness: float | None
    """See ``detail.sharpness_of``."""
    edges: float | None
    """Share of pixels at edges where there are most; None if the image holds no tile."""
    periods: Periods | None
    """See ``resampling.periods_of``."""
    grid: Grid | None
    """See ``grid.find_grid``; None also where the periods show clearly whether there are blocks."""
    exposure: Exposure
    """How bright it is."""
    thumbnail: Thumbnail
    """To find copies."""
    checksum: int
    """CRC-32 of the luma."""


@dataclass(frozen=True)
class Picture:
    """An image of a pile."""

    file: Path
    look: Look
    header: Header


def look_at_files(folder: Path) -> list[Picture]:
    """Decode the images of a folder and measure them; one that cannot be read is a warning.

    Raises:
        UserError: The folder does not exist or holds no image.

    """
    found = []
    for path in tqdm(find_images(folder), f"look at {folder.name}", unit="image"):
        try:
            found.append(Picture(path, look_at(read_image(path)), header_of(path)))
        except UserError as error:
            log.warning("%s", error)
    return found


def look_at(image: Image) -> Look:
    """Measure an image (3, H, W), uint8."""
    luma = luma_of(image)
    tiles = tiles_of(luma)
    noise = sharpness = edges = None
    if tiles is not None:
        noise = noise_of(tiles.calm)
        slopes = slopes_of(tiles.detailed, noise)
        sharpness = sharpness_of(slopes)
        edges = slopes.size / tiles.detailed.size
    periods = periods_of(luma)
    doubtful = periods is None or DOUBTFUL[0] < periods.blocks < DOUBTFUL[1]
    return Look(
        size=(luma.shape[0], luma.shape[1]),
        noise=noise,
        sharpness=sharpness,
        edges=edges,
        periods=periods,
        grid=find_grid(image) if doubtful else None,
        exposure=exposure_of(luma),
        thumbnail=thumbnail_of(luma),
        checksum=zlib.crc32(luma.tobytes()),
    )


def exposure_of(luma: Luma) -> Exposure:
    """The exposure of an image (H, W)."""
    counts = np.bincount(luma[::SPARSE, ::SPARSE].ravel(), minlength=256)
    shares = np.cumsum(counts) / counts.sum()
    return Exposure(
        black=float(shares[BLACK]),
        white=float(1 - shares[WHITE - 1]),
        dark_end=float(np.searchsorted(shares, 0.05)),
        bright_end=float(np.searchsorted(shares, 0.95)),
    )
