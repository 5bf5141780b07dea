"""Discriminators: a U-Net with spectral norm for both trainings, ESRGAN's for the SR network."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class UNetDiscriminator(nn.Module):
    """One logit for every pixel, positive for "real" (Real-ESRGAN, Wang et al. 2021).

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


class VGGDiscriminator(nn.Module):
    """One logit for an image of fixed size (ESRGAN, Wang et al. 2018).

    Pairs of convolutions, of stride one and two, each but the first with batch norm, until fewer
    than eight pixels a side are left; then two fully connected layers.

    Args:
        features: Width at full size, doubled at every halving up to eight times; 64 in ESRGAN.
        side: H and W of the images, at least 8.

    Raises:
        ValueError: The images are too small.

    """

    def __init__(self, features: int, side: int) -> None:
        super().__init__()
        if side < 8:
            raise ValueError(f"the images must have at least 8x8 pixels, got {side}x{side}")
        layers: list[nn.Module] = [nn.Conv2d(3, features, 3, padding=1), nn.LeakyReLU(0.2)]
        width, halvings = features, 0
        while side >= 8:
            wider = features * 2 ** min(halvings, 3)
            if halvings:
                layers += _normed(nn.Conv2d(width, wider, 3, padding=1, bias=False))
            layers += _normed(nn.Conv2d(wider, wider, 4, stride=2, padding=1, bias=False))
            width, side, halvings = wider, side // 2, halvings + 1
        self.convolutions = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(width * side * side, 100), nn.LeakyReLU(0.2), nn.Linear(100, 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N, 1) for (N, 3, H, W)."""
        logits: Tensor = self.head(self.convolutions(image).flatten(1))
        return logits


def _normed(convolution: nn.Conv2d) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.LeakyReLU(0.2)]


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)
