"""The transfer curve of sRGB (IEC 61966-2-1): from encoded values to linear light and back."""

import torch
from torch import Tensor

ENCODED_KNEE = 0.04045
"""Encoded values up to it are proportional to light."""
LINEAR_KNEE = 0.0031308
"""The same in linear light."""


def to_linear(encoded: Tensor) -> Tensor:
    """Linear light in [0, 1] of encoded values in [0, 1], any shape; differentiable."""
    curved = ((encoded.clamp(min=ENCODED_KNEE) + 0.055) / 1.055) ** 2.4
    return torch.where(encoded <= ENCODED_KNEE, encoded / 12.92, curved)


def to_encoded(light: Tensor) -> Tensor:
    """Encoded values in [0, 1] of linear light in [0, 1], any shape; differentiable."""
    curved = 1.055 * light.clamp(min=LINEAR_KNEE) ** (1 / 2.4) - 0.055
    return torch.where(light <= LINEAR_KNEE, light * 12.92, curved)
