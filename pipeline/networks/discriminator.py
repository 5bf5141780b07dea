"""The U-Net discriminator with spectral norm, used by both trainings."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class UNetDiscriminator(nn.Module):
    """Judges every pixel: one logit each, positive for "real" (Real-ESRGAN, Wang et al. 2021).

    Three strided convolutions down, three bilinear steps up with skip connections added; spectral
    norm on every convolution but the first and the last.

    Args:
        features: Width at full size, doubled at every step down; 64 in the paper.

    """

    def __init__(self, features: int = 64) -> None:
        super().__init__()
        f = features
        self.first = nn.Conv2d(3, f, 3, padding=1)
        self.down = nn.ModuleList(
            spectral_norm(nn.Conv2d(f * 2**i, f * 2 ** (i + 1), 4, stride=2, padding=1, bias=False))
            for i in range(3)
        )
        self.up = nn.ModuleList(
            spectral_norm(nn.Conv2d(f * 2 ** (i + 1), f * 2**i, 3, padding=1, bias=False))
            for i in reversed(range(3))
        )
        self.last = nn.ModuleList(
            spectral_norm(nn.Conv2d(f, f, 3, padding=1, bias=False)) for _ in range(2)
        )
        self.logit = nn.Conv2d(f, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N, 1, H, W) for (N, 3, H, W), H and W at least 8."""
        skips = [_leaky(self.first(image))]
        for conv in self.down:
            skips.append(_leaky(conv(skips[-1])))
        x = skips.pop()
        for conv in self.up:
            skip = skips.pop()
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = _leaky(conv(x)) + skip
        for conv in self.last:
            x = _leaky(conv(x))
        logits: Tensor = self.logit(x)
        return logits


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)
