"""The version of spandrel that a model needs."""

from importlib.metadata import version

FIRST = {
    "0.1.0": (
        "Compact", "DAT", "DITN", "ESRGAN", "FBCNN", "GFPGAN", "HAT", "KBNet", "LaMa", "OmniSR",
        "RestoreFormer", "SCUNet", "SwiftSRGAN", "Swin2SR", "SwinIR", "Uformer",
    ),
    "0.1.1": ("MMRealSR",),
    "0.1.2": ("SPAN",),
    "0.1.6": ("RealCUGAN",),
    "0.1.7": ("CRAFT",),
    "0.2.0": ("GRL", "SAFMN"),
    "0.2.2": ("NAFNet",),
    "0.3.0": ("DCTLSA", "FFTformer", "RGT"),
    "0.3.1": ("ATD", "DRUNet", "DnCNN", "MixDehazeNet"),
    "0.3.2": ("DRCT", "IPT", "SAFMNBCIE"),
    "0.3.3": ("PLKSR",),
    "0.4.0": ("HVICIDNet", "MoSR", "RetinexFormer", "SeemoRe"),
    "0.4.1": ("MoESR", "RCAN"),
    "0.4.2": ("AuraSR", "FDAT"),
}  # fmt: skip
"""Networks by the first release of spandrel that holds a folder of them (each was looked into)."""


def least_version(network: str) -> str:
    """The first release of spandrel with a network; of others the one that is installed.

    A later release may be needed for options that the first did not read.
    """
    for release, networks in FIRST.items():
        if network in networks:
            return release
    return version("spandrel")
