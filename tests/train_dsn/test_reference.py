"""References from blur kernels: SciPy, kernels written out by hand, and bicubic's pixel grid."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from imagecodecs import png_encode
from laws import UNLIKELY
from numpy.typing import NDArray
from scipy import ndimage
from scipy.io import savemat
from scipy.stats import chisquare
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.images.filters import bicubic_downsample
from pipeline.train_dsn.reference import (
    BicubicReference,
    KernelReference,
    aligned,
    find_kernels,
    open_reference,
    read_kernel,
)

Floats = NDArray[np.float64]
KEYS = {
    2: np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256,
    3: np.array([-1, -2, 0, 9, 21, 27, 21, 9, 0, -2, -1]) / 81,
    4: np.array([-7, -45, -75, -49, 93, 399, 745, 987]) / 4096,
}
"""Bicubic's stretched kernel (a = -1/2) by hand; that of scale 4 up to its middle."""
KEYS[4] = np.concatenate([KEYS[4], KEYS[4][::-1]])

LOPSIDED = np.outer([0, 3, 4, 1, 1], [1, 1, 4, 3, 0]) / 81
"""Its centre of mass is its middle, but it is not its own mirror image."""


def picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(shape))


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blob(side: int, row: float, column: float, wide: float = 2.0, tall: float = 1.5) -> Floats:
    """A skewed blur whose middle lies (row, column) pixels off the middle of the array."""
    y, x = np.mgrid[0:side, 0:side] - (side - 1) / 2
    first = np.exp(-(((y - row) / tall) ** 2) / 2 - ((x - column) / wide) ** 2 / 2)
    second = np.exp(-(((y - row - 1) / tall) ** 2) - ((x - column + 2) / wide) ** 2)
    kernel = first + 0.4 * second
    return np.asarray(kernel / kernel.sum())


BLOBS = {"odd": blob(21, 1.3, -2.2), "even": blob(20, -0.6, 0.9), "small": blob(9, 0.2, 0, 1, 1)}


# ---------------------------------------------------------------- the kernel is applied


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(5, 7), (1, 2), (9, 3)])
def test_bicubic_written_as_a_kernel_is_bicubic(scale: int, size: tuple[int, int]) -> None:
    """So the pixel grids agree, and the borders are mirrored alike."""
    kernel = np.outer(KEYS[scale], KEYS[scale])
    assert kernel.sum() == pytest.approx(1, abs=1e-15)
    hr = picture(2, 3, size[0] * scale, size[1] * scale)
    found = KernelReference({"bicubic": kernel}, scale).draw(hr, source())
    assert found.shape == (2, 3, *size) and found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), bicubic_downsample(hr, scale).numpy(), atol=1e-13)


@pytest.mark.parametrize("scale", [2, 4])
def test_a_box_is_the_mean_of_the_pixels(scale: int) -> None:
    hr = picture(2, 3, 5 * scale, 6 * scale, seed=1)
    box = np.full((scale, scale), 1 / scale**2)
    found = KernelReference({"box": box}, scale).draw(hr, source())
    blocks = hr.numpy().reshape(2, 3, 5, scale, 6, scale).mean(axis=(3, 5))
    np.testing.assert_allclose(found.numpy(), blocks, atol=1e-14)


def test_a_kernel_is_correlated_as_scipy_does_it() -> None:
    """At scale 3 the middle of an odd kernel is the middle of the LR pixel: nothing is moved."""
    hr = picture(2, 3, 27, 33, seed=2)
    found = KernelReference({"k": LOPSIDED}, 3).draw(hr, source()).numpy()
    for n in range(2):
        for c in range(3):
            blurred = ndimage.correlate(hr[n, c].numpy(), LOPSIDED, mode="reflect")
            np.testing.assert_allclose(found[n, c], blurred[1::3, 1::3], atol=1e-13)
    turned = KernelReference({"k": LOPSIDED[::-1, ::-1]}, 3).draw(hr, source()).numpy()
    assert np.abs(turned - found).max() > 0.05


def test_kernels_larger_than_the_image() -> None:
    hr = picture(1, 3, 4, 8, seed=3)
    kernel = np.full((64, 64), 1 / 64**2)
    found = KernelReference({"k": kernel}, 4).draw(hr, source())
    mean = hr.mean(dim=(2, 3), keepdim=True)  # 64 pixels are whole periods of the mirrored image
    torch.testing.assert_close(found, mean.expand(1, 3, 1, 2), atol=1e-13, rtol=0)


def test_float32() -> None:
    hr, reference = picture(2, 3, 24, 24), KernelReference(BLOBS, 4)
    found = reference.draw(hr.float(), source())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), reference.draw(hr, source()), atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(1, 3, 8, 9), (1, 3, 9, 8)])
def test_sizes_off_the_scale_are_refused(shape: tuple[int, ...]) -> None:
    reference = KernelReference(BLOBS, 4)
    for apply in (reference.expected, lambda hr: reference.draw(hr, source())):
        with pytest.raises(ValueError, match="no multiple of the scale 4"):
            apply(torch.zeros(shape))


