"""The photographs of scikit-image that the demo uses, by purpose."""

from importlib.resources import as_file, files

from pipeline.images.io import Image, crop_to_multiple, read_image

HR = (
    "astronaut.png",
    "gravel.png",
    "grass.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "rocket.jpg",
)
"""Sharp images the DSN and the SRN are trained on."""
LR = (
    "brick.png",
    "camera.png",
    "coins.png",
    "color.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "retina.jpg",
)
"""Photographs of which the training gets only the LR images of the camera."""
VAL = ("chelsea.png", "coffee.png")
"""Validation: pairs of an HR image and its LR image by the camera."""


def photograph(name: str, scale: int) -> Image:
    """Read a photograph of scikit-image, cropped to a multiple of the scale.

    Args:
        name: A file name of HR, LR or VAL.
        scale: HR pixels per LR pixel.

    Returns:
        (3, H, W), uint8; a grey photograph has three equal channels.

    """
    with as_file(files("skimage.data") / name) as path:
        return crop_to_multiple(path, read_image(path), scale)
