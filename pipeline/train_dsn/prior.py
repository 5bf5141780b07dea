"""The prior scale b of Eq. 2 and 4: a number, estimated from the real LR images, or a camera's."""

import math
from typing import Literal

from pipeline.base.errors import UserError
from pipeline.noise.estimate import BLOCKS
from pipeline.noise.measured import measure
from pipeline.stores.reader import Store
from pipeline.train_dsn.settings import TrainDsnSettings


def with_prior(settings: TrainDsnSettings, lr: Store) -> TrainDsnSettings:
    """The settings with a number as prior scale; ``estimated`` is replaced by an estimate.

    The estimate is the Laplace scale with the standard deviation of the noise of the real LR
    images.

    Raises:
        UserError: The noise cannot be estimated; the message says why.

    """
    if settings.prior_scale_gray != "estimated":
        return settings
    found = measure(lr, BLOCKS)
    if found.noise is None:
        assert found.fault is not None
        raise UserError(
            f"{lr.path}: the noise cannot be estimated: {found.fault.clause}; "
            f"{found.fault.way_out}, or give train_dsn.prior_scale_gray a number"
        )
    level = found.noise.deviation(found.blocks)
    return settings.model_copy(update={"prior_scale_gray": level / math.sqrt(2)})


def known_prior_gray(settings: TrainDsnSettings) -> float | Literal["camera"]:
    """The prior scale in gray levels, or ``camera``; it must have been estimated."""
    if settings.prior_scale_gray == "estimated":
        raise TypeError("prior_scale_gray has not been estimated yet")
    return settings.prior_scale_gray


def number_gray(settings: TrainDsnSettings) -> float:
    """The prior scale in gray levels where one number is needed; the paper's for a camera's."""
    known = known_prior_gray(settings)
    return 1.0 if known == "camera" else known
