"""Raw photographs: known by their content, and developed in one way, the same for every file.

The values are those of the sensor, black subtracted, white at the level that the file states,
multiplied by the camera's white balance as the file states it (the smallest factor is one, what
then lies beyond white is cut), demosaiced by AHD (Hirakawa and Parks, 2005; X-Trans sensors by
libraw's own), converted to sRGB by the camera's matrix, encoded with the curve of sRGB and turned
as the file says.  Nothing depends on the picture: no brightening, no automatic white level, no
sharpening, no denoising.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Exif
from tifffile import TiffFile, TiffPage

from pipeline.base.errors import UserError, one_line

if TYPE_CHECKING:
    from rawpy import RawPy

EXTENSIONS = (
    ".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".orf", ".raf", ".rw2", ".pef", ".srw",
)  # fmt: skip
MAGIC = (b"IIU\x00", b"IIRO", b"IIRS", b"MMOR", b"FUJIFILMCCD-RAW")
"""How files begin that are neither TIFF nor ISO base media: RW2, ORF and RAF."""
CR3_BRAND = b"crx "
DNG_VERSION = 50706
FILTERED, LINEAR = 32803, 34892
"""Photometric interpretations of a colour filter array and of DNG's demosaiced values."""
FEW = 8
"""Directories inside a TIFF that are looked at; cameras write one to four."""
SRGB_CURVE = (2.4, 12.92)
"""Exponent and slope at black, as libraw takes them."""
SIDEWAYS = (5, 6)
"""Turns of libraw that exchange rows and columns."""


def is_raw(data: bytes) -> bool:
    """Whether a file that is no plain TIFF begins like a raw photograph; see ``is_raw_tiff``."""
    if data[8:10] == b"CR" and data.startswith((b"II*\x00", b"MM\x00*")):
        return True  # CR2
    return data.startswith(MAGIC) or (data[4:8] == b"ftyp" and data[8:12] == CR3_BRAND)


def is_raw_tiff(path: Path) -> bool:
    """Whether a TIFF is a raw photograph: a DNG, or one with values of a colour filter array.

    NEF, ARW, PEF and others hold a small picture first and the sensor's values in a directory of
    their own.
    """
    try:
        with TiffFile(path) as file:
            first = file.pages.first
            inner = islice(first.pages or (), FEW)
            return DNG_VERSION in first.tags or any(
                isinstance(page, TiffPage) and page.photometric in (FILTERED, LINEAR)
                for page in (first, *inner)
            )
    except Exception:  # tifffile raises many types on damaged files; the reader of TIFF reports it
        return False


def raw_size(path: Path) -> tuple[int, int]:
    """(H, W) of the developed photograph.

    Raises:
        UserError: See ``develop``.

    """
    with _opened(path) as raw:
        sizes = raw.sizes
        sideways = sizes.flip in SIDEWAYS
        return (sizes.iwidth, sizes.iheight) if sideways else (sizes.iheight, sizes.iwidth)


def raw_exif(path: Path) -> Exif:
    """EXIF data of a raw photograph that begins as a TIFF does: DNG, CR2, NEF, ARW and others.

    Raises:
        Exception: Whatever Pillow raises on files that begin otherwise, or are damaged.

    """
    exif = Exif()
    exif.load(path.read_bytes())
    return exif


def develop(path: Path) -> NDArray[np.uint16]:
    """Develop a raw photograph; see the module.

    Returns:
        (H, W, C), sRGB.

    Raises:
        UserError: It is damaged or of a camera that libraw does not know, or rawpy is missing.

    """
    with _opened(path) as raw:
        from rawpy import ColorSpace, DemosaicAlgorithm, FBDDNoiseReductionMode, HighlightMode

        developed = raw.postprocess(
            use_camera_wb=True,
            no_auto_bright=True,
            adjust_maximum_thr=0.0,
            demosaic_algorithm=DemosaicAlgorithm.AHD,
            fbdd_noise_reduction=FBDDNoiseReductionMode.Off,
            median_filter_passes=0,
            highlight_mode=HighlightMode.Clip,
            output_color=ColorSpace.sRGB,
            gamma=SRGB_CURVE,
            output_bps=16,
        )
    return np.asarray(developed, dtype=np.uint16)


@contextmanager
def _opened(path: Path) -> Iterator["RawPy"]:
    try:
        import rawpy
    except ImportError as error:
        raise UserError(
            f"{path}: is a raw photograph, which needs rawpy; install usrdu with its extra: "
            "usrdu[raw]"
        ) from error
    try:
        with rawpy.imread(str(path)) as raw:
            yield raw
    except (rawpy.LibRawError, rawpy.NotSupportedError) as error:
        raise UserError(f"{path}: cannot be developed: {_words(error)}") from error


def _words(error: Exception) -> str:
    """What libraw says, which hands over bytes."""
    said = error.args[0] if error.args else b""
    return said.decode(errors="replace") if isinstance(said, bytes) else one_line(error)
