"""The sensor's law, and cameras with an image processor as a whole."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from laws import STANDARD_ERRORS
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from pipeline.base.errors import UserError
from pipeline.base.seeding import generator
from pipeline.base.settings import load_section
from pipeline.demo import photographs
from pipeline.demo.camera import CAPTURES, Camera
from pipeline.demo.demo import DemoSettings, write_demo
from pipeline.demo.development import with_contrast
from pipeline.demo.mosaic import Demosaicing
from pipeline.demo.processor import Processor
from pipeline.images.light import to_encoded, to_linear

Array = NDArray[np.float64]
CAMERAS = Path(__file__).parents[2] / "cameras.yaml"
WITH_PROCESSOR = ("old-phone", "compact", "denoising-phone")
LENS: dict[str, object] = {
    "blur_along": 1.5,
    "blur_across": 1.0,
    "blur_angle": 20.0,
    "jpeg_quality": None,
    "jpeg_subsampling": "4:4:4",
}
PLAIN: dict[str, object] = {
    "halo_share": 0.0,
    "halo_deviation": 5.0,
    "fill_factor": 1.0,
    "red_gain": 2.0,
    "blue_gain": 1.6,
    "full_well_electrons": 4000.0,
    "read_electrons": 5.0,
    "iso_gain": 2.0,
    "demosaicing": "none",
    "chroma_smoothing": 0.0,
    "denoising_strength": 0.0,
    "denoising_radius": 2,
    "contrast": 0.0,
    "sharpening_amount": 0.0,
    "sharpening_radius": 1.0,
    "sharpening_limit_gray": None,
}
BUSY: dict[str, object] = {
    "halo_share": 0.1,
    "demosaicing": "bilinear",
    "chroma_smoothing": 1.0,
    "denoising_strength": 1.0,
    "contrast": 0.2,
    "sharpening_amount": 1.0,
    "sharpening_limit_gray": 8.0,
}
GAINS = np.array([2.0, 1.0, 1.6])
WEIGHTS = np.array([0.299, 0.587, 0.114])


def processor(**changes: object) -> Processor:
    """A processor that only senses, balances and encodes, but for the changes."""
    return Processor.model_validate({**PLAIN, **changes})


def camera(lens: dict[str, object] | None = None, /, **changes: object) -> Camera:
    return Camera.model_validate({**LENS, **(lens or {}), "processor": {**PLAIN, **changes}})


def source(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def picture(height: int = 64, width: int = 80) -> NDArray[np.uint8]:
    """An HR image of coloured blocks."""
    blocks = np.random.default_rng(3).integers(40, 200, (3, height // 8, width // 8))
    return np.kron(blocks, np.ones((1, 8, 8))).astype(np.uint8)


# Settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("halo_share", 1.1),
        ("halo_deviation", 0.0),
        ("fill_factor", 0.0),
        ("fill_factor", 1.1),
        ("red_gain", 0.0),
        ("blue_gain", -1.0),
        ("full_well_electrons", 0.0),
        ("read_electrons", -1.0),
        ("iso_gain", 0.5),
        ("demosaicing", "linear"),
        ("chroma_smoothing", -1.0),
        ("denoising_strength", -1.0),
        ("denoising_radius", 0),
        ("contrast", 1.5),
        ("sharpening_amount", -1.0),
        ("sharpening_radius", 0.0),
        ("sharpening_limit_gray", -1.0),
        ("gamma", 2.2),
    ],
)
def test_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        processor(**{name: value})


@pytest.mark.parametrize("name", PLAIN)
def test_no_setting_has_a_default(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name}\n  Field required"):
        Processor.model_validate({key: value for key, value in PLAIN.items() if key != name})


def test_noise_has_one_source(tmp_path: Path) -> None:
    """A processor and the settings of noise exclude each other, in one sentence."""
    file = tmp_path / "cameras.yaml"
    content = {**LENS, "processor": PLAIN, "noise": "laplace", "mosaic": True}
    file.write_text(json.dumps({"mine": content}))
    with pytest.raises(UserError) as caught:
        load_section(file, "mine", Camera)
    assert str(caught.value) == (
        f"{file}: mine: mosaic, noise must not be given with a processor, whose sensor makes the "
        "noise"
    )


@pytest.mark.parametrize("content", [3, [1], {**LENS, "processor": 3}])
def test_no_mapping(content: object) -> None:
    with pytest.raises(ValidationError, match="valid dictionary"):
        Camera.model_validate(content)


@pytest.mark.parametrize("name", ["phone", "mosaic", *WITH_PROCESSOR])
def test_settings_can_be_written_and_read(name: str) -> None:
    """As they are in the file: nothing is added."""
    taken = load_section(CAMERAS, name, Camera)
    content = json.loads(json.dumps(taken.model_dump()))
    assert Camera.model_validate(content) == taken
    assert ("processor" in content) == (name in WITH_PROCESSOR)
    assert ("noise" in content) == (name not in WITH_PROCESSOR)


# The sensor


@pytest.mark.arithmetic
def test_photon_noise() -> None:
    """Mean and variance of the raw values lie on a line: electrons are counted, then read."""
    sensor, side = processor(), 512
    electrons, read = 4000 / 2, 5.0
    for level in (0.0, 0.1, 0.4, 0.8):
        raw = sensor.sense(torch.full((3, side, side), level), source()).double().numpy()
        for channel, gain in enumerate(GAINS):
            mean = level / gain
            variance = mean / electrons + (read / electrons) ** 2
            assert raw[channel].mean() == pytest.approx(
                mean, abs=STANDARD_ERRORS * (variance / side**2) ** 0.5
            )
            kappa = mean * electrons / (mean * electrons + read**2) ** 2  # of the Poisson part
            assert raw[channel].var() == pytest.approx(
                variance, rel=STANDARD_ERRORS * ((kappa + 2) / side**2) ** 0.5
            )


def test_noise_variance_is_that_of_balanced_sites() -> None:
    sensor = processor()
    light = torch.tensor([0.1, 0.4, 0.6])[:, None, None].expand(-1, 512, 512)
    raw = sensor.sense(light, source()).double().numpy()
    found = sensor.noise_variance(light)[:, 0, 0]
    measured = (raw * GAINS[:, None, None]).var(axis=(1, 2))
    np.testing.assert_allclose(found, measured, rtol=STANDARD_ERRORS * (2 / 512**2) ** 0.5)


def test_gain_and_well() -> None:
    """Twice the gain is half the well."""
    light = torch.rand(3, 32, 32, generator=source())
    loud = processor(iso_gain=4.0).sense(light, source())
    small = processor(full_well_electrons=2000.0).sense(light, source())
    assert torch.equal(loud, small)


def test_saturation_and_black() -> None:
    raw = processor().sense(torch.ones(3, 64, 64), source())
    assert raw.max() == 1 and raw[1].mean() < 1
    assert processor().sense(torch.zeros(3, 64, 64), source()).min() < 0


def test_without_a_generator_the_expected_values() -> None:
    light = torch.rand(3, 8, 8, generator=source())
    raw = processor().sense(light, None)
    np.testing.assert_allclose(raw, light.numpy() / GAINS[:, None, None], rtol=1e-6)


# Development


@pytest.mark.parametrize("demosaicing", ["none", "bilinear", "gradient"])
def test_a_wall_keeps_its_colour(demosaicing: Demosaicing) -> None:
    """White balance undoes the sensor's gains; the tone curve is all that is left."""
    changes = {**BUSY, "demosaicing": demosaicing}
    hr = np.array([60, 128, 180], np.uint8)[:, None, None].repeat(48, 1).repeat(64, 2)
    taken = camera(**changes)
    expected = with_contrast(torch.tensor([60, 128, 180]) / 255, 0.2)
    found = taken.developed(taken.clean(hr, 4))
    np.testing.assert_allclose(found, expected[:, None, None].expand(-1, 12, 16), atol=1e-5)


