"""The spectrum term of the SRN's loss, against NumPy and closed forms."""

from contextlib import closing

import numpy as np
import pytest
import torch
from conftest import PLENTY, World, compact, srn_settings
from numpy.typing import NDArray
from scipy.signal.windows import hann
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.train_srn.losses import SrnLoss
from pipeline.train_srn.terms import BLOCK, block_spectra
from pipeline.train_srn.train import SrnMaterial, SrnTrainer, open_stream
from pipeline.training.learner import make_accelerator

Array = NDArray[np.float64]


def spectra(image: Array) -> Array:
    """The definition, block by block: (rows, columns, 32, 17) of one channel (H, W)."""
    window = np.outer(hann(32), hann(32))
    window /= np.sqrt(np.mean(window**2))
    rows, columns = ((side - 32) // 16 + 1 for side in image.shape)
    found = np.empty((rows, columns, 32, 17))
    for row in range(rows):
        for column in range(columns):
            block = image[16 * row : 16 * row + 32, 16 * column : 16 * column + 32]
            found[row, column] = np.abs(np.fft.rfft2((block - block.mean()) * window)) / 32
    return found


@pytest.mark.parametrize("size", [(32, 32), (48, 80), (65, 95)])
def test_block_spectra_by_their_definition(size: tuple[int, int]) -> None:
    images = np.random.default_rng(0).random((2, 3, *size))
    found = block_spectra(torch.from_numpy(images)).numpy()
    expected = np.array([[spectra(channel) for channel in image] for image in images])
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-12


def test_white_noise_has_its_deviation() -> None:
    """500 independent blocks of 1,024 values: the deviation is within 1 % (6 deviations)."""
    noise = torch.randn(500, 1, BLOCK, BLOCK, generator=torch.Generator().manual_seed(0)) * 0.2
    power = block_spectra(noise).square()
    whole = 2 * power.sum() - power[..., 0].sum() - power[..., -1].sum()  # the other half of rfft2
    assert (whole / noise.numel()).sqrt().item() == pytest.approx(0.2, rel=0.01)


def wave(phase: float) -> Tensor:
    """Vertical stripes of a quarter of a cycle per pixel."""
    x = torch.arange(64) * (np.pi / 2) + phase
    return (0.5 + 0.4 * torch.cos(x)).expand(1, 3, 64, 64)


def terms(sr: Tensor, hr: Tensor) -> dict[str, float]:
    loss = SrnLoss(srn_settings(spectrum_weight=1.0, perceptual_weight=0.0), None)
    return {name: value.item() for name, value in loss.terms(sr, hr).items()}


def test_a_detail_at_another_place_costs_pixels_but_no_spectrum() -> None:
    """So flat grey beats a shifted texture in L1, and loses in the spectrum."""
    hr, shifted, flat = wave(0.0), wave(np.pi), torch.full((1, 3, 64, 64), 0.5)
    assert terms(hr, hr) == {"content": 0.0, "spectrum": 0.0}
    assert terms(shifted, hr)["content"] > 1.9 * terms(flat, hr)["content"] > 0.1
    assert terms(shifted, hr)["spectrum"] < 0.01 * terms(flat, hr)["spectrum"]


def test_the_gradient_of_a_flat_image_is_finite() -> None:
    sr = torch.full((1, 3, 32, 32), 0.5, requires_grad=True)
    loss = SrnLoss(srn_settings(spectrum_weight=1.0, perceptual_weight=0.0), None)
    torch.autograd.backward(loss.terms(sr, wave(0.0)[..., :32, :32])["spectrum"])
    assert sr.grad is not None and torch.isfinite(sr.grad).all()


def test_crops_smaller_than_a_block_are_refused(tiny2: World) -> None:
    settings = srn_settings(spectrum_weight=1.0, lr_patch=15, lr_from="bicubic")
    cpu = make_accelerator()
    material = SrnMaterial(tiny2.hr).used(settings)
    stream = open_stream(material, settings, settings.demand(cpu, PLENTY))
    fault = r"^train_srn\.lr_patch is 15, .* at least 16$"
    with closing(stream), pytest.raises(UserError, match=fault):
        SrnTrainer(stream, compact(), settings, cpu)


def test_the_spectrum_alone_is_nothing_to_train_on() -> None:
    """It does not see where things are."""
    with pytest.raises(ValueError, match="all zero"):
        srn_settings(content_weight=0.0, perceptual_weight=0.0, spectrum_weight=1.0)
