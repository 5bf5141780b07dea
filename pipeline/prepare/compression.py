"""How JPEG files were compressed, as it shows in their images once they are turned upright."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.base.errors import UserError, listed
from pipeline.piles.grid import Grid, find_grid
from pipeline.piles.headers import Tables, compression_of
from pipeline.reading.files import decode

MOST_TABLES = 20
"""Most tables that are kept."""
LOOKED_AT = 24
"""Most files in which a grid is looked for."""
NAMED = 20
"""Most files that a message names."""

log = logging.getLogger(__name__)


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
    kinds = {path: compression_of(path) for path in files}
    drawn = [kind for kind in kinds.values() if isinstance(kind, Tables)]
    plain = [path for path, kind in kinds.items() if kind == "lossless"]
    _warn_of_others([path for path, kind in kinds.items() if kind == "other"], len(files))
    raw = sum(kind == "raw" for kind in kinds.values())
    uncompressed = raw + len(plain) * (1 - _share_with_grid(plain))
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
        path.name
        for path in files
        if isinstance(kind := compression_of(path), Tables) or kind == "other"
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
