"""Fits a pristine model of NIQE to a folder of sharp photographs."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.base.errors import UserError
from pipeline.images.io import size_text
from pipeline.reading.files import find_images, read_image, warn_of_others
from pipeline.scores.niqe import BLOCK, block_features, moments
from pipeline.scores.niqe_model import FEATURES, save_model

SHARP = 0.75
"""A block counts as sharp above this share of the highest sharpness of its image."""


def fit(folder: Path, path: Path) -> dict[str, object]:
    """Fit a pristine model on the sharp blocks of the images of a folder, and write it.

    As in the release of 2013, a block is used if its mean local deviation exceeds 0.75 of the
    highest of its image.  This leaves out skies and backgrounds that are out of focus.

    Args:
        folder: Photographs without noise and artefacts; more than a hundred make a good model.
        path: The file to write, safetensors.

    Returns:
        Metrics: number of images and of blocks.

    Raises:
        UserError: The folder is missing or empty, an image cannot be read or is smaller than a
            block, the sharp blocks are too few for 36 features, or the file cannot be written.

    """
    files = find_images(folder)
    warn_of_others(files)
    kept = []
    for file in tqdm(files, "niqe-fit", unit="image"):
        image = read_image(file)
        if min(image.shape[1:]) < BLOCK:
            raise UserError(f"{file}: is {size_text(image)}, smaller than a block, {BLOCK}x{BLOCK}")
        features, sharpness = block_features(image)
        kept.append(features[sharpness > SHARP * sharpness.max()])
    found = np.concatenate(kept)
    if len(found) <= FEATURES:
        raise UserError(
            f"{folder}: has {len(found)} sharp blocks of {BLOCK}x{BLOCK}, too few for the "
            f"covariance of {FEATURES} features; add photographs"
        )
    described: dict[str, object] = {"images": len(files), "blocks": len(found)}
    save_model(path, *moments(found), described)
    return described
