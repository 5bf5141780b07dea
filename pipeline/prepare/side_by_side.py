"""Data sets in which HR and LR images lie side by side in one folder: RealSR and City100."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from pipeline.base.errors import UserError
from pipeline.base.ids import unique_ids
from pipeline.prepare.enlarged import LrSize, check_enlarged
from pipeline.prepare.folders import Files, Pairs, Side, find_inside, folders_in, places
from pipeline.reading.files import find_images, holds_images, image_size

Part = Literal["Train", "Test"]
SideBySide = Literal["realsr", "realsr-v3", "city100"]
CITY100_TEST = 20
"""Numbers up to this one are for validation, as in DASR (Wei et al., CVPR 2021); City100 itself has
no parts."""


T = TypeVar("T")


class Naming(NamedTuple):
    """How the two files of a pair are called."""

    data_set: str
    pattern: str
    """Of the stem: the name of the pair, then its side, which starts with h or l."""
    hr: str
    """The stem of the HR file, with {} for the name of the pair."""
    lr: str


ANY_HR = r".+_hr"
"""Stems of RealSR's HR images of every scale."""
CITY100 = Naming("City100", r"(\d+)([hl])", "{}H", "{}L")


def realsr(scale: int) -> Naming:
    """The names of RealSR's pairs of one scale."""
    return Naming("RealSR", rf"(.+)_(hr|lr{scale})", "{}_HR", f"{{}}_LR{scale}")


class Wanted(NamedTuple):
    """What is looked for in a data set."""

    preset: SideBySide
    part: Part
    scale: int
    """HR pixels per LR pixel; RealSR has folders for each scale."""
    lr_size: LrSize

    @property
    def fault_of_folder(self) -> str:
        """That a folder holds nothing of it, as the end of a sentence."""
        if self.preset == "city100":
            first, last = CITY100_TEST + 1, CITY100_TEST
            numbers = f"from {first} on" if self.part == "Train" else f"up to {last}"
            return (
                "neither it nor a folder up to two levels deeper holds images NNNH and NNNL of the "
                f"numbers {numbers}, as the folders City100_iPhoneX and City100_NikonD5500 do"
            )
        names = f"NAME_HR.png and NAME_LR{self.scale}.png"
        return (
            f"no folder in it or one level deeper holds {self.part}/{self.scale}/ with {names}, as "
            f"the cameras of RealSR do, nor does it hold {names} itself"
        )


def is_plain(folder: Path, wanted: Wanted) -> bool:
    """Whether a folder holds images, but is none of the data set's.

    LR images alone are a plain folder in RealSR, and the images of a camera in City100.
    """
    if wanted.preset == "city100":
        own = any(_holds(place, CITY100.pattern) for place in places(folder))
    else:
        own = bool(_leaves(folder, wanted)) or _holds(folder, ANY_HR)
    return holds_images(folder) and not own


def _holds(folder: Path, pattern: str) -> bool:
    """Whether the stem of any image in a folder has a pattern."""
    images = find_images(folder) if holds_images(folder) else []
    return any(re.fullmatch(pattern, path.stem, re.IGNORECASE) for path in images)


def find_one_side(folder: Path, side: Side, wanted: Wanted) -> Files:
    """The HR or the LR images of a part, unpaired.

    LR images of City100 need no HR images beside them.

    Raises:
        UserError: There are none, or the sizes of pairs are not what ``lr_size`` says.

    """
    if wanted.preset != "city100":
        return {i: pair[side == "lr"] for i, pair in _realsr(folder, wanted).items()}
    hr, lr = _of_part(folder, wanted)
    _check_sizes({name: (hr[name], lr[name]) for name in hr if name in lr}, wanted)
    if not (found := hr if side == "hr" else lr):
        raise UserError(f"{folder}: {wanted.fault_of_folder}")
    return _with_ids(found)


def find_pairs_side_by_side(folder: Path, wanted: Wanted) -> Pairs:
    """The pairs of a part.

    Raises:
        UserError: There are none, an image has no partner, or the sizes of pairs are not what
            ``lr_size`` says.

    """
    if wanted.preset != "city100":
        return _realsr(folder, wanted)
    return _with_ids(_matched(*_of_part(folder, wanted), CITY100, wanted))


def _with_ids(named: Mapping[str, T]) -> dict[str, T]:
    return dict(zip(unique_ids([f"{name}.png" for name in named]), named.values(), strict=True))


# RealSR


