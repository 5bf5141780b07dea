"""What settings that are valid one by one may not be together, and files that they name in vain.

The stages refuse the same, when it is their turn.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.base.errors import UserError
from pipeline.base.params import NO_FILE, load_yaml
from pipeline.demo.demo import DemoSettings
from pipeline.evaluate.evaluate import EvaluateSettings
from pipeline.prepare.folders import is_bare
from pipeline.prepare.prepare import PrepareSettings
from pipeline.project.document import Keys
from pipeline.project.sections import FolderSettings
from pipeline.srn.network import build
from pipeline.train_dsn.reference import find_kernels
from pipeline.train_dsn.settings import TrainDsnSettings
from pipeline.train_dsn.train import require_patch
from pipeline.train_srn.losses import require_crop
from pipeline.train_srn.settings import Architecture, TrainSrnSettings
from pipeline.train_srn.terms import TERMS
from pipeline.train_srn.train import load_start

STAGES, CAMERAS = "dvc.yaml", "cameras.yaml"
"""Files beside the params file: the stages, and the simulated cameras."""


class Remark(NamedTuple):
    """Something wrong with a setting."""

    keys: Keys
    sentence: str


def remarks_on(valid: Mapping[str, Any], root: Path) -> Iterator[Remark]:
    """What is wrong between sections, and with files that they name.

    Args:
        valid: Sections of a params file, each valid by itself; those with faults are missing.
        root: Folder of the file, from which the files that it names are looked for.

    """
    for names, look in RELATIONS:
        if all(name in valid for name in names):
            yield from look(root, *(valid[name] for name in names))


def _dsn(root: Path, prepare: PrepareSettings, dsn: TrainDsnSettings) -> Iterator[Remark]:
    del root
    if dsn.epochs:  # without a training no crop is cut
        yield from _refused(("train_dsn", "hr_patch"), require_patch, dsn, prepare.scale)


def _srn(root: Path, prepare: PrepareSettings, srn: TrainSrnSettings) -> Iterator[Remark]:
    del root
    for term in TERMS:
        key = ("train_srn", f"{term}_weight")
        yield from _refused(key, require_crop, term, srn, prepare.scale)


def _samples(root: Path, dsn: TrainDsnSettings, srn: TrainSrnSettings) -> Iterator[Remark]:
    del root
    if srn.camera and not dsn.reads_passport:
        yield Remark(
            ("train_srn", "theta"),
            "train_srn.theta is camera, but the maps carry no passport: neither "
            "train_dsn.reference nor train_dsn.prior_scale_gray is camera",
        )


def _simulated(root: Path, demo: DemoSettings) -> Iterator[Remark]:
    if not (root / CAMERAS).is_file():
        return
    known = load_yaml(root / CAMERAS)
    if demo.camera not in known:
        sentence = f"demo.camera: {CAMERAS} has no {demo.camera}; it has {', '.join(known)}"
        yield Remark(("demo", "camera"), sentence)


def _folders(root: Path, folders: FolderSettings) -> Iterator[Remark]:
    made = _outputs(root)
    for name, value in folders:
        path = root / value
        by_stage = any(path == out or out in path.parents for out in made)
        if not by_stage and not path.exists():
            yield Remark(("folders", name), f"folders.{name}: there is no folder {value}")


def _outputs(root: Path) -> list[Path]:
    """What the stages make."""
    content = load_yaml(root / STAGES) if (root / STAGES).is_file() else {}
    stages = content.get("stages")
    entries = stages.values() if isinstance(stages, dict) else ()
    outs = [out for entry in entries for out in entry.get("outs", ())]
    return [root / (next(iter(out)) if isinstance(out, dict) else str(out)) for out in outs]


def _kernels(root: Path, folders: FolderSettings, dsn: TrainDsnSettings) -> Iterator[Remark]:
    if dsn.epochs and dsn.reference == "kernels":
        yield from _refused(("folders", "kernels"), find_kernels, root / folders.kernels)


def _pairs(root: Path, folders: FolderSettings, srn: TrainSrnSettings) -> Iterator[Remark]:
    folder = root / folders.pairs
    if srn.lr_from == "pairs" and folder.is_dir() and is_bare(folder):
        sentence = f"folders.pairs: {folders.pairs} holds no pairs, but train_srn.lr_from is pairs"
        yield Remark(("folders", "pairs"), sentence)


def _networks(
    root: Path,
    folders: FolderSettings,
    prepare: PrepareSettings,
    srn: TrainSrnSettings,
    networks: Mapping[str, Architecture],
) -> Iterator[Remark]:
    for name, entry in networks.items():
        keys = ("architectures", name, "network")
        options = entry.options, srn.lr_patch
        try:
            network = build(entry.network, prepare.scale, *options)
        except UserError as error:
            yield Remark(keys, f"architectures.{name}: {error}")
            continue
        if entry.warm_start is None:
            continue
        start = ("architectures", name, "warm_start")
        if entry.warm_start in NO_FILE:
            yield Remark(start, f"{'.'.join(start)} is a file, or null for none")
            continue
        found = list(_weights(root, folders, start, entry.warm_start))
        yield from found or _refused(
            start, load_start, network, root / entry.warm_start, prepare.scale
        )


def _trainings(
    root: Path, folders: FolderSettings, dsn: TrainDsnSettings, srn: TrainSrnSettings
) -> Iterator[Remark]:
    for section, settings in (("train_dsn", dsn), ("train_srn", srn)):
        if settings.perceptual_weight and (section == "train_srn" or dsn.epochs):
            yield from _weights(
                root, folders, (section, "perceptual_weights"), settings.perceptual_weights
            )
    if srn.dists_weight:
        for name in ("dists_weights", "dists_vgg16"):
            if (file := getattr(srn, name)) is not None:
                yield from _weights(root, folders, ("train_srn", name), file)


def _scores(root: Path, folders: FolderSettings, evaluate: EvaluateSettings) -> Iterator[Remark]:
    for name, value in (
        ("lpips_weights", evaluate.lpips_weights),
        ("niqe_model", evaluate.niqe_model),
    ):
        yield from _weights(root, folders, ("evaluate", name), value)


def _best(root: Path, srn: TrainSrnSettings, evaluate: EvaluateSettings) -> Iterator[Remark]:
    """Whether the score that chooses the best weights is computed."""
    del root
    needs = {"lpips": "lpips_weights", "niqe": "niqe_model"}.get(srn.best_by)
    if srn.keep == "best" and needs and getattr(evaluate, needs) == "none":
        sentence = f"train_srn.best_by is {srn.best_by}, but evaluate.{needs} is none"
        yield Remark(("train_srn", "best_by"), sentence)


def _weights(root: Path, folders: FolderSettings, keys: Keys, value: str) -> Iterator[Remark]:
    """What is wrong with a file of weights."""
    if value in NO_FILE:
        return
    path, name = root / value, ".".join(map(str, keys))
    if not path.is_file():
        yield Remark(keys, f"{name}: there is no file {value}")
    elif not path.is_relative_to(root / folders.weights):
        yield Remark(
            keys,
            f"{name}: {value} is not in {folders.weights} (folders.weights), so DVC would not see "
            "it change",
        )


def _refused(keys: Keys, look: Callable[..., object], *given: object) -> Iterator[Remark]:
    """The sentence with which a check of a stage refuses."""
    try:
        look(*given)
    except UserError as error:
        yield Remark(keys, str(error))


RELATIONS: Sequence[tuple[tuple[str, ...], Callable[..., Iterator[Remark]]]] = (
    (("prepare", "train_dsn"), _dsn),
    (("prepare", "train_srn"), _srn),
    (("train_dsn", "train_srn"), _samples),
    (("demo",), _simulated),
    (("folders",), _folders),
    (("folders", "train_dsn"), _kernels),
    (("folders", "train_srn"), _pairs),
    (("folders", "prepare", "train_srn", "architectures"), _networks),
    (("folders", "train_dsn", "train_srn"), _trainings),
    (("folders", "evaluate"), _scores),
    (("train_srn", "evaluate"), _best),
)
"""Sections, and what looks at them together."""
