"""Units: intensities and scales are in the unit of the image, [0, 1], unless a name says otherwise.

A value whose name ends with ``_gray`` is in 8-bit gray levels: 255 of them are one unit of the
image.  A variance with such a name is in gray levels squared; a logarithm is that of a value in
gray levels.  The packages ``noise`` and ``audit`` only measure, and use gray levels throughout; so
do the columns of curves, tables and metrics, as published figures do.
"""

from typing import Annotated

from pydantic import Field

GRAY_LEVEL = 1 / 255
"""One 8-bit gray level in the unit of the image."""
Scale = Annotated[int, Field(ge=2, le=4)]
"""HR pixels per LR pixel, along an axis."""
