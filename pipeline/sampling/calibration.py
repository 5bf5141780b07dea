"""The calibration file: the noise that makes samples agree with the real LR images.

The paper's theta says how far the mean moved from the reference, not how much noise the camera has
(Eq. 2).  A calibration holds the measured noise of the real LR images: its variance by intensity
and channel, its correlation between pixels and channels, and its tails.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from pipeline.base.errors import UserError
from pipeline.base.settings import Settings
from pipeline.sampling.compression import Compression
from pipeline.sampling.noise_law import LaplaceShare, NoiseFilter, NoiseLaw, checked_variance
from pipeline.sampling.noise_level import NoiseLevels
from pipeline.stores.reader import Store

CALIBRATION_FORMAT: Literal["usrdu-calibration-2"] = "usrdu-calibration-2"


class Calibration(Settings):
    """The noise that is added to the mean so that samples agree with the real LR images."""

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
    noise_filter: NoiseFilter
    """Correlation of the noise."""
    laplace_share: LaplaceShare
    """Tails of the noise."""
    jpeg: Compression | None
    """Compression of the real LR images, which the samples get as well; null for none."""
    constant_theta_gray: float = Field(ge=0)
    """The constant Laplace scale with the same mean variance over the maps, in gray levels."""
    levels_gray: NoiseLevels | None = None
    """Noise levels, in gray levels, of the real LR images and of every kind of sample; null if they
    were not measured, as by older versions."""

    @model_validator(mode="after")
    def _variance(self) -> "Calibration":
        if self.fault is None:
            checked_variance(self.variance_gray)
        return self

    @property
    def noise(self) -> NoiseLaw:
        """The law of the noise; there is none if ``fault`` says so."""
        return NoiseLaw(
            variance_gray=self.variance_gray,
            noise_filter=self.noise_filter,
            laplace_share=self.laplace_share,
        )


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
    """Whether the file has another version of the format."""
    faults = error.errors() if isinstance(error, ValidationError) else []
    return any(fault["loc"] == ("format",) for fault in faults)


def _reason(error: ValueError) -> str:
    """The first fault in one line; pydantic writes several."""
    if isinstance(error, ValidationError):
        fault = error.errors()[0]
        return ": ".join([*(str(part) for part in fault["loc"][:1]), fault["msg"]])
    return str(error)


def load_calibration(path: Path | str) -> Calibration:
    """Read a calibration file to draw with it.

    Raises:
        UserError: It is missing or damaged, or says that nothing could be measured.

    """
    calibration = read_calibration(Path(path))
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
        name: Name of the calibration in the message, such as its path.

    Raises:
        UserError: It was made for another store; the message names both scales or both digests.

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
