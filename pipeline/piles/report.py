"""The report on two piles: lines for a terminal, a page, a JSON file, and lists of files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pipeline.base.errors import listed, printable
from pipeline.base.files import write_whole
from pipeline.piles.faults import Kind, Pile
from pipeline.piles.look import Picture
from pipeline.piles.piles import Finding, findings_of

NAMED = 5
"""Most files that a line names."""
ON_PAGE = 100
"""Most files that the page names of a kind; the lists have all."""


class Words(NamedTuple):
    """How a kind of finding is said."""

    one: str
    """Of one image."""
    many: str
    """Of several."""
    advice: str
    """What it means, and what to do."""


WORDS: Mapping[Kind, Words] = {
    "enlarged": Words(
        "looks enlarged before",
        "look enlarged before",
        "Interpolation adds pixels and no detail. Reduce them to the size of before, or leave them "
        "out. JPEG files of low quality that were reduced by 2 or 4 may look so too.",
    ),
    "blurred": Words(
        "is nowhere sharp at the pixel",
        "are nowhere sharp at the pixel",
        "An SR network makes what its HR images are like. Reduce them by 2, or leave them out.",
    ),
    "noisy": Words(
        "is noisy",
        "are noisy",
        "An SR network learns to make noise of it. Reduce or denoise them, or leave them out. "
        "Images that are fine texture everywhere may look so too.",
    ),
    "jpeg": Words(
        "was compressed as JPEG",
        "were compressed as JPEG",
        "Blocks are learned as detail. Reduce them by 2 or more, or leave them out.",
    ),
    "overexposed": Words(
        "is overexposed",
        "are overexposed",
        "White areas teach nothing, and the noise there is cut off. Drawings and pages may be "
        "meant so.",
    ),
    "underexposed": Words(
        "is underexposed",
        "are underexposed",
        "Black areas teach nothing, and the noise there is cut off. Night scenes may be meant so.",
    ),
    "flat": Words(
        "has hardly any edge",
        "have hardly any edge",
        "Crops of them teach nothing. Leave them out, unless the camera takes such scenes.",
    ),
    "copies": Words(
        "is a copy of another",
        "are copies of others",
        "A copy counts its scene twice. Leave it out. Crops of images are not found.",
    ),
    "paired": Words(
        "shows the scene of an HR image",
        "show the scene of an HR image",
        "The piles are paired there. That is allowed; say so where results are called unpaired.",
    ),
    "cameras": Words(
        "is of another camera, by its EXIF data",
        "are of other cameras, by their EXIF data",
        "One passport is the mean of all. Prepare each camera by itself.",
    ),
    "tables": Words(
        "has other JPEG tables than most",
        "have other JPEG tables than most",
        "They may be of another camera, or of another program.",
    ),
    "sizes": Words(
        "has another size than most",
        "have other sizes than most",
        "They may be of another camera, or resized after the device wrote them.",
    ),
    "noise": Words(
        "forms a group by its noise",
        "form a group by their noise",
        "They may be of another camera, or of another ISO setting.",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What was found in two piles."""

    piles: Mapping[Pile, Sequence[Picture]]
    findings: Sequence[Finding]

    @property
    def lines(self) -> list[str]:
        """A line for every finding, with some of its files."""
        return [f"{sentence(each)}: {listed(_named(each), NAMED)}" for each in self.findings]


def report_on(piles: Mapping[Pile, Sequence[Picture]]) -> Report:
    """The report on piles."""
    return Report(piles, findings_of(piles))


def sentence(finding: Finding) -> str:
    """How many images of a pile have a fault."""
    words = WORDS[finding.kind]
    count = len(finding.files)
    verb = words.one if count == 1 else words.many
    return f"{count} of {finding.images} {finding.pile} images {verb}"


def _named(finding: Finding) -> list[str]:
    return [f"{file.name} ({note})" for file, note in finding.files]


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write ``piles.md`` and ``piles.json`` into a folder.

    They hold names of files and not of folders, so that DVC sees no change where these are renamed.

    Raises:
        UserError: They cannot be written.

    """
    page, data = folder / "piles.md", folder / "piles.json"
    write_whole(page, _page(report).encode())
    write_whole(data, (json.dumps(_content(report), indent=1, ensure_ascii=False) + "\n").encode())
    return [page, data]


def write_lists(report: Report, folder: Path) -> list[Path]:
    """Write the files of every finding, one a line, as ``hr_blurred.txt`` and so on.

    Raises:
        UserError: They cannot be written.

    """
    written = []
    for each in report.findings:
        path = folder / f"{each.pile.lower()}_{each.kind}.txt"
        write_whole(path, "".join(f"{file}\n" for file, _ in each.files).encode())
        written.append(path)
    return written


def _page(report: Report) -> str:
    counts = " and ".join(f"{len(pile)} {name} images" for name, pile in report.piles.items())
    parts = ["# The piles\n", f"{counts} were looked at. Nothing was left out by this.\n"]
    if not report.findings:
        parts.append("Nothing was found.\n")
    for each in report.findings:
        names = [f"* {_escaped(name)}" for name in _named(each)[:ON_PAGE]]
        if len(each.files) > ON_PAGE:
            names.append(f"* and {len(each.files) - ON_PAGE} more, in `piles.json`")
        text = "\n".join(names)
        parts.append(f"## {sentence(each)}\n\n{WORDS[each.kind].advice}\n\n{text}\n")
    return "\n".join(parts)


def _escaped(name: str) -> str:
    return "".join(f"\\{c}" if c in "\\`*_[]<>" else c for c in printable(name))


def _content(report: Report) -> dict[str, object]:
    findings = [
        {
            "pile": each.pile,
            "kind": each.kind,
            "sentence": sentence(each),
            "files": [{"file": printable(f.name), "note": printable(n)} for f, n in each.files],
        }
        for each in report.findings
    ]
    images = {name: [_measured(one) for one in pile] for name, pile in report.piles.items()}
    return {"findings": findings, "images": images}


def _measured(picture: Picture) -> dict[str, object]:
    look = picture.look
    figures = {
        "noise": look.noise,
        "sharpness": look.sharpness,
        "edges": look.edges,
        "period": look.periods and look.periods.strongest.strength,
        "blocks": look.periods and look.periods.blocks,
        "white": look.exposure.white,
        "black": look.exposure.black,
    }
    rounded = {name: None if v is None else round(v, 4) for name, v in figures.items()}
    return {"file": printable(picture.file.name), "size": look.size, **rounded}