# ---------------------------------------------------------------- the pixel grid


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", BLOBS)
def test_ramps_come_out_as_from_bicubic(name: str, scale: int) -> None:
    """Whatever the kernel: a shift of a hundredth of a pixel would show."""
    y, x = np.mgrid[0 : 30 * scale, 0 : 30 * scale]
    ramp = torch.from_numpy(2.0 * x - 3.0 * y).expand(1, 3, -1, -1)
    found = KernelReference({name: BLOBS[name]}, scale).draw(ramp, source())
    inside = np.s_[..., 12:-12, 12:-12]
    expected = bicubic_downsample(ramp, scale)[inside]
    torch.testing.assert_close(found[inside], expected, atol=1e-9, rtol=0)


def phase(lr: Tensor, waves: int) -> float:
    """Of a sinusoid along the columns, in LR pixels."""
    row = lr[0, 0].mean(dim=0).numpy()
    return float(np.angle(np.fft.rfft(row)[waves])) * len(row) / (2 * np.pi * waves)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("side", "off"), [(25, 2.3), (24, -1.25), (25, 0.0), (24, 0.5)])
def test_sinusoids_have_the_phase_of_bicubic(side: int, off: float, scale: int) -> None:
    """A blur that is its own mirror image but lies off the middle of its array."""
    y, x = np.mgrid[0:side, 0:side] - (side - 1) / 2
    kernel = np.exp(-(y**2) / 8 - (x - off) ** 2 / 18)
    kernel /= kernel.sum()
    length, waves = 64 * scale, 4
    wave = torch.cos(2 * np.pi * waves * (torch.arange(length).double() + 0.5) / length)
    hr = wave.expand(1, 3, 4 * scale, length)  # its mirror image goes on as the cosine does
    found = KernelReference({"k": kernel}, scale).draw(hr, source())
    assert phase(found, waves) == pytest.approx(
        phase(bicubic_downsample(hr, scale), waves), abs=2e-3
    )


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", BLOBS)
def test_alignment_keeps_sum_and_width_and_moves_the_centre(name: str, scale: int) -> None:
    kernel = BLOBS[name]
    moved, start = aligned(kernel, scale)
    assert moved.sum() == pytest.approx(1, abs=1e-12)
    assert all(0 <= a - b <= 3 for a, b in zip(moved.shape, kernel.shape, strict=True))

    def moments(array: Floats) -> tuple[Floats, Floats]:
        places = np.indices(array.shape).reshape(2, -1)
        return places @ array.ravel(), np.cov(places, aweights=np.abs(array.ravel()), ddof=0)

    centre = moments(moved)[0] + start
    np.testing.assert_allclose(centre, (scale - 1) / 2, atol=1e-10)
    places = np.indices(moved.shape).reshape(2, -1) - moments(moved)[0][:, None]
    second = (places * moved.ravel()) @ places.T
    np.testing.assert_allclose(second, moments(kernel)[1], atol=1e-9)


# ---------------------------------------------------------------- many kernels


@pytest.mark.arithmetic
def test_every_crop_has_its_own_kernel_drawn_evenly() -> None:
    hr = picture(1, 3, 8, 8).expand(900, -1, -1, -1)
    found = KernelReference(BLOBS, 4).draw(hr, source(5))
    alone = [KernelReference({n: k}, 4).draw(hr[:1], source()) for n, k in BLOBS.items()]
    distance = torch.stack([(found - one).abs().amax(dim=(1, 2, 3)) for one in alone])
    assert bool((distance.min(dim=0).values < 1e-13).all())
    assert bool((distance.sort(dim=0).values[1] > 1e-4).all())  # it is one kernel, not a mixture
    counts = torch.bincount(distance.argmin(dim=0), minlength=3).numpy()
    assert chisquare(counts).pvalue > UNLIKELY


def test_the_draw_is_that_of_the_generator() -> None:
    hr, reference = picture(64, 3, 8, 8), KernelReference(BLOBS, 4)
    first, again, other = (reference.draw(hr, source(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_expectation_is_the_mean_over_the_kernels() -> None:
    hr = picture(2, 3, 16, 20)
    alone = [KernelReference({n: k}, 4).draw(hr, source()) for n, k in BLOBS.items()]
    found = KernelReference(BLOBS, 4).expected(hr)
    torch.testing.assert_close(found, torch.stack(alone).mean(dim=0), atol=1e-13, rtol=0)


def test_bicubic_reference() -> None:
    hr, reference = picture(2, 3, 12, 18), BicubicReference(3)
    for found in (reference.draw(hr, source()), reference.expected(hr)):
        assert torch.equal(found, bicubic_downsample(hr, 3))
    assert reference.description == "bicubic"


def test_the_description_depends_on_names_and_content() -> None:
    def described(**kernels: Floats) -> Any:
        return KernelReference(kernels, 4).description

    first = described(a=BLOBS["odd"], b=BLOBS["even"])
    assert first["kernels"] == ["a", "b"] and len(first["sha256"]) == 64
    assert json.loads(json.dumps(first)) == first
    hashes = {
        described(**kernels)["sha256"]
        for kernels in (
            {"a": BLOBS["odd"]},
            {"a": BLOBS["odd"] + 1e-9},
            {"a": BLOBS["odd"].T},
            {"a": BLOBS["even"], "b": BLOBS["odd"]},
        )
    }
    assert len(hashes | {first["sha256"]}) == 5


# ---------------------------------------------------------------- files


def save(path: Path, values: Any) -> Path:
    """A kernel file of the kind its name says; a .mat as KernelGAN writes it."""
    match path.suffix.lower():
        case ".npy":
            np.save(path, values)
        case ".mat":
            savemat(path, {"Kernel": values})
        case ".png":
            path.write_bytes(png_encode(values))
    return path


WHOLE = np.array([[0, 10, 5], [20, 200, 15], [3, 0, 2]])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("k.npy", np.float64), ("k.npy", np.float32), ("k.npy", np.int32), ("k.mat", np.float64),
        ("k.mat", np.uint8), ("k.MAT", np.float32), ("k.png", np.uint8), ("k.png", np.uint16),
    ],
)  # fmt: skip
def test_read(name: str, kind: type, tmp_path: Path) -> None:
    found = read_kernel(save(tmp_path / name, WHOLE.astype(kind)))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, WHOLE / 255, rtol=1e-6)


