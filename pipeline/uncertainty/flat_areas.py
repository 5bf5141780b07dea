"""Predictions against unpaired real LR images: their noise in flat areas, and no more.

Both sets are cut into blocks of 8x8 pixels less their planes.  Those with the calmest neighbours
are flat.  Real values are ranked among those of samples of the same intensity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.base.errors import UserError
from pipeline.base.seeding import generator
from pipeline.images.io import to_uint8
from pipeline.noise.estimate import FLAT_SHARE, SIDE, Blocks, cut_blocks, join
from pipeline.stores.reader import Store
from pipeline.stores.split import training_box
from pipeline.uncertainty.pairs import (
    INTENSITIES,
    Tallies,
    channel_strata,
    evenly,
    intensity_strata,
)
from pipeline.uncertainty.scoring import ValueScores, score_pool
from pipeline.uncertainty.sources import Source
from pipeline.uncertainty.tally import tallies

BLOCKS = 60_000
"""Of a set of images, about."""
IMAGES = 200
"""Of a set that are read, at most, evenly spread over it."""
POOL = 20_000
"""Values of a channel and class of intensity that real ones are ranked among, at most."""
FEWEST = 10
"""Blocks of a class of intensity that count as flat, if it has so many; a class of samples that has
fewer is left out."""


@dataclass(frozen=True, eq=False)
class FlatValues:
    """Values of flat blocks of a set or of an image."""

    values: NDArray[np.float64]
    """(3, n): by channel, in gray levels, less the planes."""
    level: NDArray[np.float64]
    """(3, n): mean of the block that a value lies in."""


def _class(blocks: Blocks) -> NDArray[np.int64]:
    """The class of intensity of every block."""
    return np.asarray(np.digitize(blocks.level.mean(axis=1), INTENSITIES))


def _flat(blocks: Blocks, limits: NDArray[np.float64]) -> FlatValues:
    """The values of the blocks whose neighbours vary at most as the limit of their class says."""
    kept = blocks.usable & (blocks.surroundings.mean(axis=1) <= limits[_class(blocks)])
    residual = blocks.residual[kept].astype(np.float64)
    level = np.repeat(blocks.level[kept].astype(np.float64), SIDE * SIDE, axis=0)
    return FlatValues(residual.transpose(1, 0, 2, 3).reshape(3, -1), level.T)


def _limits(blocks: Blocks, name: object) -> NDArray[np.float64]:
    """(5,): the variance below which the calmest tenth of every class of intensity lies.

    In a small class it is that of the calmest ``FEWEST`` blocks.
    """
    usable = blocks.usable
    if not usable.any():
        raise UserError(f"{name}: holds no area of 24x24 pixels that is neither black nor white")
    around, place = blocks.surroundings[usable].mean(axis=1), _class(blocks)[usable]
    limits = np.zeros(len(INTENSITIES) + 1)
    for i in range(len(limits)):
        ordered = np.sort(around[place == i])
        if len(ordered):
            kept = max(round(FLAT_SHARE * len(ordered)), min(FEWEST, len(ordered)))
            limits[i] = ordered[kept - 1]
    return limits


def real_flat_values(lr: Store) -> list[FlatValues]:
    """Flat areas of every real LR image, without the held-out part.

    Raises:
        UserError: There are none.

    """
    ids = evenly(lr.ids, IMAGES)
    parts = []
    for image_id in tqdm(ids, "real LR", unit="image"):
        image = lr.read(image_id, "image", training_box(lr, image_id))
        parts.append(cut_blocks(image, max(BLOCKS // len(ids), 1)))
    limits = _limits(join(parts), lr.path)
    return [_flat(blocks, limits) for blocks in parts]


def sampled_flat_values(maps: Store, source: Source, name: str) -> FlatValues:
    """Flat areas of one sample of every image of the maps.

    Raises:
        UserError: There are none.

    """
    ids = evenly(maps.ids, IMAGES)
    parts = []
    for number, image_id in enumerate(tqdm(ids, f"samples, {name}", unit="image")):
        stored = {
            key: torch.from_numpy(maps.read(image_id, key)).float()[None]
            for key in source.sampler.reads
        }
        drawn = source.sampler.sample(stored, generator(0, "uncertainty/flat", number))
        parts.append(cut_blocks(to_uint8(drawn[0]), max(BLOCKS // len(ids), 1)))
    blocks = join(parts)
    return _flat(blocks, _limits(blocks, maps.path))


def score_flat_areas(
    lr: Store, maps: Store, sources: Mapping[str, Source]
) -> dict[str, list[Tallies]]:
    """Score the noise of samples against that of real LR images, unpaired.

    Args:
        lr: Store of real LR images.
        maps: Mean and theta of HR images of any scenes.
        sources: What predicts.

    Returns:
        Tallies of every real LR image by source.

    Raises:
        UserError: One of the stores has no flat areas.

    """
    real = real_flat_values(lr)
    return {
        name: _ranked(real, sampled_flat_values(maps, source, name))
        for name, source in sources.items()
    }


def _ranked(real: Sequence[FlatValues], sampled: FlatValues) -> list[Tallies]:
    random = np.random.default_rng(0)
    pools = _pools(sampled, random)
    return [_rank_image(image, pools, random) for image in real]


def _pools(
    sampled: FlatValues, random: np.random.Generator
) -> dict[tuple[int, str], NDArray[np.float64]]:
    """Values of samples by channel and class of intensity, where there are enough."""
    pools = {}
    for channel, (values, level) in enumerate(zip(sampled.values, sampled.level, strict=True)):
        for stratum, chosen in intensity_strata(level).items():
            pool = values[chosen]
            if len(pool) >= FEWEST * SIDE * SIDE:
                pools[channel, stratum] = random.permutation(pool)[:POOL]
    return pools


def _rank_image(
    image: FlatValues,
    pools: Mapping[tuple[int, str], NDArray[np.float64]],
    random: np.random.Generator,
) -> Tallies:
    """Tallies of an image; values of a class without a pool are in none of them."""
    classes = intensity_strata(image.level)
    columns = [np.zeros(image.values.shape) for _ in range(4)]
    known = np.zeros(image.values.shape, dtype=bool)
    for (channel, stratum), pool in pools.items():
        chosen = classes[stratum][channel]
        found = score_pool(image.values[channel][chosen], pool, random)
        parts = (found.rank, found.crps, found.width, found.error)
        for column, part in zip(columns, parts, strict=True):
            column[channel][chosen] = part
        known[channel][chosen] = True
    strata = {"all": known, **classes, **channel_strata(known.shape)}
    scores = ValueScores(*(column.ravel() for column in columns))
    return tallies(scores, None, {n: (each & known).ravel() for n, each in strata.items()})
