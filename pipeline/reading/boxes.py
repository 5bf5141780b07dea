"""Boxes of ISO base media files (ISO/IEC 14496-12), as HEIF, AVIF, JPEG 2000 and JPEG XL have."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

FULL = {b"meta": 4}
"""Bytes of version and flags before the boxes in a box."""


class Box(NamedTuple):
    """A box of a file."""

    kind: bytes
    """Four letters."""
    content: bytes


def boxes(data: bytes) -> Iterator[Box]:
    """The boxes that follow each other in some bytes, up to the first that is damaged."""
    place = 0
    while place + 8 <= len(data):
        length, head = int.from_bytes(data[place : place + 4], "big"), 8
        kind = data[place + 4 : place + 8]
        if length == 1:
            length, head = int.from_bytes(data[place + 8 : place + 16], "big"), 16
        elif length == 0:
            length = len(data) - place
        if length < head or place + length > len(data):
            return
        yield Box(kind, data[place + head : place + length])
        place += length


def inside(data: bytes, path: Sequence[bytes]) -> Iterator[bytes]:
    """Contents of all boxes at a path of kinds, such as ``meta``, ``iprp``, ``ipco``, ``colr``."""
    kind, *deeper = path
    for box in boxes(data):
        if box.kind == kind:
            content = box.content[FULL.get(kind, 0) :] if deeper else box.content
            if deeper:
                yield from inside(content, deeper)
            else:
                yield content
