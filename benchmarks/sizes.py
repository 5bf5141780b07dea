"""How large the benchmarks are: for two CPU cores, with the paper's sizes, or for a test."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pipeline.base.settings import changed
from pipeline.tools.profiles import Profile, find_profile, load_network, load_profile
from pipeline.train_dsn.settings import TrainDsnSettings
from pipeline.train_srn.settings import Architecture, TrainSrnSettings

ROOT = Path(__file__).parent.parent
S = TypeVar("S", TrainDsnSettings, TrainSrnSettings)


@dataclass(frozen=True)
class Size:
    """Everything that differs between a quick run and one on a GPU."""

    name: str
    profile: str
    """Whose networks, crops and batches are trained, of ``profiles/``; VGG19 has random weights."""
    images: int = 24
    """Photographs; more than the rolling window may hold."""
    hr: tuple[int, int] = (1360, 2040)
    """(H, W) of each; DIV2K's."""
    drawn: bool = False
    """Whether they are drawn instead, which needs no scikit-image."""
    patch: int = 64
    """Side of an LR crop where data alone are measured (the paper's)."""
    batch: int = 16
    """Crops of a batch there (the paper's)."""
    turn: float = 1.0
    """Seconds that one turn of one side takes, at least."""
    export_sides: tuple[int, ...] = (1000, 2000, 3000)
    """Of HR images."""
    audit_counts: tuple[int, ...] = (6, 12)
    """Of photographs; at most ``images``."""
    audit_small: tuple[int, ...] = (100, 500)
    """Of images of 48 x 48 LR pixels."""
    upscale_sizes: tuple[tuple[int, int], ...] = ((340, 510), (510, 764))
    """(H, W) of LR images."""
    upscale_sides: tuple[int, ...] = (1000, 3000)
    """Of LR images on which memory is measured, with a small network."""
    many: int = 100_000
    """Images of the large store."""
    long: int = 20_000
    """Steps of a long training, whose networks and images are always tiny."""
    dsn: Mapping[str, object] = field(default_factory=dict)
    """What differs from the profile's section ``train_dsn``."""
    srn: Mapping[str, object] = field(default_factory=dict)
    """What differs from the profile's section ``train_srn``."""
    options: Mapping[str, object] | None = None
    """Of the SR network, instead of the profile's."""

    def dsn_settings(self, **changes: object) -> TrainDsnSettings:
        """Settings of the DSN's training, on data of this size."""
        return _section(self, "train_dsn", TrainDsnSettings, {**self.dsn, **changes})

    def srn_settings(self, **changes: object) -> TrainSrnSettings:
        """Settings of the SRN's training, on data of this size."""
        raw = {"theta": "raw", **self.srn, **changes}
        return _section(self, "train_srn", TrainSrnSettings, raw)

    def architecture(self) -> Architecture:
        """The SR network, with fresh weights."""
        found = load_network(_profile(self), "esrgan")
        options = found.options if self.options is None else dict(self.options)
        return found.model_copy(update={"options": options})


NO_PASSPORT = {"reference": "bicubic", "prior_scale_gray": 1.0, "epochs": 1}
"""A training of the DSN on images of no camera; the demo's profile has a camera's passport."""

SIZES = {
    "small": Size("small", "demo", dsn=NO_PASSPORT),
    "paper": Size(
        "paper",
        "paper",
        export_sides=(1000, 3000, 6000, 10_000),
        audit_counts=(6, 24),
        audit_small=(1000, 3000, 10_000),
        upscale_sizes=((340, 510), (1360, 2040), (2720, 4080)),
        upscale_sides=(1000, 6000),
    ),
    "tiny": Size(  # proves that the rows run
        "tiny",
        "demo",
        images=7,
        hr=(128, 160),
        patch=16,
        batch=2,
        turn=0.0,
        export_sides=(64, 128),
        audit_counts=(3,),
        audit_small=(3,),
        upscale_sizes=((24, 32),),
        upscale_sides=(24, 48),
        many=200,
        long=60,
        dsn={
            **NO_PASSPORT,
            "features": 4,
            "blocks": 1,
            "discriminator_features": 2,
            "hr_patch": 64,
            "batch_size": 1,
            "perceptual_weight": 0.0,
        },
        srn={"lr_patch": 12, "batch_size": 2},
        options={"num_filters": 4, "num_blocks": 1},
    ),
}


def _section(size: Size, name: str, kind: type[S], changes: Mapping[str, object]) -> S:
    plain, profile = {"perceptual_weights": "random", **changes}, _profile(size)
    return changed(profile.settings(name, kind), plain, profile.path, name)


def _profile(size: Size) -> Profile:
    return load_profile(find_profile(ROOT / "profiles", size.profile))
