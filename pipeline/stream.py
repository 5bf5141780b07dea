"""What the SRN is trained on: crops of (HR, mean, theta), and a fresh Laplace draw of each."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from pipeline.crops import offsets, require_crop, turn
from pipeline.errors import UserError
from pipeline.laplace import sample
from pipeline.seeding import generator
from pipeline.stores import Store, require_same_scale

Theta = Literal["raw", "none"]


class Pair(NamedTuple):
    """A training batch on the training device."""

    lr: Tensor
    """(N, 3, S, S), a sample of the degradation, not clamped."""
    hr: Tensor
    """(N, 3, scale S, scale S) in [0, 1]."""


class PairStream:
    """All images of ``hr.zarr`` and ``maps.zarr`` in host memory, served as batches.

    HR stays uint8 and the maps float16 until a batch is on the device.

    Args:
        hr: Store of kind hr.
        maps: Store of kind maps, exported from that HR store.
        patch: S, side of an LR crop.
        theta: ``raw`` draws y = mean + eps theta (Eq. 8); ``none`` gives the mean itself.
        device: Where batches go and noise is drawn.
        seed: Seed of the run.

    Raises:
        UserError: The stores do not belong together, or an image is smaller than a crop.

    """

    def __init__(
        self,
        hr: Store,
        maps: Store,
        patch: int,
        theta: Theta,
        device: torch.device,
        seed: int,
    ) -> None:
        self.scale = require_same_scale(hr, maps)
        if maps.attributes["hr_digest"] != hr.digest:
            raise UserError(
                f"{maps.path} was exported from HR images with the digest "
                f"{maps.attributes['hr_digest'][:12]}, but {hr.path} has {hr.digest[:12]}; "
                "run the export stage again"
            )
        require_crop(maps, patch, "train_srn.lr_patch")
        self.patch, self.theta, self.device, self.seed = patch, theta, device, seed
        self.hr = [torch.from_numpy(hr.read(i, "image")) for i in maps.ids]
        self.mean = [torch.from_numpy(maps.read(i, "mean")) for i in maps.ids]
        self.scales = [torch.from_numpy(maps.read(i, "theta")) for i in maps.ids]

    def batch(self, step: int, chosen: Sequence[int]) -> Pair:
        """Cut, turn and sample one crop of each chosen image.

        Args:
            step: Position in the run; the batch is a function of it and of ``chosen``.
            chosen: Image indices, see ``crops.Schedule``.

        """
        hr, mean, theta = self._cut(chosen, generator(self.seed, "train_srn/crops", step))
        hr, mean, theta = turn([hr, mean, theta], generator(self.seed, "train_srn/turns", step))
        hr, mean, theta = hr.float() / 255, mean.float(), theta.float()
        if self.theta == "none":
            return Pair(mean, hr)
        return Pair(
            sample(mean, theta, generator(self.seed, "train_srn/noise", step, self.device)), hr
        )

    def _cut(self, chosen: Sequence[int], source: torch.Generator) -> list[Tensor]:
        sizes = [(self.mean[i].shape[1], self.mean[i].shape[2]) for i in chosen]
        corners = offsets(sizes, self.patch, source)
        cut = []
        for images, scale in ((self.hr, self.scale), (self.mean, 1), (self.scales, 1)):
            side = self.patch * scale
            parts = [
                images[i][:, t * scale : t * scale + side, x * scale : x * scale + side]
                for i, (t, x) in zip(chosen, corners, strict=True)
            ]
            cut.append(torch.stack(parts).to(self.device, non_blocking=True))
        return cut
