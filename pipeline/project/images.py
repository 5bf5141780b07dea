"""A look at somebody's folders: how many images, how large, of which kinds, and what is odd."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pipeline.base.errors import UserError, listed
from pipeline.camera_files.clips import draw, open_clip
from pipeline.prepare.datasets import find_pairs, find_val
from pipeline.prepare.folders import Pairs, is_bare
from pipeline.prepare.prepare import PrepareSettings
from pipeline.reading.files import find_images, holds_images, image_size, read_image
from pipeline.reading.formats import passed_over

FEW = 8
"""Images below which the camera's passport is doubtful."""
DECODED = 3
"""Images that are decoded, to see how long it takes."""
SCALES = (2, 3, 4)

Sizes = dict[Path, tuple[int, int]]
"""(H, W) by file."""


@dataclass(frozen=True)
class Pile:
    """A folder of images."""

    folder: Path
    sizes: Sizes
    """Those of the images whose headers can be read."""
    seconds: float
    """To decode one of them, or to draw the frames of a clip."""
    remarks: tuple[str, ...]
    """What is odd, a sentence each."""

    @property
    def megapixels(self) -> float:
        """Median of the images."""
        return median(height * width for height, width in self.sizes.values()) / 1e6

    @property
    def kinds(self) -> str:
        """Extensions with their numbers, the most frequent first."""
        counted = Counter(path.suffix.lower() for path in self.sizes)
        return ", ".join(f"{count} {kind}" for kind, count in counted.most_common())

    @property
    def extent(self) -> str:
        """The smallest and the largest size."""
        ordered = sorted(self.sizes.values(), key=lambda size: size[0] * size[1])
        texts = dict.fromkeys(f"{width}x{height}" for height, width in (ordered[0], ordered[-1]))
        return " to ".join(texts)


def look_at(folder: Path, clips: Sequence[Path] = ()) -> Pile:
    """Read the headers of a folder's images, and decode a few.

    Args:
        folder: The folder.
        clips: Video clips in it that count as images; there may be no others then.

    Raises:
        UserError: The folder does not exist, or none of its files can be read.

    """
    files = find_images(folder) if not clips or holds_images(folder) else []
    sizes = {path: size for path in files if (size := image_size(path))}
    remarks = []
    if clips:
        sizes |= {path: open_clip(path).size for path in clips}
        remarks.append(f"{folder}: {len(clips)} video clips; frames of them are LR images")
    if not sizes:
        raise UserError(f"{folder}: none of its {len(files)} images can be read")
    if damaged := [path.name for path in files if path not in sizes]:
        remarks.append(f"{folder}: {len(damaged)} files cannot be read: {listed(damaged, 5)}")
    if others := passed_over(folder, clips):
        remarks.append(f"{folder}: {others}")
    if len(sizes) < FEW and not clips:
        remarks.append(f"{folder}: {len(sizes)} images are few to tell a camera from; 40 are good")
    chosen = list(sizes)[:: max(1, len(sizes) // DECODED)][:DECODED]
    begin = time.perf_counter()
    for path in chosen:
        if path in clips:
            sum(1 for _ in draw(open_clip(path), PrepareSettings().frames_per_clip))
        else:
            read_image(path)
    return Pile(folder, sizes, (time.perf_counter() - begin) / len(chosen), tuple(remarks))


def between(hr: Pile, lr: Pile) -> list[str]:
    """What is odd about two folders together."""
    if hr.folder.resolve() == lr.folder.resolve():
        return ["HR and LR are the same folder; LR images show what the camera does to sharp ones"]
    if lr.megapixels > 1.5 * hr.megapixels:
        return [
            f"the LR images are larger ({lr.megapixels:.2g} megapixels) than the HR images "
            f"({hr.megapixels:.2g}): were the folders exchanged?"
        ]
    return []


def scale_of_pairs(folders: Iterable[Path]) -> int | None:
    """HR pixels per LR pixel of folders of pairs; None if they hold none, or LR has HR's size.

    Raises:
        UserError: A folder has no pairs, an image has no partner or cannot be read, or the sizes
            of a pair do not fit a scale of 2, 3 or 4 or that of the others.

    """
    found: dict[int, Path] = {}
    for folder in folders:
        for hr, lr in _pairs(folder).values():
            scale = _ratio(hr, lr)
            found.setdefault(scale, lr)
    if len(found) > 1:
        named = ", ".join(f"{path} at the scale {scale}" for scale, path in sorted(found.items()))
        raise UserError(f"pairs have several scales: {named}")
    return next((scale for scale in found if scale > 1), None)


def enlarged(folders: Iterable[Path]) -> bool:
    """Whether the LR images of pairs have the size of HR images."""
    return any(_ratio(hr, lr) == 1 for folder in folders for hr, lr in _pairs(folder).values())


def _pairs(folder: Path) -> Pairs:
    """Pairs of a folder for validation or for a training; LR images alone are none."""
    if is_bare(folder):
        return {}
    if (folder / "hr").is_dir():
        return find_pairs(folder, "none", 4)
    pairs, _ = find_val(folder, "none", 4)
    return pairs


def _ratio(hr: Path, lr: Path) -> int:
    large, small = (_size(path) for path in (hr, lr))
    for scale in (1, *SCALES):
        if (large[0] // scale, large[1] // scale) == small:
            return scale
    raise UserError(
        f"{hr} is {large[1]}x{large[0]} and {lr} is {small[1]}x{small[0]}: HR must be 2, 3 or 4 "
        "times LR, or as large"
    )


def _size(path: Path) -> tuple[int, int]:
    size = image_size(path)
    if size is None:
        raise UserError(f"{path}: cannot be read as an image")
    return size


def sides(pile: Pile) -> Mapping[Path, int]:
    """Sides of the largest squares in the images, in pixels."""
    return {path: min(size) for path, size in pile.sizes.items()}