def test_clean_is_linear_light() -> None:
    hr = np.full((3, 32, 32), 128, np.uint8)
    clean = camera(halo_share=0.2).clean(hr, 4)
    assert clean.dtype == torch.float32
    np.testing.assert_allclose(clean, to_linear(torch.tensor(128 / 255)), rtol=1e-5)


def test_light_is_averaged_before_the_curve() -> None:
    """A fine checkerboard of black and white is half of the light, level 188 and not 128."""
    hr = (np.indices((32, 32)).sum(axis=0) % 2 * 255)[None].repeat(3, 0).astype(np.uint8)
    taken = camera({"blur_along": 0.0, "blur_across": 0.0})
    found = taken.developed(taken.clean(hr, 2))
    np.testing.assert_allclose(found, to_encoded(torch.tensor(0.5)).item(), atol=1e-5)
    assert round(found[0, 0, 0].item() * 255) == 188


@pytest.mark.arithmetic
def test_captures_lie_around_what_is_developed() -> None:
    """On a gray wall, up to the bend of the curve and the rounding to 8 bit."""
    clean = torch.full((3, 256, 256), 0.3)
    taken = camera(**BUSY)
    error = taken.capture(clean, source()) / 255 - taken.developed(clean).numpy()
    assert abs(error.mean()) < 0.5 / 255
    assert error.std() > 1.5 / 255


