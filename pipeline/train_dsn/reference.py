"""References y_b of the DSN (Sec. 3.1): bicubic downsampling, blur kernels, or a camera's passport.

A kernel reference is the camera model of KernelGAN (Bell-Kligler et al. 2019): the HR image is
correlated with a blur kernel at HR size, then every scale-th pixel is taken.  The centre of such a
kernel is not known.  So every kernel is moved until its centre of mass is the centre of the LR
pixel, as in bicubic downsampling.  The mean then need not learn a shift.
"""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.ndimage import center_of_mass
from scipy.signal import convolve2d
from torch import Tensor

from pipeline.base.errors import UserError, one_line
from pipeline.images.filters import bicubic_downsample, cubic, mirrored
from pipeline.images.io import read_grey_png
from pipeline.passport.model import CameraModel
from pipeline.passport.passport import Passport, read_passport

EXTENSIONS = (".npy", ".mat", ".png")
MAT_VARIABLE = "Kernel"
"""Name of the kernel in KernelGAN's .mat files."""
SIDES = (2, 128)
"""Shortest and longest side of a kernel, in HR pixels."""
TOLERANCE = 1e-3
"""Negative values down to this share of the largest value count as rounding errors of zero."""

Kernel = NDArray[np.float64]
"""A blur kernel (H, W) whose values add up to one."""


class Reference(Protocol):
    """Makes y_b: from HR images (N, 3, H, W) to LR images (N, 3, H/s, W/s) in the same unit."""

    description: object
    """``"bicubic"``, ``"camera"``, or the names of the kernels and a hash of their content; a JSON
    value."""

    def draw(self, hr: Tensor, source: torch.Generator) -> Tensor:
        """One reference per image; ``source``, a CPU generator, draws the kernels."""

    def expected(self, hr: Tensor) -> Tensor:
        """The expectation of ``draw``."""


class BicubicReference:
    """Bicubic downsampling; see ``filters.bicubic_downsample``.

    Args:
        scale: HR pixels per LR pixel.

    """

    description: object = "bicubic"

    def __init__(self, scale: int) -> None:
        self.scale = scale

    def draw(self, hr: Tensor, source: torch.Generator) -> Tensor:  # noqa: ARG002
        """The same as ``expected``: nothing is random."""
        return self.expected(hr)

    def expected(self, hr: Tensor) -> Tensor:
        """Downsample images (..., H, W)."""
        return bicubic_downsample(hr, self.scale)


class CameraReference:
    """What a camera makes of HR images; see ``camera.model.CameraModel``.

    Args:
        passport: The camera's passport.

    """

    description: object = "camera"

    def __init__(self, passport: Passport) -> None:
        self.camera = CameraModel(passport)

    def draw(self, hr: Tensor, source: torch.Generator) -> Tensor:  # noqa: ARG002
        """The same as ``expected``: nothing is random."""
        return self.expected(hr)

    @torch.no_grad()
    def expected(self, hr: Tensor) -> Tensor:
        """The mean LR images of (N, 3, H, W)."""
        made: Tensor = self.camera.to(hr.device)(hr)
        return made


class KernelReference:
    """Blur with one of several kernels, then every scale-th pixel; borders are mirrored.

    Args:
        kernels: By name, of any size; they are applied as a correlation, not flipped.
        scale: HR pixels per LR pixel.

    """

    def __init__(self, kernels: Mapping[str, Kernel], scale: int) -> None:
        self.scale = scale
        digest = hashlib.sha256()
        for kernel in kernels.values():
            digest.update(f"{kernel.shape}".encode() + np.ascontiguousarray(kernel).tobytes())
        self.description: object = {"kernels": list(kernels), "sha256": digest.hexdigest()}
        placed = [aligned(kernel, scale) for kernel in kernels.values()]
        starts = np.array([start for _, start in placed])
        ends = starts + [kernel.shape for kernel, _ in placed]
        self.start: tuple[int, int] = tuple(starts.min(axis=0).tolist())
        stack = np.zeros((len(placed), *(ends.max(axis=0) - starts.min(axis=0))))
        for whole, (kernel, _), (top, left) in zip(stack, placed, starts - self.start, strict=True):
            whole[top : top + kernel.shape[0], left : left + kernel.shape[1]] = kernel
        self.stack = torch.from_numpy(stack)

    def draw(self, hr: Tensor, source: torch.Generator) -> Tensor:
        """Downsample every image of (N, 3, H, W) with a kernel of its own.

        Raises:
            ValueError: H or W is not a multiple of the scale.

        """
        chosen = torch.randint(len(self.stack), (hr.shape[0],), generator=source)
        return self._apply(hr, self.stack[chosen])

    def expected(self, hr: Tensor) -> Tensor:
        """Downsample images (N, 3, H, W) with the mean of all kernels.

        Raises:
            ValueError: H or W is not a multiple of the scale.

        """
        return self._apply(hr, self.stack.mean(dim=0).expand(hr.shape[0], -1, -1))

    def _apply(self, hr: Tensor, kernels: Tensor) -> Tensor:
        """Correlate image n with kernel n, at the places of the LR pixels."""
        if hr.shape[-2] % self.scale or hr.shape[-1] % self.scale:
            raise ValueError(f"{tuple(hr.shape)} is no multiple of the scale {self.scale}")
        for axis in (-2, -1):
            length, start = hr.shape[axis], self.start[axis]
            seen = torch.arange(start, length - self.scale + start + kernels.shape[axis])
            hr = hr.index_select(axis, mirrored(seen, length).to(hr.device, non_blocking=True))
        images, weights = hr.transpose(0, 1), kernels[:, None].to(hr, non_blocking=True)
        with torch.backends.cudnn.flags(enabled=False):  # it would round to the 10 bits of TF32
            small = F.conv2d(images, weights, stride=self.scale, groups=len(weights))
        return small.transpose(0, 1)


