"""The camera's passport: what was read off unpaired HR and real LR images of how it sees.

The blur is a kernel on the HR grid, then every scale-th pixel is taken, so that aliasing comes by
itself.  Denoising and sharpening follow on the LR grid, then the noise, then JPEG.
``camera.model.CameraModel`` applies it.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field, ValidationError, model_validator

from pipeline.base.errors import UserError
from pipeline.base.files import write_whole
from pipeline.base.settings import Settings, Weight
from pipeline.base.units import Scale
from pipeline.sampling.compression import Compression
from pipeline.sampling.noise_law import NoiseLaw, lengths
from pipeline.stores.reader import Store

CAMERA_FORMAT: Literal["usrdu-camera-1"] = "usrdu-camera-1"
"""Mark and version of the file."""
LARGEST_FILE = 100_000
"""Most bytes of a passport."""
LARGEST_SIDE = 64
"""Longest side of a kernel, in HR pixels."""
DIGITS = 7
"""Decimals of a kernel's values that are kept, so that the file stays small."""
TOLERANCE = 1e-3
"""How far the sum of a kernel may be from one; the model divides by it."""


def _kernel(values: list[list[float]]) -> list[list[float]]:
    shape = lengths(values)
    if len(shape) != 2 or min(shape) < 1 or max(shape) > LARGEST_SIDE:
        raise ValueError(f"a kernel must be a matrix of sides up to {LARGEST_SIDE}, found {shape}")
    total = float(np.sum(values))
    if abs(total - 1) > TOLERANCE:
        raise ValueError(f"the values of a kernel must add up to 1, found {total:.6g}")
    return [[round(value, DIGITS) for value in row] for row in values]


Kernel = Annotated[list[list[float]], AfterValidator(_kernel)]
"""A blur kernel (rows, columns) in HR pixels, of sum one and any sign, centred on the LR pixel; its
sides are even for even scales, and odd for odd ones."""


class Sharpening(Settings):
    """An unsharp mask on the LR grid: luma + amount (luma - Gaussian of luma), after encoding."""

    amount: Weight = Field(le=20)
    """A factor; 0: none."""
    radius: float = Field(gt=0, le=8)
    """Standard deviation of the Gaussian, in LR pixels."""


class Denoising(Settings):
    """Denoising that spares edges, on the LR grid, of luma after encoding and before sharpening.

    The detail d of luma, what its Gaussian of one LR pixel takes away, becomes
    d (kept + (1 - kept) d^2 / (d^2 + threshold^2)).
    """

    threshold_gray: Weight = Field(le=255)
    """In gray levels; 0: no denoising."""
    kept: float = Field(ge=0, le=1)
    """Share of weak detail that is left."""


class Transfer(Settings):
    """The transfer function of the camera with its interval, for readers; no code uses it."""

    frequencies: list[float]
    """Radial frequencies in cycles per LR pixel."""
    luma: list[float]
    """Amplitude at these frequencies."""
    luma_low: list[float]
    """Lower end of its interval."""
    luma_high: list[float]
    """Upper end of its interval."""
    chroma: list[float]
    """The same of the colour differences."""
    chroma_low: list[float]
    """Lower end of its interval."""
    chroma_high: list[float]
    """Upper end of its interval."""

    @model_validator(mode="after")
    def _of_one_length(self) -> "Transfer":
        if len({len(values) for values in self.model_dump().values()}) != 1:
            raise ValueError("the lists of transfer differ in length")
        return self


class ImageCounts(Settings):
    """Numbers of images that a passport was read off."""

    hr: int = Field(ge=0)
    """HR images."""
    lr: int = Field(ge=0)
    """Real LR images."""


class Passport(Settings):
    """What a camera does to an HR image."""

    format: Literal["usrdu-camera-1"] = CAMERA_FORMAT
    """Version of the file."""
    scale: Scale
    """HR pixels per LR pixel."""
    hr_digest: str
    """Digest of the HR images."""
    lr_digest: str
    """Digest of the real LR images."""
    light: Literal["linear", "gamma"]
    """What is averaged: linear light, decoded from sRGB and encoded again, or the values as they
    are."""
    luma_kernel: Kernel
    """Blur of the brightness."""
    chroma_kernel: Kernel
    """Blur of the colour differences; it may be larger."""
    sharpening: Sharpening
    """Unsharp mask."""
    denoising: Denoising
    """Denoising that spares edges."""
    noise: NoiseLaw
    """Noise before compression."""
    jpeg: Compression | None
    """Compression of the real LR images; null for none."""
    transfer: Transfer
    """Transfer function, from HR to LR."""
    images: ImageCounts
    """Numbers of images."""
    unknown: list[str]
    """What could not be told, one sentence each."""
    fault: str | None = None
    """Why nothing could be told, in words; the rest then says nothing."""

    @model_validator(mode="after")
    def _centred(self) -> "Passport":
        for name in ("luma_kernel", "chroma_kernel"):
            shape = lengths(getattr(self, name))
            if any((side - self.scale) % 2 for side in shape):
                parity = "odd" if self.scale % 2 else "even"
                raise ValueError(
                    f"the sides of {name} must be {parity} at the scale {self.scale}, found {shape}"
                )
        return self


def read_passport(path: Path) -> Passport:
    """Read a passport to use it.

    Raises:
        UserError: The file is missing, too large, damaged, or no passport of this version, or it
            says that nothing could be told of the camera.

    """
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise UserError(f"{path}: has {size} bytes; a passport has at most {LARGEST_FILE}")
        passport = Passport.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not a camera's passport: {_reason(error)}") from error
    if passport.fault:
        raise UserError(f"{path}: nothing could be told of the camera: {passport.fault}")
    return passport


def passport_of(maps: Store) -> Passport | None:
    """The passport that the DSN of a store of maps carries; None if it has none.

    Raises:
        UserError: It is damaged.

    """
    dsn = maps.attributes.get("dsn")
    content = dsn.get("passport") if isinstance(dsn, dict) else None
    try:
        return None if content is None else Passport.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{maps.path}: its passport is damaged: {_reason(error)}") from error


def write_passport(path: Path, passport: Passport) -> None:
    """Write a passport as JSON, a row of numbers on a line.

    Raises:
        UserError: The file cannot be written, or would be too large.

    """
    text = json.dumps(passport.model_dump(), indent=1)
    numbers = re.compile(r"\[\s*([-+.eE\d]+(?:,\s+[-+.eE\d]+)*)\s*\]")
    data = numbers.sub(lambda found: f"[{' '.join(found[1].split())}]", text).encode() + b"\n"
    if len(data) > LARGEST_FILE:
        raise UserError(f"{path}: would have {len(data)} bytes; at most are {LARGEST_FILE}")
    write_whole(path, data)


def _reason(error: ValueError) -> str:
    """The first fault in one line; pydantic writes several."""
    if isinstance(error, ValidationError):
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"][:2])
        return f"{place}: {fault['msg']}" if place else fault["msg"]
    return str(error)