def test_a_saturated_site_is_white() -> None:
    """Balanced red is cut off at 1 before it is interpolated: (0.6 + 1) / 2 beside 0.3 and 1."""
    raw = torch.full((3, 12, 12), 0.3)
    raw[:, 6, 6] = 1.0
    found = processor(demosaicing="bilinear").develop(raw)
    assert found[0, 6, 7].item() == pytest.approx(to_encoded(torch.tensor(0.8)).item(), abs=1e-6)


def test_sharpening_sees_what_the_curve_delivers() -> None:
    """In NumPy and SciPy: values below black are black before the sharpening."""
    raw = np.random.default_rng(6).uniform(-0.1, 0.6, (3, 16, 16))
    light = np.clip(raw * GAINS[:, None, None], 0, 1)
    power = 1.055 * light ** (1 / 2.4) - 0.055
    encoded = np.where(light <= 0.0031308, light * 12.92, power)
    luma = np.einsum("c,chw->hw", WEIGHTS, encoded)
    added = 1.5 * (luma - gaussian_filter(luma, 1.0, mode="nearest", truncate=4))
    found = processor(sharpening_amount=1.5).develop(torch.from_numpy(raw))
    np.testing.assert_allclose(found, np.clip(encoded + added, 0, 1), atol=1e-6)


@pytest.mark.arithmetic
@pytest.mark.parametrize("strength", [1.0, 2.0])
def test_denoising_is_in_units_of_the_noise(strength: float) -> None:
    """In large windows of a flat area the luma keeps 1 / (1 + strength^2) of its noise."""
    light = torch.full((3, 256, 256), 0.4)
    kept = []
    for used in (0.0, strength):
        taken = processor(full_well_electrons=1e5, denoising_strength=used, denoising_radius=12)
        image = taken.develop(taken.sense(light, source()))[:, 30:-30, 30:-30]
        kept.append(np.einsum("c,chw->hw", WEIGHTS, image).std())
    assert kept[1] / kept[0] == pytest.approx(1 / (1 + strength**2), rel=0.05)


def test_denoising_takes_noise_from_flat_areas_and_keeps_edges() -> None:
    hr = np.full((3, 256, 512), 80, np.uint8)
    hr[:, :, 256:] = 190
    hard = camera(denoising_strength=2.5, denoising_radius=3)
    clean = hard.clean(hr, 4)
    noisy, smooth = (
        np.einsum("c,chw->hw", WEIGHTS, taken.capture(clean, source()))
        for taken in (camera(), hard)
    )
    assert noisy[8:-8, 8:48].std() > 3 * smooth[8:-8, 8:48].std()
    edges = [(luma[8:-8, 64] - luma[8:-8, 63]).mean() for luma in (noisy, smooth)]
    assert edges[1] > 0.9 * edges[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("halo_share", 0.3),
        ("halo_deviation", 9.0),
        ("fill_factor", 0.4),
        ("red_gain", 1.5),
        ("blue_gain", 2.5),
        ("full_well_electrons", 900.0),
        ("read_electrons", 20.0),
        ("iso_gain", 5.0),
        ("demosaicing", "gradient"),
        ("chroma_smoothing", 2.0),
        ("denoising_strength", 3.0),
        ("denoising_radius", 1),
        ("contrast", 0.9),
        ("sharpening_amount", 3.0),
        ("sharpening_radius", 2.0),
        ("sharpening_limit_gray", 1.0),
    ],
)
def test_every_setting_matters(name: str, value: object) -> None:
    assert len(PLAIN) == 16
    one, other = camera(**BUSY), camera(**{**BUSY, name: value})
    clean = one.clean(picture(), 4), other.clean(picture(), 4)
    lens = ("halo_share", "halo_deviation", "fill_factor")
    assert torch.equal(*clean) == (name not in lens)
    assert (one.expose(clean[0], source()) != other.expose(clean[1], source())).any()