def test_negative_values_of_rounding_are_zero(tmp_path: Path) -> None:
    values = np.array([[1.0, -1e-5], [1.0, 2.0]])
    found = read_kernel(save(tmp_path / "k.npy", values))
    np.testing.assert_allclose(found, [[0.25, 0], [0.25, 0.5]], atol=1e-15)


def holding(values: Any) -> Callable[[Path], object]:
    return lambda path: np.save(path, values)


BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing": ("k.npy", lambda _: None, "there is no such kernel file or folder"),
    "suffix": ("k.txt", lambda p: p.write_text("1"), "is no kernel file (.npy, .mat, .png)"),
    "no npy": ("k.npy", lambda p: p.write_bytes(b"junk"), "cannot be read as a kernel"),
    "pickle": ("k.npy", holding(np.array([{}], dtype=object)), "cannot be read as a kernel"),
    "no mat": ("k.mat", lambda p: p.write_bytes(b"junk" * 99), "cannot be read as a kernel"),
    "empty": ("k.mat", lambda p: p.write_bytes(b""), "cannot be read as a kernel"),
    "other": ("k.mat", lambda p: savemat(p, {"psf": WHOLE}), "holds psf, but no variable 'Kernel'"),
    "no png": ("k.png", lambda p: p.write_bytes(b"junk"), "cannot be read as a PNG"),
    "colour": (
        "k.png",
        lambda p: p.write_bytes(png_encode(np.ones((4, 4, 3), np.uint8))),
        "is not a grey PNG",
    ),
    "3-D": ("k.npy", holding(np.ones((3, 3, 3))), "float64 values of the shape (3, 3, 3)"),
    "1-D": ("k.npy", holding(np.ones(9)), "of the shape (9,), not a matrix"),
    "complex": ("k.npy", holding(np.ones((3, 3), complex)), "complex128 values"),
    "narrow": ("k.npy", holding(np.ones((1, 9))), "it is 1x9; its sides must be of 2 to 128"),
    "wide": ("k.npy", holding(np.ones((9, 129))), "it is 9x129; its sides"),
    "nan": ("k.npy", holding(np.array([[1, np.nan], [1, 1]])), "a value is not finite"),
    "zero": ("k.npy", holding(np.zeros((3, 3))), "add up to 0, which must be positive"),
    "negative": (
        "k.npy",
        holding(np.array([[4.0, 2], [-0.5, 1]])),
        "down to -0.5 (the largest is 4)",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_is_no_kernel(fault: str, tmp_path: Path) -> None:
    name, write, message = BAD[fault]
    write(tmp_path / name)
    with pytest.raises(UserError) as caught:
        open_reference("kernels", tmp_path / name, 4)
    said = str(caught.value)
    assert said.startswith(str(tmp_path / name)) and message in said and "\n" not in said


def test_a_folder_of_kernels(tmp_path: Path) -> None:
    for name in ("b.mat", "a.npy", "c.png"):
        save(tmp_path / name, WHOLE.astype(np.uint8))
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "._a.npy").write_bytes(b"")
    files = find_kernels(tmp_path)
    assert [file.name for file in files] == ["a.npy", "b.mat", "c.png"]
    reference = open_reference("kernels", tmp_path, 4)
    assert isinstance(reference, KernelReference) and len(reference.stack) == 3
    assert torch.equal(reference.stack[0], reference.stack[2])


def test_a_folder_without_kernels(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("nothing here")
    with pytest.raises(UserError, match=r"holds no kernel \(\.npy, \.mat, \.png\)"):
        open_reference("kernels", tmp_path, 4)
    with pytest.raises(UserError, match=r"train_dsn\.reference is kernels, but no kernels"):
        open_reference("kernels", None, 4)


def test_bicubic_reads_no_kernels(tmp_path: Path) -> None:
    for kernels in (None, tmp_path / "nowhere"):
        assert isinstance(open_reference("bicubic", kernels, 2), BicubicReference)
