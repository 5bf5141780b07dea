"""LR images that a data set holds enlarged to the size of their HR images.

City100 and RealSR in its versions 1 and 2 are such: HR and LR were aligned, which left LR on the
pixels of HR.  Such an image is reduced by the scale again, with antialiasing.
"""

from pathlib import Path
from typing import Literal

from pipeline.base.errors import UserError
from pipeline.images.io import Image, crop_to_multiple
from pipeline.images.reduction import reduce_image

LrSize = Literal["native", "enlarged"]
"""Size of LR images in their files.  ``native``: HR is ``scale`` times as large.  ``enlarged``: HR
has the same size."""


def reduced(path: Path, image: Image, reduction: int) -> Image:
    """An LR image in its own size, made of its enlargement with the antialiased bicubic kernel.

    ``docs/data.md`` says what this does to noise and to JPEG.

    Args:
        path: The file of the image, for messages.
        image: (3, H, W), uint8.  Rows and columns that exceed a multiple of the reduction are cut,
            at the bottom and on the right as of HR images.
        reduction: Pixels of the file per LR pixel, along each side.  1: the image stays as it is.

    Returns:
        (3, H // reduction, W // reduction), rounded to 8 bit and clamped.

    Raises:
        UserError: The image is smaller than the reduction.

    """
    if reduction == 1:
        return image
    return reduce_image(crop_to_multiple(path, image, reduction), reduction)


def check_enlarged(hr: Path, lr: Path, same_size: bool, enlarged: bool) -> None:
    """Check that the LR image of a pair has the size of the HR image exactly if it was enlarged.

    Args:
        hr: File of the HR image.
        lr: File of the LR image.
        same_size: Whether both have the same height and width.
        enlarged: Whether ``prepare.lr_size`` says that it was.

    Raises:
        UserError: It has, and should not, or the other way round.

    """
    if same_size and not enlarged:
        raise UserError(
            f"{lr}: has the size of {hr.name}; prepare.lr_size: enlarged reduces LR images that "
            "were enlarged to the size of HR"
        )
    if enlarged and not same_size:
        raise UserError(
            f"{lr}: has not the size of {hr.name}, so it was not enlarged to it; prepare.lr_size: "
            "native takes LR images as they are"
        )
