"""The format of image stores: Zarr format 3 groups of whole images, described at their root.

A store is a folder that holds ``images/ID/ARRAY``.  Its root attribute ``usrdu`` describes it:
schema version, kind, scale, axis order, the unit of every array, ids and shapes in order, a digest
of the content, the checksum of every chunk, and a seal over all of these.

Every chunk ends with its CRC-32C, so damage is an error that names image and chunk.  The root holds
these checksums too, so a valid chunk in the wrong place is also an error.  Shapes, types and codecs
of the arrays are compared with the root, and the root with its seal.

Metadata are not consolidated: the root has all that a reader needs before it opens an image.  With
100,000 images the consolidated copy took 70 s to open, the root alone 0.2 s.

Only codecs of the Zarr core specification are used for images: blosc (zstd, bit shuffle), then
crc32c.

Attributes of the arrays say in the words of the CF conventions what their numbers are, and an array
``channel`` at the root names the channels; xarray makes it a coordinate of every image.  Stores
that were written before these existed lack both, and are read like the others.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, Literal

from pipeline.base.boxes import Box, tiles
from pipeline.base.ids import is_safe_id

Kind = Literal["hr", "lr", "val", "maps"]

ARRAYS: Mapping[Kind, Mapping[str, str]] = {
    "hr": {"image": "8-bit intensity, 0..255"},
    "lr": {"image": "8-bit intensity, 0..255"},
    "val": {"hr": "8-bit intensity, 0..255", "lr": "8-bit intensity, 0..255"},
    "maps": {
        "mean": "intensity in [0, 1]",
        "theta": "Laplace scale in the unit of mean, intensity in [0, 1]; positive",
    },
}
"""Arrays of one image in each kind of store, with their units."""

LONG_NAMES: Mapping[Kind, Mapping[str, str]] = {
    "hr": {"image": "HR image, sRGB"},
    "lr": {"image": "real LR image, sRGB"},
    "val": {"hr": "HR image, sRGB", "lr": "LR image, sRGB"},
    "maps": {"mean": "mean of the LR image, sRGB", "theta": "theta, Laplace scale of a pixel"},
}
"""Attribute ``long_name`` of the arrays, the label of a plot."""

CHUNK = {"hr": 4096, "lr": 4096, "val": 4096, "maps": 1024}
"""Longest side of a chunk in pixels: a photograph is one object, a huge scan a few."""
DTYPE = {"hr": "uint8", "lr": "uint8", "val": "uint8", "maps": "float16"}
"""Type of the arrays."""
AXES = ["channel", "row", "column"]
CHANNELS = ["red", "green", "blue"]
COORDINATE = "channel"
"""Path of the array of the names of the channels.  One serves all images of a store."""
CODECS = ("bytes", "blosc", "crc32c")

SCHEMA = {"hr": 2, "lr": 2, "val": 2, "maps": 3}
"""Version of the format of each kind of store."""
ADDED = ("error_floor",)
"""Root attributes that stores of this schema may lack, as older versions did not write them."""
LARGEST = 2**30
"""Most pixels of an image, in writing and in reading."""
LARGEST_CHUNK = 2**27
"""Most bytes of a decoded chunk; those written here have at most 3 * 4096 * 4096."""


def array_attributes(kind: Kind, name: str) -> dict[str, Any]:
    """Attributes of an array: ``units`` as UDUNITS reads them, ``long_name`` and ``channels``.

    White is 1 in these units: 255 times "1/255" in an image of 8 bits, 1.0 times "1" in the maps.
    """
    units = "1" if kind == "maps" else "1/255"
    return {"units": units, "long_name": LONG_NAMES[kind][name], "channels": list(CHANNELS)}


def array_axes(kind: Kind, name: str) -> list[str]:
    """Names of the dimensions of an array.

    One name has one length in an image, as xarray asks for, so those of LR beside HR are others.
    """
    return ["channel", "lr_row", "lr_column"] if (kind, name) == ("val", "lr") else list(AXES)


def content_order(sizes: Mapping[str, tuple[int, ...]], side: int) -> Iterator[tuple[str, Box]]:
    """The order in which the parts of an image are hashed: chunk by chunk, array by array.

    Args:
        sizes: (H, W) of its arrays, in the order of ``ARRAYS``.
        side: Longest side of a chunk.

    Yields:
        Name of an array and a box of it: first the first chunk of every array, then the second.

    """
    for boxes in zip_longest(*(tiles(height, width, side) for height, width in sizes.values())):
        yield from ((name, box) for name, box in zip(sizes, boxes, strict=True) if box)


def planned(described: Mapping[str, Any]) -> dict[str, Any]:
    """The root attribute as it was when the store was begun, before its images were written."""
    made = ("shapes", "digest", "checksums", "seal")
    return {key: value for key, value in described.items() if key not in made}


def goes_on(begun: Mapping[str, Any], described: Mapping[str, Any]) -> bool:
    """Whether a store that was begun, perhaps by an older version, is the one described now."""
    lacking = set(ADDED) - begun.keys()
    return planned(begun) == {k: v for k, v in described.items() if k not in lacking}


def content_digest(described: Mapping[str, Any], digests: Mapping[str, str]) -> str:
    """The digest of a store: a hash of its root attribute and of the content of every image.

    It does not depend on the compression of the chunks.

    Args:
        described: The root attribute; what depends on the content or the chunks is left out.
        digests: Digests of the images, by id.

    """
    shapes = described["shapes"]
    total = hashlib.sha256(json.dumps(planned(described), sort_keys=True).encode())
    for image_id in described["ids"]:
        total.update(f"{shapes[image_id]} {digests[image_id]}".encode())
    return total.hexdigest()


def seal(described: Mapping[str, Any]) -> str:
    """SHA-256 of the root attribute without its seal, which reveals any change of it."""
    content = {key: value for key, value in described.items() if key != "seal"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def description_fault(attributes: Mapping[str, Any]) -> str | None:
    """The fault of a root attribute of this schema and a known kind; None if there is none."""
    lacking = {"scale", "ids", "shapes", "checksums", "seal"} - attributes.keys()
    if lacking:
        return f"it lacks {', '.join(sorted(lacking))}"
    if attributes["seal"] != seal(attributes):
        return "it does not match its seal"
    scale, ids, shapes = (attributes[key] for key in ("scale", "ids", "shapes"))
    if not isinstance(scale, int) or scale < 1:
        return f"the scale is {scale}"
    if not isinstance(ids, list) or not all(is_safe_id(image_id) for image_id in ids):
        return "it holds an id that is not valid"
    if not isinstance(shapes, dict) or list(shapes) != ids:
        return "its ids and shapes do not match"
    for image_id, shape in shapes.items():
        plain = isinstance(shape, list) and all(isinstance(length, int) for length in shape)
        if not plain or len(shape) != 3 or shape[0] != 3 or min(shape) < 1:
            return f"image '{image_id}' has the shape {shape}"
        if math.prod(shape[1:]) > LARGEST:
            return f"image '{image_id}' has the shape {shape}, more than {LARGEST} pixels"
    return None if isinstance(attributes["checksums"], dict) else "its checksums are not a mapping"
