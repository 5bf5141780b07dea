"""The generic degradation: its laws against NumPy, moments of its kernels, its parts one by one."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import World, demand
from laws import STANDARD_ERRORS, UNLIKELY
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import kstest
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.base.seeding import generator
from pipeline.sampling.jpeg import Jpeg, tables_of_quality
from pipeline.train_srn import generic
from pipeline.train_srn.generic import Degradations, GenericDegradation, add_noise, draw
from pipeline.train_srn.streams import GenericStream

FIXED = {
    "along": 1.0, "across": 1.0, "angle": 0.0, "mode": 0, "poisson": False, "grey": False,
    "deviation": 10 / 255, "factor": 1.0, "quality": 95,
}  # fmt: skip


def fixed(count: int = 1, **changes: float) -> Degradations:
    """The same degradation several times."""
    return Degradations(**{k: torch.tensor([v] * count) for k, v in (FIXED | changes).items()})


def photograph(side: int) -> Tensor:
    """(1, 3, side, side), smooth enough to be blurred in many ways."""
    rng = np.random.default_rng(3)
    image = ndimage.gaussian_filter(rng.uniform(0, 1, (3, side, side)), (0, 1, 1))
    return torch.from_numpy(image)[None].float().clamp(0, 1)


# The parameters


@pytest.fixture(scope="module")
def many() -> Degradations:
    return draw(40000, generator(0, "tests/generic"))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("along", 0.2, 3.0),
        ("angle", 0.0, math.pi),
        ("deviation", 1 / 255, 30 / 255),
        ("factor", 0.05, 3.0),
    ],
)
def test_parameters_are_uniform(many: Degradations, name: str, low: float, high: float) -> None:
    values = getattr(many, name).double().numpy()
    assert kstest(values, "uniform", (low, high - low)).pvalue > UNLIKELY


def test_a_kernel_that_is_not_isotropic_has_a_width_of_its_own(many: Degradations) -> None:
    other = many.across[many.along != many.across].double().numpy()
    assert kstest(other, "uniform", (0.2, 2.8)).pvalue > UNLIKELY


def test_shares(many: Degradations) -> None:
    count = len(many.mode)
    isotropic = many.along == many.across
    found = {
        "isotropic": (isotropic, 9 / 14),
        "poisson": (many.poisson, 1 / 2),
        "grey": (many.grey, 0.4),
        "area": (many.mode == 0, 1 / 3),
        "bilinear": (many.mode == 1, 1 / 3),
        "bicubic": (many.mode == 2, 1 / 3),
        "quality of 30": (many.quality == 30, 1 / 66),
        "quality of 95": (many.quality == 95, 1 / 66),
    }
    for name, (drawn, share) in found.items():
        error = STANDARD_ERRORS * math.sqrt(share * (1 - share) / count)
        assert abs(drawn.double().mean().item() - share) < error, name
    assert many.quality.min() == 30 and many.quality.max() == 95


def test_parameters_do_not_depend_on_each_other(many: Degradations) -> None:
    names = ("along", "angle", "mode", "poisson", "grey", "deviation", "factor", "quality")
    columns = np.stack([getattr(many, name).double().numpy() for name in names])
    correlation = np.abs(np.corrcoef(columns) - np.eye(len(names)))
    assert correlation.max() < STANDARD_ERRORS / len(many.mode) ** 0.5


# The blur


@pytest.mark.parametrize(
    ("along", "across", "degrees"), [(1.0, 1.0, 0), (2.2, 0.8, 0), (2.5, 1.0, 30), (1.2, 2.4, 115)]
)
def test_second_moments_of_a_kernel(along: float, across: float, degrees: float) -> None:
    """They are the turned covariance, but for what lies beyond 21 pixels."""
    angle = math.radians(degrees)
    (kernel,) = generic.kernels(fixed(along=along, across=across, angle=angle)).double().numpy()
    y, x = np.mgrid[-10:11, -10:11]
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    expected = turn @ np.diag([along**2, across**2]) @ turn.T
    found = np.array([[(kernel * a * b).sum() for b in (x, y)] for a in (x, y)])
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(found, expected, atol=0.01 * max(along, across) ** 2)


def test_the_narrowest_kernel_leaves_the_image_as_it_is() -> None:
    image = photograph(48)
    blurred = generic.blurred(image, fixed(along=0.2, across=0.2))
    torch.testing.assert_close(blurred, image, atol=1e-4, rtol=0)


def test_every_image_is_blurred_by_its_own_kernel() -> None:
    """As SciPy blurs each alone; the mirror has its middle on the last pixel."""
    image = photograph(48).expand(2, -1, -1, -1)
    parameters = replace(fixed(2), along=torch.tensor([1.0, 2.5]), across=torch.tensor([1.0, 1.5]))
    found = generic.blurred(image, parameters).numpy()
    for kernel, one, result in zip(generic.kernels(parameters), image, found, strict=True):
        for channel, plane in zip(one.numpy(), result, strict=True):
            expected = ndimage.correlate(channel, kernel.numpy(), mode="mirror")
            np.testing.assert_allclose(plane, expected, atol=1e-5)


# The resampling


def keys(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel with a = -3/4, without antialiasing."""
    t = np.abs(t)
    near = 1.25 * t**3 - 2.25 * t**2 + 1
    far = -0.75 * (t**3 - 5 * t**2 + 8 * t - 4)
    return np.where(t <= 1, near, np.where(t < 2, far, 0))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_resamplings(scale: int) -> None:
    """Inside, against weights per pixel of a row: boxes, triangles of width one, Keys' kernel."""
    side = 12 * scale
    image = photograph(side).expand(3, -1, -1, -1)
    found = generic.reduced(image, torch.tensor([0, 1, 2]), scale).numpy()
    centre = (np.arange(12)[:, None] + 0.5) * scale - 0.5
    distance = np.arange(side) - centre
    weights = [
        (np.abs(distance) < scale / 2) / scale,
        np.maximum(1 - np.abs(distance), 0),
        keys(distance),
    ]
    for one, result in zip(weights, found, strict=True):
        expected = np.einsum("oy,cyx,px->cop", one, image[0].numpy().astype(float), one)
        inner = (slice(None), slice(2, -2), slice(2, -2))
        np.testing.assert_allclose(result[inner], expected[inner], atol=1e-5)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_border_is_all_that_reaches_into_a_crop(scale: int) -> None:
    """A change beyond it changes nothing; one on it may."""
    degrade = GenericDegradation(scale)
    side = scale * (16 + 2 * degrade.border)
    one = photograph(side).expand(3, -1, -1, -1).clone()
    parameters = replace(fixed(3, along=3.0, across=3.0, deviation=0.0), mode=torch.arange(3))
    wider = torch.nn.functional.pad(one, (scale,) * 4, mode="constant", value=1.0)
    inner = degrade.border
    alone = generic.reduced(generic.blurred(one, parameters), parameters.mode, scale)
    within = generic.reduced(generic.blurred(wider, parameters), parameters.mode, scale)
    cut = slice(inner, -inner)
    more = slice(inner + 1, -inner - 1)
    torch.testing.assert_close(alone[..., cut, cut], within[..., more, more], atol=1e-5, rtol=0)


