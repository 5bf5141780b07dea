"""The calibration file, and samples of LR images that follow it.

The paper's theta says how far the mean moved from the reference, not how much noise the camera has
(Eq. 2).  A calibration holds what the noise of the real LR images was measured to be: its variance
by intensity and channel, its correlation between pixels and channels, and its tails.
"""

import math
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.base.settings import Settings
from pipeline.base.units import GRAY_LEVEL
from pipeline.sampling.jpeg import Jpeg, JpegTables
from pipeline.sampling.laplace import standard_laplace
from pipeline.stores.reader import Store

FORMAT: Literal["usrdu-calibration-2"] = "usrdu-calibration-2"
GRID = 32
"""Frequencies along an axis at which the filter of correlated noise is computed."""


class Calibration(Settings):
    """What is added to the mean so that samples agree with the real LR images."""

    format: Literal["usrdu-calibration-2"]
    """Version of this file."""
    scale: int
    """HR pixels per LR pixel of the maps."""
    maps_digest: str
    """Digest of the maps it was made for."""
    lr_digest: str
    """Digest of the real LR images it was measured on."""
    fault: str | None
    """Why nothing could be measured, in words; the rest is then empty."""
    variance_gray: list[list[float]]
    """(3, K): variance of the noise, in gray levels squared, by channel at K intensities of the
    mean that are evenly spaced from 0 to 1; linear between them."""
    noise_filter: list[list[list[list[float]]]] | None
    """(3, 3, k, k): kernels that turn independent into correlated noise of unit variance, from
    channel (second index) to channel (first); null where noise is independent."""
    laplace_share: float = Field(ge=0, le=1)
    """1: eps is Laplace, 0: Gaussian, between: a Laplace variable times it plus a Gaussian one."""
    jpeg: JpegTables | None
    """How the real LR images are compressed, which samples then are too; null for not at all."""
    constant_theta_gray: float = Field(ge=0)
    """The one Laplace scale of the same mean variance over the maps, in gray levels."""

    @model_validator(mode="after")
    def _shapes(self) -> "Calibration":
        variance = _shape(self.variance_gray)
        if self.fault is None and (len(variance) != 2 or variance[0] != 3 or variance[1] < 2):
            raise ValueError(f"variance_gray must be 3 by at least 2 numbers, found {variance}")
        if self.noise_filter is not None:
            kernels = _shape(self.noise_filter)
            if kernels[:2] != (3, 3) or len(set(kernels[2:])) != 1 or kernels[-1] % 2 == 0:
                raise ValueError(f"noise_filter must be 3 by 3 odd squares, found {kernels}")
        return self


def _shape(lists: object) -> tuple[int, ...]:
    """Lengths of nested lists.

    Raises:
        ValueError: They are ragged.

    """
    return np.asarray(lists, dtype=np.float64).shape


def read_calibration(path: Path) -> Calibration:
    """Read a calibration file, also one that says that nothing could be measured.

    Raises:
        UserError: It is missing, damaged, or of another version.

    """
    try:
        return Calibration.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValidationError, UnicodeDecodeError) as error:
        again = "; run the calibrate stage again" if _other_version(error) else ""
        reason = f"{_reason(error)}{again}"
        raise UserError(f"{path}: is not a calibration of this version: {reason}") from error


def _other_version(error: ValueError) -> bool:
    """Whether the file names another version of itself."""
    faults = error.errors() if isinstance(error, ValidationError) else []
    return any(fault["loc"] == ("format",) for fault in faults)


def _reason(error: ValueError) -> str:
    """The first fault in one line; pydantic writes several."""
    if isinstance(error, ValidationError):
        fault = error.errors()[0]
        return ": ".join([*(str(part) for part in fault["loc"][:1]), fault["msg"]])
    return str(error)


def load_calibration(path: Path) -> Calibration:
    """Read a calibration file to draw with it.

    Raises:
        UserError: It is missing or damaged, or says that nothing could be measured.

    """
    calibration = read_calibration(path)
    if calibration.fault:
        raise UserError(f"{path}: the noise could not be measured: {calibration.fault}")
    return calibration


def require_calibration(
    calibration: Calibration, maps: Store, name: object = "the calibration"
) -> None:
    """Check that a calibration was made for a store of maps.

    Args:
        calibration: The calibration.
        maps: Store of kind maps.
        name: What it is called in the message, such as its path.

    Raises:
        UserError: It was not; names both scales, or else both digests.

    """
    if calibration.scale != maps.scale:
        raise UserError(
            f"{name} has the scale {calibration.scale}, but {maps.path} has {maps.scale}; "
            "run the calibrate stage again"
        )
    if calibration.maps_digest != maps.digest:
        raise UserError(
            f"{name} was made for maps with the digest {calibration.maps_digest[:12]}, "
            f"but {maps.path} has {maps.digest[:12]}; run the calibrate stage again"
        )


