"""Scores of the DSN during its training, without pairs: for the best epoch and for warnings."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pipeline.base.boxes import Box
from pipeline.base.seeding import generator
from pipeline.images.io import to_float, to_uint8
from pipeline.noise.estimate import BLOCKS
from pipeline.noise.measured import measure
from pipeline.noise.statistics import Allowance, LrStatistics, compare, lr_statistics
from pipeline.runs.best import BestWeights
from pipeline.sampling.laplace import Maps
from pipeline.sampling.noise_law import NoiseSource
from pipeline.sampling.noise_level import LEAST_MISS, NO_NOISE, miss, noise_ratio
from pipeline.sampling.sampler import Draw, make_sampler
from pipeline.stores.reader import Store
from pipeline.stores.split import held_out_box

IMAGES = 16
"""Largest number of HR images that are scored; they are evenly spread over the store."""
SIDE = 512
"""Largest side, in HR pixels, of the central part of an image that is scored."""
COLLAPSED = 0.5
"""A DSN has collapsed if the correlation of its mean with the reference is below this."""

MapsOf = Callable[[Tensor], Maps]
"""A function from HR images (1, 3, H, W) in [0, 1] to maps (1, 3, H/s, W/s)."""


@dataclass(frozen=True)
class DsnScores:
    """A DSN's samples compared with held-out real LR images; None where there is no score."""

    wasserstein: float | None
    """Wasserstein-1 distance of the high-pass values, in gray levels."""
    noise_level: float | None
    """Noise level of the samples: standard deviation in gray levels."""
    noise_level_real: float | None
    """Noise level of the real LR images, in the same unit."""
    noise_level_difference: float | None
    """Difference of the noise levels: root mean square over the real intensities, gray levels."""
    theta_level: float
    """Noise level that theta alone adds, 2^(1/2) theta: root mean square in gray levels."""
    content_correlation: float
    """Correlation of the mean with the reference: median over the images."""
    noise_fault: str | None = None
    """Why the noise of the real LR images cannot be measured, and what to do."""

    @property
    def score(self) -> float:
        """The score in gray levels; lower is better.

        It is ``noise_level_difference``, which depends little on the scenes.  If the real noise
        cannot be estimated it is ``wasserstein``, which depends more on them.  It is infinite if
        the DSN has collapsed or the value is unknown.
        """
        if self.content_correlation < COLLAPSED:
            return float("inf")
        measured = self.noise_level_real is not None
        score = self.noise_level_difference if measured else self.wasserstein
        return float("inf") if score is None else score

    @property
    def noise_ratio(self) -> float | None:
        """The noise level of the samples over that of the real LR images; None: not known."""
        level = self.theta_level if self.noise_level is None else self.noise_level
        return noise_ratio(self.noise_level_real, level)

    def warnings(self) -> list[str]:
        """Faults of the DSN, one sentence each."""
        found = []
        real = self.noise_level_real
        level = self.theta_level if self.noise_level is None else self.noise_level
        quiet = self.theta_level <= NO_NOISE + LEAST_MISS
        own = level if quiet else None  # theta adds nothing to the means
        if self.noise_fault is not None:
            found.append(self.noise_fault)
        elif (missed := miss(real, level, own)) is not None:
            assert real is not None
            collapsed = self.content_correlation < COLLAPSED
            found.append(missed if collapsed else f"{missed}; {self._way_out(real, level)}")
        if self.content_correlation < COLLAPSED:
            found.append(
                f"the DSN has collapsed: its mean correlates with the reference by only "
                f"{self.content_correlation:.2f}; lower train_dsn.adversarial_weight or the rate"
            )
        return found

    def _way_out(self, real: float, level: float) -> str:
        """What helps against samples of another noise level."""
        if real <= NO_NOISE:
            return "real ones have no noise but rounding: train the SRN with train_srn.theta: none"
        if level > real and self.theta_level <= real:
            return (
                f"theta adds {self.theta_level:.1f} of it, and the means have the rest: take HR "
                "images that are less noisy, and have flat areas"
            )
        return (
            "train the SRN with train_srn.theta: calibrated, or constant with "
            f"train_srn.constant_theta_gray: {real / np.sqrt(2):.1f}"
        )


