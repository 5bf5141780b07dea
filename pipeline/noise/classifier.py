"""A classifier two-sample test (Lopez-Paz and Oquab, 2017) of real against generated LR images.

A small network learns to tell real from generated windows.  If both follow the same law, its
accuracy on images that it was not trained on is 0.5.  It sees only the high-pass of a window, which
shows noise more than content.  Texture still counts: two sets of few photographs differ in texture.
The accuracy of one half of the real images against the other half says by how much.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit
from torch import Tensor

from pipeline.base.seeding import generator, one_thread
from pipeline.noise.estimate import ROUNDING
from pipeline.noise.signature import WINDOW, Floats, Number, cut, high_pass_values
from pipeline.noise.texture_network import INPUTS, SIDE, TextureNetwork, patches

FLAT_SHARE = 0.25
"""Share of an image's windows that count as flat."""
BLOCK = 4
"""Side in pixels of the blocks whose means tell how flat a window is."""
STEPS = 600
BATCH = 64
LEARNING_RATE = 0.01
QUANTILE = 0.975
"""Of a law, at the upper end of a two-sided interval of 95 %."""


@dataclass(frozen=True)
class Accuracy:
    """The accuracy of a classifier of real and generated windows, with its 95 % interval."""

    accuracy: float
    """Mean of two shares: of the real and of the generated test windows, those classified right."""
    low: float
    """Lower end of the interval; if it is at most 0.5, no difference was found."""
    high: float
    """Upper end of the interval."""
    windows: int
    """Number of test windows, both classes together."""


def windows(image: NDArray[Number], count: int, generator: torch.Generator) -> NDArray[Number]:
    """Draw windows at random from the flattest quarter of an image.

    Flat windows show noise with little content.  The flatness of a window is the variance of the
    means of its blocks of 4x4 pixels.  White noise enters these means with a quarter of its
    standard deviation, and only below 1/8 cycle per pixel.  The high-pass removes most of that
    band, so the choice of windows hardly depends on the noise that the classifier sees.  A window
    of fine texture counts as flat.

    The windows are drawn from the whole flattest quarter.  The very flattest windows alone would
    not do: many of them are clipped to black or white and show no noise.  Windows lie side by side
    from the upper left corner, so they share no pixel and all have the same JPEG block grid.

    Args:
        image: (3, H, W) in gray levels, uint8 or floating point.
        count: Number of windows to draw.
        generator: A CPU generator.

    Returns:
        (n, 3, 16, 16), the type of the image; n is less than ``count`` only if the image has fewer
        windows.

    """
    every = cut(image)
    rows, columns = image.shape[1] // WINDOW, image.shape[2] // WINDOW
    size = WINDOW // BLOCK
    inner = image[:, : rows * WINDOW, : columns * WINDOW]
    exact = np.float32 if image.dtype == np.uint8 else np.float64
    down = inner.reshape(3, rows * size, BLOCK, columns * WINDOW).sum(axis=2, dtype=exact)
    means = sum(down[:, :, place::BLOCK] for place in range(BLOCK)) / exact(BLOCK**2)
    blocks = means.reshape(3, rows, size, columns, size).transpose(1, 3, 0, 2, 4)
    flatness = blocks.reshape(-1, 3, size * size).astype(np.float64).var(axis=2).sum(axis=1)
    order = np.argsort(flatness, kind="stable")
    flattest = order[: max(count, round(FLAT_SHARE * len(order)))]
    drawn = torch.randperm(len(flattest), generator=generator)[:count]
    chosen: NDArray[Number] = every[flattest[drawn.numpy()]]
    return chosen


def classifier_accuracy(real: Sequence[Floats], generated: Sequence[Floats], seed: int) -> Accuracy:
    """Train the classifier on half of the images and test it on the other half.

    No image has windows in both halves.  If a class has a single image, the windows of that image
    are split instead.  Windows of one image are alike, so the accuracy is then too high if the two
    classes show different content.  The two classes must not show the same scenes either: the
    network would recognise a test image from the other class, which lowers the accuracy.

    The interval contains two intervals.  Wilson's treats all test windows as independent.
    Student's follows from the spread between test images, and so allows for the likeness of the
    windows of one image.  A class with a single test image adds nothing to Student's interval, so
    with fewer than three images in a class the interval is too narrow.

    Args:
        real: The windows of every real LR image, (n, 3, 16, 16) in gray levels; n may be 0.
        generated: The windows of every generated LR image, in the same form.
        seed: Seed of the split, the weights and the training.

    Returns:
        The accuracy on the test images.  On one machine the same arguments give the same numbers.

    Raises:
        ValueError: A class has fewer than two windows.

    """
    halves = [
        _halves(images, generator(seed, f"two_sample/split/{name}"), name)
        for name, images in (("real", real), ("generated", generated))
    ]
    seen = [[[high_pass_values(each) for each in half] for half in both] for both in halves]
    train = [np.concatenate(half) for half, _ in seen]
    scale = _scale(np.concatenate(train))
    with one_thread():
        network = _trained([patches(np.arcsinh(each / scale)) for each in train], seed)
    hits, counts = [], []
    for label, (_, test) in enumerate(seen):
        found = [network.answers(patches(np.arcsinh(each / scale))) == bool(label) for each in test]
        hits.append(np.array([each.sum().item() for each in found], dtype=np.float64))
        counts.append(np.array([len(each) for each in found], dtype=np.float64))
    return balanced_accuracy(hits, counts)


