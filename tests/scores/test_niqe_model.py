"""Model files of NIQE: the three kinds, and files that are none."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.io import savemat

from pipeline.base.errors import UserError
from pipeline.scores.niqe_model import load_model, save_model
from pipeline.stores.weights import save_weights

Array = NDArray[np.float64]
RNG = np.random.default_rng(0)
MEAN: Array = RNG.normal(size=36)
COVARIANCE: Array = np.cov(RNG.normal(size=(36, 100)))


def write(path: Path, mean: NDArray[Any], covariance: NDArray[Any]) -> Path:
    """In the format of the suffix, as others write it."""
    if path.suffix == ".mat":
        savemat(path, {"mu_prisparam": mean, "cov_prisparam": covariance})
    else:
        window = np.ones((7, 7))  # which such files hold too
        with path.open("wb") as file:
            np.savez(file, mu_pris_param=mean, cov_pris_param=covariance, gaussian_window=window)
    return path


@pytest.mark.parametrize("name", ["modelparameters.mat", "niqe_pris_params.npz", "no-suffix"])
def test_foreign_files(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, MEAN[None], COVARIANCE)  # a row, as MATLAB has it
    model = load_model(path)
    np.testing.assert_array_equal(model.mean, MEAN)
    np.testing.assert_array_equal(model.covariance, COVARIANCE)
    assert model.file == name
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_our_own_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_model(path, MEAN, COVARIANCE, {"images": 3, "blocks": 50})
    model = load_model(path)
    np.testing.assert_array_equal(model.mean, MEAN)
    np.testing.assert_array_equal(model.covariance, COVARIANCE)
    assert model.mean.dtype == model.covariance.dtype == np.float64


def faulty(folder: Path) -> dict[str, Path]:
    """Files, by what must be said of them."""
    crooked = COVARIANCE.copy()
    crooked[0, 1] += 1
    text = folder / "text.npz"
    text.write_text("no model")
    cut = write(folder / "cut.npz", MEAN, COVARIANCE)
    cut.write_bytes(cut.read_bytes()[:2000])
    short = write(folder / "short.mat", MEAN, COVARIANCE)
    short.write_bytes(short.read_bytes()[:2000])
    other = folder / "other.mat"
    savemat(other, {"mu_prisparam": MEAN, "pop_cov": COVARIANCE})
    pickled = write(folder / "pickled.npz", np.array([{}], object), COVARIANCE)
    weights = folder / "srn.safetensors"
    save_weights(weights, {"mean": torch.zeros(36)}, {"format": "usrdu-srn"})
    return {
        "there is no such NIQE model file": folder / "none.mat",
        "is not a whole safetensors file": text,
        r"cut\.npz: cannot be read as a NIQE model": cut,
        r"short\.mat: cannot be read as a NIQE model": short,
        "it lacks cov_prisparam": other,
        r"pickled\.npz: cannot be read as a NIQE model": pickled,
        'marked "usrdu-srn", expected usrdu-niqe': weights,
        r"mean of 35 and a covariance of shape \(36, 36\)": write(
            folder / "35.npz", MEAN[1:], COVARIANCE
        ),
        r"mean of 36 and a covariance of shape \(36,\)": write(folder / "flat.npz", MEAN, MEAN),
        "not finite": write(folder / "nan.npz", MEAN * np.nan, COVARIANCE),
        "not symmetric": write(folder / "crooked.npz", MEAN, crooked),
        "not real numbers": write(folder / "words.mat", np.array(["a"]), COVARIANCE),
    }


def test_files_that_are_no_model(tmp_path: Path) -> None:
    for message, path in faulty(tmp_path).items():
        with pytest.raises(UserError, match=message) as raised:
            load_model(path)
        assert str(raised.value).startswith(f"{path}: ") and "\n" not in str(raised.value)
