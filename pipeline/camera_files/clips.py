"""Video clips as a source of images: frames drawn evenly, in sRGB, upright, one at a time.

ffmpeg decodes them and converts YCbCr by the matrix and the range that the clip states.  A clip
that states no matrix has that of BT.709 from 720 rows on and of BT.601 below, as televisions take
it.  Primaries and the curve of television are taken for those of sRGB, as in images.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import UserError

EXTENSIONS = (
    ".mp4", ".mov", ".mkv", ".avi", ".m4v", ".webm", ".mts", ".m2ts", ".mpg", ".mpeg", ".3gp",
    ".wmv",
)  # fmt: skip
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,asf"
"""Kinds of files that ffmpeg may open; others, such as playlists, name files of their own."""
HIGH_DYNAMIC_RANGE = {"smpte2084": "PQ", "arib-std-b67": "HLG"}
"""Curves of a high dynamic range as ffmpeg calls them."""
HIGH_DEFINITION = 720
"""Rows from which a clip that states no matrix has that of BT.709."""
LARGEST = 2**27
"""Most pixels of a frame."""
EXACT = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
"""Flags of the conversion to RGB, without which it is several levels off."""


@dataclass(frozen=True)
class Clip:
    """What the header of a clip says."""

    path: Path
    frames: int
    seconds: float
    size: tuple[int, int]
    """(H, W), upright."""
    matrix: str
    """Of YCbCr, as the filter ``scale`` of ffmpeg takes it."""

    def drawn(self, count: int) -> list[int]:
        """Frames in the middle of ``count`` equal parts, from 0; all of a shorter clip."""
        count = min(count, self.frames)
        return [(2 * part + 1) * self.frames // (2 * count) for part in range(count)]


def is_clip(path: Path) -> bool:
    """Whether a file has the name of a clip; hidden files have not."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


def find_clips(folder: Path) -> list[Path]:
    """The clips directly in a folder, by name."""
    return [path for path in sorted(folder.iterdir()) if is_clip(path)]


def open_clip(path: Path) -> Clip:
    """Count the frames of a clip without decoding them, and decode the first.

    Raises:
        UserError: It is damaged, empty, too large or of a high dynamic range, or imageio-ffmpeg is
            missing.

    """
    done = _ffmpeg(path, [], ["-c", "copy", "-f", "null", "-progress", "pipe:1", "-nostats", "-"])
    progress = dict(line.partition("=")[::2] for line in done.stdout.decode().split())
    frames, spent = (progress.get(name, "0") for name in ("frame", "out_time_us"))
    if not (frames.isdecimal() and spent.isdecimal() and int(frames) and int(spent)):
        raise UserError(f"{path}: holds no frame of a video")
    stated = _stated(done.stderr.decode(errors="replace"))
    for curve, name in HIGH_DYNAMIC_RANGE.items():
        if curve in stated:
            raise UserError(
                f"{path}: holds values of a high dynamic range ({name}); save it as SDR first"
            )
    seconds = int(spent) / 1e6
    _, height, width = read_frame(Clip(path, int(frames), seconds, (0, 0), "auto"), 0).shape
    of_height = "bt709" if min(height, width) >= HIGH_DEFINITION else "bt601"
    matrix = "auto" if _states_matrix(stated) else of_height
    return Clip(path, int(frames), seconds, (height, width), matrix)


def _stated(said: str) -> str:
    """What ffmpeg says of the values of the first video stream, as ``yuv420p(tv, bt709)``."""
    found = re.search(r"Stream #0:\d+.*?: Video: .*?, (\w+\([^)]*\)|\w+),", said)
    return found[1] if found else ""


def _states_matrix(pixels: str) -> bool:
    """Whether ffmpeg's words on a stream, as ``yuv420p(tv, bt709/unknown/unknown)``, name one."""
    inside = re.search(r"\(([^)]*)", pixels)
    words = [word.strip() for word in inside[1].split(",")] if inside else []
    named = [word.split("/")[0] for word in words if word not in ("tv", "pc", "progressive")]
    return any(re.match(r"bt|smpte|fcc|ycgco|gbr", name) for name in named)


def read_frame(clip: Clip, number: int) -> NDArray[np.uint8]:
    """Decode one frame of a clip.

    Args:
        clip: From ``open_clip``.
        number: Of the frame, from 0; where frames last differently long, one close to it in time.

    Returns:
        (3, H, W), sRGB.

    Raises:
        UserError: It cannot be decoded.

    """
    begin = max(0.0, (number - 0.5) * clip.seconds / clip.frames)  # between it and the one before
    convert = f"scale=in_color_matrix={clip.matrix}:out_range=pc:{EXACT}"
    done = _ffmpeg(
        clip.path,
        ["-ss", f"{begin:.6f}"],
        ["-frames:v", "1", "-vf", convert, "-c:v", "ppm", "-pix_fmt", "rgb24",
         "-f", "image2pipe", "-"],
    )  # fmt: skip
    head = re.match(rb"P6\s(\d+)\s(\d+)\s255\s", done.stdout)
    if head is None:
        raise UserError(f"{clip.path}: frame {number} cannot be decoded")
    width, height = int(head[1]), int(head[2])
    pixels = np.frombuffer(done.stdout, np.uint8, offset=head.end()).reshape(height, width, 3)
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


def draw(clip: Clip, count: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Numbers and images of frames drawn evenly; see ``Clip.drawn``.

    Raises:
        UserError: See ``read_frame``.

    """
    for number in clip.drawn(count):
        yield number, read_frame(clip, number)


def _ffmpeg(path: Path, before: list[str], after: list[str]) -> CompletedProcess[bytes]:
    """Run the ffmpeg of imageio on the first video stream of a file, and on nothing it may name.

    Args:
        path: The file.
        before: Options of the input.
        after: Options of the output, and its name.

    Raises:
        UserError: It fails, or it is missing.

    """
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError as error:
        raise UserError(
            f"{path}: is a video clip, which needs imageio-ffmpeg; install usrdu with its extra: "
            "usrdu[video]"
        ) from error
    safe = ["-protocol_whitelist", "file", "-format_whitelist", CONTAINERS]
    command = [get_ffmpeg_exe(), "-hide_banner", "-nostdin", *safe, "-max_pixels", str(LARGEST)]
    source = ["-i", f"file:{path.absolute()}", "-map", "0:v:0"]
    done = subprocess.run([*command, *before, *source, *after], capture_output=True, check=False)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").replace(f"file:{path.absolute()}", path.name)
        said = [line for line in lines.splitlines() if line.strip()][-1].rpartition("] ")[2]
        raise UserError(f"{path}: cannot be read as a video clip: {said.strip()[:160]}")
    return done
