"""The downsampling network (DSN) with its three heads."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.base.units import GRAY_LEVEL
from pipeline.passport.model import CameraModel

MIN_LOG_THETA_GRAY = -1.0
"""The ELU at the end of the head bounds log theta in gray levels from below."""

STRIDES = {2: (2,), 3: (3,), 4: (2, 2)}
"""Strides of the strided convolutions, by scale."""


class ResidualBlock(nn.Module):
    """conv - PReLU - conv, plus the input."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(self.prelu(self.conv1(x)))
        return out


class Degradation(NamedTuple):
    """The output of the DSN for an HR batch (N, 3, H, W) at scale s."""

    mean: Tensor
    """y_g, (N, 3, H/s, W/s), in the unit of the image, about [0, 1], not clamped."""
    log_theta_gray: Tensor
    """Natural logarithm of theta in gray levels, shape of ``mean``; at least -1, or where theta
    starts from a camera's noise, at least -1 above the logarithm of that."""
    log_sigma: Tensor | None
    """Logarithm of the feature scale, (N, 512, H/16s, W/16s), if it was asked for; at least -1."""

    def maps(self) -> dict[str, Tensor]:
        """The arrays of a store of maps, by name: (N, 3, H/s, W/s), in the unit of the image."""
        return {"mean": self.mean, "theta": theta_from_log(self.log_theta_gray)}


class DSN(nn.Module):
    """Maps HR images to the mean and the Laplace scale of their degraded LR images (Sec. 3.1).

    A first convolution and residual blocks at HR size, strided convolutions (one at scale 2, two at
    scale 4, and at scale 3 one of stride 3 without padding, whose output i covers the HR pixels
    3i to 3i + 2), and three heads on the result: the mean (one convolution), log theta (three
    convolutions, ELU after each) and log sigma (VGG-shaped, down to the size of conv5_4 of the
    VGG19 of the LR image).

    Args:
        scale: 2, 3 or 4.
        features: Width of the trunk; 64 in the paper.
        blocks: Residual blocks; 8 in the paper.
        camera: What the mean is a residual on: mean = camera(x) + head(x).  The head starts at
            zero, so the untrained mean is the camera's.  None: the head gives the mean.
        camera_theta: Theta, too, starts from the camera: theta = b(x) exp(head(x)), b(x) the scale
            of its noise, and the head starts at zero.

    Attributes:
        halo: Width in HR pixels of the border around an area of the input that mean and theta of
            the area depend on, rounded up to a multiple of the scale: 1 + 2 blocks at HR size, at
            most scale - 1 in the strided convolutions, 3 scale in the theta head; 32 for the
            paper's network.  With a camera it is at least the camera's.

    Raises:
        ValueError: The scale is not 2, 3 or 4, or not that of the camera; or theta is to start from
            a camera, and there is none.

    """

    def __init__(
        self,
        scale: int = 4,
        features: int = 64,
        blocks: int = 8,
        camera: CameraModel | None = None,
        camera_theta: bool = False,
    ) -> None:
        super().__init__()
        if scale not in STRIDES:
            raise ValueError(f"scale must be 2, 3 or 4, got {scale}")
        if camera is not None and camera.scale != scale:
            raise ValueError(f"scale must be that of the camera, {camera.scale}, got {scale}")
        if camera_theta and camera is None:
            raise ValueError("camera_theta needs a camera")
        self.scale, self.camera, self.camera_theta = scale, camera, camera_theta
        self.halo: int = -(-(2 * blocks + 4 * scale) // scale) * scale
        if camera is not None:
            self.halo = max(self.halo, camera.halo)
        self.head = nn.Sequential(nn.Conv2d(3, features, 3, padding=1), nn.PReLU())
        self.blocks = nn.Sequential(*(ResidualBlock(features) for _ in range(blocks)))
        down: list[nn.Module] = []
        for stride in STRIDES[scale]:
            padding = 1 if stride == 2 else 0
            down += [nn.Conv2d(features, features, 3, stride, padding), nn.PReLU()]
        self.down = nn.Sequential(*down)
        self.mean_head = nn.Conv2d(features, 3, 3, padding=1)
        self.log_theta_head = nn.Sequential(
            *_conv(features, features, nn.ELU()),
            *_conv(features, features, nn.ELU()),
            *_conv(features, 3, nn.ELU()),
        )
        pooled: list[nn.Module] = []
        width = features
        for wider in (64, 128, 256, 512):
            pooled += [*_conv(width, wider, nn.ReLU()), nn.MaxPool2d(2)]
            width = wider
        for _ in range(3):
            pooled += _conv(512, 512, nn.ELU())
        self.log_sigma_head = nn.Sequential(*pooled)
        if camera is not None:
            _start_at_zero(self.mean_head)
        if camera_theta:
            _start_at_zero(self.log_theta_head[-2])

    def forward(self, hr: Tensor, with_sigma: bool = False) -> Degradation:
        """Degrade a batch.

        Args:
            hr: (N, 3, H, W) in [0, 1]; H and W multiples of the scale, and of 16 times the scale
                with ``with_sigma``.
            with_sigma: Also evaluate the log sigma head, which only training needs.

        Raises:
            ValueError: The shape does not fit.

        """
        multiple = self.scale * (16 if with_sigma else 1)
        if hr.ndim != 4 or hr.shape[1] != 3 or hr.shape[2] % multiple or hr.shape[3] % multiple:
            raise ValueError(
                f"expected (N, 3, H, W) with H and W multiples of {multiple}, got {tuple(hr.shape)}"
            )
        features = self.down(self.blocks(self.head(hr)))
        mean, log_theta_gray = self.mean_head(features), self.log_theta_head(features)
        if self.camera is not None:
            base = self.camera(hr)
            mean = base + mean
            if self.camera_theta:
                noise_gray = self.camera.noise_scale(base) / GRAY_LEVEL
                log_theta_gray = noise_gray.log() + log_theta_gray
        log_sigma = self.log_sigma_head(features) if with_sigma else None
        return Degradation(mean, log_theta_gray, log_sigma)

    def maps(self, hr: Tensor) -> dict[str, Tensor]:
        """Mean and theta of HR images, by name, as a store of maps holds them.

        Args:
            hr: (N, 3, H, W) in [0, 1]; H and W multiples of the scale.

        Returns:
            (N, 3, H/s, W/s) each, in the unit of the image.

        """
        return self.forward(hr).maps()


def theta_from_log(log_theta_gray: Tensor) -> Tensor:
    """Theta in the unit of the image, from the DSN's logarithm of theta in gray levels."""
    return torch.exp(log_theta_gray) / 255


def _start_at_zero(convolution: nn.Module) -> None:
    for parameter in convolution.parameters():
        nn.init.zeros_(parameter)


def _conv(inputs: int, outputs: int, activation: nn.Module) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), activation]
