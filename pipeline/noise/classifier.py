"""A classifier two-sample test (Lopez-Paz and Oquab, 2017) of real against generated LR images.

A small network learns to tell windows of both apart; its accuracy on images it has not seen is 0.5
if they follow the same law.  It sees only the high-pass of the windows, so it judges noise more
than content.  Textures still count: piles of few photographs differ in them, and the accuracy of
one half of the real images against the other says by how much.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.base.seeding import generator
from pipeline.noise.estimate import ROUNDING
from pipeline.noise.signature import Floats, cut, high_pass_values

FLAT_SHARE = 0.25
"""Share of an image's windows that count as flat."""
BLOCK = 4
"""Side in pixels of the blocks whose means tell how flat a window is."""
FILTERS = 16
STEPS = 600
BATCH = 64
LEARNING_RATE = 0.01
WEIGHT_DECAY = 0.01
NORMAL = 1.959964
"""The 97.5 % quantile of the normal law."""


@dataclass(frozen=True)
class Accuracy:
    """How well real and generated windows can be told apart."""

    accuracy: float
    """Mean of the shares of real and of generated test windows that were recognised."""
    low: float
    """Lower end of the 95 % interval; no difference was found where low <= 0.5."""
    high: float
    """Upper end."""
    windows: int
    """Number of test windows of both classes."""


def windows(image: NDArray[np.floating], count: int, generator: torch.Generator) -> Floats:
    """Draw windows at random from the flattest quarter of an image.

    Flat windows show the noise with little content.  How flat a window is, is judged by the spread
    of the means of its blocks of 4 by 4 pixels.  White noise enters these means with a quarter of
    its deviation, and only below 1/8 cycle per pixel, where the high-pass lets little through: the
    choice hardly depends on the noise the classifier sees.  Fine texture looks flat to it.

    Not the very flattest are taken, as those are often clipped to black or white and have no
    noise, but any of the flattest quarter.  Windows lie side by side, from the upper left corner:
    they share no pixel, and the blocks of a JPEG lie alike in all of them.

    Args:
        image: (3, H, W) in gray levels.
        count: How many windows are wanted.
        generator: Randomness, on the CPU.

    Returns:
        (n, 3, 16, 16) in gray levels; n is less than ``count`` only where the image has less.

    """
    every = cut(image)
    size = every.shape[-1] // BLOCK
    means = every.reshape(-1, 3, size, BLOCK, size, BLOCK).mean(axis=(3, 5))
    order = np.argsort(means.var(axis=(2, 3)).sum(axis=1), kind="stable")
    flattest = order[: max(count, round(FLAT_SHARE * len(order)))]
    drawn = torch.randperm(len(flattest), generator=generator)[:count]
    chosen: Floats = every[flattest[drawn.numpy()]]
    return chosen


def two_sample_accuracy(real: Sequence[Floats], generated: Sequence[Floats], seed: int) -> Accuracy:
    """Train the classifier on half of the images and try it on the others.

    No image has windows in both halves.  Only where a class has a single image are the windows of
    that class split instead; windows of one image are alike, so the accuracy is then too high
    whenever the two classes have different content.  The content must not be in both classes
    either: the network would know a test image from the other class, which lowers the accuracy.

    The interval is the wider at each end of two: Wilson's, which takes all test windows as
    independent, and Student's from the spread between test images, which knows that windows of
    one image are alike.  A class with a single test image adds nothing to the second: with less
    than three images in a class the interval is too narrow.

    Args:
        real: The windows of each real LR image, (n, 3, 16, 16) in gray levels; n may be 0.
        generated: The same of generated LR images.
        seed: Seed of the split, the weights and the training.

    Returns:
        The accuracy on the test images.  The same arguments give the same numbers on one machine.

    Raises:
        ValueError: A class has less than two windows.

    """
    halves = [
        _halves(images, generator(seed, f"two_sample/split/{name}"), name)
        for name, images in (("real", real), ("generated", generated))
    ]
    train = [torch.cat([_seen(each) for each in train]) for train, _ in halves]
    scale = _scale(torch.cat(train))
    classify = _trained([torch.asinh(each / scale) for each in train], seed)
    hits, counts = [], []
    for label, (_, test) in enumerate(halves):
        found = [classify(torch.asinh(_seen(each) / scale)) == bool(label) for each in test]
        hits.append(np.array([each.sum().item() for each in found], dtype=np.float64))
        counts.append(np.array([len(each) for each in found], dtype=np.float64))
    return balanced_accuracy(hits, counts)