# The noise


@pytest.mark.arithmetic
@pytest.mark.parametrize("grey", [False, True])
def test_law_of_gaussian_noise(grey: bool) -> None:
    image = torch.full((2, 3, 200, 200), 0.4)
    parameters = replace(fixed(2, grey=grey), deviation=torch.tensor([0.02, 0.1]))
    noise = (add_noise(image, parameters, generator(1, "a")) - image).double().numpy()
    for one, deviation in zip(noise, (0.02, 0.1), strict=True):
        if grey:
            assert (one == one[:1]).all()
        values = one[0] if grey else one
        assert kstest(values.ravel(), "norm", (0, deviation)).pvalue > UNLIKELY
        if not grey:
            alike = np.corrcoef(one.reshape(3, -1)) - np.eye(3)
            assert np.abs(alike).max() < STANDARD_ERRORS / one[0].size ** 0.5


@pytest.mark.arithmetic
@pytest.mark.parametrize("grey", [False, True])
def test_law_of_poisson_noise(grey: bool) -> None:
    """Variance: factor squared times intensity over 256, of the channel or of the grey image."""
    colour = torch.tensor([0.1, 0.4, 0.8])[:, None, None]
    image = colour.expand(2, 3, 300, 300)
    parameters = replace(fixed(2, poisson=True, grey=grey), factor=torch.tensor([0.5, 2.0]))
    noise = (add_noise(image, parameters, generator(2, "a")) - image).double().numpy()
    luma = 0.299 * 0.1 + 0.587 * 0.4 + 0.114 * 0.8
    for one, factor in zip(noise, (0.5, 2.0), strict=True):
        for plane, intensity in zip(one, (0.1, 0.4, 0.8), strict=True):
            variance = factor**2 * (luma if grey else intensity) / 256
            size = plane.size
            assert abs(plane.mean()) < STANDARD_ERRORS * (variance / size) ** 0.5
            # the kurtosis of a Poisson law of mean 25.6 and more is below 3.04
            margin = STANDARD_ERRORS * (2.04 / size) ** 0.5
            assert (plane**2).mean() == pytest.approx(variance, rel=margin)
        if grey:
            np.testing.assert_allclose(one[0], one[2], atol=1e-6)