def _halves(
    images: Sequence[Floats], random: torch.Generator, name: str
) -> tuple[list[Floats], list[Floats]]:
    """Images for training and for the test; of a single image, its windows are split."""
    images = [each for each in images if len(each)]
    if len(images) == 1:
        images = list(images[0][:, None])
    if len(images) < 2:
        raise ValueError(f"{name}: at least two windows are needed, got {len(images)}")
    order = torch.randperm(len(images), generator=random).tolist()
    middle = len(order) // 2
    return [images[i] for i in order[:middle]], [images[i] for i in order[middle:]]


def _scale(values: NDArray[np.floating]) -> float:
    """The scale of the high-pass: asinh(x / scale) is linear in noise and compresses edges."""
    return max(float(np.median(np.abs(values))), math.sqrt(ROUNDING))


def _trained(train: list[Tensor], seed: int) -> TextureNetwork:
    """Train the network on the patches (n, places, 27) of the windows of each class."""
    network = TextureNetwork(BATCH, train[0].shape[1], generator(seed, "two_sample/weights"))
    random = generator(seed, "two_sample/training")
    label = torch.arange(2.0).repeat_interleave(BATCH // 2)
    ways = [turned(torch.arange(INPUTS).view(1, 3, SIDE, SIDE), way).flatten() for way in range(8)]
    seen = torch.empty(BATCH, *train[0].shape[1:])
    for step in range(STEPS):
        for half, windows in zip(seen.chunk(2), train, strict=True):
            drawn = torch.randint(len(windows), (BATCH // 2,), generator=random)
            torch.index_select(windows, 0, drawn, out=half)
        way = ways[int(torch.randint(8, (1,), generator=random))]
        rate = LEARNING_RATE * (1 + math.cos(math.pi * step / STEPS)) / 2
        network.train(seen, label, way, rate)
    return network


def turned(batch: Tensor, way: int) -> Tensor:
    """Windows under one of the eight symmetries of the square, ``way`` from 0 to 7."""
    flipped = batch.flip([axis for axis, bit in ((-1, 1), (-2, 2)) if way & bit])
    return flipped.transpose(-1, -2) if way & 4 else flipped


def balanced_accuracy(hits: list[Floats], counts: list[Floats]) -> Accuracy:
    """The mean accuracy of the two classes and its 95 % interval.

    Args:
        hits: For each class, the number of windows of each test image that were classified right.
        counts: For each class, the number of all windows of each test image.

    """
    shares = [h.sum() / n.sum() for h, n in zip(hits, counts, strict=True)]
    accuracy = float(np.mean(shares))
    reach = _reach(hits, counts)
    low, high = wilson(accuracy, 4 / sum(1 / n.sum() for n in counts))
    return Accuracy(
        accuracy,
        min(low, max(accuracy - reach, 0.0)),
        max(high, min(accuracy + reach, 1.0)),
        int(sum(n.sum() for n in counts)),
    )


def _reach(hits: list[Floats], counts: list[Floats]) -> float:
    """Half the width of Student's 95 % interval, from the spread between test images."""
    variance, freedom = 0.0, 0
    for h, n in zip(hits, counts, strict=True):
        if len(h) > 1:
            residual = h - n * (h.sum() / n.sum())  # Cochran 1977, variance of a ratio
            variance += np.sum(residual**2) * len(h) / (len(h) - 1) / n.sum() ** 2
            freedom += len(h) - 1
    return float(stdtrit(freedom, QUANTILE) * np.sqrt(variance)) / 2 if freedom else 0.0


def wilson(share: float, number: float) -> tuple[float, float]:
    """The 95 % interval of Wilson (1927) for a share of ``number`` independent trials."""
    z2 = float(ndtri(QUANTILE)) ** 2 / number
    centre = (share + z2 / 2) / (1 + z2)
    reach = np.sqrt(z2 * (share * (1 - share) + z2 / 4)) / (1 + z2)
    return max(float(centre - reach), 0.0), min(float(centre + reach), 1.0)