def test_the_noise_comes_from_the_generator() -> None:
    taken = camera({"jpeg_quality": 90}, **BUSY)
    clean = taken.clean(picture(), 4)
    state = torch.get_rng_state()
    first = taken.expose(clean, source())
    np.testing.assert_array_equal(taken.expose(clean, source()), first)
    assert (taken.expose(clean, source(8)) != first).any()
    assert torch.equal(torch.get_rng_state(), state)


def test_measured_noise() -> None:
    """Its mean square is that of many captures around their mean, without JPEG."""
    taken = camera({"jpeg_quality": 50}, **BUSY)
    clean = taken.clean(picture(), 4)
    found = taken.noise_deviation(clean)
    assert found.shape == clean.shape
    captures = np.stack([taken.capture(clean, generator(9, "many", k)) for k in range(200)]) / 255
    expected = captures.var(axis=0, ddof=1).mean()
    count = found.numel() / 50  # the noise of some 50 values is correlated
    error = STANDARD_ERRORS * math.sqrt(2 / (count * (CAPTURES - 1)))
    assert found.square().mean().item() == pytest.approx(expected, rel=error)


# Transfer functions


def amplitude(plane: Array, across: float, down: float) -> float:
    """Size of the wave of one frequency in a plane, by least squares; negative if turned over."""
    y, x = np.mgrid[: plane.shape[0], : plane.shape[1]]
    phase = 2 * np.pi * (across * x + down * y).ravel()
    design = np.stack([np.cos(phase), np.sin(phase), np.ones_like(phase)], axis=1)
    cosine, sine, _ = np.linalg.lstsq(design, plane.ravel(), rcond=None)[0]
    return math.hypot(cosine, sine)


def measured(taken: Camera, colour: Array, frequency: float, angle: float) -> float:
    """A weak wave in the HR image, and how much of it the camera delivers.

    Args:
        taken: The camera.
        colour: Of the wave: gray, or one without luma; its red is 1.
        frequency: Cycles per LR pixel.
        angle: Degrees.

    """
    c, s = math.cos(math.radians(angle)) * frequency, math.sin(math.radians(angle)) * frequency
    y, x = np.mgrid[:320, :320] / 4
    wave = 16 * np.cos(2 * np.pi * (c * x + s * y))
    dither = np.random.default_rng(1).uniform(-0.5, 0.5, (3, 320, 320))
    hr = np.round(128 + colour[:, None, None] * wave + dither).astype(np.uint8)
    found = taken.developed(taken.clean(hr, 4)).double().numpy()[:, 12:-12, 12:-12] * 255
    luma = np.einsum("c,chw->hw", WEIGHTS, found)
    gray = (colour == 1).all()
    return amplitude(luma if gray else found[0] - luma, c, s) / 16


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"halo_share": 0.15, "fill_factor": 0.7, "sharpening_amount": 1.2},
        {"demosaicing": "bilinear", "sharpening_amount": 0.8, "sharpening_radius": 0.7},
        {"demosaicing": "gradient"},
    ],
)
@pytest.mark.parametrize(("frequency", "angle"), [(0.07, 0.0), (0.2, 50.0), (0.35, 90.0)])
def test_luma_transfer(changes: dict[str, object], frequency: float, angle: float) -> None:
    taken = camera(**changes)
    frequencies = torch.tensor([frequency]).double()
    found = taken.transfer(frequencies, angle, 4).luma * taken.demosaicing(frequencies, angle).luma
    expected = measured(taken, np.ones(3), frequency, angle)
    assert found.item() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("smoothing", [0.0, 1.0])