def _realsr(folder: Path, wanted: Wanted) -> Pairs:
    """Pairs of all cameras: ``CAMERA/PART/SCALE/NAME_HR.png`` and ``NAME_LR4.png``.

    Where no folder is laid out so, images may lie in the folder itself, or in a folder per camera.
    """
    naming = realsr(wanted.scale)
    named: dict[str, tuple[Path, Path]] = {}
    for camera, leaf in (_leaves(folder, wanted) or _flat(folder)).items():
        device = camera.absolute().name
        for name, pair in _matched(*_by_side(leaf, naming), naming, wanted).items():
            own = name.casefold().startswith(device.casefold()) or leaf == folder
            named[str(camera / (name if own else f"{device}_{name}"))] = pair
    if not named:
        raise UserError(f"{folder}: {wanted.fault_of_folder}")
    return _with_ids(named)


def _leaves(folder: Path, wanted: Wanted) -> dict[Path, Path]:
    """The folders ``CAMERA/PART/SCALE``, by ``CAMERA``."""
    parts = {camera: find_inside(camera, wanted.part) for camera in places(folder)}
    leaves = {c: find_inside(p, str(wanted.scale)) for c, p in parts.items() if p is not None}
    return {camera: leaf for camera, leaf in leaves.items() if leaf is not None}


def _flat(folder: Path) -> dict[Path, Path]:
    """The folder itself or the folders in it that hold images named as those of RealSR.

    A folder that is called as a scale belongs to a part, which is not to be mixed with another.
    """
    inside = [path for path in folders_in(folder) if not path.name.isdigit()]
    for candidates in ([folder], inside):
        if found := {path: path for path in candidates if _holds(path, ANY_HR)}:
            return found
    return {}


# City100


def _of_part(folder: Path, wanted: Wanted) -> tuple[Files, Files]:
    """HR and LR files of a part by number, of one camera.

    Raises:
        UserError: There are none, or those of several cameras.

    """
    found = [path for path in places(folder) if _holds(path, CITY100.pattern)]
    if len(found) > 1:
        raise UserError(
            f"{folder}: holds the images of several cameras, in {found[0]} and {found[1]}; name "
            "the folder of one of them"
        )
    sides: tuple[Files, Files] = _by_side(found[0], CITY100) if found else ({}, {})
    training = wanted.part == "Train"
    hr, lr = (
        {name: path for name, path in side.items() if (int(name) > CITY100_TEST) == training}
        for side in sides
    )
    if not hr and not lr:
        raise UserError(f"{folder}: {wanted.fault_of_folder}")
    return hr, lr


# Both


def _parsed(path: Path, naming: Naming) -> tuple[str, Side] | None:
    """The name of the pair of a file, and its side."""
    match = re.fullmatch(naming.pattern, path.stem, re.IGNORECASE)
    return (match[1], "hr" if match[2].lower().startswith("h") else "lr") if match else None


def _by_side(folder: Path, naming: Naming) -> tuple[Files, Files]:
    """HR and LR files of a folder, by the name of the pair.

    Raises:
        UserError: An image is called otherwise, or as another one in another format.

    """
    sides: dict[Side, Files] = {"hr": {}, "lr": {}}
    for path in find_images(folder):
        if (parsed := _parsed(path, naming)) is None:
            called = " or ".join(stem.format("NAME") for stem in (naming.hr, naming.lr))
            raise UserError(
                f"{path}: is not called {called}, as all images of {naming.data_set} are"
            )
        name, side = parsed
        if name in sides[side]:
            raise UserError(f"{path}: there is also {sides[side][name].name}; remove one")
        sides[side][name] = path
    return sides["hr"], sides["lr"]


def _matched(hr: Files, lr: Files, naming: Naming, wanted: Wanted) -> Pairs:
    """Pairs by name; sizes are checked."""
    for one, other, partner in ((hr, lr, naming.lr), (lr, hr, naming.hr)):
        for name in sorted(one.keys() - other.keys()):
            place = one[name].parent
            raise UserError(f"{one[name]}: has no partner {partner.format(name)} in {place}")
    pairs = {name: (hr[name], lr[name]) for name in hr}
    _check_sizes(pairs, wanted)
    return pairs


def _check_sizes(pairs: Pairs, wanted: Wanted) -> None:
    """Check pairs by the headers of their files; what cannot be read is left to the decoder."""
    for hr, lr in pairs.values():
        sizes = image_size(hr), image_size(lr)
        if None not in sizes:
            check_enlarged(hr, lr, sizes[0] == sizes[1], wanted.lr_size == "enlarged")
