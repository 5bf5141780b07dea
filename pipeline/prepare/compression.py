"""How JPEG files were compressed, as it shows in their images once they are turned upright."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from pipeline.base.errors import UserError, listed
from pipeline.prepare.grid import Grid, find_grid
from pipeline.reading.files import decode
from pipeline.reading.formats import ORIENTATION, SIDEWAYS, open_header

PLANES = {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (1, 2): "4:4:0"}
"""Names of the sizes of the colour planes, by the pixels of a sample, across and down."""
RGB_IDS = tuple(b"RGB")
"""Numbers of the components of a JPEG whose colours are not transformed."""
LOSSY = ("WEBP", "AVIF", "HEIF", "JPEG2000")
"""Formats that lose more than rounding, mostly; their loss is another."""
MOST_TABLES = 20
"""Most tables that are kept."""
LOOKED_AT = 24
"""Most files in which a grid is looked for."""
NAMED = 20
"""Most files that a message names."""

log = logging.getLogger(__name__)


class Tables(NamedTuple):
    """Quantisation steps of a JPEG file, row by row, and the size of its colour planes."""

    luma: tuple[int, ...]
    chroma: tuple[int, ...]
    subsampling: str

    @property
    def content(self) -> dict[str, object]:
        """As in ``sampling.jpeg.JpegTables``."""
        steps = {"luma": list(self.luma), "chroma": list(self.chroma)}
        return {**steps, "subsampling": self.subsampling}

    def turned(self) -> "Tables":
        """The tables that do the same to the image with rows and columns exchanged."""
        planes = {"4:2:2": "4:4:0", "4:4:0": "4:2:2"}.get(self.subsampling, self.subsampling)
        return Tables(_transposed(self.luma), _transposed(self.chroma), planes)


def _transposed(steps: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(steps[8 * column + row] for row in range(8) for column in range(8))


def compression(files: Sequence[Path]) -> dict[str, object] | None:
    """How the images of files are compressed, as in ``sampling.compression.Compression``.

    Tables are those of the upright images: for a photograph that lies on its side they are turned.
    Files that are all compressed alike have one kind of tables.  Others have several, with the
    share of each, and what is left is not compressed.  JPEG files of other planes or colours, files
    of other lossy formats, and images that were a JPEG once are left out of the shares, with a
    warning that counts them.

    Returns:
        None if no file has tables that can be imitated.

    """
    kinds = {path: _kind(path) for path in files}
    drawn = [kind for kind in kinds.values() if isinstance(kind, Tables)]
    plain = [path for path, kind in kinds.items() if kind == "lossless"]
    _warn_of_others([path for path, kind in kinds.items() if kind == "other"], len(files))
    uncompressed = len(plain) * (1 - _share_with_grid(plain))
    if not drawn:
        return None
    distinct = Counter(drawn)
    if len(distinct) == 1 and not uncompressed:
        return drawn[0].content
    if len(distinct) > MOST_TABLES:
        distinct = Counter(_spread(drawn))
    log.info(
        "%d LR images are JPEG files with %d different tables; samples get one of %d, drawn anew",
        len(drawn), len(set(drawn)), len(distinct),
    )  # fmt: skip
    of_jpeg = len(drawn) / (len(drawn) + uncompressed)
    shares = [of_jpeg * count / distinct.total() for count in distinct.values()]
    return {"tables": [one.content for one in distinct], "shares": shares}


def warn_of_reduced(files: Sequence[Path]) -> None:
    """Say in the log which files are compressed, where their images are reduced afterwards.

    Their blocks are no longer those of a JPEG, so that no tables stand for what was lost.
    """
    lossy = [
        path.name for path in files if isinstance(kind := _kind(path), Tables) or kind == "other"
    ]
    if lossy:
        log.warning(
            "%d of %d LR images were compressed when they had the size of HR, which no tables "
            "imitate once they are reduced; samples are not compressed, and what the compression "
            "left counts as noise: %s",
            len(lossy), len(files), listed(lossy, NAMED),
        )  # fmt: skip


def _spread(drawn: Sequence[Tables]) -> list[Tables]:
    """Tables that stand for more: those of files evenly spaced from fine to coarse."""
    ordered = sorted(drawn, key=lambda one: (one.subsampling, sum(one.luma) + sum(one.chroma), one))
    places = ((2 * i + 1) * len(ordered) // (2 * MOST_TABLES) for i in range(MOST_TABLES))
    return [ordered[place] for place in places]


def _warn_of_others(others: Sequence[Path], count: int) -> None:
    if others:
        log.warning(
            "the compression of %d of %d LR images is not imitated, as they are no JPEG of three "
            "colour planes of 4:4:4, 4:2:2, 4:4:0 or 4:2:0: %s",
            len(others), count, listed([path.name for path in others], NAMED),
        )  # fmt: skip


def _share_with_grid(plain: Sequence[Path]) -> float:
    """The share of lossless files whose images were a JPEG once; a warning says which."""
    step = -(-len(plain) // LOOKED_AT) or 1
    looked_at = plain[::step]
    found = {path.name: grid for path in looked_at if (grid := _grid(path)) is not None}
    if not found:
        return 0.0
    log.warning(
        "%d of %d LR images looked at are no JPEG files, but hold the grid of one; that "
        "compression is not imitated, so better prepare the JPEG files themselves: %s",
        len(found),
        len(looked_at),
        listed([f"{name} (from row {y}, column {x})" for name, (y, x) in found.items()], NAMED),
    )
    return len(found) / len(looked_at)


def _grid(path: Path) -> Grid | None:
    try:
        pixels = np.moveaxis(decode(path), -1, 0)
    except UserError:  # reported when it is decoded to be kept
        return None
    colours = pixels[:3] if len(pixels) > 2 else np.repeat(pixels[:1], 3, axis=0)
    return None if pixels.dtype == np.uint16 else find_grid(colours)


def _kind(path: Path) -> Tables | Literal["lossless", "other", "unreadable"]:
    """The tables of a file for its upright image, or why there are none."""
    try:
        with open_header(path) as file:
            if not isinstance(file, JpegImageFile):
                return "other" if file.format in LOSSY else "lossless"
            found = _of_file(file)
            sideways = file.getexif().get(ORIENTATION) in SIDEWAYS
    except Exception:  # the decoders raise dozens of types; read_image reports the fault
        return "unreadable"
    if found is None:
        return "other"
    return found.turned() if sideways else found


def _of_file(file: JpegImageFile) -> Tables | None:
    """The tables as they stand in the file, of brightness and two colour planes alike."""
    if len(file.layer) != 3 or file.info.get("adobe_transform") == 0:
        return None
    (first, across, down, luma), *colours = file.layer
    if first == RGB_IDS[0] or colours[0][1:] != colours[1][1:]:
        return None
    _, narrow, low, chroma = colours[0]
    planes = PLANES.get((across // narrow, down // low))
    whole = across % narrow == 0 and down % low == 0
    steps = file.quantization
    return Tables(tuple(steps[luma]), tuple(steps[chroma]), planes) if planes and whole else None