@pytest.mark.parametrize(("frequency", "angle"), [(0.05, 20.0), (0.12, 90.0)])
def test_chroma_transfer(smoothing: float, frequency: float, angle: float) -> None:
    """Red up, green down, so that the luma stays."""
    taken = camera(chroma_smoothing=smoothing, sharpening_amount=1.0)
    colour = np.array([1, -0.299 / 0.587, 0])
    found = taken.transfer(torch.tensor([frequency]).double(), angle, 4).chroma
    assert found.item() == pytest.approx(measured(taken, colour, frequency, angle), abs=0.01)


@pytest.mark.parametrize(("frequency", "angle"), [(0.05, 0.0), (0.2, 50.0), (0.4, 90.0)])
def test_transfer_without_a_processor(frequency: float, angle: float) -> None:
    taken = load_section(CAMERAS, "mosaic", Camera)
    frequencies = torch.tensor([frequency]).double()
    found = taken.transfer(frequencies, angle, 4)
    expected = measured(taken, np.ones(3), frequency, angle)
    assert found.luma.item() == pytest.approx(expected, abs=0.005)
    assert torch.equal(found.luma, found.chroma)
    assert taken.demosaicing(frequencies, angle).luma.tolist() == pytest.approx([1])


def test_chroma_of_the_bilinear_interpolation() -> None:
    """By hand, from the spectra of the kernels and the matrix of JPEG."""
    x = math.cos(2 * math.pi * 0.2)
    side, green = (1 + x) / 2, (3 + x) / 4
    red = 0.5 * 1.402 * side + 0.418687589 * 0.714136286 * green
    blue = 0.5 * 1.772 * side + 0.331264108 * 0.344136286 * green
    found = camera(demosaicing="bilinear").demosaicing(torch.tensor([0.2]).double(), 0.0)
    assert found.chroma.item() == pytest.approx((red + blue) / 2, abs=1e-6)
    assert found.luma.item() == pytest.approx(0.413 * side + 0.587 * green, abs=1e-6)


@pytest.mark.parametrize("name", ["phone", *WITH_PROCESSOR])
def test_transfer_starts_at_one(name: str) -> None:
    taken = load_section(CAMERAS, name, Camera)
    zero = torch.zeros(1).double()
    for transfer in (taken.transfer(zero, 30.0, 4), taken.demosaicing(zero, 30.0)):
        assert transfer.luma.item() == pytest.approx(1, abs=1e-6)
        assert transfer.chroma.item() == pytest.approx(1, abs=1e-6)


# In the demo


@pytest.mark.parametrize("name", WITH_PROCESSOR)
def test_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The truth is developed, the noise measured, and the file has its colour planes."""
    hr = picture(160, 192)
    monkeypatch.setattr(photographs, "photograph", lambda *_: hr)
    taken = load_section(CAMERAS, name, Camera)
    metrics = write_demo(tmp_path, 4, DemoSettings(seed=1, camera=name), taken)
    clean = taken.clean(hr, 4)
    with Image.open(tmp_path / "truth" / "clean" / "coins.png") as file:
        truth = np.moveaxis(np.asarray(file), -1, 0)
    np.testing.assert_allclose(truth, taken.developed(clean) * 255, atol=0.501)
    with Image.open(tmp_path / "lr" / "coins.jpg") as file:
        assert isinstance(file, JpegImagePlugin.JpegImageFile)
        codes: dict[Any, int] = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}
        assert JpegImagePlugin.get_sampling(file) == codes[taken.jpeg_subsampling]
        lr = np.moveaxis(np.asarray(file), -1, 0)
    np.testing.assert_array_equal(lr, taken.expose(clean, generator(1, "demo/coins.png")))
    noise = taken.noise_deviation(clean).square().mean().sqrt().item() * 255
    assert metrics["true_noise_level"] == pytest.approx(noise) and 1 < noise < 20
    content = json.loads((tmp_path / "truth" / "camera.json").read_text())
    expected = {"scale": 4, "seed": 1, "camera": name, **taken.model_dump()}
    assert content == expected and content["processor"]["red_gain"] > 1