class CalibratedSampler:
    """Draws noise that follows a calibration.

    Args:
        calibration: What it is like.
        device: Where it is drawn.

    """

    def __init__(self, calibration: Calibration, device: torch.device | str = "cpu") -> None:
        deviation = torch.tensor(calibration.variance_gray).clamp(min=0).sqrt() * GRAY_LEVEL
        self.variance = (deviation**2).to(device)
        self.laplace_share = calibration.laplace_share
        kernels, tables = calibration.noise_filter, calibration.jpeg
        self.filter = None if kernels is None else torch.tensor(kernels).to(device)
        self.jpeg = None if tables is None else Jpeg(tables, device)

    def theta(self, mean: Tensor) -> Tensor:
        """Calibrated Laplace scale of every value of the mean.

        Args:
            mean: (N, 3, H, W) in the unit of the image.

        Returns:
            The same shape and unit: the square root of half the variance at that intensity.

        """
        place = (mean * (self.variance.shape[1] - 1)).clamp(0, self.variance.shape[1] - 1)
        lower = place.floor().clamp(max=self.variance.shape[1] - 2)
        share, index = place - lower, lower.long()
        table = self.variance.to(mean.dtype)
        channel = torch.arange(3, device=mean.device)[:, None, None]
        variance = torch.lerp(table[channel, index], table[channel, index + 1], share)
        return (variance / 2).sqrt()

    def sample(self, mean: Tensor, generator: torch.Generator) -> Tensor:
        """Draw y = mean + eps * theta (Eq. 8) with the calibrated theta.

        Where the real noise is correlated so is eps; its variance is 2, that of L(0, 1).  If the
        real images are JPEG files, the samples are compressed like them.

        Args:
            mean: (N, 3, H, W) in the unit of the image.
            generator: On the device of ``mean``.

        Returns:
            The same shape and unit, cut to [0, 1] as every real image is.

        """
        if self.filter is None:
            eps = self._independent(mean, generator)
        else:
            border = self.filter.shape[-1] // 2
            n, c, height, width = mean.shape
            wider = mean.new_empty(n, c, height + 2 * border, width + 2 * border)
            eps = F.conv2d(self._independent(wider, generator), self.filter.to(mean.dtype))
        noisy = (mean + eps * self.theta(mean)).clamp(0, 1)
        return noisy if self.jpeg is None else self.jpeg(noisy).to(mean.dtype)

    def _independent(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Independent draws of variance 2."""
        eps = standard_laplace(like, generator) * self.laplace_share
        if self.laplace_share == 1:
            return eps
        gaussian = torch.empty_like(like).normal_(generator=generator)
        return eps + gaussian * math.sqrt(2 * (1 - self.laplace_share**2))


def noise_filter(correlation: NDArray[np.floating]) -> NDArray[np.float64]:
    """Kernels that give independent noise of unit variance a correlation.

    The symmetric square root of the cross-spectral matrix at every frequency, so the kernels are
    those of least delay; a correlation that no noise can have is replaced by the nearest one.

    Args:
        correlation: (3, 3, 2 L + 1, 2 L + 1) of channel c at a pixel with channel d at the pixel
            (dy, dx) away; zero beyond L.

    Returns:
        (3, 3, 2 L + 1, 2 L + 1), from channel (second index) to channel (first), to be used with
        ``torch.nn.functional.conv2d``; every channel that comes out has the variance one.

    """
    reach = correlation.shape[-1] // 2
    padded = np.zeros((3, 3, GRID, GRID))
    padded[:, :, : 2 * reach + 1, : 2 * reach + 1] = correlation
    spectrum = np.fft.fft2(np.roll(padded, (-reach, -reach), (2, 3))).transpose(2, 3, 0, 1)
    spectrum = (spectrum + spectrum.conj().swapaxes(2, 3)) / 2
    values, vectors = np.linalg.eigh(spectrum)
    root = (vectors * np.sqrt(np.maximum(values, 0))[..., None, :]) @ vectors.conj().swapaxes(2, 3)
    kernels = np.fft.ifft2(root.transpose(2, 3, 0, 1)).real
    kernels = np.roll(kernels, (reach, reach), (2, 3))[:, :, : 2 * reach + 1, : 2 * reach + 1]
    power = np.sqrt((kernels**2).sum(axis=(1, 2, 3)))
    return np.asarray(kernels / power[:, None, None, None])