def _halves(
    images: Sequence[Floats], random: torch.Generator, name: str
) -> tuple[list[Floats], list[Floats]]:
    """Images for training and for the test; windows of a single image where there is no other."""
    images = [each for each in images if len(each)]
    if len(images) == 1:
        images = list(images[0][:, None])
    if len(images) < 2:
        raise ValueError(f"{name}: at least two windows are needed, got {len(images)}")
    order = torch.randperm(len(images), generator=random).tolist()
    middle = len(order) // 2
    return [images[i] for i in order[:middle]], [images[i] for i in order[middle:]]


def _seen(windows: Floats) -> Tensor:
    """What the classifier sees of windows: their high-pass (n, 3, 12, 12), in gray levels."""
    return torch.from_numpy(high_pass_values(windows)).float()


def _scale(values: Tensor) -> Tensor:
    """A typical high-pass value; asinh(x / scale) is linear in noise and tames edges."""
    return values.abs().median().clamp(min=ROUNDING**0.5)


def _trained(train: list[Tensor], seed: int) -> Callable[[Tensor], Tensor]:
    """Train the network to tell the second class from the first; its answers are booleans (n,).

    3x3 filters, a mixing of their answers, means over the window: a learned texture statistic.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, FILTERS, 3),
            nn.ReLU(),
            nn.Conv2d(FILTERS, FILTERS, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.BatchNorm1d(FILTERS),
            nn.Linear(FILTERS, 1),
        )
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    random = generator(seed, "two_sample/training")
    label = torch.arange(2.0).repeat_interleave(BATCH // 2)
    for _ in range(STEPS):
        draws = [x[torch.randint(len(x), (BATCH // 2,), generator=random)] for x in train]
        batch = turned(torch.cat(draws), int(torch.randint(8, (1,), generator=random)))
        loss = F.binary_cross_entropy_with_logits(network(batch)[:, 0], label)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    network.eval()

    @torch.no_grad()
    def classify(values: Tensor) -> Tensor:
        answer: Tensor = network(values)[:, 0] > 0
        return answer

    return classify


def turned(batch: Tensor, way: int) -> Tensor:
    """One of the eight flips and turns of windows."""
    flipped = batch.flip([axis for axis, bit in ((-1, 1), (-2, 2)) if way & bit])
    return flipped.transpose(-1, -2) if way & 4 else flipped


def balanced_accuracy(hits: list[Floats], counts: list[Floats]) -> Accuracy:
    """The mean accuracy of both classes and its interval of 95 %.

    Args:
        hits: For each class, the recognised windows of each test image.
        counts: The same of all windows.

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
    """Half of the 95 % interval of the accuracy that the spread between test images gives."""
    variance, freedom = 0.0, 0
    for h, n in zip(hits, counts, strict=True):
        if len(h) > 1:
            residual = h - n * (h.sum() / n.sum())  # Cochran 1977, variance of a ratio
            variance += np.sum(residual**2) * len(h) / (len(h) - 1) / n.sum() ** 2
            freedom += len(h) - 1
    return student(freedom) * float(np.sqrt(variance)) / 2 if freedom else 0.0


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, by the expansion of Cornish and Fisher around the normal.

    Within 1 % from 3 degrees of freedom on; 3 % too small at 2, 24 % at 1.
    """
    z = NORMAL
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def wilson(share: float, number: float) -> tuple[float, float]:
    """The 95 % interval of Wilson (1927) for a share found in ``number`` independent trials."""
    z2 = NORMAL**2 / number
    centre = (share + z2 / 2) / (1 + z2)
    reach = np.sqrt(z2 * (share * (1 - share) + z2 / 4)) / (1 + z2)
    return max(float(centre - reach), 0.0), min(float(centre + reach), 1.0)
