"""VGG19 features for the perceptual losses (Eq. 3, 4, 12)."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import VGG19_Weights
from torchvision.models.vgg import cfgs, make_layers

from pipeline.base.errors import UserError, one_line
from pipeline.base.hashes import file_hash
from pipeline.stores.weights import load_foreign

CONV5_4 = 34
"""Index of conv5_4 in torchvision's ``vgg19().features``."""

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
RANDOM_SEED = 19


class VGG19Features(nn.Module):
    """conv5_4 of VGG19 before its ReLU, frozen.

    Args:
        weights: ``"imagenet"`` (torchvision's, downloaded once), ``"random"`` (a fixed seed, for
            machines without network; its distances are not perceptual), or a file with
            torchvision's ``vgg19`` state dict (``.pth``).

    Raises:
        UserError: The weights cannot be loaded or do not fit.

    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: str) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(RANDOM_SEED)
            self.layers = make_layers(cfgs["E"], batch_norm=False)[: CONV5_4 + 1]
            for layer in self.layers:
                if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                    nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
                    nn.init.zeros_(layer.bias)
                if isinstance(layer, nn.ReLU):
                    layer.inplace = False
        if weights != "random":
            self._load(weights)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(STD)[:, None, None])
        self.eval().requires_grad_(False)

    def _load(self, weights: str) -> None:
        try:
            if weights == "imagenet":
                state = VGG19_Weights.IMAGENET1K_V1.get_state_dict(check_hash=True)
            else:
                state, _ = load_foreign(Path(weights))
            prefix = "features."
            self.layers.load_state_dict(
                {
                    key.removeprefix(prefix): value
                    for key, value in state.items()
                    if key.startswith(prefix) and int(key.split(".")[1]) <= CONV5_4
                }
            )
        except Exception as error:  # network, file, unpickling and shape errors, all the user's
            raise UserError(
                f"VGG19 weights '{weights}' cannot be loaded ({one_line(error)}); "
                "name a vgg19 state dict file, or 'random' on a machine without network"
            ) from error

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, 512, H/16, W/16) features of images (N, 3, H, W) in [0, 1]."""
        features: Tensor = self.layers((image - self.mean) / self.std)
        return features


def weights_hash(weights: str) -> str | None:
    """SHA-256 of the file that ``VGG19Features`` reads; None for weights without a file."""
    return None if weights in ("imagenet", "random") else file_hash(Path(weights))


def vgg16_layers(path: Path) -> nn.Module:
    """Torchvision's ``vgg16().features``, frozen, from a file with its state dict.

    Raises:
        UserError: The file is missing, damaged, or no state dict.
        RuntimeError: It is one of another network.

    """
    layers = make_layers(cfgs["D"], batch_norm=False)
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    state, _ = load_foreign(path)
    prefix = "features."
    found = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    layers.load_state_dict(found)
    frozen: nn.Module = layers.eval().requires_grad_(False)
    return frozen
