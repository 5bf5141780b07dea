"""The terms of an SR network's loss, beside L1.

A new term is a function here with an entry in ``TERMS``, a setting ``NAME_weight`` (a line of
``TrainSrnSettings`` and of ``params.yaml``) and a test.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.images.filters import low_pass
from pipeline.train_srn.dists import open_dists
from pipeline.train_srn.settings import TrainSrnSettings

LOW_PASS_SIZE = 9
"""Taps of the Gaussian of the low-passed content term."""
BLOCK = 32
"""Side of a block of the spectrum term, in HR pixels; blocks overlap by half of it.  Smaller and
larger ones kept less detail (docs/recovery.md)."""
CHARBONNIER_EPSILON = 1e-3
"""epsilon of the Charbonnier term, in the unit of the image (Lai et al., LapSRN)."""
MIX_ALPHA = 0.84
"""Share of MS-SSIM in its term (Zhao et al.)."""
MIX_SIGMAS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Standard deviations of its Gaussians, in pixels (Zhao et al.)."""
MIX_TAPS = 31
"""Taps of its Gaussians, in HR pixels: the side of the patches that Zhao et al. train on."""
C1, C2 = 0.01**2, 0.03**2
"""Constants of SSIM (Wang et al., IEEE TIP 2004) for a range of 1."""
LDL_SIDE = 7
"""Side of the window of LDL's local variance, in HR pixels (Liang et al.)."""
LDL_ROOT = 5
"""a of LDL, the root of the variance of the whole crop (Liang et al.)."""


class Images(NamedTuple):
    """What a term is computed of."""

    sr: Tensor
    """(N, 3, H, W), with its graph."""
    hr: Tensor
    """The same shape, in [0, 1]."""
    averaged: Callable[[], Tensor] | None = None
    """Makes the SR images of the averaged network, without a graph."""


Term = Callable[[Images], Tensor]
"""From images to an unweighted scalar."""


class Kind(NamedTuple):
    """An entry of ``TERMS``."""

    make: Callable[[TrainSrnSettings, nn.Module | None], Term]
    """Makes the term from the settings and, for ``perceptual``, VGG19."""
    least_side: int = 1
    """Smallest side of a crop, in HR pixels."""


def _low_pass(settings: TrainSrnSettings, _vgg: nn.Module | None) -> Term:
    """L1 of low-passed images (released code)."""

    def term(images: Images) -> Tensor:
        low = low_pass(images.sr - images.hr, LOW_PASS_SIZE, settings.borders)
        return low.abs().mean()

    return term


def _perceptual(_settings: TrainSrnSettings, vgg: nn.Module | None) -> Term:
    """L1 of VGG19's features."""

    def term(images: Images) -> Tensor:
        if vgg is None:
            raise ValueError("the perceptual term needs VGG19")
        with torch.no_grad():
            features = vgg(images.hr)
        return F.l1_loss(vgg(images.sr), features)

    return term


