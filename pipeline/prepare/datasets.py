"""Finds the image files of data sets, under every published name; nothing is decoded here.

A plain folder holds images, or folders ``hr`` and ``lr`` with pairs of the same name.  With a
preset a folder may also be the root of an unpacked data set; its folders are looked for in the
root and one level deeper.  Upper and lower case of folder names are equal.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pipeline.base.errors import UserError
from pipeline.base.ids import unique_ids
from pipeline.prepare.enlarged import LrSize
from pipeline.prepare.folders import Files, Pairs, Side, find_inside, is_bare, places
from pipeline.prepare.side_by_side import (
    Part,
    SideBySide,
    Wanted,
    find_one_side,
    find_pairs_side_by_side,
    is_plain,
)
from pipeline.reading.files import find_images, holds_images

Preset = Literal["none", "ntire2020-track1", "ntire2020-track2", SideBySide]
SIDES: tuple[Side, Side] = ("hr", "lr")

NAMES: Mapping[Preset, Mapping[str, Sequence[str]]] = {
    "ntire2020-track1": {
        "hr": ("Corrupted-tr-y", "train-target", "corrupted_train_y"),
        "lr": ("Corrupted-tr-x", "track1-train-source", "corrupted_train_x"),
        "val hr": ("Corrupted-va-y", "track1-valid-gt", "corrupted_valid_y"),
        "val lr": ("Corrupted-va-x", "track1-valid-input", "corrupted_valid_x"),
    },
    "ntire2020-track2": {
        # the target images are those of Track 1 and may have its names
        "hr": (
            "DPEDiphone-tr-y",
            "train-target",
            "DPEDiphone_train_y",
            "Corrupted-tr-y",
            "corrupted_train_y",
        ),
        "lr": ("DPEDiphone-tr-x", "track2-train-source", "DPEDiphone_train_x"),
        "val lr": (
            "DPEDiphone-crop-te-x",
            "track2-test-input",
            "DPEDiphone_crop_test_x",
            "DPEDiphone-va",
            "track2-valid-input",
        ),
    },
}
"""Folders of the NTIRE 2020 challenge in its three namings; the first that exists is used."""


def find_files(
    folder: Path, side: Side, preset: Preset, scale: int, lr_size: LrSize = "native"
) -> Files:
    """The sharp HR images or the real LR images for training, unpaired.

    Args:
        folder: The images themselves, or the root of the preset's data set.
        side: HR or LR.
        preset: The data set.
        scale: HR pixels per LR pixel; RealSR has folders for each scale.
        lr_size: Size of the LR images of RealSR and City100; see ``enlarged``.

    Raises:
        UserError: The folder is missing or empty, lacks a folder of the preset, names collide, or
            LR images have another size.

    """
    if preset == "none":
        return _by_id(find_images(folder))
    if wanted := _side_by_side(preset, "Train", scale, lr_size):
        if is_plain(folder, wanted):
            return _by_id(find_images(folder))
        return find_one_side(folder, side, wanted)
    names = NAMES[preset][side]
    return _by_id(_named(folder, names) or _plain_or_missing(folder, names))


def find_pairs(folder: Path, preset: Preset, scale: int, lr_size: LrSize = "native") -> Pairs:
    """Pairs for a supervised training; no pairs if the folder holds neither folders nor images.

    Raises:
        UserError: The folder is missing or has no pairs, an image has no partner, names collide,
            or LR images have another size.

    """
    if is_bare(folder):
        return {}
    wanted = _side_by_side(preset, "Train", scale, lr_size)
    if wanted and not _is_plain_pairs(folder):
        return find_pairs_side_by_side(folder, wanted)
    hr, lr = (_require_inside(folder, side) for side in SIDES)
    return _matched(find_images(hr), find_images(lr))


def find_val(
    folder: Path, preset: Preset, scale: int, lr_size: LrSize = "native"
) -> tuple[Pairs, Files]:
    """Pairs for validation, or real LR images without references.

    Returns:
        Pairs, and LR images without an HR image.  One of the two is empty; both are if the folder
        holds neither folders nor images.

    Raises:
        UserError: See ``find_pairs``.

    """
    if is_bare(folder):
        return {}, {}
    if preset == "none" or _is_plain_pairs(folder):
        lr = _require_inside(folder, "lr")
        if (hr := find_inside(folder, "hr")) is None:
            return {}, _by_id(find_images(lr))
        return _matched(find_images(hr), find_images(lr)), {}
    if wanted := _side_by_side(preset, "Test", scale, lr_size):
        return find_pairs_side_by_side(folder, wanted), {}
    inputs = NAMES[preset]["val lr"]
    lr_files = _named(folder, inputs) or _plain_or_missing(folder, inputs)
    if (references := NAMES[preset].get("val hr")) is None:
        return {}, _by_id(lr_files)
    if not (hr_files := _named(folder, references)):
        raise _missing(folder, references)
    return _matched(hr_files, lr_files), {}


def _side_by_side(preset: Preset, part: Part, scale: int, lr_size: LrSize) -> Wanted | None:
    """What is looked for in a data set whose images lie side by side; None for others."""
    if preset == "realsr" or preset == "realsr-v3" or preset == "city100":
        return Wanted(preset, part, scale, lr_size)
    return None


def _by_id(paths: Sequence[Path]) -> Files:
    return dict(zip(unique_ids([path.name for path in paths]), paths, strict=True))


def _matched(hr_paths: Sequence[Path], lr_paths: Sequence[Path]) -> Pairs:
    """Pairs of the same name, in any formats."""
    unique_ids([str(path) for path in hr_paths])
    unique_ids([str(path) for path in lr_paths])
    hr, lr = ({path.stem: path for path in paths} for paths in (hr_paths, lr_paths))
    for one, other in ((hr, lr), (lr, hr)):
        for stem in sorted(one.keys() - other.keys()):
            folder = next(iter(other.values())).parent
            raise UserError(f"{one[stem]}: has no partner of the same name in {folder}")
    ids = unique_ids([hr[stem].name for stem in sorted(hr)])
    return {i: (hr[stem], lr[stem]) for i, stem in zip(ids, sorted(hr), strict=True)}


def _require_inside(folder: Path, name: str) -> Path:
    if (found := find_inside(folder, name)) is None:
        raise UserError(
            f"{folder / name}: there is no such folder; pairs lie in folders hr and lr, and an "
            "empty folder means that there are no pairs"
        )
    return found


def _is_plain_pairs(folder: Path) -> bool:
    return any(find_inside(folder, side) is not None for side in SIDES)


def _named(folder: Path, names: Sequence[str]) -> list[Path]:
    """Images of the first named folder that has any; it is in ``folder`` or one level deeper."""
    looked_in = places(folder)
    for name in names:
        for place in looked_in:
            if place.absolute().name.casefold() == name.casefold() and holds_images(place):
                return find_images(place)
    return []


def _plain_or_missing(folder: Path, names: Sequence[str]) -> list[Path]:
    """Images in a folder itself, for which no named folder with images was found."""
    if not holds_images(folder):
        raise _missing(folder, names)
    return find_images(folder)


def _missing(folder: Path, names: Sequence[str]) -> UserError:
    return UserError(
        f"{folder}: no folder called {' or '.join(names)} with images was found in it, one level "
        "deeper, or as the folder itself"
    )
