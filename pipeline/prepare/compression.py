"""How JPEG files were compressed, as it shows in their images once they are turned upright."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL.JpegImagePlugin import JpegImageFile

from pipeline.images.io import ORIENTATION, SIDEWAYS, open_header

PLANES = {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (1, 2): "4:4:0"}
"""Names of the sizes of the colour planes, by the pixels of a sample, across and down."""
RGB_IDS = tuple(b"RGB")
"""Numbers of the components of a JPEG whose colours are not transformed."""


class Tables(NamedTuple):
    """Quantisation steps of a JPEG file, row by row, and the size of its colour planes."""

    luma: tuple[int, ...]
    chroma: tuple[int, ...]
    subsampling: str

    def turned(self) -> "Tables":
        """The tables that do the same to the image with rows and columns exchanged."""
        planes = {"4:2:2": "4:4:0", "4:4:0": "4:2:2"}.get(self.subsampling, self.subsampling)
        return Tables(_transposed(self.luma), _transposed(self.chroma), planes)


def _transposed(steps: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(steps[8 * column + row] for row in range(8) for column in range(8))


def compression(files: Sequence[Path]) -> dict[str, object] | None:
    """The JPEG tables of more than half of the files, as in ``jpeg.JpegTables``, if there are any.

    They are those of the upright images: for a photograph that lies on its side they are turned.
    Files of other formats, and JPEG files with other colour planes than ``PLANES``, have no tables.
    """
    found = Counter(tables(path) for path in files)
    most, count = found.most_common(1)[0]
    if most is None or 2 * count <= len(files):
        return None
    return {"luma": list(most.luma), "chroma": list(most.chroma), "subsampling": most.subsampling}


def tables(path: Path) -> Tables | None:
    """The tables of a file for its upright image; None if it has none that can be imitated."""
    try:
        with open_header(path) as file:
            if not isinstance(file, JpegImageFile):
                return None
            found = _of_file(file)
            sideways = file.getexif().get(ORIENTATION) in SIDEWAYS
    except Exception:  # the decoders raise dozens of types; read_image reports the fault
        return None
    return found.turned() if found and sideways else found


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
