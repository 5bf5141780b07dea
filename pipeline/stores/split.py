"""Which part of the real LR images is held out: the right quarter of every image.

Trainings and the calibration use the rest, the scores without pairs the quarter.  A part of every
image shows what the whole set shows, however few images there are.
"""

from pipeline.base.boxes import Box
from pipeline.stores.reader import Store

PART = 4
"""One column in so many is held out."""


def training_box(store: Store, image_id: str) -> Box:
    """The part of a real LR image that trainings may see."""
    height, width = store.size(image_id)
    return Box(0, height, 0, width - width // PART)


def held_out_box(store: Store, image_id: str) -> Box:
    """The part of a real LR image that no training sees; empty if it is narrower than 4 pixels."""
    height, width = store.size(image_id)
    return Box(0, height, width - width // PART, width)
