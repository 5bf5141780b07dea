"""What the SRN is trained on: crops of pairs of an LR and an HR image.

LR images are fresh Laplace draws of (mean, theta), bicubic ones, or real ones of paired data.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from pipeline.calibration import CalibratedSampler, Calibration, require_calibration
from pipeline.crops import offsets, require_crop, turn
from pipeline.errors import UserError
from pipeline.filters import bicubic_downsample
from pipeline.images import Image, to_float, to_uint8
from pipeline.laplace import sample
from pipeline.seeding import generator
from pipeline.stores import Store, require_same_scale

Theta = Literal["raw", "calibrated", "constant", "none"]


class Pair(NamedTuple):
    """A training batch on the training device."""

    lr: Tensor
    """(N, 3, S, S), a sample of the degradation; only calibrated ones are cut to [0, 1]."""
    hr: Tensor
    """(N, 3, scale S, scale S) in [0, 1]."""


class Stream(Protocol):
    """Anything an SRN can be trained on."""

    scale: int
    """HR pixels per LR pixel."""
    images: int
    """Number of images."""

    def batch(self, step: int, chosen: Sequence[int]) -> Pair:
        """One crop of each chosen image, a function of ``step`` and ``chosen``."""


class PairStream:
    """All images of ``hr.zarr`` and ``maps.zarr`` in host memory, served as batches.

    HR stays uint8 and the maps float16 until a batch is on the device.

    Args:
        hr: Store of kind hr.
        maps: Store of kind maps, exported from that HR store.
        patch: S, side of an LR crop.
        theta: ``raw`` draws y = mean + eps theta (Eq. 8) with the stored theta, ``constant`` with
            one theta everywhere, ``calibrated`` follows the calibration; ``none`` is the mean.
        device: Where batches go and noise is drawn.
        seed: Seed of the run.
        constant_theta: Laplace scale for ``constant``, in the unit of the image.
        calibration: For ``calibrated``.

    Raises:
        UserError: Stores and calibration do not belong together, or an image is smaller than a
            crop.

    """

    def __init__(
        self,
        hr: Store,
        maps: Store,
        patch: int,
        theta: Theta,
        device: torch.device,
        seed: int,
        constant_theta: float = 0.0,
        calibration: Calibration | None = None,
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
        self.images, self.constant_theta = len(maps.ids), constant_theta
        self.calibrated: CalibratedSampler | None = None
        if theta == "calibrated":
            if calibration is None:
                raise UserError("train_srn.theta is calibrated, but no calibration was given")
            require_calibration(calibration, maps)
            self.calibrated = CalibratedSampler(calibration, device)
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
        return Pair(
            self._sample(mean, theta, generator(self.seed, "train_srn/noise", step, self.device)),
            hr,
        )

    def _sample(self, mean: Tensor, theta: Tensor, source: torch.Generator) -> Tensor:
        if self.theta == "none":
            return mean
        if self.calibrated is not None:
            return self.calibrated.sample(mean, source)
        if self.theta == "constant":
            theta = torch.full_like(mean, self.constant_theta)
        return sample(mean, theta, source)

    def _cut(self, chosen: Sequence[int], source: torch.Generator) -> list[Tensor]:
        groups = ((self.mean, 1), (self.hr, self.scale), (self.scales, 1))
        mean, hr, theta = cut(groups, chosen, self.patch, source)
        return [part.to(self.device, non_blocking=True) for part in (hr, mean, theta)]


class CaptureStream:
    """Crops of HR images and of LR images of them that were made before; see ``Stream``.

    Args:
        hr: (3, H, W) uint8 images.
        captures: For every image its LR images (3, H/s, W/s), uint8, of which a crop takes one at
            random.
        scale: HR pixels per LR pixel.
        patch: Side of an LR crop.
        device: Where batches go.
        seed: Seed of the run.

    """

    def __init__(
        self,
        hr: Sequence[Image],
        captures: Sequence[Sequence[Image]],
        scale: int,
        patch: int,
        device: torch.device,
        seed: int,
    ) -> None:
        self.hr = [torch.from_numpy(image) for image in hr]
        self.captures = [[torch.from_numpy(image) for image in some] for some in captures]
        self.scale, self.patch, self.device, self.seed = scale, patch, device, seed
        self.images = len(hr)

    def batch(self, step: int, chosen: Sequence[int]) -> Pair:
        """One crop of each chosen image, a function of ``step`` and ``chosen``."""
        counts = torch.tensor([len(self.captures[i]) for i in chosen])
        drawn = torch.rand(len(chosen), generator=generator(self.seed, "recovery/captures", step))
        taken = [self.captures[i][int(k)] for i, k in zip(chosen, drawn * counts, strict=True)]
        hr = [self.hr[i] for i in chosen]
        source = generator(self.seed, "train_srn/crops", step)
        crops = cut(((taken, 1), (hr, self.scale)), range(len(chosen)), self.patch, source)
        floats = [crop.to(self.device).float() / 255 for crop in crops]
        lr, large = turn(floats, generator(self.seed, "train_srn/turns", step))
        return Pair(lr, large)


def bicubic_stream(hr: Store, patch: int, device: torch.device, seed: int) -> CaptureStream:
    """HR images and what bicubic makes of them, rounded to 8 bit as image files are.

    Raises:
        UserError: An image is smaller than a crop.

    """
    require_crop(hr, patch * hr.scale, "train_srn.lr_patch")
    images = [hr.read(i, "image") for i in hr.ids]
    small = [[to_uint8(bicubic_downsample(to_float(image), hr.scale))] for image in images]
    return CaptureStream(images, small, hr.scale, patch, device, seed)


def pairs_stream(pairs: Store, patch: int, device: torch.device, seed: int) -> CaptureStream:
    """Real pairs, for supervised training.

    Args:
        pairs: Store of kind val.
        patch: Side of an LR crop.
        device: Where batches go.
        seed: Seed of the run.

    Raises:
        UserError: There is no pair, or an image is smaller than a crop.

    """
    if not pairs.ids:
        raise UserError(f"{pairs.path}: holds no pair to train on; name a folder of pairs")
    require_crop(pairs, patch * pairs.scale, "train_srn.lr_patch")
    images = [pairs.read(i, "hr") for i in pairs.ids]
    real = [[pairs.read(i, "lr")] for i in pairs.ids]
    return CaptureStream(images, real, pairs.scale, patch, device, seed)


def cut(
    groups: Sequence[tuple[Sequence[Tensor], int]],
    chosen: Sequence[int],
    patch: int,
    source: torch.Generator,
) -> list[Tensor]:
    """Cut the same crops from images that belong together.

    Args:
        groups: Images (C, H, W) and how many times finer each group is than the first.
        chosen: Image indices.
        patch: Side of a crop of the first group.
        source: A CPU generator.

    Returns:
        For every group (N, C, S, S), S the patch times how much finer it is.

    """
    first = groups[0][0]
    sizes = [(first[i].shape[1], first[i].shape[2]) for i in chosen]
    corners = offsets(sizes, patch, source)
    result = []
    for images, finer in groups:
        side = patch * finer
        parts = [
            images[i][:, t * finer : t * finer + side, x * finer : x * finer + side]
            for i, (t, x) in zip(chosen, corners, strict=True)
        ]
        result.append(torch.stack(parts))
    return result
