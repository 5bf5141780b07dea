"""The photographs that a simulated camera sees: those of scikit-image, or a user's, by purpose."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib.resources import as_file, files
from pathlib import Path
from typing import NamedTuple

from pipeline.base.errors import UserError
from pipeline.base.ids import unique_ids
from pipeline.images.io import Image, crop_to_multiple
from pipeline.reading.files import find_images, read_image, warn_of_others

HR = (
    "astronaut.png",
    "gravel.png",
    "grass.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "rocket.jpg",
)
"""Sharp images the DSN and the SRN are trained on."""
LR = (
    "brick.png",
    "camera.png",
    "coins.png",
    "color.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "retina.jpg",
)
"""Photographs of which the training gets only the LR images of the camera."""
VAL = ("chelsea.png", "coffee.png")
"""Validation: pairs of an HR image and its LR image by the camera."""


def photograph(name: str, scale: int) -> Image:
    """Read a photograph of scikit-image, cropped to a multiple of the scale.

    Args:
        name: A file name of HR, LR or VAL.
        scale: HR pixels per LR pixel.

    Returns:
        (3, H, W), uint8; a grey photograph has three equal channels.

    """
    with as_file(files("skimage.data") / name) as path:
        return crop_to_multiple(path, read_image(path), scale)


@dataclass(frozen=True)
class PhotographFolders:
    """Folders of photographs; None: those of scikit-image."""

    hr: Path | None = None
    """Sharp images that the DSN and the SRN are trained on."""
    scenes: Path | None = None
    """Photographs of which the training gets only the LR images of the camera."""
    val: Path | None = None
    """Validation: photographs that become pairs."""

    def named(self) -> Iterator[tuple[str, Path | None]]:
        """The folders by name."""
        yield from (("hr", self.hr), ("scenes", self.scenes), ("val", self.val))


class Photograph(NamedTuple):
    """One photograph."""

    stem: str
    """Name of its files, without a suffix."""
    purpose: str
    """Names its noise, see ``seeding.generator``."""
    read: Callable[[], Image]
    """Decodes it: (3, H, W), cropped to a multiple of the scale."""


def shipped(names: Sequence[str], scale: int) -> list[Photograph]:
    """Photographs of scikit-image by their file names."""
    return [Photograph(Path(name).stem, name, partial(photograph, name, scale)) for name in names]


def in_folder(folder: Path, side: str, scale: int) -> list[Photograph]:
    """The photographs in a folder, by name.

    Args:
        folder: The folder.
        side: ``hr``, ``scenes`` or ``val``; photographs of one name in two folders have noise of
            their own.
        scale: HR pixels per LR pixel.

    Raises:
        UserError: The folder is missing or holds no image, or two names give the same id.

    """
    paths = find_images(folder)
    warn_of_others(paths)
    ids = unique_ids([path.name for path in paths])
    return [
        Photograph(image_id, f"{side}/{path.name}", partial(_cropped, path, scale))
        for image_id, path in zip(ids, paths, strict=True)
    ]


def placeholder(folder: Path) -> bool:
    """Whether a folder holds nothing but a README: it stands for the photographs of scikit-image.

    Raises:
        UserError: There is no such folder.

    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    return all(path.name == "README.md" or path.name[0] == "." for path in folder.iterdir())


def require_disjoint(folders: PhotographFolders) -> None:
    """Check that no file is in two of the folders, under any name.

    Raises:
        UserError: A file is; the message names both paths.

    """
    seen: dict[str, tuple[str, Path]] = {}
    for name, folder in folders.named():
        for path in find_images(folder) if folder else ():
            digest = sha256(path.read_bytes()).hexdigest()
            other, first = seen.setdefault(digest, (name, path))
            if other != name:
                raise UserError(
                    f"{path}: is the same photograph as {first}; HR images, scenes and validation "
                    "photographs must differ"
                )


def _cropped(path: Path, scale: int) -> Image:
    return crop_to_multiple(path, read_image(path), scale)
