"""Which settings somebody's images and machine ask for, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from pipeline.base.errors import UserError
from pipeline.base.params import in_yaml
from pipeline.prepare.left_out import clips_in
from pipeline.project.images import (  # fmt: skip
    Pile,
    between,
    enlarged,
    look_at,
    scale_of_pairs,
    sides,
)
from pipeline.project.step_time import measure
from pipeline.srn.file import SrModel, open_model
from pipeline.srn.network import options_of
from pipeline.tools.profiles import Profile, Stated, find_profile, load_profile
from pipeline.train_srn.losses import least_patch
from pipeline.train_srn.settings import Architecture, TrainSrnSettings
from pipeline.train_srn.terms import TERMS

NO_PAIRS = "data/raw/no-pairs"
"""Stands for pairs that nobody has."""
WEIGHTS = "data/raw/weights"
ADAPTED, UNTOUCHED = "adapted", "untouched"
"""Names of the networks that begin with a start model."""
MEANT = {
    ADAPTED: "the start model, trained on samples of your camera",
    UNTOUCHED: "the start model as it is, scored beside it",
}
MINUTES = {"cpu": 30, "cuda": 720}
"""Of all trainings together, if nothing else was asked for; other devices as a CPU."""
LENGTHS: Mapping[str, int] = {"demo": 3500, "camera": 100_000, "adapt": 150}
"""Steps of the trainings of a profile: as in the demo, as in the released code, as in ``adapt``."""
STEP = 4
"""Sides of crops are multiples of so many LR pixels."""
SMALLEST = 8
"""Least side of a crop, in LR pixels."""


@dataclass(frozen=True)
class Asked:
    """What the user said."""

    hr: Path
    lr: Path
    val: Path | None = None
    pairs: Path | None = None
    scale: int | None = None
    """None: that of the pairs or of the start model, else 4."""
    start: Path | None = None
    """A model to adapt."""
    minutes: float | None = None
    """Of all trainings together; None: by device."""

    @property
    def paired(self) -> list[Path]:
        """Folders that may hold pairs."""
        return [folder for folder in (self.val, self.pairs) if folder is not None]


class Choice(NamedTuple):
    """A setting that was chosen."""

    key: str
    value: object
    why: str


class Duration(NamedTuple):
    """About how long a stage takes."""

    stage: str
    seconds: float
    why: str


@dataclass
class Plan:
    """The settings for somebody's images."""

    profile: Profile
    piles: Mapping[str, Pile]
    choices: list[Choice] = field(default_factory=list)
    """Everything that is written beside the profile."""
    durations: list[Duration] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def choose(self, key: str, value: object, why: str) -> None:
        """Write a setting."""
        self.choices.append(Choice(key, value, why))

    @property
    def values(self) -> dict[str, object]:
        """The settings by dotted key."""
        return {choice.key: choice.value for choice in self.choices if choice.key != "profile"}


def make_plan(asked: Asked, root: Path) -> Plan:
    """Look at the images, measure the machine, and choose.

    Args:
        asked: What the user said.
        root: The clone of the project.

    Raises:
        UserError: Images or the start model cannot be read or do not fit each other.

    """
    piles = {"HR": look_at(asked.hr), "LR": look_at(asked.lr, clips_in(asked.lr))}
    model = None if asked.start is None else open_model(asked.start)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name, why = _profile(model, device)
    profile = load_profile(find_profile(root / "profiles", name))
    if asked.start is not None and model is not None:
        profile = started(profile, asked.start, model, asked.val is not None)
    plan = Plan(profile, piles)
    plan.remarks += [*piles["HR"].remarks, *piles["LR"].remarks, *between(*piles.values())]
    plan.choose("profile", name, why)
    _choose_folders(plan, asked, root)
    seconds = sum(pile.seconds * len(pile.sizes) for pile in piles.values())
    why = "decoding alone, by a few images that were decoded here"
    plan.durations.append(Duration("prepare", seconds, why))
    scale = _choose_scale(plan, asked, model)
    plan.choose("camera.light", "linear", "a device averages light; gamma: a program made the LR")
    _choose_crops(plan, scale)
    _choose_length(plan, asked, scale, device)
    return plan


def _profile(model: SrModel | None, device: str) -> tuple[str, str]:
    """Name of the profile, and why it is that."""
    if model is not None:
        return "adapt", "a model to start from was named"
    if device == "cuda":
        return "camera", f"{torch.cuda.get_device_name()}: real sizes"
    return "demo", f"no GPU, {psutil.cpu_count()} CPUs: small networks"


def started(profile: Profile, start: Path, model: SrModel, scored: bool) -> Profile:
    """A profile whose network begins with a model, and is compared with it where scores are."""
    file = f"{WEIGHTS}/{start.name}"
    base = {"network": model.architecture.id, "options": options_of(model), "warm_start": file}
    entries = {ADAPTED: {**base, "train": True}}
    if scored:
        entries[UNTOUCHED] = {**base, "train": False}
    lines = ["architectures:                 # written by usrdu init"]
    for name, entry in entries.items():
        lines.append(f"  {name}:".ljust(31) + f"# {MEANT[name]}")
        lines += [f"    {key}: {in_yaml(value)}" for key, value in entry.items()]
    stated = {key: of for key, of in profile.stated.items() if not key.startswith("architectures.")}
    stated |= {
        f"architectures.{name}.{key}": Stated(value, profile.path.stem, "")
        for name, entry in entries.items()
        for key, value in _flat(entry)
    }
    return replace(profile, stated=stated, networks="\n".join(lines) + "\n\n")


