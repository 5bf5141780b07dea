"""Evaluation protocols: border, colours and window of PSNR, SSIM and LPIPS.

A figure is meaningless without its protocol: to cut a border or to use Y alone changes PSNR by more
than most methods differ.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.images.io import Image

Name = Literal["usrdu", "rwsr2020", "y"]
"""Protocols by name."""

LUMA = (65481, 128553, 24966)
"""Y of BT.601 per R, G and B in 255000ths; with the offset 16, black is 16 and white 235."""


@dataclass(frozen=True)
class Protocol:
    """How two images are compared.

    PSNR and SSIM see the images in ``colour`` less their border, LPIPS the RGB images less the same
    border.  Means are means of the values of the images.
    """

    name: Name
    border: int
    """Pixels cut from every side."""
    colour: Literal["RGB", "Y"]
    """RGB as 8 bit; Y of BT.601 (16..235) in float64, not rounded."""
    window: Literal["gaussian", "uniform"]
    """Window of SSIM: Gaussian 11x11 of sigma 1.5 with population moments, as published, or uniform
    7x7 with sample moments, the default of scikit-image.  Only pixels with a whole window count."""

    @property
    def window_side(self) -> int:
        """Side of the window of SSIM in pixels, and so of the smallest image."""
        return 11 if self.window == "gaussian" else 7

    def shave(self, image: Image) -> Image:
        """Cut the border from (3, H, W)."""
        _, height, width = image.shape
        cut = self.border
        return image[:, cut : height - cut, cut : width - cut]

    def view(self, image: Image) -> NDArray[np.float64]:
        """(C, H, W) gray levels that PSNR and SSIM see; C is 3, or 1 for Y."""
        shaved = self.shave(image)
        return luma(shaved)[None] if self.colour == "Y" else shaved.astype(np.float64)

    def describe(self) -> dict[str, Any]:
        """Border, colour and window of SSIM, for the metrics file."""
        gaussian = "Gaussian 11x11, sigma 1.5, valid part"
        uniform = "uniform 7x7, sample covariance, valid part"
        return {
            "border": self.border,
            "colour": "RGB, 8 bit" if self.colour == "RGB" else "Y of BT.601 (16..235)",
            "ssim": gaussian if self.window == "gaussian" else uniform,
        }


USRDU = Protocol("usrdu", border=4, colour="RGB", window="gaussian")
"""The protocol of the paper's authors."""


def protocol(name: Name, scale: int) -> Protocol:
    """A protocol by name, for images of an SR model of this scale.

    ``usrdu`` is the authors', ``rwsr2020`` that of the NTIRE 2020 real-world SR challenge, and
    ``y`` the one of most other papers, whose border is the scale.
    """
    match name:
        case "usrdu":
            return USRDU
        case "rwsr2020":
            return Protocol(name, border=0, colour="RGB", window="uniform")
        case "y":
            return Protocol(name, border=scale, colour="Y", window="gaussian")


def luma(image: Image) -> NDArray[np.float64]:
    """Y of BT.601, (H, W) in 16..235, not rounded, of an RGB image (3, H, W), 0..255.

    The sum is in integers, so a half is exactly a half and rounds alike on every machine.
    """
    parts = [weight * plane.astype(np.int32) for weight, plane in zip(LUMA, image, strict=True)]
    return np.asarray(16 + sum(parts) / 255000, dtype=np.float64)
