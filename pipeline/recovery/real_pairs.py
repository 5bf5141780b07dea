"""Pairs of a real camera laid out for recovery: unpaired halves, and pairs for two ends.

What the method gets holds no pair: HR images, and real LR images of other scenes.  The pairs of
these HR images are for the supervised training, further pairs for the validation.
"""

from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile

from pipeline.base.errors import UserError
from pipeline.base.files import make_folder
from pipeline.prepare.datasets import find_files, find_pairs
from pipeline.prepare.folders import Files, Pairs


def unpair(folder: Path, out: Path) -> dict[str, float]:
    """Copy the images of a real camera into ``hr/``, ``lr/``, ``pairs/`` and ``val/``.

    With a folder ``lr`` of further real LR images every pair gives its HR image, and that folder
    the LR images.  Without it the first half of the pairs, by name, gives HR images, and the second
    half LR images.

    Args:
        folder: Holds ``pairs`` and ``val``, each with pairs in ``hr`` and ``lr``, and maybe ``lr``.
        out: Folder to write to; it must be empty or new.

    Returns:
        Metrics: the numbers of images, by the names of ``write_demo``.

    Raises:
        UserError: A folder is missing or has too few images, a pair is no pair, or ``out`` is not
            empty.

    """
    pairs, val = (_pairs(folder / name) for name in ("pairs", "val"))
    if (folder / "lr").is_dir():
        lr = find_files(folder / "lr", "lr", "none", scale=1)
    else:
        if len(pairs) < 2:
            raise UserError(f"{folder / 'pairs'}: one pair cannot be halved; add a folder lr")
        names = list(pairs)
        first, second = names[: len(names) // 2], names[len(names) // 2 :]
        lr = {name: pairs[name][1] for name in second}
        pairs = {name: pairs[name] for name in first}
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out}: is not empty; name a new folder")
    _copy(_side(pairs, 0), out / "hr")
    _copy(lr, out / "lr")
    for name, kept in (("pairs", pairs), ("val", val)):
        for index, side in enumerate(("hr", "lr")):
            _copy(_side(kept, index), out / name / side)
    return {
        "hr_images": len(pairs),
        "lr_images": len(lr),
        "val_pairs": len(val),
        "train_pairs": len(pairs),
    }


def _pairs(folder: Path) -> Pairs:
    """The pairs in a folder, of which there must be some."""
    if not (found := find_pairs(folder, "none", scale=1)):
        raise UserError(f"{folder}: holds no pairs, which lie in folders hr and lr")
    return found


def _side(pairs: Pairs, index: int) -> Files:
    return {name: pair[index] for name, pair in pairs.items()}


def _copy(files: Mapping[str, Path], target: Path) -> None:
    make_folder(target)
    for name, path in files.items():
        copyfile(path, target / f"{name}{path.suffix.lower()}")