class Monitor:
    """Scores a DSN on fixed parts of HR images.

    Args:
        hr: Store of kind hr.
        lr: Store of kind lr.  Its held-out part is scored against; its noise is that of the other
            part, which the calibration measures too.
        reference: Gives the reference of HR images (1, 3, H, W), the same at every call.
        seed: Seed of the samples and of their statistics.
        camera: The camera whose noise theta is, if it is: samples are then drawn as by
            ``train_srn.theta: camera``, else as by ``raw``.

    """

    def __init__(
        self,
        hr: Store,
        lr: Store,
        reference: Callable[[Tensor], Tensor],
        seed: int,
        camera: NoiseSource | None = None,
    ) -> None:
        self.reference, self.seed = reference, seed
        self.sampler = make_sampler(Draw("raw" if camera is None else "camera"), camera=camera)
        chosen = hr.ids[:: max(-(-len(hr.ids) // IMAGES), 1)]
        self.crops = [to_float(hr.read(i, "image", _middle(hr, i)))[None] for i in chosen]
        real = None
        allowance = Allowance.of(len(lr.ids))
        for number, image_id in enumerate(lr.ids):
            if not allowance.enters(number):
                continue
            image = lr.read(image_id, "image", held_out_box(lr, image_id))
            lr_set = lr_statistics(image, allowance, generator(seed, "judge/real", number))
            real = lr_set if real is None else real + lr_set
        assert real is not None
        measured = measure(lr, BLOCKS)
        self.fault = measured.fault
        noise = measured.noise if self.fault is None else str(self.fault)
        self.real = replace(real, measured=noise)

    @torch.no_grad()
    def score(self, maps_of: MapsOf) -> DsnScores:
        """Score a DSN; the same weights give the same scores."""
        lr_set: LrStatistics | None = None
        correlations, variances = [], []
        for number, hr in enumerate(self.crops):
            maps = {name: values.float().cpu() for name, values in maps_of(hr).items()}
            noise = generator(self.seed, "judge/noise", number)
            drawn = self.sampler.sample(maps, noise)[0]
            own = lr_statistics(
                to_uint8(drawn),
                Allowance.of(len(self.crops)),
                generator(self.seed, "judge/windows", number),
            )
            lr_set = own if lr_set is None else lr_set + own
            variances.append(2 * float(self.sampler.theta(maps).double().square().mean()))
            pair = torch.stack([maps["mean"].flatten(), self.reference(hr).flatten()]).double()
            correlations.append(float(torch.corrcoef(pair)[0, 1]))
        assert lr_set is not None
        scores = compare(self.real, lr_set, None)
        return DsnScores(
            scores.wasserstein,
            scores.noise_level,
            scores.noise_level_real,
            scores.noise_level_difference,
            float(np.sqrt(np.mean(variances)) * 255),
            float(np.nan_to_num(np.median(correlations))),
            None if self.fault is None else str(self.fault),
        )


class BestEpoch(BestWeights[DsnScores]):
    """The weights of the epoch with the lowest score so far; epochs count from 0."""

    def __init__(self) -> None:
        super().__init__(lambda scores: scores.score, asdict, lambda state: DsnScores(**state))

    def logged(self) -> dict[str, float | None]:
        """The latest scores for the curves."""
        names = ("wasserstein", "noise_level_difference")
        return {} if self.latest is None else {name: getattr(self.latest, name) for name in names}


def _middle(hr: Store, image_id: str) -> Box:
    height, width = hr.size(image_id)
    rows, columns = (min(length, SIDE) // hr.scale * hr.scale for length in (height, width))
    top, left = (height - rows) // 2, (width - columns) // 2
    return Box(top, top + rows, left, left + columns)