# The whole


@pytest.mark.parametrize("scale", [2, 4])
def test_the_whole_is_its_parts_and_a_jpeg(scale: int) -> None:
    """Every image has the JPEG of its own quality, as ``Jpeg`` makes it with one table."""
    degrade = GenericDegradation(scale)
    hr = photograph(scale * (16 + 2 * degrade.border)).expand(2, -1, -1, -1)
    parameters = replace(fixed(2), quality=torch.tensor([30, 95]), mode=torch.tensor([1, 2]))
    found = degrade(hr, parameters, generator(4, "b"))
    assert found.shape == (2, 3, 16, 16)
    lr = generic.reduced(generic.blurred(hr, parameters), parameters.mode, scale)
    cut = slice(degrade.border, -degrade.border)
    noisy = add_noise(lr[..., cut, cut].clamp(0, 1), parameters, generator(4, "b")).clamp(0, 1)
    for index, quality in enumerate((30, 95)):
        expected = Jpeg(tables_of_quality(quality, "4:2:0"))(noisy[index : index + 1])
        torch.testing.assert_close(found[index : index + 1], expected, atol=0, rtol=0)


def test_the_stream_repeats_itself_and_every_step_is_fresh(tiny: World) -> None:
    with GenericStream(tiny.hr, 8, demand(3, 4)) as stream:
        first, second = stream.batch(5), stream.batch(6)
        assert first.lr.shape == (4, 3, 8, 8)
        assert first.hr.shape == (4, 3, 8 * tiny.hr.scale, 8 * tiny.hr.scale)
    torch.manual_seed(99)
    with GenericStream(tiny.hr, 8, demand(3, 4)) as again:
        for one, other in zip(first, again.batch(5), strict=True):
            torch.testing.assert_close(one, other, atol=0, rtol=0)
    assert not torch.equal(first.lr, second.lr)
    with GenericStream(tiny.hr, 8, demand(4, 4)) as other_seed:
        assert not torch.equal(first.lr, other_seed.batch(5).lr)


def test_lr_and_hr_of_the_stream_show_the_same_place(
    tiny: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without blur, noise and JPEG an LR image is the mean of its HR pixels."""

    def draw_nothing(count: int, source: torch.Generator) -> Degradations:
        del source
        return fixed(count, along=0.2, across=0.2, deviation=0.0)

    monkeypatch.setattr("pipeline.train_srn.streams.draw", draw_nothing)
    with GenericStream(tiny.hr, 8, demand(3, 4)) as stream:
        monkeypatch.setattr(stream.degrade, "jpeg", lambda lr, _: lr)
        lr, hr = stream.batch(0)
    expected = torch.nn.functional.avg_pool2d(hr, tiny.hr.scale)
    torch.testing.assert_close(lr, expected, atol=2e-3, rtol=0)


def test_an_image_smaller_than_a_crop_with_its_border(tiny: World) -> None:
    smallest = min(min(tiny.hr.size(name)) for name in tiny.hr.ids) // tiny.hr.scale
    with pytest.raises(UserError, match="lower train_srn.lr_patch"):
        GenericStream(tiny.hr, smallest, demand(0, 2))
