"""The camera whose synthesis has the spectra of the real LR images, by generalised least squares.

Two piles show different scenes, so their spectra differ even under one camera.  The residuals
therefore have a covariance: that of the bootstrap over the images of both piles, a free level (the
scenes' contrast), a slope against the logarithm of the frequency (scenes are more or less detailed;
spectra of natural images are powers of the frequency, Field 1987), a model error, and what is not
known of the noise of the colour differences.  A blur falls with the square of the frequency and a
sharpening rises to a plateau, so both can be told from it.

One synthesis is made per round.  Between two rounds the statistics are predicted by the change of
the camera's transfer function, in the part of the power that is signal.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares, minimize_scalar
from torch import Tensor

from pipeline.camera.optics import Array, Optics
from pipeline.camera.prediction import analytic, analytic_chroma
from pipeline.camera.spectra import BANDS, SECTORS, Measure, Spectra, rings
from pipeline.camera.synthesis import Synthesis

START = np.array([0.3, 0.0, 0.0, 0.4, 0.0])
"""Expectation of blur, stretch, shear, amount and log radius; see ``optics.Optics``."""
SPREAD = np.array([0.6, 0.15, 0.15, 0.7, 0.35])
"""Their standard deviations before anything is seen."""
LOW = np.array([0.0, -3.0, -3.0, 0.0, -0.9])
HIGH = np.array([8.0, 3.0, 3.0, 4.0, 0.9])
CHROMA_START, CHROMA_SPREAD, CHROMA_HIGH = 0.6, 2.0, 16.0
"""The same of the variance that smooths the colour differences."""
SMOOTHINGS = np.linspace(0, math.sqrt(CHROMA_HIGH), 81) ** 2
"""Variances among which the best is looked for first, in LR pixels squared."""
STARTS = (
    START,
    np.array([0.1, 0.0, 0.0, 0.0, 0.0]),
    np.array([1.0, 0.0, 0.0, 1.0, 0.3]),
    np.array([0.5, 0.3, 0.0, 0.6, 0.0]),
    np.array([0.5, -0.3, 0.0, 0.6, 0.0]),
    np.array([0.5, 0.0, 0.3, 0.6, 0.0]),
    np.array([0.5, 0.0, -0.3, 0.6, 0.0]),
)
"""Where every search begins; the best end is kept."""
LEVEL, SLOPE, MODEL_ERROR, SECTOR_ERROR = 3.0, 0.1, 0.03, 0.05
"""Standard deviations of the level, of the slope, and of the model error of rings and sectors, in
natural logarithms of the amplitude."""
CHROMA_NOISE_ERROR, NOISE_LENGTH = 0.2, 0.1
"""Standard deviation of what is not known of the noise of the colour differences, as a share of its
power, and the frequency over which it changes.  Their noise is often stronger than their signal."""
LUMA_UP_TO, CHROMA_UP_TO = 0.45, 0.4
"""Rings up to these frequencies count."""
SHAPE, CHROMA_SHAPE, SHAPE_LENGTH = 0.12, 0.4, 0.1
"""Standard deviation of what the six numbers cannot express, in natural logarithms of luma and
chroma, and the frequency over which it changes."""
LEAST_SIGNAL = 0.02
"""Least share of signal in the power of a ring."""
INTERVAL_DRAWS = 60
"""Sets of images drawn for the interval."""


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera that was found."""

    optics: Optics
    """The six numbers."""
    luma_shape: Array
    """(rings,): logarithm of a further factor of the luma's transfer."""
    chroma_shape: Array
    """The same of the colour differences."""
    cost: float
    """Squared residuals in units of their covariance, with the prior's."""

    def luma(self, f: Array) -> Array:
        """Transfer of luma at radial frequencies in cycles per LR pixel."""
        return self.optics.radial_luma(f) * shaped(self.luma_shape, f)

    def chroma(self, f: Array) -> Array:
        """Transfer of the colour differences."""
        return self.optics.radial_chroma(f) * shaped(self.chroma_shape, f)

    def shaping(self, f: Array) -> tuple[Array, Array]:
        """The further factors of luma and chroma at frequencies."""
        return shaped(self.luma_shape, f), shaped(self.chroma_shape, f)


def shaped(shape: Array, f: Array) -> Array:
    """A further factor at frequencies: one at zero, constant beyond the last ring."""
    places, values = np.append(0.0, rings()), np.append(0.0, shape)
    return np.asarray(np.exp(np.interp(f, places, values)))


@dataclass(frozen=True, eq=False)
class Seen:
    """The statistics of both piles at one camera."""

    real: Array
    made: Array
    signal: Array
    """Share of signal in the power of the generated images."""
    covariance: Array

    def predicted(self, change: Array, part: slice = slice(None)) -> Array:
        """The statistics that a camera would give.

        Args:
            change: (..., statistics of the part): logarithm of its transfer over this camera's.
            part: Some of the statistics, none of the directions; or all.

        """
        change = np.clip(change, -6, 6)
        made, signal = self.made[part], self.signal[part]
        found = made + np.log(signal * np.exp(2 * change) + 1 - signal) / 2
        if part == slice(None):
            directions = slice(2 * len(rings()), None)
            found[..., directions] = (made + signal * change)[..., directions]
        return np.asarray(found)


