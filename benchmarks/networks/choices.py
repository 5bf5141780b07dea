"""The options with which every network is tried."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

SIDE = 32
"""Side of a crop of the training step, in LR pixels."""
LIGHT = {"embed_dim": 60, "depths": [6] * 4, "num_heads": [6] * 4, "mlp_ratio": 2.0}
"""What the light networks of SwinIR and of those that follow it share."""


@dataclass(frozen=True)
class Choice:
    """How a network is built and trained once."""

    options: Mapping[str, object] = field(default_factory=dict)
    """What differs from spandrel's defaults."""
    named: str = "spandrel's defaults"
    """The options, in words."""
    scale: int = 4
    """SR pixels per LR pixel."""
    side: int = SIDE
    """Side of a crop, in LR pixels."""


def _paper(words: str, **options: object) -> Choice:
    return Choice(options, f"its paper's: {words}")


AURA = {"dim_in": 8, "dim_out": 8, "depth": 1}
"""The style network of AuraSR."""
CHOICES: Mapping[str, Choice] = MappingProxyType({
    "ATD": _paper(
        "light, 48 channels", embed_dim=48, depths=[6] * 4, num_heads=[4] * 4, window_size=16,
        num_tokens=64, reducted_dim=8, convffn_kernel_size=7, mlp_ratio=1.0, category_size=128,
        upsampler="pixelshuffledirect",
    ),
    "AuraSR": Choice({"dim": 8, "image_size": 256, "input_image_size": 64, "style_network": AURA}),
    "DAT": _paper(
        "light, 60 channels", embed_dim=60, depth=[18], num_heads=[6], expansion_factor=2.0,
        split_size=[8, 32], upsampler="pixelshuffledirect",
    ),
    "DRCT": _paper("180 channels, 6 x 6 layers", window_size=16, upsampler="pixelshuffle"),
    "DRUNet": Choice({"in_nc": 3, "out_nc": 3}, "RGB"),
    "DnCNN": Choice({"in_nc": 3, "out_nc": 3}, "RGB"),
    "GRL": _paper(
        "tiny, 64 channels", embed_dim=64, depths=[4] * 4, num_heads_window=[2] * 4,
        num_heads_stripe=[2] * 4, mlp_ratio=2.0, window_size=32, stripe_size=[64, 64],
        anchor_window_down_factor=4, stripe_shift=True, upsampler="pixelshuffledirect",
    ),
    "HAT": _paper(
        "small, 144 channels", embed_dim=144, depths=[6] * 6, num_heads=[6] * 6, window_size=16,
        compress_ratio=24, squeeze_factor=24, mlp_ratio=2.0,
    ),
    "IPT": Choice({"scale": [4]}),
    "MMRealSR": Choice({"num_in_ch": 3, "num_out_ch": 3}, "RGB"),
    "OmniSR": _paper("64 channels, 5 groups", res_num=5),
    "RGT": _paper(
        "small, 180 channels", depth=[6] * 6, num_heads=[6] * 6, split_size=[8, 32], mlp_ratio=2
    ),
    "RealCUGAN": Choice(scale=2, side=48),
    "SAFMN": _paper("36 channels", dim=36),
    "SAFMNBCIE": Choice({"dim": 36}, "36 channels"),
    "SPAN": _paper("48 channels", num_in_ch=3, num_out_ch=3),
    "Swin2SR": _paper("light, 60 channels", **LIGHT, window_size=8, upsampler="pixelshuffledirect"),
    "SwinIR": _paper("light, 60 channels", **LIGHT, window_size=8, upsampler="pixelshuffledirect"),
})  # fmt: skip
"""By the name of the architecture; the others are built with spandrel's defaults.

Where a paper has several sizes, it is the one that a machine without a GPU would train.
"""
MADE_FOR: Mapping[str, str] = MappingProxyType({
    "AuraSR": "images of 64x64 pixels, as a GAN",
    "DRUNet": "denoising", "DnCNN": "denoising", "FBCNN": "removal of JPEG artifacts",
    "FFTformer": "deblurring", "GFPGAN": "restoration of faces",
    "HVICIDNet": "enhancement of dark images", "IPT": "images of 48x48 pixels",
    "KBNet": "denoising", "LaMa": "inpainting", "MMRealSR": "SR with a degree of degradation",
    "MixDehazeNet": "dehazing", "NAFNet": "denoising and deblurring",
    "RestoreFormer": "restoration of faces", "RetinexFormer": "enhancement of dark images",
    "SAFMNBCIE": "removal of compression artifacts", "SCUNet": "denoising", "Uformer": "denoising",
})  # fmt: skip
"""What those are for that are no plain SR networks."""
TINY: Mapping[str, Choice] = MappingProxyType({
    "Compact": Choice({"num_feat": 6, "num_conv": 2}, "6 channels", 2, 8),
    "ESRGAN": Choice({"num_filters": 8, "num_blocks": 1}, "8 channels", 4, 8),
})  # fmt: skip
"""Small enough for a test."""


def choice(name: str, size: str) -> Choice:
    """The options of an architecture.

    Args:
        name: Of the architecture.
        size: ``paper`` or ``tiny``.

    """
    return (TINY if size == "tiny" else CHOICES).get(name, Choice())
