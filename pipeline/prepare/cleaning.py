"""HR images of the camera itself: real LR images that are downscaled, which removes noise.

This is the recipe of the winners of NTIRE 2020 Track 2 (Ji et al., "Real-World Super-Resolution via
Kernel Estimation and Noise Injection", CVPR Workshops 2020): downscaling reduces noise and
compression artefacts, and sharpens.
"""

from pathlib import Path

from pipeline.base.errors import UserError
from pipeline.images.io import Image, crop_to_multiple, size_text
from pipeline.images.reduction import reduce_image
from pipeline.stores.reader import Store
from pipeline.stores.split import training_box


def cleaned_hr(path: Path, lr: Store, image_id: str, factor: int) -> Image:
    """An HR image made of the training part of a real LR image (see ``stores.split``).

    Args:
        path: The file of the real LR image, for messages.
        lr: Store of kind lr.
        image_id: Id of the image in the store.
        factor: See ``images.reduction``.

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
    return crop_to_multiple(path, reduce_image(part, factor), lr.scale)
