"""Clips for tests, whose frames have one known colour each."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

WEIGHTS = {"bt709": (0.2126, 0.0722), "smpte170m": (0.299, 0.114)}
"""Parts of red and blue in luma, by ffmpeg's name of the matrix."""
TAGS = "setparams=colorspace={matrix}:range={range}"


def ycbcr(rgb: tuple[int, int, int], matrix: str, full: bool) -> NDArray[np.uint8]:
    """Y, Cb and Cr of a colour by the definitions of BT.601 and BT.709."""
    red, green, blue = (value / 255 for value in rgb)
    of_red, of_blue = WEIGHTS[matrix]
    luma = of_red * red + (1 - of_red - of_blue) * green + of_blue * blue
    chroma = [(blue - luma) / (2 - 2 * of_blue), (red - luma) / (2 - 2 * of_red)]
    start, luma_range, chroma_range = (0, 255, 255) if full else (16, 219, 224)
    values = [start + luma_range * luma, *(128 + chroma_range * one for one in chroma)]
    return np.round(values).astype(np.uint8)


def colour(number: int) -> tuple[int, int, int]:
    """Of a frame; the number can be read off."""
    return (200, 40 + 5 * number, 20)


def write_clip(
    path: Path,
    frames: int = 30,
    matrix: str = "bt709",
    full: bool = False,
    size: tuple[int, int] = (64, 48),
    tags: str = TAGS,
) -> Path:
    """Write a clip without loss whose frames have a colour each; without tags it states none."""
    filters = tags.format(matrix=matrix, range="pc" if full else "tv")
    values = (ycbcr(colour(number), matrix, full) for number in range(frames))
    data = b"".join(np.repeat(one, size[0] * size[1]).tobytes() for one in values)
    form = ["-f", "rawvideo", "-pix_fmt", "yuv444p", "-s", f"{size[0]}x{size[1]}", "-r", "10"]
    coded = ["-c:v", "libx264", "-qp", "0", "-preset", "ultrafast", "-g", "7", "-y"]
    tagged = ["-vf", filters] if filters else []
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *form, "-i", "-", *tagged, *coded]
    subprocess.run([*command, str(path)], input=data, check=True)
    return path
