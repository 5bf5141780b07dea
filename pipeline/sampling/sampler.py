"""How LR images are drawn from maps; no other module decides it.

Trainings, calibration, audit and ``usrdu degrade`` ask ``make_sampler`` for a ``Sampler``, and read
from the store of maps the arrays that it names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.base.units import GRAY_LEVEL
from pipeline.sampling.calibrated import CalibratedSampler, CameraSampler
from pipeline.sampling.calibration import Calibration, require_calibration
from pipeline.sampling.laplace import Maps, sample
from pipeline.sampling.noise_law import NoiseSource
from pipeline.stores.reader import Store

Theta = Literal["raw", "camera", "constant", "calibrated", "none"]
"""Theta of the samples: ``raw``, that of the maps (Eq. 8); ``camera``, the same with noise of the
correlation and the tails of a camera's passport, and its JPEG; ``constant``, one scale everywhere
(Table 1, row 2); ``calibrated``, that of a calibration; ``none``, zero: the LR image is the
mean."""


class Sampler(Protocol):
    """Draws LR images."""

    @property
    def reads(self) -> Sequence[str]:
        """Names of the arrays of maps that it needs; the mean is the first."""

    def theta(self, maps: Maps) -> Tensor:
        """The Laplace scale it draws with, in the shape and unit of the mean."""

    def sample(self, maps: Maps, generator: torch.Generator) -> Tensor:
        """Draw LR images.

        Args:
            maps: At least what ``reads`` names.
            generator: On the device of the maps.

        Returns:
            The shape and unit of the mean; only those of a calibration or a camera are cut to
            [0, 1].

        """


@dataclass(frozen=True)
class Draw:
    """How LR images are drawn.

    Raises:
        ValueError: The theta is unknown, or the constant is not positive.

    """

    theta: Theta
    """Source of the noise scale."""
    constant_theta: float | None = None
    """Scale for ``constant``, in the unit of the image; None: that of the calibration."""

    def __post_init__(self) -> None:
        if self.theta not in get_args(Theta):
            known = ", ".join(get_args(Theta))
            raise ValueError(f"theta must be one of {known}, got {self.theta!r}")
        if self.constant_theta is not None and not 0 < self.constant_theta < float("inf"):
            raise ValueError(f"constant_theta must be positive, got {self.constant_theta}")

    @property
    def calibrated(self) -> bool:
        """Whether a calibration is needed."""
        unknown = self.theta == "constant" and self.constant_theta is None
        return self.theta == "calibrated" or unknown


class MeanSampler:
    """The mean itself; see ``Sampler``."""

    reads = ("mean",)

    def theta(self, maps: Maps) -> Tensor:
        """Zeros in the shape of the mean."""
        return torch.zeros_like(maps["mean"])

    def sample(self, maps: Maps, generator: torch.Generator) -> Tensor:
        """The mean; the generator is not used."""
        del generator
        return maps["mean"]


class RawSampler:
    """Draws y = mean + eps theta (Eq. 8) with the DSN's theta; see ``Sampler``."""

    reads = ("mean", "theta")

    def theta(self, maps: Maps) -> Tensor:
        """The theta of the maps."""
        return maps["theta"]

    def sample(self, maps: Maps, generator: torch.Generator) -> Tensor:
        """Draw LR images; a gradient reaches both maps."""
        return sample(maps["mean"], maps["theta"], generator)


@dataclass(frozen=True)
class ConstantSampler:
    """Draws y = mean + eps theta with one theta for all pixels; see ``Sampler``."""

    constant_theta: float
    """In the unit of the image."""
    reads = ("mean",)

    def theta(self, maps: Maps) -> Tensor:
        """The same value everywhere."""
        return torch.full_like(maps["mean"], self.constant_theta)

    def sample(self, maps: Maps, generator: torch.Generator) -> Tensor:
        """Draw LR images."""
        return sample(maps["mean"], self.theta(maps), generator)


def make_sampler(
    draw: Draw,
    calibration: Calibration | None = None,
    maps: Store | None = None,
    device: torch.device | str = "cpu",
    camera: NoiseSource | None = None,
) -> Sampler:
    """Make the sampler that draws LR images.

    Args:
        draw: How they are drawn.
        calibration: Calibration of the maps; used only if ``draw.calibrated``.
        maps: The store they are drawn from, if calibration or camera are to be compared with it.
        device: Device of the LR images.
        camera: The camera's passport; used only if ``draw.theta`` is camera.

    Raises:
        UserError: A calibration or a passport is needed, and there is none, or it is of other maps.

    """
    if draw.calibrated and calibration is None:
        why = "is calibrated" if draw.theta == "calibrated" else "is constant and has no value"
        raise UserError(f"theta {why}, but no calibration was given")
    match draw.theta:
        case "none":
            return MeanSampler()
        case "raw":
            return RawSampler()
        case "camera":
            return _camera_sampler(camera, maps, device)
        case "constant" if draw.constant_theta is not None:
            return ConstantSampler(draw.constant_theta)
    assert calibration is not None
    if maps is not None:
        require_calibration(calibration, maps)
    if draw.theta == "constant":
        return ConstantSampler(calibration.constant_theta_gray * GRAY_LEVEL)
    return CalibratedSampler(calibration, device)


def _camera_sampler(
    camera: NoiseSource | None, maps: Store | None, device: torch.device | str
) -> CameraSampler:
    if camera is None:
        raise UserError(
            "theta is camera, but no passport of a camera was given, and maps and DSN carry none; "
            "make them with one, or set theta to raw or calibrated"
        )
    if maps is not None and camera.scale != maps.scale:
        raise UserError(
            f"the camera's passport has the scale {camera.scale}, but {maps.path} has {maps.scale}"
        )
    return CameraSampler(camera, device)
