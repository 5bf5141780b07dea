"""Whether the noise of a store of LR images can be measured, and what to do where it cannot.

The camera stage, the monitor of the DSN, its prior scale and the calibration all ask here, and
about the same blocks, so that they say the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.base.errors import listed
from pipeline.noise.estimate import (
    FEWEST,
    Blocks,
    Noise,
    TooFewError,
    estimate_noise,
    image_blocks,
    join,
)
from pipeline.stores.reader import Store

NAMED = 3
"""Most images that a sentence names."""
MOSTLY = 0.5
"""A set is said to be dark or bright if more than this share of its blocks is."""
GO_ON = (
    "or go on without a measurement: train_srn.theta: none draws without noise, constant with your "
    "guess in train_srn.constant_theta_gray"
)
"""What works whatever the images are."""
REAL, MEANS = "the real LR images", "the means of the maps"
SUBJECT = {"lr": REAL, "maps": MEANS}
KIND = {
    REAL: ("photographs of the camera", ""),
    MEANS: ("HR images", " unless the DSN has collapsed, which its contact sheet shows"),
}
"""What to add, and what else to look at."""


@dataclass(frozen=True)
class Fault:
    """Why the noise of a set of images cannot be measured."""

    reason: str
    """A clause without names of files."""
    images: str
    """The images that are the cause, a few by name; empty where all are."""
    way_out: str
    """What would help."""

    @property
    def clause(self) -> str:
        """Reason and images."""
        return f"{self.reason} ({self.images})" if self.images else self.reason

    def __str__(self) -> str:
        return f"{self.clause}; {self.way_out}, {GO_ON}"


@dataclass(frozen=True)
class ImageBlocks:
    """The blocks of one image."""

    name: str
    """Of its file."""
    blocks: Blocks


@dataclass(frozen=True, eq=False)
class Measured:
    """The noise of a set of images, or why it cannot be measured."""

    blocks: Blocks
    """Of all images."""
    noise: Noise | None
    fault: Fault | None
    """Given where ``noise`` is not."""
    remark: str | None
    """What a user should know although the noise was measured, a sentence."""


def measure(store: Store, limit: int) -> Measured:
    """Measure the noise of a store.

    Args:
        store: Store of kind lr, without its held-out part, or of kind maps, of which the means are
            read.
        limit: About the number of blocks of all images together.

    """
    parts = [
        ImageBlocks(store.file_name(image_id), blocks)
        for image_id, blocks in zip(store.ids, image_blocks(store, limit), strict=True)
    ]
    return measure_images(parts, SUBJECT[store.kind])


def measure_images(parts: Sequence[ImageBlocks], subject: str) -> Measured:
    """Measure the noise of images.

    Args:
        parts: The blocks of every image.
        subject: What the images are, for the sentences.

    """
    blocks = join([part.blocks for part in parts])
    try:
        noise = estimate_noise(blocks)
    except ValueError as error:
        return Measured(blocks, None, _fault(parts, blocks, subject, error), None)
    return Measured(blocks, noise, None, _remark(parts, blocks, subject))


def _fault(parts: Sequence[ImageBlocks], blocks: Blocks, subject: str, error: ValueError) -> Fault:
    kind, check = KIND[subject]
    if len(blocks) < FEWEST:
        small = [part.name for part in parts if len(part.blocks) * len(parts) < FEWEST]
        return Fault(
            f"{subject} are too small to measure their noise: they give {len(blocks)} blocks of "
            f"8x8 pixels that have neighbours, and {FEWEST} are needed",
            listed(small, NAMED),
            f"add {kind}, or larger ones",
        )
    end = _clipped(blocks) if isinstance(error, TooFewError) else None
    if end is not None:
        other = {"dark": "brighter", "bright": "darker"}[end]
        return Fault(
            f"{subject} are too {end} to measure their noise: {_share(blocks)}",
            listed(_of_end(parts, end), NAMED),
            f"add {other} {kind}{check}",
        )
    why = str(error).replace("the images", subject)
    flat = f"add {kind} with flat areas, such as a wall or the sky"
    return Fault(f"{why}, so that their noise cannot be told apart", "", flat)


def _remark(parts: Sequence[ImageBlocks], blocks: Blocks, subject: str) -> str | None:
    """That a measurement rests on a small part of the images."""
    end = _clipped(blocks)
    if end is None:
        return None
    named = listed(_of_end(parts, end), NAMED)
    return (
        f"most of {subject} are too {end} to show their noise ({named}); "
        f"it was measured on the rest: {_share(blocks)}"
    )


def _clipped(blocks: Blocks) -> str | None:
    """The end of the 8 bits, dark or bright, that most blocks lie at, or too many; else None."""
    if blocks.usable.mean() > MOSTLY and blocks.usable.sum() >= FEWEST:
        return None
    dark = blocks.dark.sum()
    return "dark" if 2 * dark >= len(blocks) - blocks.usable.sum() else "bright"


def _of_end(parts: Sequence[ImageBlocks], end: str) -> list[str]:
    """Names of the images many of whose blocks lie at an end, those with most of them first."""
    shares = []
    for part in parts:
        dark, usable = part.blocks.dark, part.blocks.usable
        there = dark if end == "dark" else ~dark & ~usable
        shares.append(float(there.mean()) if len(there) else 0.0)
    order = np.argsort(-np.array(shares), kind="stable")
    least = min(MOSTLY, max(shares) / 2)
    return [parts[i].name for i in order if shares[i] > least]


def _share(blocks: Blocks) -> str:
    usable = int(blocks.usable.sum())
    return (
        f"{usable / len(blocks):.0%} of their blocks of 8x8 pixels ({usable} of {len(blocks)}) are "
        "neither black nor white"
    )
