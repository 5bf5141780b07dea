"""Coverage-guided fuzzing of image reading, for `make fuzz`: until there is a bug or time is up.

Any exception but ``UserError`` is a bug, and so is a result that is no RGB image.  The seeds are
small files of every format that is read.
"""

import io
import logging
import sys
import tempfile
import warnings
from pathlib import Path

import atheris
import imagecodecs
import numpy as np
import pillow_heif

with atheris.instrument_imports(include=["PIL", "tifffile", "imageio", "pipeline.reading"]):
    import tifffile
    from PIL import (
        BmpImagePlugin,  # noqa: F401
        Image,
        JpegImagePlugin,  # noqa: F401
        PngImagePlugin,  # noqa: F401
        TiffImagePlugin,  # noqa: F401
        WebPImagePlugin,  # noqa: F401
    )

    from pipeline.base.errors import UserError
    from pipeline.prepare.compression import compression
    from pipeline.reading.files import image_size, read_image

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what matters it also raises
FOLDER = Path(tempfile.mkdtemp())


def one_input(data: bytes) -> None:
    path = FOLDER / "fuzzed.png"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image_size(path)
        compression([path])
        try:
            image = read_image(path)
        except UserError as error:
            assert str(error).isprintable()  # noqa: PT017
            return
    assert image.dtype == np.uint8 and image.ndim == 3 and len(image) == 3


def seeds(folder: Path) -> Path:
    folder.mkdir()
    grey = Image.linear_gradient("L").resize((9, 7))
    for kind, ending in (("PNG", "png"), ("JPEG", "jpg"), ("TIFF", "tif"), ("WEBP", "webp"),
                         ("BMP", "bmp"), ("GIF", "gif")):  # fmt: skip
        for mode in ("L", "RGB", "P", "1"):
            if (kind, mode) not in (("JPEG", "P"), ("JPEG", "1"), ("WEBP", "P"), ("WEBP", "1")):
                grey.convert(mode).save(folder / f"{mode}.{ending}", kind)
    deep = np.arange(7 * 9 * 3, dtype=np.uint16).reshape(7, 9, 3) * 300
    for compressed in (None, "zlib"):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, deep, photometric="rgb", compression=compressed)
        (folder / f"deep-{compressed}.tif").write_bytes(buffer.getvalue())
    seeds_of_phones(folder)
    return folder


def seeds_of_phones(folder: Path) -> None:
    """HEIC, AVIF, JPEG XL and JPEG 2000."""
    pixels = np.arange(7 * 9 * 3, dtype=np.uint8).reshape(7, 9, 3)
    buffer = io.BytesIO()
    pillow_heif.from_bytes("RGB", (9, 7), pixels.tobytes()).save(buffer)
    (folder / "a.heic").write_bytes(buffer.getvalue())
    Image.fromarray(pixels).save(folder / "a.avif", "AVIF")
    (folder / "a.jxl").write_bytes(bytes(imagecodecs.jpegxl_encode(pixels)))
    for kind in ("jp2", "j2k"):
        content = imagecodecs.jpeg2k_encode(pixels, codecformat=kind)
        (folder / f"a.{kind}").write_bytes(bytes(content))


if __name__ == "__main__":
    atheris.Setup([*sys.argv, str(seeds(FOLDER / "seeds"))], one_input)
    atheris.Fuzz()
