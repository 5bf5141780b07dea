"""The pristine model from photographs of one's own, and its command."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import names
from numpy.typing import NDArray
from scipy.signal import convolve2d
from skimage import data

from pipeline.base.errors import UserError
from pipeline.scores.niqe import block_features, niqe
from pipeline.scores.niqe_model import load_model
from pipeline.tools.niqe_fit import fit
from stages.tools.niqe_fit import command


def texture(seed: int, height: int = 480, width: int = 480) -> NDArray[np.uint8]:
    """(H, W, 3) of noise with some correlation."""
    noise = np.random.default_rng(seed).normal(size=(height, width))
    smooth = convolve2d(noise, np.ones((2, 3)), "same", "wrap")
    return np.clip(np.round(128 + 12 * smooth), 0, 255).astype(np.uint8)[..., None].repeat(3, 2)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for seed in (0, 1):
        iio.imwrite(folder / f"{seed}.png", texture(seed))
    half = texture(2)
    half[:, 192:] = convolve2d(half[:, 192:, 0], np.ones((5, 5)) / 25, "same", "symm")[..., None]
    iio.imwrite(folder / "out-of-focus.png", half)
    return folder


def features(folder: Path) -> NDArray[np.float64]:
    """Of the two sharp images all 25 blocks, of the other the 2 x 5 at the left."""
    found = []
    for name in ("0", "1", "out-of-focus"):
        image = np.moveaxis(iio.imread(folder / f"{name}.png"), -1, 0)
        blocks = block_features(np.ascontiguousarray(image))[0].reshape(5, 5, 36)
        found.append((blocks[:, :2] if name == "out-of-focus" else blocks).reshape(-1, 36))
    return np.concatenate(found)


def test_only_sharp_blocks_count(photographs: Path, tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "model.safetensors"
    assert fit(photographs, path) == {"images": 3, "blocks": 60}
    model, expected = load_model(path), features(photographs)
    np.testing.assert_allclose(model.mean, expected.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(model.covariance, np.cov(expected.T), rtol=1e-9, atol=1e-15)


def test_images_like_the_fitted_ones_score_best(photographs: Path, tmp_path: Path) -> None:
    fit(photographs, tmp_path / "model.safetensors")
    model = load_model(tmp_path / "model.safetensors")
    alike = np.ascontiguousarray(np.moveaxis(texture(9), -1, 0))
    other = np.ascontiguousarray(np.moveaxis(data.chelsea(), -1, 0))
    assert niqe(alike, model) < 5 < niqe(other, model)


def call(folder: Path, out: Path) -> Result:
    return CliRunner().invoke(command, [str(folder), "--out", str(out)])


def test_command(photographs: Path, tmp_path: Path) -> None:
    result = call(photographs, tmp_path / "model.safetensors")
    assert result.exit_code == 0, result.output
    assert "images: 3" in result.output and "blocks: 60" in result.output
    assert f"wrote {tmp_path / 'model.safetensors'}" in result.output
    assert names(tmp_path) == ["model.safetensors"]


def test_command_with_mistakes(tmp_path: Path) -> None:
    few, small, empty = (tmp_path / name for name in ("few", "small", "empty"))
    for folder in (few, small, empty):
        folder.mkdir()
    iio.imwrite(few / "x.png", texture(0, 200, 200))
    iio.imwrite(small / "x.png", texture(0, 95, 200))
    faults = {
        few: "has 4 sharp blocks of 96x96, too few for the covariance of 36 features",
        small: f"{small / 'x.png'}: is 95x200, smaller than a block, 96x96",
        empty: "holds no image",
        tmp_path / "none": "there is no such folder",
    }
    for folder, message in faults.items():
        result = call(folder, tmp_path / "model.safetensors")
        assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
        assert message in result.output.splitlines()[-1]
    assert names(tmp_path) == ["empty", "few", "small"]


def test_a_failed_fit_keeps_the_older_file(photographs: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    fit(photographs, path)
    before = path.read_bytes()
    with pytest.raises(UserError):
        fit(tmp_path, path)
    assert path.read_bytes() == before
