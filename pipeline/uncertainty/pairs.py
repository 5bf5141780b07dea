"""Predictions against the real LR images of pairs, by intensity, gradient and channel."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.audit.histograms import structure
from pipeline.base.boxes import Box
from pipeline.base.seeding import generator
from pipeline.images.io import Image, to_uint8
from pipeline.stores.format import CHANNELS
from pipeline.stores.reader import Store
from pipeline.uncertainty.scoring import score_draws
from pipeline.uncertainty.sources import Source
from pipeline.uncertainty.tally import Tally, merge, tallies

Tallies = Mapping[str, Tally]
Mask = NDArray[np.bool_]
T = TypeVar("T")
Floats = NDArray[np.float64]
Degrade = Callable[[Image], Mapping[str, NDArray[np.float32]]]

DRAWS = 99
"""Draws of every value; with its own rank they cut the unit interval into hundredths."""
SIDE = 64
"""Of a patch whose values are scored, LR pixels; its corner lies on the grid of JPEG."""
BORDER = 8
"""LR pixels around a patch that are drawn with it, and not scored."""
JPEG_GRID = 16
"""LR pixels: the blocks of JPEG, subsampled colour included."""
PATCHES = 8
"""Of an image, at most."""
INTENSITIES = (51, 102, 153, 204)
"""Borders of the classes of intensity, gray levels of the mean."""
TENTH = 0.1
"""Share of an image's pixels that count as flat, and as edges."""
FLAT, BETWEEN, EDGES = "flattest tenth", "between", "strongest edges, a tenth"


def intensity_strata(level: NDArray[np.floating]) -> dict[str, Mask]:
    """Which values lie in every class of intensity.

    Args:
        level: Gray levels without noise, of any shape.

    """
    place = np.digitize(level, INTENSITIES)
    ends = (0, *INTENSITIES, 255)
    return {f"{low} to {high}": place == i for i, (low, high) in enumerate(pairwise(ends))}


def channel_strata(shape: Sequence[int]) -> dict[str, Mask]:
    """Which values of an array (3, ...) belong to every channel."""
    number = np.broadcast_to(np.arange(3).reshape(3, *[1] * (len(shape) - 1)), shape)
    return {name: number == i for i, name in enumerate(CHANNELS)}


def _gradient_class(mean: Floats) -> NDArray[np.int64]:
    """Of every pixel (H, W) of a mean in gray levels: 0 flat, 1 between, 2 edges; -1 at borders."""
    gradient = structure(mean)[0]
    low, high = np.quantile(gradient, [TENTH, 1 - TENTH])
    found = np.full(mean.shape[1:], -1)
    found[3:-3, 3:-3] = np.where(gradient <= low, 0, np.where(gradient >= high, 2, 1))
    return found


def evenly(items: Sequence[T], most: int) -> list[T]:
    """At most so many of some items, spread over all."""
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[place] for place in np.unique(places)]


def _patches(height: int, width: int) -> list[Box]:
    """Patches of an LR image, spread evenly; a small image is one patch."""
    corners = [[*range(0, max(length - SIDE, 0) + 1, SIDE)] for length in (height, width)]
    every = [(top, left) for top in corners[0] for left in corners[1]]
    return [
        Box(top, min(top + SIDE, height), left, min(left + SIDE, width))
        for top, left in evenly(every, PATCHES)
    ]


def score_pairs(
    val: Store, degrade: Degrade, sources: Mapping[str, Source]
) -> dict[str, list[Tallies]]:
    """Score predictions of the real LR images of pairs.

    Args:
        val: Store of kind val; maps of its HR images are computed, one image at a time.
        degrade: Gives mean and theta (3, H/s, W/s) of an HR image (3, H, W), as a DSN does.
        sources: What predicts.

    Returns:
        Tallies of every image by source.

    """
    found: dict[str, list[Tallies]] = {name: [] for name in sources}
    for image_id in tqdm(val.ids, "pairs", unit="image"):
        maps = degrade(val.read(image_id, "hr"))
        lr = val.read(image_id, "lr")
        for name, source in sources.items():
            parts = _score_image(lr, maps, source, f"uncertainty/{image_id}")
            found[name].append(reduce(merge, parts))
    return found


def _score_image(
    lr: NDArray[np.uint8], maps: Mapping[str, NDArray[np.float32]], source: Source, seed: str
) -> Iterator[Tallies]:
    """The tallies of the patches of an image."""
    shape = lr.shape[1:]
    mean = maps["mean"].astype(np.float64) * 255
    gradient = _gradient_class(mean)
    random = np.random.default_rng(0)
    for number, patch in enumerate(_patches(*shape)):
        outer = _drawn_with(patch, *shape)
        seen = {
            key: torch.from_numpy(maps[key][outer.slices]).expand(DRAWS, -1, -1, -1)
            for key in source.sampler.reads
        }
        drawn = to_uint8(source.sampler.sample(seen, generator(0, seed, number)))
        inner = patch.within(outer).slices
        draws = drawn[(slice(None), *inner)]
        real = lr[patch.slices].astype(np.float64)
        scores = score_draws(real.ravel(), draws.reshape(DRAWS, -1), random)
        likelihood = None
        if source.law is not None:
            theta = source.sampler.theta({key: each[:1] for key, each in seen.items()})[0]
            scale = theta.numpy().astype(np.float64)[inner] * 255
            likelihood = source.law.log_likelihood(real, mean[patch.slices], scale).ravel()
        strata = _strata(mean[patch.slices], gradient[patch.slices[1:]])
        yield tallies(scores, likelihood, {n: each.ravel() for n, each in strata.items()})


def _drawn_with(patch: Box, height: int, width: int) -> Box:
    """What is drawn to score a patch: it begins on the grid of JPEG, as the image does."""
    return Box(
        max(patch.top - BORDER, 0) // JPEG_GRID * JPEG_GRID,
        min(patch.bottom + BORDER, height),
        max(patch.left - BORDER, 0) // JPEG_GRID * JPEG_GRID,
        min(patch.right + BORDER, width),
    )


def _strata(mean: Floats, gradient: NDArray[np.int64]) -> dict[str, Mask]:
    """Which values (3, H, W) of a patch belong to every stratum."""
    return {
        "all": np.ones(mean.shape, dtype=bool),
        **intensity_strata(mean),
        **{
            name: np.broadcast_to(gradient == i, mean.shape)
            for i, name in enumerate((FLAT, BETWEEN, EDGES))
        },
        **channel_strata(mean.shape),
    }
