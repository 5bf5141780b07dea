"""What a camera makes of windows, against the passport's model of the same camera."""

import numpy as np
import pytest
import torch
from doubles import plain_passport
from scenes import leaves
from scipy import ndimage

from pipeline.camera.estimate import camera_kernel
from pipeline.camera.fit import Camera
from pipeline.camera.optics import Optics
from pipeline.camera.spectra import Measure, rings
from pipeline.camera.synthesis import AT_ONCE, MARGIN, Light, Synthesis, cropped
from pipeline.camera.windows import Windows
from pipeline.passport.model import CameraModel

SIDE = 32
OPTICS = Optics(blur=0.25, stretch=0.08, shear=0.05, amount=0.6, log_radius=-0.1, chroma=0.4)
NONE = np.zeros(len(rings()))
BEND = 0.15 * np.sin(np.pi * rings() / 0.5) ** 2
"""A further factor of the transfer, of up to 16 %, flat at frequency zero."""


def scene(seed: int, scale: int) -> torch.Tensor:
    """Dead leaves as a lens sees them, with a little grain.

    They fade into gray at the border, which one of both mirrors and the other repeats.
    """
    side = (SIDE + 2 * MARGIN) * scale
    image = ndimage.gaussian_filter(leaves(seed, side, 200), (0, 0.7, 0.7))
    grain = np.random.default_rng(seed).normal(0, 0.01, image.shape)
    place = (np.arange(side) + 0.5) / side
    taper = np.clip(8 * np.minimum(place, 1 - place), 0, 1) ** 2
    image = 0.5 + (image + grain - 0.5) * taper[:, None] * taper
    return torch.from_numpy(np.clip(image, 0, 1)).float()


def synthesis(light: Light, scale: int, count: int = 2) -> Synthesis:
    images = [Windows(n, scene(n, scale)[None]) for n in range(count)]
    return Synthesis(images, [str(n) for n in range(count)], scale, light)


@pytest.mark.parametrize("bend", [NONE, BEND], ids=["plain", "shaped"])
@pytest.mark.parametrize("light", ["linear", "gamma"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_it_is_what_the_model_of_the_passport_makes(
    scale: int, light: Light, bend: np.ndarray
) -> None:
    camera = Camera(OPTICS, bend, -bend, 0.0)
    passport = plain_passport(
        scale,
        light=light,
        luma_kernel=camera_kernel(camera, scale, chroma=False),
        chroma_kernel=camera_kernel(camera, scale, chroma=True),
        sharpening={"amount": OPTICS.amount, "radius": OPTICS.radius},
    )
    made = cropped(synthesis(light, scale).mean(OPTICS, camera.shaping))
    model = CameraModel(passport)
    expected = cropped(model(torch.stack([scene(n, scale) for n in range(2)])))
    assert made.shape == (2, 3, SIDE, SIDE)
    apart = (made - expected).abs()
    assert float(apart.square().mean().sqrt()) < 5e-4
    assert float(apart.max()) < 4e-3


def test_an_even_gray_stays() -> None:
    gray = Windows(0, torch.full((1, 3, (SIDE + 2 * MARGIN) * 2, (SIDE + 2 * MARGIN) * 2), 0.3))
    made = Synthesis([gray], ["g"], 2, "linear")
    assert made.flat
    assert made.gray
    assert made.mean(OPTICS).numpy() == pytest.approx(np.full((1, 3, 48, 48), 0.3), abs=1e-5)


def test_a_window_does_not_depend_on_the_others() -> None:
    many = Synthesis([Windows(0, scene(0, 2).expand(AT_ONCE + 3, 3, -1, -1))], ["a"], 2, "gamma")
    made = many.mean(OPTICS)
    assert len(made) == AT_ONCE + 3
    assert torch.allclose(made, made[:1].expand_as(made), atol=1e-6)


def test_spectra_are_given_by_image() -> None:
    made = synthesis("gamma", 2)
    images, measure = made.mean(OPTICS), Measure(SIDE)
    found = made.spectra(images, measure)
    assert len(found) == 2
    for n in range(2):
        alone = measure.image(images[n : n + 1, :, MARGIN:-MARGIN, MARGIN:-MARGIN])
        assert found.luma[n] == pytest.approx(alone.luma[0], rel=1e-4)
