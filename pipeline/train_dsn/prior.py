"""The prior scale b of Eq. 2 and 4: a number, or estimated from the real LR images."""

import math

from pipeline.base.errors import UserError
from pipeline.noise.estimate import BLOCKS, estimate_noise, read_blocks
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
    try:
        blocks = read_blocks(lr, BLOCKS)
        level = estimate_noise(blocks).deviation(blocks)
    except ValueError as error:
        raise UserError(
            f"{lr.path}: the noise cannot be estimated: {error}; "
            "give train_dsn.prior_scale_gray a number"
        ) from error
    return settings.model_copy(update={"prior_scale_gray": level / math.sqrt(2)})


def known_prior_gray(settings: TrainDsnSettings) -> float:
    """The prior scale in gray levels, which must be a number."""
    if isinstance(settings.prior_scale_gray, str):
        raise TypeError("prior_scale_gray has not been estimated yet")
    return settings.prior_scale_gray
