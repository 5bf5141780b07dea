"""Units: intensities and scales are in the unit of the image, [0, 1], unless a name says more.

A name that ends with ``_gray`` is in 8-bit gray levels: 255 of them are one unit of the image.  A
variance of such a name is in gray levels squared, a logarithm is that of a number of gray levels.
The packages ``noise`` and ``audit`` only measure, and are in gray levels throughout; so are the
columns of curves, tables and metrics, as published figures are.
"""

from typing import Annotated

from pydantic import Field

GRAY_LEVEL = 1 / 255
"""One 8-bit gray level in the unit of the image."""
Scale = Annotated[int, Field(ge=2, le=4)]
"""HR pixels per LR pixel, along an axis."""
