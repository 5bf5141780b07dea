"""Images that are too small for the crops of the trainings: named all at once, or left out."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from pipeline.base.errors import UserError, listed
from pipeline.reading.files import image_size

NAMED = 100
"""Most images that a message names."""

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Crops:
    """Sides of the crops of the trainings in LR pixels; 0 where none are cut."""

    hr: int = 0
    """Of HR images."""
    lr: int = 0
    """Of real LR images, without their held-out quarter."""
    pairs: int = 0
    """Of pairs."""


NO_CROPS = Crops()


def crops_of(content: Mapping[str, object], scale: int) -> Crops:
    """The crops that the sections ``train_dsn`` and ``train_srn`` of a params file ask for.

    They change no result of the preparation, which refuses small images and does nothing else with
    them, so that no crop runs it again.  A section that is missing asks for none.
    """
    dsn, srn = (content.get(name) for name in ("train_dsn", "train_srn"))
    of_dsn = _count(dsn, "hr_patch") // scale if _count(dsn, "epochs") else 0
    of_srn = _count(srn, "lr_patch")
    on_pairs = isinstance(srn, Mapping) and srn.get("lr_from") == "pairs"
    return Crops(max(of_dsn, 0 if on_pairs else of_srn), of_dsn, of_srn if on_pairs else 0)


def _count(section: object, key: str) -> int:
    found = section.get(key) if isinstance(section, Mapping) else None
    return found if isinstance(found, int) else 0


class Small(NamedTuple):
    """An image that is too small."""

    path: Path
    size: tuple[int, int]
    side: int
    """Side of the largest crop that it holds, in LR pixels."""
    needed: int
    """Side of the crops, in LR pixels."""


@dataclass
class Sieve:
    """Leaves out small images, and collects those that stay although they are too small."""

    least_side: int
    """Images that hold no crop of this side are left out, in LR pixels."""
    small: list[Small] = field(default_factory=list)
    """Images that stay and hold no crop of the trainings."""

    def __call__(
        self,
        images: Mapping[str, T],
        path: Callable[[T], Path],
        side: Callable[[int, int], int],
        needed: int,
    ) -> dict[str, T]:
        """The images that are not left out.

        Args:
            images: Images by id.
            path: The file of an image whose size counts.
            side: From H, W to the side of the largest crop, in LR pixels.
            needed: Side of the crops of the trainings, in LR pixels.

        Raises:
            UserError: All are left out.

        """
        kept: dict[str, T] = {}
        out: list[str] = []
        for image_id, image in images.items():
            file = path(image)
            size = image_size(file)  # None: the decoder will say what is wrong
            found = None if size is None else Small(file, size, side(*size), needed)
            if found is not None and found.side < self.least_side:
                out.append(f"{file} ({found.size[0]}x{found.size[1]})")
                continue
            kept[image_id] = image
            if found is not None and found.side < needed:
                self.small.append(found)
        if out:
            rule = f"they hold no crop of prepare.least_side, {self.least_side} LR pixels"
            if not kept:
                raise UserError(
                    f"all {len(out)} images are left out, as {rule}: {listed(out, NAMED)}"
                )
            log.warning("%s left out, as %s: %s", _counted(out), rule, listed(out, NAMED))
        return kept

    def require_all_large(self) -> None:
        """Check that every image that stays holds a crop.

        Raises:
            UserError: Some do not; all are named.

        """
        if not self.small:
            return
        named = [
            f"{one.path} ({one.size[0]}x{one.size[1]}) holds one of {one.side}, not {one.needed}"
            for one in self.small
        ]
        raise UserError(
            f"{_counted(named)} smaller than the crops of the trainings, in LR pixels: "
            f"{listed(named, NAMED)}; prepare.least_side: {max(one.needed for one in self.small)} "
            "leaves them out, or lower train_srn.lr_patch and train_dsn.hr_patch"
        )


def _counted(names: Sequence[str]) -> str:
    return "1 image is" if len(names) == 1 else f"{len(names)} images are"
