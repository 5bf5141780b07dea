"""The authors' DSN, written out from its description, with random weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class AuthorsBlock(nn.Module):
    """conv, PReLU, conv, and the input."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, 1, 1)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(features, features, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.conv2(self.prelu(self.conv1(x)))
        return inner + x


class AuthorsDsn(nn.Module):
    """The DSN under the names of the authors' file, from its description in words."""

    def __init__(self, features: int, blocks: int, scale: int, wrapped: bool = False) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, stride, 1)

        f = features
        self.block_input = nn.Sequential(conv(3, f), nn.PReLU())
        self.res_blocks = nn.Sequential(*[AuthorsBlock(f) for _ in range(blocks)])
        halving = [conv(f, f, 2), nn.PReLU(), conv(f, f, 2), nn.PReLU()]
        self.down_sample = nn.Sequential(*halving[: scale // 2 * 2])
        self.block_output = nn.Sequential(conv(f, 3)) if wrapped else conv(f, 3)
        self.var = nn.Sequential(conv(f, f), nn.ELU(), conv(f, f), nn.ELU(), conv(f, 3), nn.ELU())
        self.per_var = nn.Sequential(
            conv(f, 64), nn.ReLU(), nn.MaxPool2d(2),
            conv(64, 128), nn.ReLU(), nn.MaxPool2d(2),
            conv(128, 256), nn.ReLU(), nn.MaxPool2d(2),
            conv(256, 512), nn.ReLU(), nn.MaxPool2d(2),
            conv(512, 512), nn.ELU(), conv(512, 512), nn.ELU(), conv(512, 512), nn.ELU(),
        )  # fmt: skip

    def features(self, hr: Tensor) -> Tensor:
        """What all heads see."""
        x: Tensor = self.down_sample(self.res_blocks(self.block_input(hr)))
        return x

    def maps(self, hr: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log theta in gray levels, of images that may be small."""
        return self.block_output(self.features(hr)), self.var(self.features(hr))

    def forward(self, hr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, log theta, log sigma."""
        return *self.maps(hr), self.per_var(self.features(hr))


def authors_dsn(
    features: int = 6, blocks: int = 2, scale: int = 4, wrapped: bool = False
) -> AuthorsDsn:
    """Random weights, every slope another."""
    with torch.random.fork_rng():
        torch.manual_seed(features + blocks + scale)
        made = AuthorsDsn(features, blocks, scale, wrapped)
        for name, parameter in made.named_parameters():
            if parameter.numel() == 1:
                nn.init.uniform_(parameter, 0.05, 0.6)
            elif name.startswith("var.4"):
                nn.init.uniform_(parameter, -0.5, 0.5)
    return made.eval()


def hr_image(side: int = 128) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(2))


def prefixed(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}
