"""The settings of the stage ``calibrate``."""

from pydantic import Field

from pipeline.base.settings import Settings
from pipeline.noise.estimate import BLOCKS


class CalibrateSettings(Settings):
    """The section ``calibrate``."""

    blocks: int = Field(BLOCKS, ge=1000)
    """Blocks of 8x8 pixels kept of each set at most, spread over its images; of the real LR images
    never fewer than other stages take, so that all judge alike."""
    rounds: int = Field(4, ge=0)
    """Rounds in which the samples are measured like the real images, and corrected."""
    least_correlation: float = Field(0.1, ge=0, le=1)
    """Noise whose correlations, from 0 to 1, are all weaker is drawn independently."""