def open_reference(
    kind: Literal["bicubic", "kernels", "camera"],
    kernels: Path | None,
    scale: int,
    passport: Passport | None = None,
) -> Reference:
    """The reference that the settings name.

    Args:
        kind: The setting ``train_dsn.reference``.
        kernels: A kernel file or a folder of them; read only for kernels.
        scale: HR pixels per LR pixel.
        passport: The camera's passport, for camera; see ``open_passport``.

    Raises:
        UserError: There are no kernels, or a file holds no kernel.

    """
    if kind == "bicubic":
        return BicubicReference(scale)
    if kind == "camera":
        if passport is None:
            raise ValueError("the reference camera needs a passport")
        return CameraReference(passport)
    if kernels is None:
        raise UserError("train_dsn.reference is kernels, but no kernels were given (--kernels)")
    return KernelReference({path.name: read_kernel(path) for path in find_kernels(kernels)}, scale)


def open_passport(path: Path | None, scale: int) -> Passport:
    """The passport that reference or prior scale are taken from.

    Args:
        path: Its file.
        scale: HR pixels per LR pixel of the stores.

    Raises:
        UserError: No file was named, it cannot be read, or it is of another scale.

    """
    if path is None:
        raise UserError(
            "train_dsn.reference or prior_scale_gray is camera, but no passport was given "
            "(--camera)"
        )
    passport = read_passport(path)
    if passport.scale != scale:
        raise UserError(f"{path} has the scale {passport.scale}, but the stores have {scale}")
    return passport


def find_kernels(path: Path) -> list[Path]:
    """The file itself, or the kernel files of a folder, sorted by name.

    Subfolders and files of other types are ignored.

    Raises:
        UserError: There is no such file or folder, or no kernel in it.

    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: there is no such kernel file or folder")
    files = [
        file
        for file in sorted(path.iterdir())
        if file.suffix.lower() in EXTENSIONS and not file.name.startswith(".")
    ]
    if not files:
        raise UserError(f"{path}: holds no kernel ({', '.join(EXTENSIONS)})")
    return files


def read_kernel(path: Path) -> Kernel:
    """Read a blur kernel: .npy, .mat with the variable ``Kernel``, or a grey .png.

    Returns:
        (H, W), not negative, of sum one.

    Raises:
        UserError: The file cannot be read, or does not hold a kernel; the message says why.

    """
    try:
        values = _read(path)
    except UserError:
        raise
    except Exception as error:  # the readers raise many types on damaged files
        raise UserError(f"{path}: cannot be read as a kernel: {one_line(error)}") from error
    if fault := _fault(values):
        raise UserError(f"{path}: is no blur kernel: {fault}")
    kernel = np.maximum(values.astype(np.float64), 0)
    return np.asarray(kernel / kernel.sum())


def aligned(kernel: Kernel, scale: int) -> tuple[Kernel, tuple[int, int]]:
    """Move a kernel so that its centre of mass is the centre of an LR pixel.

    LR pixel i covers the HR pixels scale i to scale (i + 1) - 1, so its centre lies (scale - 1) / 2
    pixels behind the first of them.  Whole pixels are moved by the place of the first value, the
    rest by cubic convolution, which keeps sum, centre and width (Keys 1981).

    Returns:
        The kernel, with at most 3 more rows and columns, and the row and column of its first value,
        counted from the first HR pixel of the LR pixel.

    """
    starts, weights = [], []
    for centre in center_of_mass(kernel):
        shift = (scale - 1) / 2 - float(centre)
        whole = math.floor(shift)
        taps = torch.arange(-1, 3, dtype=torch.float64) - (shift - whole)
        starts.append(whole - 1)
        weights.append(cubic(taps).numpy())
    return convolve2d(kernel, np.outer(*weights)), (starts[0], starts[1])


def _read(path: Path) -> NDArray[np.generic]:
    match path.suffix.lower():
        case ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        case ".mat":
            found = loadmat(path)
            if MAT_VARIABLE in found:
                return np.asarray(found[MAT_VARIABLE])
            others = ", ".join(name for name in found if not name.startswith("__")) or "nothing"
            raise UserError(f"{path}: holds {others}, but no variable '{MAT_VARIABLE}'")
        case ".png":
            return read_grey_png(path)
    raise UserError(f"{path}: is no kernel file ({', '.join(EXTENSIONS)})")


def _fault(values: NDArray[np.generic]) -> str | None:
    """Why an array is no kernel; None if it is one."""
    if values.ndim != 2 or values.dtype.kind not in "uif":
        return (
            f"it holds {values.dtype} values of the shape {values.shape}, not a matrix of numbers"
        )
    if not all(SIDES[0] <= side <= SIDES[1] for side in values.shape):
        size = "x".join(str(side) for side in values.shape)
        return f"it is {size}; its sides must be of {SIDES[0]} to {SIDES[1]} pixels"
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all():
        return "a value is not finite"
    if numbers.sum() <= 0:
        return f"its values add up to {numbers.sum():g}, which must be positive"
    if numbers.min() < -TOLERANCE * numbers.max():
        return (
            f"it has negative values, down to {numbers.min():g} (the largest is {numbers.max():g})"
        )
    return None
