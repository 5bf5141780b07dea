"""A passport in words."""

import numpy as np
import pytest
from doubles import gaussian_kernel, plain_passport

from pipeline.passport.words import in_words
from pipeline.sampling.compression import JpegMixture
from pipeline.sampling.jpeg import tables_of_quality


def test_the_blur_is_that_of_the_kernel() -> None:
    """A Gaussian of 6 HR pixels at the scale 4 has 1.5 LR pixels."""
    kernel = gaussian_kernel(64, 6.0).tolist()
    first, *_ = in_words(plain_passport(luma_kernel=kernel, light="linear"))
    assert first == "Blur of 1.50 LR pixels (standard deviation), an average of light."


def test_a_kernel_sharper_than_any_has_no_width() -> None:
    kernel = np.zeros((4, 4))
    kernel[1:3, 1:3] = 0.5
    kernel[[0, 0, 3, 3], [0, 3, 0, 3]] = -0.25
    first, *_ = in_words(plain_passport(luma_kernel=kernel.tolist()))
    assert first.startswith("Blur of 0.00 LR pixels")


def test_noise_and_what_is_zero_is_not_mentioned() -> None:
    law = {"variance_gray": [[0, 0], [4, 36], [0, 0]], "noise_filter": None, "laplace_share": 1.0}
    words = in_words(plain_passport(noise=law, sharpening={"amount": 0.001, "radius": 1.0}))
    middle = 0.5 * (2 + 6)
    assert words[1].startswith(f"Noise of 2.0, {middle:.1f} and 6.0 gray levels")
    assert words[1].endswith("independent between pixels.")
    assert not any("harpening" in sentence or "enoising" in sentence for sentence in words)
    sharp = plain_passport(
        sharpening={"amount": 0.5, "radius": 1.2}, denoising={"threshold_gray": 6.0, "kept": 0.3}
    )
    assert in_words(sharp)[1:3] == [
        "Sharpening by an unsharp mask of amount 0.50 and radius 1.20 LR pixels.",
        "Denoising: weak detail below 6.0 gray levels is kept to 30%.",
    ]


@pytest.mark.parametrize("quality", [5, 30, 75, 95])
def test_the_quality_of_a_jpeg(quality: int) -> None:
    jpeg = tables_of_quality(quality, "4:2:0").model_dump()
    assert f"JPEG compression, about quality {quality} (4:2:0)." in in_words(
        plain_passport(jpeg=jpeg)
    )


def test_several_kinds_of_jpeg_and_what_is_unknown() -> None:
    kinds = [tables_of_quality(quality, "4:4:4") for quality in (50, 90)]
    mixture = JpegMixture(tables=kinds, shares=[0.25, 0.5]).model_dump()
    words = in_words(plain_passport(jpeg=mixture, unknown=["the blur is not known"]))
    several = "25% about quality 50 (4:4:4), 50% about quality 90 (4:4:4)"
    assert f"JPEG compression of several kinds: {several}." in words
    assert words[-1] == "The blur is not known."
    assert "No JPEG compression." in in_words(plain_passport(jpeg=None))
