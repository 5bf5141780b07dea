"""Figure 2 of the paper, for pairs of any camera, and for what a simulated camera is made of."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.audit.noise_laws import DifferenceHistogram
from pipeline.audit.tasks import bicubic_reference, count_pair
from pipeline.base.boxes import Box
from pipeline.base.seeding import generator
from pipeline.demo.camera import Camera
from pipeline.figures.rounded_laws import Cells, Comparison, compare
from pipeline.stores.reader import Store

Floats = NDArray[np.float64]

VALUES = 2000
"""Values of an image that laws of many scales are fitted to."""
SHOTS = 4
"""Captures of a simulated camera that are scored; the others tell their mean and deviation."""
CLEAR = 4.0
"""Standard deviations from black and from white, so that clipping cuts no noise."""
DIFFERENCE = "real LR - bicubic"
CONTENT = "content alone: mean capture - bicubic"
NOISE = "noise alone: capture - mean capture"
RELATIVE = "noise over its deviation at the pixel"


@dataclass(frozen=True)
class CameraLaws:
    """Figure 2 of a camera."""

    differences: DifferenceHistogram
    """Real LR - bicubic LR of all photographs."""
    rows: dict[str, Comparison]
    """By what was compared."""


def bicubic_lr(store: Store, name: str, image_id: str) -> Floats:
    """The bicubic LR image (3, H, W) of the HR array of an image, in gray levels."""
    height, width = (side // store.scale for side in store.size(image_id))
    return bicubic_reference(store, name, image_id, Box(0, height, 0, width))


def drawn(random: np.random.Generator, *arrays: NDArray[np.floating]) -> list[Floats]:
    """The same VALUES places of arrays (n,), drawn without replacement."""
    places = random.permutation(len(arrays[0]))[:VALUES]
    return [np.asarray(each[places], dtype=np.float64) for each in arrays]


def compare_noise(
    val: Store, camera: Camera, captures: int, random: np.random.Generator
) -> Iterator[tuple[str, Cells]]:
    """Cells of every photograph of what a simulated camera does, each with its name."""
    for image_id in val.ids:
        clean = camera.clean(val.read(image_id, "hr"), val.scale)
        shots = np.stack(
            [
                camera.expose(clean, generator(0, f"figures/{image_id}", k))
                for k in range(captures + SHOTS)
            ]
        ).astype(np.float64)
        mean, deviation = shots[SHOTS:].mean(axis=0), shots[SHOTS:].std(axis=0, ddof=1)
        content = DifferenceHistogram.of(np.rint(mean) - bicubic_lr(val, "hr", image_id))
        yield CONTENT, Cells.of_differences(content)
        clear = (np.abs(mean - 127.5) + CLEAR * deviation < 127.5) & (deviation > 0)
        noise = (shots[:SHOTS] - mean)[:, clear]
        scales = np.broadcast_to(deviation[clear], noise.shape)
        counted = Cells.of_differences(DifferenceHistogram.of(noise))
        yield NOISE, counted
        yield (
            RELATIVE,
            Cells.relative(*drawn(random, noise.ravel(), scales.ravel())),
        )


def camera_laws(val: Store, camera: Camera | None, captures: int) -> CameraLaws:
    """Compare the laws on the photographs of a camera.

    Args:
        val: Its pairs, at least two.
        camera: The simulated camera they are of, to take its noise apart; None: a real one.
        captures: That it makes of every photograph for mean and deviation, at least two.

    """
    random = np.random.default_rng(0)
    counted = [count_pair(val, image_id) for image_id in val.ids]
    parts = {DIFFERENCE: [Cells.of_differences(each) for each in counted]}
    if camera is not None:
        for name, cells in compare_noise(val, camera, captures, random):
            parts.setdefault(name, []).append(cells)
    rows = {name: compare(each, random) for name, each in parts.items()}
    return CameraLaws(sum(counted[1:], counted[0]), rows)