class Search:
    """Finds the camera of a pile of real LR images.

    Args:
        real: Spectra of the real LR images.
        synthesis: Windows of the HR images.
        measure: Measures spectra.
        expose: Adds noise and JPEG to LR images without noise.
        coloured: Whether both piles have colours; if not, chroma is what is expected of it.

    """

    def __init__(
        self,
        real: Spectra,
        synthesis: Synthesis,
        measure: Measure,
        expose: Callable[[Tensor], Tensor],
        coloured: bool,
    ) -> None:
        self.real, self.synthesis, self.measure, self.expose = real, synthesis, measure, expose
        self.source = np.random.default_rng(0)
        self.own = real.covariance(self.source)
        count, f = len(rings()), rings()
        self.luma = np.concatenate([f < LUMA_UP_TO, np.zeros(count, bool), np.ones(8, bool)])
        self.chroma = np.concatenate([np.zeros(count, bool), f < CHROMA_UP_TO, np.zeros(8, bool)])
        self.chroma &= coloured
        self.spectra: Spectra | None = None

    def run(
        self, rounds: int, round_made: Callable[[], object], start: Camera | None = None
    ) -> Camera:
        """Search.

        Args:
            rounds: Syntheses.
            round_made: Called after each of them.
            start: Where to begin; None: at the prior's expectation.

        """
        numbers = START if start is None else luma_numbers(start.optics)
        chroma = CHROMA_START if start is None else start.optics.chroma
        best: Camera | None = None
        kept: Seen | None = None
        for step in range(rounds):
            optics = Optics.of(np.append(numbers, chroma))
            seen = self._look(optics)
            cost = self._cost(seen, numbers, chroma)
            round_made()
            if best is None or cost < best.cost:
                zeros = np.zeros(len(rings()))
                best, kept = Camera(optics, zeros, zeros, cost), seen
            else:  # half of the way back
                numbers = (numbers + luma_numbers(best.optics)) / 2
                chroma = (chroma + best.optics.chroma) / 2
                continue
            if step + 1 < rounds:
                numbers = self._luma(seen, optics)
                chroma = self._chroma(seen, optics, numbers)
        assert best is not None and kept is not None
        self.seen = kept
        return self._with_shape(best, kept.real - kept.made)

    def interval(self, camera: Camera, f: Array) -> tuple[Array, Array]:
        """Transfers of luma and chroma (draws, len(f)) for images drawn with replacement."""
        assert self.spectra is not None
        luma, chroma = [], []
        whole, before = self.spectra.vector(), analytic(camera.optics)
        for _ in range(INTERVAL_DRAWS):
            real = self.real.resampled(self.source)
            moved = self.spectra.resampled(self.source) - whole
            seen = replace(self.seen, real=real, made=self.seen.made + moved)
            numbers = self._luma(seen, camera.optics, few=True)
            optics = Optics.of(np.append(numbers, self._chroma(seen, camera.optics, numbers)))
            left = real - seen.predicted(analytic(optics) - before)
            drawn = self._with_shape(replace(camera, optics=optics), left)
            luma.append(drawn.luma(f))
            chroma.append(drawn.chroma(f))
        return np.stack(luma), np.stack(chroma)

    def slope(self) -> float:
        """Slope of what is left of luma against the logarithm of the frequency."""
        f = rings()
        kept = f < LUMA_UP_TO
        left = (self.seen.real - self.seen.made)[: len(f)][kept]
        return float(np.polyfit(np.log(f[kept]), left, 1)[0])

    def _look(self, optics: Optics) -> Seen:
        """Statistics of the HR images through a camera."""
        clean = self.synthesis.mean(optics)
        self.spectra = self.synthesis.spectra(self.expose(clean), self.measure)
        made = self.spectra.vector()
        alone = self.synthesis.spectra(clean, self.measure).vector()
        signal = np.clip(np.exp(2 * (alone - made)), LEAST_SIGNAL, 1)
        covariance = self.own + self.spectra.covariance(self.source) + content()
        covariance += chroma_noise(signal)
        return Seen(self.real.vector(), made, self._of_sectors(signal), covariance)

    @staticmethod
    def _of_sectors(signal: Array) -> Array:
        """The share of signal of a sector is that of the rings of its band."""
        f, found = rings(), signal.copy()
        for k, (low, high) in enumerate(BANDS):
            inside = np.flatnonzero((f >= low) & (f < high))
            place = 2 * len(f) + k * SECTORS
            found[place : place + SECTORS] = signal[inside].mean()
        return found

    def _luma(self, seen: Seen, at: Optics, few: bool = False) -> Array:
        """Blur, stretch, shear, amount and log radius."""
        root, before = _whitening(seen.covariance, self.luma), analytic(at)

        def residuals(numbers: Array) -> Array:
            change = analytic(Optics.of(np.append(numbers, at.chroma))) - before
            left = (seen.real - seen.predicted(change))[self.luma]
            return np.concatenate([root @ left, (numbers - START) / SPREAD])

        starts = (luma_numbers(at),) if few else (luma_numbers(at), *STARTS)
        ends = [
            least_squares(
                residuals, np.clip(s, LOW + 1e-6, HIGH - 1e-6), bounds=(LOW, HIGH), x_scale=SPREAD
            )
            for s in starts
        ]
        return np.asarray(min(ends, key=lambda end: end.cost).x)

    def _chroma(self, seen: Seen, at: Optics, numbers: Array) -> float:
        """The variance that smooths the colour differences, given the rest.

        The best of many values is refined between its neighbours.
        """
        root = _whitening(seen.covariance, self.chroma)
        lens, count = Optics.of(np.append(numbers, at.chroma)), len(rings())
        part = slice(count, 2 * count)
        before, kept = analytic(at)[part], self.chroma[part]

        def cost(chroma: Array) -> Array:
            made = seen.predicted(analytic_chroma(lens, chroma) - before, part)
            left = (seen.real[part] - made)[:, kept] @ root.T
            prior = (chroma - CHROMA_START) / CHROMA_SPREAD
            return np.asarray((left**2).sum(axis=1) + prior**2)

        best = int(np.argmin(cost(SMOOTHINGS)))
        bounds = SMOOTHINGS[max(best - 1, 0)], SMOOTHINGS[min(best + 1, len(SMOOTHINGS) - 1)]
        return float(
            minimize_scalar(
                lambda one: float(cost(np.array([one]))[0]),
                bounds=bounds,
                method="bounded",
                options={"xatol": 1e-6},
            ).x
        )

    def _cost(self, seen: Seen, numbers: Array, chroma: float) -> float:
        left = seen.real - seen.made
        luma = _whitening(seen.covariance, self.luma) @ left[self.luma]
        colour = _whitening(seen.covariance, self.chroma) @ left[self.chroma]
        prior = np.append((numbers - START) / SPREAD, (chroma - CHROMA_START) / CHROMA_SPREAD)
        return float(luma @ luma + colour @ colour + prior @ prior)

    def _with_shape(self, camera: Camera, left: Array) -> Camera:
        """Add what the six numbers cannot express: the mean of a Gaussian process given the rest.

        The process is zero at frequency zero; the residuals are ``left``.
        """
        count = len(rings())
        shapes = []
        for k, deviation in enumerate((SHAPE, CHROMA_SHAPE)):
            part = slice(k * count, (k + 1) * count)
            prior = process(rings(), deviation)
            together = prior + self.seen.covariance[part, part]
            found = prior @ np.linalg.solve(together, left[part])
            shapes.append(found if (self.luma | self.chroma)[part].any() else 0 * found)
        return replace(camera, luma_shape=shapes[0], chroma_shape=shapes[1])


