"""Draw docs/images/demo.png from a finished demo.

``make picture`` runs ``python docs/scripts/picture.py DATA SAMPLES OUT``: the folder ``data`` of
the demo and a folder of sampled LR images that ``usrdu degrade`` wrote from its maps.
"""

import sys
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.images.drawing import save, sheet, show, show_theta
from pipeline.images.filters import bicubic_upsample
from pipeline.images.io import Image, to_float, to_uint8
from pipeline.reading.files import read_image

SCALE = 4
HR_IMAGE, HR_CORNER = "astronaut", (40, 152)
REAL_LR, REAL_LR_CORNER = "ihc.jpg", (40, 40)
HELD_OUT, HELD_OUT_CORNER = "chelsea", (48, 100)
SIDE = 144
"""HR pixels of every crop; corners are (top, left) in pixels of their own image."""


def crop(
    image: NDArray[np.generic], corner: tuple[int, int], scale: int = 1
) -> NDArray[np.generic]:
    """``SIDE`` HR pixels of an image (3, H, W) that is ``scale`` times smaller than HR."""
    top, left = (place // scale for place in corner)
    side = SIDE // scale
    return image[:, top : top + side, left : left + side]


def draw_degradation(axes: NDArray[np.object_], data: Path, samples: Path) -> None:
    """A training image: HR, mean, theta, a sample, and a real LR image."""
    maps = data / f"export/maps.zarr/images/{HR_IMAGE}"
    mean, theta = (
        np.asarray(zarr.open_array(maps / name, mode="r")[:], dtype=np.float32)
        for name in ("mean", "theta")
    )
    hr = read_image(data / f"raw/demo/hr/{HR_IMAGE}.png")
    sample = read_image(samples / f"{HR_IMAGE}.png")
    real = read_image(data / f"raw/demo/lr/{REAL_LR}")
    show(axes[0], pixels(crop(hr, HR_CORNER)), "sharp photograph (HR)")
    show(axes[1], pixels(crop(np.round(mean * 255), HR_CORNER, SCALE)), "mean")
    show_theta(axes[2], np.asarray(crop(theta, HR_CORNER, SCALE)), "theta (gray levels)")
    show(axes[3], pixels(crop(sample, HR_CORNER, SCALE)), "sample")
    small = crop(real, REAL_LR_CORNER)[:, : SIDE // SCALE, : SIDE // SCALE]
    show(axes[4], pixels(small), "a real LR image")


def draw_held_out(axes: NDArray[np.object_], data: Path) -> None:
    """A held-out photograph: LR, bicubic and the two SR networks of the demo, HR."""
    lr = read_image(data / f"raw/demo/val/lr/{HELD_OUT}.jpg")
    hr = read_image(data / f"raw/demo/val/hr/{HELD_OUT}.png")
    bicubic = to_uint8(bicubic_upsample(to_float(lr)[None], SCALE)[0].clamp(0, 1))
    show(axes[0], pixels(crop(lr, HELD_OUT_CORNER, SCALE)), "held-out LR image")
    show(axes[1], pixels(crop(bicubic, HELD_OUT_CORNER)), "bicubic")
    for axis, name, title in ((axes[2], "esrgan", "ESRGAN"), (axes[3], "compact", "Compact")):
        sr = read_image(data / f"evaluate/{name}/sr/{HELD_OUT}.png")
        show(axis, pixels(crop(sr, HELD_OUT_CORNER)), f"SR: {title}")
    show(axes[4], pixels(crop(hr, HELD_OUT_CORNER)), "truth (HR)")


def pixels(image: NDArray[np.generic]) -> Image:
    """The image as uint8."""
    return np.clip(np.asarray(image, dtype=np.float32), 0, 255).astype(np.uint8)


def draw(data: Path, samples: Path, out: Path) -> None:
    """Both rows, as one PNG."""
    figure, axes = sheet(2, 5)
    draw_degradation(axes[0], data, samples)
    draw_held_out(axes[1], data)
    save(figure, out)


if __name__ == "__main__":
    draw(*(Path(word) for word in sys.argv[1:4]))
