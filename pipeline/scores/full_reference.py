"""How close an SR image is to its HR image under a protocol: PSNR, SSIM, HaarPSI and LPIPS."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import lpips
import numpy as np
import piq
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from pipeline.base.errors import UserError, one_line
from pipeline.images.io import Image, to_float
from pipeline.scores.protocols import Protocol
from pipeline.stores.weights import load_foreign, require_finite

HAAR_SIDE = 16
"""Side in pixels, border cut, that HaarPSI needs: its widest filter."""


def psnr(sr: Image, hr: Image, protocol: Protocol) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels that the protocol sees.

    The peak is 255 for Y too.  Infinite for equal images.
    """
    with np.errstate(divide="ignore"):
        return float(peak_signal_noise_ratio(protocol.view(hr), protocol.view(sr), data_range=255))


def ssim(sr: Image, hr: Image, protocol: Protocol) -> float:
    """Structural similarity (Wang et al. 2004), mean over the pixels and channels of a protocol.

    The window is that of the protocol; only pixels with a whole window count.  In float64.
    """
    gaussian = protocol.window == "gaussian"
    return float(
        structural_similarity(
            protocol.view(hr),
            protocol.view(sr),
            win_size=protocol.window_side,
            channel_axis=0,
            data_range=255,
            gaussian_weights=gaussian,
            sigma=1.5,
            use_sample_covariance=not gaussian,
        )
    )


def haarpsi(sr: Image, hr: Image, protocol: Protocol) -> float:
    """HaarPSI (Reisenhofer et al. 2018) of two images less their border; in [0, 1], 1 if equal.

    A perceptual measure without trained weights: the similarity of the Haar wavelet coefficients of
    two images, weighted by their visual saliency.
    """
    pair = [to_float(np.ascontiguousarray(protocol.shave(image)))[None] for image in (sr, hr)]
    return float(piq.haarpsi(*pair, data_range=1.0))


MEASURES = ("psnr", "ssim", "haarpsi")
"""Scores of an SR image beside its HR image that need no weights, by their name in tables."""


def score(
    sr: Image, hr: Image, protocols: Sequence[Protocol], lpips: "Lpips | None"
) -> list[dict[str, float]]:
    """Score an SR image under several protocols.

    HaarPSI and LPIPS see the same pixels under all protocols of one border, and are computed once
    for it.

    Args:
        sr: The SR image (3, H, W).
        hr: The HR image, of the same shape.
        protocols: How they are compared.
        lpips: None to leave LPIPS out.

    Returns:
        For every protocol, the scores by name.

    """
    of_border: dict[int, dict[str, float]] = {}
    found = []
    for one in protocols:
        if one.border not in of_border:
            shared = {"haarpsi": haarpsi(sr, hr, one)}
            of_border[one.border] = shared | ({"lpips": lpips(sr, hr, one)} if lpips else {})
        own = {"psnr": psnr(sr, hr, one), "ssim": ssim(sr, hr, one)}
        found.append(own | of_border[one.border])
    return found


class Lpips:
    """LPIPS v0.1 with AlexNet (Zhang et al. 2018) of two images less their border; lower is closer.

    Args:
        weights: ``"imagenet"`` (torchvision's AlexNet, downloaded once) or a file with its state
            dict.  There is no variant with random weights: its figures would not be LPIPS.

    Raises:
        UserError: The weights cannot be loaded or do not fit.

    """

    def __init__(self, weights: str) -> None:
        try:
            from_file = weights != "imagenet"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # about old arguments in lpips
                self.network = lpips.LPIPS(net="alex", pnet_rand=from_file, verbose=False).eval()
            if from_file:
                self._load_alexnet(Path(weights))
        except Exception as error:  # of the network, the file, unpickling or shapes
            raise UserError(
                f"AlexNet weights '{weights}' for LPIPS cannot be had "
                f"({one_line(error)}); name a state dict file, or 'none'"
            ) from error

    def _load_alexnet(self, path: Path) -> None:
        """Fill the five slices of the lpips package from torchvision's keys."""
        state, _ = load_foreign(path)
        for name, parameter in self.network.net.named_parameters():
            key = f"features.{name.split('.', 1)[1]}"  # from "slice2.3.weight"
            if state[key].shape != parameter.shape:  # copy_ would stretch it
                found, expected = tuple(state[key].shape), tuple(parameter.shape)
                raise ValueError(f"{key} has the shape {found}, expected {expected}")
            with torch.no_grad():
                parameter.copy_(state[key])
        require_finite(path, {name: state[name] for name in state if name.startswith("features.")})

    @torch.inference_mode()
    def __call__(self, sr: Image, hr: Image, protocol: Protocol) -> float:
        """Distance of two images (3, H, W), 0..255; RGB, with the protocol's border cut."""
        shaved = [np.ascontiguousarray(protocol.shave(image)) for image in (sr, hr)]
        pair = [to_float(image)[None] * 2 - 1 for image in shaved]
        return float(self.network(*pair).item())
