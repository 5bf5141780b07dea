"""What predicts a real LR image: a mean, a theta, and a law around them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.passport.passport import Passport
from pipeline.sampling.calibration import Calibration
from pipeline.sampling.laplace import Maps
from pipeline.sampling.sampler import Draw, Sampler, make_sampler
from pipeline.uncertainty.laws import GAUSSIAN, LAPLACE, CellLaw, filtered_law


class GaussianSampler:
    """Draws as Eq. 8 does, but with Gaussian eps of variance 2; see ``Sampler``."""

    reads = ("mean", "theta")

    def theta(self, maps: Maps) -> Tensor:
        """The theta of the maps."""
        return maps["theta"]

    def sample(self, maps: Maps, generator: torch.Generator) -> Tensor:
        """Draw LR images."""
        noise = torch.empty_like(maps["mean"]).normal_(generator=generator)
        return maps["mean"] + noise * 2**0.5 * maps["theta"]


@dataclass(frozen=True)
class Source:
    """A predictive distribution."""

    sampler: Sampler
    law: CellLaw | None
    """Of one value around the mean, scaled by the theta of the sampler; None: JPEG follows, and
    there is no closed form."""
    words: str
    """What it is."""


def make_sources(passport: Passport | None, calibration: Calibration | None) -> dict[str, Source]:
    """The predictive distributions that maps, a passport and a calibration give, by name."""
    found = {
        "raw": Source(make_sampler(Draw("raw")), LAPLACE, "theta of the maps, Laplace law (Eq. 8)"),
        "raw, Gaussian": Source(
            GaussianSampler(), GAUSSIAN, "theta of the maps, Gaussian law of the same variance"
        ),
    }
    if passport is not None:
        found["passport"] = Source(
            make_sampler(Draw("camera"), camera=passport),
            filtered_law(passport.noise) if passport.jpeg is None else None,
            "theta of the maps, correlation, tails and JPEG of the passport",
        )
    if calibration is not None:
        found["calibrated"] = Source(
            make_sampler(Draw("calibrated"), calibration),
            filtered_law(calibration.noise) if calibration.jpeg is None else None,
            "theta, correlation, tails and JPEG of the calibration",
        )
    return found