def luma_numbers(optics: Optics) -> Array:
    """Blur, stretch, shear, amount and log radius of a camera."""
    return np.array([optics.blur, optics.stretch, optics.shear, optics.amount, optics.log_radius])


def content() -> Array:
    """Covariance of the statistics of one camera over other scenes, and the model error."""
    f = rings()
    count = len(f)
    found = np.zeros((2 * count + 8, 2 * count + 8))
    for part in (slice(0, count), slice(count, 2 * count)):
        slope = SLOPE * np.log(f / 0.1)
        found[part, part] = LEVEL**2 + np.outer(slope, slope)
    errors = np.repeat([MODEL_ERROR, SECTOR_ERROR], [2 * count, 8])
    return found + np.diag(errors**2)


def chroma_noise(signal: Array) -> Array:
    """Covariance by what is not known of the noise of the colour differences.

    Args:
        signal: Share of signal in the power of every statistic.

    """
    count = len(rings())
    chroma = slice(count, 2 * count)
    change = CHROMA_NOISE_ERROR * (1 - signal[chroma]) / 2  # of the logarithm of the amplitude
    found = np.zeros((len(signal), len(signal)))
    found[chroma, chroma] = np.outer(change, change) * near(rings(), NOISE_LENGTH)
    return found


def near(f: Array, length: float) -> Array:
    """Correlation of a smooth Gaussian process between frequencies."""
    return np.asarray(np.exp(-((f[:, None] - f[None, :]) ** 2) / (2 * length**2)))


def process(f: Array, deviation: float) -> Array:
    """Covariance of a smooth Gaussian process that is zero at frequency zero."""
    zero = np.exp(-(f**2) / (2 * SHAPE_LENGTH**2))
    return np.asarray(deviation**2 * (near(f, SHAPE_LENGTH) - np.outer(zero, zero)))


def _whitening(covariance: Array, kept: Array) -> Array:
    """A matrix whose product with residuals has their squares in units of their covariance."""
    inverse = np.linalg.inv(covariance[np.ix_(kept, kept)])
    return np.asarray(np.linalg.cholesky((inverse + inverse.T) / 2).T)
