"""What is wrong with two piles of images, each by itself and the one beside the other."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.piles.copies import find_copies
from pipeline.piles.faults import Fault, Kind, Pile, faults_of
from pipeline.piles.headers import Tables
from pipeline.piles.look import Picture

OF_ONE: tuple[Kind, ...] = (
    "enlarged", "blurred", "noisy", "jpeg", "overexposed", "underexposed", "flat",
)  # fmt: skip
"""Faults of single images, in the order of the report."""
MOST_GROUPS = 4
"""Most groups of images that speak of several cameras."""
LEAST_SHARE = 0.1
"""Least share of the images in each group, and of them at least two."""
NOISE_FACTOR = 1.5
"""Least ratio of the noise levels of two groups."""
FEWEST = 10
"""Fewest images that are grouped by their noise."""
LEAST_NOISE = 0.5
"""Noise levels below this, in gray levels, are taken for this; rounding makes them."""


@dataclass(frozen=True)
class Finding:
    """Images of a pile with one fault."""

    pile: Pile
    kind: Kind
    files: tuple[tuple[Path, str], ...]
    """Each with how one sees it."""
    images: int
    """Images of the pile."""


def findings_of(piles: Mapping[Pile, Sequence[Picture]]) -> list[Finding]:
    """All that is wrong with the piles, HR first."""
    found: list[Finding] = []
    copies, paired = _copies(piles)
    for pile, pictures in piles.items():
        faults = [
            (picture.file, fault) for picture in pictures for fault in faults_of(picture, pile)
        ]
        notes: dict[Kind, list[tuple[Path, str]]] = {
            kind: [(file, fault.note) for file, fault in faults if fault.kind == kind]
            for kind in OF_ONE
        }
        notes["copies"] = copies[pile]
        if pile == "LR":
            notes["paired"] = paired
            for file, fault in _mixed(pictures):
                notes.setdefault(fault.kind, []).append((file, fault.note))
        found += [
            Finding(pile, kind, tuple(files), len(pictures))
            for kind, files in notes.items()
            if files
        ]
    return found


Notes = list[tuple[Path, str]]


def _copies(piles: Mapping[Pile, Sequence[Picture]]) -> tuple[dict[Pile, Notes], Notes]:
    """Copies of an image before in the same pile; LR images that show an HR image."""
    every = [(pile, picture) for pile, pictures in piles.items() for picture in pictures]
    inside: dict[Pile, Notes] = {pile: [] for pile in piles}
    across: Notes = []
    for group in find_copies([picture.look.thumbnail for _, picture in every]):
        firsts: dict[Pile, Picture] = {}
        for pile, picture in (every[place] for place in group):
            first = firsts.setdefault(pile, picture)
            if first is not picture:
                inside[pile].append((picture.file, _likeness(picture, first)))
            if pile == "LR" and "HR" in firsts:
                across.append((picture.file, f"shows {firsts['HR'].file.name}"))
    return inside, across


def _likeness(picture: Picture, first: Picture) -> str:
    one, other = picture.look, first.look
    same = (one.size, one.checksum) == (other.size, other.checksum)
    return f"{'equals' if same else 'is like'} {first.file.name}"


def _mixed(pictures: Sequence[Picture]) -> list[tuple[Path, Fault]]:
    """Images that another camera may have taken than most of the pile."""
    cameras = {p.file: p.header.camera for p in pictures if p.header.camera is not None}
    tables = {
        p.file: p.header.compression for p in pictures if isinstance(p.header.compression, Tables)
    }
    names = {one: f"tables like {file.name}" for file, one in reversed(tables.items())}
    sizes = {p.file: "{}x{}".format(*sorted(p.look.size)) for p in pictures}
    found = [(file, Fault("cameras", name)) for file, name in _fewer(cameras, few=True)]
    if not cameras:
        planned = {file: names[one] for file, one in tables.items()}
        found += [(file, Fault("tables", name)) for file, name in _fewer(planned)]
    found += [(file, Fault("sizes", name)) for file, name in _fewer(sizes)]
    levels = {p.file: p.look.noise for p in pictures if p.look.noise is not None}
    return found + [(file, Fault("noise", note)) for file, note in _by_noise(levels)]


def _fewer(labels: Mapping[Path, str], few: bool = False) -> list[tuple[Path, str]]:
    """Files whose label is not the commonest; none unless the labels make a few large groups.

    Args:
        labels: What groups the files.
        few: Whether groups may be many and small.

    """
    counts = Counter(labels.values())
    least = max(LEAST_SHARE * counts.total(), 2)
    if len(counts) < 2 or (not few and (len(counts) > MOST_GROUPS or min(counts.values()) < least)):
        return []
    ((common, _),) = counts.most_common(1)
    return [(file, label) for file, label in labels.items() if label != common]


def _by_noise(levels: Mapping[Path, float]) -> list[tuple[Path, str]]:
    """Files of the smaller of two groups, between whose noise levels there is a wide gap."""
    if len(levels) < FEWEST:
        return []
    files = sorted(levels, key=lambda file: levels[file])
    ordered = np.maximum([levels[file] for file in files], LEAST_NOISE)
    ratios = ordered[1:] / ordered[:-1]
    least = int(np.ceil(max(LEAST_SHARE * len(files), 2)))
    inner = ratios[least - 1 : len(ratios) - least + 1]
    if not inner.size or inner.max() < NOISE_FACTOR:
        return []
    cut = int(inner.argmax()) + least
    smaller = set(files[:cut] if cut <= len(files) - cut else files[cut:])
    others = float(np.median([levels[file] for file in files if file not in smaller]))
    return [
        (file, f"{level:.1f} gray levels, most {others:.1f}")
        for file, level in levels.items()
        if file in smaller
    ]
