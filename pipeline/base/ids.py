"""Ids of images, made from the names of their files; an id is also the name of a folder."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from pipeline.base.errors import UserError

LONGEST_ID = 200
"""Most characters of an id; file systems allow about 255, and prefixes are added."""
HASH_DIGITS = 10
"""Hexadecimal digits that tell names apart whose letters an id cannot hold."""


def safe_id(name: str) -> str:
    """Make an image id from a file name: the stem, letters, digits, ``.``, ``-`` and ``_`` only.

    Names beyond ASCII end in a hash of the whole name, as all their letters become ``_``.
    """
    stem = unicodedata.normalize("NFKC", Path(name).stem)
    made = re.sub(r"[^\w.-]|^\.+", "_", stem, flags=re.ASCII) or "_"
    if made.startswith("__") or made == "zarr.json":  # Zarr's own names
        made = f"x{made}"
    if stem.isascii():
        return made[:LONGEST_ID]
    digits = hashlib.sha256(stem.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_DIGITS]
    return f"{made[: LONGEST_ID - HASH_DIGITS - 1]}-{digits}"


def unique_ids(names: Sequence[str]) -> list[str]:
    """Ids for file names, in order.

    Raises:
        UserError: Two names give the same id, also where they differ in case only.

    """
    taken: dict[str, str] = {}
    ids = []
    for name in names:
        image_id = safe_id(name)
        if other := taken.get(image_id.casefold()):
            raise UserError(f"{other} and {name} would both be called '{image_id}'; rename one")
        taken[image_id.casefold()] = name
        ids.append(image_id)
    return ids


def is_safe_id(name: object) -> bool:
    """Whether ``safe_id`` could have returned it; such an id cannot leave its folder."""
    if not isinstance(name, str) or name.startswith(("__", ".")) or name == "zarr.json":
        return False
    return re.fullmatch(r"[\w.-]{1,220}", name, flags=re.ASCII) is not None
