"""The file of a DSN: its weights, and a description from which it is built again."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from pipeline.base.errors import UserError, one_line
from pipeline.base.settings import Positive, Settings
from pipeline.base.units import GRAY_LEVEL, Scale
from pipeline.dsn.network import DSN
from pipeline.passport.model import CameraModel
from pipeline.passport.passport import Passport
from pipeline.stores.reader import Store
from pipeline.stores.weights import load_weights, require_finite, save_weights

DSN_FORMAT: Literal["usrdu-dsn-2"] = "usrdu-dsn-2"
"""Mark and version of the file."""
CAMERA: Literal["camera"] = "camera"
"""Reference and prior scale of a DSN that takes them from a passport."""


class DsnDescription(Settings):
    """The shape of a DSN, and what it was trained on."""

    format: Literal["usrdu-dsn-2"] = DSN_FORMAT
    """Version of the file."""
    scale: Scale
    """HR pixels per LR pixel."""
    features: int = Field(gt=0)
    """Width of the trunk."""
    blocks: int = Field(gt=0)
    """Residual blocks."""
    learned_theta: bool
    """Whether theta is learned (Eq. 2); otherwise it is the prior scale everywhere."""
    prior_scale_gray: Positive | Literal["camera"]
    """b of Eq. 2 in gray levels; ``camera``: the scale of the passport's noise at every pixel."""
    reference: Any
    """y_b of Eq. 2: ``bicubic``, ``camera``, names and hash of blur kernels, or ``unknown``."""
    passport: Passport | None = None
    """The camera's passport, where reference or prior scale come from it."""
    hr_digest: str | None = None
    """Digest of the HR images."""
    lr_digest: str | None = None
    """Digest of the real LR images."""
    training: dict[str, object] = Field(default_factory=dict)
    """The settings of the training, for readers of the file; no code uses them."""
    imported_from: dict[str, str] | None = None
    """Name and SHA-256 of the foreign file it was converted from."""

    @model_validator(mode="after")
    def _camera(self) -> "DsnDescription":
        if self.passport is None and CAMERA in (self.reference, self.prior_scale_gray):
            raise ValueError("the passport is missing")
        if self.passport is not None and self.passport.scale != self.scale:
            raise ValueError(f"its passport has the scale {self.passport.scale}, not {self.scale}")
        return self

    @model_serializer(mode="wrap")
    def _without_nothing(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A file without a passport has no such key, as before there were passports."""
        content: dict[str, Any] = plain(self)
        if self.passport is None:
            del content["passport"]
        return content

    @property
    def constant_theta(self) -> float | None:
        """The theta of every pixel in the unit of the image, or None where pixels differ."""
        if self.learned_theta or self.prior_scale_gray == CAMERA:
            return None
        return self.prior_scale_gray * GRAY_LEVEL

    def network(self) -> DSN:
        """An untrained DSN of this shape.

        Where the reference is the camera, the mean is a residual on it; where the prior scale is
        the camera's as well, theta starts from its noise.
        """
        camera = None
        if self.reference == CAMERA and self.passport is not None:
            camera = CameraModel(self.passport)
        theta = camera is not None and self.prior_scale_gray == CAMERA
        return DSN(self.scale, self.features, self.blocks, camera, theta)


class DsnFile(NamedTuple):
    """A DSN that was read."""

    network: DSN
    """With its weights, in evaluation mode, on the CPU."""
    description: DsnDescription


def describe(maps: Store) -> DsnDescription:
    """The description of the DSN that a store of maps was exported with.

    Raises:
        UserError: The store has no such description.

    """
    try:
        return DsnDescription.model_validate(maps.attributes.get("dsn"))
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise UserError(f"{maps.path}: does not say how it was made: {reason}") from error


def save_dsn(path: Path, dsn: DSN, description: DsnDescription) -> None:
    """Write a DSN as safetensors.

    Raises:
        UserError: The file cannot be written.

    """
    save_weights(path, dsn.state_dict(), description.model_dump())


def load_dsn(path: Path) -> DsnFile:
    """Read a DSN that ``save_dsn`` wrote.

    Raises:
        UserError: The file is missing, damaged or not a DSN, or its weights are not finite.

    """
    state, metadata = load_weights(path, DSN_FORMAT)
    require_finite(path, state)
    try:
        description = DsnDescription.model_validate(metadata)
        dsn = description.network()
        dsn.load_state_dict(state)
    except (ValidationError, RuntimeError) as error:
        reason = one_line(error)
        raise UserError(f"{path}: its tensors do not fit its description: {reason}") from error
    return DsnFile(dsn.eval(), description)
