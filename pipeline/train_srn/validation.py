"""Scores of an SR network on validation images while it is trained."""

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.base.hashes import file_hash
from pipeline.images.io import Image, to_float, to_uint8
from pipeline.scores.scorer import NIQE, Scorer, ScoreSettings, central_box, means
from pipeline.srn.file import SrModel, open_state
from pipeline.stores.reader import Store
from pipeline.train_srn.settings import HIGHER_IS_BETTER, TrainSrnSettings

log = logging.getLogger(__name__)

Scores = dict[str, float]
"""Means over the images, by name; NaN where one of the images has no score."""
WEIGHTS = Path("the averaged weights")
"""What messages call weights that are in no file."""


class ValCrop(NamedTuple):
    """The part of a validation image that is scored."""

    id: str
    lr: Image
    hr: Image | None
    """None in a store without HR images."""


class OpenedNetwork:
    """A network as programs open it from the file of its weights: evaluation mode, float32.

    Args:
        device: The device it runs on.

    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._model: SrModel | None = None

    def with_weights(self, weights: Mapping[str, Tensor]) -> SrModel:
        """The network with these weights, which are copied."""
        if self._model is None:
            with torch.random.fork_rng(devices=[]):  # it is built with weights of its own
                self._model = open_state(
                    {name: value.detach().cpu().clone() for name, value in weights.items()}, WEIGHTS
                ).to(self.device)
            if self.device.type == "cpu":  # as in an evaluation
                self._model.model.to(memory_format=torch.channels_last)
        else:
            self._model.model.load_state_dict(dict(weights))
        return self._model


class Validation:
    """Scores SR networks on the central parts of validation images, which it keeps in memory.

    Args:
        val: Store of kind val, pairs; or of kind lr, which NIQE alone scores.
        settings: The section ``train_srn``.
        scoring: What is scored; of the protocols, the first is used.

    Raises:
        UserError: A score cannot be computed (see ``Scorer``), the score that chooses the best
            weights is not computed, or there is one image where half of them is held out.

    """

    def __init__(self, val: Store, settings: TrainSrnSettings, scoring: ScoreSettings) -> None:
        self.settings = settings
        first = scoring.model_copy(update={"protocols": scoring.protocols[:1]})
        with torch.random.fork_rng(devices=[]):  # LPIPS draws weights before it loads its own
            self.scorer = Scorer(val, first, settings.validation_crop)
        self.columns = self.scorer.columns
        if settings.keep == "best" and settings.best_by not in self.columns:
            raise UserError(
                f"train_srn.best_by is {settings.best_by}, which is not computed for {val.path}: "
                f"there is {', '.join(self.columns) or 'nothing'}; evaluate.lpips_weights and "
                "evaluate.niqe_model name what lpips and niqe need"
            )
        used, held_out = halves(val.ids) if settings.validation_half else (by_hash(val.ids), [])
        if settings.validation_half and not held_out:
            raise UserError(f"train_srn.validation_half is true, but {val.path} has one image")
        most, side = settings.validation_images, settings.validation_crop
        self.crops = [_crop(val, image_id, side) for image_id in used[:most]]
        """Crops that are scored during the training."""
        self.held_out = [_crop(val, image_id, side) for image_id in held_out[:most]]
        """Crops that are scored once, at the end."""

    def score(self, network: SrModel, crops: Sequence[ValCrop] | None = None) -> Scores:
        """Mean scores of a network, by default on the crops of the training."""
        rows = []
        for crop in self.crops if crops is None else crops:
            with torch.inference_mode():
                sr = network(to_float(crop.lr)[None].to(network.device))[0]
            rows += self.scorer.rows(crop.id, "model", to_uint8(sr), crop.hr)
        names = [*(one.name for one in self.scorer.protocols), NIQE]
        found = {key: value for name in names for key, value in means(rows, name, "model").items()}
        return {name: found[name] for name in self.columns}

    def value(self, scores: Scores) -> float:
        """The number that is least for the best weights."""
        score = scores.get(self.settings.best_by, math.nan)
        return -score if self.settings.best_by in HIGHER_IS_BETTER else score

    def metrics(self, step: int, scores: Scores, network: SrModel) -> dict[str, object]:
        """What the scores of the written weights are, and what they are worth.

        Args:
            step: The step of the written weights.
            scores: Their scores during the training.
            network: The network with them, for the scores of the images that were held out.

        """
        best = self.settings.keep == "best"
        found: dict[str, object] = {
            "kept": self.settings.keep,
            "kept_step": step,
            **({"chosen_by": self.settings.best_by} if best else {}),
            **self.scorer.described(),
            "images": len(self.crops),
            "crop": self.settings.validation_crop,
            "scores": scores,
        }
        if self.held_out:
            held_out = self.score(network, self.held_out)
            found["held_out"] = {"images": len(self.held_out), "scores": held_out}
        return found | {"meaning": self._meaning()}

    def _meaning(self) -> str:
        if self.settings.keep == "last":
            return "no weights were chosen by these scores"
        by = f"the step was chosen by {self.settings.best_by} on these images, so their scores"
        if self.held_out:
            return f"{by} are optimistic; those of held_out are not"
        return (
            f"{by} are optimistic, and so are those of usrdu evaluate on them: "
            "train_srn.validation_half keeps half of the images for scores that are not"
        )


def open_validation(
    val: Store | None, settings: TrainSrnSettings, scoring: ScoreSettings
) -> Validation | None:
    """The validation that the settings ask for; None where there is nothing to score.

    Args:
        val: The validation images; None if none were named.
        settings: The section ``train_srn``.
        scoring: What is scored.

    Raises:
        UserError: See ``Validation``; or the best weights are asked for, and nothing can be scored.

    """
    if not settings.validate_every:
        return None
    if val is not None and val.ids and (val.kind == "val" or scoring.niqe_model != "none"):
        return Validation(val, settings, scoring)
    reason = "no validation images were named" if val is None else f"{val.path} has none"
    if val is not None and val.ids:
        reason = f"{val.path} has no HR images and evaluate.niqe_model is none"
    if settings.keep == "best":
        raise UserError(f"train_srn.keep is best, but there is nothing to score: {reason}")
    log.info("no validation during the training: %s", reason)
    return None


def digests(val: Store, scoring: ScoreSettings) -> list[object]:
    """What the scores depend on beside the settings of the training, for a fingerprint."""
    files = [scoring.niqe_model] + ([scoring.lpips_weights] if val.kind == "val" else [])
    named = [Path(name) for name in files if name not in ("none", "imagenet")]
    hashes = [file_hash(path) for path in named if path.is_file()]
    return [val.digest, scoring.model_dump(), hashes]


def by_hash(ids: Sequence[str]) -> list[str]:
    """Ids in the order of their hashes: another order of the store changes nothing."""
    return sorted(ids, key=lambda image_id: hashlib.sha256(image_id.encode()).digest())


def halves(ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Two halves of ids, in turns in the order of their hashes; the first is not the smaller."""
    ordered = by_hash(ids)
    return ordered[::2], ordered[1::2]


def _crop(val: Store, image_id: str, side: int) -> ValCrop:
    box = central_box(val, image_id, side)
    if val.kind == "val":
        hr = val.read(image_id, "hr", box.times(val.scale))
        return ValCrop(image_id, val.read(image_id, "lr", box), hr)
    return ValCrop(image_id, val.read(image_id, "image", box), None)
