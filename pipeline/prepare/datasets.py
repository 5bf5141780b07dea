"""Finds the image files of data sets, under every published name; nothing is decoded here.

A plain folder holds images, or folders ``hr`` and ``lr`` with pairs of the same name.  With a
preset a folder may also be the root of an unpacked data set; its folders are looked for in the
root and one level deeper.  Upper and lower case of folder names are equal.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pipeline.base.errors import UserError
from pipeline.base.ids import unique_ids
from pipeline.reading.files import find_images, holds_images, image_size

Preset = Literal["none", "ntire2020-track1", "ntire2020-track2", "realsr-v3"]
Side = Literal["hr", "lr"]
Part = Literal["Train", "Test"]
SIDES: tuple[Side, Side] = ("hr", "lr")

Files = dict[str, Path]
"""Image files by id, in order."""
Pairs = dict[str, tuple[Path, Path]]
"""HR and LR files by id, in order."""

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

REALSR_WHY = "in versions 1 and 2 of RealSR LR has the size of HR, so there is no scale to learn"


def find_files(folder: Path, side: Side, preset: Preset, scale: int) -> Files:
    """The sharp HR images or the real LR images for training, unpaired.

    Args:
        folder: The images themselves, or the root of the preset's data set.
        side: HR or LR.
        preset: The data set.
        scale: HR pixels per LR pixel; RealSR has folders for each scale.

    Raises:
        UserError: The folder is missing or empty, lacks a folder of the preset, or names collide.

    """
    if preset == "none":
        return _by_id(find_images(folder))
    if preset == "realsr-v3":
        if not _leaves(folder, "Train", scale) and _is_plain_folder(folder):
            return _by_id(find_images(folder))
        return {i: pair[side == "lr"] for i, pair in _realsr(folder, "Train", scale).items()}
    names = NAMES[preset][side]
    return _by_id(_named(folder, names) or _plain_or_missing(folder, names))


def find_pairs(folder: Path, preset: Preset, scale: int) -> Pairs:
    """Pairs for a supervised training; no pairs if the folder holds neither folders nor images.

    Raises:
        UserError: The folder is missing or has no pairs, an image has no partner, names collide.

    """
    if _is_bare(folder):
        return {}
    if preset == "realsr-v3" and not _is_plain_pairs(folder):
        return _realsr(folder, "Train", scale)
    hr, lr = (_require_inside(folder, side) for side in SIDES)
    return _matched(find_images(hr), find_images(lr))


def find_val(folder: Path, preset: Preset, scale: int) -> tuple[Pairs, Files]:
    """Pairs for validation, or real LR images without references.

    Returns:
        Pairs, and LR images without an HR image.  One of the two is empty; both are if the folder
        holds neither folders nor images.

    Raises:
        UserError: See ``find_pairs``.

    """
    if _is_bare(folder):
        return {}, {}
    if preset == "none" or _is_plain_pairs(folder):
        lr = _require_inside(folder, "lr")
        if (hr := _inside(folder, "hr")) is None:
            return {}, _by_id(find_images(lr))
        return _matched(find_images(hr), find_images(lr)), {}
    if preset == "realsr-v3":
        return _realsr(folder, "Test", scale), {}
    inputs = NAMES[preset]["val lr"]
    lr_files = _named(folder, inputs) or _plain_or_missing(folder, inputs)
    if (references := NAMES[preset].get("val hr")) is None:
        return {}, _by_id(lr_files)
    if not (hr_files := _named(folder, references)):
        raise _missing(folder, references)
    return _matched(hr_files, lr_files), {}


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


def _folders(folder: Path) -> list[Path]:
    """Folders in a folder, by name, hidden ones left out.

    Raises:
        UserError: There is no such folder.

    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    return [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")]


def _inside(folder: Path, name: str) -> Path | None:
    """The folder of that name in a folder."""
    found = [path for path in _folders(folder) if path.name.casefold() == name.casefold()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise UserError(f"{folder}: holds the folders {names}, which differ in case only")
    return found[0] if found else None


def _require_inside(folder: Path, name: str) -> Path:
    if (found := _inside(folder, name)) is None:
        raise UserError(
            f"{folder / name}: there is no such folder; pairs lie in folders hr and lr, and an "
            "empty folder means that there are no pairs"
        )
    return found


def _is_bare(folder: Path) -> bool:
    """Whether a folder holds neither folders nor images."""
    return not _folders(folder) and not holds_images(folder)


def _is_plain_pairs(folder: Path) -> bool:
    return any(_inside(folder, side) is not None for side in SIDES)


def _is_plain_folder(folder: Path) -> bool:
    """Whether a folder itself holds images, other than RealSR's HR and LR images together."""
    if not holds_images(folder):
        return False
    return not any(path.stem.casefold().endswith("_hr") for path in find_images(folder))


def _places(folder: Path) -> list[Path]:
    """A folder, the folders in it, and those in them."""
    inside = _folders(folder)
    return [folder, *inside, *(deep for each in inside for deep in _folders(each))]


def _named(folder: Path, names: Sequence[str]) -> list[Path]:
    """Images of the first named folder that has any; it is in ``folder`` or one level deeper."""
    places = _places(folder)
    for name in names:
        for place in places:
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


def _realsr(folder: Path, part: Part, scale: int) -> Pairs:
    """Pairs of all cameras in RealSR version 3: ``CAMERA/PART/SCALE/NAME_HR.png``, ``_LR4.png``."""
    named: dict[str, tuple[Path, Path]] = {}
    for camera, leaf in _leaves(folder, part, scale).items():
        device = camera.absolute().name
        for name, pair in _realsr_pairs(leaf, scale).items():
            own = name.casefold().startswith(device.casefold())
            named[str(camera / (f"{name}.png" if own else f"{device}_{name}.png"))] = pair
    if not named:
        raise UserError(
            f"{folder}: no folder in it or one level deeper holds {part}/{scale}/NAME_HR.png and "
            f"NAME_LR{scale}.png, as the cameras of RealSR version 3 do; {REALSR_WHY}"
        )
    return dict(zip(unique_ids(list(named)), named.values(), strict=True))


def _leaves(folder: Path, part: Part, scale: int) -> dict[Path, Path]:
    """The folders ``CAMERA/PART/SCALE``, by ``CAMERA``."""
    parts = {camera: _inside(camera, part) for camera in _places(folder)}
    leaves = {c: _inside(inner, str(scale)) for c, inner in parts.items() if inner is not None}
    return {camera: leaf for camera, leaf in leaves.items() if leaf is not None}


def _realsr_pairs(leaf: Path, scale: int) -> Pairs:
    """Pairs in one folder of RealSR, by NAME; HR and LR must have different sizes."""
    sides: dict[str, Files] = {"hr": {}, f"lr{scale}": {}}
    for path in find_images(leaf):
        match = re.fullmatch(rf"(.+)_(hr|lr{scale})", path.stem, re.IGNORECASE)
        if match is None:
            raise UserError(
                f"{path}: is not called NAME_HR or NAME_LR{scale}, as all images of RealSR version "
                f"3 are; {REALSR_WHY}"
            )
        sides[match[2].lower()][match[1]] = path
    hr, lr = sides.values()
    for one, other, suffix in ((hr, lr, f"LR{scale}"), (lr, hr, "HR")):
        for name in sorted(one.keys() - other.keys()):
            raise UserError(f"{one[name]}: has no partner {name}_{suffix} in {leaf}")
    for name in hr:
        size = image_size(lr[name])
        if size is not None and size == image_size(hr[name]):
            raise UserError(f"{lr[name]}: has the size of {hr[name].name}; {REALSR_WHY}")
    return {name: (hr[name], lr[name]) for name in hr}
