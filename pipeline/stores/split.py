"""The split of real LR images: the right quarter of every image is held out.

Trainings and the calibration use the other three quarters; scores without pairs use the held-out
quarter.  A part of every image represents the whole set, even if there are few images.
"""

from pipeline.base.boxes import Box
from pipeline.stores.reader import Store

PART = 4
"""One column in this many is held out."""


def training_box(store: Store, image_id: str) -> Box:
    """The part of a real LR image that trainings may see."""
    height, width = store.size(image_id)
    return Box(0, height, 0, width - width // PART)


def held_out_box(store: Store, image_id: str) -> Box:
    """The part of a real LR image that no training sees; empty if the image has under 4 columns."""
    height, width = store.size(image_id)
    return Box(0, height, width - width // PART, width)
