"""The noise of the camera whose passport a store of maps carries."""

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.base.errors import UserError
from pipeline.sampling.compression import Compression
from pipeline.sampling.noise_law import NoiseLaw
from pipeline.stores.reader import Store


class StoredCamera(BaseModel):
    """The part of a passport that samples are drawn with; see ``noise_law.NoiseSource``.

    The rest is left to ``passport.passport``, so that a change of it calibrates nothing again.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    scale: int
    noise: NoiseLaw
    jpeg: Compression | None


def stored_camera(maps: Store) -> StoredCamera | None:
    """The camera's noise that the DSN of a store of maps carries; None if it has none.

    Raises:
        UserError: It is damaged.

    """
    dsn = maps.attributes.get("dsn")
    content = dsn.get("passport") if isinstance(dsn, dict) else None
    try:
        return None if content is None else StoredCamera.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{maps.path}: its passport is damaged; export the maps again") from error