def _flat(entry: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for key, value in entry.items():
        if isinstance(value, dict) and value:
            yield from ((f"{key}.{inner}", own) for inner, own in value.items())
        else:
            yield key, value


def _choose_folders(plan: Plan, asked: Asked, root: Path) -> None:
    given = {"hr": asked.hr, "lr": asked.lr, "val": asked.val, "pairs": asked.pairs}
    for name, folder in given.items():
        if folder is None:
            plan.choose(f"folders.{name}", NO_PAIRS, f"none: --{name} names some")
            continue
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no such folder")
        full = folder.absolute()
        inside = full.is_relative_to(root.absolute())
        shown = full.relative_to(root.absolute()).as_posix() if inside else str(full)
        plan.choose(f"folders.{name}", shown, "yours")


def _choose_scale(plan: Plan, asked: Asked, model: SrModel | None) -> int:
    """Choose the scale.

    Raises:
        UserError: It is told twice, or not although LR images have the size of HR images.

    """
    told: dict[str, int] = {}
    if asked.scale is not None:
        told["--scale"] = asked.scale
    if (of_pairs := scale_of_pairs(asked.paired)) is not None:
        told["the pairs"] = of_pairs
    if model is not None:
        told["the start model"] = model.scale
    if len(set(told.values())) > 1:
        named = ", ".join(f"{scale} by {source}" for source, scale in told.items())
        raise UserError(f"the scale is told in different ways: {named}")
    same_size = enlarged(asked.paired)
    if same_size and asked.scale is None and model is None:
        raise UserError(
            "LR images of pairs have the size of HR images: --scale must say by how much the "
            "lenses differ (see prepare.lr_size in docs/data.md)"
        )
    scale = next(iter(told.values()), 4)
    if scale not in (2, 3, 4):
        raise UserError(f"the scale is {scale} by {next(iter(told))}; 2, 3 and 4 are possible")
    plan.choose("prepare.scale", scale, f"of {', '.join(told)}" if told else "the default; --scale")
    if same_size:
        plan.choose("prepare.lr_size", "enlarged", "LR images of pairs have the size of HR images")
    return scale


def _choose_crops(plan: Plan, scale: int) -> None:
    """Choose crops that nine tenths of the HR images hold; smaller images are left out."""
    wanted = plan.profile.settings("train_srn", TrainSrnSettings)
    held = sorted(side // scale for side in sides(plan.piles["HR"]).values())
    least = max(SMALLEST, *(least_patch(term, wanted, scale) for term in TERMS))
    most = held[len(held) // 10] // STEP * STEP
    side = max(least, min(wanted.lr_patch, most))
    if side != wanted.lr_patch:
        plan.choose("train_srn.lr_patch", side, "nine of ten HR images hold such a crop")
    out = sum(1 for one in held if one < side)
    if out == len(held):
        raise UserError(
            f"{plan.piles['HR'].folder}: its images are smaller than crops of {side * scale} pixels"
        )
    if out:
        why = f"{out} of {len(held)} HR images hold no crop, and are left out"
        plan.choose("prepare.least_side", side, why)


def _choose_length(plan: Plan, asked: Asked, scale: int, device: str) -> None:
    """Measure a step of every network, then choose how many fit into the time."""
    wanted = plan.profile.settings("train_srn", TrainSrnSettings)
    wanted = wanted.model_copy(
        update={"lr_patch": plan.values.get("train_srn.lr_patch", wanted.lr_patch)}
    )
    networks = _networks(plan.profile, asked.start)
    found = {name: measure(one, wanted, scale) for name, one in networks}
    fits = min((one.settings for one in found.values()), key=lambda settings: settings.batch_size)
    if fits.batch_size != wanted.batch_size:
        why = "more crops at a time do not fit into the GPU's memory"
        plan.choose("train_srn.batch_size", fits.batch_size, why)
        plan.choose("train_srn.accumulate", fits.accumulate, "as many crops in a step")
    if device == "cuda":
        plan.choose("train_srn.precision", "auto", "bf16 if it is faster, measured at the start")
    minutes = asked.minutes or MINUTES.get(device, MINUTES["cpu"])
    seconds = sum(one.seconds for one in found.values())
    usual = LENGTHS[plan.profile.path.stem]
    steps = max(1, min(usual, int(60 * minutes / seconds)))
    why = "as usual" if steps == usual else f"what fits into {minutes:g} minutes; {usual} are usual"
    plan.choose("train_srn.steps", steps, why)
    for name, one in found.items():
        why = f"{steps} steps of {one.seconds:.2f} s, the median of {one.steps} made here"
        plan.durations.append(Duration(f"train_srn@{name}", steps * one.seconds, why))


def _networks(profile: Profile, start: Path | None) -> Iterator[tuple[str, Architecture]]:
    """The networks of a profile that are trained; the start model is where it is now."""
    names = (key.split(".")[1] for key in profile.stated if key.startswith("architectures."))
    for name in dict.fromkeys(names):
        network = _network(profile, name)
        if start is not None:
            network = network.model_copy(update={"warm_start": str(start)})
        if network.train:
            yield name, network


def _network(profile: Profile, name: str) -> Architecture:
    entry: dict[str, object] = {"options": {}}
    options: dict[str, object] = {}
    for key, stated in profile.stated.items():
        match key.split("."):
            case ["architectures", own, "options", option] if own == name:
                options[option] = stated.value
            case ["architectures", own, setting] if own == name:
                entry[setting] = stated.value
    return Architecture.model_validate(entry | ({"options": options} if options else {}))
