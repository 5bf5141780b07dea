"""HR images of the camera itself: real LR images that are downscaled, which removes noise.

This is the recipe of the winners of NTIRE 2020 Track 2 (Ji et al., "Real-World Super-Resolution via
Kernel Estimation and Noise Injection", CVPR Workshops 2020): downscaling reduces noise and
compression artefacts, and sharpens.
"""

from pathlib import Path

from pipeline.base.errors import UserError
from pipeline.images.filters import bicubic_downsample
from pipeline.images.io import Image, crop_to_multiple, size_text, to_float, to_uint8
from pipeline.stores.reader import Store
from pipeline.stores.split import training_box


def clean(image: Image, factor: int) -> Image:
    """Make an image ``factor`` times smaller with the antialiased bicubic kernel.

    Noise that is independent between pixels, of standard deviation s, is reduced to s times the
    root of the sum of the squared kernel weights: 0.404 s for the factor 2, 0.272 s for 3, 0.204 s
    for 4.  Rounding adds a variance of 1/12.  Correlated noise is reduced less.

    Args:
        image: (3, H, W), uint8.
        factor: Input pixels per output pixel along each side.  Rows and columns that exceed a
            multiple of it are cut.

    Returns:
        (3, H // factor, W // factor), rounded to 8 bit and clamped.

    Raises:
        ValueError: H or W is smaller than the factor.

    """
    height, width = (length // factor * factor for length in image.shape[1:])
    if not height or not width:
        raise ValueError(f"{size_text(image)} cannot be made {factor} times smaller")
    return to_uint8(bicubic_downsample(to_float(image[:, :height, :width]), factor))


def cleaned_hr(path: Path, lr: Store, image_id: str, factor: int) -> Image:
    """An HR image made of the training part of a real LR image (see ``stores.split``).

    Args:
        path: The file of the real LR image, for messages.
        lr: Store of kind lr.
        image_id: Id of the image in the store.
        factor: See ``clean``.

    Returns:
        (3, H, W), uint8; the scale of the store divides H and W.

    Raises:
        UserError: The result would be smaller than the scale.

    """
    part = lr.read(image_id, "image", training_box(lr, image_id))
    if min(part.shape[1:]) < factor * lr.scale:
        raise UserError(
            f"{path}: is {size_text(part)} without its held-out part, too small to be an HR image "
            f"after cleaning by {factor} at the scale {lr.scale}"
        )
    return crop_to_multiple(path, clean(part, factor), lr.scale)
