"""Units: intensities and scales are in the unit of the image, [0, 1], unless a name says more."""

from typing import Annotated

from pydantic import Field

GRAY_LEVEL = 1 / 255
"""One 8-bit gray level in the unit of the image."""
Scale = Annotated[int, Field(ge=2, le=4)]
"""HR pixels per LR pixel, along an axis."""