def block_spectra(images: Tensor) -> Tensor:
    """How much of every frequency a block holds, wherever in the block it is.

    The amplitudes of the Fourier transform of overlapping blocks, each without its mean and under
    a Hann window.  An SR network that cannot know where a detail is loses least here with a detail
    of the right amplitude, where the L1 distance of pixels is lowest without it.  Fuoli et al.
    (ICCV 2021) compare the amplitudes and phases of whole images.

    Args:
        images: (N, C, H, W), sides of at least ``BLOCK``; what is beyond the last whole half block
            is not seen.

    Returns:
        (N, C, rows, columns, BLOCK, BLOCK / 2 + 1) in the unit of the image: white noise of the
        standard deviation s has the root mean square s.

    """
    blocks = images.unfold(2, BLOCK, BLOCK // 2).unfold(3, BLOCK, BLOCK // 2)
    centred = blocks - blocks.mean(dim=(-2, -1), keepdim=True)
    taps = torch.hann_window(BLOCK, periodic=False, dtype=images.dtype, device=images.device)
    taps = taps / taps.square().mean().sqrt()
    amplitudes: Tensor = torch.fft.rfft2(centred * taps[:, None] * taps, norm="ortho").abs()
    return amplitudes


def spectrum(images: Images) -> Tensor:
    """L1 of ``block_spectra``."""
    return F.l1_loss(block_spectra(images.sr), block_spectra(images.hr))


def charbonnier(images: Images) -> Tensor:
    """The mean of sqrt(d^2 + epsilon^2) over all differences d: L1 that is smooth at zero.

    Charbonnier et al., ICIP 1994; as a loss of SR Lai et al., LapSRN, CVPR 2017.
    """
    return ((images.sr - images.hr).square() + CHARBONNIER_EPSILON**2).sqrt().mean()


def fft(images: Images) -> Tensor:
    """L1 of the Fourier transforms of whole crops, real and imaginary parts apart.

    Cho et al., MIMO-UNet, ICCV 2021, at the full size.  There it is not divided by the root
    of the number of pixels; here it is, so that it has the unit of the image and does not depend on
    the size of a crop.  Their weight of 0.1 on crops of 256 pixels is 25.6 here.
    """
    difference = torch.fft.fft2(images.sr - images.hr, norm="ortho")
    return torch.view_as_real(difference).abs().mean()


def gaussians(side: int, like: Tensor) -> Tensor:
    """The Gaussians of ``ms_ssim`` as matrices that blur a column: (5, side - 30, side).

    Every row has sum 1.  As products of matrices they are three times as fast as convolutions on a
    CPU, for crops of 64 pixels.
    """
    places = torch.arange(side, dtype=like.dtype, device=like.device)
    x = places - MIX_TAPS // 2 - places[: side - MIX_TAPS + 1, None]
    sigmas = torch.tensor(MIX_SIGMAS, dtype=like.dtype, device=like.device)
    taps = torch.exp(-0.5 * (x / sigmas[:, None, None]).square())
    taps = taps.masked_fill(x.abs() > MIX_TAPS // 2, 0)
    return taps / taps.sum(dim=2, keepdim=True)


def ms_ssim(images: Images) -> Tensor:
    """Alpha (1 - MS-SSIM) + (1 - alpha) G |d|: multi-scale structure, and L1 under a Gaussian.

    Zhao et al., Loss Functions for Image Restoration with Neural Networks, IEEE Transactions on
    Computational Imaging 3(1), 2017: at every pixel the luminance l under the widest
    Gaussian times the product of contrast and structure cs under all five, G the widest.  All
    are taken at full resolution, so that crops of 31 pixels suffice; the pyramid of Wang et al.
    (2003), which piq has, needs 161.  The mean is over the pixels whose window lies in the crop.
    """
    x, y = (image[:, :, None] for image in images[:2])
    down, across = (gaussians(side, x) for side in x.shape[-2:])
    means, squares, product = (
        down @ planes @ across.mT for planes in (torch.stack([x, y]), x * x + y * y, x * y)
    )
    both, mean_squares = means.prod(dim=0), means.square().sum(dim=0)
    luminance = (2 * both[:, :, -1] + C1) / (mean_squares[:, :, -1] + C1)
    cs = (2 * (product - both) + C2) / (squares - mean_squares + C2)
    distance = down[-1] @ (x - y).abs() @ across[-1].mT
    mixed = 1 - (luminance * cs.prod(dim=2)).mean()
    return MIX_ALPHA * mixed + (1 - MIX_ALPHA) * distance.mean()


def local_variance(planes: Tensor) -> Tensor:
    """Unbiased variance in the window of ``LDL_SIDE`` around every pixel of (N, 1, H, W).

    Beyond the border the plane is mirrored.
    """
    count, half = LDL_SIDE**2, LDL_SIDE // 2
    centred = planes - planes.mean(dim=(2, 3), keepdim=True)
    padded = F.pad(centred, (half, half, half, half), mode="reflect")
    mean, square = (F.avg_pool2d(part, LDL_SIDE, 1) for part in (padded, padded.square()))
    return (square - mean.square()).clamp_min(0) * (count / (count - 1))


@torch.no_grad()
def artifact_map(sr: Tensor, averaged: Tensor, hr: Tensor) -> Tensor:
    """Where an SR image has artifacts, (N, 1, H, W).

    With the residuals R of the image and R' of the averaged network's, sums of |hr - sr| over
    channels: var(R)^(1/5) times the local variance of R, and 0 where R < R'.
    Liang et al., LDL, CVPR 2022.
    """
    residual, steady = ((hr - made).abs().sum(dim=1, keepdim=True) for made in (sr, averaged))
    whole = residual.var(dim=(1, 2, 3), keepdim=True) ** (1 / LDL_ROOT)
    return (whole * local_variance(residual)).masked_fill(residual < steady, 0)


def ldl(images: Images) -> Tensor:
    """The mean of |hr - sr| times the artifact map (Liang et al., LDL, CVPR 2022).

    The map is a weight: no gradient goes through it.
    """
    if images.averaged is None:
        raise ValueError("LDL needs the SR images of the averaged network")
    artifacts = artifact_map(images.sr, images.averaged(), images.hr)
    return (artifacts * (images.sr - images.hr)).abs().mean()


def _dists(settings: TrainSrnSettings, _vgg: nn.Module | None) -> Term:
    """1 - structure and texture similarity of VGG16's features (see ``dists``)."""
    network = open_dists(settings.dists_weights, settings.dists_vgg16)

    def term(images: Images) -> Tensor:
        distance: Tensor = network(images.sr, images.hr)
        return distance

    return term


def _plain(term: Term, least_side: int = 1) -> Kind:
    """A term without settings."""
    return Kind(lambda _settings, _vgg: term, least_side)


TERMS: Mapping[str, Kind] = {
    "low_pass": Kind(_low_pass),
    "spectrum": _plain(spectrum, BLOCK),
    "perceptual": Kind(_perceptual),
    "charbonnier": _plain(charbonnier),
    "ms_ssim": _plain(ms_ssim, MIX_TAPS),
    "ldl": _plain(ldl, LDL_SIDE),
    "fft": _plain(fft),
    "dists": Kind(_dists),
}
"""Every term beside L1, by its name in the curves; its weight is the setting ``NAME_weight``."""
