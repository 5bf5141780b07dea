"""Files of pristine models of NIQE: our own, and those of the 2013 release."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.io import loadmat

from pipeline.base.errors import UserError, one_line
from pipeline.base.hashes import file_hash
from pipeline.stores.weights import load_weights, save_weights

Array = NDArray[np.float64]

FEATURES = 36
"""Number of features of a block, 18 at each of two scales."""
NIQE_FORMAT = "usrdu-niqe"
"""Format name of our own model files: safetensors with ``mean`` and ``covariance``."""
MATLAB, ZIP = b"MATLAB", b"PK"
FOREIGN = {
    MATLAB: ("mu_prisparam", "cov_prisparam"),
    ZIP: ("mu_pris_param", "cov_pris_param"),
}
"""Names of mean and covariance in files of other programs, by the first bytes of the file."""


@dataclass(frozen=True)
class NiqeModel:
    """The pristine model: mean and covariance of the features of sharp photographs."""

    mean: Array
    """(36,)."""
    covariance: Array
    """(36, 36)."""
    file: str
    """Name of the file."""
    sha256: str
    """SHA-256 of the file."""


def save_model(path: Path, mean: Array, covariance: Array, described: dict[str, object]) -> None:
    """Write a model file of our own: mean (36,), covariance (36, 36), and further metadata.

    Raises:
        UserError: The file cannot be written.

    """
    tensors = {"mean": torch.from_numpy(mean), "covariance": torch.from_numpy(covariance)}
    save_weights(path, tensors, {"format": NIQE_FORMAT, **described})


def load_model(path: Path) -> NiqeModel:
    """Read a pristine model.

    Three kinds of file are recognised by their content: our own (see ``save_model``), the ``.mat``
    of the 2013 release with ``mu_prisparam`` and ``cov_prisparam``, and an ``.npz`` with
    ``mu_pris_param`` and ``cov_pris_param``.

    Raises:
        UserError: The file is missing, damaged or of another kind, or it does not hold 36 finite
            means and a symmetric covariance (36, 36).

    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such NIQE model file")
    mean, covariance = (np.asarray(part) for part in _read(path))
    if mean.dtype.kind not in "fiu" or covariance.dtype.kind not in "fiu":
        raise UserError(f"{path}: mean and covariance of the NIQE model are not real numbers")
    mean = mean.reshape(-1)
    if mean.shape != (FEATURES,) or covariance.shape != (FEATURES, FEATURES):
        raise UserError(
            f"{path}: holds a mean of {mean.size} and a covariance of shape {covariance.shape}; "
            f"a NIQE model has {FEATURES} and ({FEATURES}, {FEATURES})"
        )
    mean, covariance = mean.astype(np.float64), covariance.astype(np.float64)
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise UserError(f"{path}: the NIQE model holds values that are not finite")
    if not np.allclose(covariance, covariance.T, rtol=1e-6, atol=1e-12):
        raise UserError(f"{path}: the covariance of the NIQE model is not symmetric")
    return NiqeModel(mean, covariance, path.name, file_hash(path))


def _read(path: Path) -> tuple[Any, Any]:
    with path.open("rb") as file:
        start = file.read(8)
    for mark, names in FOREIGN.items():
        if start.startswith(mark):
            content = _foreign(path, mark)
            if missing := [name for name in names if name not in content]:
                raise UserError(f"{path}: is no NIQE model, it lacks {' and '.join(missing)}")
            return content[names[0]], content[names[1]]
    tensors, _ = load_weights(path, NIQE_FORMAT)
    return tensors["mean"].numpy(), tensors["covariance"].numpy()


def _foreign(path: Path, mark: bytes) -> dict[str, Any]:
    """Arrays by name of a MATLAB or .npz file; nothing is unpickled."""
    try:
        if mark == MATLAB:
            return dict(loadmat(path))
        with path.open("rb") as file:
            return dict(np.load(file, allow_pickle=False))
    except Exception as error:  # errors of zip, zlib, MATLAB files and pickle
        raise UserError(f"{path}: cannot be read as a NIQE model: {one_line(error)}") from error
